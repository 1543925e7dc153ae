/* The door of raft_step(): what comes from other nodes is input, and only what
 * a working core could have sent goes on.  Behind it the core may assert.
 *
 * The first two checks are etcd's.  The third is ours: where etcd would panic
 * or go astray, the message is refused. */
#include "raftd/raft/core.h"

static bool
is_thread(uint64_t id)
{
	return id == RAFT_APPEND_THREAD || id == RAFT_APPLY_THREAD;
}

static bool
is_peer(const struct raft *r, uint64_t id)
{
	return id != RAFT_NONE && id != r->id && !is_thread(id);
}

static bool
entry_types_valid(const struct raft_msg *m)
{
	for (size_t i = 0; i < m->entry_count; i++)
		if ((unsigned int)m->entries[i].type >
		    RAFT_ENTRY_CONF_CHANGE_V2)
			return false;
	return true;
}

/* Entries follow on the previous one without a gap, terms never fall, and no
 * entry is of a term that its sender has not reached. */
static bool
app_valid(const struct raft_msg *m)
{
	uint64_t term = m->log_term;

	if (m->index > RAFT_NUMBER_MAX)
		return false;
	for (size_t i = 0; i < m->entry_count; i++) {
		const struct raft_entry *e = &m->entries[i];

		if (e->index != m->index + 1 + i || e->term < term)
			return false;
		term = e->term;
	}
	return m->entry_count == 0 || (term > 0 && term <= m->term);
}

static bool
snap_valid(const struct raft_msg *m)
{
	return m->snapshot != NULL && m->snapshot->index <= RAFT_NUMBER_MAX &&
	       m->snapshot->term <= RAFT_NUMBER_MAX;
}

static bool
term_valid(const struct raft *r, const struct raft_msg *m)
{
	if (m->term > RAFT_NUMBER_MAX)
		return false;
	/* Term 0 means "not compared", which is for requests that a node of
	 * any term may pass on; from a sender with a term it would get past
	 * the comparison. */
	return m->term > 0 || r->term == 0;
}

/* What a snapshot holds is committed, and so right in any term: etcd hears it
 * from a sender that has no term yet.  A candidate would take that over. */
static bool
snap_term_valid(const struct raft *r, const struct raft_msg *m)
{
	return term_valid(r, m) || (m->term == 0 && r->role != RAFT_CANDIDATE &&
				       r->role != RAFT_PRE_CANDIDATE);
}

/* A node's own snapshot, sent back to it, is let in only where it is ignored:
 * it must not follow itself. */
static bool
snap_sender_valid(const struct raft *r, const struct raft_msg *m)
{
	if (m->from == r->id && r->role == RAFT_LEADER)
		return m->term <= r->term;
	if (m->from == r->id)
		return m->term > 0 && m->term < r->term;
	return is_peer(r, m->from);
}

/* Of a node without a term: the answer to such a snapshot.  It has nothing
 * that is not committed. */
static bool
answers_snap(const struct raft *r, const struct raft_msg *m)
{
	return m->term == 0 && !m->reject && m->from != r->id &&
	       (m->index <= r->log.committed || r->role != RAFT_LEADER);
}

static bool
app_resp_valid(const struct raft *r, const struct raft_msg *m)
{
	/* The own log fits itself. */
	if (m->reject && m->from == r->id)
		return false;
	return term_valid(r, m) || answers_snap(r, m);
}

static bool
well_formed(const struct raft *r, const struct raft_msg *m)
{
	if (!entry_types_valid(m) || m->from == RAFT_NONE)
		return false;
	switch (m->type) {
	case RAFT_MSG_APP:
		return term_valid(r, m) && is_peer(r, m->from) && app_valid(m);
	case RAFT_MSG_SNAP:
		return snap_term_valid(r, m) && snap_sender_valid(r, m) &&
		       snap_valid(m);
	case RAFT_MSG_HEARTBEAT:
	case RAFT_MSG_TIMEOUT_NOW:
		return term_valid(r, m) && is_peer(r, m->from);
	case RAFT_MSG_VOTE:
	case RAFT_MSG_PRE_VOTE:
		return m->term > 0 && term_valid(r, m) && is_peer(r, m->from);
	case RAFT_MSG_APP_RESP:
		return app_resp_valid(r, m);
	case RAFT_MSG_HEARTBEAT_RESP:
		return term_valid(r, m) && m->from != r->id;
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_PRE_VOTE_RESP:
		return term_valid(r, m);
	case RAFT_MSG_READ_INDEX_RESP:
		return term_valid(r, m) && m->entry_count == 1;
	case RAFT_MSG_PROP:
		return m->term <= RAFT_NUMBER_MAX && m->entry_count > 0;
	case RAFT_MSG_READ_INDEX:
		return m->term <= RAFT_NUMBER_MAX && m->entry_count == 1;
	case RAFT_MSG_HUP:
	case RAFT_MSG_BEAT:
	case RAFT_MSG_UNREACHABLE:
	case RAFT_MSG_SNAP_STATUS:
	case RAFT_MSG_CHECK_QUORUM:
	case RAFT_MSG_TRANSFER_LEADER:
	case RAFT_MSG_STORAGE_APPEND:
	case RAFT_MSG_STORAGE_APPEND_RESP:
	case RAFT_MSG_STORAGE_APPLY:
	case RAFT_MSG_STORAGE_APPLY_RESP:
	case RAFT_MSG_FORGET_LEADER:
		return m->term <= RAFT_NUMBER_MAX;
	}
	return false;
}

enum raft_rc
admit_msg(const struct raft *r, const struct raft_msg *m)
{
	if (!msg_type_valid(m->type))
		return RAFT_STEP_MALFORMED;
	if (msg_type_local(m->type) && !is_thread(m->from))
		return RAFT_STEP_LOCAL;
	if (msg_type_response(m->type) && !is_thread(m->from) &&
	    tracker_find(&r->tracker, m->from) == NULL)
		return RAFT_STEP_UNKNOWN_PEER;
	if (!well_formed(r, m)) {
		core_trace(r, "%llx ignored malformed %s from %llx",
		    (unsigned long long)r->id, raft_msg_type_name(m->type),
		    (unsigned long long)m->from);
		return RAFT_STEP_MALFORMED;
	}
	return RAFT_OK;
}
