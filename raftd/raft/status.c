/* Looking at a core from outside. */
#include "raftd/raft/core.h"

uint64_t
raft_leader(const struct raft *r)
{
	return r->lead;
}

uint64_t
raft_term(const struct raft *r)
{
	return r->term;
}

uint64_t
raft_commit(const struct raft *r)
{
	return r->log.committed;
}

enum raft_role
raft_role(const struct raft *r)
{
	return r->role;
}

static struct raft_progress_status
progress_status(const struct progress *pr)
{
	return (struct raft_progress_status){.id = pr->id,
	    .match = pr->match,
	    .next = pr->next,
	    .state = pr->state,
	    .learner = pr->learner,
	    .paused = progress_paused(pr),
	    .recent_active = pr->recent_active,
	    .pending_snapshot = pr->pending_snapshot,
	    .inflight = pr->inflights.count,
	    .inflight_full = inflights_full(&pr->inflights)};
}

void
raft_status(const struct raft *r, struct raft_status *out)
{
	*out = (struct raft_status){.id = r->id,
	    .hard_state = core_hard_state(r),
	    .soft_state = {.leader = r->lead, .role = r->role},
	    .applied = r->log.applied,
	    .first_index = raft_log_first(&r->log),
	    .last_index = raft_log_last(&r->log),
	    .transferee = r->transferee,
	    .conf = r->tracker.conf};
	if (r->role != RAFT_LEADER)
		return;
	for (uint32_t i = 0; i < r->tracker.count; i++)
		out->progress[i] = progress_status(&r->tracker.prs[i]);
	out->progress_count = r->tracker.count;
}
