/* Snapshots in place of entries that are gone (thesis 5). */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define ULL(x) ((unsigned long long)(x))

/* ---- the leader ---- */

static struct raft_snapshot *
newest_snapshot(const struct raft *r)
{
	struct raft_snapshot s = {0};
	struct raft_snapshot *copy;

	if (r->log.snapshot != NULL)
		return snapshot_copy(r->log.snapshot);
	if (r->log.ops->snapshot(r->log.arg, &s) != RAFT_OK)
		return NULL;
	if (s.index == 0) {
		blob_unref(&s.data);
		return NULL;
	}
	copy = mem_alloc(sizeof(*copy));
	*copy = s; /* and with it the reference on data */
	return copy;
}

/* Instead of an append.  Not to a node that is silent: a snapshot is large,
 * and would go nowhere. */
bool
snapshot_send(struct raft *r, struct progress *pr)
{
	struct raft_msg m = {.type = RAFT_MSG_SNAP, .to = pr->id};

	if (!pr->recent_active) {
		core_trace(r,
		    "ignore sending snapshot to %llx since it is not recently "
		    "active",
		    ULL(pr->id));
		return false;
	}
	m.snapshot = newest_snapshot(r);
	if (m.snapshot == NULL) {
		core_trace(r,
		    "%llx failed to send snapshot to %llx because snapshot is "
		    "temporarily unavailable",
		    ULL(r->id), ULL(pr->id));
		return false;
	}
	core_trace(r,
	    "%llx sent snapshot [index: %llu, term: %llu] to %llx at match "
	    "%llu, next %llu",
	    ULL(r->id), ULL(m.snapshot->index), ULL(m.snapshot->term),
	    ULL(pr->id), ULL(pr->match), ULL(pr->next));
	progress_become_snapshot(pr, m.snapshot->index);
	core_send(r, &m);
	return true;
}

/* The transport's word.  The node's own, an MsgAppResp, comes next, and until
 * then nothing is sent; after a failure until the next heartbeat's answer. */
void
snapshot_on_status(struct progress *pr, const struct raft_msg *m)
{
	if (pr->state != RAFT_PROGRESS_SNAPSHOT)
		return;
	if (m->reject)
		pr->pending_snapshot = 0; /* it did not get there */
	progress_become_probe(pr);
	pr->flow_paused = true;
}

/* ---- the follower ---- */

/* Is this node in the configuration at all?  (learners_next are outgoing
 * voters, too.) */
static bool
is_member(const struct raft_conf_state *conf, uint64_t id)
{
	return ids_has(&conf->voters, id) || ids_has(&conf->learners, id) ||
	       ids_has(&conf->voters_outgoing, id);
}

/* Replace log and configuration.  *restored tells whether that was done, or
 * the snapshot was not needed. */
static enum raft_rc
restore(struct raft *r, const struct raft_snapshot *s, bool *restored)
{
	const char *wrong;

	*restored = false;
	if (s->index <= r->log.committed)
		return RAFT_OK;
	assert(r->role == RAFT_FOLLOWER);
	if (change_check(&s->conf) != NULL)
		return RAFT_STEP_MALFORMED;
	if (!is_member(&s->conf, r->id)) {
		core_trace(r,
		    "%llx attempted to restore snapshot but it is not in the "
		    "ConfState; should never happen",
		    ULL(r->id));
		return RAFT_OK;
	}
	if (raft_log_matches(&r->log, s->index, s->term)) {
		/* The log has it: only the commit index was behind. */
		raft_log_commit_to(&r->log, s->index);
		return RAFT_OK;
	}
	wrong = change_restore(&r->tracker, &s->conf, s->index);
	if (wrong != NULL)
		return RAFT_STEP_MALFORMED; /* too many nodes */
	raft_log_restore(&r->log, s);
	conf_installed(r);
	core_trace(r, "%llx restored snapshot [index: %llu, term: %llu]",
	    ULL(r->id), ULL(s->index), ULL(s->term));
	*restored = true;
	return RAFT_OK;
}

enum raft_rc
snapshot_on_snap(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.type = RAFT_MSG_APP_RESP, .to = m->from};
	bool restored;
	enum raft_rc rc = restore(r, m->snapshot, &restored);

	if (rc != RAFT_OK)
		return rc;
	answer.index = restored ? raft_log_last(&r->log) : r->log.committed;
	core_send(r, &answer);
	return RAFT_OK;
}
