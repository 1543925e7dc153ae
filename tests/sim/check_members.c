/* The membership as the committed log says, worked out a second time (thesis
 * 4.1, 4.3), and what follows from it:
 *
 *   every node's configuration and table of members are those of the log;
 *   an id is never used again;
 *   no order is carried out twice (its token is in one entry);
 *   an order that was acknowledged is in the log, committed, and known on the
 *   disk of a node; one that was refused is not;
 *   a node that says it was removed, was.
 *
 * Sets of ids are bits: a run gives no id above 63. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/context.h"
#include "tests/sim/sim.h"

#define TOKENS_MAX 1024u

/* An entry that changed something, or tried to. */
struct change {
	uint64_t index, token;
	uint32_t count;
	struct raft_conf_step ops[2];
	uint64_t replaces;
	char address[64]; /* of the first member in its context */
	struct members after;
};

static struct change *changes;
static size_t change_count, change_cap;
static uint64_t looked_at; /* index */
static uint64_t ever;      /* ids that were members */
static char addresses[64][64];
static uint64_t addressed[64]; /* index of the change that gave it that */
static struct {
	uint64_t index, members_index, life;
} last_seen[SIM_NODES_MAX + 1];

void
check_members_reset(void)
{
	free(changes);
	changes = NULL;
	change_count = change_cap = 0;
	looked_at = ever = 0;
	memset(addresses, 0, sizeof(addresses));
	memset(addressed, 0, sizeof(addressed));
	memset(last_seen, 0, sizeof(last_seen));
}

const struct members *
check_members_at(uint64_t index)
{
	static const struct members none;
	size_t i = change_count;

	while (i > 0 && changes[i - 1].index > index)
		i--;
	return i > 0 ? &changes[i - 1].after : &none;
}

static const struct members *
now(void)
{
	return check_members_at(UINT64_MAX);
}

static uint64_t
all_of(const struct members *m)
{
	return m->voters | m->outgoing | m->learners | m->next;
}

bool
check_members_has(uint64_t id)
{
	return id < 64 && (all_of(now()) >> id & 1) != 0;
}

static bool
majority(uint64_t of, uint64_t have)
{
	return __builtin_popcountll(of & have) * 2 > __builtin_popcountll(of);
}

bool
check_members_quorum(const struct members *m, uint64_t have)
{
	return majority(m->voters, have) &&
	       (m->outgoing == 0 || majority(m->outgoing, have));
}

bool
check_members_quorum_between(uint64_t from, uint64_t to, uint64_t have)
{
	if (check_members_quorum(check_members_at(from), have))
		return true;
	for (size_t i = change_count; i > 0 && changes[i - 1].index > from; i--)
		if (changes[i - 1].index <= to &&
		    check_members_quorum(&changes[i - 1].after, have))
			return true;
	return false;
}

/* ---- changes ---- */

static void
apply_step(struct members *m, const struct raft_conf_step *step)
{
	uint64_t bit = UINT64_C(1) << step->id;

	switch (step->op) {
	case RAFT_CONF_UPDATE:
		return;
	case RAFT_CONF_ADD_VOTER:
		m->learners &= ~bit;
		m->next &= ~bit;
		m->voters |= bit;
		return;
	case RAFT_CONF_ADD_LEARNER:
		if ((m->learners & bit) != 0)
			return;
		m->voters &= ~bit;
		m->next &= ~bit;
		if ((m->outgoing & bit) != 0)
			m->next |= bit;
		else
			m->learners |= bit;
		return;
	case RAFT_CONF_REMOVE:
		m->voters &= ~bit;
		m->learners &= ~bit;
		m->next &= ~bit;
		return;
	}
}

/* False: it has no effect. */
static bool
apply_change(struct members *m, const struct raft_conf_change *cc)
{
	bool joint = cc->count > 1 || cc->transition != RAFT_CONF_AUTO;
	struct members before = *m;

	if (cc->count == 0 && !joint) {
		if (m->outgoing == 0)
			return false;
		m->learners |= m->next;
		m->next = m->outgoing = 0;
		return true;
	}
	if (m->outgoing != 0)
		return false;
	if (joint)
		m->outgoing = m->voters;
	for (uint32_t i = 0; i < cc->count; i++)
		if (cc->ops[i].id != RAFT_NONE)
			apply_step(m, &cc->ops[i]);
	return m->voters != 0 &&
	       (joint || __builtin_popcountll(m->voters ^ before.voters) <= 1);
}

static bool
ids_fit(const struct raft_conf_change *cc)
{
	for (uint32_t i = 0; i < cc->count; i++)
		if (cc->ops[i].id >= 64) {
			violate("node %" PRIu64 " is to be a member, and "
				"nobody asked for that",
			    cc->ops[i].id);
			return false;
		}
	return true;
}

static void
check_token(const struct change *c)
{
	for (size_t i = 0; c->token != 0 && i + 1 < change_count; i++)
		if (changes[i].token == c->token)
			violate("an order was carried out twice, at index "
				"%" PRIu64 " and %" PRIu64,
			    changes[i].index, c->index);
}

static void
check_ids(uint64_t before, uint64_t after, uint64_t index)
{
	uint64_t again = after & ~before & ever;

	if (again != 0)
		violate("node %d was removed and is a member again at index "
			"%" PRIu64,
		    __builtin_ctzll(again), index);
	ever |= after;
}

static struct change *
change_new(uint64_t index)
{
	struct change *c;

	if (change_count == change_cap) {
		change_cap = change_cap == 0 ? 32 : change_cap * 2;
		changes = realloc(changes, change_cap * sizeof(changes[0]));
		assert(changes != NULL);
	}
	c = &changes[change_count];
	memset(c, 0, sizeof(*c));
	c->index = index;
	c->after = *now();
	change_count++;
	return c;
}

static void
take_addresses(const struct context *context, uint64_t index)
{
	for (uint32_t i = 0; i < context->count; i++) {
		const struct wal_member *m = &context->members[i];

		if (!check_members_has(m->id) ||
		    strcmp(addresses[m->id], m->address) == 0)
			continue;
		(void)strncpy(addresses[m->id], m->address, 63);
		addressed[m->id] = index;
	}
}

uint64_t
check_members_addressed(uint64_t id)
{
	return addressed[id];
}

static void
count_change(const struct change *c)
{
	bool joint = c->count > 1;

	if (c->count == 0) /* out of one */
		return;
	if (joint)
		count(COUNT_CHANGE_JOINT);
	if (c->index > sim.opt.nodes && nemesis_is_at_work())
		count(joint ? COUNT_JOINT_IN_FAULT : COUNT_CHANGE_IN_FAULT);
	switch (c->ops[0].op) {
	case RAFT_CONF_ADD_VOTER:
		if (c->count > 1)
			count(COUNT_CHANGE_REPLACE);
		else if ((c->after.learners >> c->ops[0].id & 1) != 0)
			count(COUNT_CHANGE_PROMOTE);
		break;
	case RAFT_CONF_ADD_LEARNER:
		count(COUNT_CHANGE_ADD);
		break;
	case RAFT_CONF_REMOVE:
		count(COUNT_CHANGE_REMOVE);
		break;
	case RAFT_CONF_UPDATE:
		count(COUNT_CHANGE_MOVE);
		break;
	}
}

static void
take_change(uint64_t index, uint8_t type, struct bytes data)
{
	struct raft_conf_change cc;
	struct context context;
	struct members after;
	struct change *c;

	if (raft_conf_change_decode((enum raft_entry_type)type, data, &cc) !=
	    RAFT_OK) {
		violate("the log has a change that cannot be decoded");
		return;
	}
	if (!ids_fit(&cc))
		return;
	(void)context_decode(cc.context, &context);
	c = change_new(index);
	c->token = context.token;
	c->count = cc.count;
	memcpy(c->ops, cc.ops, sizeof(c->ops));
	for (uint32_t i = context.count; i-- > 0;) {
		const struct wal_member *m = &context.members[i];

		(void)strncpy(c->address, m->address, 63);
		c->replaces = m->replaces;
	}
	after = c->after;
	count_change(c);
	check_token(c);
	if (apply_change(&after, &cc)) {
		check_ids(all_of(&c->after), all_of(&after), index);
		c->after = after;
	}
	take_addresses(&context, index);
}

void
check_members_advance(void)
{
	while (looked_at < check_raft_committed() && !sim.violated) {
		struct bytes data;
		uint8_t type;

		(void)check_raft_entry(++looked_at, &type, &data);
		if (type != RAFT_ENTRY_NORMAL)
			take_change(looked_at, type, data);
	}
}

/* ---- what nodes believe ---- */

static uint64_t
bits_of(const struct raft_ids *ids)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < ids->count; i++)
		bits |= UINT64_C(1) << ids->id[i] % 64;
	return bits;
}

static void
check_table(unsigned node, const struct wal_conf *conf)
{
	uint64_t have = 0;
	uint64_t want = all_of(check_members_at(conf->members_index));
	uint64_t newest =
	    change_count > 0 ? changes[change_count - 1].index : 0;

	if (conf->members_index > looked_at)
		return;
	for (uint32_t i = 0; i < conf->member_count; i++) {
		have |= UINT64_C(1) << conf->members[i].id % 64;
		if (newest == conf->members_index &&
		    strcmp(conf->members[i].address,
			addresses[conf->members[i].id % 64]) != 0)
			violate("node %u has a wrong address of node %" PRIu64,
			    node, conf->members[i].id);
	}
	if (have != want)
		violate("node %u has members %#" PRIx64 " as of index %" PRIu64
			", the log says %#" PRIx64,
		    node, have, conf->members_index, want);
}

void
check_members_turn(struct proc *p)
{
	const struct wal_conf *conf = &p->rd->conf;
	const struct members *m = check_members_at(conf->index);

	if (last_seen[p->node].index == conf->index &&
	    last_seen[p->node].members_index == conf->members_index &&
	    last_seen[p->node].life == p->life)
		return;
	last_seen[p->node].index = conf->index;
	last_seen[p->node].members_index = conf->members_index;
	last_seen[p->node].life = p->life;
	if (conf->index > looked_at) {
		violate("node %u has a configuration of index %" PRIu64
			", which is not committed",
		    p->node, conf->index);
		return;
	}
	if (conf->index != 0 &&
	    (bits_of(&conf->state.voters) != m->voters ||
		bits_of(&conf->state.voters_outgoing) != m->outgoing ||
		bits_of(&conf->state.learners) != m->learners ||
		bits_of(&conf->state.learners_next) != m->next))
		violate("node %u has another configuration than the log at "
			"index %" PRIu64 ": voters %#" PRIx64 " not %#" PRIx64,
		    p->node, conf->index, bits_of(&conf->state.voters),
		    m->voters);
	check_table(p->node, conf);
}

void
check_members_left(struct proc *p)
{
	const struct node *n = &sim.nodes[p->node];

	if (p->exit_code == 64 /* EX_USAGE */)
		violate("%s ended with EX_USAGE", p->name);
	if (!n->wiped && check_members_has(n->id))
		violate("%s left, and node %" PRIu64 " is a member", p->name,
		    n->id);
}

/* ---- orders ---- */

/* Has this change the effect that was ordered? */
static bool
is_effect(const struct change *c, const struct msg_control *order, uint64_t id)
{
	const struct raft_conf_step *op = &c->ops[0];

	if (c->count == 0 || op->id != id)
		return false;
	switch ((enum msg_order)order->order) {
	case MSG_ORDER_ADD:
	case MSG_ORDER_REPLACE:
		return op->op == RAFT_CONF_ADD_LEARNER &&
		       strcmp(c->address, order->address) == 0 &&
		       c->replaces == order->old;
	case MSG_ORDER_REMOVE:
		return op->op == RAFT_CONF_REMOVE;
	case MSG_ORDER_PROMOTE:
		return op->op == RAFT_CONF_ADD_VOTER;
	case MSG_ORDER_UPDATE:
		return strcmp(c->address, order->address) == 0;
	case MSG_ORDER_LEADER:
	case MSG_ORDER_SNAPSHOT:
		break;
	}
	return false;
}

static void
check_done(const struct msg_control *o, const struct msg_controlled *a)
{
	bool update =
	    o->order == MSG_ORDER_UPDATE; /* may have been so before */
	bool found = false, durable = false;

	for (size_t i = 0; i < change_count; i++)
		if (changes[i].index == a->index ||
		    (update && changes[i].index < a->index))
			found |= is_effect(&changes[i], o, a->id);
	for (unsigned i = 1; i <= sim.slots; i++)
		durable |= check_raft_conf_of(i) >= a->index;
	if (!found)
		violate("order %u about node %" PRIu64 " was acknowledged "
			"with index %" PRIu64 ", and the log does not have it",
		    o->order, a->id, a->index);
	else if (!durable)
		violate("order %u about node %" PRIu64 " was acknowledged "
			"before any disk has the members of index %" PRIu64,
		    o->order, a->id, a->index);
}

static void
check_refused(const struct msg_control *o, const struct msg_controlled *a)
{
	if (a->code == ERR_TIMEOUT)
		return;
	for (size_t i = 0; i < change_count; i++)
		if (strcmp(changes[i].address, o->address) == 0)
			violate("order %u was refused (%s: %s) and carried out "
				"at index %" PRIu64,
			    o->order, err_word(err_from_u8(a->code)), a->why,
			    changes[i].index);
}

void
check_members_order(
    const struct msg_control *o, const struct msg_controlled *a, bool again)
{
	if (sim.violated)
		return;
	if (a->index > check_raft_committed())
		violate("order %u was acknowledged with index %" PRIu64
			", which is not committed",
		    o->order, a->index);
	else if (o->order == MSG_ORDER_SNAPSHOT)
		return;
	else if (o->order == MSG_ORDER_LEADER && a->code == ERR_OK &&
		 !check_raft_led(node_of_id(a->id)))
		violate(
		    "node %" PRIu64 " was made leader and never led", a->id);
	else if (o->order == MSG_ORDER_LEADER)
		return;
	else if (a->code == ERR_OK)
		check_done(o, a);
	else if ((o->order == MSG_ORDER_ADD || o->order == MSG_ORDER_REPLACE) &&
		 !again)
		check_refused(o, a);
}
