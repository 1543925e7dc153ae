/* Snapshot files between nodes, each on a connection of its own, so that
 * heartbeats and other followers never wait for one.
 *
 *   sender (transfer.c)                        receiver (receive.c)
 *     SNAP_OFFER which file, and the MsgSnap -->
 *                                  <-- SNAP_WANT FROM offset: go on from there
 *     SNAP_PIECE, a window of them           -->
 *                                  <-- SNAP_WANT FROM: so much is written
 *                                  <-- SNAP_WANT DONE: checked, named, stepped
 *                                      or REFUSED: not wanted, or damaged
 *
 * Offers are numbered and a FROM names the one that it answers: after a second
 * offer the sender waits for that one's, and what was still on its way is old.
 * A receiver whose disk has no room refuses with ERR_NO_SPACE, at the offer or
 * at any piece, and is offered one again after a while.
 *
 * A connection that breaks is dialed again, the offer is made again, and the
 * receiver goes on with what it has.  A node whose own files are no good asks
 * for one on the ordinary link (SNAP_WANT ASK) and is offered one without a
 * MsgSnap.  The layouts are in snapmsg.h. */
#ifndef RAFTD_TRANSFER_H
#define RAFTD_TRANSFER_H

#include "proto/link.h"
#include "raftd/raft/raft.h"

struct raftd;
struct transfers;
struct receiving;

struct transfers *transfers_open(struct raftd *rd);
void transfers_close(struct transfers *ts); /* NULL is allowed */
/* A MsgSnap of the core (copied): send its file, then the core is told. */
void transfers_send(struct transfers *ts, const struct raft_msg *m);
/* Get a snapshot as of min or later from anybody; called again and again. */
void transfers_ask(struct transfers *ts, uint64_t min);
/* Messages on an accepted link of another node, and its end. */
enum err transfers_take(
    struct transfers *ts, struct link *l, uint8_t type, struct wire *w);
void transfers_down(struct transfers *ts, struct link *l);
void transfers_run(struct transfers *ts, struct mono now);
/* The smallest index from which on the log is kept for somebody who is sent a
 * snapshot or has just got one, if it is below index; else that.  It is not
 * kept for anybody when space gets scarce. */
uint64_t transfers_oldest(const struct transfers *ts, uint64_t index);

/* ---- receive.c ---- */

struct receiving *receiving_open(struct raftd *rd);
void receiving_close(struct receiving *r);
void receiving_ask(struct receiving *r, uint64_t min);
enum err receiving_offer(struct receiving *r, struct link *l, struct wire *w);
enum err receiving_piece(struct receiving *r, struct link *l, struct wire *w);
void receiving_down(struct receiving *r, struct link *l);

#endif
