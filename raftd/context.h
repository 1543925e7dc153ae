/* The context of a configuration change: what raftd adds to the operations of
 * the core.  Every node reads it when the change takes effect; what cannot be
 * decoded counts as empty, on all of them.
 *
 *   u8   format   1
 *   u64  token    of the order that asked for the change; 0: nobody did
 *   u32  count    of members, at most NODES_MAX
 *   count times:
 *     u64  id           1..NODE_ID_MAX
 *     u64  incarnation  0: not known
 *     bool promote
 *     u64  replaces
 *     u32+text address  at most 255 bytes
 *
 * Numbers are little-endian.  A member stands here as it is from now on, if it
 * is one when the operations have taken effect. */
#ifndef RAFTD_CONTEXT_H
#define RAFTD_CONTEXT_H

#include "base/buf.h"
#include "proto/err.h"
#include "raftd/wal.h"

struct context {
	uint64_t token;
	uint32_t count;
	struct wal_member members[NODES_MAX];
};

void context_encode(const struct context *c, struct buf *out);
/* ERR_MALFORMED: *c is empty. */
enum err context_decode(struct bytes in, struct context *c);

#endif
