/* Sets of ids, and what a majority of one, or of two at once, agrees on
 * (thesis 3.6.2 for commit, 3.4 for votes, 4.3 for joint configurations). */
#include "raftd/raft/core.h"

#include <string.h>

/* Where id is or would be inserted. */
static uint32_t
ids_position(const struct raft_ids *set, uint64_t id)
{
	uint32_t lo = 0;
	uint32_t hi = set->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (set->id[mid] < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool
ids_has(const struct raft_ids *set, uint64_t id)
{
	uint32_t at = ids_position(set, id);

	return at < set->count && set->id[at] == id;
}

bool
ids_add(struct raft_ids *set, uint64_t id)
{
	uint32_t at = ids_position(set, id);

	if (at < set->count && set->id[at] == id)
		return true;
	if (set->count >= RAFT_IDS_MAX)
		return false;
	memmove(&set->id[at + 1], &set->id[at],
	    (set->count - at) * sizeof(set->id[0]));
	set->id[at] = id;
	set->count++;
	return true;
}

void
ids_remove(struct raft_ids *set, uint64_t id)
{
	uint32_t at = ids_position(set, id);

	if (at == set->count || set->id[at] != id)
		return;
	set->count--;
	memmove(&set->id[at], &set->id[at + 1],
	    (set->count - at) * sizeof(set->id[0]));
}

bool
ids_valid(const struct raft_ids *set)
{
	if (set->count > RAFT_IDS_MAX)
		return false;
	for (uint32_t i = 0; i < set->count; i++) {
		if (set->id[i] == RAFT_NONE || set->id[i] >= RAFT_APPLY_THREAD)
			return false;
		if (i > 0 && set->id[i] <= set->id[i - 1])
			return false;
	}
	return true;
}

uint64_t
quorum_committed(
    const struct raft_ids *voters, quorum_index_fn index, const void *arg)
{
	uint64_t sorted[RAFT_IDS_MAX];
	uint32_t n = voters->count;

	if (n == 0)
		return UINT64_MAX; /* does not hold the other half back */
	for (uint32_t i = 0; i < n; i++) {
		uint64_t value = index(arg, voters->id[i]);
		uint32_t at = i;

		for (; at > 0 && sorted[at - 1] > value; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = value;
	}
	/* n/2 + 1 voters are at or above this position. */
	return sorted[n - (n / 2 + 1)];
}

enum vote_result
quorum_vote(const struct raft_ids *voters, quorum_vote_fn vote, const void *arg)
{
	uint32_t needed = voters->count / 2 + 1;
	uint32_t yes = 0;
	uint32_t open = 0;

	if (voters->count == 0)
		return VOTE_WON;
	for (uint32_t i = 0; i < voters->count; i++) {
		enum vote v = vote(arg, voters->id[i]);

		yes += v == VOTE_YES;
		open += v == VOTE_NONE;
	}
	if (yes >= needed)
		return VOTE_WON;
	return yes + open >= needed ? VOTE_PENDING : VOTE_LOST;
}

uint64_t
quorum_joint_committed(const struct raft_ids *a, const struct raft_ids *b,
    quorum_index_fn index, const void *arg)
{
	uint64_t in_a = quorum_committed(a, index, arg);
	uint64_t in_b = quorum_committed(b, index, arg);

	return in_a < in_b ? in_a : in_b;
}

enum vote_result
quorum_joint_vote(const struct raft_ids *a, const struct raft_ids *b,
    quorum_vote_fn vote, const void *arg)
{
	enum vote_result in_a = quorum_vote(a, vote, arg);
	enum vote_result in_b = quorum_vote(b, vote, arg);

	if (in_a == in_b)
		return in_a;
	if (in_a == VOTE_LOST || in_b == VOTE_LOST)
		return VOTE_LOST;
	return VOTE_PENDING;
}
