/* Joining a cluster that there is (--join), with an empty raft directory.
 *
 * The node asks the addresses of --cluster, any of which may be a member's, in
 * HELLO without a cluster id.  A member answers with the members as it knows
 * them.  As long as this node is none of them it waits and asks again; it is
 * added by an order to any member.  Then it makes its directory, with those
 * members and an empty log, and is a node like others: the leader sends it what
 * it lacks.
 *
 * A member that hears of no leader for long may have missed changes: the leader
 * may be a node that it does not know, or look for it where it was.  So it asks
 * in the same way those that it knows, and takes the newer members (not the
 * newer configuration: that comes with the log).  Those may have moved, or be
 * members no more, all of them; but the leader looks for this node.  So it also
 * asks on the links that others have dialed, for as long as it asks even those
 * of nodes of its cluster that it has never heard of.  An answer counts if it
 * is newer, and comes from one who knows this node, with its directory, as a
 * member. */
#ifndef RAFTD_JOIN_H
#define RAFTD_JOIN_H

#include "base/mono.h"
#include "proto/link.h"
#include "raftd/wal.h"

struct join;
struct raftd;

/* 0 or a sysexits code after one logged line. */
int join_open(struct raftd *rd);
void join_close(struct join *j); /* NULL is allowed */
/* Ask, listen to answers.  True: this node is a member of this cluster; false:
 * not yet, or rd->quit was set after a logged line. */
bool join_run(struct join *j, struct mono now, struct wal_identity *identity,
    struct wal_conf *conf);
/* On a member, once per turn: ask if there is reason to. */
void join_refresh(struct raftd *rd, struct mono now);
/* A leader has spoken, and can be answered. */
void join_heard(struct raftd *rd);
/* A message on a link without a cluster id, on a member; or on one that this
 * node has dialed. */
enum err join_asked(
    struct raftd *rd, struct link *l, uint8_t type, struct wire *w);
/* A JOIN_ANSWER on a link that another node has dialed. */
enum err join_answered(struct raftd *rd, struct wire *w);

#endif
