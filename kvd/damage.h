/* A store that cannot be read: set aside and made anew.
 *
 * Raft's log and the snapshots of raftd make up any store, so a damaged one is
 * no reason for a node to stay away, and nobody has to be called: kvd says so
 * in an error line, moves it to ENGINE.damaged and begins with an empty one,
 * which raftd fills.  What was moved is removed when the new store has all, and
 * durably, that raftd had published when the two met; until then it is there
 * to be looked at, and a second damaged one does not take its place.  When the
 * disk has no room for both it is removed at once.
 *
 * Damage is what an engine says is (its checksums, its format), or records that
 * kvd cannot decode.  A store that can be read but whose hash is wrong is told
 * (check.h) and left to people; one of another cluster or node is refused. */
#ifndef KVD_DAMAGE_H
#define KVD_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvd/store.h"

struct damage {
	const char *kv_dir; /* borrowed */
	bool aside;         /* there is one to be removed */
	bool met;           /* raftd has taken us for its own */
	uint64_t target;    /* what it had published then */
};

/* At start: is there one of an earlier life? */
void damage_open(struct damage *d, const char *kv_dir);
/* The store of ops, closed, cannot be read.  Logged; afterwards its directory
 * is not there. */
enum err damage_set_aside(struct damage *d, const struct engine_ops *ops);
/* raftd has taken us for its own and has published so much. */
void damage_met(struct damage *d, uint64_t published);
/* Once a turn. */
void damage_run(struct damage *d, const struct store *s, uint64_t durable);

#endif
