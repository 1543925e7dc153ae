/* What must hold between any two calls, and from one call to the next.  Only a
 * bug of the core, or of its user, can break it. */
#include "raftd/raft/core.h"

#include <assert.h>

struct raft_view
raft_view(const struct raft *r)
{
	return (struct raft_view){.term = r->term,
	    .vote = r->vote,
	    .committed = r->log.committed,
	    .applied = r->log.applied};
}

static void
check_log(const struct raft_log *l)
{
	assert(l->applied <= l->applying);
	assert(l->applying <= l->committed);
	assert(l->committed <= raft_log_last(l));
	assert(l->offset <= l->offset_in_progress);
	assert(l->offset_in_progress <= l->offset + l->tail.count);
	if (l->snapshot != NULL) {
		assert(l->snapshot->index < l->offset);
		assert(l->snapshot->index <= l->committed);
	}
}

static void
check_role(const struct raft *r)
{
	switch (r->role) {
	case RAFT_FOLLOWER:
		assert(r->lead != r->id);
		break;
	case RAFT_PRE_CANDIDATE:
		assert(r->lead == RAFT_NONE);
		break;
	case RAFT_CANDIDATE:
		assert(r->lead == RAFT_NONE);
		assert(r->vote == r->id);
		break;
	case RAFT_LEADER:
		assert(r->lead == r->id);
		assert(r->vote == r->id);
		/* The first entry of its term is in the log. */
		assert(raft_log_last_term(&r->log) == r->term);
		break;
	}
	assert(r->role == RAFT_LEADER || r->transferee == RAFT_NONE);
	assert(r->role == RAFT_LEADER || r->reads.count == 0);
}

static void
check_progress(const struct raft *r)
{
	uint64_t last = raft_log_last(&r->log);

	for (uint32_t i = 0; i < r->tracker.count; i++) {
		const struct progress *pr = &r->tracker.prs[i];

		/* A snapshot may be older than what is acknowledged. */
		assert(pr->match < pr->next ||
		       pr->state == RAFT_PROGRESS_SNAPSHOT);
		assert(pr->inflights.count <= pr->inflights.count_max);
		assert(pr->state != RAFT_PROGRESS_SNAPSHOT ||
		       pr->inflights.count == 0);
		if (r->role != RAFT_LEADER)
			continue;
		/* Nobody has more than the leader of the term. */
		assert(pr->match <= last);
		assert(pr->read_ack <= r->read_count);
	}
}

void
raft_check(const struct raft *r, const struct raft_view *before)
{
	check_log(&r->log);
	check_role(r);
	check_progress(r);
	/* Thesis 3.4: terms do not fall, and a term has one vote. */
	assert(r->term >= before->term);
	assert(r->term > before->term || before->vote == RAFT_NONE ||
	       r->vote == before->vote);
	/* Thesis 3.5: what is committed stays so. */
	assert(r->log.committed >= before->committed);
	assert(r->log.applied >= before->applied);
}
