/* See plan.h.  A plan starts as nothing; each rule returns as soon as it has
 * found what to do. */
#include "raftd/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "raftd/majority.h"
#include "raftd/raftd.h"

/* A slip of the finger shall not use up all ids. */
#define ID_STEP_MAX 1000000u
#define LIST_BYTES 160u

/* ---- facts ---- */

static const struct plan_fact *
fact(const struct plan_facts *f, uint64_t id)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (f->facts[i].id == id)
			return &f->facts[i];
	return NULL;
}

static bool
active(const struct plan_facts *f, uint64_t id)
{
	const struct plan_fact *x = fact(f, id);

	return x != NULL && x->active;
}

static void
active_ids(const struct plan_facts *f, struct raft_ids *ids)
{
	ids->count = 0;
	for (uint32_t i = 0; i < f->count && ids->count < RAFT_IDS_MAX; i++)
		if (f->facts[i].active)
			ids->id[ids->count++] = f->facts[i].id;
}

static bool
is_voter(const struct plan_facts *f, uint64_t id)
{
	return cluster_ids_have(&f->conf->state.voters, id);
}

/* The best voter to lead instead, whose log is longest; not `besides`. */
static uint64_t
successor(const struct plan_facts *f, uint64_t besides)
{
	const struct plan_fact *best = NULL;

	for (uint32_t i = 0; i < f->count; i++) {
		const struct plan_fact *x = &f->facts[i];

		if (x->id == f->self || x->id == besides || !x->active ||
		    !is_voter(f, x->id))
			continue;
		if (best == NULL || x->match > best->match)
			best = x;
	}
	return best != NULL ? best->id : RAFT_NONE;
}

/* The voters without one and with another; 0: none. */
static void
voters_after(const struct plan_facts *f, uint64_t without, uint64_t with,
    struct raft_ids *out)
{
	const struct raft_ids *now = &f->conf->state.voters;

	out->count = 0;
	for (uint32_t i = 0; i < now->count; i++)
		if (now->id[i] != without && now->id[i] != with)
			out->id[out->count++] = now->id[i];
	if (with != 0 && out->count < RAFT_IDS_MAX)
		out->id[out->count++] = with;
}

/* ---- results ---- */

static void answer(struct plan *p, enum err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
answer(struct plan *p, enum err code, const char *fmt, ...)
{
	va_list ap;

	p->what = PLAN_ANSWER;
	p->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
}

static void
done(struct plan *p, uint64_t id)
{
	p->what = PLAN_ANSWER;
	p->code = ERR_OK;
	p->id = id;
}

static void
transfer(struct plan *p, uint64_t to)
{
	p->what = PLAN_TRANSFER;
	p->to = to;
}

/* One operation about a member, who is like this afterwards. */
static void
change(struct plan *p, enum raft_conf_op op, const struct wal_member *m)
{
	p->what = PLAN_CHANGE;
	p->id = m->id;
	p->cc = (struct raft_conf_change){.v1 = true, .count = 1};
	p->cc.ops[0] = (struct raft_conf_step){.op = op, .id = m->id};
	if (op == RAFT_CONF_REMOVE)
		return;
	p->context.count = 1;
	p->context.members[0] = *m;
}

/* False: those voters have no quorum, and the plan says so. */
static bool
quorum_after(const struct plan_facts *f, struct plan *p, uint64_t without,
    uint64_t with, bool with_counts)
{
	char there[LIST_BYTES], missing[LIST_BYTES];
	struct raft_ids voters, ids;
	struct majority m;

	voters_after(f, without, with, &voters);
	active_ids(f, &ids);
	if (with_counts && with != 0 && !cluster_ids_have(&ids, with) &&
	    ids.count < RAFT_IDS_MAX)
		ids.id[ids.count++] = with;
	majority_of(&m, &voters, &ids);
	if (majority_holds(&m))
		return true;
	majority_list(&m.active, there, sizeof(there));
	majority_list(&m.missing, missing, sizeof(missing));
	answer(p, ERR_QUORUM,
	    "afterwards there would be %" PRIu32 " voters, %" PRIu32
	    " of which must be connected, but only %" PRIu32
	    " would be (node %s; away: node %s): bring back or remove those "
	    "that are away first; or force it, and risk that the cluster stops",
	    m.voters, m.needed, m.active.count, there, missing);
	p->passing = true;
	return false;
}

/* ---- orders ---- */

static bool
no_such_member(
    const struct plan_facts *f, uint64_t id, const char *what, struct plan *p)
{
	if (cluster_member(f->conf, id) != NULL)
		return false;
	answer(p, ERR_NO_SUCH_MEMBER,
	    "%s: the cluster has no node %" PRIu64 "%s", what, id,
	    id <= f->conf->id_max ? "; it was removed, or never added" : "");
	return true;
}

static bool
bad_address(const struct plan_facts *f, const char *address, uint64_t id,
    struct plan *p)
{
	const struct wal_member *owner;

	if (!cluster_address_valid(address, strlen(address))) {
		answer(p, ERR_BAD_REQUEST,
		    "\"%.100s\" is no peer address: give HOST:PORT", address);
		return true;
	}
	owner = cluster_address_owner(f->conf, address);
	if (owner == NULL || owner->id == id)
		return false;
	answer(p, ERR_CONFLICT,
	    "%.255s is the peer address of node %" PRIu64
	    " already: give the new node an address of its own",
	    address, owner->id);
	return true;
}

/* The new member of ADD and REPLACE; false: it cannot be. */
static bool
new_member(const struct plan_facts *f, const struct msg_control *c,
    struct wal_member *m, struct plan *p)
{
	uint64_t max = f->conf->id_max;

	*m = (struct wal_member){.id = c->id != 0 ? c->id : max + 1};
	memcpy(m->address, c->address, sizeof(m->address));
	if (cluster_member(f->conf, m->id) != NULL) {
		answer(p, ERR_CONFLICT,
		    "node %" PRIu64 " is a member already; the next free id is "
		    "%" PRIu64,
		    m->id, max + 1);
		return false;
	}
	if (m->id <= max || m->id > NODE_ID_MAX || m->id > max + ID_STEP_MAX) {
		answer(p, ERR_CONFLICT,
		    "id %" PRIu64 " cannot be given: ids are never used again, "
		    "end at %u, and at most %u are left out at a time; the "
		    "next free one is %" PRIu64,
		    m->id, NODE_ID_MAX, ID_STEP_MAX - 1, max + 1);
		return false;
	}
	if (bad_address(f, c->address, 0, p))
		return false;
	if (f->conf->member_count >= NODES_MAX) {
		answer(p, ERR_CONFLICT,
		    "a cluster has at most %u members: remove one first",
		    NODES_MAX);
		return false;
	}
	return true;
}

static void
plan_add(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	struct wal_member m;

	if (!new_member(f, c, &m, p))
		return;
	m.promote = c->promote;
	change(p, RAFT_CONF_ADD_LEARNER, &m);
}

static void
plan_remove(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	const struct wal_member *m = cluster_member(f->conf, c->id);
	uint64_t to;

	if (no_such_member(f, c->id, "nothing to remove", p))
		return;
	if (is_voter(f, c->id)) {
		if (f->conf->state.voters.count == 1) {
			answer(p, ERR_CONFLICT,
			    "node %" PRIu64 " is the only voter: the cluster "
			    "would end; add another one first",
			    c->id);
			return;
		}
		if (!c->force && !quorum_after(f, p, c->id, 0, false))
			return;
	}
	if (c->id != f->self) {
		change(p, RAFT_CONF_REMOVE, m);
		return;
	}
	if ((to = successor(f, RAFT_NONE)) != RAFT_NONE) {
		transfer(p, to); /* and the next leader removes this one */
		return;
	}
	answer(p, ERR_QUORUM,
	    "node %" PRIu64 " leads, and no other voter is connected that "
	    "could lead instead of it",
	    c->id);
	p->passing = true;
}

static void
plan_promote(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	const struct wal_member *m = cluster_member(f->conf, c->id);
	const struct plan_fact *x = fact(f, c->id);
	struct wal_member now;

	if (no_such_member(f, c->id, "nothing to promote", p))
		return;
	if (is_voter(f, c->id)) {
		answer(p, ERR_CONFLICT, "node %" PRIu64 " is a voter already",
		    c->id);
		return;
	}
	if (!c->force && (x == NULL || !x->active || !x->caught_up)) {
		uint64_t match = x != NULL ? x->match : 0;

		answer(p, ERR_CONFLICT,
		    "node %" PRIu64 " has not caught up: it %s and has the log "
		    "up to %" PRIu64 " of %" PRIu64 ", %" PRIu64
		    " entries are missing; wait, or force it",
		    c->id,
		    x != NULL && x->active ? "is connected"
					   : "is not connected",
		    match, f->last, f->last - match);
		p->passing = true;
		return;
	}
	if (!c->force && !quorum_after(f, p, 0, c->id, false))
		return;
	now = *m;
	now.promote = false;
	now.replaces = 0;
	change(p, RAFT_CONF_ADD_VOTER, &now);
}

static void
plan_replace(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	struct wal_member m;

	if (no_such_member(f, c->old, "nothing to replace", p))
		return;
	if (!is_voter(f, c->old)) {
		answer(p, ERR_CONFLICT,
		    "node %" PRIu64 " is a learner: remove it and add another",
		    c->old);
		return;
	}
	for (uint32_t i = 0; i < f->conf->member_count; i++) {
		if (f->conf->members[i].replaces != c->old)
			continue;
		answer(p, ERR_CONFLICT,
		    "node %" PRIu64 " is to be replaced by node %" PRIu64
		    " already: wait until that has caught up, or remove it",
		    c->old, f->conf->members[i].id);
		return;
	}
	if (!new_member(f, c, &m, p))
		return;
	/* It counts: it does not come in before it has caught up. */
	if (!c->force && !quorum_after(f, p, c->old, m.id, true))
		return;
	m.promote = true;
	m.replaces = c->old;
	change(p, RAFT_CONF_ADD_LEARNER, &m);
}

static void
plan_update(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	const struct wal_member *m = cluster_member(f->conf, c->id);
	struct wal_member now;

	if (no_such_member(f, c->id, "nothing to update", p) ||
	    bad_address(f, c->address, c->id, p))
		return;
	if (strcmp(m->address, c->address) == 0) {
		done(p, c->id);
		return;
	}
	now = *m;
	memcpy(now.address, c->address, sizeof(now.address));
	change(p, RAFT_CONF_UPDATE, &now);
}

static void
plan_leader(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	uint64_t to = c->id;

	/* old: who led when the order was given, if anybody may lead. */
	if (to == f->self || (to == 0 && c->old != 0 && c->old != f->self)) {
		done(p, f->self);
		return;
	}
	if (to == 0 && (to = successor(f, RAFT_NONE)) == RAFT_NONE) {
		answer(p, ERR_CONFLICT,
		    "no other voter is connected that could lead");
		p->passing = true;
		return;
	}
	if (no_such_member(f, to, "it cannot lead", p))
		return;
	if (!is_voter(f, to)) {
		answer(p, ERR_CONFLICT,
		    "node %" PRIu64 " is a learner and cannot lead: promote it "
		    "first",
		    to);
		return;
	}
	if (!active(f, to)) {
		answer(p, ERR_CONFLICT,
		    "node %" PRIu64 " is not connected and cannot lead", to);
		p->passing = true;
		return;
	}
	p->id = to;
	transfer(p, to);
}

static void
plan_init(struct plan *p)
{
	memset(p, 0, sizeof(*p));
}

void
plan_order(
    const struct plan_facts *f, const struct msg_control *c, struct plan *p)
{
	plan_init(p);
	switch ((enum msg_order)c->order) {
	case MSG_ORDER_ADD:
		plan_add(f, c, p);
		break;
	case MSG_ORDER_REMOVE:
		plan_remove(f, c, p);
		break;
	case MSG_ORDER_PROMOTE:
		plan_promote(f, c, p);
		break;
	case MSG_ORDER_REPLACE:
		plan_replace(f, c, p);
		break;
	case MSG_ORDER_UPDATE:
		plan_update(f, c, p);
		break;
	case MSG_ORDER_LEADER:
		plan_leader(f, c, p);
		break;
	case MSG_ORDER_SNAPSHOT: /* never about members */
		break;
	}
	if (p->what == PLAN_NOTHING)
		answer(p, ERR_BAD_REQUEST, "node %" PRIu64 " knows no order %u",
		    f->self, c->order);
	p->context.token = c->token;
}

/* ---- duties ---- */

static void
leave_joint(const struct plan_facts *f, struct plan *p)
{
	uint64_t to;

	if (f->conf->state.auto_leave)
		return; /* the core does */
	if (is_voter(f, f->self)) {
		p->what = PLAN_CHANGE;
		p->cc = (struct raft_conf_change){.count = 0};
		return;
	}
	if ((to = successor(f, RAFT_NONE)) != RAFT_NONE)
		transfer(p, to);
}

/* new comes in for old, in one step: both majorities agree to it. */
static void
swap(const struct plan_facts *f, const struct wal_member *in, struct plan *p)
{
	struct wal_member now = *in;
	uint64_t to;

	if (in->replaces == f->self &&
	    (to = successor(f, RAFT_NONE)) != RAFT_NONE) {
		transfer(p, to);
		return;
	}
	now.promote = false;
	now.replaces = 0;
	change(p, RAFT_CONF_ADD_VOTER, &now);
	p->cc.v1 = false;
	p->cc.transition = RAFT_CONF_EXPLICIT;
	p->cc.count = 2;
	p->cc.ops[1] =
	    (struct raft_conf_step){.op = RAFT_CONF_REMOVE, .id = in->replaces};
}

static void
promote(const struct plan_facts *f, const struct wal_member *m, struct plan *p)
{
	struct wal_member now = *m;

	if (m->replaces != 0 && is_voter(f, m->replaces)) {
		swap(f, m, p);
		return;
	}
	if (!quorum_after(f, p, 0, m->id, false)) {
		plan_init(p); /* later */
		return;
	}
	now.promote = false;
	now.replaces = 0;
	change(p, RAFT_CONF_ADD_VOTER, &now);
}

void
plan_duty(const struct plan_facts *f, struct plan *p)
{
	const struct wal_conf *conf = f->conf;

	plan_init(p);
	if (conf->state.voters_outgoing.count > 0) {
		leave_joint(f, p);
		return;
	}
	for (uint32_t i = 0; i < conf->member_count && p->what == PLAN_NOTHING;
	     i++) {
		const struct wal_member *m = &conf->members[i];
		const struct plan_fact *x = fact(f, m->id);

		if (m->promote && x != NULL && x->active && x->caught_up &&
		    !is_voter(f, m->id))
			promote(f, m, p);
	}
}

void
plan_incarnations(const struct plan_facts *f, bool all, struct plan *p)
{
	struct context c = {0};
	bool unseen = false;

	plan_init(p);
	if (f->conf->state.voters_outgoing.count > 0)
		return; /* the core takes no other change then */
	for (uint32_t i = 0; i < f->conf->member_count; i++) {
		const struct wal_member *m = &f->conf->members[i];
		const struct plan_fact *x = fact(f, m->id);

		if (m->incarnation != 0)
			continue;
		if (x == NULL || x->incarnation == 0) {
			unseen = true;
			continue;
		}
		c.members[c.count] = *m;
		c.members[c.count++].incarnation = x->incarnation;
	}
	if (c.count == 0 || (unseen && !all))
		return;
	change(p, RAFT_CONF_UPDATE, &c.members[0]);
	p->context = c;
}
