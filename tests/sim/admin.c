/* Whoever owns the cluster: gives orders about members to any node, through its
 * httpd, brings in new machines and switches off old ones.  Orders are given
 * freely, several at a time; answers get lost, and orders are given again.
 * What keeps the cluster from locking itself up is raftd, not this. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/nemesis.h"
#include "tests/sim/sim.h"

#define ORDERS_MAX 1024u
#define REST_ELECTIONS 3u /* after a disk was lost: until leaders know it */

struct order {
	struct msg_control control;
	unsigned through; /* whose httpd */
	unsigned machine; /* that it brings in; 0: none */
	bool open, lost;  /* no answer yet; there will be none */
	bool again;       /* it was given before */
};

static struct order orders[ORDERS_MAX];
static size_t order_count;
static uint64_t rest_until;
static uint64_t tidy_at; /* not before: the next look at who is nobody */
static bool unlucky;     /* a disk was lost while an order was under way */
static uint64_t last_id;

static struct rng *
rng(void)
{
	return &sim.rng[RNG_WORLD];
}

void
admin_reset(void)
{
	order_count = 0;
	rest_until = tidy_at = 0;
	unlucky = false;
	last_id = 0;
}

/* ---- machines ---- */

static void
address_of(unsigned node, char *out)
{
	(void)snprintf(out, ADDRESS_BYTES_MAX, "10.0.0.%u:%u", node,
	    3380 + sim.nodes[node].moves);
}

static void
listens_at(unsigned node, char *out)
{
	char at[32];

	(void)snprintf(at, sizeof(at), "10.0.0.%u:3380", node);
	if (sim.nodes[node].listen[0] != '\0')
		memcpy(at, sim.nodes[node].listen, sizeof(at));
	memcpy(out, at, sizeof(at));
}

bool
admin_listens_at(unsigned node, const char *address)
{
	char at[32];

	listens_at(node, at);
	return strcmp(at, address) == 0;
}

/* The member at this machine's first address, or 0. */
static uint64_t
id_at(const struct wal_conf *conf, unsigned node)
{
	char address[ADDRESS_BYTES_MAX];

	(void)snprintf(address, sizeof(address), "10.0.0.%u:3380", node);
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (strcmp(conf->members[i].address, address) == 0)
			return conf->members[i].id;
	return 0;
}

/* To be started for the first time? */
static bool
is_waiting(unsigned node)
{
	return sim.nodes[node].off && !sim.nodes[node].join &&
	       node > sim.opt.nodes;
}

static void
start_machine(unsigned node, uint64_t id, const struct wal_conf *conf)
{
	if (!is_waiting(node) ||
	    (node_of_id(id) != 0 && node_of_id(id) != node))
		return;
	sim.joins++;
	node_join(node, id, conf);
}

static const struct wal_conf *
conf_of(unsigned node)
{
	return nemesis_core(node) != NULL
		   ? &sim.nodes[node].procs[ROLE_RAFTD].rd->conf
		   : NULL;
}

/* Do all other voters know that node id is there, for good?  (Others ask when
 * they hear of no leader, and what they are told is not on their disks before
 * the log brings it.) */
static bool
is_known_at(const struct wal_conf *members, uint64_t id, const char *address)
{
	for (uint32_t i = 0; i < members->member_count; i++) {
		unsigned node = node_of_id(members->members[i].id);
		const struct wal_conf *conf = node != 0 ? conf_of(node) : NULL;
		const struct wal_member *m;

		if (members->members[i].id == id ||
		    cluster_ids_have(
			&members->state.learners, members->members[i].id) ||
		    (node != 0 && sim.nodes[node].wiped))
			continue;
		m = conf != NULL ? cluster_member(conf, id) : NULL;
		if (m == NULL || strcmp(m->address, address) != 0 ||
		    check_raft_conf_of(node) < check_members_addressed(id))
			return false;
	}
	return true;
}

static void
restart_event(void *arg, uint64_t node)
{
	(void)arg;
	proc_restart(&sim.nodes[node].procs[ROLE_RAFTD]);
}

/* A node that is to be elsewhere moves when all others know where. */
static void
move_machine(unsigned node, const struct wal_conf *conf)
{
	struct node *n = &sim.nodes[node];
	const struct wal_member *m = n->id != 0 && !n->off && !n->wiped
					 ? cluster_member(conf, n->id)
					 : NULL;
	char at[32];

	listens_at(node, at);
	if (m == NULL || strcmp(m->address, at) == 0 ||
	    !is_known_at(conf, n->id, m->address))
		return;
	(void)snprintf(n->listen, sizeof(n->listen), "%.31s", m->address);
	trace("node %u moves to %s", node, n->listen);
	proc_kill(&n->procs[ROLE_RAFTD], false);
	world_at(
	    sim.now + rng_below(rng(), 100 * MS), restart_event, NULL, node);
}

/* Of the node that knows most. */
static const struct wal_conf *
newest_conf(void)
{
	const struct wal_conf *best = NULL;

	for (unsigned i = 1; i <= sim.slots; i++) {
		const struct wal_conf *conf = conf_of(i);

		if (conf != NULL && !sim.nodes[i].wiped &&
		    (best == NULL || conf->members_index > best->members_index))
			best = conf;
	}
	return best;
}

static void
start_event(void *arg, uint64_t node)
{
	unsigned leader = check_raft_leader();

	(void)arg;
	if (leader != 0 && conf_of(leader) != NULL && sim.faults_on)
		start_machine(
		    (unsigned)node, sim.nodes[node].id, conf_of(leader));
}

static void
off_event(void *arg, uint64_t node)
{
	(void)arg;
	if (!check_members_has(sim.nodes[node].id))
		node_off((unsigned)node);
}

/* ---- what becomes of orders ---- */

static void
carried_out(const struct order *o, const struct msg_controlled *m)
{
	unsigned old = node_of_id(o->control.id);

	switch ((enum msg_order)o->control.order) {
	case MSG_ORDER_ADD:
	case MSG_ORDER_REPLACE:
		/* Given twice, it may be carried out twice, if the first one
		 * was removed meanwhile: see tidy(). */
		if (!is_waiting(o->machine))
			return;
		sim.nodes[o->machine].id = m->id;
		world_at(sim.now + nemesis_duration() / 4, start_event, NULL,
		    o->machine);
		return;
	case MSG_ORDER_REMOVE:
		/* Some switch it off at once: the order is done. */
		if (old != 0 && rng_chance(rng(), 400))
			world_at(
			    sim.now + 1 +
				(rng_chance(rng(), 500) ? 0
							: nemesis_duration()),
			    off_event, NULL, old);
		return;
	case MSG_ORDER_PROMOTE:
	case MSG_ORDER_UPDATE:
	case MSG_ORDER_LEADER:
	case MSG_ORDER_SNAPSHOT:
		return;
	}
}

void
admin_answered(unsigned node, const struct msg_controlled *m)
{
	struct order *o;

	if (m->token == 0 || m->token > order_count ||
	    !orders[m->token - 1].open ||
	    orders[m->token - 1].through != node) {
		violate("an answer to an order that is not open");
		return;
	}
	o = &orders[m->token - 1];
	o->open = false;
	trace("order %" PRIu64 " answered code=%s index=%" PRIu64 " id=%" PRIu64
	      " %s",
	    m->token, err_word(err_from_u8(m->code)), m->index, m->id, m->why);
	check_members_order(&o->control, m, o->again);
	if (m->code == ERR_OK)
		carried_out(o, m);
	else if (m->code == ERR_TIMEOUT)
		o->lost = true;
}

void
admin_lost(unsigned node)
{
	for (size_t i = 0; i < order_count; i++)
		if (orders[i].open && orders[i].through == node) {
			orders[i].open = false;
			orders[i].lost = true;
		}
}

/* ---- giving one ---- */

static void
give(struct order *o)
{
	if (order_count == ORDERS_MAX)
		return;
	o->control.token = order_count + 1;
	o->open = true;
	if (!client_order(o->through, &o->control))
		return;
	orders[order_count++] = *o;
	sim.orders++;
	trace("order %" PRIu64 " order=%u id=%" PRIu64 " old=%" PRIu64
	      " promote=%d force=%d %s through node %u",
	    o->control.token, o->control.order, o->control.id, o->control.old,
	    o->control.promote, o->control.force, o->control.address,
	    o->through);
}

static bool
is_being_removed(uint64_t id)
{
	for (size_t i = 0; i < order_count; i++)
		if (orders[i].open && orders[i].control.id == id &&
		    orders[i].control.order == MSG_ORDER_REMOVE)
			return true;
	return false;
}

/* An order to bring in a machine that was given twice is carried out twice, if
 * who came of the first one is removed in between.  Then there is a member whom
 * nobody will be: its machine has had an id.  It is removed again. */
static void
tidy(const struct wal_conf *conf)
{
	struct order o = {.through = check_raft_leader()};

	if (o.through == 0 || sim.now < tidy_at)
		return;
	tidy_at = sim.now + sim.election_ms * MS;
	o.control.order = MSG_ORDER_REMOVE;
	for (unsigned i = 1; i <= sim.slots; i++) {
		o.control.id = id_at(conf, i);
		if (o.control.id != 0 && !is_waiting(i) &&
		    sim.nodes[i].id != o.control.id &&
		    !is_being_removed(o.control.id))
			give(&o);
	}
}

void
admin_look(void)
{
	const struct wal_conf *conf = newest_conf();
	struct wal_conf copy;

	if (conf == NULL)
		return;
	copy = *conf; /* its raftd may be restarted here */
	for (unsigned i = 1; i <= sim.slots; i++) {
		uint64_t id = id_at(&copy, i);

		if (id != 0 && is_waiting(i))
			start_machine(i, id, &copy);
		else
			move_machine(i, &copy);
	}
	if (!sim.raw)
		tidy(&copy);
}

static uint64_t
any_member(const struct wal_conf *conf)
{
	if (conf->member_count == 0)
		return 1;
	return conf->members[rng_below(rng(), conf->member_count)].id;
}

/* Preferably one whose disk is lost. */
static uint64_t
any_voter(const struct wal_conf *conf)
{
	const struct raft_ids *voters = &conf->state.voters;

	for (uint32_t i = 0; i < voters->count; i++) {
		unsigned node = node_of_id(voters->id[i]);

		if (node != 0 && sim.nodes[node].wiped &&
		    rng_chance(rng(), 600))
			return voters->id[i];
	}
	return voters->count > 0 ? voters->id[rng_below(rng(), voters->count)]
				 : any_member(conf);
}

static uint64_t
any_learner(const struct wal_conf *conf)
{
	const struct raft_ids *learners = &conf->state.learners;

	return learners->count > 0
		   ? learners->id[rng_below(rng(), learners->count)]
		   : any_member(conf);
}

/* False: there is no room. */
static bool
bring_machine(struct order *o, const struct wal_conf *conf)
{
	if (sim.slots == SIM_NODES_MAX || conf->member_count >= SIM_START_MAX)
		return false;
	o->machine = node_new();
	address_of(o->machine, o->control.address);
	if (!sim.own_ids)
		return true;
	if (last_id < conf->id_max)
		last_id = conf->id_max;
	last_id += rng_between(rng(), 1, 3);
	o->control.id = sim.nodes[o->machine].id = last_id;
	/* It may be there before it is let in. */
	if (rng_chance(rng(), 500))
		start_machine(o->machine, last_id, conf);
	return true;
}

/* An id that cannot be given any more; nobody will be there. */
static void
draw_reuse(struct order *o, const struct wal_conf *conf)
{
	o->control.order = MSG_ORDER_ADD;
	o->control.id = rng_between(rng(), 1, conf->id_max);
	(void)snprintf(o->control.address, sizeof(o->control.address),
	    "10.0.0.99:%zu", 1000 + order_count);
}

/* Is everyone there, and where all others think he is?  Else it is not the time
 * to move a machine. */
static bool
is_moving_time(const struct wal_conf *conf)
{
	for (size_t i = 0; i < order_count; i++)
		if (orders[i].control.order == MSG_ORDER_UPDATE &&
		    (orders[i].open || orders[i].lost))
			return false;
	for (uint32_t i = 0; i < conf->member_count; i++) {
		const struct wal_member *m = &conf->members[i];
		unsigned node = node_of_id(m->id);
		char at[32];

		if (node == 0 || sim.nodes[node].wiped || conf_of(node) == NULL)
			return false;
		listens_at(node, at);
		if (strcmp(m->address, at) != 0 ||
		    !is_known_at(conf, m->id, m->address))
			return false;
	}
	return true;
}

static void
draw_update(struct order *o, const struct wal_conf *conf)
{
	unsigned node;

	o->control.order = MSG_ORDER_UPDATE;
	o->control.id = any_member(conf);
	node = node_of_id(o->control.id);
	if (node == 0 || is_waiting(node) || !is_moving_time(conf)) {
		o->control.order = MSG_ORDER_SNAPSHOT;
		return;
	}
	/* It does not move before it is told to. */
	listens_at(node, sim.nodes[node].listen);
	sim.nodes[node].moves++;
	address_of(node, o->control.address);
}

static bool
draw_new(struct order *o, const struct wal_conf *conf, bool replace)
{
	if (!bring_machine(o, conf))
		return false;
	o->control.order = replace ? MSG_ORDER_REPLACE : MSG_ORDER_ADD;
	o->control.promote = !replace && rng_chance(rng(), 700);
	if (replace)
		o->control.old = any_voter(conf);
	return true;
}

static void
draw_lesser(struct order *o, const struct wal_conf *conf)
{
	uint64_t n = rng_below(rng(), 100);

	o->control.order = MSG_ORDER_LEADER;
	if (n < 30)
		draw_update(o, conf);
	else if (n < 45)
		draw_reuse(o, conf);
	else if (n < 55)
		o->control.order = MSG_ORDER_SNAPSHOT;
	else if (n < 80)
		o->control.id = any_member(conf);
}

static bool
draw(struct order *o, const struct wal_conf *conf)
{
	uint64_t n = rng_below(rng(), 100);
	bool few = conf->state.voters.count <= 2;

	o->control.force = sim.forced && rng_chance(rng(), 300);
	if (n < (few ? 45 : 25))
		return draw_new(o, conf, false);
	if (n < (few ? 55 : 45))
		return draw_new(o, conf, true);
	if (n < 65) {
		o->control.order = MSG_ORDER_REMOVE;
		o->control.id =
		    rng_chance(rng(), 700) ? any_voter(conf) : any_member(conf);
	} else if (n < 80) {
		o->control.order = MSG_ORDER_PROMOTE;
		o->control.id = any_learner(conf);
	} else {
		draw_lesser(o, conf);
	}
	return true;
}

/* The same once more, perhaps to another node. */
static bool
draw_again(struct order *o)
{
	size_t i;

	if (order_count == 0)
		return false;
	i = (size_t)rng_below(rng(), order_count);
	if (!orders[i].lost || orders[i].control.order == MSG_ORDER_UPDATE ||
	    (orders[i].machine != 0 && !is_waiting(orders[i].machine)))
		return false;
	o->control = orders[i].control;
	o->machine = orders[i].machine;
	o->again = true;
	return true;
}

void
admin_strike(void)
{
	struct order o = {
	    .through = (unsigned)rng_between(rng(), 1, sim.slots)};
	const struct wal_conf *conf;

	if (sim.now < rest_until || conf_of(o.through) == NULL ||
	    !client_order(o.through, NULL))
		return; /* its raftd or its httpd is away */
	admin_look();
	conf = conf_of(o.through); /* it may have moved */
	if (conf == NULL || conf->member_count == 0)
		return;
	if (draw_again(&o) || draw(&o, conf))
		give(&o);
}

/* ---- lost disks ---- */

/* Does everyone who may vote know this node's directory by now, for good? */
static bool
is_known_to_all(uint64_t id, const struct wal_conf *members)
{
	for (uint32_t i = 0; i < members->member_count; i++) {
		unsigned node = node_of_id(members->members[i].id);
		const struct wal_conf *conf = node != 0 ? conf_of(node) : NULL;
		const struct wal_member *m;

		if (members->members[i].id == id ||
		    (node != 0 && sim.nodes[node].wiped))
			continue;
		m = conf != NULL ? cluster_member(conf, id) : NULL;
		if (m == NULL || m->incarnation == 0 ||
		    check_raft_conf_of(node) < conf->members_index)
			return false;
	}
	return true;
}

/* Those with disks, that is those who are not wiped, and were. */
static uint64_t
healthy(void)
{
	uint64_t have = 0;

	for (unsigned i = 1; i <= sim.slots; i++)
		if (!sim.nodes[i].wiped && sim.nodes[i].id != 0)
			have |= UINT64_C(1) << sim.nodes[i].id;
	return have;
}

bool
admin_lost_quorum(void)
{
	return unlucky &&
	       !check_members_quorum(check_members_at(UINT64_MAX), healthy());
}

/* Would they be a quorum now, and with whichever learners have become voters,
 * in the place of others or not, before this is noticed? */
static bool
stays_quorum(uint64_t have, const struct wal_conf *conf)
{
	struct members now = *check_members_at(UINT64_MAX), soon;
	const struct wal_member *new[SIM_START_MAX];
	unsigned count = 0;

	for (uint32_t i = 0; i < conf->member_count; i++)
		if ((now.learners >> conf->members[i].id & 1) != 0 &&
		    count < SIM_START_MAX)
			new[count++] = &conf->members[i];
	for (unsigned some = 0; some < 1u << count; some++) {
		soon = now;
		for (unsigned i = 0; i < count; i++)
			if ((some >> i & 1) != 0)
				soon.voters |= UINT64_C(1) << new[i]->id;
		for (unsigned i = 0; i < count; i++)
			if ((some >> i & 1) != 0 && new[i]->replaces != 0)
				soon.voters &=
				    ~(UINT64_C(1) << new[i]->replaces);
		if (!check_members_quorum(&soon, have))
			return false;
	}
	return true;
}

static void
back_event(void *arg, uint64_t node)
{
	(void)arg;
	node_power_on((unsigned)node);
}

void
admin_wipe(void)
{
	unsigned leader = check_raft_leader();
	unsigned node = (unsigned)rng_between(rng(), 1, sim.slots);
	struct node *n = &sim.nodes[node];

	if (sim.forced || leader == 0 || conf_of(leader) == NULL || n->off ||
	    n->wiped || n->id == 0 || sim.now < rest_until ||
	    !check_members_has(n->id) ||
	    !stays_quorum(
		healthy() & ~(UINT64_C(1) << n->id), conf_of(leader)) ||
	    !is_known_to_all(n->id, conf_of(leader)))
		return;
	for (size_t i = 0; i < order_count; i++) {
		if (!orders[i].open && !orders[i].lost)
			continue;
		if (rng_chance(rng(), 900))
			return;
		unlucky = true;
	}
	rest_until = sim.now + REST_ELECTIONS * sim.election_ms * MS;
	node_wipe(node);
	n->join |= n->id > 1 && rng_chance(rng(), 300);
	world_at(sim.now + nemesis_duration(), back_event, NULL, node);
}
