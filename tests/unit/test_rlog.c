/* Raft's log in memory against a model that simply keeps every entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/rlog.h"
#include "tests/crash/memdisk.h"

#define INDEX_MAX 20000u

struct fixture {
	struct memdisk *md;
	struct wal_disk disk;
	struct wal *wal;
	struct rlog *rlog;
	uint64_t cache_bytes;
	uint64_t seed;
	/* The model. */
	uint64_t first, last;
	uint64_t marked; /* entries up to here are in a snapshot */
	uint64_t term[INDEX_MAX + 1];
	uint32_t len[INDEX_MAX + 1];
	uint8_t byte[INDEX_MAX + 1];
};

static void
on_entry(void *arg, const struct raft_entry *e, struct wal_position at)
{
	rlog_recover(arg, e, at);
}

static void
start(struct fixture *f, uint64_t segment_bytes)
{
	struct wal_recovered rec;
	struct wal_identity id = {.cluster = 1, .node = 1, .incarnation = 9};
	struct wal_conf conf = {.member_count = 0};

	rlog_close(f->rlog);
	wal_close(f->wal);
	f->rlog = rlog_open(f->cache_bytes);
	assert_int_equal(
	    wal_open(&f->wal, &f->disk, &rec, on_entry, f->rlog), ERR_OK);
	rlog_begin(f->rlog, f->wal, &rec);
	wal_set_limits(f->wal, segment_bytes, segment_bytes / 4);
	if (rec.fresh)
		assert_int_equal(wal_create(f->wal, &id, &conf), ERR_OK);
	assert_int_equal(rec.last, f->last);
	assert_int_equal(rlog_last(f->rlog), f->last);
	/* That of the oldest entry may be all that a restart knows of it. */
	assert_true(rlog_first(f->rlog) >= f->first);
	assert_true(rlog_first(f->rlog) <= f->first + 1);
	f->first = rlog_first(f->rlog);
}

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));

	f->md = memdisk_new();
	f->disk = memdisk_disk(f->md);
	f->cache_bytes = 4096;
	f->first = 1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	rlog_close(f->rlog);
	wal_close(f->wal);
	memdisk_free(f->md);
	mem_free(f);
	return 0;
}

/* n entries from first on go to the WAL, to rlog and to the model. */
static void
append(struct fixture *f, uint64_t first, size_t n, uint64_t term, size_t bytes)
{
	struct raft_entry *e = mem_zalloc(n, sizeof(*e));
	struct wal_position *at = mem_zalloc(n, sizeof(*at));
	struct wal_batch_item item = {.entries = e, .entry_count = n};

	for (size_t i = 0; i < n; i++) {
		uint64_t index = first + i;

		e[i] = (struct raft_entry){.term = term, .index = index};
		f->term[index] = term;
		f->len[index] = (uint32_t)bytes;
		f->byte[index] = (uint8_t)(index * 31 + term);
		if (bytes == 0)
			continue;
		e[i].data = blob_new(NULL, bytes);
		memset(e[i].data->data, f->byte[index], bytes);
	}
	assert_int_equal(wal_write(f->wal, &item, 1, true, at), ERR_OK);
	for (size_t i = 0; i < n; i++) {
		rlog_append(f->rlog, &e[i], at[i]);
		blob_unref(&e[i].data);
	}
	f->last = first + n - 1;
	assert_int_equal(rlog_last(f->rlog), f->last);
	mem_free(e);
	mem_free(at);
}

static void
check_entry(const struct fixture *f, const struct raft_entry *e, uint64_t index)
{
	struct bytes b = blob_bytes(e->data);

	assert_int_equal(e->index, index);
	assert_int_equal(e->term, f->term[index]);
	assert_int_equal(b.len, f->len[index]);
	if (b.len > 0) {
		assert_int_equal(b.data[0], f->byte[index]);
		assert_int_equal(b.data[b.len - 1], f->byte[index]);
	}
}

/* As etcd's limitSize: all that fit, at least one. */
static void
check_entries(
    const struct fixture *f, uint64_t lo, uint64_t hi, uint64_t max_bytes)
{
	struct raft_entry *out;
	size_t count;
	uint64_t bytes = 0;

	assert_int_equal(
	    rlog_entries(f->rlog, lo, hi, max_bytes, &out, &count), RAFT_OK);
	assert_true(lo == hi || count > 0);
	assert_true(count <= hi - lo);
	for (size_t i = 0; i < count; i++) {
		check_entry(f, &out[i], lo + i);
		bytes += raft_entry_size(&out[i]);
	}
	assert_true(count <= 1 || bytes <= max_bytes);
	if (count < hi - lo) { /* one more would not have fitted */
		struct raft_entry next = {
		    .term = f->term[lo + count], .index = lo + count};

		next.data = blob_new(NULL, f->len[lo + count]);
		if (next.data->len == 0)
			blob_unref(&next.data);
		assert_true(bytes + raft_entry_size(&next) > max_bytes);
		blob_unref(&next.data);
	}
	raft_entries_free(out, count);
}

static void
check_terms(const struct fixture *f)
{
	uint64_t term;

	for (uint64_t i = f->first - 1; i <= f->last; i++) {
		assert_int_equal(rlog_term(f->rlog, i, &term), RAFT_OK);
		assert_int_equal(term, f->term[i]);
	}
	if (f->first == 1)
		assert_int_equal(f->term[0], 0);
	assert_int_equal(
	    rlog_term(f->rlog, f->last + 1, &term), RAFT_UNAVAILABLE);
}

static void
an_empty_log_has_no_entries(void **state)
{
	struct fixture *f = *state;
	struct raft_entry *out;
	size_t count;

	start(f, 65536);
	assert_int_equal(rlog_first(f->rlog), 1);
	assert_int_equal(rlog_last(f->rlog), 0);
	check_terms(f);
	assert_int_equal(
	    rlog_entries(f->rlog, 1, 2, RAFT_NO_LIMIT, &out, &count),
	    RAFT_UNAVAILABLE);
	assert_int_equal(
	    rlog_entries(f->rlog, 0, 1, RAFT_NO_LIMIT, &out, &count),
	    RAFT_COMPACTED);
	check_entries(f, 1, 1, RAFT_NO_LIMIT);
}

static void
old_entries_come_from_the_wal_and_recent_ones_from_memory(void **state)
{
	struct fixture *f = *state;
	uint64_t reads;

	start(f, 65536);
	append(f, 1, 1000, 1, 100);
	assert_true(rlog_cache_bytes(f->rlog) <= 4096);
	reads = memdisk_ops(f->md, MEMDISK_READ);
	check_entries(f, 995, 1001, RAFT_NO_LIMIT);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_READ), reads);
	check_entries(f, 1, 1001, RAFT_NO_LIMIT);
	check_entries(f, 970, 1001, 3000);
	assert_true(memdisk_ops(f->md, MEMDISK_READ) > reads);
	check_terms(f);
}

static void
at_least_one_entry_is_given_however_large(void **state)
{
	struct fixture *f = *state;

	start(f, 65536);
	append(f, 1, 20, 1, 5000); /* larger than the cache */
	check_entries(f, 1, 21, 0);
	check_entries(f, 20, 21, 0);
	check_entries(f, 1, 21, 11000);
	check_entries(f, 19, 21, 1);
}

static void
replaced_entries_are_gone(void **state)
{
	struct fixture *f = *state;

	start(f, 65536);
	append(f, 1, 500, 1, 50);
	append(f, 100, 10, 2, 60); /* far below the cache */
	check_entries(f, 1, 110, RAFT_NO_LIMIT);
	append(f, 110, 500, 2, 60);
	append(f, 109, 1, 3, 70);
	append(f, 110, 300, 3, 70);
	check_entries(f, 1, f->last + 1, RAFT_NO_LIMIT);
	check_terms(f);
	append(f, 1, 1, 4, 10); /* all of them */
	check_entries(f, 1, 2, RAFT_NO_LIMIT);
	check_terms(f);
	start(f, 65536);
	check_entries(f, 1, 2, RAFT_NO_LIMIT);
}

static void
the_core_sees_the_same(void **state)
{
	struct fixture *f = *state;
	const struct raft_storage_ops *ops = &rlog_storage_ops;
	struct raft_hard_state hs = {.term = 3, .vote = 2, .commit = 1};
	struct raft_conf_state conf = {.auto_leave = true};
	struct raft_hard_state hs_out;
	struct raft_conf_state conf_out;
	struct raft_snapshot snapshot;
	struct raft_entry *out;
	size_t count;
	uint64_t term;

	start(f, 65536);
	append(f, 1, 3, 3, 1);
	rlog_set_initial(f->rlog, &hs, &conf);
	ops->initial_state(f->rlog, &hs_out, &conf_out);
	assert_int_equal(hs_out.vote, 2);
	assert_true(conf_out.auto_leave);
	assert_int_equal(ops->first_index(f->rlog), 1);
	assert_int_equal(ops->last_index(f->rlog), 3);
	assert_int_equal(ops->term(f->rlog, 2, &term), RAFT_OK);
	assert_int_equal(term, 3);
	assert_int_equal(
	    ops->entries(f->rlog, 1, 4, RAFT_NO_LIMIT, &out, &count), RAFT_OK);
	assert_int_equal(count, 3);
	raft_entries_free(out, count);
	assert_int_equal(
	    ops->snapshot(f->rlog, &snapshot), RAFT_SNAP_UNAVAILABLE);
}

static void
wrong_bytes_from_the_disk_end_the_process(void **state)
{
	struct fixture *f = *state;
	struct raft_entry *out;
	size_t count;
	int status;
	pid_t pid;

	start(f, 65536);
	append(f, 1, 1000, 1, 100);
	memdisk_file(f->md, "0000000000000001-0000000000000001.wal")
	    ->data[5000] ^= 1;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)rlog_entries(
		    f->rlog, 1, 200, RAFT_NO_LIMIT, &out, &count);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_IOERR);
}

static void
mark(struct fixture *f, uint64_t index, uint64_t term, bool replaces)
{
	struct wal_conf conf = {.index = index};
	struct wal_mark m = {
	    .index = index, .term = term, .replaces = replaces};
	struct wal_batch_item item = {
	    .mark = &m, .conf = replaces ? &conf : NULL};

	assert_int_equal(wal_write(f->wal, &item, 1, true, NULL), ERR_OK);
	f->marked = index;
	if (!replaces)
		return;
	rlog_reset(f->rlog, index, term);
	f->first = index + 1;
	f->last = index;
	f->term[index] = term;
}

/* What is before index may go. */
static void
cut(struct fixture *f, uint64_t index)
{
	uint32_t segment = wal_cut_before(f->wal, index, 0);
	struct wal_removed *removed;
	struct raft_entry *out;
	size_t count;
	uint64_t term;

	if (segment == 0)
		return;
	rlog_cut(f->rlog, segment);
	removed = wal_cut(f->wal, segment);
	wal_remove(&removed);
	assert_true(rlog_first(f->rlog) >= f->first);
	assert_true(rlog_first(f->rlog) <= index + 1);
	f->first = rlog_first(f->rlog);
	if (f->first < 3)
		return;
	assert_int_equal(
	    rlog_term(f->rlog, f->first - 2, &term), RAFT_COMPACTED);
	assert_int_equal(
	    rlog_entries(f->rlog, f->first - 1, f->first, 1, &out, &count),
	    RAFT_COMPACTED);
}

static void
a_log_that_was_cut_begins_later(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes;

	start(f, 4096);
	append(f, 1, 300, 1, 100);
	append(f, 301, 300, 2, 100);
	bytes = rlog_bytes_after(f->rlog, 400);
	assert_true(bytes > 200 * 100 && bytes < 200 * 250);
	assert_int_equal(rlog_bytes_after(f->rlog, 600), 0);
	mark(f, 500, 2, false);
	cut(f, 400);
	assert_true(f->first > 300);
	check_terms(f);
	check_entries(f, f->first, 601, RAFT_NO_LIMIT);
	bytes = rlog_bytes_after(f->rlog, 1);
	assert_true(bytes > 200 * 100 && bytes < 300 * 250);
	start(f, 4096);
	check_terms(f);
	check_entries(f, f->first, 601, RAFT_NO_LIMIT);
	append(f, 601, 10, 3, 100);
	check_entries(f, f->first, 611, RAFT_NO_LIMIT);
}

static void
a_snapshot_from_another_node_takes_the_place_of_the_log(void **state)
{
	struct fixture *f = *state;
	uint64_t term;

	start(f, 4096);
	append(f, 1, 100, 1, 100);
	mark(f, 50, 7, true);
	assert_int_equal(rlog_last(f->rlog), 50);
	check_terms(f);
	assert_int_equal(rlog_term(f->rlog, 49, &term), RAFT_COMPACTED);
	start(f, 4096);
	assert_int_equal(rlog_bytes_after(f->rlog, 50), 0);
	check_terms(f);
	append(f, 51, 10, 7, 10);
	mark(f, 1000, 9, true);
	append(f, 1001, 10, 9, 10);
	check_entries(f, 1001, 1011, RAFT_NO_LIMIT);
	start(f, 4096);
	check_terms(f);
	check_entries(f, 1001, 1011, RAFT_NO_LIMIT);
}

static void
the_core_gets_the_snapshot_that_joins_the_log(void **state)
{
	struct fixture *f = *state;
	const struct raft_storage_ops *ops = &rlog_storage_ops;
	struct raft_snapshot s = {.index = 20, .term = 1}, got;

	start(f, 4096);
	append(f, 1, 100, 1, 100);
	assert_false(rlog_snapshot_wanted(f->rlog));
	assert_int_equal(ops->snapshot(f->rlog, &got), RAFT_SNAP_UNAVAILABLE);
	assert_true(rlog_snapshot_wanted(f->rlog));
	assert_false(rlog_snapshot_wanted(f->rlog));
	s.data = blob_new("x", 1);
	rlog_set_snapshot(f->rlog, &s);
	blob_unref(&s.data);
	assert_int_equal(ops->snapshot(f->rlog, &got), RAFT_OK);
	assert_int_equal(got.index, 20);
	assert_int_equal(got.data->len, 1);
	blob_unref(&got.data);
	mark(f, 90, 1, false);
	cut(f, 90);
	assert_true(f->first > 21);
	assert_int_equal(ops->snapshot(f->rlog, &got), RAFT_SNAP_UNAVAILABLE);
}

/* Random appends, replacements, marks, cuts, reads and restarts. */
static void
it_is_what_the_model_is(void **state)
{
	struct fixture *f = *state;
	const char *seed = getenv("RLOG_SEED");
	uint64_t term = 1;

	f->seed = seed == NULL ? 1 : strtoull(seed, NULL, 10);
	start(f, 8192);
	for (int step = 0; step < 3000; step++) {
		uint64_t what = memdisk_random(&f->seed, 100);
		uint64_t lo, hi;

		if (what < 1) {
			f->cache_bytes = memdisk_random(&f->seed, 20000);
			start(f, UINT64_C(1024) << memdisk_random(&f->seed, 9));
		} else if (what < 40 && f->last < INDEX_MAX - 100) {
			uint64_t first = f->last + 1;

			if (memdisk_random(&f->seed, 5) == 0)
				first -= memdisk_random(
				    &f->seed, f->last < 40 ? f->last + 1 : 40);
			if (memdisk_random(&f->seed, 200) == 0)
				first =
				    1 + memdisk_random(&f->seed, f->last + 1);
			if (first <= f->marked) /* committed */
				first = f->marked + 1;
			term += memdisk_random(&f->seed, 10) == 0;
			append(f, first, 1 + memdisk_random(&f->seed, 40), term,
			    memdisk_random(&f->seed, 300));
		} else if (what < 42 && f->last > f->marked) {
			mark(f,
			    f->marked + 1 +
				memdisk_random(
				    &f->seed, (f->last - f->marked) / 2 + 1),
			    term, false);
			cut(f, f->marked);
		} else if (what < 43 && f->last < INDEX_MAX - 1000 &&
			   memdisk_random(&f->seed, 8) == 0) {
			mark(f,
			    f->marked + 1 +
				memdisk_random(
				    &f->seed, f->last - f->marked + 50),
			    ++term, true);
		} else if (f->last >= f->first) {
			uint64_t n = f->last - f->first + 1;

			lo = f->first + memdisk_random(&f->seed, n);
			if (memdisk_random(&f->seed, 2) == 0 && n > 50)
				lo = f->last - memdisk_random(&f->seed, 50);
			hi = lo + memdisk_random(&f->seed, f->last - lo + 2);
			if (hi > lo + 600)
				hi = lo + 600;
			check_entries(f, lo, hi,
			    memdisk_random(&f->seed, 3) == 0
				? RAFT_NO_LIMIT
				: memdisk_random(&f->seed, 40000));
		}
	}
	check_terms(f);
	print_message("last=%" PRIu64 " term=%" PRIu64 "\n", f->last, term);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_empty_log_has_no_entries),
	    TEST(old_entries_come_from_the_wal_and_recent_ones_from_memory),
	    TEST(at_least_one_entry_is_given_however_large),
	    TEST(replaced_entries_are_gone),
	    TEST(the_core_sees_the_same),
	    TEST(a_log_that_was_cut_begins_later),
	    TEST(a_snapshot_from_another_node_takes_the_place_of_the_log),
	    TEST(the_core_gets_the_snapshot_that_joins_the_log),
	    TEST(wrong_bytes_from_the_disk_end_the_process),
	    TEST(it_is_what_the_model_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
