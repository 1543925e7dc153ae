/* Nodes that have just got a snapshot and are still behind: the log that they
 * read next is kept for them.  Else, where more is written in the time that a
 * transfer takes than the log keeps, a node would need one snapshot after the
 * other.
 *
 * A node is behind until it has reached the newest snapshot, or has not got on
 * for a while, or has got no nearer: once the log behind its place has grown to
 * twice what it was, the node is slower than those who write. */
#ifndef RAFTD_BEHIND_H
#define RAFTD_BEHIND_H

#include <stdint.h>

#include "base/mono.h"

struct raftd;
struct behind;

struct behind *behind_open(struct raftd *rd);
void behind_close(struct behind *b); /* NULL is allowed */
/* It has got the snapshot as of index, a file of so many bytes. */
void behind_add(
    struct behind *b, uint64_t node, uint64_t index, uint64_t bytes);
/* Once in a turn: how far they are. */
void behind_run(struct behind *b, struct mono now);
/* The smallest index that one of them has reached, if it is below index; else
 * that. */
uint64_t behind_oldest(const struct behind *b, uint64_t index);

#endif
