/* The node that leads three voters, itself among them, for tests of what it
 * does about members (raftd/members.c): the core, the peers and whoever gave an
 * order are stood in for.  What a change makes of the members (cluster.c) is
 * real. */
#ifndef TESTS_UNIT_LEADER_FIXTURE_H
#define TESTS_UNIT_LEADER_FIXTURE_H

#include "raftd/context.h"
#include "raftd/raftd.h"

#define ME 1u
#define ELECTION_MS 1000u
#define FIRST 50u /* last index of the log when a test begins */
#define CHANGES_MAX 128u
#define REPLIES_MAX 128u

extern struct raftd rd;

/* What the core says, and what it was told. */
extern struct core {
	enum raft_role role;
	uint64_t term, last, applied, transferee;
	uint64_t match[NODES_MAX];
	bool idle[NODES_MAX]; /* has not answered lately */
	bool refuses;         /* what is proposed */
	struct raft_conf_change change[CHANGES_MAX];
	struct context context[CHANGES_MAX];
	unsigned changes, transfers;
	uint64_t to; /* of the last transfer */
} core;

extern bool away[NODES_MAX]; /* not connected */
extern uint64_t incarnation[NODES_MAX];

/* The answers to orders. */
extern struct reply {
	uint64_t to;
	struct msg_controlled m;
} replies[REPLIES_MAX];
extern unsigned reply_count;

int leader_set_up(void **state);
int leader_tear_down(void **state);

/* Node `from` passes one on; `after` is set if it is 0. */
void give(uint64_t from, struct msg_control m);
struct msg_control order_add(uint64_t token, const char *address);
struct msg_control order_about(
    uint64_t token, enum msg_order order, uint64_t id);
/* A turn so long after the beginning of the test. */
void run(uint64_t ms);
/* A heartbeat's time has passed, too. */
void tick(uint64_t ms);
/* The last change takes effect here; its disk comes later. */
void take_effect(void);
void make_durable(void);

void assert_reply(unsigned nth, uint64_t to, uint64_t token, enum err code);
void assert_why(const char *words); /* of the last one */
void assert_proposed(
    unsigned nth, enum raft_conf_op op, uint64_t id, uint64_t token);

#endif
