/* Deadlines and fates: httpd/pending.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/limits.h"
#include "tests/unit/pending_bench.h"

/* --- the end --- */

static void
a_deadline_is_504_when_the_fate_is_unknown(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	pass(t, TIMEOUT_MS - 1);
	assert_int_equal(answers, 0);
	pass(t, 1);
	turn(t);
	assert_int_equal(answers, 1);
	assert_answer(0, &t->w[0], ERR_TIMEOUT);
	assert_false(answered[0].a.from_store);
	/* Too late: nobody waits any more. */
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0), ERR_OK);
	assert_int_equal(answers, 1);
}

static void
a_deadline_is_503_when_every_attempt_was_refused(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	for (uint32_t n = 1; answers == 0; n++) {
		(void)refuse(t, MSG_REFUSED_PROPOSE, 1, n, ERR_TRANSFERRING);
		while (answers == 0 && t->raftd.sent == n)
			pass(t, 10);
	}
	/* The last attempt may have been sent just before the deadline. */
	assert_true(answered[0].a.code == ERR_TRANSFERRING ||
		    answered[0].a.code == ERR_TIMEOUT);

	add(t, 1, WAY_READ);
	turn(t);
	(void)refuse(t, MSG_REFUSED_READ, 2, 1, ERR_NO_LEADER);
	t->raftd.full = true; /* no further attempt */
	pass(t, TIMEOUT_MS + 1);
	assert_answer(1, &t->w[1], ERR_NO_LEADER);
}

/* 503 promises that the command is not executed, at no later time either: the
 * others of its batch leave in a new one, without it. */
static void
what_was_answered_503_never_leaves_again(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;

	add(t, 0, WAY_WRITE);
	t->now = mono_add_ms(t->now, 10);
	add(t, 1, WAY_WRITE); /* the same turn, a later deadline */
	turn(t);
	(void)sent_propose(&t->raftd, 0, &head);
	assert_int_equal(head.count, 2);
	(void)refuse(t, MSG_REFUSED_PROPOSE, head.seq, 1, ERR_NO_LEADER);
	t->raftd.full = true; /* no more attempts before the first deadline */
	pass(t, TIMEOUT_MS - 10);
	turn(t);
	assert_int_equal(answers, 1);
	assert_answer(0, &t->w[0], ERR_NO_LEADER);
	t->raftd.full = false;
	pass(t, 9);
	turn(t);
	(void)sent_propose(&t->raftd, t->raftd.sent - 1, &head);
	assert_int_equal(head.count, 1);
	assert_int_equal(head.seq, 2);
}

static void
one_attempt_without_a_refusal_makes_it_504(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	pass(t, 1001); /* the first attempt is lost */
	assert_int_equal(t->raftd.sent, 2);
	(void)refuse(t, MSG_REFUSED_PROPOSE, 1, 2, ERR_NO_LEADER);
	t->raftd.full = true;
	pass(t, TIMEOUT_MS);
	assert_answer(0, &t->w[0], ERR_TIMEOUT);
}

static void
a_late_refusal_of_an_early_attempt_counts(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	pass(t, 1001);
	(void)refuse(t, MSG_REFUSED_PROPOSE, 1, 2, ERR_NO_LEADER);
	(void)refuse(t, MSG_REFUSED_PROPOSE, 1, 1, ERR_NO_LEADER);
	t->raftd.full = true;
	pass(t, TIMEOUT_MS);
	assert_answer(0, &t->w[0], ERR_NO_LEADER);
}

static void
a_request_never_sent_is_503(void **state)
{
	struct test *t = *state;

	t->raftd.up = t->kvd.up = false;
	add(t, 0, WAY_WRITE);
	add(t, 1, WAY_READ);
	add(t, 2, WAY_STALE);
	pass(t, TIMEOUT_MS + 1);
	assert_int_equal(answers, 3);
	for (size_t i = 0; i < 3; i++)
		assert_answer(i, &t->w[i], ERR_UNAVAILABLE);
	assert_int_equal(pending_next(t->p).ns, MONO_NEVER.ns);
}

static void
a_probe_gives_up_after_a_second(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	add_probe(t, 1);
	turn(t);
	assert_int_equal(sent_read(&t->raftd, 1, MSG_READ).count, 0);
	pass(t, 1001);
	assert_int_equal(answers, 1);
	assert_answer(0, &t->w[1], ERR_TIMEOUT);
}

static void
a_permanent_refusal_is_answered_at_once(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	add(t, 1, WAY_WRITE);
	add(t, 2, WAY_READ);
	turn(t);
	(void)refuse(t, MSG_REFUSED_PROPOSE, 1, 1, ERR_NO_SPACE);
	assert_int_equal(answers, 2);
	assert_answer(1, &t->w[1], ERR_NO_SPACE);
	(void)refuse(t, MSG_REFUSED_READ, 2, 1, ERR_REMOVED);
	assert_answer(2, &t->w[2], ERR_REMOVED);
	assert_int_equal(pending_count(t->p), 0);
}

static void
but_not_when_an_earlier_attempt_may_be_executed(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	pass(t, 1001);
	(void)refuse(t, MSG_REFUSED_PROPOSE, 1, 2, ERR_REMOVED);
	assert_int_equal(answers, 0);
	(void)reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0);
	assert_answer(0, &t->w[0], ERR_CREATED);
}

static void
a_client_that_left_gets_nothing_and_the_others_their_own(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	add(t, 1, WAY_WRITE);
	add(t, 2, WAY_WRITE);
	pending_forget(t->p, &t->w[0]); /* before it was sent */
	turn(t);
	pending_forget(t->p, &t->w[1]); /* after */
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 2, 0), ERR_OK);
	assert_int_equal(answers, 1);
	assert_answer(0, &t->w[2], ERR_CREATED);
	assert_int_equal(answered[0].a.revision, 41);
}

static void
a_batch_without_waiters_is_closed(void **state)
{
	struct test *t = *state;
	struct cmd_batch head;

	add(t, 0, WAY_WRITE);
	turn(t);
	pending_forget(t->p, &t->w[0]);
	pass(t, 2000);
	assert_int_equal(t->raftd.sent, 1);
	add(t, 1, WAY_WRITE);
	turn(t);
	(void)sent_propose(&t->raftd, 1, &head);
	assert_int_equal(head.done_below, 2);
}

static void
stopping_says_what_was_certainly_not_executed(void **state)
{
	struct test *t = *state;

	add(t, 0, WAY_WRITE);
	turn(t);
	t->raftd.up = false;
	add(t, 1, WAY_WRITE);
	turn(t);
	pending_stop(t->p);
	assert_int_equal(answers, 2);
	assert_answer(0, &t->w[0], ERR_TIMEOUT);
	assert_answer(1, &t->w[1], ERR_STOPPING);
}

static void
duplicates_and_nonsense_are_harmless(void **state)
{
	struct test *t = *state;
	struct buf b = {NULL, 0, 0};
	struct wire w;

	add(t, 0, WAY_WRITE);
	turn(t);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 99, ERR_CREATED, 1, 0), ERR_OK);
	assert_int_equal(
	    reply(t, MSG_REPLY_READ, 1, ERR_OK, 1, 0), ERR_MALFORMED);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 2, 0), ERR_MALFORMED);
	assert_int_equal(
	    refuse(t, MSG_REFUSED_READ, 1, 1, ERR_NO_LEADER), ERR_MALFORMED);
	assert_int_equal(
	    refuse(t, MSG_REFUSED_PROPOSE, 1, 1, ERR_CREATED), ERR_MALFORMED);
	assert_int_equal(
	    refuse(t, MSG_REFUSED_PROPOSE, 1, 7, ERR_NO_LEADER), ERR_OK);
	wire_decode(&w, buf_bytes(&b));
	assert_int_equal(pending_reply(t->p, &w, t->now), ERR_MALFORMED);
	assert_int_equal(answers, 0);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0), ERR_OK);
	assert_int_equal(
	    reply(t, MSG_REPLY_PROPOSE, 1, ERR_CREATED, 1, 0), ERR_OK);
	assert_int_equal(answers, 1);
}

/* xorshift64; the seed is fixed, the walk is long. */
static uint64_t
random_below(uint64_t n)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % n;
}

static void
random_event(struct test *t)
{
	uint64_t seq = 1 + random_below(400);

	switch (random_below(12)) {
	case 0:
		t->raftd.up = !t->raftd.up;
		if (t->raftd.up)
			pending_raftd_up(t->p, t->now);
		break;
	case 1:
		t->kvd.up = !t->kvd.up;
		if (t->kvd.up)
			pending_kvd_up(t->p, t->now);
		break;
	case 2:
		t->raftd.full = random_below(3) == 0;
		t->kvd.full = random_below(3) == 0;
		break;
	case 3:
		pending_leader(t->p, random_below(3), random_below(5), t->now);
		break;
	case 4:
	case 5:
		(void)refuse(t, (uint8_t)(1 + random_below(2)), seq,
		    1 + (uint32_t)random_below(4),
		    random_below(9) == 0 ? ERR_REMOVED : ERR_NO_LEADER);
		break;
	case 6:
		pending_forget(t->p, &t->w[random_below(WAITERS)]);
		break;
	default:
		(void)reply(t, (uint8_t)(1 + random_below(2)), seq, ERR_OK,
		    (uint32_t)random_below(4), (uint32_t)random_below(2));
	}
}

/* Whatever happens in whatever order: one answer each, and nobody is left. */
static void
every_waiter_is_answered_once_at_the_latest_at_its_deadline(void **state)
{
	struct test *t = *state;

	for (unsigned step = 0; step < 20000; step++) {
		size_t i = random_below(WAITERS);

		if (!t->w[i].waiting)
			add(t, i, (enum way)random_below(WAYS));
		random_event(t);
		turn(t);
		pass(t, random_below(200));
		for (size_t n = 0; n < SENT_MAX; n++) {
			buf_clear(&t->raftd.message[n].body);
			buf_clear(&t->kvd.message[n].body);
		}
		t->raftd.sent = t->kvd.sent = answers = 0;
	}
	pass(t, TIMEOUT_MS + 1);
	assert_int_equal(pending_count(t->p), 0);
	pass(t, 10000); /* a retry that is no more costs one look */
	assert_int_equal(pending_next(t->p).ns, MONO_NEVER.ns);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		what_was_answered_503_never_leaves_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_deadline_is_504_when_the_fate_is_unknown, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_deadline_is_503_when_every_attempt_was_refused, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		one_attempt_without_a_refusal_makes_it_504, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_late_refusal_of_an_early_attempt_counts, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_request_never_sent_is_503, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_probe_gives_up_after_a_second, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_permanent_refusal_is_answered_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		but_not_when_an_earlier_attempt_may_be_executed, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_client_that_left_gets_nothing_and_the_others_their_own, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_batch_without_waiters_is_closed, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		stopping_says_what_was_certainly_not_executed, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		duplicates_and_nonsense_are_harmless, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		every_waiter_is_answered_once_at_the_latest_at_its_deadline,
		setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
