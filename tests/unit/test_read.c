/* What kvd answers: reads, open proposals, status. */
#include <string.h>

#include "tests/unit/kvd_fixture.h"

static void
put(struct fixture *f, uint64_t seq, const char *key, const char *value)
{
	(void)one(f, seq,
	    (struct cmd){.op = CMD_PUT,
		.key = bytes_of_str(key),
		.value = bytes_of_str(value)});
	sent_clear();
}

static enum err
question(struct fixture *f, uint8_t type, struct buf *body)
{
	struct wire w;
	enum err rc;

	wire_decode(&w, buf_bytes(body));
	rc = kvd_take_question(&f->kvd, type, &w);
	buf_free(body);
	return rc;
}

static enum err
read_keys(struct fixture *f, uint8_t type, uint64_t epoch,
    const struct msg_read_item *items, uint32_t count)
{
	struct msg_read read = {
	    .epoch = epoch, .seq = 1000, .attempt = 1, .count = count};
	struct buf body = {0};
	struct wire w;

	wire_encode(&w, &body);
	msg_read_wire(&w, &read);
	for (uint32_t i = 0; i < count; i++) {
		struct msg_read_item item = items[i];

		msg_read_item_wire(&w, &item);
	}
	assert_int_equal(wire_end(&w), ERR_OK);
	return question(f, type, &body);
}

static void
a_read_gives_values_and_revisions_in_the_order_of_its_keys(void **state)
{
	struct fixture *f = *state;
	const struct msg_read_item keys[] = {
	    {.key = bytes_of_str("b")},
	    {.key = bytes_of_str("absent")},
	    {.key = bytes_of_str("a"), .known_revision = 1},
	    {.key = bytes_of_str("b"), .known_revision = UINT64_MAX},
	    {.key = bytes_of_str("a"), .known_revision = 2},
	};
	struct msg_reply_item item;

	put(f, 1, "a", "first");
	put(f, 2, "b", "second one");
	assert_int_equal(read_keys(f, MSG_STALE_READ, EPOCH, keys, 5), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent_reply(0).to, MSG_REPLY_READ);
	assert_int_equal(sent_reply(0).seq, 1000);
	assert_int_equal(sent_reply(0).revision, 2);
	assert_int_equal(sent_reply(0).applied, 2);
	assert_int_equal(sent_reply(0).count, 5);
	item = sent_item(0, 0);
	assert_int_equal(item.code, ERR_OK);
	assert_int_equal(item.revision, 2);
	assert_int_equal(item.length, 10);
	assert_true(bytes_equal(item.value, bytes_of_str("second one")));
	item = sent_item(0, 1);
	assert_int_equal(item.code, ERR_NOT_FOUND);
	assert_int_equal(item.length, 0);
	item = sent_item(0, 2); /* known: left out */
	assert_int_equal(item.code, ERR_OK);
	assert_int_equal(item.revision, 1);
	assert_int_equal(item.length, 5);
	assert_int_equal(item.value.len, 0);
	item = sent_item(0, 3); /* never wanted */
	assert_int_equal(item.length, 10);
	assert_int_equal(item.value.len, 0);
	item = sent_item(0, 4); /* known, but another one */
	assert_int_equal(item.value.len, 5);
}

static void
a_read_sees_the_commits_that_came_before_it_in_the_turn(void **state)
{
	struct fixture *f = *state;
	const struct msg_read_item key = {.key = bytes_of_str("a")};
	struct test_entry e;

	entry_begin(&e, NODE + 1, 1, 1, 1, 1);
	entry_put(&e, "a", "new");
	assert_int_equal(take(f, 1, &e, 1), ERR_OK);
	assert_int_equal(read_keys(f, MSG_COMMIT_READ, EPOCH, &key, 1), ERR_OK);
	assert_int_equal(sent_count, 0);
	turn(f);
	assert_int_equal(sent_count, 1);
	assert_true(bytes_equal(sent_item(0, 0).value, bytes_of_str("new")));
	buf_free(&e.data);
}

static void
a_read_without_keys_is_answered_as_a_probe(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_keys(f, MSG_COMMIT_READ, EPOCH, NULL, 0), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent_reply(0).count, 0);
}

static void
a_read_of_another_epoch_is_not_answered(void **state)
{
	struct fixture *f = *state;
	const struct msg_read_item key = {.key = bytes_of_str("a")};

	assert_int_equal(
	    read_keys(f, MSG_COMMIT_READ, EPOCH + 1, &key, 1), ERR_OK);
	turn(f);
	fixture_httpd(f, 0);
	assert_int_equal(read_keys(f, MSG_COMMIT_READ, EPOCH, &key, 1), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 0);
}

static void
values_that_do_not_fit_are_to_be_asked_for_again(void **state)
{
	enum { N = 20 };
	struct fixture *f = *state;
	static char value[VALUE_BYTES_MAX];
	struct msg_read_item keys[N];
	unsigned given = 0;

	memset(value, 'v', sizeof value);
	(void)one(f, 1,
	    (struct cmd){.op = CMD_PUT,
		.key = bytes_of_str("big"),
		.value = bytes_of(value, sizeof value)});
	put(f, 2, "small", "s");
	for (unsigned i = 0; i < N; i++)
		keys[i] = (struct msg_read_item){
		    .key = bytes_of_str(i == N - 1 ? "small" : "big")};
	assert_int_equal(read_keys(f, MSG_COMMIT_READ, EPOCH, keys, N), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 1);
	for (unsigned i = 0; i < N - 1; i++) {
		const struct msg_reply_item item = sent_item(0, i);

		if (item.code == ERR_OK) {
			assert_int_equal(item.value.len, sizeof value);
			assert_int_equal(given++, i);
		} else {
			assert_int_equal(item.code, ERR_OVERLOADED);
			assert_int_equal(item.value.len, 0);
		}
	}
	assert_int_equal(given, 15);
	assert_int_equal(sent_item(0, N - 1).value.len, 1);
}

static enum err
ask(struct fixture *f, uint64_t epoch, uint64_t from, uint32_t count)
{
	struct msg_ask m = {.epoch = epoch, .count = count};
	struct buf body = {0};
	struct wire w;

	wire_encode(&w, &body);
	msg_ask_wire(&w, &m);
	for (uint64_t seq = from; seq < from + count; seq++) {
		uint64_t n = seq;

		msg_ask_item_wire(&w, &n);
	}
	return question(f, MSG_ASK, &body);
}

static void
an_httpd_that_asks_gets_the_results_of_what_is_applied(void **state)
{
	struct fixture *f = *state;

	put(f, 1, "a", "1");
	put(f, 3, "a", "2");
	assert_int_equal(ask(f, EPOCH + 1, 1, 4), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 0);
	assert_int_equal(ask(f, EPOCH, 1, 4), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent_reply(0).to, MSG_REPLY_PROPOSE);
	assert_int_equal(sent_reply(0).seq, 1);
	assert_int_equal(sent_item(0, 0).code, ERR_CREATED);
	assert_int_equal(sent_reply(1).seq, 3);
	assert_int_equal(sent_item(1, 0).code, ERR_REPLACED);
}

static void
status_tells_the_state_that_is_written(void **state)
{
	struct fixture *f = *state;
	struct msg_status_ask m = {.token = 99};
	struct msg_kv_status status;
	struct buf body = {0};
	struct wire w;

	put(f, 1, "a", "12345");
	wire_encode(&w, &body);
	assert_int_equal(msg_status_ask_wire(&w, &m), ERR_OK);
	assert_int_equal(question(f, MSG_STATUS_ASK, &body), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].type, MSG_KV_STATUS);
	wire_decode(&w, buf_bytes(&sent[0].body));
	assert_int_equal(msg_kv_status_wire(&w, &status), ERR_OK);
	assert_int_equal(status.token, 99);
	assert_int_equal(status.applied, 1);
	assert_int_equal(status.revision, 1);
	assert_int_equal(status.keys, 1);
	assert_int_equal(status.bytes, 6);
	assert_string_equal(status.engine, f->ops->name);
	assert_memory_equal(
	    &status.hash, &f->kvd.store.state.hash, sizeof status.hash);
}

static void
questions_that_cannot_be_decoded_are_refused(void **state)
{
	static const uint8_t types[] = {
	    MSG_COMMIT_READ, MSG_STALE_READ, MSG_ASK, MSG_STATUS_ASK};
	struct fixture *f = *state;
	struct buf body = {0};

	for (size_t i = 0; i < sizeof types; i++) {
		buf_append(&body, "nonsense!", 7);
		assert_int_equal(question(f, types[i], &body), ERR_MALFORMED);
		assert_int_equal(question(f, types[i], &body), ERR_MALFORMED);
	}
	buf_append(&body, "12345678", 8);
	assert_int_equal(question(f, MSG_COMMIT, &body), ERR_MALFORMED);
	turn(f);
	assert_int_equal(sent_count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH_ENGINE(
		a_read_gives_values_and_revisions_in_the_order_of_its_keys),
	    EACH_ENGINE(
		a_read_sees_the_commits_that_came_before_it_in_the_turn),
	    EACH_ENGINE(a_read_without_keys_is_answered_as_a_probe),
	    EACH_ENGINE(a_read_of_another_epoch_is_not_answered),
	    EACH_ENGINE(values_that_do_not_fit_are_to_be_asked_for_again),
	    EACH_ENGINE(an_httpd_that_asks_gets_the_results_of_what_is_applied),
	    EACH_ENGINE(status_tells_the_state_that_is_written),
	    EACH_ENGINE(questions_that_cannot_be_decoded_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
