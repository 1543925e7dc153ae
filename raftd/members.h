/* Orders about members on the node that leads, and what a leader does about
 * them by itself.  What is right to do is decided in plan.c; here it is done:
 * proposed, followed, answered.  One at a time, in the order of arrival.
 *
 * An order is answered when its change has taken effect here and that is on
 * this node's disk: whoever was removed may be switched off then.  Orders are
 * known by their tokens: one that comes again, because an answer or a leader
 * was lost, is not done again, if not too many others were carried out since
 * (WAL_ORDERS_MAX).  When leadership is lost all are dropped; those who passed
 * them on pass them on again (orders.h). */
#ifndef RAFTD_MEMBERS_H
#define RAFTD_MEMBERS_H

#include "base/mono.h"
#include "proto/msg.h"

struct members;
struct raftd;

struct members *members_open(struct raftd *rd);
void members_close(struct members *ms); /* NULL is allowed */
/* Node `from`, perhaps this one, passes an order on. */
void members_take(
    struct members *ms, uint64_t from, const struct msg_control *m);
/* A tick of the core has passed. */
void members_tick(struct members *ms);
void members_run(struct members *ms, struct mono now);

#endif
