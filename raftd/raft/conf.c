/* Configuration changes taking effect (thesis 4).  The arithmetic is in
 * change.c, the payload of their entries in confcode.c. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* A leader under a configuration that has just changed: a quorum may have
 * become easier to reach, and new nodes wait for their first append. */
static void
lead_on(struct raft *r)
{
	if (replicate_commit(r)) {
		read_release_deferred(r);
		replicate_broadcast(r);
	} else {
		for (uint32_t i = 0; i < r->tracker.count; i++) {
			struct progress *pr = &r->tracker.prs[i];

			if (pr->id != r->id)
				(void)replicate_send(r, pr, false);
		}
	}
	read_answer_acked(r);
	if (r->transferee != RAFT_NONE &&
	    !tracker_is_voter(&r->tracker, r->transferee))
		r->transferee = RAFT_NONE;
}

void
conf_installed(struct raft *r)
{
	const struct progress *self = tracker_find(&r->tracker, r->id);

	if (r->role != RAFT_LEADER)
		return;
	if (self == NULL || self->learner) {
		/* Without stepping down it goes on leading, without counting
		 * itself, until somebody else does: thesis 4.2.2. */
		if (r->config.step_down_on_removal)
			core_become_follower(r, r->term, RAFT_NONE);
		return;
	}
	if (r->tracker.conf.voters.count > 0)
		lead_on(r);
}

void
raft_apply_conf_change(struct raft *r, const struct raft_conf_change *cc,
    struct raft_conf_state *out)
{
	const struct raft_view before = raft_view(r);
	const char *wrong =
	    cc->count > RAFT_CONF_OPS_MAX
		? "too many operations"
		: change_apply(&r->tracker, cc, raft_log_last(&r->log));

	if (wrong == NULL)
		conf_installed(r);
	else
		core_trace(r, "%llx ignored a committed conf change: %s",
		    ULL(r->id), wrong);
	if (out != NULL)
		*out = r->tracker.conf;
	raft_check(r, &before);
}
