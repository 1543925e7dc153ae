/* Replication, the leader's side: sending appends and heartbeats, and what
 * their answers mean (thesis 3.5, 3.6.2, 10.2.1). */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* ---- sending ---- */

/* Send what the node lacks, if it may be sent anything now.  Returns whether a
 * message was sent; with even_if_empty also one that only tells the commit
 * index. */
bool
replicate_send(struct raft *r, struct progress *pr, bool even_if_empty)
{
	struct raft_msg m = {.type = RAFT_MSG_APP, .to = pr->id};
	uint64_t last = raft_log_last(&r->log);
	enum raft_rc rc = RAFT_OK;

	assert(pr->id != r->id);
	if (progress_paused(pr))
		return false;
	m.index = pr->next - 1;
	if (raft_log_term(&r->log, m.index, &m.log_term) != RAFT_OK)
		return snapshot_send(r, pr); /* compacted */
	if (pr->next <= last && (pr->state != RAFT_PROGRESS_REPLICATE ||
				    !inflights_full(&pr->inflights)))
		rc = raft_log_slice(&r->log, pr->next, last + 1,
		    r->config.max_bytes_per_msg, &m.entries, &m.entry_count);
	if (m.entry_count == 0 && !even_if_empty)
		return false;
	if (rc != RAFT_OK)
		return snapshot_send(r, pr); /* compacted meanwhile */
	/* The follower cuts it to what it has: thesis figure 3.1. */
	m.commit = r->log.committed;
	progress_sent(
	    pr, m.entry_count, entries_payload(m.entries, m.entry_count));
	progress_sent_commit(pr, r->log.committed);
	core_send(r, &m);
	return true;
}

void
replicate_broadcast(struct raft *r)
{
	for (uint32_t i = 0; i < r->tracker.count; i++) {
		struct progress *pr = &r->tracker.prs[i];

		if (pr->id != r->id)
			(void)replicate_send(r, pr, true);
	}
}

/* Move the commit index to what a quorum has, if that entry is of this term:
 * older ones are committed only by way of it, thesis 3.6.2. */
bool
replicate_commit(struct raft *r)
{
	uint64_t index = tracker_committed(&r->tracker);

	if (index <= r->log.committed ||
	    !raft_log_matches(&r->log, index, r->term))
		return false;
	raft_log_commit_to(&r->log, index);
	return true;
}

/* Heartbeats go to everybody, paused or not.  A node's match is the most that
 * it can be told to commit without looking at its log. */
void
replicate_beat(struct raft *r)
{
	struct blob *context = read_heartbeat_context(r);

	for (uint32_t i = 0; i < r->tracker.count; i++) {
		struct progress *pr = &r->tracker.prs[i];
		struct raft_msg m = {.type = RAFT_MSG_HEARTBEAT, .to = pr->id};

		if (pr->id == r->id)
			continue;
		m.commit =
		    pr->match < r->log.committed ? pr->match : r->log.committed;
		m.context = blob_ref(context);
		progress_sent_commit(pr, m.commit);
		core_send(r, &m);
	}
	blob_unref(&context);
}

/* ---- answers ---- */

/* The previous entry did not fit: find one that may, whole terms at a time
 * (thesis 5.3's optimization, from both sides). */
static void
on_rejection(struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	uint64_t hint = m->reject_hint;
	uint64_t term;

	core_trace(r,
	    "%llx received MsgAppResp(rejected, hint: (index %llu, term "
	    "%llu)) from %llx for index %llu",
	    ULL(r->id), ULL(m->reject_hint), ULL(m->log_term), ULL(m->from),
	    ULL(m->index));
	/* log_term is the term of the follower's entry at the hint.  Where our
	 * log is of a higher term, its log cannot be the same. */
	if (m->log_term > 0)
		raft_log_find_by_term(&r->log, hint, m->log_term, &hint, &term);
	if (!progress_decrease(pr, m->index, hint))
		return;
	if (pr->state == RAFT_PROGRESS_REPLICATE)
		progress_become_probe(pr);
	(void)replicate_send(r, pr, true);
}

/* What state the progress is in after an acknowledgement. */
static void
move_on(const struct raft *r, struct progress *pr, uint64_t acknowledged)
{
	switch (pr->state) {
	case RAFT_PROGRESS_PROBE:
		progress_become_replicate(pr);
		break;
	case RAFT_PROGRESS_SNAPSHOT:
		/* Any index from which our log goes on will do; it need not
		 * be that of our snapshot. */
		if (pr->match + 1 >= raft_log_first(&r->log)) {
			progress_become_probe(pr);
			progress_become_replicate(pr);
		}
		break;
	case RAFT_PROGRESS_REPLICATE:
		inflights_free_le(&pr->inflights, acknowledged);
		break;
	}
}

static void
on_acknowledgement(
    struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	bool own = pr->id == r->id;

	if (!progress_update(pr, m->index) &&
	    !(pr->match == m->index && pr->state == RAFT_PROGRESS_PROBE))
		return; /* nothing new */
	move_on(r, pr, m->index);
	if (replicate_commit(r)) {
		read_release_deferred(r);
		replicate_broadcast(r);
	} else if (!own && progress_can_bump_commit(pr, r->log.committed)) {
		/* The node was paused when the others were told. */
		(void)replicate_send(r, pr, true);
	}
	if (own)
		return;
	/* The window may have room again, for more than one message. */
	while (replicate_send(r, pr, false))
		;
	if (pr->id == r->transferee && pr->match == raft_log_last(&r->log))
		election_send_timeout_now(r, pr->id);
}

enum raft_rc
replicate_on_app_resp(
    struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	/* Nobody can have of this term what its leader has not.  Perhaps it
	 * had, on a disk that has lost it. */
	if (!m->reject && m->index > raft_log_last(&r->log)) {
		core_trace(r,
		    "%llx ignored MsgAppResp from %llx for index %llu beyond "
		    "the last",
		    ULL(r->id), ULL(m->from), ULL(m->index));
		return RAFT_STEP_MALFORMED;
	}
	pr->recent_active = true;
	if (m->reject)
		on_rejection(r, pr, m);
	else
		on_acknowledgement(r, pr, m);
	return RAFT_OK;
}

void
replicate_on_heartbeat_resp(
    struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	pr->recent_active = true;
	pr->flow_paused = false; /* whatever was sent may be lost */
	if (pr->match < raft_log_last(&r->log) ||
	    pr->state == RAFT_PROGRESS_PROBE)
		(void)replicate_send(r, pr, true);
	read_on_ack(r, pr, m);
}
