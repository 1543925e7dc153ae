/* Proposals on the leader. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define ULL(x) ((unsigned long long)(x))

/* Do payloads fit under the limit of what may be in the log unapplied?  If
 * nothing is, anything fits, or a large one could never be proposed; and what
 * has no payload (a new leader's entry, leaving a joint configuration) always
 * fits. */
static bool
reserve_uncommitted(struct raft *r, uint64_t bytes)
{
	if (r->uncommitted_bytes > 0 && bytes > 0 &&
	    (bytes > r->config.max_uncommitted_bytes ||
		r->uncommitted_bytes > r->config.max_uncommitted_bytes - bytes))
		return false;
	r->uncommitted_bytes += bytes;
	return true;
}

void
propose_reduce_uncommitted(struct raft *r, uint64_t bytes)
{
	r->uncommitted_bytes -=
	    bytes < r->uncommitted_bytes ? bytes : r->uncommitted_bytes;
}

/* To the own log, with term and index given here.  False: too much is
 * uncommitted. */
bool
propose_append(struct raft *r, const struct raft_entry *entries, size_t count)
{
	struct raft_msg ack = {.type = RAFT_MSG_APP_RESP, .to = r->id};
	uint64_t last = raft_log_last(&r->log);

	if (!reserve_uncommitted(r, entries_payload(entries, count))) {
		core_trace(r,
		    "%llx appending new entries to log would exceed "
		    "uncommitted entry size limit; dropping proposal",
		    ULL(r->id));
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		struct raft_entry e = entries[i];

		e.term = r->term;
		e.index = last + 1 + i;
		raft_log_append(&r->log, &e, 1);
	}
	/* Counts towards the commit index once it is durable, which may be
	 * after followers have it: thesis 10.2.1. */
	ack.index = last + count;
	core_send(r, &ack);
	return true;
}

/* Why a change cannot be proposed now, or NULL.  pending: index up to which
 * there may be a change that is not applied. */
static const char *
change_refused(
    const struct raft *r, const struct raft_conf_change *cc, uint64_t pending)
{
	bool joint = tracker_is_joint(&r->tracker);

	if (r->config.disable_conf_change_validation)
		return NULL;
	if (pending > r->log.applied)
		return "possible unapplied conf change";
	if (joint && cc->count > 0)
		return "must transition out of joint config first";
	if (!joint && cc->count == 0)
		return "not in joint state; refusing empty conf change";
	/* Not in etcd, where a change that cannot be carried out is fatal
	 * when it is applied. */
	return change_try(&r->tracker, cc);
}

/* A refused change becomes an empty entry: so its proposer sees something come
 * of it, and indexes stay what they are. */
static enum raft_rc
check_change(const struct raft *r, struct raft_entry *e, uint64_t index,
    uint64_t *pending)
{
	struct raft_conf_change cc;
	const char *refused;

	if (raft_conf_change_decode(e->type, blob_bytes(e->data), &cc) !=
	    RAFT_OK)
		return RAFT_STEP_MALFORMED;
	refused = change_refused(r, &cc, *pending);
	if (refused != NULL) {
		core_trace(r, "%llx ignoring conf change at config: %s",
		    ULL(r->id), refused);
		*e = (struct raft_entry){.type = RAFT_ENTRY_NORMAL};
	} else {
		*pending = index;
	}
	return RAFT_OK;
}

/* Checks the changes among the entries (borrowed, may be altered), appends and
 * sends them. */
static enum raft_rc
propose_entries(struct raft *r, struct raft_entry *entries, size_t count)
{
	uint64_t pending = r->pending_conf_index;
	uint64_t last = raft_log_last(&r->log);

	for (size_t i = 0; i < count; i++) {
		enum raft_rc rc;

		if (entries[i].type == RAFT_ENTRY_NORMAL)
			continue;
		rc = check_change(r, &entries[i], last + 1 + i, &pending);
		if (rc != RAFT_OK)
			return rc;
	}
	if (!propose_append(r, entries, count))
		return RAFT_DROPPED;
	/* Only now (etcd: before): what was dropped is not pending. */
	r->pending_conf_index = pending;
	replicate_broadcast(r);
	return RAFT_OK;
}

enum raft_rc
propose_on_leader(struct raft *r, const struct raft_msg *m)
{
	struct raft_entry one;
	struct raft_entry *copy;
	enum raft_rc rc;

	assert(m->entry_count > 0);
	/* A leader that was removed may still be leading, thesis 4.2.2, but
	 * starts nothing new. */
	if (tracker_find(&r->tracker, r->id) == NULL)
		return RAFT_DROPPED;
	if (r->transferee != RAFT_NONE)
		return RAFT_DROPPED;
	if (m->entry_count == 1) {
		one = m->entries[0];
		return propose_entries(r, &one, 1);
	}
	/* Borrowed as well: without references on the payloads. */
	copy = mem_zalloc(m->entry_count, sizeof(*copy));
	memcpy(copy, m->entries, m->entry_count * sizeof(*copy));
	rc = propose_entries(r, copy, m->entry_count);
	mem_free(copy);
	return rc;
}

/* Out of a joint configuration that is to be left automatically.  If it is
 * refused, because leadership is being transferred, the next application or
 * the next leader tries again. */
void
propose_leave_joint(struct raft *r)
{
	struct raft_entry e = {.type = RAFT_ENTRY_CONF_CHANGE_V2};
	struct raft_msg m = {.type = RAFT_MSG_PROP,
	    .from = r->id,
	    .entries = &e,
	    .entry_count = 1};

	if (core_step(r, &m) == RAFT_OK)
		core_trace(r,
		    "%llx initiating automatic transition out of "
		    "joint configuration",
		    ULL(r->id));
}
