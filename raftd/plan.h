/* What a leader does about an order, or by itself: decided from facts, without
 * doing anything (members.c does).
 *
 * The rules, beyond those of the core:
 *   - a node joins as a learner; it becomes a voter when it has caught up
 *     (thesis 4.2.1: it has all that the leader had one heartbeat ago);
 *   - a leader never takes away itself, it first makes another one leader:
 *     who is left knows of the change then, and a joint configuration is left
 *     under a leader who stays;
 *   - a change is refused if the voters after it would have no quorum of active
 *     ones, unless it is forced;
 *   - ids are never used again. */
#ifndef RAFTD_PLAN_H
#define RAFTD_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/msg.h"
#include "raftd/context.h"
#include "raftd/raft/raft.h"
#include "raftd/wal.h"

/* A node as the leader sees it. */
struct plan_fact {
	uint64_t id;
	bool active; /* connected, and has answered lately; itself: always */
	bool caught_up;
	uint64_t match;
	uint64_t incarnation; /* as it said in HELLO; 0: it was not seen */
};

struct plan_facts {
	const struct wal_conf *conf; /* borrowed */
	uint64_t self;               /* the leader */
	uint64_t last;               /* of its log */
	uint32_t count;
	struct plan_fact facts[2 * RAFT_IDS_MAX];
};

enum plan_what {
	PLAN_NOTHING,
	PLAN_ANSWER,  /* with code, id, why */
	PLAN_CHANGE,  /* propose it */
	PLAN_TRANSFER /* leadership, to `to` */
};

struct plan {
	enum plan_what what;
	enum err code; /* PLAN_ANSWER */
	bool passing;  /* ...which may be another one in a moment */
	char why[512];
	uint64_t id; /* of the member it is about */
	uint64_t to;
	struct raft_conf_change cc; /* its context is encoded from `context` */
	struct context context;
};

/* Carry out order c; never PLAN_NOTHING.  The configuration is not joint and
 * no change is under way. */
void plan_order(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p);
/* What a leader has to do by itself when no change is under way: leave a joint
 * configuration, promote who has caught up.  Never PLAN_ANSWER. */
void plan_duty(const struct plan_facts *f, struct plan *p);
/* Record who was seen for the first time; all: though others are still to be
 * seen. */
void plan_incarnations(const struct plan_facts *f, bool all, struct plan *p);

#endif
