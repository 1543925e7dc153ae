/* See orders.h. */
#include "raftd/orders.h"

#include <stdio.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/members.h"
#include "raftd/raftd.h"

#define ORDERS_MAX 16u
#define ORDER_MS 50000u
#define AGAIN_MS 1000u

struct order {
	struct order *next;
	uint64_t token; /* httpd's */
	struct msg_control control;
	struct mono began;
	struct mono passed_at;
	uint64_t passed_to, passed_term; /* 0: not yet */
};

struct orders {
	struct raftd *rd;
	struct order *list;
	unsigned count;
};

struct orders *
orders_open(struct raftd *rd)
{
	struct orders *os = mem_zalloc(1, sizeof(*os));

	os->rd = rd;
	return os;
}

static void
remove_order(struct orders *os, struct order **op)
{
	struct order *o = *op;

	*op = o->next;
	os->count--;
	mem_free(o);
}

void
orders_drop(struct orders *os)
{
	while (os->list != NULL)
		remove_order(os, &os->list);
}

void
orders_close(struct orders *os)
{
	if (os == NULL)
		return;
	orders_drop(os);
	mem_free(os);
}

static void
refuse(struct orders *os, uint64_t token, enum err code, const char *why)
{
	struct msg_controlled m = {.token = token, .code = (uint8_t)code};

	(void)snprintf(m.why, sizeof(m.why), "%s", why);
	front_answer(os->rd->front, &m);
}

void
orders_take(struct orders *os, const struct msg_control *m)
{
	struct order *o;

	if (m->order < MSG_ORDER_ADD || m->order > MSG_ORDER_LEADER) {
		refuse(os, m->token, ERR_BAD_REQUEST, "no such order");
		return;
	}
	if (os->count == ORDERS_MAX) {
		refuse(os, m->token, ERR_OVERLOADED,
		    "too many orders wait here for the leader; try again");
		return;
	}
	o = mem_zalloc(1, sizeof(*o));
	o->token = m->token;
	o->control = *m;
	o->control.token = daemon_random();
	o->control.old = m->order == MSG_ORDER_LEADER ? RAFT_NONE : m->old;
	o->began = mono_now();
	o->next = os->list;
	os->list = o;
	os->count++;
}

static void
pass_on(struct orders *os, struct order *o, uint64_t leader, struct mono now)
{
	struct raftd *rd = os->rd;
	struct wire *w;

	/* This one is to hand leadership over, if another one is not asked
	 * for; the next one is told of it and keeps it. */
	if (o->control.order == MSG_ORDER_LEADER && o->control.old == RAFT_NONE)
		o->control.old = leader;
	if (leader == rd->opt.id) {
		members_take(rd->members, leader, &o->control);
	} else {
		struct link *l = peers_link(rd->peers, leader);

		if (l == NULL || (w = link_begin(l, MSG_ORDER)) == NULL)
			return;
		(void)msg_control_wire(w, &o->control);
		link_end(l);
	}
	o->passed_to = leader;
	o->passed_term = raft_term(rd->raft);
	o->passed_at = now;
}

/* Nobody has answered. */
static void
give_up(struct orders *os, const struct order *o)
{
	if (o->passed_to == 0)
		refuse(os, o->token, ERR_NO_LEADER,
		    "the cluster has no leader that this node can reach; "
		    "nothing was done");
	else
		refuse(os, o->token, ERR_TIMEOUT,
		    "the leader has not answered in time; look at the members "
		    "before you try again");
}

/* Another node leads than when it was passed on, and that is what was wanted:
 * answered here, before somebody else's order may undo it. */
static bool
has_come_true(const struct order *o, uint64_t leader)
{
	const struct msg_control *c = &o->control;

	if (c->order != MSG_ORDER_LEADER || o->passed_to == RAFT_NONE ||
	    leader == RAFT_NONE || leader == o->passed_to)
		return false;
	return c->id != 0 ? leader == c->id : leader != c->old;
}

void
orders_run(struct orders *os, struct mono now)
{
	struct order **op = &os->list;
	uint64_t leader = raft_leader(os->rd->raft);

	while (*op != NULL) {
		struct order *o = *op;

		if (mono_ms_since(o->began, now) >= ORDER_MS) {
			give_up(os, o);
			remove_order(os, op);
			continue;
		}
		if (has_come_true(o, leader)) {
			front_answer(os->rd->front,
			    &(struct msg_controlled){
				.token = o->token, .id = leader});
			remove_order(os, op);
			continue;
		}
		if (leader != RAFT_NONE &&
		    (o->passed_to != leader ||
			o->passed_term != raft_term(os->rd->raft) ||
			mono_ms_since(o->passed_at, now) >= AGAIN_MS))
			pass_on(os, o, leader, now);
		op = &o->next;
	}
}

static void
answered(struct orders *os, const struct msg_controlled *m)
{
	struct msg_controlled mine = *m;

	for (struct order **op = &os->list; *op != NULL; op = &(*op)->next) {
		if ((*op)->control.token != m->token)
			continue;
		mine.token = (*op)->token;
		front_answer(os->rd->front, &mine);
		remove_order(os, op);
		return;
	}
}

void
orders_reply(struct raftd *rd, uint64_t to, const struct msg_controlled *m)
{
	struct msg_controlled copy = *m;
	struct link *l;
	struct wire *w;

	if (to == rd->opt.id) {
		answered(rd->orders, m);
		return;
	}
	l = peers_link(rd->peers, to);
	if (l == NULL || (w = link_begin(l, MSG_ORDERED)) == NULL)
		return; /* it asks again */
	(void)msg_controlled_wire(w, &copy);
	link_end(l);
}

enum err
orders_message(struct raftd *rd, uint64_t from, uint8_t type, struct wire *w)
{
	struct msg_controlled result;
	struct msg_control order;

	if (type == MSG_ORDERED) {
		if (msg_controlled_wire(w, &result) != ERR_OK)
			return ERR_MALFORMED;
		answered(rd->orders, &result);
		return ERR_OK;
	}
	if (msg_control_wire(w, &order) != ERR_OK || order.token == 0)
		return ERR_MALFORMED;
	members_take(rd->members, from, &order);
	return ERR_OK;
}
