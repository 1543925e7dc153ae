/* The arithmetic of majorities: would these voters have a quorum? */
#ifndef RAFTD_MAJORITY_H
#define RAFTD_MAJORITY_H

#include <stdbool.h>
#include <stddef.h>

#include "raftd/raft/raft.h"

struct majority {
	uint32_t voters;
	uint32_t needed;         /* for a quorum */
	struct raft_ids active;  /* of the voters */
	struct raft_ids missing; /* those that are not */
};

/* active: who of all nodes is, voters or not. */
void majority_of(struct majority *m, const struct raft_ids *voters,
    const struct raft_ids *active);
bool majority_holds(const struct majority *m);
/* "1, 2 and 5"; "none".  What does not fit is left out. */
void majority_list(const struct raft_ids *ids, char *out, size_t out_bytes);

#endif
