/* Messages: names, and owning what hangs on them. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static const char *const type_names[] = {
    [RAFT_MSG_HUP] = "MsgHup",
    [RAFT_MSG_BEAT] = "MsgBeat",
    [RAFT_MSG_PROP] = "MsgProp",
    [RAFT_MSG_APP] = "MsgApp",
    [RAFT_MSG_APP_RESP] = "MsgAppResp",
    [RAFT_MSG_VOTE] = "MsgVote",
    [RAFT_MSG_VOTE_RESP] = "MsgVoteResp",
    [RAFT_MSG_SNAP] = "MsgSnap",
    [RAFT_MSG_HEARTBEAT] = "MsgHeartbeat",
    [RAFT_MSG_HEARTBEAT_RESP] = "MsgHeartbeatResp",
    [RAFT_MSG_UNREACHABLE] = "MsgUnreachable",
    [RAFT_MSG_SNAP_STATUS] = "MsgSnapStatus",
    [RAFT_MSG_CHECK_QUORUM] = "MsgCheckQuorum",
    [RAFT_MSG_TRANSFER_LEADER] = "MsgTransferLeader",
    [RAFT_MSG_TIMEOUT_NOW] = "MsgTimeoutNow",
    [RAFT_MSG_READ_INDEX] = "MsgReadIndex",
    [RAFT_MSG_READ_INDEX_RESP] = "MsgReadIndexResp",
    [RAFT_MSG_PRE_VOTE] = "MsgPreVote",
    [RAFT_MSG_PRE_VOTE_RESP] = "MsgPreVoteResp",
    [RAFT_MSG_STORAGE_APPEND] = "MsgStorageAppend",
    [RAFT_MSG_STORAGE_APPEND_RESP] = "MsgStorageAppendResp",
    [RAFT_MSG_STORAGE_APPLY] = "MsgStorageApply",
    [RAFT_MSG_STORAGE_APPLY_RESP] = "MsgStorageApplyResp",
    [RAFT_MSG_FORGET_LEADER] = "MsgForgetLeader",
};

static const char *const role_names[] = {
    [RAFT_FOLLOWER] = "StateFollower",
    [RAFT_CANDIDATE] = "StateCandidate",
    [RAFT_LEADER] = "StateLeader",
    [RAFT_PRE_CANDIDATE] = "StatePreCandidate",
};

const char *
raft_rc_text(enum raft_rc rc)
{
	switch (rc) {
	case RAFT_OK:
		return "ok";
	case RAFT_DROPPED:
		return "raft proposal dropped";
	case RAFT_STEP_LOCAL:
		return "raft: cannot step raft local message";
	case RAFT_STEP_UNKNOWN_PEER:
		return "raft: cannot step as peer not found";
	case RAFT_COMPACTED:
		return "requested index is unavailable due to compaction";
	case RAFT_UNAVAILABLE:
		return "requested entry at index is unavailable";
	case RAFT_SNAP_OUT_OF_DATE:
		return "requested index is older than the existing snapshot";
	case RAFT_SNAP_UNAVAILABLE:
		return "snapshot is temporarily unavailable";
	case RAFT_CONF_INVALID:
		return "configuration change is malformed";
	case RAFT_STEP_MALFORMED:
		return "raft: cannot step malformed message";
	}
	return "unknown result";
}

bool
msg_type_valid(enum raft_msg_type type)
{
	return (unsigned int)type < sizeof(type_names) / sizeof(type_names[0]);
}

const char *
raft_msg_type_name(enum raft_msg_type type)
{
	return msg_type_valid(type) ? type_names[type] : "MsgUnknown";
}

const char *
raft_role_name(enum raft_role role)
{
	if ((unsigned int)role >= sizeof(role_names) / sizeof(role_names[0]))
		return "StateUnknown";
	return role_names[role];
}

#define TYPE_BIT(type) (UINT32_C(1) << (type))

bool
msg_type_local(enum raft_msg_type type)
{
	static const uint32_t local =
	    TYPE_BIT(RAFT_MSG_HUP) | TYPE_BIT(RAFT_MSG_BEAT) |
	    TYPE_BIT(RAFT_MSG_UNREACHABLE) | TYPE_BIT(RAFT_MSG_SNAP_STATUS) |
	    TYPE_BIT(RAFT_MSG_CHECK_QUORUM) |
	    TYPE_BIT(RAFT_MSG_STORAGE_APPEND) |
	    TYPE_BIT(RAFT_MSG_STORAGE_APPEND_RESP) |
	    TYPE_BIT(RAFT_MSG_STORAGE_APPLY) |
	    TYPE_BIT(RAFT_MSG_STORAGE_APPLY_RESP);

	return (local & TYPE_BIT(type)) != 0;
}

bool
msg_type_response(enum raft_msg_type type)
{
	static const uint32_t response =
	    TYPE_BIT(RAFT_MSG_APP_RESP) | TYPE_BIT(RAFT_MSG_VOTE_RESP) |
	    TYPE_BIT(RAFT_MSG_HEARTBEAT_RESP) |
	    TYPE_BIT(RAFT_MSG_READ_INDEX_RESP) |
	    TYPE_BIT(RAFT_MSG_PRE_VOTE_RESP) |
	    TYPE_BIT(RAFT_MSG_STORAGE_APPEND_RESP) |
	    TYPE_BIT(RAFT_MSG_STORAGE_APPLY_RESP);

	return (response & TYPE_BIT(type)) != 0;
}

/* ---- ownership ---- */

void
raft_entries_free(struct raft_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		blob_unref(&entries[i].data);
	mem_free(entries);
}

struct raft_entry *
entries_copy(const struct raft_entry *from, size_t count)
{
	struct raft_entry *to;

	if (count == 0)
		return NULL;
	to = mem_zalloc(count, sizeof(*to));
	for (size_t i = 0; i < count; i++) {
		to[i] = from[i];
		(void)blob_ref(to[i].data);
	}
	return to;
}

struct raft_snapshot *
snapshot_copy(const struct raft_snapshot *s)
{
	struct raft_snapshot *copy;

	if (s == NULL)
		return NULL;
	copy = mem_alloc(sizeof(*copy));
	*copy = *s;
	(void)blob_ref(copy->data);
	return copy;
}

void
snapshot_free(struct raft_snapshot **sp)
{
	if (*sp == NULL)
		return;
	blob_unref(&(*sp)->data);
	mem_free(*sp);
	*sp = NULL;
}

/* All but the responses. */
static void
msg_free_own(struct raft_msg *m)
{
	raft_entries_free(m->entries, m->entry_count);
	snapshot_free(&m->snapshot);
	blob_unref(&m->context);
}

void
raft_msg_free(struct raft_msg *m)
{
	for (size_t i = 0; i < m->response_count; i++) {
		/* Responses have none of their own: one level is all. */
		assert(m->responses[i].response_count == 0);
		msg_free_own(&m->responses[i]);
	}
	mem_free(m->responses);
	msg_free_own(m);
	*m = (struct raft_msg){0};
}

void
raft_msg_move(struct raft_msg *dst, struct raft_msg *src)
{
	*dst = *src;
	*src = (struct raft_msg){0};
}

static void
msg_copy_own(struct raft_msg *dst, const struct raft_msg *src)
{
	*dst = *src;
	dst->entries = entries_copy(src->entries, src->entry_count);
	dst->snapshot = snapshot_copy(src->snapshot);
	(void)blob_ref(dst->context);
	dst->responses = NULL;
	dst->response_count = 0;
}

void
raft_msg_copy(struct raft_msg *dst, const struct raft_msg *src)
{
	msg_copy_own(dst, src);
	if (src->response_count == 0)
		return;
	dst->responses =
	    mem_zalloc(src->response_count, sizeof(*dst->responses));
	dst->response_count = src->response_count;
	for (size_t i = 0; i < src->response_count; i++)
		msg_copy_own(&dst->responses[i], &src->responses[i]);
}

/* ---- queues ---- */

void
msg_queue_push(struct msg_queue *q, struct raft_msg *m)
{
	if (q->count == q->cap) {
		q->cap = q->cap == 0 ? 16 : q->cap * 2;
		q->v = mem_resize(q->v, q->cap, sizeof(*q->v));
	}
	raft_msg_move(&q->v[q->count++], m);
}

void
msg_queue_clear(struct msg_queue *q)
{
	for (size_t i = 0; i < q->count; i++)
		raft_msg_free(&q->v[i]);
	q->count = 0;
}

void
msg_queue_free(struct msg_queue *q)
{
	msg_queue_clear(q);
	mem_free(q->v);
	*q = (struct msg_queue){0};
}
