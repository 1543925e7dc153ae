/* See leader_fixture.h. */
#include "tests/unit/leader_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "raftd/members.h"
#include "raftd/orders.h"

struct raftd rd;
struct core core;
bool away[NODES_MAX];
uint64_t incarnation[NODES_MAX];
struct reply replies[REPLIES_MAX];
unsigned reply_count;

static struct mono began; /* the test */

/* ---- what members.c calls ---- */

enum raft_role
raft_role(const struct raft *r)
{
	(void)r;
	return core.role;
}

uint64_t
raft_term(const struct raft *r)
{
	(void)r;
	return core.term;
}

void
raft_status(const struct raft *r, struct raft_status *out)
{
	(void)r;
	memset(out, 0, sizeof(*out));
	out->last_index = core.last;
	out->applied = core.applied;
	out->transferee = core.transferee;
	out->conf = rd.conf.state;
	for (uint32_t i = 0; i < rd.conf.member_count; i++) {
		uint64_t id = rd.conf.members[i].id;

		out->progress[out->progress_count++] =
		    (struct raft_progress_status){.id = id,
			.match = core.match[id],
			.state = RAFT_PROGRESS_REPLICATE,
			.recent_active = !core.idle[id]};
	}
}

enum raft_rc
raft_propose_conf_change(struct raft *r, const struct raft_conf_change *cc)
{
	(void)r;
	if (core.refuses)
		return RAFT_DROPPED;
	assert_true(core.changes < CHANGES_MAX);
	(void)context_decode(cc->context, &core.context[core.changes]);
	core.change[core.changes] = *cc;
	core.change[core.changes++].context = (struct bytes){0};
	core.last++;
	return RAFT_OK;
}

void
raft_transfer_leadership(struct raft *r, uint64_t from, uint64_t to)
{
	(void)r;
	assert_int_equal(from, ME);
	core.transferee = core.to = to;
	core.transfers++;
}

bool
peers_connected(const struct peers *ps, uint64_t id)
{
	(void)ps;
	return !away[id];
}

uint64_t
peers_incarnation(const struct peers *ps, uint64_t id)
{
	(void)ps;
	return incarnation[id];
}

void
orders_reply(struct raftd *to_rd, uint64_t to, const struct msg_controlled *m)
{
	assert_ptr_equal(to_rd, &rd);
	assert_true(reply_count < REPLIES_MAX);
	replies[reply_count++] = (struct reply){to, *m};
}

/* ---- driving it ---- */

int
leader_set_up(void **state)
{
	(void)state;
	rd = (struct raftd){.opt = {.id = ME, .election_ms = ELECTION_MS}};
	assert_int_equal(cluster_parse("h:1,h:2,h:3", &rd.conf), 0);
	rd.conf.index = rd.conf.members_index = rd.conf_durable = 10;
	core = (struct core){
	    .role = RAFT_LEADER, .term = 5, .last = FIRST, .applied = FIRST};
	for (uint64_t id = 1; id < NODES_MAX; id++) {
		core.match[id] = FIRST;
		away[id] = false;
		incarnation[id] = 100 + id;
	}
	for (uint32_t i = 0; i < 3; i++)
		rd.conf.members[i].incarnation = 101 + i;
	rd.identity.incarnation = 101;
	reply_count = 0;
	began = mono_now();
	rd.members = members_open(&rd);
	return 0;
}

int
leader_tear_down(void **state)
{
	(void)state;
	members_close(rd.members);
	return 0;
}

void
give(uint64_t from, struct msg_control m)
{
	members_take(rd.members, from, &m);
}

struct msg_control
order_add(uint64_t token, const char *address)
{
	struct msg_control m = {.token = token, .order = MSG_ORDER_ADD};

	(void)snprintf(m.address, sizeof(m.address), "%s", address);
	return m;
}

struct msg_control
order_about(uint64_t token, enum msg_order order, uint64_t id)
{
	return (struct msg_control){
	    .token = token, .order = (uint8_t)order, .id = id};
}

void
run(uint64_t ms)
{
	members_run(rd.members, mono_add_ms(began, ms));
}

void
tick(uint64_t ms)
{
	members_tick(rd.members);
	run(ms);
}

static void
ids_remove(struct raft_ids *ids, uint64_t id)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ids->count; i++)
		if (ids->id[i] != id)
			ids->id[kept++] = ids->id[i];
	ids->count = kept;
}

/* The core's part of a simple change. */
static void
state_change(struct raft_conf_state *s, const struct raft_conf_step *op)
{
	struct raft_ids *to =
	    op->op == RAFT_CONF_ADD_VOTER ? &s->voters : &s->learners;

	if (op->op == RAFT_CONF_UPDATE)
		return;
	ids_remove(&s->voters, op->id);
	ids_remove(&s->learners, op->id);
	if (op->op != RAFT_CONF_REMOVE)
		to->id[to->count++] = op->id;
}

void
take_effect(void)
{
	const unsigned last = core.changes - 1;
	struct raft_conf_state st = rd.conf.state;
	struct raft_conf_change cc = core.change[last];
	struct buf context = {0};

	for (uint32_t i = 0; i < cc.count; i++)
		state_change(&st, &cc.ops[i]);
	context_encode(&core.context[last], &context);
	cc.context = buf_bytes(&context);
	core.applied = core.last;
	cluster_apply(&rd.conf, core.last, &cc, &st);
	buf_free(&context);
}

void
make_durable(void)
{
	rd.conf_durable = rd.conf.index;
}

void
assert_reply(unsigned nth, uint64_t to, uint64_t token, enum err code)
{
	assert_int_equal(reply_count, nth);
	assert_int_equal(replies[nth - 1].to, to);
	assert_int_equal(replies[nth - 1].m.token, token);
	assert_int_equal(replies[nth - 1].m.code, code);
}

void
assert_why(const char *words)
{
	const char *why = replies[reply_count - 1].m.why;

	if (strstr(why, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, why);
}

void
assert_proposed(unsigned nth, enum raft_conf_op op, uint64_t id, uint64_t token)
{
	assert_int_equal(core.changes, nth);
	assert_int_equal(core.change[nth - 1].count, 1);
	assert_int_equal(core.change[nth - 1].ops[0].op, op);
	assert_int_equal(core.change[nth - 1].ops[0].id, id);
	assert_int_equal(core.context[nth - 1].token, token);
}
