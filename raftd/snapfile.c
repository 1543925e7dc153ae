/* Snapshot files; see snapfile.h for the calls, SNAPSHOT.md for the format. */
#include "raftd/snapfile.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/wire.h"
#include "raftd/wal_format.h"

#define MAGIC "METCDSNP"
#define MAGIC_BYTES 8u
#define VERSION 2u
#define FRONT_BYTES 16u /* of the header, before the description */
#define META_BYTES_MAX 65536u
#define CHECKSUM_BYTES 8u
#define RECORD_BYTES 32u /* of a record, before its payload */
#define CHECKSUM_AT 24u  /* in a record */
#define END_PAYLOAD_BYTES 40u
#define END_BYTES (RECORD_BYTES + END_PAYLOAD_BYTES)
#define CHUNK_BYTES_MAX (SNAP_CHUNK_BYTES_SOFT + ENGINE_RECORD_BYTES_MAX)
#define OUT_BYTES_SOFT (1u << 20) /* small chunks are written together */

enum record_kind { RECORD_CHUNK = 1, RECORD_END = 2 };

struct record {
	uint32_t kind; /* enum record_kind */
	uint32_t number;
	uint32_t length; /* of the payload */
	uint64_t prev;
	uint64_t checksum;
};

/* The payload of the end. */
struct totals {
	uint64_t file_bytes;
	uint64_t data_bytes; /* of the chunks' payloads */
	uint64_t keys;
	struct hash128 hash;
};

struct snapfile_writer {
	const struct wal_disk *disk; /* borrowed */
	int fd;
	bool finished;
	char name[SNAP_NAME_BYTES];
	struct snap_meta meta;
	struct buf out;    /* goes to fd at `at` */
	uint64_t at;       /* written so far */
	uint64_t unsynced; /* of these */
	uint64_t chain;    /* checksum of the header or of the last chunk */
	uint64_t data_bytes;
	uint32_t chunks;
};

struct snapfile_reader {
	const struct wal_disk *disk; /* borrowed */
	int fd;
	char name[SNAP_NAME_BYTES];
	uint64_t size;
	struct record end;
	struct totals totals;
	struct buf buf;
	uint64_t at; /* of the next record */
	uint64_t chain;
	uint64_t data_bytes;
	uint32_t chunks;
};

bool
snapfile_id_equal(const struct snapfile_id *a, const struct snapfile_id *b)
{
	return a->index == b->index && a->term == b->term &&
	       a->bytes == b->bytes && a->checksum == b->checksum;
}

/* ---- names ---- */

void
snapfile_name(uint64_t index, char out[SNAP_NAME_BYTES])
{
	(void)snprintf(out, SNAP_NAME_BYTES, "%016" PRIx64 ".snap", index);
}

void
snapfile_part_name(const struct snapfile_id *id, char out[SNAP_NAME_BYTES])
{
	(void)snprintf(out, SNAP_NAME_BYTES,
	    "%016" PRIx64 "-%016" PRIx64 ".part", id->index, id->checksum);
}

static bool
hex16(const char *s, uint64_t *v)
{
	*v = 0;
	for (int i = 0; i < 16; i++) {
		unsigned digit;

		if (s[i] >= '0' && s[i] <= '9')
			digit = (unsigned)(s[i] - '0');
		else if (s[i] >= 'a' && s[i] <= 'f')
			digit = (unsigned)(s[i] - 'a') + 10;
		else
			return false;
		*v = *v << 4 | digit;
	}
	return true;
}

bool
snapfile_name_parse(const char *name, uint64_t *index)
{
	uint64_t v;

	if (strlen(name) != 21 || !hex16(name, &v) ||
	    strcmp(name + 16, ".snap") != 0 || v == 0)
		return false;
	*index = v;
	return true;
}

bool
snapfile_part_parse(const char *name, uint64_t *index, uint64_t *checksum)
{
	return strlen(name) == 38 && hex16(name, index) && name[16] == '-' &&
	       hex16(name + 17, checksum) && strcmp(name + 33, ".part") == 0;
}

/* ---- bytes ---- */

static void
meta_wire(struct wire *w, struct snap_meta *m, struct bytes *conf)
{
	wire_u64(w, &m->identity.cluster);
	wire_u64(w, &m->identity.node);
	wire_u64(w, &m->identity.incarnation);
	wire_u64(w, &m->head.index);
	wire_require(w, m->head.index > 0);
	wire_u64(w, &m->head.term);
	wire_u64(w, &m->head.revision);
	wire_u64(w, &m->head.keys);
	wire_u64(w, &m->head.bytes);
	wire_u64(w, &m->head.hash.lo);
	wire_u64(w, &m->head.hash.hi);
	wire_bytes(w, conf, META_BYTES_MAX);
}

void
snap_meta_encode(const struct snap_meta *m, struct buf *out)
{
	struct snap_meta copy = *m;
	struct buf conf = {0};
	struct bytes b;
	struct wire w;

	wal_conf_encode(&m->conf, &conf);
	b = buf_bytes(&conf);
	wire_encode(&w, out);
	meta_wire(&w, &copy, &b);
	assert(wire_end(&w) == ERR_OK);
	buf_free(&conf);
}

enum err
snap_meta_decode(struct bytes in, struct snap_meta *m)
{
	struct bytes conf = {0};
	struct wire w;

	memset(m, 0, sizeof(*m));
	wire_decode(&w, in);
	meta_wire(&w, m, &conf);
	if (wire_end(&w) != ERR_OK ||
	    wal_conf_decode(conf, &m->conf) != ERR_OK ||
	    m->conf.index > m->head.index)
		return ERR_CORRUPT;
	m->head.cluster = m->identity.cluster;
	return ERR_OK;
}

/* Returns the header's checksum. */
static uint64_t
header_encode(const struct snap_meta *m, struct buf *out)
{
	uint32_t version = VERSION, length;
	struct buf meta = {0};
	struct wire w;
	uint64_t sum;

	snap_meta_encode(m, &meta);
	assert(meta.len <= META_BYTES_MAX);
	length = (uint32_t)meta.len;
	buf_append(out, MAGIC, MAGIC_BYTES);
	wire_encode(&w, out);
	wire_u32(&w, &version);
	wire_u32(&w, &length);
	buf_append(out, meta.data, meta.len);
	sum = hash64(out->data, out->len, 0);
	wire_u64(&w, &sum);
	buf_free(&meta);
	return sum;
}

static void
record_wire(struct wire *w, struct record *r)
{
	uint32_t zero = 0;

	wire_u32(w, &r->kind);
	wire_u32(w, &r->number);
	wire_u32(w, &r->length);
	wire_u32(w, &zero);
	wire_require(w, zero == 0);
	wire_u64(w, &r->prev);
	wire_u64(w, &r->checksum);
}

static void
totals_wire(struct wire *w, struct totals *t)
{
	wire_u64(w, &t->file_bytes);
	wire_u64(w, &t->data_bytes);
	wire_u64(w, &t->keys);
	wire_u64(w, &t->hash.lo);
	wire_u64(w, &t->hash.hi);
}

static uint64_t
record_checksum(const uint8_t *record, struct bytes payload)
{
	return hash64(
	    payload.data, payload.len, hash64(record, CHECKSUM_AT, 0));
}

/* Returns its checksum. */
static uint64_t
record_append(struct buf *out, struct record r, struct bytes payload)
{
	size_t start = out->len;
	uint64_t le;
	struct wire w;

	r.length = (uint32_t)payload.len;
	wire_encode(&w, out);
	record_wire(&w, &r);
	r.checksum = record_checksum(out->data + start, payload);
	le = htole64(r.checksum);
	memcpy(out->data + start + CHECKSUM_AT, &le, sizeof(le));
	buf_append(out, payload.data, payload.len);
	return r.checksum;
}

/* ---- writing ---- */

static enum err
write_failed(const char *op, const char *name)
{
	bool full = errno == ENOSPC || errno == EDQUOT;

	log_warn("snapshot: write failed op=%s file=%s", op, name);
	return full ? ERR_NO_SPACE : ERR_IO;
}

static enum err
writer_sync(struct snapfile_writer *w)
{
	if (w->disk->sync(w->disk->arg, w->fd) != 0)
		return write_failed("sync", w->name);
	w->unsynced = 0;
	return ERR_OK;
}

static enum err
writer_flush(struct snapfile_writer *w)
{
	const struct wal_disk *d = w->disk;

	if (w->out.len == 0)
		return ERR_OK;
	if (d->write(d->arg, w->fd, w->out.data, w->out.len, (off_t)w->at) != 0)
		return write_failed("write", w->name);
	w->at += w->out.len;
	w->unsynced += w->out.len;
	buf_clear(&w->out);
	return w->unsynced >= SNAP_FLUSH_BYTES ? writer_sync(w) : ERR_OK;
}

enum err
snapfile_create(struct snapfile_writer **wp, const struct wal_disk *d,
    const char *name, const struct snap_meta *meta)
{
	struct snapfile_writer *w;
	int fd = d->open(d->arg, name, true);

	if (fd == -1)
		return write_failed("create", name);
	w = mem_zalloc(1, sizeof(*w));
	w->disk = d;
	w->fd = fd;
	w->meta = *meta;
	(void)snprintf(w->name, sizeof(w->name), "%s", name);
	w->chain = header_encode(meta, &w->out);
	*wp = w;
	return ERR_OK;
}

enum err
snapfile_put(struct snapfile_writer *w, struct bytes chunk)
{
	struct record r = {
	    .kind = RECORD_CHUNK, .number = w->chunks, .prev = w->chain};

	assert(chunk.len <= CHUNK_BYTES_MAX);
	w->chain = record_append(&w->out, r, chunk);
	w->chunks++;
	w->data_bytes += chunk.len;
	return w->out.len >= OUT_BYTES_SOFT ? writer_flush(w) : ERR_OK;
}

static void
end_append(struct snapfile_writer *w, struct snapfile_id *id)
{
	struct record r = {
	    .kind = RECORD_END, .number = w->chunks, .prev = w->chain};
	struct totals t = {.file_bytes = w->at + w->out.len + END_BYTES,
	    .data_bytes = w->data_bytes,
	    .keys = w->meta.head.keys,
	    .hash = w->meta.head.hash};
	struct buf payload = {0};
	struct wire wire;

	wire_encode(&wire, &payload);
	totals_wire(&wire, &t);
	*id = (struct snapfile_id){.index = w->meta.head.index,
	    .term = w->meta.head.term,
	    .bytes = t.file_bytes};
	id->checksum = record_append(&w->out, r, buf_bytes(&payload));
	buf_free(&payload);
}

enum err
snapfile_finish(
    struct snapfile_writer *w, const char *name, struct snapfile_id *id)
{
	const struct wal_disk *d = w->disk;
	enum err e;

	assert(w->chunks > 0);
	end_append(w, id);
	if ((e = writer_flush(w)) != ERR_OK || (e = writer_sync(w)) != ERR_OK)
		return e;
	assert(w->at == id->bytes);
	/* It has the name only with its content, and keeps both. */
	if (d->rename(d->arg, w->name, name) != 0)
		return write_failed("rename", name);
	w->finished = true;
	if (d->sync_dir(d->arg) != 0)
		return write_failed("sync_dir", name);
	return ERR_OK;
}

void
snapfile_drop(struct snapfile_writer *w)
{
	if (w == NULL)
		return;
	w->disk->close(w->disk->arg, w->fd);
	if (!w->finished && w->disk->remove(w->disk->arg, w->name) != 0)
		log_warn("snapshot: cannot remove file=%s", w->name);
	buf_free(&w->out);
	mem_free(w);
}

/* ---- reading ---- */

static enum err
damaged(const struct snapfile_reader *r, uint64_t offset, const char *what)
{
	log_errorx("snapshot: damaged (%s), it is not used file=%s "
		   "offset=%" PRIu64,
	    what, r->name, offset);
	return ERR_CORRUPT;
}

/* n bytes at offset into r->buf. */
static enum err
fetch(struct snapfile_reader *r, uint64_t offset, size_t n)
{
	const struct wal_disk *d = r->disk;
	ssize_t got;

	if (offset > r->size || n > r->size - offset)
		return damaged(r, offset, "too short");
	buf_clear(&r->buf);
	got = d->read(d->arg, r->fd, buf_extend(&r->buf, n), n, (off_t)offset);
	if (got == (ssize_t)n)
		return ERR_OK;
	if (got >= 0)
		return damaged(r, offset, "became shorter");
	log_error(
	    "snapshot: read failed file=%s offset=%" PRIu64, r->name, offset);
	return ERR_IO;
}

static enum err
read_header(struct snapfile_reader *r, struct snap_meta *meta)
{
	uint32_t version, length;
	struct wire w;
	uint64_t sum;
	enum err e;

	if ((e = fetch(r, 0, FRONT_BYTES)) != ERR_OK)
		return e;
	wire_decode(&w, bytes_of(r->buf.data + MAGIC_BYTES, 8));
	wire_u32(&w, &version);
	wire_u32(&w, &length);
	if (memcmp(r->buf.data, MAGIC, MAGIC_BYTES) != 0 ||
	    length > META_BYTES_MAX)
		return damaged(r, 0, "header");
	r->at = FRONT_BYTES + length + CHECKSUM_BYTES;
	if ((e = fetch(r, 0, (size_t)r->at)) != ERR_OK)
		return e;
	wire_decode(&w, bytes_of(r->buf.data + FRONT_BYTES + length, 8));
	wire_u64(&w, &sum);
	if (sum != hash64(r->buf.data, FRONT_BYTES + length, 0))
		return damaged(r, 0, "header");
	if (version != VERSION) {
		log_errorx("snapshot: written in a format that this program "
			   "does not know, it is not used file=%s "
			   "format=%" PRIu32 " known=%u",
		    r->name, version, VERSION);
		return ERR_VERSION;
	}
	if (snap_meta_decode(
		bytes_of(r->buf.data + FRONT_BYTES, length), meta) != ERR_OK)
		return damaged(r, 0, "description");
	r->chain = sum;
	return ERR_OK;
}

/* The record at offset, its payload behind it in r->buf. */
static enum err
read_record(struct snapfile_reader *r, uint64_t offset, uint32_t kind,
    size_t payload_max, struct record *rec)
{
	struct wire w;
	enum err e;

	if ((e = fetch(r, offset, RECORD_BYTES)) != ERR_OK)
		return e;
	wire_decode(&w, buf_bytes(&r->buf));
	record_wire(&w, rec);
	if (wire_end(&w) != ERR_OK || rec->kind != kind ||
	    rec->length > payload_max)
		return damaged(r, offset, "record");
	e = fetch(r, offset, RECORD_BYTES + rec->length);
	if (e != ERR_OK)
		return e;
	if (rec->checksum !=
	    record_checksum(
		r->buf.data, bytes_of(r->buf.data + RECORD_BYTES, rec->length)))
		return damaged(r, offset, "checksum");
	return ERR_OK;
}

static enum err
read_end(struct snapfile_reader *r, const struct snap_meta *meta)
{
	uint64_t at = r->size - END_BYTES;
	struct totals *t = &r->totals;
	struct wire w;
	enum err e;

	if (r->size < r->at + END_BYTES)
		return damaged(r, r->size, "too short");
	e = read_record(r, at, RECORD_END, END_PAYLOAD_BYTES, &r->end);
	if (e != ERR_OK)
		return e;
	wire_decode(&w, bytes_of(r->buf.data + RECORD_BYTES, r->end.length));
	totals_wire(&w, t);
	if (wire_end(&w) != ERR_OK || t->file_bytes != r->size ||
	    t->keys != meta->head.keys || t->hash.lo != meta->head.hash.lo ||
	    t->hash.hi != meta->head.hash.hi || r->end.number == 0)
		return damaged(r, at, "end");
	return ERR_OK;
}

enum err
snapfile_open(struct snapfile_reader **rp, const struct wal_disk *d,
    const char *name, struct snap_meta *meta, struct snapfile_id *id)
{
	struct snapfile_reader *r = mem_zalloc(1, sizeof(*r));
	int64_t size = -1;
	enum err e = ERR_IO;

	r->disk = d;
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	r->fd = d->open(d->arg, name, false);
	if (r->fd == -1 || (size = d->size(d->arg, r->fd)) < 0)
		log_error("snapshot: cannot open file=%s", name);
	r->size = size < 0 ? 0 : (uint64_t)size;
	if (size >= 0 && (e = read_header(r, meta)) == ERR_OK &&
	    (e = read_end(r, meta)) == ERR_OK) {
		*id = (struct snapfile_id){.index = meta->head.index,
		    .term = meta->head.term,
		    .bytes = r->size,
		    .checksum = r->end.checksum};
		*rp = r;
		return ERR_OK;
	}
	snapfile_close(r);
	return e;
}

enum err
snapfile_next(struct snapfile_reader *r, struct bytes *chunk, bool *last)
{
	uint64_t end_at = r->size - END_BYTES, next;
	struct record rec;
	enum err e;

	e = read_record(r, r->at, RECORD_CHUNK, CHUNK_BYTES_MAX, &rec);
	if (e != ERR_OK)
		return e;
	next = r->at + RECORD_BYTES + rec.length;
	if (rec.number != r->chunks || rec.prev != r->chain || next > end_at)
		return damaged(r, r->at, "order");
	r->chunks++;
	r->data_bytes += rec.length;
	r->chain = rec.checksum;
	if (next == end_at &&
	    (r->end.number != r->chunks || r->end.prev != r->chain ||
		r->totals.data_bytes != r->data_bytes))
		return damaged(r, end_at, "end");
	r->at = next;
	*chunk = bytes_of(r->buf.data + RECORD_BYTES, rec.length);
	*last = next == end_at;
	return ERR_OK;
}

void
snapfile_close(struct snapfile_reader *r)
{
	if (r == NULL)
		return;
	if (r->fd != -1)
		r->disk->close(r->disk->arg, r->fd);
	buf_free(&r->buf);
	mem_free(r);
}
