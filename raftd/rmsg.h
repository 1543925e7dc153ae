/* The body of a RAFT message: a message of the core on its way to another
 * node.  Layout in proto/PROTOCOL.md. */
#ifndef RAFTD_RMSG_H
#define RAFTD_RMSG_H

#include "proto/wire.h"
#include "raftd/raft/raft.h"

/* m's payloads are borrowed. */
void rmsg_encode(struct wire *w, const struct raft_msg *m);
/* *m is the caller's to free when OK is returned. */
enum err rmsg_decode(struct wire *w, struct raft_msg *m);

#endif
