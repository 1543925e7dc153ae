/* Roles, terms, and the way of a message through the core.
 *
 *                    timer, transfer
 *     +----------+ -----------------> +---------------+
 *     |          |  (with pre-vote)   | pre-candidate |
 *     |          | <----------------- +---------------+
 *     |          |     lost, or          | won
 *     |          |     a leader          v
 *     | follower | -----------------> +-----------+ --+
 *     |          |  timer, transfer   | candidate |   | timer: again
 *     |          | <----------------- +-----------+ <-+
 *     |          |     lost, or          | won
 *     |          |     a leader          v
 *     |          | <----------------- +--------+
 *     +----------+  higher term, no   | leader |
 *                   quorum, removed   +--------+
 *
 * A candidate whose timer fires again asks for pre-votes again, if those are
 * on.  Any node becomes follower at once when it meets a higher term, thesis
 * 3.3; the exceptions stand in step_higher_term(). */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* ---- sending ---- */

static bool
is_vote_type(enum raft_msg_type type)
{
	return type == RAFT_MSG_VOTE || type == RAFT_MSG_PRE_VOTE ||
	       type == RAFT_MSG_VOTE_RESP || type == RAFT_MSG_PRE_VOTE_RESP;
}

/* Into the queue that is right for it.  Answers to appends and votes promise
 * something that must be durable first (thesis 3.8); so do those that this
 * node addresses to itself.  All else may leave before. */
void
core_send(struct raft *r, struct raft_msg *m)
{
	if (m->from == RAFT_NONE)
		m->from = r->id;
	if (is_vote_type(m->type))
		assert(m->term != 0); /* whose term it is differs: sender's */
	else if (m->type != RAFT_MSG_PROP && m->type != RAFT_MSG_READ_INDEX)
		m->term = r->term;

	if (m->type == RAFT_MSG_APP_RESP || m->type == RAFT_MSG_VOTE_RESP ||
	    m->type == RAFT_MSG_PRE_VOTE_RESP) {
		msg_queue_push(&r->msgs_after, m);
	} else {
		assert(m->to != r->id);
		msg_queue_push(&r->msgs, m);
	}
}

/* ---- roles ---- */

static void
reset(struct raft *r, uint64_t term)
{
	uint64_t last = raft_log_last(&r->log);

	if (r->term != term) {
		r->term = term;
		r->vote = RAFT_NONE;
	}
	r->lead = RAFT_NONE;
	r->election_elapsed = 0;
	r->heartbeat_elapsed = 0;
	/* Spread, so that votes are seldom split: thesis 3.4. */
	r->election_timeout =
	    r->config.election_ticks +
	    r->config.random(r->config.random_arg, r->config.election_ticks);
	r->transferee = RAFT_NONE;
	for (uint32_t i = 0; i < r->tracker.count; i++) {
		struct progress *pr = &r->tracker.prs[i];

		progress_reset(pr, pr->id == r->id ? last : 0, last + 1);
	}
	r->pending_conf_index = 0;
	r->uncommitted_bytes = 0;
	read_forget(r);
}

/* The only place where the role changes: the moves of the diagram above. */
static void
become(struct raft *r, enum raft_role role, uint64_t lead)
{
	switch (role) {
	case RAFT_FOLLOWER:
		break;
	case RAFT_PRE_CANDIDATE:
	case RAFT_CANDIDATE:
		assert(r->role != RAFT_LEADER);
		break;
	case RAFT_LEADER:
		assert(r->role == RAFT_CANDIDATE);
		break;
	}
	r->role = role;
	r->lead = lead;
	core_trace(r, "%llx became %s at term %llu", ULL(r->id),
	    raft_role_name(role), ULL(r->term));
}

void
core_become_follower(struct raft *r, uint64_t term, uint64_t lead)
{
	reset(r, term);
	become(r, RAFT_FOLLOWER, lead);
}

/* Nothing but the role and what belongs to it: a pre-vote must leave no trace
 * if it fails, thesis 9.6. */
void
core_become_pre_candidate(struct raft *r)
{
	tracker_reset_votes(&r->tracker);
	become(r, RAFT_PRE_CANDIDATE, RAFT_NONE);
}

void
core_become_candidate(struct raft *r)
{
	reset(r, r->term + 1);
	r->vote = r->id;
	become(r, RAFT_CANDIDATE, RAFT_NONE);
}

void
core_become_leader(struct raft *r)
{
	struct raft_entry empty = {.type = RAFT_ENTRY_NORMAL};
	struct progress *self;
	bool appended;

	reset(r, r->term);
	become(r, RAFT_LEADER, r->id);
	self = tracker_find(&r->tracker, r->id);
	if (self != NULL) {
		progress_become_replicate(self);
		self->recent_active = true;
	}
	/* A change of the last term may be in the log: none of ours before
	 * all of the log is applied. */
	r->pending_conf_index = raft_log_last(&r->log);
	/* Without an entry of its own term a leader can commit nothing:
	 * thesis 3.6.2, 6.4. */
	appended = propose_append(r, &empty, 1);
	assert(appended);
}

/* ---- a message ---- */

static enum raft_rc
step_follower(struct raft *r, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_PROP:
	case RAFT_MSG_TRANSFER_LEADER:
	case RAFT_MSG_READ_INDEX:
		return follow_on_forward(r, m);
	case RAFT_MSG_APP:
		r->election_elapsed = 0;
		r->lead = m->from;
		return follow_on_app(r, m);
	case RAFT_MSG_HEARTBEAT:
		r->election_elapsed = 0;
		r->lead = m->from;
		return follow_on_heartbeat(r, m);
	case RAFT_MSG_SNAP:
		r->election_elapsed = 0;
		r->lead = m->from;
		return snapshot_on_snap(r, m);
	case RAFT_MSG_FORGET_LEADER:
		/* A leader that reads by lease relies on being known. */
		if (r->config.read_mode != RAFT_READ_LEASE)
			r->lead = RAFT_NONE;
		return RAFT_OK;
	case RAFT_MSG_TIMEOUT_NOW:
		election_hup(r, CAMPAIGN_TRANSFER);
		return RAFT_OK;
	case RAFT_MSG_READ_INDEX_RESP:
		read_on_resp(r, m);
		return RAFT_OK;
	case RAFT_MSG_HUP:
	case RAFT_MSG_BEAT:
	case RAFT_MSG_APP_RESP:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_HEARTBEAT_RESP:
	case RAFT_MSG_UNREACHABLE:
	case RAFT_MSG_SNAP_STATUS:
	case RAFT_MSG_CHECK_QUORUM:
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_STORAGE_APPEND:
	case RAFT_MSG_STORAGE_APPEND_RESP:
	case RAFT_MSG_STORAGE_APPLY:
	case RAFT_MSG_STORAGE_APPLY_RESP:
		break;
	}
	return RAFT_OK;
}

/* Candidates and pre-candidates. */
static enum raft_rc
step_candidate(struct raft *r, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_PROP:
		return RAFT_DROPPED;
	case RAFT_MSG_APP:
	case RAFT_MSG_HEARTBEAT:
	case RAFT_MSG_SNAP:
		/* Of our own term: somebody else has won it (thesis 3.4). */
		core_become_follower(r, r->term, m->from);
		return step_follower(r, m);
	case RAFT_MSG_VOTE_RESP:
		if (r->role == RAFT_CANDIDATE)
			election_on_vote_resp(r, m);
		return RAFT_OK;
	case RAFT_MSG_PRE_VOTE_RESP:
		if (r->role == RAFT_PRE_CANDIDATE)
			election_on_vote_resp(r, m);
		return RAFT_OK;
	case RAFT_MSG_HUP:
	case RAFT_MSG_BEAT:
	case RAFT_MSG_APP_RESP:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_HEARTBEAT_RESP:
	case RAFT_MSG_UNREACHABLE:
	case RAFT_MSG_SNAP_STATUS:
	case RAFT_MSG_CHECK_QUORUM:
	case RAFT_MSG_TRANSFER_LEADER:
	case RAFT_MSG_TIMEOUT_NOW:
	case RAFT_MSG_READ_INDEX:
	case RAFT_MSG_READ_INDEX_RESP:
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_STORAGE_APPEND:
	case RAFT_MSG_STORAGE_APPEND_RESP:
	case RAFT_MSG_STORAGE_APPLY:
	case RAFT_MSG_STORAGE_APPLY_RESP:
	case RAFT_MSG_FORGET_LEADER:
		break;
	}
	return RAFT_OK;
}

/* A leader that has not heard from a quorum for an election timeout steps
 * down, so that its clients go elsewhere: thesis 6.2. */
static void
on_check_quorum(struct raft *r)
{
	if (!tracker_quorum_active(&r->tracker)) {
		core_trace(r,
		    "%llx stepped down to follower since quorum is not active",
		    ULL(r->id));
		core_become_follower(r, r->term, RAFT_NONE);
	}
	for (uint32_t i = 0; i < r->tracker.count; i++)
		if (r->tracker.prs[i].id != r->id)
			r->tracker.prs[i].recent_active = false;
}

/* What a leader does with a message about, or from, a node that it tracks. */
static enum raft_rc
step_leader_progress(
    struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_APP_RESP:
		return replicate_on_app_resp(r, pr, m);
	case RAFT_MSG_HEARTBEAT_RESP:
		replicate_on_heartbeat_resp(r, pr, m);
		return RAFT_OK;
	case RAFT_MSG_SNAP_STATUS:
		snapshot_on_status(pr, m);
		return RAFT_OK;
	case RAFT_MSG_UNREACHABLE:
		/* Appends on their way are lost: find the end anew. */
		if (pr->state == RAFT_PROGRESS_REPLICATE)
			progress_become_probe(pr);
		return RAFT_OK;
	case RAFT_MSG_TRANSFER_LEADER:
		election_on_transfer(r, pr, m);
		return RAFT_OK;
	case RAFT_MSG_HUP:
	case RAFT_MSG_BEAT:
	case RAFT_MSG_PROP:
	case RAFT_MSG_APP:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_SNAP:
	case RAFT_MSG_HEARTBEAT:
	case RAFT_MSG_CHECK_QUORUM:
	case RAFT_MSG_TIMEOUT_NOW:
	case RAFT_MSG_READ_INDEX:
	case RAFT_MSG_READ_INDEX_RESP:
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_STORAGE_APPEND:
	case RAFT_MSG_STORAGE_APPEND_RESP:
	case RAFT_MSG_STORAGE_APPLY:
	case RAFT_MSG_STORAGE_APPLY_RESP:
	case RAFT_MSG_FORGET_LEADER:
		break;
	}
	return RAFT_OK;
}

static enum raft_rc
step_leader(struct raft *r, const struct raft_msg *m)
{
	struct progress *pr;

	if (m->type == RAFT_MSG_BEAT) {
		replicate_beat(r);
		return RAFT_OK;
	}
	if (m->type == RAFT_MSG_CHECK_QUORUM) {
		on_check_quorum(r);
		return RAFT_OK;
	}
	if (m->type == RAFT_MSG_PROP)
		return propose_on_leader(r, m);
	if (m->type == RAFT_MSG_READ_INDEX) {
		read_on_leader(r, m);
		return RAFT_OK;
	}
	pr = tracker_find(&r->tracker, m->from);
	return pr == NULL ? RAFT_OK : step_leader_progress(r, pr, m);
}

/* False: the message ends here. */
static bool
step_higher_term(struct raft *r, const struct raft_msg *m)
{
	bool asks = m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE;
	uint64_t lead = RAFT_NONE;

	/* A node that hears from a leader does not help to depose it, unless
	 * the leader itself asked for it: thesis 4.2.3. */
	if (asks && !election_is_transfer(m) && r->config.check_quorum &&
	    r->lead != RAFT_NONE &&
	    r->election_elapsed < r->config.election_ticks) {
		core_trace(r,
		    "%llx ignored %s from %llx at term %llu: lease is not "
		    "expired",
		    ULL(r->id), raft_msg_type_name(m->type), ULL(m->from),
		    ULL(r->term));
		return false;
	}
	/* A pre-vote asks about a term that nobody is in, thesis 9.6; its
	 * grant repeats that term. */
	if (m->type == RAFT_MSG_PRE_VOTE ||
	    (m->type == RAFT_MSG_PRE_VOTE_RESP && !m->reject))
		return true;
	if (m->type == RAFT_MSG_APP || m->type == RAFT_MSG_HEARTBEAT ||
	    m->type == RAFT_MSG_SNAP)
		lead = m->from;
	core_trace(r, "%llx [term: %llu] received a %s from %llx [term: %llu]",
	    ULL(r->id), ULL(r->term), raft_msg_type_name(m->type), ULL(m->from),
	    ULL(m->term));
	core_become_follower(r, m->term, lead);
	return true;
}

/* Old news, thesis 3.3; but some senders must learn how old. */
static void
step_lower_term(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.to = m->from};

	if ((m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_APP) &&
	    (r->config.check_quorum || r->config.pre_vote)) {
		/* We may have moved on while cut off, and our campaigns are
		 * not heard: so this must make the leader step down. */
		answer.type = RAFT_MSG_APP_RESP;
		core_send(r, &answer);
	} else if (m->type == RAFT_MSG_PRE_VOTE) {
		/* Or a candidate with a lower term could wait for ever. */
		answer.type = RAFT_MSG_PRE_VOTE_RESP;
		answer.term = r->term;
		answer.reject = true;
		core_send(r, &answer);
	} else if (m->type == RAFT_MSG_STORAGE_APPEND_RESP) {
		ready_on_append_resp(r, m, false);
	}
}

enum raft_rc
core_step(struct raft *r, const struct raft_msg *m)
{
	if (m->term > r->term) {
		if (!step_higher_term(r, m))
			return RAFT_OK;
	} else if (m->term != 0 && m->term < r->term) {
		step_lower_term(r, m);
		return RAFT_OK;
	}
	/* The same for every role: */
	if (m->type == RAFT_MSG_HUP) {
		election_hup(r, r->config.pre_vote ? CAMPAIGN_PRE_ELECTION
						   : CAMPAIGN_ELECTION);
		return RAFT_OK;
	}
	if (m->type == RAFT_MSG_STORAGE_APPEND_RESP) {
		ready_on_append_resp(r, m, true);
		return RAFT_OK;
	}
	if (m->type == RAFT_MSG_STORAGE_APPLY_RESP)
		return ready_on_apply_resp(r, m);
	if (m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE) {
		election_on_vote(r, m);
		return RAFT_OK;
	}
	switch (r->role) {
	case RAFT_FOLLOWER:
		return step_follower(r, m);
	case RAFT_CANDIDATE:
	case RAFT_PRE_CANDIDATE:
		return step_candidate(r, m);
	case RAFT_LEADER:
		return step_leader(r, m);
	}
	return RAFT_OK;
}
