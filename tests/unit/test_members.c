/* Orders about members on the node that leads (raftd/members.h): when each is
 * begun, what is proposed, what is answered and with which code.  What is right
 * to do (plan.c) and what a change makes of the members (cluster.c) are real.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "raftd/members.h"
#include "tests/unit/leader_fixture.h"

#define WAITING_MAX 64u

/* ---- an order on its way ---- */

static void
an_order_is_proposed_once_and_answered_when_it_is_durable(void **state)
{
	(void)state;
	give(2, order_add(7, "h:4"));
	assert_int_equal(core.changes, 0); /* in a turn of its own */
	run(0);
	assert_proposed(1, RAFT_CONF_ADD_LEARNER, 4, 7);
	assert_string_equal(core.context[0].members[0].address, "h:4");
	run(0);
	tick(0);
	assert_int_equal(core.changes, 1);
	take_effect();
	run(0);
	assert_int_equal(reply_count, 0);
	make_durable();
	run(0);
	assert_reply(1, 2, 7, ERR_OK);
	assert_int_equal(replies[0].m.index, FIRST + 1);
	assert_int_equal(replies[0].m.id, 4);
	assert_string_equal(replies[0].m.why, "");
	run(0);
	assert_int_equal(reply_count, 1);
	assert_int_equal(core.changes, 1);
}

static void
orders_are_carried_out_one_after_the_other(void **state)
{
	(void)state;
	give(2, order_add(7, "h:4"));
	give(3, order_add(8, "h:5"));
	run(0);
	run(0);
	assert_proposed(1, RAFT_CONF_ADD_LEARNER, 4, 7);
	take_effect();
	run(0);
	assert_int_equal(core.changes, 1); /* the first one is not answered */
	make_durable();
	run(0);
	assert_reply(1, 2, 7, ERR_OK);
	assert_proposed(2, RAFT_CONF_ADD_LEARNER, 5, 8);
	take_effect();
	make_durable();
	run(0);
	assert_reply(2, 3, 8, ERR_OK);
	assert_int_equal(replies[1].m.id, 5);
}

static void
so_many_orders_wait_and_no_more(void **state)
{
	(void)state;
	core.transferee = 2; /* nothing is begun */
	for (uint64_t i = 1; i <= WAITING_MAX + 1; i++)
		give(2, order_about(i, MSG_ORDER_PROMOTE, 99));
	run(0);
	assert_int_equal(reply_count, 0);
	core.transferee = RAFT_NONE;
	run(0);
	assert_reply(WAITING_MAX, 2, WAITING_MAX, ERR_NO_SUCH_MEMBER);
	give(2, order_about(WAITING_MAX + 1, MSG_ORDER_PROMOTE, 99));
	run(0);
	assert_reply(WAITING_MAX + 1, 2, WAITING_MAX + 1, ERR_NO_SUCH_MEMBER);
}

static void
an_order_that_nobody_waits_for_is_dropped(void **state)
{
	(void)state;
	core.transferee = 2;
	give(2, order_add(7, "h:4"));
	run(0);
	core.transferee = RAFT_NONE;
	run(120000);
	assert_int_equal(core.changes, 0);
	assert_int_equal(reply_count, 0);
	give(2, order_add(8, "h:4"));
	run(50000);
	assert_int_equal(core.changes, 1);
}

static void
a_core_that_takes_no_change_is_asked_again(void **state)
{
	(void)state;
	core.refuses = true;
	tick(0);
	core.last += 5; /* entries of others */
	give(2, order_add(7, "h:4"));
	run(0);
	assert_int_equal(core.changes, 0);
	assert_int_equal(reply_count, 0);
	core.refuses = false;
	run(0);
	assert_proposed(1, RAFT_CONF_ADD_LEARNER, 4, 7);
	/* Its entry became an empty one: a change was under way. */
	core.applied = core.last;
	run(0);
	assert_proposed(2, RAFT_CONF_ADD_LEARNER, 4, 7);
	assert_int_equal(reply_count, 0);
}

/* ---- tokens ---- */

static void
an_order_that_comes_again_is_done_once(void **state)
{
	(void)state;
	give(2, order_add(7, "h:4"));
	give(2, order_add(7, "h:4"));
	run(0);
	give(2, order_add(7, "h:4"));
	take_effect();
	make_durable();
	run(0);
	assert_reply(1, 2, 7, ERR_OK);
	give(3, order_add(7, "h:4")); /* the answer was lost */
	run(0);
	assert_reply(2, 3, 7, ERR_OK);
	assert_int_equal(replies[1].m.index, FIRST + 1);
	assert_int_equal(replies[1].m.id, 4);
	assert_int_equal(core.changes, 1);
}

/* An earlier leader has proposed it. */
static void
what_another_leader_did_is_answered_and_not_done_again(void **state)
{
	(void)state;
	rd.conf.orders[rd.conf.order_count++] =
	    (struct wal_order){.token = 7, .index = 40, .id = 4};
	rd.conf.index = 40;
	rd.conf_durable = 39;
	give(2, order_add(7, "h:4"));
	run(0);
	assert_int_equal(reply_count, 0);
	rd.conf_durable = 40;
	run(0);
	assert_reply(1, 2, 7, ERR_OK);
	assert_int_equal(replies[0].m.index, 40);
	assert_int_equal(core.changes, 0);
}

static void
whoever_waits_is_remembered_for_as_long(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= WAITING_MAX; i++) {
		struct msg_control m = order_about(i, MSG_ORDER_UPDATE, 2);

		(void)snprintf(
		    m.address, sizeof(m.address), "h:%u", 100 + (unsigned)i);
		give(2, m);
	}
	for (unsigned i = 1; i <= WAITING_MAX; i++) {
		run(0);
		assert_proposed(i, RAFT_CONF_UPDATE, 2, i);
		take_effect();
		make_durable();
	}
	run(0);
	assert_reply(WAITING_MAX, 2, WAITING_MAX, ERR_OK);
	for (uint64_t i = 1; i <= WAITING_MAX; i++) {
		assert_int_equal(replies[i - 1].m.code, ERR_OK);
		assert_non_null(cluster_order(&rd.conf, i));
	}
}

/* ---- refusals ---- */

static void
a_refusal_has_the_code_of_the_plan_and_is_answered_at_once(void **state)
{
	struct msg_control m;

	(void)state;
	give(2, order_about(1, MSG_ORDER_REMOVE, 9));
	run(0);
	assert_reply(1, 2, 1, ERR_NO_SUCH_MEMBER);
	assert_why("no node 9");
	assert_int_equal(replies[0].m.index, 0);
	give(2, order_about(2, MSG_ORDER_PROMOTE, 2));
	run(0);
	assert_reply(2, 2, 2, ERR_CONFLICT);
	assert_why("a voter already");
	give(2, order_add(3, "nowhere"));
	run(0);
	assert_reply(3, 2, 3, ERR_BAD_REQUEST);
	give(2, order_add(4, "h:2"));
	run(0);
	assert_reply(4, 2, 4, ERR_CONFLICT);
	give(2, order_about(5, (enum msg_order)200, 0));
	run(0);
	assert_reply(5, 2, 5, ERR_BAD_REQUEST);
	m = order_about(6, MSG_ORDER_UPDATE, 2);
	(void)snprintf(m.address, sizeof(m.address), "h:2");
	give(2, m); /* there is nothing to be done: the members as of 10 */
	run(0);
	assert_reply(6, 2, 6, ERR_OK);
	assert_int_equal(replies[5].m.index, 10);
	assert_int_equal(core.changes, 0);
}

/* Of three voters two must be there: without the third one, of the two that
 * are left when the second one goes, both. */
static void
a_quorum_that_may_come_back_is_waited_for(void **state)
{
	(void)state;
	away[3] = true;
	give(2, order_about(7, MSG_ORDER_REMOVE, 2));
	run(0);
	run(2 * ELECTION_MS - 100);
	assert_int_equal(reply_count, 0);
	assert_int_equal(core.changes, 0);
	run(2 * ELECTION_MS + 10000);
	assert_reply(1, 2, 7, ERR_QUORUM);
	assert_why("2 voters, 2 of which must be connected, but only 1");
	away[3] = false;
	core.idle[3] = true; /* connected, and answers nothing */
	give(2, order_about(8, MSG_ORDER_REMOVE, 2));
	run(0);
	assert_int_equal(core.changes, 0);
	core.idle[3] = false;
	run(0);
	assert_proposed(1, RAFT_CONF_REMOVE, 2, 8);
}

static void
who_is_away_may_go_and_a_quorum_may_be_given_up_by_force(void **state)
{
	struct msg_control m = order_about(8, MSG_ORDER_REMOVE, 2);

	(void)state;
	away[3] = true;
	give(2, order_about(7, MSG_ORDER_REMOVE, 3));
	run(0);
	assert_proposed(1, RAFT_CONF_REMOVE, 3, 7);
	core.applied = core.last; /* which comes to nothing */
	members_close(rd.members);
	rd.members = members_open(&rd);
	m.force = true;
	give(2, m);
	run(0);
	assert_proposed(2, RAFT_CONF_REMOVE, 2, 8);
}

/* ---- who leads ---- */

static void
who_does_not_lead_takes_nothing_and_who_stops_drops_all(void **state)
{
	(void)state;
	core.role = RAFT_FOLLOWER;
	give(2, order_add(7, "h:4"));
	core.role = RAFT_LEADER;
	run(0);
	tick(0);
	assert_int_equal(core.changes, 0);
	core.transferee = 2;
	give(2, order_add(8, "h:4"));
	run(0);
	core.role = RAFT_FOLLOWER;
	core.transferee = RAFT_NONE;
	run(0);
	core.role = RAFT_LEADER;
	core.term++;
	run(0);
	assert_int_equal(core.changes, 0);
	assert_int_equal(reply_count, 0);
}

static void
changes_of_earlier_leaders_come_first(void **state)
{
	(void)state;
	core.applied = FIRST - 1;
	give(2, order_add(7, "h:4"));
	run(0);
	tick(0);
	assert_int_equal(core.changes, 0);
	core.last += 10; /* of this one's own time */
	core.applied = FIRST;
	run(0);
	assert_proposed(1, RAFT_CONF_ADD_LEARNER, 4, 7);
}

static void
a_joint_configuration_is_left_before_the_next_order(void **state)
{
	(void)state;
	rd.conf.state.voters_outgoing =
	    (struct raft_ids){.count = 2, .id = {1, 2}};
	give(2, order_add(7, "h:4"));
	run(0);
	assert_int_equal(core.changes, 0);
	tick(0);
	assert_int_equal(core.changes, 1);
	assert_int_equal(core.change[0].count, 0);
	rd.conf.state.voters_outgoing.count = 0;
	core.applied = core.last;
	run(0);
	assert_proposed(2, RAFT_CONF_ADD_LEARNER, 4, 7);
}

/* ---- leadership ---- */

static void
leadership_is_handed_over_again_so_often_and_no_more(void **state)
{
	(void)state;
	give(2, order_about(7, MSG_ORDER_LEADER, 3));
	for (unsigned n = 1; n <= 5; n++) {
		run(0);
		assert_int_equal(core.transfers, n);
		assert_int_equal(core.to, 3);
		run(0); /* it is under way */
		assert_int_equal(core.transfers, n);
		assert_int_equal(reply_count, 0);
		core.transferee = RAFT_NONE; /* it was not taken in time */
	}
	run(0);
	assert_reply(1, 2, 7, ERR_CONFLICT);
	assert_why("did not take it in time");
	assert_int_equal(replies[0].m.id, ME);
	assert_int_equal(core.transfers, 5);
}

/* Who led when it was given is what counts. */
static void
who_leads_already_is_answered(void **state)
{
	struct msg_control m = order_about(8, MSG_ORDER_LEADER, 0);

	(void)state;
	give(2, order_about(7, MSG_ORDER_LEADER, ME));
	run(0);
	assert_reply(1, 2, 7, ERR_OK);
	assert_int_equal(replies[0].m.id, ME);
	assert_int_equal(replies[0].m.index, 0);
	m.old = 2;
	give(2, m);
	run(0);
	assert_reply(2, 2, 8, ERR_OK);
	assert_int_equal(core.transfers, 0);
}

static void
a_leader_that_shall_go_hands_over_first(void **state)
{
	(void)state;
	core.match[3] = FIRST + 1;
	give(2, order_about(7, MSG_ORDER_REMOVE, ME));
	run(0);
	assert_int_equal(core.changes, 0);
	assert_int_equal(core.transfers, 1);
	assert_int_equal(core.to, 3); /* whose log is longest */
	assert_int_equal(reply_count, 0);
	run(0);
	assert_int_equal(core.transfers, 1);
}

/* ---- duties ---- */

/* Node 4, a learner that is to become a voter. */
static void
add_learner(void)
{
	struct wal_member *m = &rd.conf.members[rd.conf.member_count++];

	*m = (struct wal_member){
	    .id = 4, .incarnation = 104, .promote = true, .address = "h:4"};
	rd.conf.state.learners.id[rd.conf.state.learners.count++] = 4;
	rd.conf.id_max = 4;
}

/* Thesis 4.2.1: it has all that this one had a heartbeat ago. */
static void
who_has_caught_up_is_promoted(void **state)
{
	(void)state;
	add_learner();
	tick(0); /* how long the log was is not known yet */
	assert_int_equal(core.changes, 0);
	core.last = FIRST + 10;
	core.applied = core.last;
	core.match[4] = FIRST - 1;
	tick(0);
	tick(0);
	assert_int_equal(core.changes, 0); /* it has less than at any tick */
	core.last = core.applied = FIRST + 20;
	core.match[4] = FIRST + 10; /* as at the last tick, not as now */
	run(0);
	assert_int_equal(core.changes, 0); /* once in a tick */
	tick(0);
	assert_proposed(1, RAFT_CONF_ADD_VOTER, 4, 0);
	assert_false(core.context[0].members[0].promote);
	tick(0);
	assert_int_equal(core.changes, 1); /* it is under way */
}

static void
who_is_away_or_has_not_caught_up_is_not_promoted(void **state)
{
	(void)state;
	add_learner();
	away[4] = true;
	for (unsigned i = 0; i < 4; i++)
		tick(0);
	assert_int_equal(core.changes, 0);
	away[4] = false;
	core.idle[4] = true;
	tick(0);
	assert_int_equal(core.changes, 0);
	core.idle[4] = false;
	core.match[4] = FIRST - 1;
	tick(0);
	assert_int_equal(core.changes, 0);
	core.match[4] = FIRST;
	tick(0);
	assert_proposed(1, RAFT_CONF_ADD_VOTER, 4, 0);
}

static void
an_order_under_way_comes_before_duties(void **state)
{
	(void)state;
	add_learner();
	tick(0);
	tick(0);
	tick(0);
	assert_int_equal(core.changes, 1); /* the promotion */
	take_effect();
	rd.conf.members[3].promote = true; /* as if it were still to come */
	rd.conf.state.voters.count--;
	rd.conf.state.learners = (struct raft_ids){.count = 1, .id = {4}};
	give(2, order_add(7, "h:5"));
	run(0);
	assert_proposed(2, RAFT_CONF_ADD_LEARNER, 5, 7);
	core.match[4] = core.last;
	tick(0);
	assert_int_equal(core.changes, 2);
	take_effect(); /* and whoever gave it has yet to hear of it */
	rd.conf.members[3].promote = true;
	tick(0);
	tick(0);
	assert_int_equal(core.changes, 2);
	make_durable();
	tick(0);
	assert_reply(1, 2, 7, ERR_OK);
	assert_proposed(3, RAFT_CONF_ADD_VOTER, 4, 0);
}

static void
directories_are_recorded_when_all_were_seen_or_after_a_while(void **state)
{
	(void)state;
	rd.conf.members[1].incarnation = rd.conf.members[2].incarnation = 0;
	incarnation[3] = 0; /* not seen yet */
	tick(0);
	tick(1900);
	assert_int_equal(core.changes, 0);
	incarnation[3] = 103;
	tick(1900);
	assert_int_equal(core.changes, 1);
	assert_int_equal(core.context[0].count, 2);
	assert_int_equal(core.context[0].members[0].incarnation, 102);
	assert_int_equal(core.context[0].members[1].incarnation, 103);
	core.applied = core.last; /* which came to nothing */
	incarnation[3] = 0;
	tick(2000);
	assert_int_equal(core.changes, 1); /* not all the time */
	tick(10000);
	assert_int_equal(core.changes, 2);
	assert_int_equal(core.context[1].count, 1);
	assert_int_equal(core.context[1].token, 0);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, leader_set_up, leader_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_order_is_proposed_once_and_answered_when_it_is_durable),
	    TEST(orders_are_carried_out_one_after_the_other),
	    TEST(so_many_orders_wait_and_no_more),
	    TEST(an_order_that_nobody_waits_for_is_dropped),
	    TEST(a_core_that_takes_no_change_is_asked_again),
	    TEST(an_order_that_comes_again_is_done_once),
	    TEST(what_another_leader_did_is_answered_and_not_done_again),
	    TEST(whoever_waits_is_remembered_for_as_long),
	    TEST(a_refusal_has_the_code_of_the_plan_and_is_answered_at_once),
	    TEST(a_quorum_that_may_come_back_is_waited_for),
	    TEST(who_is_away_may_go_and_a_quorum_may_be_given_up_by_force),
	    TEST(who_does_not_lead_takes_nothing_and_who_stops_drops_all),
	    TEST(changes_of_earlier_leaders_come_first),
	    TEST(a_joint_configuration_is_left_before_the_next_order),
	    TEST(leadership_is_handed_over_again_so_often_and_no_more),
	    TEST(who_leads_already_is_answered),
	    TEST(a_leader_that_shall_go_hands_over_first),
	    TEST(who_has_caught_up_is_promoted),
	    TEST(who_is_away_or_has_not_caught_up_is_not_promoted),
	    TEST(an_order_under_way_comes_before_duties),
	    TEST(directories_are_recorded_when_all_were_seen_or_after_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
