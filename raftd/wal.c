/* Writing the WAL; see wal.h for the calls, WAL.md for the format.
 *
 * Records are encoded into one buffer.  Whether a record is the last one before
 * a sync is known only when nothing follows it, so the newest record stays
 * open, and is sealed (flags, chain, checksum) when the next one comes or the
 * buffer is written. */
#include "raftd/wal.h"

#include <assert.h>

#include "base/mem.h"
#include "raftd/wal_impl.h"

/* Encoded bytes are written at this size at the latest: it bounds the memory
 * that one large wal_write() needs. */
#define OUT_BYTES_SOFT (4u << 20)

/* ---- open, close ---- */

static struct wal *
wal_new(const struct wal_disk *d)
{
	struct wal *w = mem_zalloc(1, sizeof(*w));
	int rc = pthread_mutex_init(&w->lock, NULL);

	assert(rc == 0); /* glibc's never fails */
	w->disk = d;
	w->segment_bytes = WAL_SEGMENT_BYTES;
	w->prefill_bytes = WAL_PREFILL_BYTES;
	w->open = WAL_NO_RECORD;
	w->batch = 1;
	return w;
}

enum err
wal_open(struct wal **wp, const struct wal_disk *d, struct wal_recovered *rec,
    wal_entry_fn *on_entry, void *arg)
{
	struct wal *w = wal_new(d);
	enum err e = wal_recover(w, rec, on_entry, arg);

	if (e != ERR_OK) {
		wal_close(w);
		return e;
	}
	*wp = w;
	return ERR_OK;
}

void
wal_close(struct wal *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->segment_count; i++)
		if (w->segments[i].fd != -1)
			w->disk->close(w->disk->arg, w->segments[i].fd);
	mem_free(w->segments);
	wal_reader_free(&w->reader);
	buf_free(&w->out);
	buf_free(&w->head);
	(void)pthread_mutex_destroy(&w->lock);
	mem_free(w);
}

void
wal_set_limits(struct wal *w, uint64_t segment_bytes, uint64_t prefill_bytes)
{
	assert(segment_bytes <= UINT32_MAX / 2); /* wal_position has 32 bits */
	w->segment_bytes = segment_bytes;
	w->prefill_bytes = prefill_bytes;
}

enum err
wal_create(
    struct wal *w, const struct wal_identity *id, const struct wal_conf *conf)
{
	assert(w->segment_count == 0);
	if (w->failed)
		return ERR_IO;
	w->id = *id;
	w->conf = *conf;
	return wal_segment_begin(w, 1);
}

/* ---- records into the buffer ---- */

void
wal_seal(struct wal *w, uint8_t flags)
{
	uint64_t seed;

	if (w->open == WAL_NO_RECORD)
		return;
	seed = wal_place_seed(&w->id, w->cur.sequence, w->at + w->open);
	w->chain =
	    wal_record_seal(w->out.data + w->open, flags, w->chain, seed);
	w->open = WAL_NO_RECORD;
}

void
wal_put(struct wal *w, enum wal_type type, struct bytes head, struct bytes data)
{
	wal_seal(w, 0);
	w->open = w->out.len;
	wal_record_append(&w->out, type, w->batch, head, data);
}

/* ---- the buffer into the segment ---- */

static void
count_write(struct wal *w, size_t bytes)
{
	(void)pthread_mutex_lock(&w->lock); /* a plain mutex: cannot fail */
	w->figures.write_bytes += bytes;
	(void)pthread_mutex_unlock(&w->lock);
}

static void
count_sync(struct wal *w, struct mono began)
{
	struct mono now = mono_now();

	(void)pthread_mutex_lock(&w->lock);
	histogram_add_since(&w->figures.syncs, HISTOGRAM_DISK_NS, began, now);
	(void)pthread_mutex_unlock(&w->lock);
}

void
wal_figures(struct wal *w, struct wal_figures *out)
{
	(void)pthread_mutex_lock(&w->lock);
	*out = w->figures;
	(void)pthread_mutex_unlock(&w->lock);
}

static enum err
flush(struct wal *w, uint8_t flags)
{
	const struct wal_disk *d = w->disk;
	uint64_t end = w->at + w->out.len;
	char name[WAL_NAME_BYTES];
	enum err e;

	wal_seal(w, flags);
	if (w->out.len == 0)
		return ERR_OK;
	if (end + WAL_END_BYTES > w->filled &&
	    (e = wal_segment_fill(w, end)) != ERR_OK)
		return e;
	assert(end + WAL_END_BYTES <= w->filled);
	if (d->write(d->arg, w->cur.fd, w->out.data, w->out.len,
		(off_t)w->at) != 0) {
		wal_name(w->cur.sequence, w->cur.first, name);
		return wal_failed(w, "write", name);
	}
	count_write(w, w->out.len);
	w->at = end;
	w->unsynced = true;
	buf_clear(&w->out);
	return ERR_OK;
}

static enum err
sync_current(struct wal *w)
{
	struct mono began = mono_now();
	char name[WAL_NAME_BYTES];

	if (w->disk->sync(w->disk->arg, w->cur.fd) != 0) {
		wal_name(w->cur.sequence, w->cur.first, name);
		return wal_failed(w, "sync", name);
	}
	count_sync(w, began);
	w->unsynced = false;
	w->batch++;
	return ERR_OK;
}

/* All that is in the segment is durable before the next one exists. */
static enum err
roll(struct wal *w)
{
	enum err e;

	if ((e = flush(w, WAL_FLAG_SYNCED)) != ERR_OK)
		return e;
	if (w->unsynced && (e = sync_current(w)) != ERR_OK)
		return e;
	wal_segment_ended(w);
	return wal_segment_begin(w, w->cur.sequence + 1);
}

/* A place for a record of this size.  A segment without a record of its own
 * takes any. */
static enum err
make_room(struct wal *w, uint64_t size)
{
	uint64_t end = w->at + w->out.len;

	if (end > w->begin && end + size + WAL_END_BYTES > w->segment_bytes)
		return roll(w);
	if (w->out.len > 0 && w->out.len + size > OUT_BYTES_SOFT)
		return flush(w, 0);
	return ERR_OK;
}

static enum err
put_entry(struct wal *w, const struct raft_entry *e, struct wal_position *at)
{
	/* Not blob_bytes(): the count belongs to who has the loop. */
	struct bytes data = e->data == NULL
				? (struct bytes){0}
				: bytes_of(e->data->data, e->data->len);
	enum err err;

	assert(e->index > 0);
	assert(e->index <= w->last + 1);
	err = make_room(w, wal_record_size(WAL_ENTRY_HEAD_BYTES + data.len));
	if (err != ERR_OK)
		return err;
	*at = (struct wal_position){.index = e->index,
	    .segment = w->cur.sequence,
	    .offset = (uint32_t)(w->at + w->out.len)};
	buf_clear(&w->head);
	wal_entry_encode(e, &w->head);
	wal_put(w, WAL_ENTRY, buf_bytes(&w->head), data);
	w->last = e->index;
	return ERR_OK;
}

static enum err
put_hard_state(struct wal *w, const struct raft_hard_state *hs)
{
	enum err e;

	if (hs->term == w->hard_state.term && hs->vote == w->hard_state.vote &&
	    hs->commit == w->hard_state.commit)
		return ERR_OK;
	buf_clear(&w->head);
	wal_hard_state_encode(hs, &w->head);
	if ((e = make_room(w, wal_record_size(w->head.len))) != ERR_OK)
		return e;
	wal_put(w, WAL_HARD_STATE, buf_bytes(&w->head), (struct bytes){0});
	w->hard_state = *hs;
	return ERR_OK;
}

static enum err
put_conf(struct wal *w, const struct wal_conf *conf)
{
	enum err e;

	buf_clear(&w->head);
	wal_conf_encode(conf, &w->head);
	if ((e = make_room(w, wal_record_size(w->head.len))) != ERR_OK)
		return e;
	wal_put(w, WAL_CONF, buf_bytes(&w->head), (struct bytes){0});
	w->conf = *conf;
	return ERR_OK;
}

static enum err
put_mark(
    struct wal *w, const struct wal_mark *mark, const struct wal_conf *conf)
{
	enum err e;

	assert(mark->index > 0);
	assert(mark->replaces ? conf != NULL : mark->index <= w->last);
	buf_clear(&w->head);
	wal_mark_encode(mark, conf, &w->head);
	if ((e = make_room(w, wal_record_size(w->head.len))) != ERR_OK)
		return e;
	wal_put(w, WAL_SNAPSHOT, buf_bytes(&w->head), (struct bytes){0});
	w->mark = *mark;
	w->mark.replaces = false; /* not where a later segment says it */
	if (mark->replaces) {
		w->conf = *conf;
		w->last = mark->index;
	}
	return ERR_OK;
}

/* Any prefix of what is put must be a state that Raft may restart from, since
 * a torn write leaves one.  So term and vote stand before the entries (no entry
 * is of a later term than the log's), commit behind them (it must never reach
 * entries that are about to be replaced).  A mark stands before the entries
 * that follow its snapshot and commits what is in it. */
static enum err
put_item(struct wal *w, const struct wal_batch_item *item,
    struct wal_position *positions)
{
	const struct raft_hard_state *hs = item->hard_state;
	bool replaces = item->mark != NULL && item->mark->replaces;
	enum err e;

	if (hs != NULL && (item->entry_count > 0 || replaces)) {
		struct raft_hard_state early = *hs;

		early.commit = w->hard_state.commit;
		if ((e = put_hard_state(w, &early)) != ERR_OK)
			return e;
	}
	if (item->mark != NULL &&
	    (e = put_mark(w, item->mark, item->conf)) != ERR_OK)
		return e;
	for (size_t i = 0; i < item->entry_count; i++)
		if ((e = put_entry(w, &item->entries[i], &positions[i])) !=
		    ERR_OK)
			return e;
	if (hs != NULL && (e = put_hard_state(w, hs)) != ERR_OK)
		return e;
	if (item->conf != NULL && !replaces)
		return put_conf(w, item->conf);
	return ERR_OK;
}

/* ---- one write ---- */

enum err
wal_write(struct wal *w, const struct wal_batch_item *items, size_t n,
    bool sync, struct wal_position *positions)
{
	size_t done = 0;
	enum err e;

	assert(w->cur.sequence > 0);
	if (w->failed)
		return ERR_IO;
	for (size_t i = 0; i < n; i++) {
		if ((e = put_item(w, &items[i],
			 positions == NULL ? NULL : positions + done)) !=
		    ERR_OK)
			return e;
		done += items[i].entry_count;
	}
	if (!sync)
		return flush(w, 0);
	/* The record that says "synced" must exist. */
	if (w->open == WAL_NO_RECORD) {
		if (!w->unsynced)
			return ERR_OK;
		if ((e = make_room(w, wal_record_size(0))) != ERR_OK)
			return e;
		wal_put(w, WAL_SYNC, (struct bytes){0}, (struct bytes){0});
	}
	if ((e = flush(w, WAL_FLAG_SYNCED)) != ERR_OK)
		return e;
	return sync_current(w);
}

bool
wal_prepare_due(const struct wal *w)
{
	uint64_t left = w->filled - w->at - WAL_END_BYTES;

	return left < w->prefill_bytes / 2 && w->filled < w->segment_bytes;
}

enum err
wal_prepare(struct wal *w)
{
	if (w->failed)
		return ERR_IO;
	assert(w->out.len == 0);
	return wal_prepare_due(w) ? wal_segment_fill(w, w->at) : ERR_OK;
}
