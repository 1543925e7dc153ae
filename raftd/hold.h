/* News of the commit index may wait for the next entries, which tell it too:
 * under load that saves each entry a message, an answer to it and two wake-ups
 * on every follower.  Not on the way to a node that lately passed on what its
 * own clients want: they wait for that node's kvd. */
#ifndef RAFTD_HOLD_H
#define RAFTD_HOLD_H

#include <stdbool.h>

#include "base/mono.h"
#include "raftd/raft/raft.h"

#define HOLD_MS 5u /* at most, from the first of what is held on */

/* Since a node's clients last wanted something: they may wait, even if it takes
 * long to commit.  (Also feed.c's.) */
#define HOLD_EAGER_MS 1000u

struct hold { /* one per peer; zeroed at first */
	bool full;
	struct raft_msg msg; /* a MsgApp without entries */
	struct mono due;     /* if full: it leaves then */
	struct mono eager_until;
};

/* The node has clients of its own. */
void hold_note_clients(struct hold *h, struct mono now);
/* Must what is held leave before m does?  No: nothing is held, m says all of
 * it, or m is a heartbeat, which may overtake it. */
bool hold_precedes(const struct hold *h, const struct raft_msg *m);
/* May m wait?  Then a copy of it is kept, instead of what was held before. */
bool hold_put(struct hold *h, const struct raft_msg *m, struct mono now);
/* m leaves: what it says is not held any more. */
void hold_sent(struct hold *h, const struct raft_msg *m);
void hold_drop(struct hold *h);

#endif
