/* What may wait on the way to a peer; see hold.h. */
#include "raftd/hold.h"

void
hold_note_clients(struct hold *h, struct mono now)
{
	h->eager_until = mono_add_ms(now, HOLD_EAGER_MS);
}

static bool
may_wait(const struct raft_msg *m)
{
	return m->type == RAFT_MSG_APP && m->entry_count == 0;
}

/* m tells the node all that is held. */
static bool
says_it(const struct hold *h, const struct raft_msg *m)
{
	if (m->term != h->msg.term || m->commit < h->msg.commit)
		return false;
	return m->type == RAFT_MSG_HEARTBEAT ||
	       (m->type == RAFT_MSG_APP && m->index >= h->msg.index);
}

bool
hold_precedes(const struct hold *h, const struct raft_msg *m)
{
	if (!h->full || says_it(h, m))
		return false;
	return m->type != RAFT_MSG_HEARTBEAT || m->term != h->msg.term;
}

bool
hold_put(struct hold *h, const struct raft_msg *m, struct mono now)
{
	struct mono due = h->full ? h->due : mono_add_ms(now, HOLD_MS);

	if (!may_wait(m) || !mono_reached(h->eager_until, now))
		return false;
	hold_drop(h);
	raft_msg_copy(&h->msg, m);
	h->full = true;
	h->due = due;
	return true;
}

void
hold_sent(struct hold *h, const struct raft_msg *m)
{
	if (h->full && says_it(h, m))
		hold_drop(h);
}

void
hold_drop(struct hold *h)
{
	raft_msg_free(&h->msg);
	h->full = false;
}
