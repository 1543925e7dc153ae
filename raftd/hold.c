/* What may wait on the way to a peer; see hold.h. */
#include "raftd/hold.h"

#define EAGER_MS 20u /* since the last request that the node passed on */

void
hold_note_clients(struct hold *h, struct mono now)
{
	h->eager_until = mono_add_ms(now, EAGER_MS);
}

bool
hold_put(struct hold *h, const struct raft_msg *m, struct mono now)
{
	if (m->type != RAFT_MSG_APP || m->entry_count > 0 ||
	    !mono_reached(h->eager_until, now))
		return false;
	hold_drop(h);
	raft_msg_copy(&h->msg, m);
	h->full = true;
	return true;
}

bool
hold_precedes(const struct hold *h, const struct raft_msg *m)
{
	if (!h->full)
		return false;
	return m->type != RAFT_MSG_APP || m->term != h->msg.term ||
	       m->index < h->msg.index || m->commit < h->msg.commit;
}

void
hold_drop(struct hold *h)
{
	raft_msg_free(&h->msg);
	h->full = false;
}
