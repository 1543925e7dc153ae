/* The WAL's segments: the table of open files that both threads look at, the
 * making of a new one, zeros ahead of use.  See wal_impl.h and WAL.md. */
#include <assert.h>
#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_impl.h"

#define ZEROS_BYTES 65536u

static const uint8_t zeros[ZEROS_BYTES];

bool
wal_segment_find(struct wal *w, uint32_t sequence, struct wal_segment *out)
{
	bool found = false;

	(void)pthread_mutex_lock(&w->lock); /* a plain mutex: cannot fail */
	if (w->segment_count > 0 && sequence >= w->segments[0].sequence) {
		size_t i = sequence - w->segments[0].sequence;

		found = i < w->segment_count;
		if (found)
			*out = w->segments[i];
	}
	(void)pthread_mutex_unlock(&w->lock);
	return found;
}

void
wal_segment_add(struct wal *w, const struct wal_segment *s)
{
	(void)pthread_mutex_lock(&w->lock);
	if (w->segment_count == w->segment_cap) {
		w->segment_cap = w->segment_cap == 0 ? 8 : w->segment_cap * 2;
		w->segments = mem_resize(
		    w->segments, w->segment_cap, sizeof(w->segments[0]));
	}
	w->segments[w->segment_count++] = *s;
	(void)pthread_mutex_unlock(&w->lock);
}

void
wal_segment_ended(struct wal *w)
{
	(void)pthread_mutex_lock(&w->lock);
	assert(w->segment_count > 0);
	w->segments[w->segment_count - 1].bytes = w->at;
	(void)pthread_mutex_unlock(&w->lock);
}

enum err
wal_failed(struct wal *w, const char *op, const char *name)
{
	log_error("wal: write failed op=%s file=%s", op, name);
	w->failed = true;
	return ERR_IO;
}

/* Zeros from offset to end of fd. */
static int
write_zeros(const struct wal_disk *d, int fd, uint64_t offset, uint64_t end)
{
	while (offset < end) {
		uint64_t n = end - offset;

		if (n > ZEROS_BYTES)
			n = ZEROS_BYTES;
		if (d->write(d->arg, fd, zeros, n, (off_t)offset) != 0)
			return -1;
		offset += n;
	}
	return 0;
}

/* How long the file gets when records are to end at `end`. */
static uint64_t
fill_size(const struct wal *w, uint64_t end)
{
	uint64_t size = end + w->prefill_bytes;

	if (size > w->segment_bytes)
		size = w->segment_bytes;
	return size < end + WAL_END_BYTES ? end + WAL_END_BYTES : size;
}

enum err
wal_segment_fill(struct wal *w, uint64_t end)
{
	const struct wal_disk *d = w->disk;
	uint64_t size = fill_size(w, end);
	char name[WAL_NAME_BYTES];

	if (size <= w->filled)
		return ERR_OK;
	/* Synced before it is used: so a record never reaches the end of the
	 * file, not even of the file that a power cut leaves. */
	wal_name(w->cur.sequence, w->cur.first, name);
	if (write_zeros(d, w->cur.fd, w->filled, size) != 0)
		return wal_failed(w, "fill", name);
	if (d->sync(d->arg, w->cur.fd) != 0)
		return wal_failed(w, "sync", name);
	w->filled = size;
	return ERR_OK;
}

/* The first bytes of a segment into w->out: header, hard state, conf, mark. */
static void
encode_begin(struct wal *w)
{
	struct wal_header h = {.version = WAL_VERSION,
	    .sequence = w->cur.sequence,
	    .first = w->cur.first,
	    .identity = w->id,
	    .chain = w->chain};
	struct buf payload = {0};

	assert(w->out.len == 0);
	wal_header_encode(&h, &w->out);
	wal_hard_state_encode(&w->hard_state, &payload);
	wal_put(w, WAL_HARD_STATE, buf_bytes(&payload), (struct bytes){0});
	buf_clear(&payload);
	wal_conf_encode(&w->conf, &payload);
	wal_put(w, WAL_CONF, buf_bytes(&payload), (struct bytes){0});
	if (w->mark.index != 0) {
		buf_clear(&payload);
		wal_mark_encode(&w->mark, NULL, &payload);
		wal_put(
		    w, WAL_SNAPSHOT, buf_bytes(&payload), (struct bytes){0});
	}
	wal_seal(w, WAL_FLAG_SYNCED);
	buf_free(&payload);
}

/* Write w->out and zeros to fd, then give the file its name: it has it only
 * with its content. */
static enum err
write_begin(struct wal *w, int fd, const char *name)
{
	const struct wal_disk *d = w->disk;

	if (d->write(d->arg, fd, w->out.data, w->out.len, 0) != 0)
		return wal_failed(w, "write", name);
	if (write_zeros(d, fd, w->out.len, w->filled) != 0)
		return wal_failed(w, "fill", name);
	if (d->sync(d->arg, fd) != 0)
		return wal_failed(w, "sync", name);
	if (d->rename(d->arg, WAL_NAME_NEW, name) != 0)
		return wal_failed(w, "rename", name);
	if (d->sync_dir(d->arg) != 0)
		return wal_failed(w, "sync_dir", name);
	return ERR_OK;
}

enum err
wal_segment_begin(struct wal *w, uint32_t sequence)
{
	const struct wal_disk *d = w->disk;
	struct wal_segment s = {.sequence = sequence, .first = w->last + 1};
	char name[WAL_NAME_BYTES];
	enum err e;

	assert(!w->unsynced);
	wal_name(s.sequence, s.first, name);
	s.fd = d->open(d->arg, WAL_NAME_NEW, true);
	if (s.fd == -1)
		return wal_failed(w, "create", name);
	w->cur = s;
	w->at = 0;
	encode_begin(w);
	w->filled = fill_size(w, w->out.len);
	if ((e = write_begin(w, s.fd, name)) != ERR_OK) {
		d->close(d->arg, s.fd);
		return e;
	}
	w->begin = w->at = w->out.len;
	w->batch++;
	buf_clear(&w->out);
	wal_segment_add(w, &s);
	return ERR_OK;
}
