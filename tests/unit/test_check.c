/* Is a state what it should be: comparison through the log, and the scrub. */
#include <stdio.h>
#include <stdlib.h>
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

/* Another node says that its hash at index was this. */
static void
compare(struct fixture *f, uint64_t seq, uint64_t node, uint64_t index,
    struct hash128 hash)
{
	const struct state before = f->kvd.store.state;
	const struct msg_reply_item item = one(f, seq,
	    (struct cmd){.op = CMD_CHECK,
		.check = {.node = node, .index = index, .hash = hash}});

	assert_int_equal(item.code, ERR_OK);
	assert_int_equal(item.revision, before.revision);
	assert_int_equal(f->kvd.store.state.revision, before.revision);
	assert_memory_equal(
	    &f->kvd.store.state.hash, &before.hash, sizeof before.hash);
	sent_clear();
}

static bool
diverged(struct fixture *f, uint64_t *index)
{
	return check_diverged(f->kvd.check, index);
}

static struct hash128
wrong(struct hash128 h)
{
	h.lo++;
	return h;
}

/* --- between nodes --- */

static void
equal_hashes_at_an_earlier_index_are_well(void **state)
{
	struct fixture *f = *state;
	struct hash128 h[4];
	uint64_t index;

	for (uint64_t i = 1; i <= 3; i++) {
		put(f, i, "key", "value");
		h[i] = f->kvd.store.state.hash;
	}
	compare(f, 4, 8, 1, h[1]);
	compare(f, 5, 8, 2, h[2]);
	compare(f, 6, 9, 3, h[3]);
	assert_false(diverged(f, &index));
	assert_int_equal(index, 0);
}

static void
who_is_contradicted_by_most_is_wrong(void **state)
{
	struct fixture *f = *state;
	struct hash128 h;
	uint64_t index;

	put(f, 1, "key", "value");
	h = f->kvd.store.state.hash;
	compare(f, 2, 8, 1, wrong(h));
	assert_true(diverged(f, &index)); /* one against one */
	assert_int_equal(index, 1);
	compare(f, 3, 9, 1, h);
	assert_false(diverged(f, &index)); /* two against one */
	assert_int_equal(index, 0);
	compare(f, 4, 9, 2, wrong(h));
	assert_true(diverged(f, &index));
	assert_int_equal(index, 2);
	compare(f, 5, 8, 3, h); /* they were made anew */
	compare(f, 6, 9, 3, h);
	assert_false(diverged(f, &index));
}

static void
what_is_not_known_any_more_is_not_compared(void **state)
{
	struct fixture *f = *state;
	const struct hash128 none = {1, 2};
	struct test_entry e = {0};
	uint64_t index;

	put(f, 1, "key", "value");
	compare(f, 2, 8, 0, none);
	compare(f, 3, 8, 4, none); /* the entry itself: not yet */
	compare(f, 4, 8, 1000, none);
	for (uint64_t i = 5; i <= CHECK_INDEXES + 5; i++)
		assert_int_equal(take(f, i, &e, 1), ERR_OK);
	turn(f);
	compare(f, 5, 8, 1, none); /* too long ago */
	assert_false(diverged(f, &index));
	fixture_close(f, false);
	fixture_open(f);
	fixture_httpd(f, EPOCH);
	if (f->ops->durable) {
		const uint64_t now = f->kvd.store.state.applied;
		const struct hash128 h = f->kvd.store.state.hash;

		compare(f, 6, 8, now - 1, none); /* not seen after a start */
		assert_false(diverged(f, &index));
		compare(f, 7, 8, now, h);
		assert_false(diverged(f, &index));
		compare(f, 8, 8, now, none);
		assert_true(diverged(f, &index));
	}
}

static void
what_we_said_ourselves_once_is_not_compared(void **state)
{
	struct fixture *f = *state;
	uint64_t index;

	put(f, 1, "key", "value");
	compare(f, 2, NODE, 1, wrong(f->kvd.store.state.hash));
	assert_false(diverged(f, &index));
}

/* --- the scrub --- */

static void
scrub(struct fixture *f)
{
	struct mono now = check_next(f->kvd.check);

	/* Its interval is 1 ms here, so it runs again and again. */
	for (int i = 0; i < 50; i++) {
		check_run(f->kvd.check, &f->kvd.store, now);
		now = mono_add_ms(now, 100000);
	}
}

static void
keys_may_change_while_they_are_read(void **state)
{
	struct fixture *f = *state;
	struct test_entry *log = entries_make(600, 12);
	char *value = malloc(100000);
	char key[32];
	uint64_t index;

	assert_non_null(value);
	memset(value, 'x', 100000);
	for (unsigned i = 0; i < 20; i++) { /* several slices */
		(void)snprintf(key, sizeof key, "key-%u", i * 3);
		(void)one(f, i + 1,
		    (struct cmd){.op = CMD_PUT,
			.key = bytes_of_str(key),
			.value = bytes_of(value, 100000)});
	}
	fixture_httpd(f, 0);
	for (size_t i = 20; i < 600; i++) {
		check_run(
		    f->kvd.check, &f->kvd.store, check_next(f->kvd.check));
		assert_int_equal(take(f, i + 1, &log[i], 1), ERR_OK);
		turn(f);
	}
	scrub(f);
	assert_false(diverged(f, &index));
	expect_state_is_that_of_the_keys(f);
	free(value);
	entries_free(log, 600);
}

/* Below the state machine: one bit of a stored value. */
static void
flip(struct fixture *f, const char *key)
{
	struct record_name name;
	struct bytes record;
	struct buf copy = {0};
	struct engine_write w = {
	    .name = record_name_key(&name, bytes_of_str(key))};

	assert_int_equal(
	    f->ops->get(f->kvd.store.engine, w.name, &record), ERR_OK);
	buf_append(&copy, record.data, record.len);
	copy.data[copy.len - 1] ^= 1;
	w.record = buf_bytes(&copy);
	assert_int_equal(f->ops->write(f->kvd.store.engine, &w, 1), ERR_OK);
	buf_free(&copy);
}

static void
a_bit_that_has_flipped_in_the_store_is_found(void **state)
{
	struct fixture *f = *state;
	uint64_t index;

	put(f, 1, "a", "first");
	put(f, 2, "b", "second");
	scrub(f);
	assert_false(diverged(f, &index));
	flip(f, "a");
	scrub(f);
	assert_true(diverged(f, &index));
	assert_int_equal(index, 2);
	/* Another node does not agree once the key is written, either. */
	put(f, 3, "a", "again");
	scrub(f);
	assert_true(diverged(f, &index));
}

static void
what_is_damaged_does_not_become_a_snapshot(void **state)
{
	struct fixture *f = *state;
	struct msg_snap_ask ask = {.id = 1, .window = 100};
	struct buf body = {0};
	uint64_t index;
	struct wire w;

	put(f, 1, "a", "first");
	put(f, 2, "b", "second");
	flip(f, "b");
	wire_encode(&w, &body);
	assert_int_equal(msg_snap_ask_wire(&w, &ask), ERR_OK);
	for (int i = 0; i < 2; i++) {
		wire_decode(&w, buf_bytes(&body));
		assert_int_equal(
		    snapshot_take(&f->kvd, MSG_SNAP_ASK, &w), ERR_OK);
		for (int turns = 0; turns < 5; turns++)
			run_snapshot(f);
	}
	assert_int_equal(sent_count, 1); /* a head, no chunk that is the last */
	assert_true(diverged(f, &index));
	assert_int_equal(f->kvd.exit_code, 0);
	buf_free(&body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH_ENGINE(equal_hashes_at_an_earlier_index_are_well),
	    EACH_ENGINE(who_is_contradicted_by_most_is_wrong),
	    EACH_ENGINE(what_is_not_known_any_more_is_not_compared),
	    EACH_ENGINE(what_we_said_ourselves_once_is_not_compared),
	    EACH_ENGINE(keys_may_change_while_they_are_read),
	    EACH_ENGINE(a_bit_that_has_flipped_in_the_store_is_found),
	    EACH_ENGINE(what_is_damaged_does_not_become_a_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
