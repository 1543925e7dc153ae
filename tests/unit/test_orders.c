/* Orders about members where they were given (raftd/orders.h): kept, passed on
 * to whoever leads, answered once; and what other nodes pass on.  The leader,
 * httpd and the links are stood in for here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/daemon.h"
#include "raftd/members.h"
#include "raftd/orders.h"
#include "raftd/raftd.h"
#include "tests/unit/link_fake.h"

#define ME 1u
#define OTHER 2u
#define THIRD 3u
#define WAITING_MAX 16u
#define PATIENCE_MS 50000
#define AGAIN_MS 1000

static struct raftd rd;
static struct mono began; /* the test */
static struct link to_other, to_third;
static uint64_t leader, term;
static uint64_t tokens; /* given so far */

static struct msg_control taken; /* by this node as leader */
static uint64_t taken_from;
static unsigned taken_count;

static struct msg_controlled told; /* to httpd */
static unsigned told_count;

/* ---- what orders.c calls ---- */

uint64_t
raft_leader(const struct raft *r)
{
	(void)r;
	return leader;
}

uint64_t
raft_term(const struct raft *r)
{
	(void)r;
	return term;
}

uint64_t
daemon_random(void)
{
	return 1000 + ++tokens;
}

struct link *
peers_link(const struct peers *ps, uint64_t id)
{
	(void)ps;
	if (id == OTHER && to_other.up)
		return &to_other;
	return id == THIRD && to_third.up ? &to_third : NULL;
}

void
members_take(struct members *ms, uint64_t from, const struct msg_control *m)
{
	(void)ms;
	taken = *m;
	taken_from = from;
	taken_count++;
}

void
front_answer(struct front *f, const struct msg_controlled *m)
{
	(void)f;
	told = *m;
	told_count++;
}

/* ---- */

static int
set_up(void **state)
{
	(void)state;
	rd = (struct raftd){.opt = {.id = ME}};
	rd.conf.index = rd.conf.members_index = 20;
	rd.orders = orders_open(&rd);
	to_other = to_third = (struct link){.up = true};
	leader = OTHER;
	term = 5;
	began = mono_now();
	tokens = 0;
	taken_count = told_count = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	orders_close(rd.orders);
	link_fake_clear(&to_other);
	link_fake_clear(&to_third);
	return 0;
}

/* httpd gives one, under its own token. */
static void
give(enum msg_order order, uint64_t token, uint64_t id)
{
	struct msg_control m = {.token = token,
	    .order = (uint8_t)order,
	    .id = id,
	    .address = "h:9"};

	orders_take(rd.orders, &m);
}

/* A turn so long after the beginning of the test. */
static void
run(uint64_t ms)
{
	orders_run(rd.orders, mono_add_ms(began, ms));
}

/* What was passed on last over l. */
static struct msg_control
passed(struct link *l)
{
	struct msg_control m;
	struct wire w;

	assert_int_equal(link_fake_last_type(l), MSG_ORDER);
	wire_decode(&w, buf_bytes(&l->message[l->sent - 1].body));
	assert_int_equal(msg_control_wire(&w, &m), ERR_OK);
	return m;
}

static enum err
message(uint8_t type, struct bytes body)
{
	struct wire w;

	wire_decode(&w, body);
	return orders_message(&rd, OTHER, type, &w);
}

static struct buf
order_body(struct msg_control m)
{
	struct buf b = {0};
	struct wire w;

	wire_encode(&w, &b);
	assert_int_equal(msg_control_wire(&w, &m), ERR_OK);
	return b;
}

static struct buf
ordered_body(struct msg_controlled m)
{
	struct buf b = {0};
	struct wire w;

	wire_encode(&w, &b);
	assert_int_equal(msg_controlled_wire(&w, &m), ERR_OK);
	return b;
}

/* The leader answers. */
static enum err
ordered(struct msg_controlled m)
{
	struct buf b = ordered_body(m);
	enum err rc = message(MSG_ORDERED, buf_bytes(&b));

	buf_free(&b);
	return rc;
}

/* The nth thing that httpd was told. */
static void
assert_told(unsigned nth, uint64_t token, enum err code, const char *why)
{
	assert_int_equal(told_count, nth);
	assert_int_equal(told.token, token);
	assert_int_equal(told.code, code);
	if (strstr(told.why, why) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", why, told.why);
}

/* ---- taking ---- */

static void
only_orders_about_members_are_taken(void **state)
{
	(void)state;
	give(MSG_ORDER_SNAPSHOT, 7, 0); /* front.c has it done here */
	assert_told(1, 7, ERR_BAD_REQUEST, "no such order");
	give((enum msg_order)(MSG_ORDER_LEADER + 1), 8, 0);
	assert_told(2, 8, ERR_BAD_REQUEST, "no such order");
	give((enum msg_order)0, 9, 0);
	assert_told(3, 9, ERR_BAD_REQUEST, "no such order");
	for (unsigned o = MSG_ORDER_ADD; o <= MSG_ORDER_LEADER; o++)
		give((enum msg_order)o, o, 0);
	assert_int_equal(told_count, 3);
	run(0);
	assert_int_equal(to_other.sent, 6);
}

static void
so_many_wait_and_no_more(void **state)
{
	(void)state;
	leader = RAFT_NONE;
	for (unsigned i = 1; i <= WAITING_MAX; i++)
		give(MSG_ORDER_ADD, i, 0);
	assert_int_equal(told_count, 0);
	give(MSG_ORDER_ADD, 17, 0);
	assert_told(1, 17, ERR_OVERLOADED, "try again");
	orders_drop(rd.orders);
	give(MSG_ORDER_ADD, 18, 0);
	assert_int_equal(told_count, 1);
}

/* ---- passing on ---- */

static void
an_order_is_passed_on_under_a_token_of_its_own(void **state)
{
	struct msg_control m;

	(void)state;
	orders_take(rd.orders, &(struct msg_control){.token = 7,
				   .order = MSG_ORDER_REPLACE,
				   .id = 4,
				   .old = 3,
				   .promote = true,
				   .force = true,
				   .address = "h:4"});
	run(0);
	assert_int_equal(to_other.sent, 1);
	m = passed(&to_other);
	assert_int_equal(m.token, 1001);
	assert_int_equal(m.order, MSG_ORDER_REPLACE);
	assert_int_equal(m.id, 4);
	assert_int_equal(m.old, 3);
	assert_true(m.promote);
	assert_true(m.force);
	assert_string_equal(m.address, "h:4");
	give(MSG_ORDER_ADD, 7, 0); /* the same one of httpd's: another order */
	run(0);
	assert_int_equal(to_other.sent, 2);
	assert_int_equal(passed(&to_other).token, 1002);
	assert_int_equal(told_count, 0);
}

static void
it_is_passed_on_again_now_and_then_and_to_every_new_leader(void **state)
{
	(void)state;
	leader = RAFT_NONE;
	give(MSG_ORDER_ADD, 7, 0);
	run(0);
	assert_int_equal(to_other.sent, 0);
	leader = OTHER;
	run(0);
	run(0);
	run(AGAIN_MS - 100);
	assert_int_equal(to_other.sent, 1);
	run(AGAIN_MS);
	assert_int_equal(to_other.sent, 2);
	term++; /* it leads anew, and has forgotten what it was given */
	run(AGAIN_MS);
	assert_int_equal(to_other.sent, 3);
	leader = THIRD;
	run(AGAIN_MS);
	assert_int_equal(to_other.sent, 3);
	assert_int_equal(to_third.sent, 1);
	assert_int_equal(passed(&to_third).token, 1001);
	assert_int_equal(passed(&to_other).token, 1001);
}

static void
a_node_that_leads_passes_it_on_to_itself(void **state)
{
	(void)state;
	leader = ME;
	give(MSG_ORDER_PROMOTE, 7, 4);
	run(0);
	assert_int_equal(taken_count, 1);
	assert_int_equal(taken_from, ME);
	assert_int_equal(taken.token, 1001);
	orders_reply(&rd, ME, &(struct msg_controlled){.token = 1001, .id = 4});
	assert_told(1, 7, ERR_OK, "");
	assert_int_equal(told.id, 4);
}

static void
what_could_not_be_sent_was_not_passed_on(void **state)
{
	(void)state;
	to_other.up = false;
	give(MSG_ORDER_ADD, 7, 0);
	run(0);
	assert_int_equal(to_other.sent, 0);
	to_other.up = true;
	run(0); /* at once */
	assert_int_equal(to_other.sent, 1);
}

/* ---- answers ---- */

static void
an_answer_is_httpds_once(void **state)
{
	struct msg_controlled m = {
	    .token = 1001, .code = ERR_QUORUM, .id = 4, .why = "2 are away"};

	(void)state;
	give(MSG_ORDER_REMOVE, 7, 4);
	give(MSG_ORDER_REMOVE, 8, 5);
	run(0);
	assert_int_equal(ordered(m), ERR_OK);
	assert_told(1, 7, ERR_QUORUM, "2 are away");
	assert_int_equal(told.id, 4);
	assert_int_equal(ordered(m), ERR_OK); /* the leader was asked twice */
	m.token = 5000;
	assert_int_equal(ordered(m), ERR_OK);
	assert_int_equal(told_count, 1);
	m = (struct msg_controlled){.token = 1002, .index = 33, .id = 5};
	assert_int_equal(ordered(m), ERR_OK);
	assert_told(2, 8, ERR_OK, "");
	assert_int_equal(told.index, 33);
	run(AGAIN_MS);
	assert_int_equal(to_other.sent, 2); /* nothing waits any more */
}

static void
who_is_gone_is_told_nothing(void **state)
{
	(void)state;
	give(MSG_ORDER_ADD, 7, 0);
	run(0);
	orders_drop(rd.orders);
	assert_int_equal(
	    ordered((struct msg_controlled){.token = 1001}), ERR_OK);
	run(2 * PATIENCE_MS);
	assert_int_equal(told_count, 0);
	assert_int_equal(to_other.sent, 1);
}

/* 503 says that nothing was done, 504 that nobody knows. */
static void
without_an_answer_it_is_given_up_and_says_what_is_known(void **state)
{
	(void)state;
	leader = RAFT_NONE;
	give(MSG_ORDER_ADD, 7, 0);
	run(PATIENCE_MS - 100);
	assert_int_equal(told_count, 0);
	run(2 * PATIENCE_MS);
	assert_told(1, 7, ERR_NO_LEADER, "nothing was done");
	leader = OTHER;
	give(MSG_ORDER_ADD, 8, 0);
	run(0);
	leader = RAFT_NONE;
	run(PATIENCE_MS - 100);
	assert_int_equal(told_count, 1);
	run(2 * PATIENCE_MS);
	assert_told(2, 8, ERR_TIMEOUT, "look at the members");
	to_other.up = false;
	leader = OTHER;
	give(MSG_ORDER_ADD, 9, 0);
	run(0);
	run(2 * PATIENCE_MS);
	assert_told(3, 9, ERR_NO_LEADER, "nothing was done");
	run(2 * PATIENCE_MS);
	assert_int_equal(told_count, 3);
}

/* ---- leadership ---- */

/* The first leader that is told is the one to hand over, though another one
 * hears of it next. */
static void
an_order_to_lead_names_who_led(void **state)
{
	(void)state;
	orders_take(rd.orders,
	    &(struct msg_control){
		.token = 7, .order = MSG_ORDER_LEADER, .id = ME, .old = 99});
	run(0);
	assert_int_equal(passed(&to_other).old, OTHER);
	leader = THIRD;
	run(0);
	assert_int_equal(passed(&to_third).old, OTHER);
	assert_int_equal(told_count, 0);
}

static void
an_order_to_lead_has_come_true_when_that_node_leads(void **state)
{
	(void)state;
	give(MSG_ORDER_LEADER, 7, THIRD);
	run(0);
	leader = RAFT_NONE;
	run(0);
	leader = ME; /* not the one */
	run(0);
	assert_int_equal(told_count, 0);
	leader = THIRD;
	run(0);
	run(0);
	assert_told(1, 7, ERR_OK, "");
	assert_int_equal(told.id, THIRD);
}

/* It knows what has become of others before this one. */
static void
whoever_leads_already_answers_itself(void **state)
{
	(void)state;
	give(MSG_ORDER_LEADER, 7, OTHER);
	run(0);
	run(0);
	assert_int_equal(told_count, 0);
	assert_int_equal(
	    ordered((struct msg_controlled){.token = 1001, .id = OTHER}),
	    ERR_OK);
	assert_told(1, 7, ERR_OK, "");
}

static void
anybody_else_may_lead_if_nobody_was_named(void **state)
{
	(void)state;
	leader = RAFT_NONE;
	give(MSG_ORDER_LEADER, 7, 0);
	run(0);
	leader = OTHER; /* nobody was asked to hand over yet */
	run(0);
	term++;
	run(0); /* it is the same one */
	leader = RAFT_NONE;
	run(0);
	assert_int_equal(told_count, 0);
	leader = THIRD;
	run(0);
	assert_told(1, 7, ERR_OK, "");
	assert_int_equal(told.id, THIRD);
}

/* ---- other nodes ---- */

static void
an_order_of_another_node_is_the_leaders(void **state)
{
	struct buf b = order_body((struct msg_control){
	    .token = 70, .order = MSG_ORDER_ADD, .address = "h:7"});

	(void)state;
	assert_int_equal(message(MSG_ORDER, buf_bytes(&b)), ERR_OK);
	assert_int_equal(taken_count, 1);
	assert_int_equal(taken_from, OTHER);
	assert_int_equal(taken.token, 70);
	assert_string_equal(taken.address, "h:7");
	buf_free(&b);
	orders_reply(&rd, OTHER, &(struct msg_controlled){.token = 70});
	assert_int_equal(link_fake_last_type(&to_other), MSG_ORDERED);
	assert_int_equal(told_count, 0);
	to_other.up = false;
	orders_reply(&rd, OTHER, &(struct msg_controlled){.token = 70});
	orders_reply(&rd, 9, &(struct msg_controlled){.token = 70});
	assert_int_equal(to_other.sent, 1); /* it asks again */
}

/* Cut at every byte, or with one more. */
static void
assert_only_whole(uint8_t type, struct buf *b)
{
	for (size_t n = 0; n < b->len; n++)
		assert_int_equal(
		    message(type, bytes_of(b->data, n)), ERR_MALFORMED);
	buf_append(b, "", 1);
	assert_int_equal(message(type, buf_bytes(b)), ERR_MALFORMED);
	b->len--;
}

static void
what_is_not_an_order_is_malformed(void **state)
{
	struct buf b = order_body((struct msg_control){
	    .token = 70, .order = MSG_ORDER_ADD, .address = "h:7"});

	(void)state;
	assert_only_whole(MSG_ORDER, &b);
	b.data[8 + 1 + 8 + 8] = 2; /* promote is no bool */
	assert_int_equal(message(MSG_ORDER, buf_bytes(&b)), ERR_MALFORMED);
	b.data[8 + 1 + 8 + 8] = 0;
	b.data[8 + 1 + 8 + 8 + 2 + 1] = 1; /* an address of 259 bytes */
	assert_int_equal(message(MSG_ORDER, buf_bytes(&b)), ERR_MALFORMED);
	b.data[8 + 1 + 8 + 8 + 2 + 1] = 0;
	b.data[8 + 1 + 8 + 8 + 2 + 4] = '\0'; /* one with a NUL in it */
	assert_int_equal(message(MSG_ORDER, buf_bytes(&b)), ERR_MALFORMED);
	buf_free(&b);
	b = order_body((struct msg_control){.order = MSG_ORDER_ADD});
	assert_int_equal(message(MSG_ORDER, buf_bytes(&b)), ERR_MALFORMED);
	buf_free(&b);
	assert_int_equal(taken_count, 0);
	/* A number of a later version is the leader's to refuse. */
	b = order_body((struct msg_control){.token = 70, .order = 200});
	assert_int_equal(message(MSG_ORDER, buf_bytes(&b)), ERR_OK);
	assert_int_equal(taken_count, 1);
	buf_free(&b);
}

static void
what_is_not_an_answer_is_malformed(void **state)
{
	struct buf b = ordered_body((struct msg_controlled){
	    .token = 1001, .code = ERR_CONFLICT, .why = "no"});

	(void)state;
	give(MSG_ORDER_ADD, 7, 0);
	run(0);
	assert_only_whole(MSG_ORDERED, &b);
	b.data[8 + 1 + 8 + 8 + 1] = 2; /* a reason of 514 bytes */
	assert_int_equal(message(MSG_ORDERED, buf_bytes(&b)), ERR_MALFORMED);
	assert_int_equal(told_count, 0);
	b.data[8 + 1 + 8 + 8 + 1] = 0;
	assert_int_equal(message(MSG_ORDERED, buf_bytes(&b)), ERR_OK);
	assert_told(1, 7, ERR_CONFLICT, "no");
	buf_free(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(only_orders_about_members_are_taken),
	    TEST(so_many_wait_and_no_more),
	    TEST(an_order_is_passed_on_under_a_token_of_its_own),
	    TEST(it_is_passed_on_again_now_and_then_and_to_every_new_leader),
	    TEST(a_node_that_leads_passes_it_on_to_itself),
	    TEST(what_could_not_be_sent_was_not_passed_on),
	    TEST(an_answer_is_httpds_once),
	    TEST(who_is_gone_is_told_nothing),
	    TEST(without_an_answer_it_is_given_up_and_says_what_is_known),
	    TEST(an_order_to_lead_names_who_led),
	    TEST(an_order_to_lead_has_come_true_when_that_node_leads),
	    TEST(whoever_leads_already_answers_itself),
	    TEST(anybody_else_may_lead_if_nobody_was_named),
	    TEST(an_order_of_another_node_is_the_leaders),
	    TEST(what_is_not_an_order_is_malformed),
	    TEST(what_is_not_an_answer_is_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
