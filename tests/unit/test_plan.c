/* raftd/plan.c, majority.c: what a leader does about orders and by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "raftd/majority.h"
#include "raftd/plan.h"
#include "raftd/raftd.h"

/* Nodes 1 to n are voters, all active; node 1 leads. */
struct world {
	struct wal_conf conf;
	struct plan_facts f;
	struct plan p;
};

static struct world *
world_of(uint32_t n)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	for (uint32_t i = 1; i <= n; i++) {
		struct wal_member *m = &w.conf.members[w.conf.member_count++];

		m->id = i;
		m->incarnation = 100 + i;
		(void)snprintf(m->address, sizeof(m->address), "h:%u", i);
		w.conf.state.voters.id[w.conf.state.voters.count++] = i;
		w.f.facts[w.f.count++] = (struct plan_fact){.id = i,
		    .active = true,
		    .caught_up = true,
		    .match = 90 + i,
		    .incarnation = 100 + i};
	}
	w.conf.index = w.conf.members_index = 50;
	w.conf.id_max = n;
	w.f.conf = &w.conf;
	w.f.self = 1;
	w.f.last = 100;
	return &w;
}

static struct plan_fact *
fact_of(struct world *w, uint64_t id)
{
	for (uint32_t i = 0; i < w->f.count; i++)
		if (w->f.facts[i].id == id)
			return &w->f.facts[i];
	return NULL;
}

/* A learner that has caught up. */
static struct wal_member *
learner(struct world *w, uint64_t id, bool promote, uint64_t replaces)
{
	struct wal_member *m = &w->conf.members[w->conf.member_count++];

	*m = (struct wal_member){
	    .id = id, .promote = promote, .replaces = replaces};
	(void)snprintf(m->address, sizeof(m->address), "h:%u", (unsigned)id);
	w->conf.state.learners.id[w->conf.state.learners.count++] = id;
	w->conf.id_max = id;
	w->f.facts[w->f.count++] = (struct plan_fact){
	    .id = id, .active = true, .caught_up = true, .match = 100};
	return m;
}

static void
order(struct world *w, struct msg_control c)
{
	c.token = 77;
	plan_order(&w->f, &c, &w->p);
}

static void
assert_refused(struct world *w, enum err code, const char *words)
{
	assert_int_equal(w->p.what, PLAN_ANSWER);
	assert_int_equal(w->p.code, code);
	if (strstr(w->p.why, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, w->p.why);
}

static void
assert_change(struct world *w, enum raft_conf_op op, uint64_t id)
{
	assert_int_equal(w->p.what, PLAN_CHANGE);
	assert_int_equal(w->p.cc.count, 1);
	assert_int_equal(w->p.cc.ops[0].op, op);
	assert_int_equal(w->p.cc.ops[0].id, id);
}

/* ---- majorities ---- */

static void
a_majority_is_more_than_half_of_the_voters(void **state)
{
	struct raft_ids voters = {0}, active = {0};
	struct majority m;

	(void)state;
	for (uint32_t n = 1; n <= 7; n++) {
		voters.id[voters.count++] = n;
		for (active.count = 0; active.count <= n; active.count++) {
			active.id[active.count] = active.count + 1;
			majority_of(&m, &voters, &active);
			assert_int_equal(m.needed, n / 2 + 1);
			assert_int_equal(m.active.count, active.count);
			assert_int_equal(m.missing.count, n - active.count);
			assert_int_equal(
			    majority_holds(&m), 2 * active.count > n);
		}
	}
}

static void
who_is_no_voter_does_not_count(void **state)
{
	struct raft_ids voters = {.count = 3, .id = {1, 2, 3}};
	struct raft_ids active = {.count = 3, .id = {1, 8, 9}};
	struct majority m;
	char text[32];

	(void)state;
	majority_of(&m, &voters, &active);
	assert_false(majority_holds(&m));
	majority_list(&m.missing, text, sizeof(text));
	assert_string_equal(text, "2 and 3");
	majority_list(&voters, text, sizeof(text));
	assert_string_equal(text, "1, 2 and 3");
	majority_list(&(struct raft_ids){0}, text, sizeof(text));
	assert_string_equal(text, "none");
	majority_list(&voters, text, 5); /* no room */
	assert_string_equal(text, "1, 2");
}

/* ---- add ---- */

static void
a_new_member_is_a_learner_with_the_next_id(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	order(
	    w, (struct msg_control){
		   .order = MSG_ORDER_ADD, .promote = true, .address = "h:9"});
	assert_change(w, RAFT_CONF_ADD_LEARNER, 4);
	assert_int_equal(w->p.context.token, 77);
	assert_int_equal(w->p.context.count, 1);
	assert_int_equal(w->p.context.members[0].id, 4);
	assert_true(w->p.context.members[0].promote);
	assert_string_equal(w->p.context.members[0].address, "h:9");
	order(w, (struct msg_control){
		     .order = MSG_ORDER_ADD, .id = 4000, .address = "h:9"});
	assert_change(w, RAFT_CONF_ADD_LEARNER, 4000);
}

static void
ids_and_addresses_are_given_once(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	w->conf.id_max = 5;
	order(w, (struct msg_control){
		     .order = MSG_ORDER_ADD, .id = 3, .address = "h:9"});
	assert_refused(w, ERR_CONFLICT, "a member already");
	order(w, (struct msg_control){
		     .order = MSG_ORDER_ADD, .id = 5, .address = "h:9"});
	assert_refused(w, ERR_CONFLICT, "the next free one is 6");
	order(w, (struct msg_control){.order = MSG_ORDER_ADD,
		     .id = UINT64_C(1) << 32,
		     .address = "h:9"});
	assert_refused(w, ERR_CONFLICT, "cannot be given");
	order(w,
	    (struct msg_control){
		.order = MSG_ORDER_ADD, .id = 5 + 1000001, .address = "h:9"});
	assert_refused(w, ERR_CONFLICT, "the next free one is 6");
	order(
	    w, (struct msg_control){.order = MSG_ORDER_ADD, .address = "h:2"});
	assert_refused(w, ERR_CONFLICT, "of node 2 already");
	order(w, (struct msg_control){.order = MSG_ORDER_ADD, .address = "h"});
	assert_refused(w, ERR_BAD_REQUEST, "HOST:PORT");
	order(w, (struct msg_control){.order = MSG_ORDER_ADD});
	assert_refused(w, ERR_BAD_REQUEST, "HOST:PORT");
	w = world_of(NODES_MAX);
	order(
	    w, (struct msg_control){.order = MSG_ORDER_ADD, .address = "h:99"});
	assert_refused(w, ERR_CONFLICT, "at most 32");
}

/* ---- remove ---- */

static void
removing_asks_for_a_quorum_of_those_who_stay(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	order(w, (struct msg_control){.order = MSG_ORDER_REMOVE, .id = 3});
	assert_change(w, RAFT_CONF_REMOVE, 3);
	assert_int_equal(w->p.context.count, 0);
	fact_of(w, 3)->active = false;
	order(w, (struct msg_control){.order = MSG_ORDER_REMOVE, .id = 3});
	assert_change(w, RAFT_CONF_REMOVE, 3); /* the dead one may go */
	order(w, (struct msg_control){.order = MSG_ORDER_REMOVE, .id = 2});
	assert_refused(w, ERR_QUORUM, "2 voters, 2 of which must be connected");
	assert_refused(w, ERR_QUORUM, "only 1 would be (node 1; away: node 3)");
	assert_true(w->p.passing);
	order(w, (struct msg_control){
		     .order = MSG_ORDER_REMOVE, .id = 2, .force = true});
	assert_change(w, RAFT_CONF_REMOVE, 2);
	order(w, (struct msg_control){.order = MSG_ORDER_REMOVE, .id = 9});
	assert_refused(w, ERR_NO_SUCH_MEMBER, "no node 9");
}

static void
the_last_voter_stays_and_a_learner_may_always_go(void **state)
{
	struct world *w = world_of(1);

	(void)state;
	learner(w, 2, false, 0);
	order(w, (struct msg_control){
		     .order = MSG_ORDER_REMOVE, .id = 1, .force = true});
	assert_refused(w, ERR_CONFLICT, "only voter");
	order(w, (struct msg_control){.order = MSG_ORDER_REMOVE, .id = 2});
	assert_change(w, RAFT_CONF_REMOVE, 2);
}

static void
a_leader_hands_over_before_it_goes(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	order(w, (struct msg_control){.order = MSG_ORDER_REMOVE, .id = 1});
	assert_int_equal(w->p.what, PLAN_TRANSFER);
	assert_int_equal(w->p.to, 3); /* the longest log */
	fact_of(w, 3)->active = fact_of(w, 2)->active = false;
	order(w, (struct msg_control){
		     .order = MSG_ORDER_REMOVE, .id = 1, .force = true});
	assert_refused(w, ERR_QUORUM, "no other voter is connected");
}

/* ---- promote ---- */

static void
who_has_not_caught_up_is_not_promoted(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	learner(w, 4, false, 0);
	order(w, (struct msg_control){.order = MSG_ORDER_PROMOTE, .id = 4});
	assert_change(w, RAFT_CONF_ADD_VOTER, 4);
	fact_of(w, 4)->caught_up = false;
	fact_of(w, 4)->match = 40;
	order(w, (struct msg_control){.order = MSG_ORDER_PROMOTE, .id = 4});
	assert_refused(w, ERR_CONFLICT, "up to 40 of 100, 60 entries");
	order(w, (struct msg_control){
		     .order = MSG_ORDER_PROMOTE, .id = 4, .force = true});
	assert_change(w, RAFT_CONF_ADD_VOTER, 4);
	order(w, (struct msg_control){.order = MSG_ORDER_PROMOTE, .id = 2});
	assert_refused(w, ERR_CONFLICT, "voter already");
}

/* ---- replace ---- */

static void
a_replacement_joins_as_learner_and_takes_the_place_in_one_step(void **state)
{
	struct world *w = world_of(3);
	struct wal_member *m;

	(void)state;
	fact_of(w, 3)->active = false;
	order(w, (struct msg_control){
		     .order = MSG_ORDER_REPLACE, .old = 3, .address = "h:4"});
	assert_change(w, RAFT_CONF_ADD_LEARNER, 4);
	assert_int_equal(w->p.context.members[0].replaces, 3);
	m = learner(w, 4, true, 3);
	fact_of(w, 4)->caught_up = false;
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_NOTHING);
	fact_of(w, 4)->caught_up = true;
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_CHANGE);
	assert_int_equal(w->p.cc.transition, RAFT_CONF_EXPLICIT);
	assert_false(w->p.cc.v1);
	assert_int_equal(w->p.cc.count, 2);
	assert_int_equal(w->p.cc.ops[0].op, RAFT_CONF_ADD_VOTER);
	assert_int_equal(w->p.cc.ops[0].id, 4);
	assert_int_equal(w->p.cc.ops[1].op, RAFT_CONF_REMOVE);
	assert_int_equal(w->p.cc.ops[1].id, 3);
	assert_false(w->p.context.members[0].promote);
	assert_int_equal(w->p.context.members[0].replaces, 0);
	order(w, (struct msg_control){
		     .order = MSG_ORDER_REPLACE, .old = 3, .address = "h:5"});
	assert_refused(w, ERR_CONFLICT, "replaced by node 4 already");
	order(w, (struct msg_control){
		     .order = MSG_ORDER_REPLACE, .old = 4, .address = "h:5"});
	assert_refused(w, ERR_CONFLICT, "is a learner");
	m->replaces = 1; /* the leader itself: another one leads first */
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_TRANSFER);
	assert_int_equal(w->p.to, 2);
}

/* ---- update, leader ---- */

static void
an_address_changes_and_nothing_else(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	order(w, (struct msg_control){
		     .order = MSG_ORDER_UPDATE, .id = 2, .address = "h:7"});
	assert_change(w, RAFT_CONF_UPDATE, 2);
	assert_string_equal(w->p.context.members[0].address, "h:7");
	assert_int_equal(w->p.context.members[0].incarnation, 102);
	order(w, (struct msg_control){
		     .order = MSG_ORDER_UPDATE, .id = 2, .address = "h:2"});
	assert_refused(w, ERR_OK, ""); /* done already */
	order(w, (struct msg_control){
		     .order = MSG_ORDER_UPDATE, .id = 2, .address = "h:3"});
	assert_refused(w, ERR_CONFLICT, "of node 3");
}

static void
leadership_goes_to_a_connected_voter(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	learner(w, 4, false, 0);
	order(w, (struct msg_control){.order = MSG_ORDER_LEADER, .id = 2});
	assert_int_equal(w->p.what, PLAN_TRANSFER);
	assert_int_equal(w->p.to, 2);
	order(w, (struct msg_control){.order = MSG_ORDER_LEADER, .old = 1});
	assert_int_equal(w->p.what, PLAN_TRANSFER);
	assert_int_equal(w->p.to, 3);
	/* Given when another one led: that is done. */
	order(w, (struct msg_control){.order = MSG_ORDER_LEADER, .old = 2});
	assert_refused(w, ERR_OK, "");
	assert_int_equal(w->p.id, 1);
	order(w, (struct msg_control){.order = MSG_ORDER_LEADER, .id = 4});
	assert_refused(w, ERR_CONFLICT, "is a learner");
	fact_of(w, 2)->active = false;
	order(w, (struct msg_control){.order = MSG_ORDER_LEADER, .id = 2});
	assert_refused(w, ERR_CONFLICT, "not connected");
	order(w, (struct msg_control){.order = 200});
	assert_refused(w, ERR_BAD_REQUEST, "no order 200");
}

/* ---- duties ---- */

static void
a_joint_state_is_left_under_a_voter_of_the_new_half(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	w->conf.state.voters_outgoing =
	    (struct raft_ids){.count = 2, .id = {1, 2}};
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_CHANGE);
	assert_int_equal(w->p.cc.count, 0);
	w->conf.state.voters = (struct raft_ids){.count = 2, .id = {2, 3}};
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_TRANSFER);
	assert_int_equal(w->p.to, 3);
	w->conf.state.auto_leave = true;
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_NOTHING);
}

static void
a_promotion_waits_for_a_quorum(void **state)
{
	struct world *w = world_of(2);

	(void)state;
	learner(w, 3, true, 0);
	learner(w, 4, false, 0);
	plan_duty(&w->f, &w->p);
	assert_change(w, RAFT_CONF_ADD_VOTER, 3);
	w = world_of(3);
	learner(w, 4, true, 2); /* which is gone: an ordinary promotion */
	w->conf.state.voters = (struct raft_ids){.count = 2, .id = {1, 3}};
	plan_duty(&w->f, &w->p);
	assert_change(w, RAFT_CONF_ADD_VOTER, 4);
	fact_of(w, 3)->active = false;
	w->conf.state.voters = (struct raft_ids){.count = 3, .id = {1, 3, 5}};
	plan_duty(&w->f, &w->p);
	assert_int_equal(w->p.what, PLAN_NOTHING);
}

static void
unknown_directories_are_recorded_together(void **state)
{
	struct world *w = world_of(3);

	(void)state;
	plan_incarnations(&w->f, true, &w->p);
	assert_int_equal(w->p.what, PLAN_NOTHING);
	w->conf.members[0].incarnation = w->conf.members[2].incarnation = 0;
	plan_incarnations(&w->f, false, &w->p);
	assert_change(w, RAFT_CONF_UPDATE, 1);
	assert_int_equal(w->p.context.count, 2);
	assert_int_equal(w->p.context.members[1].id, 3);
	assert_int_equal(w->p.context.members[1].incarnation, 103);
	fact_of(w, 3)->incarnation = 0; /* not seen: wait for it, or not */
	plan_incarnations(&w->f, false, &w->p);
	assert_int_equal(w->p.what, PLAN_NOTHING);
	plan_incarnations(&w->f, true, &w->p);
	assert_int_equal(w->p.context.count, 1);
}

/* ---- the context of a change ---- */

static void
a_context_has_one_encoding_and_no_other_is_taken(void **state)
{
	struct context c = {.token = 5, .count = 2}, back;
	struct buf b = {0}, again = {0};

	(void)state;
	c.members[0] = (struct wal_member){.id = 7, .address = "h:7"};
	c.members[1] = (struct wal_member){.id = NODE_ID_MAX,
	    .incarnation = 9,
	    .promote = true,
	    .replaces = 7};
	context_encode(&c, &b);
	assert_int_equal(context_decode(buf_bytes(&b), &back), ERR_OK);
	context_encode(&back, &again);
	assert_true(bytes_equal(buf_bytes(&b), buf_bytes(&again)));
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(
		    context_decode(bytes_of(b.data, n), &back), ERR_MALFORMED);
		assert_int_equal(back.count, 0);
		assert_true(back.token == 0);
	}
	buf_append(&b, "", 1);
	assert_int_equal(context_decode(buf_bytes(&b), &back), ERR_MALFORMED);
	b.len--;
	b.data[0] = 2; /* another format */
	assert_int_equal(context_decode(buf_bytes(&b), &back), ERR_MALFORMED);
	b.data[0] = 1;
	b.data[9] = NODES_MAX + 1;
	assert_int_equal(context_decode(buf_bytes(&b), &back), ERR_MALFORMED);
	b.data[9] = 2;
	memset(b.data + 13, 0, 8); /* id 0 */
	assert_int_equal(context_decode(buf_bytes(&b), &back), ERR_MALFORMED);
	buf_free(&b);
	buf_free(&again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_majority_is_more_than_half_of_the_voters),
	    cmocka_unit_test(who_is_no_voter_does_not_count),
	    cmocka_unit_test(a_new_member_is_a_learner_with_the_next_id),
	    cmocka_unit_test(ids_and_addresses_are_given_once),
	    cmocka_unit_test(removing_asks_for_a_quorum_of_those_who_stay),
	    cmocka_unit_test(the_last_voter_stays_and_a_learner_may_always_go),
	    cmocka_unit_test(a_leader_hands_over_before_it_goes),
	    cmocka_unit_test(who_has_not_caught_up_is_not_promoted),
	    cmocka_unit_test(
		a_replacement_joins_as_learner_and_takes_the_place_in_one_step),
	    cmocka_unit_test(an_address_changes_and_nothing_else),
	    cmocka_unit_test(leadership_goes_to_a_connected_voter),
	    cmocka_unit_test(
		a_joint_state_is_left_under_a_voter_of_the_new_half),
	    cmocka_unit_test(a_promotion_waits_for_a_quorum),
	    cmocka_unit_test(unknown_directories_are_recorded_together),
	    cmocka_unit_test(a_context_has_one_encoding_and_no_other_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
