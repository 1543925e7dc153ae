/* What wal_open() does: find the segments, read them in order, decide whether
 * the end is a torn write or damage, and make what remains durable.  The rules
 * and why they are safe are in WAL.md. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_impl.h"

#define SCAN_BYTES (1u << 20) /* read at once */
#define SECTOR_BYTES 512u     /* written as a whole or not at all */
#define BEGIN_RECORDS                                                          \
	2u /* hard state and conf, in every segment; the                       \
	    * first records end with one that is SYNCED */

struct recovery {
	struct wal *w;
	struct wal_recovered *rec;
	wal_entry_fn *on_entry;
	void *arg;
	struct wal_reader reader;
	bool leftover; /* there is a segment that was not finished */

	uint64_t chain;    /* of the last valid record */
	uint64_t batch;    /* likewise */
	bool synced;       /* likewise: it ended its batch */
	uint64_t batch_at; /* where its batch begins in its segment */
	uint32_t records;  /* in this segment */
	uint64_t begin;    /* of this segment: behind its first records; or 0 */

	bool before_known;   /* rec->before_term is */
	uint64_t first_term; /* of entry rec->first */

	/* Configuration changes behind rec->conf.index, ascending. */
	uint64_t *changes;
	size_t change_count, change_cap;
};

/* What stands behind a damaged place. */
struct rest {
	uint64_t batch; /* largest of a valid record, 0: none */
	uint64_t last;  /* largest index of an entry in one */
};

/* ---- the segments of the directory ---- */

static void
note_file(void *ctx, const char *name)
{
	struct recovery *rc = ctx;
	struct wal_segment s = {.fd = -1};

	if (strcmp(name, WAL_NAME_NEW) == 0)
		rc->leftover = true;
	else if (wal_name_parse(name, &s.sequence, &s.first))
		wal_segment_add(rc->w, &s);
	else
		log_warnx("wal: a file that is none of the log's is ignored "
			  "file=%s",
		    name);
}

static int
by_sequence(const void *a, const void *b)
{
	const struct wal_segment *x = a, *y = b;

	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

static enum err
find_segments(struct recovery *rc)
{
	struct wal *w = rc->w;

	if (w->disk->list(w->disk->arg, note_file, rc) != 0) {
		log_error("wal: read failed op=list");
		return ERR_IO;
	}
	if (w->segment_count == 0)
		return ERR_OK;
	qsort(
	    w->segments, w->segment_count, sizeof(w->segments[0]), by_sequence);
	for (size_t i = 1; i < w->segment_count; i++) {
		uint32_t want = w->segments[i - 1].sequence + 1;

		if (w->segments[i].sequence == want)
			continue;
		log_errorx(
		    "wal: a segment is missing or there twice, nothing "
		    "was changed; put the file back, or remove this node from "
		    "the cluster and add it with an empty directory "
		    "sequence=%" PRIu32 " expected=%" PRIu32,
		    w->segments[i].sequence, want);
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

/* ---- damage ---- */

/* Look for valid records from offset on to the end of segment i. */
static enum err
scan(struct recovery *rc, size_t i, uint64_t offset, struct rest *rest)
{
	struct wal *w = rc->w;
	struct wal_record rec;
	struct raft_entry e;
	struct bytes data;
	const uint8_t *p;

	if (wal_reader_open(
		&rc->reader, w->disk, &w->segments[i], SCAN_BYTES) != ERR_OK)
		return ERR_IO;
	while (offset + WAL_RECORD_BYTES <= rc->reader.size) {
		p = wal_reader_record(&rc->reader, &w->id, offset, &rec);
		if (rc->reader.err != ERR_OK)
			return ERR_IO;
		if (p == NULL) {
			offset += 8; /* records are aligned */
			continue;
		}
		if (rec.batch > rest->batch)
			rest->batch = rec.batch;
		p += WAL_RECORD_BYTES;
		if (rec.type == WAL_ENTRY &&
		    wal_entry_decode(bytes_of(p, rec.length), &e, &data) ==
			ERR_OK &&
		    e.index > rest->last)
			rest->last = e.index;
		offset += wal_record_size(rec.length);
	}
	return ERR_OK;
}

/* If what is damaged still says that it is an entry, that is one. */
static enum err
look_at(struct recovery *rc, size_t i, uint64_t offset, struct rest *rest)
{
	struct wal_record rec;
	const uint8_t *p;

	if (wal_reader_open(&rc->reader, rc->w->disk, &rc->w->segments[i],
		SCAN_BYTES) != ERR_OK)
		return ERR_IO;
	p = wal_reader_at(&rc->reader, offset, WAL_RECORD_BYTES);
	if (p != NULL && wal_record_parse(p, &rec) && rec.type == WAL_ENTRY)
		rest->last = rc->rec->last + 1;
	return rc->reader.err;
}

/* Segments behind the damage are not open yet.  False: it cannot be read. */
static bool
open_unread(struct recovery *rc, struct wal_segment *s)
{
	char name[WAL_NAME_BYTES];

	if (s->fd != -1)
		return true;
	wal_name(s->sequence, s->first, name);
	s->fd = rc->w->disk->open(rc->w->disk->arg, name, false);
	return s->fd != -1;
}

/* Refuse: say where, and what a cut at this place would lose. */
static enum err
refuse(struct recovery *rc, size_t i, uint64_t offset, const char *reason)
{
	const struct wal_segment *s = &rc->w->segments[i];
	struct rest rest = {0};
	uint64_t lost;
	char name[WAL_NAME_BYTES];

	wal_name(s->sequence, s->first, name);
	if (look_at(rc, i, offset, &rest) != ERR_OK)
		return ERR_IO;
	for (size_t k = i; k < rc->w->segment_count; k++)
		if (open_unread(rc, &rc->w->segments[k]) &&
		    scan(rc, k, k == i ? offset : WAL_HEADER_BYTES, &rest) !=
			ERR_OK)
			return ERR_IO;
	lost = rest.last > rc->rec->last ? rest.last - rc->rec->last : 0;
	log_errorx("wal: damaged (%s), nothing was changed; remove this node "
		   "from the cluster and add it again with an empty directory "
		   "file=%s offset=%" PRIu64 " entries_lost=%" PRIu64,
	    reason, name, offset, lost);
	return ERR_CORRUPT;
}

/* ---- headers ---- */

static bool
same_identity(const struct wal_identity *a, const struct wal_identity *b)
{
	return a->cluster == b->cluster && a->node == b->node &&
	       a->incarnation == b->incarnation;
}

/* Open segment i and check its header against its name and the one before. */
static enum err
open_segment(struct recovery *rc, size_t i)
{
	struct wal *w = rc->w;
	struct wal_segment *s = &w->segments[i];
	struct wal_header h = {0};
	char name[WAL_NAME_BYTES];
	const uint8_t *p;
	enum err e;

	wal_name(s->sequence, s->first, name);
	s->fd = w->disk->open(w->disk->arg, name, false);
	if (s->fd == -1) {
		log_error("wal: read failed op=open file=%s", name);
		return ERR_IO;
	}
	e = wal_reader_open(&rc->reader, w->disk, s, SCAN_BYTES);
	if (e != ERR_OK)
		return e;
	p = wal_reader_at(&rc->reader, 0, WAL_HEADER_BYTES);
	if (rc->reader.err != ERR_OK)
		return rc->reader.err;
	e = p == NULL ? ERR_CORRUPT : wal_header_decode(p, &h);
	if (e == ERR_VERSION) {
		log_errorx("wal: written in a format that this program does "
			   "not know; start the version that wrote it file=%s "
			   "format=%" PRIu32 " known=%u",
		    name, h.version, WAL_VERSION);
		return e;
	}
	if (e != ERR_OK)
		return refuse(rc, i, 0, "segment header");
	if (h.sequence != s->sequence || h.first != s->first)
		return refuse(rc, i, 0, "name and header differ");
	if (i == 0) {
		w->id = h.identity;
		rc->chain = h.chain;
		rc->rec->first = h.first;
		rc->rec->last = h.first - 1;
		rc->before_known = h.first == 1;
	}
	if (!same_identity(&h.identity, &w->id))
		return refuse(rc, i, 0, "segment of another log");
	if (h.chain != rc->chain) /* never of the first one */
		return refuse(rc, i - 1, w->segments[i - 1].bytes,
		    "the next file follows other records");
	return ERR_OK;
}

/* ---- records ---- */

static void
note_change(struct recovery *rc, const struct raft_entry *e)
{
	while (rc->change_count > 0 &&
	       rc->changes[rc->change_count - 1] >= e->index)
		rc->change_count--; /* replaced */
	if (e->type == RAFT_ENTRY_NORMAL || e->index <= rc->rec->conf.index)
		return;
	if (rc->change_count == rc->change_cap) {
		rc->change_cap = rc->change_cap == 0 ? 16 : rc->change_cap * 2;
		rc->changes = mem_resize(
		    rc->changes, rc->change_cap, sizeof(rc->changes[0]));
	}
	rc->changes[rc->change_count++] = e->index;
}

static enum err
take_entry(
    struct recovery *rc, struct bytes payload, uint32_t sequence, uint64_t at)
{
	struct wal_recovered *rec = rc->rec;
	struct raft_entry e;
	struct bytes data;

	if (wal_entry_decode(payload, &e, &data) != ERR_OK)
		return ERR_CORRUPT;
	if (e.index > rec->last + 1 || e.index <= rec->mark.index)
		return ERR_CORRUPT;
	/* The first segment there is may replace entries of older ones. */
	if (e.index < rec->first) {
		rec->first = e.index;
		rc->before_known = e.index == 1;
	}
	rec->last = e.index;
	if (e.index == rec->first)
		rc->first_term = e.term;
	note_change(rc, &e);
	if (rc->on_entry == NULL)
		return ERR_OK;
	if (data.len > 0)
		e.data = blob_new(data.data, data.len);
	rc->on_entry(rc->arg, &e,
	    (struct wal_position){
		.index = e.index, .segment = sequence, .offset = (uint32_t)at});
	blob_unref(&e.data);
	return ERR_OK;
}

static enum err
take_conf(struct recovery *rc, struct bytes payload)
{
	size_t keep = 0;

	if (wal_conf_decode(payload, &rc->rec->conf) != ERR_OK)
		return ERR_CORRUPT;
	for (size_t i = 0; i < rc->change_count; i++)
		if (rc->changes[i] > rc->rec->conf.index)
			rc->changes[keep++] = rc->changes[i];
	rc->change_count = keep;
	return ERR_OK;
}

static enum err
take_mark(struct recovery *rc, struct bytes payload)
{
	struct wal_recovered *rec = rc->rec;
	struct wal_mark mark = {0};
	struct wal_conf conf;

	if (wal_mark_decode(payload, &mark, &conf) != ERR_OK ||
	    mark.index < rec->mark.index)
		return ERR_CORRUPT;
	rec->mark = mark;
	if (!mark.replaces)
		return mark.index <= rec->last ? ERR_OK : ERR_CORRUPT;
	rec->first = mark.index + 1;
	rec->last = mark.index;
	rec->before_term = mark.term;
	rc->before_known = true;
	rec->conf = conf;
	rc->change_count = 0;
	return ERR_OK;
}

static enum err
take_record(struct recovery *rc, const struct wal_record *r,
    const uint8_t *bytes, uint32_t sequence, uint64_t at)
{
	struct bytes payload = bytes_of(bytes + WAL_RECORD_BYTES, r->length);

	switch ((enum wal_type)r->type) {
	case WAL_ENTRY:
		return take_entry(rc, payload, sequence, at);
	case WAL_HARD_STATE:
		return wal_hard_state_decode(payload, &rc->rec->hard_state);
	case WAL_CONF:
		return take_conf(rc, payload);
	case WAL_SNAPSHOT:
		return take_mark(rc, payload);
	case WAL_SYNC:
		return ERR_OK;
	}
	return ERR_CORRUPT; /* wal_record_parse() lets no other pass */
}

/* Segments may be missing at the start if there is a snapshot in their place.
 * The oldest entry then only tells the term that the next one follows. */
static bool
start_is_there(struct recovery *rc)
{
	struct wal_recovered *rec = rc->rec;

	if (!rc->before_known) {
		if (rec->last < rec->first)
			return false;
		rec->before_term = rc->first_term;
		rec->first++;
	}
	return rec->first - 1 <= rec->mark.index;
}

/* Read the records of segment i in rc->reader; *end is where they end: at zeros
 * or at something else that is no record of this log. */
static enum err
walk(struct recovery *rc, size_t i, uint64_t *end)
{
	struct wal *w = rc->w;
	uint64_t at = WAL_HEADER_BYTES;
	struct wal_record r;
	const uint8_t *p;

	rc->records = 0;
	rc->begin = 0;
	for (;;) {
		p = wal_reader_record(&rc->reader, &w->id, at, &r);
		if (rc->reader.err != ERR_OK)
			return rc->reader.err;
		if (p == NULL || r.prev != rc->chain || r.batch < rc->batch)
			break;
		if (take_record(rc, &r, p, w->segments[i].sequence, at) !=
		    ERR_OK)
			return refuse(rc, i, at, "records contradict");
		if (r.batch != rc->batch || rc->records == 0)
			rc->batch_at = at;
		rc->chain = r.checksum;
		rc->batch = r.batch;
		rc->synced = (r.flags & WAL_FLAG_SYNCED) != 0;
		rc->records++;
		at += wal_record_size(r.length);
		if (rc->begin == 0 && rc->records >= BEGIN_RECORDS &&
		    rc->synced)
			rc->begin = at;
	}
	*end = at;
	w->segments[i].bytes = i + 1 < w->segment_count ? at : 0;
	if (rc->begin == 0)
		return refuse(rc, i, at, "its first records");
	return ERR_OK;
}

/* ---- the end of the last segment ---- */

/* Where in the file the bytes from offset on that are not zero end; offset: all
 * are zero. */
static enum err
used_end(struct recovery *rc, uint64_t offset, uint64_t *end)
{
	struct wal_reader *r = &rc->reader;

	*end = offset;
	for (uint64_t at = offset; at < r->size;) {
		size_t n =
		    r->size - at < r->chunk ? (size_t)(r->size - at) : r->chunk;
		const uint8_t *p = wal_reader_at(r, at, n);

		if (p == NULL)
			return ERR_IO;
		for (size_t i = 0; i < n; i++)
			if (p[i] != 0)
				*end = at + i + 1;
		at += n;
	}
	return ERR_OK;
}

/* Whether the bad record at offset may be what a write left that was not
 * finished: then a part of it still is what was there before, zeros.  Each
 * sector was written as a whole or up to some byte; so look at the last byte of
 * each, and of the record, which has a trailer there. */
static bool
may_be_torn(struct recovery *rc, uint64_t offset)
{
	struct wal_reader *r = &rc->reader;
	struct wal_record rec = {0};
	const uint8_t *p = wal_reader_at(r, offset, WAL_RECORD_BYTES);
	uint64_t size;

	if (p == NULL)
		return false;
	(void)wal_record_parse(p, &rec); /* for its length, whatever it says */
	size = wal_record_size(rec.length);
	p = wal_reader_at(r, offset, size);
	if (p == NULL || offset + size + WAL_END_BYTES > r->size)
		return false; /* no record was ever that long */
	if (p[size - 1] == 0)
		return true;
	for (uint64_t i = SECTOR_BYTES - offset % SECTOR_BYTES; i < size;
	     i += SECTOR_BYTES)
		if (p[i - 1] == 0)
			return true;
	return false;
}

/* What follows the last valid record of the last segment, at offset. */
static enum err
judge_end(struct recovery *rc, uint64_t offset)
{
	struct wal *w = rc->w;
	size_t i = w->segment_count - 1;
	/* The batch of what stands at offset. */
	uint64_t batch = rc->synced ? rc->batch + 1 : rc->batch;
	struct rest rest = {0};
	char name[WAL_NAME_BYTES];
	uint64_t end;

	if (offset + WAL_END_BYTES > rc->reader.size)
		return refuse(rc, i, offset, "file cut short");
	if (used_end(rc, offset, &end) != ERR_OK)
		return ERR_IO;
	if (end == offset)
		return ERR_OK;
	if (scan(rc, i, offset, &rest) != ERR_OK)
		return ERR_IO;
	if (rest.batch > batch)
		return refuse(rc, i, offset, "synced data follow");
	if (!may_be_torn(rc, offset))
		return rc->reader.err != ERR_OK
			   ? rc->reader.err
			   : refuse(
				 rc, i, offset, "a record that is all there");
	rc->rec->cut_bytes = end - offset;
	wal_name(w->segments[i].sequence, w->segments[i].first, name);
	log_warnx("wal: a write that was not finished is cut off file=%s "
		  "offset=%" PRIu64 " bytes=%" PRIu64 " last_index=%" PRIu64,
	    name, offset, end - offset, rc->rec->last);
	return ERR_OK;
}

/* Make durable what was read: write the last batch once more, since it may be
 * in the page cache alone, even if an earlier process tried to sync it and was
 * told that this failed; then zeros to the end of the file. */
static enum err
settle(struct recovery *rc, uint64_t end)
{
	struct wal *w = rc->w;
	struct wal_reader *r = &rc->reader;
	char name[WAL_NAME_BYTES];

	wal_name(w->cur.sequence, w->cur.first, name);
	for (uint64_t at = rc->batch_at; at < r->size;) {
		uint64_t limit = at < end ? end : r->size;
		size_t n =
		    limit - at < r->chunk ? (size_t)(limit - at) : r->chunk;
		const uint8_t *p = wal_reader_at(r, at, n);

		if (p == NULL)
			return ERR_IO;
		if (at >= end)
			memset(r->buf.data + (at - r->start), 0, n);
		if (w->disk->write(w->disk->arg, w->cur.fd, p, n, (off_t)at) !=
		    0)
			return wal_failed(w, "write", name);
		at += n;
	}
	if (w->disk->sync(w->disk->arg, w->cur.fd) != 0)
		return wal_failed(w, "sync", name);
	if (rc->leftover && w->disk->remove(w->disk->arg, WAL_NAME_NEW) != 0)
		return wal_failed(w, "remove", WAL_NAME_NEW);
	if (w->disk->sync_dir(w->disk->arg) != 0)
		return wal_failed(w, "sync_dir", ".");
	return ERR_OK;
}

/* ---- all of it ---- */

/* Go on writing behind end. */
static void
resume(struct recovery *rc, uint64_t end)
{
	struct wal *w = rc->w;

	w->cur = w->segments[w->segment_count - 1];
	w->begin = rc->begin;
	w->at = end;
	w->filled = rc->reader.size;
	w->chain = rc->chain;
	w->batch = rc->synced ? rc->batch + 1 : rc->batch;
	w->hard_state = rc->rec->hard_state;
	w->conf = rc->rec->conf;
	w->mark = rc->rec->mark;
	w->mark.replaces = false;
	w->last = rc->rec->last;
}

static enum err
read_all(struct recovery *rc)
{
	struct wal *w = rc->w;
	struct wal_recovered *rec = rc->rec;
	uint64_t end = 0;
	enum err e;

	for (size_t i = 0; i < w->segment_count; i++) {
		if ((e = open_segment(rc, i)) != ERR_OK)
			return e;
		if ((e = walk(rc, i, &end)) != ERR_OK)
			return e;
	}
	if ((e = judge_end(rc, end)) != ERR_OK)
		return e;
	if (!start_is_there(rc))
		return refuse(rc, 0, 0, "segments missing before it");
	/* What is in a snapshot was committed. */
	if (rec->hard_state.commit < rec->mark.index)
		rec->hard_state.commit = rec->mark.index;
	if (rec->hard_state.commit > rec->last)
		return refuse(rc, w->segment_count - 1, end,
		    "committed entries are missing");
	rec->identity = w->id;
	rec->next_conf_change = rc->change_count > 0 ? rc->changes[0] : 0;
	resume(rc, end);
	return settle(rc, end);
}

enum err
wal_recover(
    struct wal *w, struct wal_recovered *rec, wal_entry_fn *on_entry, void *arg)
{
	struct recovery rc = {
	    .w = w, .rec = rec, .on_entry = on_entry, .arg = arg};
	enum err e;

	memset(rec, 0, sizeof(*rec));
	rec->first = 1;
	if ((e = find_segments(&rc)) == ERR_OK) {
		if (w->segment_count > 0)
			e = read_all(&rc);
		else
			rec->fresh = true;
	}
	mem_free(rc.changes);
	wal_reader_free(&rc.reader);
	return e;
}
