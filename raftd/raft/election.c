/* Elections (thesis 3.4, 3.6.1), pre-votes (9.6), and handing leadership over
 * (3.10). */
#include "raftd/raft/core.h"

#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* The context of a vote request that the old leader has asked for: it is heard
 * even by nodes that follow a living leader. */
static const char transfer_context[] = "CampaignTransfer";

bool
election_is_transfer(const struct raft_msg *m)
{
	return bytes_equal(
	    blob_bytes(m->context), bytes_of_str(transfer_context));
}

/* May this node become leader?  Not before it is in the configuration as a
 * voter, and has the log that its configuration comes from. */
bool
election_promotable(const struct raft *r)
{
	const struct progress *self = tracker_find(&r->tracker, r->id);

	return self != NULL && !self->learner && r->log.snapshot == NULL;
}

/* Is a configuration change committed that this node does not yet act by? */
static bool
has_unapplied_change(const struct raft *r)
{
	uint64_t lo = r->log.applied + 1;
	uint64_t hi = r->log.committed + 1;
	bool found = false;

	while (lo < hi && !found) {
		struct raft_entry *page;
		size_t count;

		if (raft_log_slice(&r->log, lo, hi, r->log.applying_bytes_max,
			&page, &count) != RAFT_OK)
			return true; /* not known: be careful */
		found = entries_have_change(page, count);
		lo += count;
		raft_entries_free(page, count);
	}
	return found;
}

static void
ask_for_vote(struct raft *r, uint64_t to, enum raft_msg_type type,
    uint64_t term, enum campaign kind)
{
	struct raft_msg m = {.type = type, .to = to, .term = term};

	m.index = raft_log_last(&r->log);
	m.log_term = raft_log_last_term(&r->log);
	if (kind == CAMPAIGN_TRANSFER)
		m.context =
		    blob_new(transfer_context, strlen(transfer_context));
	core_send(r, &m);
}

static void
campaign(struct raft *r, enum campaign kind)
{
	const struct tracker *t = &r->tracker;
	bool pre = kind == CAMPAIGN_PRE_ELECTION;
	uint64_t term;

	if (pre)
		core_become_pre_candidate(r);
	else
		core_become_candidate(r);
	/* A pre-vote is about the term that would come. */
	term = pre ? r->term + 1 : r->term;
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t id = t->prs[i].id;
		struct raft_msg own = {.to = id, .term = term};

		if (!tracker_is_voter(t, id))
			continue;
		if (id != r->id) {
			ask_for_vote(r, id,
			    pre ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE, term,
			    kind);
			continue;
		}
		/* The own vote counts once it is durable. */
		own.type = pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP;
		core_send(r, &own);
	}
}

/* An election is due: the timer, the user, or the old leader wants it. */
void
election_hup(struct raft *r, enum campaign kind)
{
	if (r->role == RAFT_LEADER)
		return;
	if (!election_promotable(r)) {
		core_trace(
		    r, "%llx is unpromotable and can not campaign", ULL(r->id));
		return;
	}
	if (has_unapplied_change(r)) {
		core_trace(r,
		    "%llx cannot campaign at term %llu since there are still "
		    "pending configuration changes to apply",
		    ULL(r->id), ULL(r->term));
		return;
	}
	core_trace(r, "%llx is starting a new election at term %llu",
	    ULL(r->id), ULL(r->term));
	campaign(r, kind);
}

/* ---- the voter ---- */

/* Thesis 3.6.1: later last term, or the same and at least as long. */
static bool
log_is_up_to_date(const struct raft *r, uint64_t term, uint64_t index)
{
	uint64_t own_term = raft_log_last_term(&r->log);

	return term > own_term ||
	       (term == own_term && index >= raft_log_last(&r->log));
}

/* The term has been looked at: it is ours, or a pre-vote's higher one.
 * Learners vote as well: they may be voters by a configuration that they have
 * not seen yet (thesis 4.2.2 leaves it open). */
void
election_on_vote(struct raft *r, const struct raft_msg *m)
{
	bool pre = m->type == RAFT_MSG_PRE_VOTE;
	bool can_vote = r->vote == m->from ||
			(r->vote == RAFT_NONE && r->lead == RAFT_NONE) ||
			(pre && m->term > r->term);
	bool grant = can_vote && log_is_up_to_date(r, m->log_term, m->index);
	struct raft_msg answer = {.to = m->from};

	core_trace(r,
	    "%llx [logterm: %llu, index: %llu, vote: %llx] %s %s from %llx "
	    "[logterm: %llu, index: %llu] at term %llu",
	    ULL(r->id), ULL(raft_log_last_term(&r->log)),
	    ULL(raft_log_last(&r->log)), ULL(r->vote),
	    grant ? "cast" : "rejected", raft_msg_type_name(m->type),
	    ULL(m->from), ULL(m->log_term), ULL(m->index), ULL(r->term));
	answer.type = pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP;
	answer.reject = !grant;
	/* A grant names the term that was asked about, or the asker would drop
	 * it; a refusal our own, for the asker to learn it. */
	answer.term = grant ? m->term : r->term;
	if (answer.term == 0)
		return; /* pre-vote refused by a node that has no term yet */
	if (grant && !pre) {
		r->election_elapsed = 0;
		r->vote = m->from;
	}
	core_send(r, &answer);
}

/* ---- the candidate ---- */

void
election_on_vote_resp(struct raft *r, const struct raft_msg *m)
{
	tracker_record_vote(&r->tracker, m->from, !m->reject);
	core_trace(r, "%llx received %s%s from %llx at term %llu", ULL(r->id),
	    raft_msg_type_name(m->type), m->reject ? " rejection" : "",
	    ULL(m->from), ULL(r->term));
	switch (tracker_vote_result(&r->tracker)) {
	case VOTE_WON:
		if (r->role == RAFT_PRE_CANDIDATE) {
			campaign(r, CAMPAIGN_ELECTION);
		} else {
			core_become_leader(r);
			replicate_broadcast(r);
		}
		break;
	case VOTE_LOST:
		/* A pre-vote may be refused with a higher term, which has been
		 * taken over before: then we are no candidate any more. */
		core_become_follower(r, r->term, RAFT_NONE);
		break;
	case VOTE_PENDING:
		break;
	}
}

/* ---- handing over, on the leader ---- */

void
election_send_timeout_now(struct raft *r, uint64_t to)
{
	struct raft_msg m = {.type = RAFT_MSG_TIMEOUT_NOW, .to = to};

	core_send(r, &m);
}

/* Thesis 3.10: no new proposals; bring the target up to date; tell it to start
 * an election at once. */
void
election_on_transfer(
    struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	if (pr->learner || r->transferee == m->from)
		return;
	r->transferee = RAFT_NONE; /* another one in progress ends */
	if (m->from == r->id)
		return;
	core_trace(r, "%llx [term %llu] starts to transfer leadership to %llx",
	    ULL(r->id), ULL(r->term), ULL(m->from));
	/* It should be over within one election timeout. */
	r->election_elapsed = 0;
	r->transferee = m->from;
	if (pr->match == raft_log_last(&r->log))
		election_send_timeout_now(r, m->from);
	else
		(void)replicate_send(r, pr, true);
}
