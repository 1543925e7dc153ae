/* Waiters, batches, retries and deadlines: httpd/pending.h, on links that only
 * write down what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "httpd/pending.h"
#include "proto/limits.h"

#define EPOCH 77u
#define NODE 3u
#define TIMEOUT_MS 5000u

/* --- links that remember --- */

#define SENT_MAX 256

struct link {
	bool up, full;
	size_t sent; /* messages */
	struct {
		uint8_t type;
		struct buf body;
	} message[SENT_MAX];
	struct wire wire;
};

struct wire *
link_begin(struct link *l, enum msg_type type)
{
	if (!l->up)
		return NULL;
	assert_true(l->sent < SENT_MAX);
	l->message[l->sent].type = (uint8_t)type;
	wire_encode(&l->wire, &l->message[l->sent].body);
	return &l->wire;
}

void
link_end(struct link *l)
{
	assert_int_equal(wire_err(&l->wire), ERR_OK);
	l->sent++;
}

bool
link_is_up(const struct link *l)
{
	return l->up;
}

bool
link_is_full(const struct link *l)
{
	return l->full;
}

/* --- the bench --- */

#define WAITERS 64

struct test {
	struct pending *p;
	struct link raftd, kvd;
	struct mono now;
	struct waiter w[WAITERS];
	char key[WAITERS][8];
};

/* What was answered to the waiter at that address. */
static struct {
	struct waiter *w;
	struct answer a;
	char value[32];
} answered[WAITERS];
static size_t answers;

static void
on_answer(struct waiter *w, const struct answer *a)
{
	assert_true(answers < WAITERS);
	answered[answers].w = w;
	answered[answers].a = *a;
	memset(answered[answers].value, 0, sizeof answered[0].value);
	if (a->value.len > 0)
		memcpy(answered[answers].value, a->value.data, a->value.len);
	answers++;
}

static int
setup(void **state)
{
	struct test *t = mem_zalloc(1, sizeof *t);

	t->raftd.up = t->kvd.up = true;
	t->now.ns = 1000;
	t->p = pending_open(EPOCH, TIMEOUT_MS, &t->raftd, &t->kvd, on_answer);
	pending_node(t->p, NODE);
	answers = 0;
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	struct test *t = *state;

	pending_stop(t->p); /* closes all batches */
	assert_int_equal(pending_count(t->p), 0);
	pending_close(t->p);
	for (size_t i = 0; i < SENT_MAX; i++) {
		buf_free(&t->raftd.message[i].body);
		buf_free(&t->kvd.message[i].body);
	}
	mem_free(t);
	return 0;
}

static void
add(struct test *t, size_t i, enum way way)
{
	struct waiter *w = &t->w[i];
	struct bytes key;

	memset(w, 0, sizeof *w);
	t->key[i][0] = 'k';
	t->key[i][1] = (char)('0' + i);
	key = bytes_of(t->key[i], 2);
	w->way = way;
	w->cmd = (struct cmd){
	    .op = CMD_PUT, .key = key, .value = bytes_of_str("value")};
	w->item.key = key;
	assert_true(pending_add(t->p, w, t->now));
}

static void
add_probe(struct test *t, size_t i)
{
	struct waiter *w = &t->w[i];

	memset(w, 0, sizeof *w);
	w->way = WAY_READ;
	w->patience = PATIENCE_PROBE;
	w->probe = true;
	assert_true(pending_add(t->p, w, t->now));
}

/* One turn of the main loop, without what comes in. */
static void
turn(struct test *t)
{
	pending_expire(t->p, t->now);
	pending_flush(t->p, t->now);
}

/* Turns until ms have passed, each when pending asks for it. */
static void
pass(struct test *t, uint64_t ms)
{
	struct mono end = mono_add_ms(t->now, ms);
	unsigned turns = 0;

	for (;;) {
		struct mono next = pending_next(t->p);

		if (!mono_reached(next, end))
			break;
		assert_true(next.ns > t->now.ns || turns == 0);
		if (next.ns > t->now.ns)
			t->now = next;
		turn(t);
		assert_true(++turns < 10000);
	}
	t->now = end;
}

static struct msg_propose
sent_propose(struct link *l, size_t n, struct cmd_batch *head)
{
	struct msg_propose m;
	struct wire w;

	assert_true(n < l->sent);
	assert_int_equal(l->message[n].type, MSG_PROPOSE);
	wire_decode(&w, buf_bytes(&l->message[n].body));
	assert_int_equal(msg_propose_wire(&w, &m), ERR_OK);
	wire_decode(&w, m.entry);
	cmd_batch_wire(&w, head);
	for (uint32_t i = 0; i < head->count; i++) {
		struct cmd c;

		cmd_wire(&w, &c);
	}
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_int_equal(m.seq, head->seq);
	assert_int_equal(head->node, NODE);
	assert_int_equal(head->epoch, EPOCH);
	return m;
}

static struct msg_read
sent_read(struct link *l, size_t n, uint8_t type)
{
	struct msg_read m;
	struct wire w;

	assert_true(n < l->sent);
	assert_int_equal(l->message[n].type, type);
	wire_decode(&w, buf_bytes(&l->message[n].body));
	msg_read_wire(&w, &m);
	for (uint32_t i = 0; i < m.count; i++) {
		struct msg_read_item item;

		msg_read_item_wire(&w, &item);
	}
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_int_equal(m.epoch, EPOCH);
	return m;
}

/* A REPLY of count items of this code, then `left` of ERR_OVERLOADED. */
static enum err
reply(struct test *t, uint8_t to, uint64_t seq, enum err code, uint32_t count,
    uint32_t left)
{
	struct msg_reply m = {.to = to,
	    .seq = seq,
	    .revision = 100,
	    .applied = 9,
	    .count = count + left};
	struct buf b = {NULL, 0, 0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &b);
	msg_reply_wire(&w, &m);
	for (uint32_t i = 0; i < m.count; i++) {
		struct msg_reply_item item = {
		    .code = (uint8_t)(i < count ? code : ERR_OVERLOADED),
		    .revision = 40 + i,
		    .length = 5,
		    .value = bytes_of_str("hello")};

		if (i >= count)
			item.value.len = 0;
		msg_reply_item_wire(&w, &item);
	}
	wire_decode(&w, buf_bytes(&b));
	rc = pending_reply(t->p, &w, t->now);
	buf_free(&b);
	return rc;
}

static enum err
refuse(
    struct test *t, uint8_t what, uint64_t seq, uint32_t attempt, enum err code)
{
	struct msg_refuse m = {.what = what,
	    .code = (uint8_t)code,
	    .seq = seq,
	    .attempt = attempt};
	struct buf b = {NULL, 0, 0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &b);
	(void)msg_refuse_wire(&w, &m);
	wire_decode(&w, buf_bytes(&b));
	rc = pending_refuse(t->p, &w, t->now);
	buf_free(&b);
	return rc;
}

static void
assert_answer(size_t n, struct waiter *w, enum err code)
{
	assert_true(n < answers);
	assert_ptr_equal(answered[n].w, w);
	assert_int_equal(answered[n].a.code, code);
}

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

	for (size_t i = 0; i < 4; i++) {
		add(t, i, WAY_WRITE);
		t->w[i].cmd.value = bytes_of(value, BATCH_BYTES_SOFT / 2);
	}
	turn(t);
	assert_int_equal(t->raftd.sent, 2);
	(void)sent_propose(&t->raftd, 0, &head);
	assert_int_equal(head.count, 2);
	(void)sent_propose(&t->raftd, 1, &head);
	assert_int_equal(head.count, 2);
	assert_int_equal(head.done_below, 1);
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
	    TEST(commands_of_one_turn_leave_as_one_proposal),
	    TEST(a_batch_is_closed_when_it_is_large),
	    TEST(reads_leave_as_one_message_and_probes_have_no_key),
	    TEST(done_below_is_the_oldest_proposal_that_is_open),
	    TEST(lookups_that_did_not_fit_are_asked_for_again),
	    TEST(the_number_of_waiters_is_bounded),
	    TEST(what_was_sent_is_sent_again_byte_for_byte),
	    TEST(silence_is_not_held_against_raftd_while_kvd_is_away),
	    TEST(a_refused_batch_is_tried_again_soon_and_then_less_often),
	    TEST(while_refused_new_commands_wait_for_the_same_moment),
	    TEST(a_new_leader_or_term_makes_all_go_again),
	    TEST(raftd_coming_back_gets_everything_again),
	    TEST(kvd_coming_back_is_asked_for_results_and_gets_reads_again),
	    TEST(a_full_link_gets_nothing_until_it_has_room),
	    TEST(writes_do_not_run_away_from_an_open_one),
	    TEST(a_deadline_is_504_when_the_fate_is_unknown),
	    TEST(a_deadline_is_503_when_every_attempt_was_refused),
	    TEST(one_attempt_without_a_refusal_makes_it_504),
	    TEST(a_late_refusal_of_an_early_attempt_counts),
	    TEST(a_request_never_sent_is_503),
	    TEST(a_probe_gives_up_after_a_second),
	    TEST(a_permanent_refusal_is_answered_at_once),
	    TEST(but_not_when_an_earlier_attempt_may_be_executed),
	    TEST(a_client_that_left_gets_nothing_and_the_others_their_own),
	    TEST(a_batch_without_waiters_is_closed),
	    TEST(stopping_says_what_was_certainly_not_executed),
	    TEST(duplicates_and_nonsense_are_harmless),
	    TEST(every_waiter_is_answered_once_at_the_latest_at_its_deadline)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
