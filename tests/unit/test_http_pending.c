/* Gathering, batches, refusals and retries: httpd/pending.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/limits.h"
#include "tests/unit/pending_bench.h"

/* --- gathering --- */

static void
commands_of_one_turn_leave_as_one_proposal(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;
	struct msg_propose m;

	for (size_t i = 0; i < 10; i++)
		add(t, i, WAY_WRITE);
	turn(t);
	turn(t);
	assert_int_equal(t->raftd.sent, 1);
	m = sent_propose(&t->raftd, 0, &head);
	assert_int_equal(m.seq, 1);
	assert_int_equal(m.attempt, 1);
	assert_int_equal(head.count, 10);
	assert_int_equal(head.done_below, 1);

	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 10, 0), ERR_OK);
	assert_int_equal(answers, 10);
	for (size_t i = 0; i < 10; i++) {
		assert_answer(i, &t->w[i], ERR_CREATED);
		assert_int_equal(answered[i].a.revision, 40 + i);
		assert_int_equal(answered[i].a.store_revision, 100);
		assert_true(answered[i].a.from_store);
	}
	assert_int_equal(pending_count(t->p), 0);
	assert_int_equal(pending_next(t->p).ns == MONO_NEVER.ns ||
			     pending_next(t->p).ns > t->now.ns,
	    1);
}

static void
a_batch_is_closed_when_it_is_large(void **state)
{
	static char value[VALUE_BYTES_MAX];
	struct test *t = *state;
	struct cmd_batch head;

	for (size_t i = 0; i < 4; i++)
		add_value(t, i, bytes_of(value, BATCH_BYTES_SOFT / 2));
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	(void)sent_propose(&t->raftd, 0, &head);
	assert_int_equal(head.count, 2);
	(void)sent_propose(&t->raftd, 1, &head);
	assert_int_equal(head.count, 2);
	assert_int_equal(head.done_below, 1);
}

static void
while_two_proposals_are_open_commands_gather(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;

	for (size_t i = 0; i < 4; i++) {
		add(t, i, WAY_WRITE);
		turn(t);
	}
	assert_int_equal(t->raftd.sent, 2);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0), ERR_OK);
	turn(t);
	assert_int_equal(t->raftd.sent, 3);
	(void)sent_propose(&t->raftd, 2, &head);
	assert_int_equal(head.count, 2);
	assert_int_equal(head.done_below, 2);
}

static void
commands_gather_for_ten_milliseconds_at_most(void **state)
{
	struct test *t = *state;

	for (size_t i = 0; i < 3; i++) {
		add(t, i, WAY_WRITE);
		turn(t);
	}
	pass(t, 9);
	assert_int_equal(t->raftd.sent, 2);
	pass(t, 1);
	assert_int_equal(t->raftd.sent, 3);
}

static void
a_full_batch_does_not_wait_for_more(void **state)
{
	static char value[BATCH_BYTES_SOFT / 2];
	struct test *t = *state;

	for (size_t i = 0; i < 4; i++) {
		add_value(t, i, bytes_of(value, i < 2 ? 0 : sizeof value));
		turn(t);
	}
	assert_int_equal(t->raftd.sent, 3);
}

static void
reads_leave_as_one_message_and_probes_have_no_key(void **state)
{
	struct test *t = *state;
	struct msg_read m;

	add(t, 0, WAY_READ);
	add_probe(t, 1);
	add(t, 2, WAY_READ);
	add(t, 3, WAY_STALE);
	turn(t);
	assert_int_equal(t->raftd.sent, 1);
	assert_int_equal(t->kvd.sent, 1);
	m = sent_read(&t->raftd, 0, MSG_READ);
	assert_int_equal(m.count, 2);
	assert_int_equal(sent_read(&t->kvd, 0, MSG_STALE_READ).count, 1);

	assert_int_equal(reply(t, MSG_REPLY_READ, m.seq, ERR_OK, 2, 0), ERR_OK);
	assert_int_equal(answers, 3);
	assert_answer(0, &t->w[0], ERR_OK);
	assert_string_equal(answered[0].value, "hello");
	assert_answer(1, &t->w[2], ERR_OK);
	assert_answer(2, &t->w[1], ERR_OK);
}

static void
while_a_read_is_open_lookups_gather(void **state)
{
	struct test *t = *state;

	for (size_t i = 0; i < 3; i++) {
		add(t, i, WAY_READ);
		turn(t);
	}
	assert_int_equal(t->raftd.sent, 1);
	add(t, 3, WAY_STALE); /* another way */
	turn(t);
	assert_int_equal(t->kvd.sent, 1);
	pass(t, 9);
	assert_int_equal(t->raftd.sent, 1);
	pass(t, 1);
	assert_int_equal(t->raftd.sent, 2);
	assert_int_equal(sent_read(&t->raftd, 1, MSG_READ).count, 2);
}

static void
a_full_read_does_not_wait_for_more(void **state)
{
	struct test *t = *state;

	static struct waiter first;

	first = (struct waiter){.way = WAY_READ, .probe = true};
	(void)pending_add(t->p, &first, t->now);
	turn(t);
	for (size_t i = 0; i < WAITERS; i++) {
		assert_int_equal(t->raftd.sent, 1);
		add(t, i, WAY_READ);
		turn(t);
	}
	assert_int_equal(t->raftd.sent, 2);
	assert_int_equal(sent_read(&t->raftd, 1, MSG_READ).count, WAITERS);
	pending_forget(t->p, &first);
}

static void
lookups_wait_for_the_clients_that_were_just_answered(void **state)
{
	struct test *t = *state;

	for (size_t i = 0; i < 3; i++)
		add(t, i, WAY_READ);
	turn(t);
	add(t, 3, WAY_READ); /* waits as the first three travel */
	turn(t);
	assert_int_equal(reply(t, MSG_REPLY_READ, 1, ERR_OK, 3, 0), ERR_OK);
	for (size_t i = 0; i < 3; i++) {
		turn(t);
		assert_int_equal(t->raftd.sent, 1);
		add(t, i, WAY_READ);
	}
	turn(t); /* all are back: no need for any time to pass */
	assert_int_equal(t->raftd.sent, 2);
	assert_int_equal(sent_read(&t->raftd, 1, MSG_READ).count, 4);
}

static void
lookups_do_not_wait_long_for_clients_that_do_not_come_back(void **state)
{
	struct test *t = *state;

	for (size_t i = 0; i < 3; i++)
		add(t, i, WAY_READ);
	turn(t);
	assert_int_equal(reply(t, MSG_REPLY_READ, 1, ERR_OK, 3, 0), ERR_OK);
	add(t, 3, WAY_READ);
	turn(t);
	/* 60 us, and 6 for each of the three. */
	assert_int_equal(pending_next(t->p).ns, mono_add_us(t->now, 78).ns);
	t->now = mono_add_us(t->now, 77);
	turn(t);
	assert_int_equal(t->raftd.sent, 1);
	t->now = mono_add_us(t->now, 1);
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	/* Who was alone is not waited for. */
	assert_int_equal(reply(t, MSG_REPLY_READ, 2, ERR_OK, 1, 0), ERR_OK);
	add(t, 3, WAY_READ);
	turn(t);
	assert_int_equal(t->raftd.sent, 3);
}

static void
done_below_is_the_oldest_proposal_that_is_open(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;

	add(t, 0, WAY_WRITE); /* seq 1 */
	turn(t);
	add(t, 1, WAY_READ); /* seq 2 */
	turn(t);
	add(t, 2, WAY_WRITE); /* seq 3 */
	turn(t);
	(void)sent_propose(&t->raftd, 2, &head);
	assert_int_equal(head.seq, 3);
	assert_int_equal(head.done_below, 1);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0), ERR_OK);
	add(t, 3, WAY_WRITE);
	turn(t);
	(void)sent_propose(&t->raftd, 3, &head);
	assert_int_equal(head.seq, 4);
	assert_int_equal(head.done_below, 3);
}

static void
lookups_that_did_not_fit_are_asked_for_again(void **state)
{
	struct test *t = *state;

	for (size_t i = 0; i < 5; i++)
		add(t, i, WAY_READ);
	turn(t);
	assert_int_equal(reply(t, MSG_REPLY_READ, 1, ERR_OK, 2, 3), ERR_OK);
	assert_int_equal(answers, 2);
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	assert_int_equal(sent_read(&t->raftd, 1, MSG_READ).count, 3);
	assert_int_equal(reply(t, MSG_REPLY_READ, 2, ERR_OK, 3, 0), ERR_OK);
	assert_int_equal(answers, 5);
	assert_answer(4, &t->w[4], ERR_OK);

	/* Nothing fits: not again at once, and 503 in the end. */
	add(t, 6, WAY_READ);
	turn(t);
	pass(t, 1); /* the others do not come back */
	for (uint64_t seq = 3; seq < 10; seq++) {
		(void)reply(t, MSG_REPLY_READ, seq, ERR_OK, 0, 1);
		turn(t);
		assert_int_equal(t->raftd.sent, seq);
		pass(t, 50);
		assert_int_equal(t->raftd.sent, seq + 1);
	}
	(void)reply(t, MSG_REPLY_READ, 10, ERR_OK, 0, 1);
	t->raftd.full = true;
	pass(t, TIMEOUT_MS);
	assert_answer(5, &t->w[6], ERR_OVERLOADED);
}

static void
the_number_of_waiters_is_bounded(void **state)
{
	struct test *t = *state;
	struct waiter *many = mem_zalloc(REQUESTS_INFLIGHT_MAX, sizeof *many);

	t->raftd.up = false;
	for (size_t i = 0; i < REQUESTS_INFLIGHT_MAX; i++)
		assert_true(pending_add(t->p, &many[i], t->now));
	assert_false(pending_add(t->p, &t->w[0], t->now));
	add_probe(t, 1); /* is let in nevertheless */
	for (size_t i = 0; i < REQUESTS_INFLIGHT_MAX; i++)
		pending_forget(t->p, &many[i]);
	assert_int_equal(pending_count(t->p), 1);
	mem_free(many);
}

/* --- going again --- */

static void
what_was_sent_is_sent_again_byte_for_byte(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;
	struct msg_propose first, again;

	add(t, 0, WAY_WRITE);
	turn(t);
	pass(t, 999);
	assert_int_equal(t->raftd.sent, 1);
	pass(t, 2); /* no answer for 1000 ms */
	assert_int_equal(t->raftd.sent, 2);
	pass(t, 1998);
	assert_int_equal(t->raftd.sent, 2);
	pass(t, 2); /* then 2000 ms */
	assert_int_equal(t->raftd.sent, 3);
	first = sent_propose(&t->raftd, 0, &head);
	again = sent_propose(&t->raftd, 2, &head);
	assert_int_equal(again.attempt, 3);
	assert_int_equal(again.seq, first.seq);
	assert_int_equal(again.entry.len, first.entry.len);
	assert_memory_equal(
	    again.entry.data, first.entry.data, first.entry.len);
}

static void
silence_is_not_held_against_raftd_while_kvd_is_away(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	t->kvd.up = false;
	pass(t, 4000);
	assert_int_equal(t->raftd.sent, 1);
	t->kvd.up = true;
	pending_kvd_up(t->p, t->now);
	pass(t, 999);
	assert_true(t->raftd.sent <= 2);
}

static void
a_refused_batch_is_tried_again_soon_and_then_less_often(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;
	uint64_t start = t->now.ns;

	add(t, 0, WAY_WRITE);
	turn(t);
	for (uint32_t attempt = 1; attempt <= 6; attempt++) {
		assert_int_equal(t->raftd.sent, attempt);
		assert_int_equal(
		    refuse(t, MSG_REFUSED_PROPOSE, 1, attempt, ERR_NO_LEADER),
		    ERR_OK);
		while (t->raftd.sent == attempt)
			pass(t, 10);
	}
	/* 20 + 40 + 80 + 160 + 200 + 200 */
	assert_true(t->now.ns - start >= UINT64_C(700) * 1000000);
	assert_true(t->now.ns - start <= UINT64_C(760) * 1000000);
	assert_int_equal(sent_propose(&t->raftd, 6, &head).attempt, 7);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_REPLACED, 1, 0), ERR_OK);
	assert_answer(0, &t->w[0], ERR_REPLACED);
}

static void
while_refused_new_commands_wait_for_the_same_moment(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;

	add(t, 0, WAY_WRITE);
	turn(t);
	(void)refuse(t, MSG_REFUSED_PROPOSE, 1, 1, ERR_NO_LEADER);
	add(t, 1, WAY_WRITE);
	turn(t);
	add(t, 2, WAY_WRITE);
	turn(t);
	assert_int_equal(t->raftd.sent, 1);
	pending_leader(t->p, 2, 5, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 3);
	(void)sent_propose(&t->raftd, 2, &head);
	assert_int_equal(head.count, 2);
}

static void
a_new_leader_or_term_makes_all_go_again(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	add(t, 1, WAY_READ);
	add(t, 2, WAY_STALE);
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	pending_leader(t->p, 0, 2, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	pending_leader(t->p, 1, 3, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 4);
	pending_leader(t->p, 1, 3, t->now); /* known */
	turn(t);
	assert_int_equal(t->raftd.sent, 4);
	pending_leader(t->p, 1, 4, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 6);
	assert_int_equal(t->kvd.sent, 1);
}

/* When its link comes up all goes again; what it then says of the leader is no
 * reason to do that a second time. */
static void
the_first_word_of_raftd_is_no_change(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	add(t, 1, WAY_READ);
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	pending_raftd_up(t->p, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 4);
	pending_leader(t->p, 1, 3, t->now);
	turn(t);
	pending_leader(t->p, 1, 3, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 4);
	pending_leader(t->p, 2, 4, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 6);
	/* The same after it was away, and when it knew of no leader. */
	pending_raftd_up(t->p, t->now);
	turn(t);
	pending_leader(t->p, 0, 5, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 8);
	pending_leader(t->p, 2, 5, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 10);
}

static void
raftd_coming_back_gets_everything_again(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;

	add(t, 0, WAY_WRITE);
	turn(t);
	add(t, 1, WAY_READ);
	turn(t);
	t->raftd.up = false;
	add(t, 2, WAY_WRITE);
	add(t, 3, WAY_WRITE);
	pass(t, 1500);
	assert_int_equal(t->raftd.sent, 2);
	t->raftd.up = true;
	pending_raftd_up(t->p, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 5);
	assert_int_equal(sent_propose(&t->raftd, 2, &head).attempt, 2);
	assert_int_equal(sent_read(&t->raftd, 3, MSG_READ).attempt, 2);
	assert_int_equal(sent_propose(&t->raftd, 4, &head).attempt, 1);
	assert_int_equal(head.count, 2);
	assert_int_equal(head.done_below, 1);
}

static void
kvd_coming_back_is_asked_for_results_and_gets_reads_again(void **state)
{
	struct test *t = *state;
	struct msg_ask ask;
	struct wire w;
	uint64_t seq;

	add(t, 0, WAY_WRITE); /* 1 */
	add(t, 1, WAY_READ);  /* 2 */
	add(t, 2, WAY_STALE); /* 3 */
	turn(t);
	add(t, 3, WAY_WRITE); /* 4 */
	turn(t);
	t->kvd.up = false;
	turn(t);
	t->kvd.up = true;
	pending_kvd_up(t->p, t->now);
	turn(t);
	assert_int_equal(t->raftd.sent, 4);
	assert_int_equal(sent_read(&t->raftd, 3, MSG_READ).attempt, 2);
	assert_int_equal(t->kvd.sent, 3);
	assert_int_equal(t->kvd.message[1].type, MSG_ASK);
	wire_decode(&w, buf_bytes(&t->kvd.message[1].body));
	msg_ask_wire(&w, &ask);
	assert_int_equal(ask.epoch, EPOCH);
	assert_int_equal(ask.count, 2);
	msg_ask_item_wire(&w, &seq);
	assert_int_equal(seq, 1);
	msg_ask_item_wire(&w, &seq);
	assert_int_equal(seq, 4);
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_int_equal(sent_read(&t->kvd, 2, MSG_STALE_READ).attempt, 2);
}

static void
a_full_link_gets_nothing_until_it_has_room(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	t->raftd.full = true;
	add(t, 1, WAY_WRITE);
	add(t, 2, WAY_READ);
	pass(t, 2000); /* the retry of the first is due, too */
	assert_int_equal(t->raftd.sent, 1);
	t->raftd.full = false;
	pass(t, 11);
	assert_int_equal(t->raftd.sent, 4);
}

/* kvd remembers SESSION_BATCHES_MAX batches from the oldest open one on. */
static void
writes_do_not_run_away_from_an_open_one(void **state)
{
	struct test *t = *state;
	uint64_t seq = 1, refused_at = 0;

	add(t, 0, WAY_WRITE);
	turn(t);
	while (seq < SESSION_BATCHES_MAX && refused_at == 0) {
		size_t before = t->raftd.sent;

		add(t, 1, WAY_WRITE);
		turn(t);
		if (t->raftd.sent == before) {
			refused_at = seq;
			break;
		}
		seq++;
		t->raftd.sent = 1; /* forget it, but for its memory */
		buf_clear(&t->raftd.message[1].body);
		answers = 0;
		(void)reply(t, MSG_REPLY_PROPOSE, seq, ERR_CREATED, 1, 0);
		assert_int_equal(answers, 1);
	}
	assert_int_equal(refused_at, SESSION_BATCHES_MAX / 2);
	(void)reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0);
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		commands_of_one_turn_leave_as_one_proposal, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_batch_is_closed_when_it_is_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		while_two_proposals_are_open_commands_gather, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		commands_gather_for_ten_milliseconds_at_most, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_full_batch_does_not_wait_for_more, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		reads_leave_as_one_message_and_probes_have_no_key, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		while_a_read_is_open_lookups_gather, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_full_read_does_not_wait_for_more, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		lookups_wait_for_the_clients_that_were_just_answered, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		lookups_do_not_wait_long_for_clients_that_do_not_come_back,
		setup, teardown),
	    cmocka_unit_test_setup_teardown(
		done_below_is_the_oldest_proposal_that_is_open, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		lookups_that_did_not_fit_are_asked_for_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_number_of_waiters_is_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_was_sent_is_sent_again_byte_for_byte, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		silence_is_not_held_against_raftd_while_kvd_is_away, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_refused_batch_is_tried_again_soon_and_then_less_often, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		while_refused_new_commands_wait_for_the_same_moment, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_new_leader_or_term_makes_all_go_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_first_word_of_raftd_is_no_change, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		raftd_coming_back_gets_everything_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		kvd_coming_back_is_asked_for_results_and_gets_reads_again,
		setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_full_link_gets_nothing_until_it_has_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		writes_do_not_run_away_from_an_open_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
