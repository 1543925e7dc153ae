/* Replication, the follower's side (thesis 3.5), and what a follower passes on
 * to its leader. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* How many of the entries are in the own log already. */
static size_t
entries_known(const struct raft *r, const struct raft_msg *m)
{
	size_t n = 0;

	while (
	    n < m->entry_count &&
	    raft_log_matches(&r->log, m->entries[n].index, m->entries[n].term))
		n++;
	return n;
}

/* The previous entry fits: take over what is new.  Returns the last index that
 * is now known to be the leader's. */
static uint64_t
take_entries(struct raft *r, const struct raft_msg *m)
{
	uint64_t last = m->index + m->entry_count;
	size_t known = entries_known(r, m);

	/* Entries are replaced only from the first conflict on: an old append
	 * that comes late must not cut the log (thesis 3.5). */
	if (known < m->entry_count)
		raft_log_append(
		    &r->log, &m->entries[known], m->entry_count - known);
	raft_log_commit_to(&r->log, m->commit < last ? m->commit : last);
	return last;
}

enum raft_rc
follow_on_app(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.type = RAFT_MSG_APP_RESP, .to = m->from};
	uint64_t last = raft_log_last(&r->log);

	if (m->index < r->log.committed) {
		answer.index = r->log.committed;
	} else if (raft_log_matches(&r->log, m->index, m->log_term)) {
		answer.index = take_entries(r, m);
	} else {
		core_trace(r,
		    "%llx rejected MsgApp [logterm: %llu, index: %llu] from "
		    "%llx",
		    ULL(r->id), ULL(m->log_term), ULL(m->index), ULL(m->from));
		answer.index = m->index;
		answer.reject = true;
		/* The best guess where the logs meet: nothing of a higher term
		 * than the leader's entry can be the leader's. */
		raft_log_find_by_term(&r->log,
		    m->index < last ? m->index : last, m->log_term,
		    &answer.reject_hint, &answer.log_term);
	}
	core_send(r, &answer);
	return RAFT_OK;
}

enum raft_rc
follow_on_heartbeat(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {
	    .type = RAFT_MSG_HEARTBEAT_RESP, .to = m->from};

	/* The leader believes that we have this entry, and we do not. */
	if (m->commit > raft_log_last(&r->log)) {
		core_trace(r,
		    "%llx: tocommit(%llu) is out of range [lastIndex(%llu)]. "
		    "Was the raft log corrupted, truncated, or lost?",
		    ULL(r->id), ULL(m->commit), ULL(raft_log_last(&r->log)));
		return RAFT_STEP_MALFORMED;
	}
	raft_log_commit_to(&r->log, m->commit);
	answer.context = blob_ref(m->context);
	core_send(r, &answer);
	return RAFT_OK;
}

/* Proposals, reads and transfers are the leader's business.  The original
 * sender stays in it: the answer to a read goes to him. */
enum raft_rc
follow_on_forward(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg copy;

	if (m->type == RAFT_MSG_PROP &&
	    (r->lead == RAFT_NONE || r->config.disable_proposal_forwarding))
		return RAFT_DROPPED;
	if (r->lead == RAFT_NONE)
		return RAFT_OK;
	raft_msg_copy(&copy, m);
	copy.to = r->lead;
	core_send(r, &copy);
	return RAFT_OK;
}
