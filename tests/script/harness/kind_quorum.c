/* Kind quorum: what a majority, or two at once, have committed or voted. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raft/core.h"
#include "tests/script/harness/kinds.h"

#define VALUES_MAX (2 * RAFT_IDS_MAX)

struct question {
	struct raft_ids half[2];
	/* In the order in which voters are named. */
	uint64_t id[VALUES_MAX];
	const char *value[VALUES_MAX];
	uint32_t count;
};

static bool
is_known(const struct question *q, uint64_t id)
{
	for (uint32_t i = 0; i < q->count; i++)
		if (q->id[i] == id)
			return true;
	return false;
}

static void
add_half(struct question *q, struct raft_ids *half, const struct arg *a)
{
	for (size_t i = 0; a != NULL && i < a->value_count; i++) {
		uint64_t id;

		if (!parse_u64(a->values[i], &id) || !ids_add(half, id))
			continue; /* empty, or "zero" */
		if (!is_known(q, id))
			q->id[q->count++] = id;
	}
}

static const char *
value_of(const struct question *q, uint64_t id)
{
	for (uint32_t i = 0; i < q->count; i++)
		if (q->id[i] == id)
			return q->value[i];
	return "_";
}

static uint64_t
index_of(const void *arg, uint64_t id)
{
	uint64_t index;

	return parse_u64(value_of(arg, id), &index) ? index : 0;
}

static enum vote
vote_of(const void *arg, uint64_t id)
{
	switch (value_of(arg, id)[0]) {
	case 'y':
		return VOTE_YES;
	case 'n':
		return VOTE_NO;
	default: /* a character */
		return VOTE_NONE;
	}
}

/* How many voters are behind this one in the table, by index. */
static uint32_t
bar_length(const struct question *q, const struct raft_ids *all, uint64_t id)
{
	uint64_t index = index_of(q, id);
	uint32_t behind = 0;

	for (uint32_t i = 0; i < all->count; i++)
		behind += index_of(q, all->id[i]) < index;
	return behind;
}

static void
print_table(struct buf *out, const struct question *q)
{
	struct raft_ids all = q->half[0];

	for (uint32_t i = 0; i < q->half[1].count; i++)
		(void)ids_add(&all, q->half[1].id[i]); /* small sets */
	if (all.count == 0) {
		text_add(out, "<empty majority quorum>");
		return;
	}
	text_add(out, "%*s    idx\n", (int)all.count, "");
	for (uint32_t i = 0; i < all.count; i++) {
		uint64_t id = all.id[i];
		bool known = strcmp(value_of(q, id), "_") != 0;
		uint32_t bar = known ? bar_length(q, &all, id) : 0;

		for (uint32_t b = 0; b < bar; b++)
			text_add(out, "x");
		text_add(out, "%c%*s %5" PRIu64 "    (id=%" PRIx64 ")\n",
		    known ? '>' : '?', (int)(all.count - bar), "",
		    index_of(q, id), id);
	}
}

static void
handle(void *ctx, const struct directive *d, struct buf *out)
{
	static const char *const results[] = {
	    [VOTE_PENDING] = "VotePending",
	    [VOTE_LOST] = "VoteLost",
	    [VOTE_WON] = "VoteWon",
	};
	struct question q = {0};
	const struct arg *values = directive_arg(d, "idx");
	uint64_t index;

	(void)ctx;
	if (values == NULL)
		values = directive_arg(d, "votes");
	add_half(&q, &q.half[0], directive_arg(d, "cfg"));
	add_half(&q, &q.half[1], directive_arg(d, "cfgj"));
	for (uint32_t i = 0; i < q.count; i++)
		q.value[i] = values != NULL && i < values->value_count
				 ? values->values[i]
				 : "_";
	if (strcmp(d->command, "vote") == 0) {
		text_add(out, "%s\n",
		    results[quorum_joint_vote(
			&q.half[0], &q.half[1], vote_of, &q)]);
		return;
	}
	print_table(out, &q);
	index = quorum_joint_committed(&q.half[0], &q.half[1], index_of, &q);
	if (index == UINT64_MAX)
		text_add(out, "\u221e\n");
	else
		text_add(out, "%" PRIu64 "\n", index);
}

const struct kind kind_quorum = {.name = "quorum", .handle = handle};
