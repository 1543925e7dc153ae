/* Marks of snapshots in the write-ahead log, and segments that are cut off
 * because of them.  With power cuts and failures: test_wal_crash.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal.h"
#include "tests/crash/memdisk.h"
#include "tests/unit/wal_fixture.h"

static void
mark(struct fixture *f, uint64_t index, uint64_t term, bool replaces)
{
	struct wal_mark m = {
	    .index = index, .term = term, .replaces = replaces};
	struct wal_conf conf = conf_of(index);
	struct wal_batch_item item = {
	    .mark = &m, .conf = replaces ? &conf : NULL};

	assert_int_equal(wal_write(f->wal, &item, 1, true, NULL), ERR_OK);
}

/* Cut before index; the number of files that went. */
static size_t
cut(struct fixture *f, uint64_t index, uint64_t keep_bytes)
{
	size_t files = memdisk_file_count(f->md);
	uint32_t segment = wal_cut_before(f->wal, index, keep_bytes);
	struct wal_removed *r;

	if (segment == 0)
		return 0;
	r = wal_cut(f->wal, segment);
	wal_remove(&r);
	return files - memdisk_file_count(f->md);
}

static void
segments_before_a_mark_can_be_cut_off(void **state)
{
	struct fixture *f = *state;
	struct raft_entry out[1];
	size_t got;

	create(f);
	wal_set_limits(f->wal, 4096, 1024);
	for (uint64_t i = 1; i <= 100; i++)
		append(f, i, i, 1 + i / 10, 500);
	assert_int_equal(cut(f, 0, 0), 0);
	mark(f, 60, 7, false);
	assert_int_equal(cut(f, 60, 1 << 20), 0);
	assert_true(cut(f, 60, 0) > 3);
	assert_int_equal(cut(f, 60, 0), 0);
	assert_int_equal(
	    wal_read(f->wal, f->at[60], 60, 1, 0, out, &got), ERR_OK);
	blob_unref(&out[0].data);

	assert_int_equal(reopen(f), ERR_OK);
	assert_true(f->rec.first > 40);
	assert_true(f->rec.first <= 61);
	assert_int_equal(f->rec.last, 100);
	assert_int_equal(f->rec.before_term, 1 + (f->rec.first - 1) / 10);
	assert_int_equal(f->rec.mark.index, 60);
	assert_int_equal(f->rec.mark.term, 7);
	assert_int_equal(f->rec.hard_state.commit, 60);

	/* It goes on, and knows its mark from then on in every segment. */
	for (uint64_t i = 101; i <= 140; i++)
		append(f, i, i, 20, 500);
	mark(f, 130, 20, false);
	assert_true(cut(f, 130, 0) > 3);
	assert_int_equal(reopen(f), ERR_OK);
	assert_true(f->rec.first > 110);
	assert_int_equal(f->rec.mark.index, 130);
}

static void
a_cut_keeps_the_bytes_that_it_is_told_to(void **state)
{
	struct fixture *f = *state;
	uint64_t kept;

	create(f);
	for (uint64_t i = 1; i <= 100; i++)
		append(f, i, i, 1, 500);
	mark(f, 100, 1, false);
	assert_true(cut(f, 100, 20000) > 3);
	assert_int_equal(reopen(f), ERR_OK);
	kept = 100 - f->rec.first + 1;
	assert_true(kept * 500 >= 16000 && kept * 500 <= 28000);
	assert_true(wal_distance(f->wal, f->at[90], f->at[100]) >= 10 * 500);
	assert_true(wal_distance(f->wal, f->at[90], f->at[100]) <= 10 * 700);
	assert_int_equal(wal_distance(f->wal, f->at[90], f->at[90]), 0);
}

static void
a_mark_that_replaces_begins_the_log_anew(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 30, 1, 100);
	append_change(f, 31);
	mark(f, 20, 5, true); /* what is behind it goes too */
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.first, 21);
	assert_int_equal(f->rec.last, 20);
	assert_int_equal(f->rec.before_term, 5);
	assert_int_equal(f->rec.conf.index, 20);
	assert_int_equal(f->rec.next_conf_change, 0);
	assert_int_equal(f->rec.hard_state.commit, 20);

	append(f, 21, 25, 5, 100);
	mark(f, 1000, 6, true); /* far ahead */
	append(f, 1001, 1002, 6, 100);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.first, 1001);
	assert_int_equal(f->rec.last, 1002);
	assert_int_equal(f->rec.before_term, 6);
	assert_int_equal(f->rec.mark.index, 1000);
}

/* Segment names are set back by a snapshot from another node: what was begun
 * later does not hold what comes later. */
static void
a_log_that_was_replaced_is_cut_at_the_right_place(void **state)
{
	struct fixture *f = *state;

	create(f);
	for (uint64_t i = 1; i <= 50; i++)
		append(f, i, i, 1, 500);
	mark(f, 30, 2, true);
	for (uint64_t i = 31; i <= 60; i++)
		append(f, i, i, 2, 500);
	assert_true(cut(f, 30, 0) <= 6);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.first, 31);
	assert_int_equal(f->rec.last, 60);
	mark(f, 55, 2, false);
	assert_true(cut(f, 55, 0) > 5);
	assert_int_equal(reopen(f), ERR_OK);
	assert_true(f->rec.first > 45 && f->rec.first <= 56);
	assert_int_equal(f->rec.last, 60);
	assert_int_equal(f->rec.before_term, 2);
}

static void
a_cut_log_whose_first_segment_is_missing_is_refused(void **state)
{
	struct fixture *f = *state;
	char name[64];

	create(f);
	for (uint64_t i = 1; i <= 60; i++)
		append(f, i, i, 1, 500);
	mark(f, 20, 1, false);
	assert_true(cut(f, 20, 0) > 0);
	assert_int_equal(reopen(f), ERR_OK);
	/* The two oldest that are left: 20 and some behind it are lost. */
	for (uint32_t n = 0, gone = 0; gone < 2; n++) {
		for (uint64_t first = 1; first <= 60; first++) {
			(void)snprintf(name, sizeof(name), "%016x-%016llx.wal",
			    n, (unsigned long long)first);
			if (memdisk_file(f->md, name) == NULL)
				continue;
			assert_int_equal(f->disk.remove(f->disk.arg, name), 0);
			gone++;
			break;
		}
	}
	assert_int_equal(reopen(f), ERR_CORRUPT);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(segments_before_a_mark_can_be_cut_off),
	    TEST(a_cut_keeps_the_bytes_that_it_is_told_to),
	    TEST(a_mark_that_replaces_begins_the_log_anew),
	    TEST(a_log_that_was_replaced_is_cut_at_the_right_place),
	    TEST(a_cut_log_whose_first_segment_is_missing_is_refused),
	};

	log_level_set(LOG_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
