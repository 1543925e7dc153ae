/* What a leader knows of each node, and what it may send to it.
 *
 *   PROBE      one append at a time until the node's log is found;
 *   REPLICATE  appends are pipelined, up to the window of inflight messages
 *              (thesis 10.2.1);
 *   SNAPSHOT   nothing but heartbeats until the snapshot is acknowledged. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- the window ---- */

static void
inflights_grow(struct inflights *in)
{
	uint32_t cap = in->cap == 0 ? 16 : in->cap * 2;
	struct inflight *ring;

	if (cap > in->count_max)
		cap = in->count_max;
	ring = mem_alloc(cap * sizeof(*ring));
	for (uint32_t i = 0; i < in->count; i++)
		ring[i] = in->ring[(in->start + i) % in->cap];
	mem_free(in->ring);
	in->ring = ring;
	in->cap = cap;
	in->start = 0;
}

void
inflights_add(struct inflights *in, uint64_t index, uint64_t bytes)
{
	assert(!inflights_full(in));
	if (in->count == in->cap)
		inflights_grow(in);
	in->ring[(in->start + in->count) % in->cap] =
	    (struct inflight){.index = index, .bytes = bytes};
	in->count++;
	in->bytes += bytes;
}

void
inflights_free_le(struct inflights *in, uint64_t index)
{
	while (in->count > 0 && in->ring[in->start].index <= index) {
		in->bytes -= in->ring[in->start].bytes;
		in->start = (in->start + 1) % in->cap;
		in->count--;
	}
}

bool
inflights_full(const struct inflights *in)
{
	return in->count >= in->count_max ||
	       (in->bytes_max != 0 && in->bytes >= in->bytes_max);
}

void
inflights_clear(struct inflights *in)
{
	in->start = 0;
	in->count = 0;
	in->bytes = 0;
}

/* ---- one node ---- */

static void
progress_enter(struct progress *pr, enum raft_progress_state state)
{
	pr->flow_paused = false;
	pr->pending_snapshot = 0;
	pr->state = state;
	inflights_clear(&pr->inflights);
}

bool
progress_paused(const struct progress *pr)
{
	return pr->state == RAFT_PROGRESS_SNAPSHOT || pr->flow_paused;
}

void
progress_become_probe(struct progress *pr)
{
	/* After a snapshot the node has its index, if it arrived. */
	uint64_t pending =
	    pr->state == RAFT_PROGRESS_SNAPSHOT ? pr->pending_snapshot : 0;

	progress_enter(pr, RAFT_PROGRESS_PROBE);
	pr->next = max_u64(pr->match + 1, pending + 1);
	pr->sent_commit = min_u64(pr->sent_commit, pr->next - 1);
}

void
progress_become_replicate(struct progress *pr)
{
	progress_enter(pr, RAFT_PROGRESS_REPLICATE);
	pr->next = pr->match + 1;
}

void
progress_become_snapshot(struct progress *pr, uint64_t index)
{
	progress_enter(pr, RAFT_PROGRESS_SNAPSHOT);
	pr->pending_snapshot = index;
	/* May be below match: a storage may offer an older snapshot than what
	 * the node has acknowledged.  All ways out look at match. */
	pr->next = index + 1;
	pr->sent_commit = index;
}

/* The node has all up to match.  True if that is news. */
bool
progress_update(struct progress *pr, uint64_t match)
{
	if (match <= pr->match)
		return false;
	pr->match = match;
	pr->next = max_u64(pr->next, match + 1);
	pr->flow_paused = false;
	return true;
}

/* The node has refused an append whose previous entry was `rejected`.  False
 * if that answer is old. */
bool
progress_decrease(struct progress *pr, uint64_t rejected, uint64_t match_hint)
{
	if (pr->state == RAFT_PROGRESS_REPLICATE) {
		if (rejected <= pr->match)
			return false;
		pr->next = pr->match + 1;
	} else {
		/* A probe is one at a time, so only the last can be meant. */
		if (pr->next - 1 != rejected)
			return false;
		pr->next =
		    max_u64(min_u64(rejected, match_hint + 1), pr->match + 1);
		pr->flow_paused = false;
	}
	pr->sent_commit = min_u64(pr->sent_commit, pr->next - 1);
	return true;
}

void
progress_sent(struct progress *pr, size_t entries, uint64_t bytes)
{
	assert(pr->state != RAFT_PROGRESS_SNAPSHOT);
	if (pr->state == RAFT_PROGRESS_PROBE) {
		if (entries > 0)
			pr->flow_paused = true;
		return;
	}
	if (entries > 0) {
		pr->next += entries;
		inflights_add(&pr->inflights, pr->next - 1, bytes);
	}
	/* With a full window the next append is a probe: after it, silence
	 * until something is heard. */
	pr->flow_paused = inflights_full(&pr->inflights);
}

void
progress_sent_commit(struct progress *pr, uint64_t commit)
{
	pr->sent_commit = commit;
}

/* Would telling it the commit index let the node commit more? */
bool
progress_can_bump_commit(const struct progress *pr, uint64_t commit)
{
	return commit > pr->sent_commit && pr->sent_commit < pr->next - 1;
}

void
progress_reset(struct progress *pr, uint64_t match, uint64_t next)
{
	progress_enter(pr, RAFT_PROGRESS_PROBE);
	pr->match = match;
	pr->next = next;
	pr->sent_commit = 0;
	pr->read_ack = 0;
	pr->vote = VOTE_NONE;
	pr->recent_active = false;
}

/* ---- all nodes ---- */

void
tracker_free(struct tracker *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		mem_free(t->prs[i].inflights.ring);
	mem_free(t->prs);
	t->prs = NULL;
	t->count = 0;
}

struct progress *
tracker_find(const struct tracker *t, uint64_t id)
{
	uint32_t lo = 0;
	uint32_t hi = t->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->prs[mid].id == id)
			return &t->prs[mid];
		if (t->prs[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

bool
tracker_is_joint(const struct tracker *t)
{
	return t->conf.voters_outgoing.count > 0;
}

bool
tracker_is_voter(const struct tracker *t, uint64_t id)
{
	return ids_has(&t->conf.voters, id) ||
	       ids_has(&t->conf.voters_outgoing, id);
}

static uint64_t
match_of(const void *arg, uint64_t id)
{
	const struct progress *pr = tracker_find(arg, id);

	return pr == NULL ? 0 : pr->match;
}

uint64_t
tracker_committed(const struct tracker *t)
{
	return quorum_joint_committed(
	    &t->conf.voters, &t->conf.voters_outgoing, match_of, t);
}

static uint64_t
read_ack_of(const void *arg, uint64_t id)
{
	const struct progress *pr = tracker_find(arg, id);

	return pr == NULL ? 0 : pr->read_ack;
}

uint64_t
tracker_read_acked(const struct tracker *t)
{
	return quorum_joint_committed(
	    &t->conf.voters, &t->conf.voters_outgoing, read_ack_of, t);
}

static enum vote
activity_of(const void *arg, uint64_t id)
{
	const struct progress *pr = tracker_find(arg, id);

	return pr != NULL && pr->recent_active ? VOTE_YES : VOTE_NO;
}

bool
tracker_quorum_active(const struct tracker *t)
{
	return quorum_joint_vote(&t->conf.voters, &t->conf.voters_outgoing,
		   activity_of, t) == VOTE_WON;
}

void
tracker_reset_votes(struct tracker *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		t->prs[i].vote = VOTE_NONE;
}

void
tracker_record_vote(struct tracker *t, uint64_t id, bool granted)
{
	struct progress *pr = tracker_find(t, id);

	if (pr != NULL && pr->vote == VOTE_NONE)
		pr->vote = granted ? VOTE_YES : VOTE_NO;
}

static enum vote
vote_of(const void *arg, uint64_t id)
{
	const struct progress *pr = tracker_find(arg, id);

	return pr == NULL ? VOTE_NONE : pr->vote;
}

enum vote_result
tracker_vote_result(const struct tracker *t)
{
	return quorum_joint_vote(
	    &t->conf.voters, &t->conf.voters_outgoing, vote_of, t);
}
