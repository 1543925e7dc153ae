/* Orders about members on the node that was given them: kept until they are
 * answered, and passed on to whoever leads.  Without a leader they wait; they
 * are passed on again, with the same token, to every new leader and every now
 * and then, until there is an answer or ORDER_MS have passed. */
#ifndef RAFTD_ORDERS_H
#define RAFTD_ORDERS_H

#include "base/mono.h"
#include "proto/msg.h"

struct orders;
struct raftd;

struct orders *orders_open(struct raftd *rd);
void orders_close(struct orders *os); /* NULL is allowed */
/* httpd gives one; it is told with CONTROLLED. */
void orders_take(struct orders *os, const struct msg_control *m);
void orders_drop(struct orders *os); /* httpd is gone */
void orders_run(struct orders *os, struct mono now);
/* The leader's answer, here or on its way to the node that passed it on. */
void orders_reply(
    struct raftd *rd, uint64_t to, const struct msg_controlled *m);
/* ORDER and ORDERED of another node. */
enum err orders_message(
    struct raftd *rd, uint64_t from, uint8_t type, struct wire *w);

#endif
