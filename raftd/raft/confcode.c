/* The payload of an entry that is a configuration change.
 *
 *   u8  version   1
 *   u8  v1        0 or 1: the type of the entry that it is in
 *   u8  transition
 *   u8  count     of operations
 *   count times:
 *     u8  op
 *     u64 id      little-endian
 *   context       the rest
 *
 * No payload at all is a V2 change without operations. */
#include "raftd/raft/core.h"

#include <string.h>

#include "base/mem.h"

enum { FORMAT_VERSION = 1, HEAD_BYTES = 4, STEP_BYTES = 9 };

static void
put_u64(uint8_t *to, uint64_t value)
{
	for (unsigned int i = 0; i < 8; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_u64(const uint8_t *from)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < 8; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}

struct blob *
raft_conf_change_encode(const struct raft_conf_change *cc)
{
	size_t steps = HEAD_BYTES + (size_t)cc->count * STEP_BYTES;
	struct blob *b;
	uint8_t *at;

	if (!cc->v1 && cc->count == 0 && cc->transition == RAFT_CONF_AUTO &&
	    cc->context.len == 0)
		return NULL;
	b = blob_new(NULL, steps + cc->context.len);
	at = b->data;
	at[0] = FORMAT_VERSION;
	at[1] = cc->v1;
	at[2] = (uint8_t)cc->transition;
	at[3] = (uint8_t)cc->count;
	at += HEAD_BYTES;
	for (uint32_t i = 0; i < cc->count; i++, at += STEP_BYTES) {
		at[0] = (uint8_t)cc->ops[i].op;
		put_u64(at + 1, cc->ops[i].id);
	}
	if (cc->context.len > 0)
		memcpy(at, cc->context.data, cc->context.len);
	return b;
}

/* The first change had one operation and no transition. */
static bool
v1_valid(const uint8_t *head)
{
	return head[2] == RAFT_CONF_AUTO && head[3] == 1;
}

static bool
head_valid(enum raft_entry_type type, struct bytes data)
{
	const uint8_t *head = data.data;
	bool v1 = type == RAFT_ENTRY_CONF_CHANGE;

	if (data.len < HEAD_BYTES || head[0] != FORMAT_VERSION ||
	    head[1] != v1 || head[2] > RAFT_CONF_EXPLICIT ||
	    head[3] > RAFT_CONF_OPS_MAX)
		return false;
	if (v1 && !v1_valid(head))
		return false;
	return data.len - HEAD_BYTES >= (size_t)head[3] * STEP_BYTES;
}

enum raft_rc
raft_conf_change_decode(
    enum raft_entry_type type, struct bytes data, struct raft_conf_change *cc)
{
	const uint8_t *at = data.data;

	*cc = (struct raft_conf_change){0};
	if (type == RAFT_ENTRY_CONF_CHANGE_V2 && data.len == 0)
		return RAFT_OK;
	if (type == RAFT_ENTRY_NORMAL || !head_valid(type, data))
		return RAFT_CONF_INVALID;
	cc->v1 = type == RAFT_ENTRY_CONF_CHANGE;
	cc->transition = (enum raft_conf_transition)at[2];
	cc->count = at[3];
	at += HEAD_BYTES;
	for (uint32_t i = 0; i < cc->count; i++, at += STEP_BYTES) {
		if (at[0] > RAFT_CONF_ADD_LEARNER)
			return RAFT_CONF_INVALID;
		cc->ops[i].op = (enum raft_conf_op)at[0];
		cc->ops[i].id = get_u64(at + 1);
	}
	cc->context = bytes_of(at, data.len - (size_t)(at - data.data));
	return RAFT_OK;
}
