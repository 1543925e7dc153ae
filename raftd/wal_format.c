/* Bytes of the WAL; see wal_format.h and WAL.md. */
#include "raftd/wal_format.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "proto/wire.h"

#define MAGIC "METCDWAL"
#define MAGIC_BYTES 8u
#define CHECKSUM_AT 24u /* in a record */
#define TRAILER 0xffu   /* the last byte of each record: never zero */

/* ---- segments ---- */

void
wal_name(uint32_t sequence, uint64_t first, char out[WAL_NAME_BYTES])
{
	int n = snprintf(out, WAL_NAME_BYTES,
	    "%016" PRIx64 "-%016" PRIx64 ".wal", (uint64_t)sequence, first);

	assert(n == (int)WAL_NAME_BYTES - 1);
}

static bool
hex16(const char *s, uint64_t *v)
{
	static const char digits[] = "0123456789abcdef";

	*v = 0;
	for (int i = 0; i < 16; i++) {
		const char *digit = s[i] == '\0' ? NULL : strchr(digits, s[i]);

		if (digit == NULL)
			return false;
		*v = *v << 4 | (uint64_t)(digit - digits);
	}
	return true;
}

bool
wal_name_parse(const char *name, uint32_t *sequence, uint64_t *first)
{
	uint64_t s, f;

	if (strlen(name) != WAL_NAME_BYTES - 1 || !hex16(name, &s) ||
	    name[16] != '-' || !hex16(name + 17, &f) ||
	    strcmp(name + 33, ".wal") != 0)
		return false;
	if (s == 0 || s > UINT32_MAX || f == 0)
		return false;
	*sequence = (uint32_t)s;
	*first = f;
	return true;
}

static void
header_wire(struct wire *w, struct wal_header *h)
{
	wire_u32(w, &h->version);
	wire_u32(w, &h->sequence);
	wire_u64(w, &h->first);
	wire_u64(w, &h->identity.cluster);
	wire_u64(w, &h->identity.node);
	wire_u64(w, &h->identity.incarnation);
	wire_u64(w, &h->chain);
}

void
wal_header_encode(const struct wal_header *h, struct buf *out)
{
	struct wal_header copy = *h;
	size_t start = out->len;
	struct wire w;
	uint64_t sum;

	buf_append(out, MAGIC, MAGIC_BYTES);
	wire_encode(&w, out);
	header_wire(&w, &copy);
	sum = hash64(out->data + start, out->len - start, 0);
	wire_u64(&w, &sum);
	assert(out->len - start == WAL_HEADER_BYTES);
}

enum err
wal_header_decode(const uint8_t bytes[WAL_HEADER_BYTES], struct wal_header *h)
{
	struct wire w;
	uint64_t sum;

	if (memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
		return ERR_CORRUPT;
	wire_decode(
	    &w, bytes_of(bytes + MAGIC_BYTES, WAL_HEADER_BYTES - MAGIC_BYTES));
	header_wire(&w, h);
	wire_u64(&w, &sum);
	if (wire_end(&w) != ERR_OK ||
	    sum != hash64(bytes, WAL_HEADER_BYTES - sizeof(sum), 0))
		return ERR_CORRUPT;
	return h->version == WAL_VERSION ? ERR_OK : ERR_VERSION;
}

/* ---- records ---- */

uint64_t
wal_place_seed(
    const struct wal_identity *id, uint32_t sequence, uint64_t offset)
{
	assert(offset <= UINT32_MAX);
	return id->incarnation ^ ((uint64_t)sequence << 32 | offset);
}

uint64_t
wal_record_size(uint64_t payload_bytes)
{
	/* + 1: there is always a trailer. */
	return (WAL_RECORD_BYTES + payload_bytes + 1 + 7) & ~UINT64_C(7);
}

static void
record_wire(struct wire *w, struct wal_record *r)
{
	uint16_t zero = 0;

	wire_u32(w, &r->length);
	wire_u8(w, &r->type);
	wire_u8(w, &r->flags);
	wire_u16(w, &zero);
	wire_require(w, zero == 0);
	wire_u64(w, &r->batch);
	wire_u64(w, &r->prev);
	wire_u64(w, &r->checksum);
}

void
wal_record_append(struct buf *out, enum wal_type type, uint64_t batch,
    struct bytes head, struct bytes data)
{
	size_t start = out->len;
	size_t length = head.len + data.len;
	struct wal_record r = {.type = (uint8_t)type, .batch = batch};
	struct wire w;
	size_t pad;

	assert(length <= WAL_PAYLOAD_MAX);
	r.length = (uint32_t)length;
	wire_encode(&w, out);
	record_wire(&w, &r);
	buf_append(out, head.data, head.len);
	buf_append(out, data.data, data.len);
	pad = start + wal_record_size(length) - out->len;
	memset(buf_extend(out, pad), 0, pad);
	out->data[out->len - 1] = TRAILER;
}

/* Over the header without the checksum itself, then all that follows. */
static uint64_t
record_checksum(const uint8_t *record, uint32_t length, uint64_t seed)
{
	uint64_t header = hash64(record, CHECKSUM_AT, seed);

	return hash64(record + WAL_RECORD_BYTES,
	    wal_record_size(length) - WAL_RECORD_BYTES, header);
}

uint64_t
wal_record_seal(uint8_t *record, uint8_t flags, uint64_t prev, uint64_t seed)
{
	uint64_t le_prev = htole64(prev);
	uint64_t sum, le_sum;
	uint32_t length;

	memcpy(&length, record, sizeof(length));
	record[5] = flags;
	memcpy(record + 16, &le_prev, sizeof(le_prev));
	sum = record_checksum(record, le32toh(length), seed);
	le_sum = htole64(sum);
	memcpy(record + CHECKSUM_AT, &le_sum, sizeof(le_sum));
	return sum;
}

bool
wal_record_parse(const uint8_t bytes[WAL_RECORD_BYTES], struct wal_record *r)
{
	struct wire w;

	wire_decode(&w, bytes_of(bytes, WAL_RECORD_BYTES));
	record_wire(&w, r);
	return wire_end(&w) == ERR_OK && r->length <= WAL_PAYLOAD_MAX &&
	       r->type >= WAL_ENTRY && r->type <= WAL_SYNC &&
	       (r->flags & ~WAL_FLAG_SYNCED) == 0;
}

bool
wal_record_valid(
    const uint8_t *record, const struct wal_record *r, uint64_t seed)
{
	return r->checksum == record_checksum(record, r->length, seed);
}

/* ---- payloads ---- */

static void
entry_wire(struct wire *w, uint64_t *term, uint64_t *index, uint8_t *type)
{
	wire_u64(w, term);
	wire_u64(w, index);
	wire_u8(w, type);
	wire_require(w, *type <= RAFT_ENTRY_CONF_CHANGE_V2);
}

void
wal_entry_encode(const struct raft_entry *e, struct buf *head)
{
	uint64_t term = e->term, index = e->index;
	uint8_t type = (uint8_t)e->type;
	struct wire w;

	wire_encode(&w, head);
	entry_wire(&w, &term, &index, &type);
	assert(wire_end(&w) == ERR_OK);
}

enum err
wal_entry_decode(struct bytes payload, struct raft_entry *e, struct bytes *data)
{
	struct wire w;
	uint8_t type;

	if (payload.len < WAL_ENTRY_HEAD_BYTES)
		return ERR_CORRUPT;
	*e = (struct raft_entry){0};
	wire_decode(&w, bytes_of(payload.data, WAL_ENTRY_HEAD_BYTES));
	entry_wire(&w, &e->term, &e->index, &type);
	if (wire_end(&w) != ERR_OK || e->index == 0)
		return ERR_CORRUPT;
	e->type = (enum raft_entry_type)type;
	*data = bytes_of(payload.data + WAL_ENTRY_HEAD_BYTES,
	    payload.len - WAL_ENTRY_HEAD_BYTES);
	return ERR_OK;
}

static void
hard_state_wire(struct wire *w, struct raft_hard_state *hs)
{
	wire_u64(w, &hs->term);
	wire_u64(w, &hs->vote);
	wire_u64(w, &hs->commit);
}

void
wal_hard_state_encode(const struct raft_hard_state *hs, struct buf *out)
{
	struct raft_hard_state copy = *hs;
	struct wire w;

	wire_encode(&w, out);
	hard_state_wire(&w, &copy);
}

enum err
wal_hard_state_decode(struct bytes payload, struct raft_hard_state *hs)
{
	struct wire w;

	wire_decode(&w, payload);
	hard_state_wire(&w, hs);
	return wire_end(&w) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static void
ids_wire(struct wire *w, struct raft_ids *ids)
{
	wire_u32(w, &ids->count);
	wire_require(w, ids->count <= RAFT_IDS_MAX);
	for (uint32_t i = 0; wire_err(w) == ERR_OK && i < ids->count; i++) {
		wire_u64(w, &ids->id[i]);
		wire_require(w, i == 0 || ids->id[i - 1] < ids->id[i]);
	}
}

void
wal_member_wire(struct wire *w, struct wal_member *m)
{
	wire_u64(w, &m->id);
	wire_require(w, m->id >= 1 && m->id <= NODE_ID_MAX);
	wire_u64(w, &m->incarnation);
	wire_bool(w, &m->promote);
	wire_u64(w, &m->replaces);
	wire_text(w, m->address, sizeof(m->address));
}

static void
conf_wire(struct wire *w, struct wal_conf *c)
{
	wire_u64(w, &c->index);
	ids_wire(w, &c->state.voters);
	ids_wire(w, &c->state.learners);
	ids_wire(w, &c->state.voters_outgoing);
	ids_wire(w, &c->state.learners_next);
	wire_bool(w, &c->state.auto_leave);
	wire_u64(w, &c->members_index);
	wire_u64(w, &c->id_max);
	wire_u32(w, &c->member_count);
	wire_require(w, c->member_count <= NODES_MAX);
	for (uint32_t i = 0; wire_err(w) == ERR_OK && i < c->member_count; i++)
		wal_member_wire(w, &c->members[i]);
	wire_u32(w, &c->order_count);
	wire_require(w, c->order_count <= WAL_ORDERS_WRITTEN);
	for (uint32_t i = 0; wire_err(w) == ERR_OK && i < c->order_count; i++) {
		wire_u64(w, &c->orders[i].token);
		wire_u64(w, &c->orders[i].index);
		wire_u64(w, &c->orders[i].id);
	}
}

void
wal_conf_encode(const struct wal_conf *conf, struct buf *out)
{
	struct wal_conf copy = *conf;
	struct wire w;

	if (copy.order_count > WAL_ORDERS_WRITTEN) {
		copy.order_count = WAL_ORDERS_WRITTEN;
		memcpy(copy.orders,
		    &conf->orders[conf->order_count - WAL_ORDERS_WRITTEN],
		    sizeof(copy.orders[0]) * WAL_ORDERS_WRITTEN);
	}
	wire_encode(&w, out);
	conf_wire(&w, &copy);
	assert(wire_end(&w) == ERR_OK);
}

enum err
wal_conf_decode(struct bytes payload, struct wal_conf *conf)
{
	struct wire w;

	memset(conf, 0, sizeof(*conf));
	wire_decode(&w, payload);
	conf_wire(&w, conf);
	return wire_end(&w) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static void
mark_wire(struct wire *w, struct wal_mark *m)
{
	wire_u64(w, &m->index);
	wire_require(w, m->index > 0);
	wire_u64(w, &m->term);
	wire_bool(w, &m->replaces);
}

void
wal_mark_encode(
    const struct wal_mark *mark, const struct wal_conf *conf, struct buf *out)
{
	struct wal_mark copy = *mark;
	struct wire w;

	wire_encode(&w, out);
	mark_wire(&w, &copy);
	assert(wire_end(&w) == ERR_OK);
	if (mark->replaces)
		wal_conf_encode(conf, out);
}

enum err
wal_mark_decode(
    struct bytes payload, struct wal_mark *mark, struct wal_conf *conf)
{
	struct wire w;

	wire_decode(&w, payload);
	mark_wire(&w, mark);
	if (wire_err(&w) == ERR_OK && mark->replaces)
		return wal_conf_decode(bytes_of(w.pos, w.left), conf);
	return wire_end(&w) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}
