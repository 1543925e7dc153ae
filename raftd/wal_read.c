/* Reading segments: a sliding window, and entries by their position.  See
 * wal_impl.h. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "raftd/wal_impl.h"

#define READ_BYTES                                                             \
	(128u << 10) /* at once; positions are about 64 KiB apart              \
		      */

/* ---- a window on a segment ---- */

enum err
wal_reader_open(struct wal_reader *r, const struct wal_disk *disk,
    const struct wal_segment *s, size_t chunk)
{
	int64_t size = disk->size(disk->arg, s->fd);
	char name[WAL_NAME_BYTES];

	r->disk = disk;
	r->segment = *s;
	r->chunk = chunk;
	r->start = 0;
	r->err = ERR_OK;
	buf_clear(&r->buf);
	if (size < 0) {
		wal_name(s->sequence, s->first, name);
		log_error("wal: read failed op=size file=%s", name);
		return r->err = ERR_IO;
	}
	/* No segment is ever larger: wal_position has 32 bits. */
	r->size = size > UINT32_MAX ? UINT32_MAX : (uint64_t)size;
	return ERR_OK;
}

void
wal_reader_free(struct wal_reader *r)
{
	buf_free(&r->buf);
}

/* Fill the window with n bytes at offset or more. */
static enum err
slide(struct wal_reader *r, uint64_t offset, size_t n)
{
	char name[WAL_NAME_BYTES];
	ssize_t got;

	if (n < r->chunk)
		n = r->chunk;
	if (n > r->size - offset)
		n = (size_t)(r->size - offset);
	buf_clear(&r->buf);
	r->start = offset;
	got = r->disk->read(r->disk->arg, r->segment.fd, buf_extend(&r->buf, n),
	    n, (off_t)offset);
	if (got == (ssize_t)n)
		return ERR_OK;
	if (got >= 0)
		errno = EIO; /* became shorter while we read */
	buf_clear(&r->buf);
	wal_name(r->segment.sequence, r->segment.first, name);
	log_error(
	    "wal: read failed op=read file=%s offset=%" PRIu64, name, offset);
	return r->err = ERR_IO;
}

const uint8_t *
wal_reader_at(struct wal_reader *r, uint64_t offset, size_t n)
{
	if (r->err != ERR_OK || offset > r->size || n > r->size - offset)
		return NULL;
	if (offset < r->start || offset - r->start > r->buf.len ||
	    n > r->buf.len - (offset - r->start))
		if (slide(r, offset, n) != ERR_OK)
			return NULL;
	return r->buf.data + (offset - r->start);
}

const uint8_t *
wal_reader_record(struct wal_reader *r, const struct wal_identity *id,
    uint64_t offset, struct wal_record *rec)
{
	const uint8_t *p = wal_reader_at(r, offset, WAL_RECORD_BYTES);

	if (p == NULL || !wal_record_parse(p, rec))
		return NULL;
	p = wal_reader_at(r, offset, wal_record_size(rec->length));
	if (p == NULL || !wal_record_valid(p, rec,
			     wal_place_seed(id, r->segment.sequence, offset)))
		return NULL;
	return p;
}

/* ---- entries ---- */

static enum err
damaged(const struct wal_reader *r, uint64_t offset, uint64_t index)
{
	char name[WAL_NAME_BYTES];

	wal_name(r->segment.sequence, r->segment.first, name);
	log_errorx("wal: an entry cannot be read back file=%s offset=%" PRIu64
		   " index=%" PRIu64,
	    name, offset, index);
	return ERR_CORRUPT;
}

static bool
at_end(struct wal_reader *r, uint64_t offset)
{
	static const uint8_t zeros[WAL_END_BYTES];
	const uint8_t *p = wal_reader_at(r, offset, WAL_END_BYTES);

	return p != NULL && memcmp(p, zeros, WAL_END_BYTES) == 0;
}

/* The next entry at or behind *offset, which is moved past it; index is what it
 * must have.  data is borrowed from r. */
static enum err
next_entry(struct wal *w, uint64_t *offset, uint64_t index,
    struct raft_entry *e, struct bytes *data)
{
	struct wal_reader *r = &w->reader;
	struct wal_segment next;
	struct wal_record rec;
	const uint8_t *p;

	for (;;) {
		p = wal_reader_record(r, &w->id, *offset, &rec);
		if (r->err != ERR_OK)
			return r->err;
		if (p != NULL && rec.type == WAL_ENTRY)
			break;
		if (p != NULL) {
			*offset += wal_record_size(rec.length);
			continue;
		}
		if (!at_end(r, *offset) ||
		    !wal_segment_find(w, r->segment.sequence + 1, &next))
			return r->err != ERR_OK ? r->err
						: damaged(r, *offset, index);
		if (wal_reader_open(r, w->disk, &next, READ_BYTES) != ERR_OK)
			return r->err;
		*offset = WAL_HEADER_BYTES;
	}
	if (wal_entry_decode(bytes_of(p + WAL_RECORD_BYTES, rec.length), e,
		data) != ERR_OK ||
	    e->index != index)
		return damaged(r, *offset, index);
	*offset += wal_record_size(rec.length);
	return ERR_OK;
}

enum err
wal_read(struct wal *w, struct wal_position at, uint64_t from, size_t count,
    uint64_t max_bytes, struct raft_entry *out, size_t *got)
{
	struct wal_segment s;
	uint64_t offset = at.offset, index = at.index, bytes = 0;
	size_t n = 0;
	enum err err = ERR_OK;

	assert(count > 0);
	assert(at.index <= from);
	/* What is behind the records of last time may have been written since:
	 * the window starts anew. */
	if (!wal_segment_find(w, at.segment, &s))
		return ERR_CORRUPT;
	err = wal_reader_open(&w->reader, w->disk, &s, READ_BYTES);
	while (err == ERR_OK && n < count) {
		struct raft_entry e = {0};
		struct bytes data;

		err = next_entry(w, &offset, index, &e, &data);
		if (err != ERR_OK || index++ < from)
			continue;
		if (data.len > 0)
			e.data = blob_new(data.data, data.len);
		bytes += raft_entry_size(&e);
		if (n > 0 && bytes > max_bytes) {
			blob_unref(&e.data);
			break;
		}
		out[n++] = e;
	}
	if (err != ERR_OK) {
		for (size_t i = 0; i < n; i++)
			blob_unref(&out[i].data);
		return err;
	}
	*got = n;
	return ERR_OK;
}
