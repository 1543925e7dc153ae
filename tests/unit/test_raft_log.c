/* The log by itself: what fits into a slice, what a snapshot that is still to
 * be written hides, and how much is handed out to be applied at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raftd/raft/core.h"
#include "tests/script/harness/store.h"

/* Entries of one byte, which are measured as 7. */
enum { FIRST = 3, STABLE_LAST = 5, LAST = 8, SIZE = 7 };

struct bench {
	struct store store;
	struct raft_log log;
	struct blob *data;
};

static void
add(struct bench *b, uint64_t index, struct blob *data)
{
	struct raft_entry e = {.term = 1, .index = index, .data = data};

	raft_log_append(&b->log, &e, 1);
}

/* Entries 3 to 5 on the disk, 6 to 8 in memory, none of them committed. */
static void
bench_open(struct bench *b, uint64_t applying_max)
{
	static const struct raft_hard_state none;
	struct raft_snapshot base = {.index = FIRST - 1, .term = 1};
	struct raft_entry e = {.term = 1};

	b->data = blob_new("a", 1);
	e.data = b->data;
	store_open(&b->store, &base);
	for (e.index = FIRST; e.index <= STABLE_LAST; e.index++)
		assert_null(store_write(&b->store, &none, NULL, &e, 1));
	raft_log_open(&b->log, &store_ops, &b->store, applying_max);
	for (uint64_t i = STABLE_LAST + 1; i <= LAST; i++)
		add(b, i, b->data);
}

static void
bench_close(struct bench *b)
{
	raft_log_close(&b->log);
	store_close(&b->store);
	blob_unref(&b->data);
}

/* ---- slices ---- */

static size_t
fitting(struct bench *b, uint64_t lo, uint64_t max_bytes)
{
	struct raft_entry *e;
	size_t count;

	assert_int_equal(
	    raft_log_slice(&b->log, lo, LAST + 1, max_bytes, &e, &count),
	    RAFT_OK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(e[i].index, lo + i);
	raft_entries_free(e, count);
	return count;
}

static void
a_slice_is_what_fits_and_at_least_one_entry(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, RAFT_NO_LIMIT);
	for (uint64_t lo = FIRST; lo <= LAST; lo++)
		for (uint64_t max = 0; max <= 50; max++) {
			uint64_t count = max / SIZE > 0 ? max / SIZE : 1;

			if (count > LAST - lo + 1)
				count = LAST - lo + 1;
			assert_int_equal(fitting(&b, lo, max), count);
		}
	assert_int_equal(fitting(&b, FIRST, RAFT_NO_LIMIT), LAST - FIRST + 1);
	bench_close(&b);
}

/* An entry of the disk that does not fit is not left out for one of memory
 * that would. */
static void
a_slice_has_no_gap(void **state)
{
	static const struct raft_hard_state none;
	struct raft_entry large = {.term = 1, .index = STABLE_LAST};
	struct bench b;

	(void)state;
	bench_open(&b, RAFT_NO_LIMIT);
	large.data = blob_new("0123456789", 10);
	assert_null(store_write(&b.store, &none, NULL, &large, 1));
	blob_unref(&large.data);
	assert_int_equal(fitting(&b, FIRST, 3 * SIZE), 2);
	assert_int_equal(fitting(&b, FIRST, 3 * SIZE + 9), 3);
	bench_close(&b);
}

/* ---- a snapshot that is to be written ---- */

static void
a_snapshot_is_all_that_the_log_has_before_it_is_written(void **state)
{
	struct raft_snapshot s = {.index = 20, .term = 4};
	struct bench b;
	uint64_t term;

	(void)state;
	bench_open(&b, RAFT_NO_LIMIT);
	raft_log_restore(&b.log, &s);
	assert_int_equal(raft_log_first(&b.log), 21);
	assert_int_equal(raft_log_last(&b.log), 20);
	assert_int_equal(raft_log_last_term(&b.log), 4);
	assert_int_equal(b.log.committed, 20);
	/* What the disk still has is gone. */
	assert_int_equal(raft_log_term(&b.log, 4, &term), RAFT_COMPACTED);
	assert_int_equal(raft_log_term(&b.log, 19, &term), RAFT_COMPACTED);
	assert_int_equal(raft_log_term(&b.log, 21, &term), RAFT_UNAVAILABLE);
	assert_false(raft_log_has_committed(&b.log, true));
	bench_close(&b);
}

/* ---- what is handed out to be applied ---- */

static size_t
hand_out(struct bench *b, bool unstable_too)
{
	struct raft_entry *e;
	size_t count;

	raft_log_next_committed(&b->log, unstable_too, &e, &count);
	if (count > 0)
		raft_log_accept_applying(&b->log, e[count - 1].index,
		    entries_size(e, count), unstable_too);
	raft_entries_free(e, count);
	return count;
}

static void
the_next_portion_gets_the_room_that_is_left(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 3 * SIZE - 1);
	raft_log_commit_to(&b.log, FIRST);
	assert_int_equal(hand_out(&b, true), 1);
	raft_log_commit_to(&b.log, LAST);
	assert_int_equal(hand_out(&b, true), 1); /* of 13 bytes, 7 */
	assert_int_equal(hand_out(&b, true), 0); /* cut short */
	raft_log_applied_to(&b.log, FIRST, SIZE);
	assert_int_equal(hand_out(&b, true), 1); /* 7 are still out */
	raft_log_applied_to(&b.log, FIRST + 2, (uint64_t)2 * SIZE);
	assert_int_equal(hand_out(&b, true), 2);
	bench_close(&b);
}

static void
a_full_limit_keeps_the_gate_closed(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, SIZE + 1);
	raft_log_commit_to(&b.log, FIRST);
	assert_int_equal(hand_out(&b, true), 1);
	raft_log_commit_to(&b.log, FIRST + 1);
	assert_int_equal(hand_out(&b, true), 1); /* at least one: 14 of 8 */
	raft_log_commit_to(&b.log, LAST);
	raft_log_applied_to(&b.log, FIRST, SIZE - 1); /* 8 of 8 */
	assert_int_equal(hand_out(&b, true), 0);
	raft_log_applied_to(&b.log, FIRST + 1, SIZE + 1);
	assert_int_equal(hand_out(&b, true), 1);
	bench_close(&b);
}

/* With asynchronous writes the state machine does not run ahead of the disk. */
static void
what_is_not_durable_is_not_handed_out_alone(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, RAFT_NO_LIMIT);
	raft_log_commit_to(&b.log, LAST - 1);
	assert_int_equal(hand_out(&b, false), STABLE_LAST - FIRST + 1);
	assert_int_equal(hand_out(&b, false), 0);
	raft_log_stable_to(&b.log, STABLE_LAST + 1, 2); /* another entry */
	assert_int_equal(hand_out(&b, false), 0);
	raft_log_stable_to(&b.log, LAST + 1, 1); /* there is none */
	assert_int_equal(hand_out(&b, false), 0);
	assert_int_equal(hand_out(&b, true), 2);
	bench_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_slice_is_what_fits_and_at_least_one_entry),
	    cmocka_unit_test(a_slice_has_no_gap),
	    cmocka_unit_test(
		a_snapshot_is_all_that_the_log_has_before_it_is_written),
	    cmocka_unit_test(the_next_portion_gets_the_room_that_is_left),
	    cmocka_unit_test(a_full_limit_keeps_the_gate_closed),
	    cmocka_unit_test(what_is_not_durable_is_not_handed_out_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
