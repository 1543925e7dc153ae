/* The engine is written by a helper thread, later than what it writes is
 * answered. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/mem.h"
#include "kvd/dirs.h"
#include "kvd/flush.h"
#include "tests/unit/kvd_fixture.h"

/* An engine whose writes from the flusher wait for open_gate(). */
static const struct engine_ops *real;
static struct engine_ops gated;
static sem_t gate, at_gate;
static bool gate_is_used;
static enum err write_result;
static _Atomic unsigned writes;

static enum err
gated_write(struct engine *e, const struct engine_write *w, size_t n)
{
	for (size_t i = 1; i < n; i++) /* the thread's are sorted */
		if (gate_is_used)
			assert_true(
			    bytes_compare(w[i - 1].name, w[i].name) < 0);
	writes++;
	if (gate_is_used) {
		sem_post(&at_gate);
		sem_wait(&gate);
	}
	return write_result == ERR_OK ? real->write(e, w, n) : write_result;
}

static void
open_again(struct fixture *f, uint64_t bytes)
{
	fixture_open(f);
	fixture_httpd(f, EPOCH);
	real = f->ops;
	gated = *f->ops;
	gated.write = gated_write;
	f->kvd.store.ops = &gated;
	f->kvd.loop = loop_open();
	f->kvd.write_back_bytes = bytes;
	writeback_open(&f->kvd);
	assert_non_null(f->kvd.flusher);
}

static void
stop(struct fixture *f, bool killed)
{
	struct loop *loop = f->kvd.loop;

	if (!killed)
		writeback_finish(&f->kvd);
	assert_true(writeback_close(&f->kvd));
	f->kvd.loop = NULL;
	f->kvd.store.ops = real;
	fixture_close(f, killed);
	loop_close(loop);
}

static int
setup(void **state)
{
	struct fixture *f;

	assert_int_equal(fixture_setup(state), 0);
	f = *state;
	fixture_close(f, false);
	write_result = ERR_OK;
	gate_is_used = false;
	writes = 0;
	assert_int_equal(sem_init(&gate, 0, 0), 0);
	assert_int_equal(sem_init(&at_gate, 0, 0), 0);
	open_again(f, UINT64_C(1) << 20);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	stop(f, f->kvd.exit_code != 0);
	fixture_open(f); /* which fixture_teardown closes */
	sem_destroy(&gate);
	sem_destroy(&at_gate);
	return fixture_teardown(state);
}

/* The flusher stands in a write. */
static void
wait_at_gate(void)
{
	struct timespec end;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &end), 0);
	end.tv_sec += 10;
	assert_int_equal(sem_timedwait(&at_gate, &end), 0);
}

/* Turns until nothing is frozen. */
static void
wait_settled(struct fixture *f)
{
	const struct mono end = mono_add_ms(mono_now(), 10000);

	turn(f);
	while (store_is_frozen(&f->kvd.store) && f->kvd.exit_code == 0) {
		assert_false(mono_reached(end, loop_wait(f->kvd.loop, end)));
		turn(f);
	}
}

static struct mono
old_enough(void)
{
	return mono_add_ms(mono_now(), WRITE_BACK_MS);
}

static void
flush(struct fixture *f)
{
	wait_settled(f);
	writeback_run(&f->kvd, mono_now()); /* what is staged grows old */
	writeback_run(&f->kvd, old_enough());
	wait_settled(f);
}

static void
put(struct fixture *f, uint64_t seq, const char *key, size_t bytes)
{
	static char value[VALUE_BYTES_MAX];

	memset(value, 'a' + (int)(seq % 26), bytes);
	(void)one(f, seq,
	    (struct cmd){.op = CMD_PUT,
		.key = bytes_of_str(key),
		.value = bytes_of(value, bytes)});
}

/* --- when --- */

static void
a_write_is_answered_before_the_engine_has_it(void **state)
{
	struct fixture *f = *state;
	struct store *s = &f->kvd.store;

	assert_int_equal(writeback_next(&f->kvd).ns, MONO_NEVER.ns);
	put(f, 1, "key", 10); /* checks the reply */
	assert_int_equal(writeback_progress(&f->kvd, 0), 1);
	writeback_run(&f->kvd, mono_now());
	assert_false(store_is_frozen(s)); /* not yet */
	assert_false(mono_reached(writeback_next(&f->kvd), mono_now()));
	assert_true(mono_reached(writeback_next(&f->kvd), old_enough()));
	writeback_run(&f->kvd, old_enough());
	assert_true(store_is_frozen(s));
	wait_settled(f);
	assert_int_equal(s->flushed.applied, 1);
	assert_int_equal(writes, 1);
	assert_int_equal(writeback_next(&f->kvd).ns, MONO_NEVER.ns);
	writeback_run(&f->kvd, old_enough()); /* there is nothing new */
	assert_false(store_is_frozen(s));
	expect_state_is_that_of_the_keys(f);
}

static void
a_table_that_is_full_is_written_at_once(void **state)
{
	struct fixture *f = *state;

	put(f, 1, "a", 600000);
	writeback_run(&f->kvd, mono_now());
	assert_false(store_is_frozen(&f->kvd.store));
	put(f, 2, "b", 600000);
	writeback_run(&f->kvd, mono_now());
	assert_true(store_is_frozen(&f->kvd.store));
	wait_settled(f);
	assert_int_equal(f->kvd.store.flushed.applied, 2);
}

static void
a_clean_end_writes_what_is_frozen_and_what_is_staged(void **state)
{
	struct fixture *f = *state;

	gate_is_used = true;
	put(f, 1, "a", 10);
	writeback_run(&f->kvd, mono_now());
	writeback_run(&f->kvd, old_enough());
	wait_at_gate();
	put(f, 2, "b", 10);
	sem_post(&gate); /* for both writes */
	sem_post(&gate);
	stop(f, false);
	gate_is_used = false;
	open_again(f, 1000);
	assert_int_equal(f->kvd.store.state.applied, 2);
	assert_int_equal(f->kvd.store.state.keys, 2);
	expect_state_is_that_of_the_keys(f);
}

/* --- what --- */

static void
reads_see_the_newest_write_wherever_it_is(void **state)
{
	struct fixture *f = *state;
	struct record_name name;
	struct store_found found;
	const struct bytes n = record_name_key(&name, bytes_of_str("key"));
	struct store *s = &f->kvd.store;

	put(f, 1, "key", 1);
	flush(f);
	assert_int_equal(store_get(s, n, record_hash(n), &found), ERR_OK);
	assert_true(found.hashed); /* in the table that is written */
	put(f, 5, "other", 2);
	flush(f);
	assert_int_equal(store_get(s, n, record_hash(n), &found), ERR_OK);
	assert_false(found.hashed); /* in the engine */
	assert_int_equal(found.record.data[found.record.len - 1], 'b');
	put(f, 2, "key", 2);
	gate_is_used = true;
	writeback_run(&f->kvd, mono_now());
	writeback_run(&f->kvd, old_enough());
	wait_at_gate();
	assert_int_equal(store_get(s, n, record_hash(n), &found), ERR_OK);
	assert_int_equal(found.record.data[found.record.len - 1], 'c');
	(void)one(
	    f, 3, (struct cmd){.op = CMD_DELETE, .key = bytes_of_str("key")});
	assert_int_equal(
	    store_get(s, n, record_hash(n), &found), ERR_NOT_FOUND);
	put(f, 4, "key", 4);
	assert_int_equal(store_get(s, n, record_hash(n), &found), ERR_OK);
	assert_int_equal(found.record.data[found.record.len - 1], 'e');
	sem_post(&gate);
	wait_settled(f);
	gate_is_used = false;
	assert_int_equal(store_get(s, n, record_hash(n), &found), ERR_OK);
	assert_int_equal(found.record.data[found.record.len - 1], 'e');
	flush(f);
	assert_int_equal(store_get(s, n, record_hash(n), &found), ERR_OK);
	assert_int_equal(found.record.data[found.record.len - 1], 'e');
	expect_state_is_that_of_the_keys(f);
}

/* Turns with flushes of many sizes; a scrub runs all the time. */
static void
feed_on(struct fixture *f, const struct test_entry *e, size_t n, unsigned seed)
{
	for (size_t at = f->kvd.store.state.applied; at < n;) {
		size_t run = 1 + (size_t)rand_r(&seed) % 12;

		if (run > n - at)
			run = n - at;
		assert_int_equal(take(f, at + 1, e + at, run), ERR_OK);
		at += run;
		turn(f);
		if (!store_is_frozen(&f->kvd.store))
			check_run(f->kvd.check, &f->kvd.store,
			    check_next(f->kvd.check));
		f->kvd.write_back_bytes =
		    1 + ((uint64_t)rand_r(&seed) & 0x3fff);
		writeback_run(&f->kvd, mono_now());
		if (rand_r(&seed) % 32 == 0)
			wait_settled(f); /* however slow its thread is */
		sent_clear();
	}
}

static void
the_same_log_gives_the_same_state_whenever_it_is_written(void **state)
{
	enum { N = 4000 };
	struct fixture *f = *state, whole = {.ops = &engine_memory};
	struct test_entry *e = entries_make(N, 21);
	uint64_t index;

	fixture_open(&whole);
	feed(&whole, e, N, 1);
	feed_on(f, e, N, 2);
	assert_memory_equal(
	    &f->kvd.store.state, &whole.kvd.store.state, sizeof(struct state));
	assert_true(writes > 3);
	flush(f);
	expect_state_is_that_of_the_keys(f);
	assert_false(check_diverged(f->kvd.check, &index));
	fixture_close(&whole, false);
	entries_free(e, N);
}

/* What a killed process leaves is what was flushed: a state that there was. */
static void
a_kill_between_flushes_leaves_an_earlier_state(void **state)
{
	enum { N = 3000 };
	struct fixture *f = *state, whole = {.ops = &engine_memory};
	struct test_entry *e = entries_make(N, 22);
	unsigned behind = 0;

	fixture_open(&whole);
	feed(&whole, e, N, 1);
	for (unsigned round = 1; round <= 20; round++) {
		const uint64_t before = f->kvd.store.flushed.applied;
		uint64_t at;

		feed_on(f, e, N * round / 20, round);
		at = f->kvd.store.state.applied;
		stop(f, true);
		open_again(f, 1000);
		assert_true(f->kvd.store.state.applied >= before);
		assert_true(f->kvd.store.state.applied <= at);
		behind += f->kvd.store.state.applied < at;
		expect_state_is_that_of_the_keys(f);
	}
	assert_true(behind > 0);
	feed_on(f, e, N, 99);
	assert_memory_equal(
	    &f->kvd.store.state, &whole.kvd.store.state, sizeof(struct state));
	fixture_close(&whole, false);
	entries_free(e, N);
}

static void
results_that_come_and_go_between_two_flushes_are_not_stored(void **state)
{
	struct fixture *f = *state;
	const struct bytes prefix = bytes_of_str(RECORD_SESSION_PREFIX);
	struct bytes name, record;
	struct engine_iter *i;
	unsigned found = 0;

	for (uint64_t seq = 1; seq <= 50; seq++) {
		struct test_entry e;

		entry_begin(&e, NODE, EPOCH, seq, seq, 1);
		entry_put(&e, "key", "value");
		assert_int_equal(take(f, seq, &e, 1), ERR_OK);
		buf_free(&e.data);
	}
	assert_true(f->kvd.store.active.n < 5);
	flush(f);
	assert_int_equal(
	    real->scan(f->kvd.store.engine, prefix, prefix, &i), ERR_OK);
	while (real->scan_next(i, &name, &record) == ERR_OK)
		found++;
	real->scan_close(i);
	assert_int_equal(found, 2); /* the head, and seq 50 */
	stop(f, true);
	open_again(f, 1000);
	assert_int_equal(
	    session_result(session_find(f->kvd.sessions, NODE, EPOCH), 50)
		->revision,
	    50);
}

/* --- slow, and broken --- */

static void
while_both_tables_are_full_raftd_is_told_no_more(void **state)
{
	struct fixture *f = *state;
	struct kvd *k = &f->kvd;

	gate_is_used = true;
	k->write_back_bytes = 1000;
	put(f, 1, "a", 2000);
	writeback_run(k, mono_now());
	wait_at_gate();
	assert_int_equal(writeback_progress(k, 0), 1); /* one has room */
	put(f, 2, "b", 2000);
	writeback_run(k, old_enough());
	assert_int_equal(writeback_progress(k, 1), 1);
	put(f, 3, "c", 10); /* what was under way is applied and answered */
	assert_int_equal(writeback_progress(k, 1), 1);
	assert_int_equal(writeback_next(k).ns, MONO_NEVER.ns);
	sem_post(&gate);
	wait_settled(f);
	assert_int_equal(writeback_progress(k, 1), 3);
	writeback_run(k, mono_now());
	wait_at_gate();
	sem_post(&gate);
	wait_settled(f);
	assert_int_equal(k->store.flushed.applied, 3);
	gate_is_used = false;
}

static void
a_write_that_fails_ends_kvd_and_is_not_tried_again(void **state)
{
	struct fixture *f = *state;

	put(f, 1, "a", 10);
	write_result = ERR_IO;
	flush(f);
	assert_true(f->kvd.quit);
	assert_int_equal(f->kvd.exit_code, EX_IOERR);
	writeback_run(&f->kvd, old_enough());
	writeback_finish(&f->kvd);
	assert_int_equal(writes, 1);
	assert_int_equal(f->kvd.store.flushed.applied, 0);
}

/* --- views --- */

static void
ask(struct fixture *f, uint64_t id)
{
	struct msg_snap_ask m = {.id = id, .window = 100};
	struct buf body = {0};
	struct wire w;

	wire_encode(&w, &body);
	assert_int_equal(msg_snap_ask_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	assert_int_equal(snapshot_take(&f->kvd, MSG_SNAP_ASK, &w), ERR_OK);
	buf_free(&body);
}

static struct msg_snap_head
sent_head(void)
{
	struct msg_snap_head head;
	struct wire w;

	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].type, MSG_SNAP_HEAD);
	wire_decode(&w, buf_bytes(&sent[0].body));
	assert_int_equal(msg_snap_head_wire(&w, &head), ERR_OK);
	return head;
}

/* Two flushes stand before it: the one that runs, and the one of what was
 * applied since.  Then it has all of that, and none of what came later. */
static void
a_snapshot_asked_for_during_a_flush_begins_after_it(void **state)
{
	struct fixture *f = *state;
	struct kvd *k = &f->kvd;
	struct msg_snap_data m;
	struct wire w;

	gate_is_used = true;
	put(f, 1, "a", 10);
	writeback_run(k, mono_now());
	writeback_run(k, old_enough());
	wait_at_gate();
	put(f, 2, "b", 10);
	sent_clear();
	ask(f, 1);
	assert_true(snapshot_waits(k));
	assert_int_equal(snapshot_next(k).ns, MONO_NEVER.ns);
	snapshot_run(k, mono_now());
	writeback_run(k, mono_now());
	assert_int_equal(sent_count, 0);
	sem_post(&gate);
	wait_settled(f);
	snapshot_run(k, mono_now()); /* still without b */
	assert_int_equal(sent_count, 0);
	writeback_run(k, mono_now()); /* at once, because it is awaited */
	wait_at_gate();
	snapshot_run(k, mono_now());
	assert_int_equal(sent_count, 0);
	put(f, 3, "c", 10);
	sent_clear();
	sem_post(&gate);
	wait_settled(f);
	gate_is_used = false;
	assert_false(snapshot_waits(k));
	snapshot_run(k, mono_now());
	assert_int_equal(sent_head().index, 2);
	assert_int_equal(sent_head().keys, 2);
	flush(f); /* c: not in the view */
	snapshot_run(k, mono_add_ms(mono_now(), 1000));
	assert_int_equal(sent_count, 2);
	wire_decode(&w, buf_bytes(&sent[1].body));
	assert_int_equal(msg_snap_data_wire(&w, &m), ERR_OK);
	assert_true(m.last); /* the hash of the keys was that of the head */
}

static void
damage_below_the_tables_is_found(void **state)
{
	struct fixture *f = *state;
	struct record_name name;
	struct bytes record;
	struct buf copy = {0};
	struct engine_write w = {
	    .name = record_name_key(&name, bytes_of_str("a"))};
	struct kvd *k = &f->kvd;
	uint64_t index;

	put(f, 1, "a", 10);
	put(f, 2, "b", 10);
	flush(f);
	assert_int_equal(real->get(k->store.engine, w.name, &record), ERR_OK);
	buf_append(&copy, record.data, record.len);
	copy.data[copy.len - 1] ^= 1;
	w.record = buf_bytes(&copy);
	assert_int_equal(real->write(k->store.engine, &w, 1), ERR_OK);
	buf_free(&copy);
	put(f, 3, "c", 10); /* not in the engine: no part of the sum */
	for (int i = 0; i < 10; i++)
		check_run(k->check, &k->store, check_next(k->check));
	assert_true(check_diverged(k->check, &index));
	assert_int_equal(index, 2);
}

static void
memory_is_given_back_when_all_is_written_and_durable(void **state)
{
	struct fixture *f = *state;
	struct kvd *k = &f->kvd;
	struct mono later;

	put(f, 1, "large", 600000);
	put(f, 2, "larger", 700000); /* full: written at once */
	writeback_run(k, mono_now());
	wait_settled(f);
	later = mono_add_ms(mono_now(), WRITE_BACK_SHRINK_MS);
	assert_true(mono_reached(writeback_next(k), later));
	writeback_run(k, later); /* not durable yet: later */
	assert_non_null(k->store.frozen.chunks);
	assert_false(mono_reached(writeback_next(k), later));
	k->durable = k->store.flushed.applied;
	later = mono_add_ms(later, WRITE_BACK_SHRINK_MS);
	put(f, 3, "small", 1); /* something is staged: later */
	writeback_run(k, later);
	assert_non_null(k->store.frozen.chunks);
	flush(f);
	k->durable = k->store.flushed.applied;
	later = mono_add_ms(later, WRITE_BACK_SHRINK_MS);
	ask(f, 1); /* a view is open: later */
	snapshot_run(k, later);
	assert_non_null(k->snapshot.iter);
	writeback_run(k, later);
	assert_non_null(k->store.frozen.chunks);
	while (k->snapshot.iter != NULL) {
		later = mono_add_ms(later, WRITE_BACK_SHRINK_MS);
		snapshot_run(k, later);
	}
	writeback_run(k, later);
	assert_null(k->store.frozen.writes);
	assert_null(k->store.active.writes);
	assert_int_equal(k->exit_code, 0);
	assert_int_equal(writeback_next(k).ns, MONO_NEVER.ns);
	expect_state_is_that_of_the_keys(f);
	put(f, 4, "large", 2);
	flush(f);
	expect_state_is_that_of_the_keys(f);
	assert_int_equal(writeback_next(k).ns, MONO_NEVER.ns); /* not much */
}

#define ON(test, engine)                                                       \
	{                                                                      \
		.name = #test " [" engine "]", .test_func = test,              \
		.setup_func = setup, .teardown_func = teardown,                \
		.initial_state = (void *)(uintptr_t)engine                     \
	}
#define EACH(test) ON(test, "lmdb"), ON(test, "leveldb")

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(a_write_is_answered_before_the_engine_has_it),
	    EACH(a_table_that_is_full_is_written_at_once),
	    EACH(a_clean_end_writes_what_is_frozen_and_what_is_staged),
	    EACH(reads_see_the_newest_write_wherever_it_is),
	    EACH(the_same_log_gives_the_same_state_whenever_it_is_written),
	    EACH(a_kill_between_flushes_leaves_an_earlier_state),
	    EACH(results_that_come_and_go_between_two_flushes_are_not_stored),
	    EACH(while_both_tables_are_full_raftd_is_told_no_more),
	    EACH(a_write_that_fails_ends_kvd_and_is_not_tried_again),
	    EACH(a_snapshot_asked_for_during_a_flush_begins_after_it),
	    EACH(damage_below_the_tables_is_found),
	    EACH(memory_is_given_back_when_all_is_written_and_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
