/* Round trips to other nodes (raftd/echo.h), on a link that only writes down
 * what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raftd/echo.h"
#include "tests/unit/link_fake.h"

static struct link out;
static struct echo echo;

static int
set_up(void **state)
{
	(void)state;
	out = (struct link){.up = true};
	echo = (struct echo){0};
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	link_fake_clear(&out);
	return 0;
}

static enum err
pong(uint64_t token)
{
	struct msg_status_ask m = {.token = token};
	struct buf body = {0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &body);
	assert_int_equal(msg_status_ask_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = echo_take(&echo, &w);
	buf_free(&body);
	return rc;
}

static uint64_t
measured(void)
{
	return histogram_total(&echo.round_trips);
}

static void
an_answer_is_a_round_trip(void **state)
{
	struct mono before = mono_now();

	(void)state;
	echo_ask(&echo, &out);
	assert_int_equal(link_fake_last_type(&out), MSG_PING);
	assert_int_equal(measured(), 0);
	assert_int_equal(pong(link_fake_last_token(&out)), ERR_OK);
	assert_int_equal(measured(), 1);
	assert_true(echo.round_trips.sum_ns <= mono_now().ns - before.ns);
}

/* As if the last question had been asked long ago. */
static void
give_up(void)
{
	struct mono now = mono_now();

	echo.sent_at.ns = now.ns - ECHO_PATIENCE_MS * UINT64_C(1000000);
}

/* A way that takes longer than the pause between two is measured as well. */
static void
a_slow_answer_is_waited_for(void **state)
{
	(void)state;
	echo_ask(&echo, &out);
	echo.sent_at.ns -= ECHO_MS * UINT64_C(1000000);
	echo_ask(&echo, &out);
	assert_int_equal(out.sent, 1);
	assert_int_equal(pong(link_fake_last_token(&out)), ERR_OK);
	assert_true(echo.round_trips.sum_ns >= ECHO_MS * UINT64_C(1000000));
}

static void
only_the_first_answer_to_the_last_question_counts(void **state)
{
	uint64_t old;

	(void)state;
	assert_int_equal(pong(0), ERR_OK); /* nothing was asked */
	assert_int_equal(pong(1), ERR_OK);
	echo_ask(&echo, &out);
	old = link_fake_last_token(&out);
	give_up();
	echo_ask(&echo, &out);
	assert_int_not_equal(old, link_fake_last_token(&out));
	assert_int_equal(pong(old), ERR_OK);
	assert_int_equal(pong(link_fake_last_token(&out) + 1), ERR_OK);
	assert_int_equal(measured(), 0);
	assert_int_equal(pong(link_fake_last_token(&out)), ERR_OK);
	assert_int_equal(pong(link_fake_last_token(&out)), ERR_OK);
	assert_int_equal(measured(), 1);
}

static void
what_could_not_be_sent_is_not_awaited(void **state)
{
	(void)state;
	out.up = false;
	echo_ask(&echo, &out);
	assert_int_equal(pong(echo.token), ERR_OK);
	out.up = out.full = true;
	echo_ask(&echo, &out);
	assert_int_equal(pong(echo.token), ERR_OK);
	assert_int_equal(measured(), 0);
	assert_int_equal(out.sent, 0);
}

static void
a_question_is_answered_with_its_token(void **state)
{
	struct msg_status_ask m = {.token = 77};
	struct buf body = {0};
	struct wire w;

	(void)state;
	wire_encode(&w, &body);
	assert_int_equal(msg_status_ask_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	assert_int_equal(echo_answer(&out, &w), ERR_OK);
	assert_int_equal(link_fake_last_type(&out), MSG_PONG);
	assert_int_equal(link_fake_last_token(&out), 77);
	wire_decode(&w, buf_bytes(&body));
	assert_int_equal(echo_answer(NULL, &w), ERR_OK); /* not a peer */
	wire_decode(&w, bytes_of(body.data, body.len - 1));
	assert_int_equal(echo_answer(&out, &w), ERR_MALFORMED);
	wire_decode(&w, bytes_of(body.data, body.len - 1));
	assert_int_equal(echo_take(&echo, &w), ERR_MALFORMED);
	buf_free(&body);
}

#define ECHO_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    ECHO_TEST(an_answer_is_a_round_trip),
	    ECHO_TEST(a_slow_answer_is_waited_for),
	    ECHO_TEST(only_the_first_answer_to_the_last_question_counts),
	    ECHO_TEST(what_could_not_be_sent_is_not_awaited),
	    ECHO_TEST(a_question_is_answered_with_its_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
