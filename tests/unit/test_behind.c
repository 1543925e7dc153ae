/* Who is behind, and for how long the log is kept (raftd/behind.c).  The core,
 * the log and the snapshots are stood in for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raftd/behind.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

#define ENTRY_BYTES 100u
#define FILE_BYTES 500u
#define PATIENCE_MS 10000u

static struct raft_status core; /* what it knows of nodes 2 and 3 */
static struct snap newest;
static uint64_t first, last; /* of the log */
static bool no_snapshot;

void
raft_status(const struct raft *r, struct raft_status *out)
{
	(void)r;
	*out = core;
}

const struct snap *
snaps_newest(const struct snaps *ss)
{
	(void)ss;
	return no_snapshot ? NULL : &newest;
}

uint64_t
rlog_first(const struct rlog *l)
{
	(void)l;
	return first;
}

uint64_t
rlog_last(const struct rlog *l)
{
	(void)l;
	return last;
}

uint64_t
rlog_bytes_after(const struct rlog *l, uint64_t index)
{
	(void)l;
	return (last - index) * ENTRY_BYTES;
}

/* ---- */

struct fixture {
	struct raftd rd;
	struct behind *b;
	struct mono before, after; /* node 2 got its snapshot, as of 42 */
};

static struct fixture fix;

static int
setup(void **state)
{
	struct fixture *f = &fix;

	core = (struct raft_status){.progress_count = 2,
	    .progress = {{.id = 2, .state = RAFT_PROGRESS_REPLICATE},
		{.id = 3, .state = RAFT_PROGRESS_REPLICATE}}};
	newest.id.index = 80;
	no_snapshot = false;
	first = 30;
	last = 90;
	f->b = behind_open(&f->rd);
	f->before = mono_now();
	behind_add(f->b, 2, 42, FILE_BYTES);
	f->after = mono_now();
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	behind_close(f->b);
	return 0;
}

/* The log is kept from there on, so long after it got its snapshot. */
static uint64_t
kept(struct fixture *f, uint64_t ms)
{
	behind_run(f->b, mono_add_ms(f->before, ms));
	return behind_oldest(f->b, 85);
}

static void
the_log_is_kept_until_the_node_has_read_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(behind_oldest(f->b, 85), 42);
	assert_int_equal(behind_oldest(f->b, 20), 20);
	assert_int_equal(kept(f, 0), 42); /* the core has not heard of it */
	core.progress[0].match = 60;
	assert_int_equal(kept(f, 0), 60);
	core.progress[0].match = 79;
	assert_int_equal(kept(f, 0), 79);
	core.progress[0].match = 80;
	assert_int_equal(kept(f, 0), 85);
	core.progress[0].match = 60; /* a new leader's core begins anew */
	assert_int_equal(kept(f, 0), 85);
}

/* Snapshots go on being taken: one that does get nearer is not left alone. */
static void
a_new_snapshot_does_not_end_it(void **state)
{
	struct fixture *f = *state;

	newest.id.index = 90;
	core.progress[0].match = 80;
	assert_int_equal(kept(f, 0), 80);
}

static void
each_is_kept_the_log_for(void **state)
{
	struct fixture *f = *state;

	core.progress[1].match = 42;
	behind_add(f->b, 3, 50, FILE_BYTES);
	assert_int_equal(kept(f, 0), 42);
	core.progress[0].match = 70;
	assert_int_equal(kept(f, 0), 50);
	core.progress[1].match = 80;
	assert_int_equal(kept(f, 0), 70);
	core.progress[0].match = 80;
	assert_int_equal(kept(f, 0), 85);
}

static void
one_that_does_not_get_on_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	uint64_t took = mono_ms_since(f->before, f->after);

	assert_int_equal(kept(f, PATIENCE_MS), 42);
	core.progress[0].match = 50;
	assert_int_equal(kept(f, PATIENCE_MS), 50); /* from now on */
	assert_int_equal(kept(f, 2 * PATIENCE_MS), 50);
	assert_int_equal(kept(f, 2 * PATIENCE_MS + 1 + took), 85);
}

/* Its file and the log were 48 entries when it arrived. */
static void
one_that_is_slower_than_the_writers_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 43; i <= 90; i++) {
		core.progress[0].match = i;
		last += 2;
		newest.id.index = last - 5;
		behind_run(f->b, f->before);
		assert_int_equal(behind_oldest(f->b, last), i);
	}
	assert_int_equal(last - 90, 96);
	assert_int_equal(behind_oldest(f->b, last), 90);
	last++;
	behind_run(f->b, f->before);
	assert_int_equal(behind_oldest(f->b, last), last);
}

/* A log that is shorter than its file may grow to twice the file. */
static void
a_large_file_takes_its_time(void **state)
{
	struct fixture *f = *state;

	behind_add(f->b, 2, 80, FILE_BYTES * 10);
	newest.id.index = 85;
	last = 180;
	assert_int_equal(kept(f, 0), 80);
	last++;
	assert_int_equal(kept(f, 0), 85);
}

static void
nobody_is_waited_for_who_cannot_use_the_log(void **state)
{
	struct fixture *f = *state;

	first = 43;
	assert_int_equal(kept(f, 0), 42);
	first = 44;
	assert_int_equal(kept(f, 0), 85); /* it was cut */
	first = 30;
	behind_add(f->b, 2, 42, FILE_BYTES);
	core.progress[0].state = RAFT_PROGRESS_SNAPSHOT;
	assert_int_equal(kept(f, 0), 85); /* it gets another one */
	core.progress[0].state = RAFT_PROGRESS_PROBE;
	assert_int_equal(kept(f, 0), 85);
	behind_add(f->b, 2, 42, FILE_BYTES);
	assert_int_equal(kept(f, 0), 42);
	core.progress_count = 0;
	assert_int_equal(kept(f, 0), 85); /* we lead no more */
	core.progress_count = 2;
	behind_add(f->b, 2, 42, FILE_BYTES);
	no_snapshot = true;
	assert_int_equal(kept(f, 0), 85);
}

/* It got another one: what it had is of no interest. */
static void
the_last_one_counts(void **state)
{
	struct fixture *f = *state;

	behind_add(f->b, 2, 70, FILE_BYTES);
	assert_int_equal(kept(f, 0), 70);
	core.progress[0].match = 80;
	assert_int_equal(kept(f, 0), 85);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(the_log_is_kept_until_the_node_has_read_on),
	    TEST(a_new_snapshot_does_not_end_it),
	    TEST(each_is_kept_the_log_for),
	    TEST(one_that_does_not_get_on_is_not_waited_for),
	    TEST(one_that_is_slower_than_the_writers_is_not_waited_for),
	    TEST(a_large_file_takes_its_time),
	    TEST(nobody_is_waited_for_who_cannot_use_the_log),
	    TEST(the_last_one_counts),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
