/* Changing the engine: what another engine's store has is copied into this
 * one's, which takes moments; the rest comes from raftd as ever.
 *
 * At start, before anything is answered, each other engine's store is opened.
 * If it is of this node and ahead of ours its records become our store, all or
 * nothing (load.h), verified by the state hash.  Killed meanwhile: it begins
 * again, from the same store.
 *
 * The other store is removed when ours has all that it had, raftd has taken
 * us for its own, and ours is durable at least up to there.  For the memory
 * engine, which is never durable, the last condition is left out: raftd can
 * rebuild any store from its snapshot and log, and a store that nobody writes
 * any more would only grow old and take space. */
#ifndef KVD_ADOPT_H
#define KVD_ADOPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvd/store.h"

#define ADOPT_ENGINES_MAX 4u

/* Other stores that are to be removed.  Zeroed: none. */
struct adopt {
	const char *kv_dir; /* borrowed */
	struct {
		const struct engine_ops *ops;
		uint64_t applied;
	} old[ADOPT_ENGINES_MAX];
	size_t count;
	bool confirmed; /* raftd has taken us for its own */
};

/* s is open and may become another one.  An error is of s; what is wrong with
 * another store is logged, and that store is left alone. */
enum err adopt_begin(struct adopt *a, const char *kv_dir, struct store *s);
/* Once a turn: remove what has become useless. */
void adopt_run(struct adopt *a, const struct store *s, uint64_t durable);

#endif
