/* Orders to raftd (httpd/control.h) and the proposals of state hashes
 * (httpd/checker.h), on links that only write down what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "httpd/checker.h"
#include "httpd/control.h"
#include "tests/unit/link_fake.h"

static struct link raftd, kvd;
static const struct mono start = {1000000000};

static struct {
	size_t count;
	enum err code;
	uint64_t index, id;
	uint8_t order;
	char address[ADDRESS_BYTES_MAX + 1];
	char why[512];
} told;

static void
on_controlled(struct control_waiter *w, const struct msg_controlled *m)
{
	assert_false(w->asker.waiting);
	told.count++;
	told.code = (enum err)m->code;
	told.index = m->index;
	told.id = m->id;
	told.order = w->order->order;
	memcpy(told.address, w->order->address, sizeof told.address);
	memcpy(told.why, m->why, sizeof told.why);
}

static void
on_answer(struct waiter *w, const struct answer *a)
{
	(void)w;
	(void)a;
	fail_msg("a check has nobody who is told");
}

static int
set_up(void **state)
{
	(void)state;
	memset(&told, 0, sizeof told);
	raftd.up = kvd.up = true;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	link_fake_clear(&raftd);
	link_fake_clear(&kvd);
	return 0;
}

/* --- orders --- */

static const struct msg_control snapshot = {.order = MSG_ORDER_SNAPSHOT};

static enum err
controlled(struct control *ct, const struct msg_controlled *said)
{
	struct msg_controlled m = *said;
	struct buf body = {0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &body);
	assert_int_equal(msg_controlled_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = control_take(ct, &w);
	buf_free(&body);
	return rc;
}

static enum err
said(struct control *ct, uint64_t token, enum err code, uint64_t index)
{
	const struct msg_controlled m = {
	    .token = token, .code = (uint8_t)code, .index = index};

	return controlled(ct, &m);
}

static void
an_order_is_answered_by_what_raftd_says(void **state)
{
	struct control *ct = control_open(&raftd, on_controlled);
	struct control_waiter a = {0}, b = {0};
	struct msg_control m;
	struct wire w;

	(void)state;
	assert_true(control_add(ct, &a, &snapshot, start));
	assert_true(control_add(ct, &b, &snapshot, start));
	assert_int_equal(raftd.sent, 2);
	assert_int_equal(raftd.message[0].type, MSG_CONTROL);
	wire_decode(&w, buf_bytes(&raftd.message[1].body));
	assert_int_equal(msg_control_wire(&w, &m), ERR_OK);
	assert_int_equal(m.order, MSG_ORDER_SNAPSHOT);
	assert_int_equal(m.token, b.asker.token);
	assert_int_equal(said(ct, b.asker.token, ERR_OK, 77), ERR_OK);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.code, ERR_OK);
	assert_int_equal(told.index, 77);
	assert_int_equal(said(ct, b.asker.token, ERR_OK, 78), ERR_OK);
	assert_int_equal(said(ct, 999, ERR_OK, 79), ERR_OK);
	assert_int_equal(told.count, 1); /* nobody waits for those */
	assert_int_equal(said(ct, a.asker.token, ERR_OVERLOADED, 0), ERR_OK);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.code, ERR_OVERLOADED);
	assert_int_equal(control_next(ct).ns, MONO_NEVER.ns);
	control_close(ct);
}

static void
an_order_travels_whole_and_is_there_for_its_answer(void **state)
{
	struct control *ct = control_open(&raftd, on_controlled);
	struct control_waiter a = {0};
	struct msg_control order = {.order = MSG_ORDER_REPLACE,
	    .id = 4,
	    .old = 3,
	    .promote = true,
	    .force = true,
	    .address = "host:3380"};
	struct msg_controlled answer = {.code = ERR_QUORUM,
	    .index = 9,
	    .id = 4,
	    .why = "2 of 3 voters are needed"};
	struct msg_control m;
	struct wire w;

	(void)state;
	assert_true(control_add(ct, &a, &order, start));
	memset(&order, 0xee, sizeof order); /* it was copied */
	wire_decode(&w, buf_bytes(&raftd.message[0].body));
	assert_int_equal(msg_control_wire(&w, &m), ERR_OK);
	assert_int_equal(m.order, MSG_ORDER_REPLACE);
	assert_int_equal(m.id, 4);
	assert_int_equal(m.old, 3);
	assert_true(m.promote && m.force);
	assert_string_equal(m.address, "host:3380");
	answer.token = m.token;
	assert_int_equal(controlled(ct, &answer), ERR_OK);
	assert_int_equal(told.code, ERR_QUORUM);
	assert_int_equal(told.id, 4);
	assert_string_equal(told.why, "2 of 3 voters are needed");
	assert_int_equal(told.order, MSG_ORDER_REPLACE);
	assert_string_equal(told.address, "host:3380");
	assert_null(a.order);
	/* A code that we do not know is no success. */
	assert_true(control_add(ct, &a, &snapshot, start));
	assert_int_equal(said(ct, a.asker.token, (enum err)200, 1), ERR_OK);
	assert_int_equal(told.code, ERR_MALFORMED);
	control_close(ct);
}

/* 503 says that nothing was done: that is not known of an order that was sent.
 */
static void
an_order_without_an_answer_has_an_unknown_outcome(void **state)
{
	struct control *ct = control_open(&raftd, on_controlled);
	struct control_waiter a = {0}, b = {0}, c = {0};
	const struct mono later = mono_add_ms(start, 10);

	(void)state;
	assert_true(control_add(ct, &a, &snapshot, start));
	assert_true(control_add(ct, &b, &snapshot, later));
	assert_int_equal(control_next(ct).ns, mono_add_ms(start, ORDER_MS).ns);
	control_run(ct, mono_add_ms(start, ORDER_MS - 1));
	assert_int_equal(told.count, 0);
	control_run(ct, mono_add_ms(start, ORDER_MS));
	assert_int_equal(told.count, 1);
	assert_int_equal(told.code, ERR_TIMEOUT);
	assert_non_null(strstr(told.why, "in time"));
	control_raftd_down(ct);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.code, ERR_TIMEOUT);
	assert_non_null(strstr(told.why, "raftd went away"));
	raftd.up = false;
	assert_false(control_add(ct, &c, &snapshot, later));
	raftd.up = true;
	assert_true(control_add(ct, &c, &snapshot, later));
	control_forget(ct, &c); /* its client has left */
	control_forget(ct, &c);
	control_stop(ct);
	assert_int_equal(told.count, 2);
	assert_true(control_add(ct, &c, &snapshot, later));
	control_stop(ct);
	assert_int_equal(told.count, 3);
	assert_int_equal(told.code, ERR_TIMEOUT);
	assert_non_null(strstr(told.why, "stopping"));
	control_close(ct);
}

/* --- checks --- */

static void
a_check_says_what_kvd_has_at_what_index(void **state)
{
	struct pending *p = pending_open(1, 5000, &raftd, &kvd, on_answer);
	struct checker c = {0};
	struct msg_status_ask ask;
	struct msg_kv_status kv = {.applied = 50, .hash = {7, 8}};
	struct msg_propose propose;
	struct cmd_batch batch;
	struct cmd cmd;
	struct mono now;
	struct wire w;

	(void)state;
	checker_init(&c, 1000, &kvd, p);
	pending_node(p, 3);
	now = checker_next(&c);
	checker_take(&c, 3, &kv, now); /* nobody has asked */
	checker_run(&c, now);
	assert_int_equal(kvd.sent, 1);
	wire_decode(&w, buf_bytes(&kvd.message[0].body));
	assert_int_equal(msg_status_ask_wire(&w, &ask), ERR_OK);
	kv.token = ask.token - 1; /* a client's */
	checker_take(&c, 3, &kv, now);
	assert_int_equal(pending_count(p), 0);
	kv.token = ask.token;
	checker_take(&c, 3, &kv, now);
	checker_take(&c, 3, &kv, now); /* once is enough */
	assert_int_equal(pending_count(p), 1);
	pending_flush(p, now);
	assert_int_equal(raftd.sent, 1);
	assert_int_equal(raftd.message[0].type, MSG_PROPOSE);
	wire_decode(&w, buf_bytes(&raftd.message[0].body));
	assert_int_equal(msg_propose_wire(&w, &propose), ERR_OK);
	wire_decode(&w, propose.entry);
	cmd_batch_wire(&w, &batch);
	cmd_wire(&w, &cmd);
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_int_equal(cmd.op, CMD_CHECK);
	assert_int_equal(cmd.check.node, 3);
	assert_int_equal(cmd.check.index, 50);
	assert_int_equal(cmd.check.hash.lo, 7);
	/* As long as it is under way there is no other one. */
	checker_run(&c, checker_next(&c));
	assert_int_equal(kvd.sent, 1);
	pending_stop(p);
	assert_int_equal(pending_count(p), 0);
	checker_run(&c, checker_next(&c));
	assert_int_equal(kvd.sent, 2);
	pending_close(p);
}

static void
checks_can_be_turned_off(void **state)
{
	struct checker c = {0};

	(void)state;
	checker_init(&c, 0, &kvd, NULL);
	assert_int_equal(checker_next(&c).ns, MONO_NEVER.ns);
	checker_run(&c, mono_add_ms(mono_now(), 1u << 30));
	assert_int_equal(kvd.sent, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_order_is_answered_by_what_raftd_says),
	    TEST(an_order_travels_whole_and_is_there_for_its_answer),
	    TEST(an_order_without_an_answer_has_an_unknown_outcome),
	    TEST(a_check_says_what_kvd_has_at_what_index),
	    TEST(checks_can_be_turned_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
