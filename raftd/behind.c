/* Who is behind; see behind.h. */
#include "raftd/behind.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "proto/limits.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

#define PATIENCE_MS 10000u /* with one that does not get on */

struct late {
	uint64_t node;
	uint64_t match; /* as the core knows */
	uint64_t bytes; /* that the log behind match may have */
	struct mono moved;
};

struct behind {
	struct raftd *rd;
	uint32_t count;
	struct late late[NODES_MAX];
};

static void
drop(struct behind *b, uint32_t i)
{
	b->late[i] = b->late[--b->count];
}

/* The log as it is now may be read, and as much again while the node installs
 * what it got. */
void
behind_add(struct behind *b, uint64_t node, uint64_t index, uint64_t bytes)
{
	uint64_t log = rlog_bytes_after(b->rd->rlog, index);

	for (uint32_t i = 0; i < b->count; i++) {
		if (b->late[i].node == node) {
			drop(b, i);
			break;
		}
	}
	if (b->count == NODES_MAX)
		return; /* members that have left since: the next turn */
	b->late[b->count++] = (struct late){.node = node,
	    .match = index,
	    .bytes = 2 * (log > bytes ? log : bytes),
	    .moved = mono_now()};
}

static const struct raft_progress_status *
progress(const struct raft_status *st, uint64_t node)
{
	for (uint32_t i = 0; i < st->progress_count; i++)
		if (st->progress[i].id == node)
			return &st->progress[i];
	return NULL;
}

/* Is l of use to it, and will it do? */
static bool
goes_on(const struct behind *b, struct late *l, const struct raft_status *st,
    struct mono now)
{
	const struct raft_progress_status *p = progress(st, l->node);
	const struct snap *newest = snaps_newest(b->rd->snaps);
	const struct rlog *log = b->rd->rlog;

	if (p == NULL || p->state == RAFT_PROGRESS_SNAPSHOT)
		return false; /* we lead no more, it left, or needs another */
	if (p->match > l->match) {
		l->match = p->match;
		l->moved = now;
	}
	if (newest == NULL || l->match >= newest->id.index ||
	    l->match + 1 < rlog_first(log))
		return false;
	if (mono_ms_since(l->moved, now) <= PATIENCE_MS &&
	    rlog_bytes_after(log, l->match) <= l->bytes)
		return true;
	log_info("the log is not kept any longer for one that is too slow "
		 "node=%" PRIu64 " match=%" PRIu64 " last=%" PRIu64,
	    l->node, l->match, rlog_last(log));
	return false;
}

void
behind_run(struct behind *b, struct mono now)
{
	struct raft_status st;

	if (b->count == 0)
		return;
	raft_status(b->rd->raft, &st);
	for (uint32_t i = b->count; i-- > 0;)
		if (!goes_on(b, &b->late[i], &st, now))
			drop(b, i);
}

uint64_t
behind_oldest(const struct behind *b, uint64_t index)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->late[i].match < index)
			index = b->late[i].match;
	return index;
}

struct behind *
behind_open(struct raftd *rd)
{
	struct behind *b = mem_zalloc(1, sizeof(*b));

	b->rd = rd;
	return b;
}

void
behind_close(struct behind *b)
{
	mem_free(b);
}
