/* Segments that a snapshot has made superfluous: which, and away with them.
 *
 * Files go from the oldest on, each removal durable before the next one, so
 * what a crash leaves is a log without a gap. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_impl.h"

struct wal_removed {
	struct wal *wal; /* borrowed */
	size_t count;
	struct wal_segment segments[];
};

/* The last segment that was begun when the log ended before entry index:
 * whatever is in older ones is of entries before it, or was replaced.  Not
 * simply the first one found: a snapshot from another node may have set the log
 * back, and the numbers in the names with it. */
uint32_t
wal_cut_before(struct wal *w, uint64_t index, uint64_t keep_bytes)
{
	uint64_t kept = 0;
	uint32_t found = 0;
	size_t i;

	(void)pthread_mutex_lock(&w->lock); /* a plain mutex: cannot fail */
	for (i = w->segment_count; i-- > 1;) {
		const struct wal_segment *s = &w->segments[i];

		kept += s->bytes;
		if (kept < keep_bytes)
			continue;
		if (s->first <= index) {
			found = s->sequence;
			break;
		}
	}
	(void)pthread_mutex_unlock(&w->lock);
	return found;
}

struct wal_removed *
wal_cut(struct wal *w, uint32_t segment)
{
	struct wal_removed *r = NULL;
	size_t n;

	(void)pthread_mutex_lock(&w->lock);
	assert(w->segment_count > 0);
	assert(segment >= w->segments[0].sequence);
	n = segment - w->segments[0].sequence;
	assert(n < w->segment_count); /* never the one that is written */
	r = mem_zalloc(1, sizeof(*r) + n * sizeof(r->segments[0]));
	r->wal = w;
	r->count = n;
	memcpy(r->segments, w->segments, n * sizeof(r->segments[0]));
	w->segment_count -= n;
	memmove(w->segments, w->segments + n,
	    w->segment_count * sizeof(w->segments[0]));
	(void)pthread_mutex_unlock(&w->lock);
	return r;
}

void
wal_remove(struct wal_removed **rp)
{
	struct wal_removed *r = *rp;
	const struct wal_disk *d = r->wal->disk;
	bool failed;

	*rp = NULL;
	(void)pthread_mutex_lock(&r->wal->lock);
	failed = r->wal->remove_failed;
	(void)pthread_mutex_unlock(&r->wal->lock);
	for (size_t i = 0; i < r->count; i++) {
		const struct wal_segment *s = &r->segments[i];
		char name[WAL_NAME_BYTES];

		d->close(d->arg, s->fd);
		if (failed)
			continue; /* no gap */
		wal_name(s->sequence, s->first, name);
		if (d->remove(d->arg, name) != 0 || d->sync_dir(d->arg) != 0) {
			log_warn("wal: cannot remove old segments, they stay "
				 "until the next start file=%s",
			    name);
			failed = true;
		}
	}
	(void)pthread_mutex_lock(&r->wal->lock);
	r->wal->remove_failed = failed;
	(void)pthread_mutex_unlock(&r->wal->lock);
	mem_free(r);
}

uint64_t
wal_distance(struct wal *w, struct wal_position from, struct wal_position to)
{
	uint64_t bytes = 0;

	if (from.segment == to.segment)
		return to.offset > from.offset ? to.offset - from.offset : 0;
	(void)pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < w->segment_count; i++) {
		const struct wal_segment *s = &w->segments[i];

		if (s->sequence >= from.segment && s->sequence < to.segment)
			bytes += s->bytes;
	}
	(void)pthread_mutex_unlock(&w->lock);
	bytes += to.offset;
	return bytes > from.offset ? bytes - from.offset : 0;
}
