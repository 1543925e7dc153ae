/* News of the commit index may wait for the next entries, which tell it too:
 * under load that saves each entry a message, an answer to it and two wake-ups
 * on every follower.  Not on the way to a node that lately passed on what its
 * own clients want: they wait for that node's kvd. */
#ifndef RAFTD_HOLD_H
#define RAFTD_HOLD_H

#include <stdbool.h>

#include "base/mono.h"
#include "raftd/raft/raft.h"

#define HOLD_MS 1u /* at most */

struct hold { /* one per peer; zeroed at first */
	bool full;
	struct raft_msg msg; /* a MsgApp without entries */
	struct mono eager_until;
};

/* The node has clients of its own. */
void hold_note_clients(struct hold *h, struct mono now);
/* May m wait?  Then a copy of it is kept, instead of what was held before. */
bool hold_put(struct hold *h, const struct raft_msg *m, struct mono now);
/* Must what is held leave before m does?  No: m says all of it, or nothing is
 * held. */
bool hold_precedes(const struct hold *h, const struct raft_msg *m);
void hold_drop(struct hold *h);

#endif
