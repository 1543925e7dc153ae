/* Record names and layouts; see record.h. */
#include "kvd/record.h"

#include <assert.h>
#include <string.h>

#define RESULT_ITEM_BYTES 9u

static_assert(1 + KEY_BYTES_MAX <= ENGINE_NAME_BYTES_MAX, "keys fit");

struct bytes
record_name_key(struct record_name *n, struct bytes key)
{
	assert(key.len >= 1);
	assert(key.len <= KEY_BYTES_MAX);
	n->data[0] = (uint8_t)RECORD_KEY_PREFIX[0];
	memcpy(n->data + 1, key.data, key.len);
	n->len = 1 + key.len;
	return bytes_of(n->data, n->len);
}

struct bytes
record_name_state(void)
{
	return bytes_of_str("mstate");
}

uint64_t
record_hash_of_key(struct bytes key)
{
	return hash64(key.data, key.len, 0);
}

uint64_t
record_hash(struct bytes name)
{
	assert(name.len >= 1);
	return record_hash_of_key(bytes_of(name.data + 1, name.len - 1));
}

static void
session_name_wire(struct wire *w, uint8_t *prefix, uint64_t *node,
    uint64_t *epoch, uint64_t *seq)
{
	wire_u8(w, prefix);
	wire_u64(w, node);
	wire_u64(w, epoch);
	/* A head's name ends here. */
	if (w->mode == WIRE_DECODE ? w->left > 0 : *seq != 0)
		wire_u64(w, seq);
}

struct bytes
record_name_result(
    struct record_name *n, uint64_t node, uint64_t epoch, uint64_t seq)
{
	uint8_t prefix = (uint8_t)RECORD_SESSION_PREFIX[0];
	struct buf out = {0};
	struct wire w;

	wire_encode(&w, &out);
	session_name_wire(&w, &prefix, &node, &epoch, &seq);
	assert(wire_end(&w) == ERR_OK);
	memcpy(n->data, out.data, out.len);
	n->len = out.len;
	buf_free(&out);
	return bytes_of(n->data, n->len);
}

struct bytes
record_name_session(struct record_name *n, uint64_t node, uint64_t epoch)
{
	return record_name_result(n, node, epoch, 0);
}

enum err
record_name_parse_session(
    struct bytes name, uint64_t *node, uint64_t *epoch, uint64_t *seq)
{
	uint8_t prefix;
	struct wire w;

	wire_decode(&w, name);
	*seq = 0;
	session_name_wire(&w, &prefix, node, epoch, seq);
	return wire_end(&w);
}

enum err
key_record_wire(struct wire *w, struct key_record *m)
{
	wire_u64(w, &m->create_revision);
	wire_u64(w, &m->mod_revision);
	wire_u64(w, &m->version);
	wire_bytes(w, &m->value, VALUE_BYTES_MAX);
	return wire_end(w);
}

enum err
state_wire(struct wire *w, struct state *m)
{
	wire_u8(w, &m->format);
	wire_require(w, m->format == STATE_FORMAT);
	wire_u64(w, &m->cluster);
	wire_u64(w, &m->node);
	wire_u64(w, &m->incarnation);
	wire_u64(w, &m->applied);
	wire_u64(w, &m->term);
	wire_u64(w, &m->revision);
	wire_u64(w, &m->keys);
	wire_u64(w, &m->bytes);
	wire_u64(w, &m->hash.lo);
	wire_u64(w, &m->hash.hi);
	return wire_end(w);
}

enum err
session_record_wire(struct wire *w, struct session_record *m)
{
	wire_u64(w, &m->done_below);
	wire_u64(w, &m->last_index);
	return wire_end(w);
}

void
result_record_wire(struct wire *w, struct result_record *m)
{
	wire_u64(w, &m->revision);
	wire_count(w, &m->count, RESULT_ITEM_BYTES);
}

void
result_item_wire(struct wire *w, struct result_item *m)
{
	wire_u8(w, &m->code);
	wire_u64(w, &m->revision);
}

/* What stands before the record where it is hashed. */
static void
begin_hashed(struct wire *w, struct bytes key, struct buf *scratch)
{
	buf_clear(scratch);
	wire_encode(w, scratch);
	wire_bytes(w, &key, KEY_BYTES_MAX);
}

struct hash128
key_record_hash(struct bytes key, struct bytes record, struct buf *scratch)
{
	struct wire w;

	begin_hashed(&w, key, scratch);
	buf_append(scratch, record.data, record.len);
	return hash128(scratch->data, scratch->len);
}

struct bytes
key_record_encode(struct bytes key, struct key_record *m, struct buf *scratch,
    struct hash128 *hash)
{
	struct wire w;
	size_t from;

	begin_hashed(&w, key, scratch);
	from = scratch->len;
	(void)key_record_wire(&w, m); /* the caller checked its limits */
	*hash = hash128(scratch->data, scratch->len);
	return bytes_of(scratch->data + from, scratch->len - from);
}
