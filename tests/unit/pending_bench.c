/* See pending_bench.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/limits.h"
#include "tests/unit/pending_bench.h"

struct answered answered[WAITERS];
size_t answers;

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

int
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

int
teardown(void **state)
{
	struct test *t = *state;

	pending_stop(t->p); /* closes all batches */
	assert_int_equal(pending_count(t->p), 0);
	pending_close(t->p);
	link_fake_clear(&t->raftd);
	link_fake_clear(&t->kvd);
	mem_free(t);
	return 0;
}

static void
add_cmd(struct test *t, size_t i, enum way way, struct bytes value)
{
	struct waiter *w = &t->w[i];
	struct bytes key;

	memset(w, 0, sizeof *w);
	t->key[i][0] = 'k';
	t->key[i][1] = (char)('0' + i);
	key = bytes_of(t->key[i], 2);
	w->way = way;
	w->cmd = (struct cmd){.op = CMD_PUT, .key = key, .value = value};
	w->item.key = key;
	assert_true(pending_add(t->p, w, t->now));
}

void
add(struct test *t, size_t i, enum way way)
{
	add_cmd(t, i, way, bytes_of_str("value"));
}

void
add_value(struct test *t, size_t i, struct bytes value)
{
	add_cmd(t, i, WAY_WRITE, value);
}

void
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
void
turn(struct test *t)
{
	pending_expire(t->p, t->now);
	pending_flush(t->p, t->now);
}

/* Turns until ms have passed, each when pending asks for it. */
void
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

struct msg_propose
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

struct msg_read
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
enum err
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

enum err
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

void
assert_answer(size_t n, struct waiter *w, enum err code)
{
	assert_true(n < answers);
	assert_ptr_equal(answered[n].w, w);
	assert_int_equal(answered[n].a.code, code);
}
