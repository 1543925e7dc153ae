/* The store's directory: the marker against power cuts, damage, and the thread
 * that syncs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "kvd/marker.h"
#include "kvd/session.h"
#include "kvd/store.h"
#include "kvd/sync.h"

struct fixture {
	const struct engine_ops *ops;
	char dir[64];
	char boot_id[80];
};

static void
boot(struct fixture *f, const char *id)
{
	assert_int_equal(
	    file_replace("/tmp", f->boot_id + 5, bytes_of_str(id)), 0);
}

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof *f);

	f->ops = engine_find(*state);
	assert_non_null(f->ops);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->boot_id, sizeof f->boot_id, "%s.boot", f->dir);
	boot(f, "first\n");
	marker_boot_id_path = f->boot_id;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[256];

	(void)snprintf(
	    command, sizeof command, "rm -rf '%s' '%s'", f->dir, f->boot_id);
	assert_int_equal(system(command), 0);
	mem_free(f);
	return 0;
}

/* Open, check the applied index, write one entry more, close. */
static void
run(struct fixture *f, uint64_t applied, bool killed)
{
	struct store s;

	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_OK);
	assert_int_equal(s.state.applied, applied);
	s.state.applied++;
	store_put(&s, bytes_of_str("x"), bytes_of_str("y"));
	assert_int_equal(store_write(&s), ERR_OK);
	assert_int_equal(store_close(&s, killed), ERR_OK);
}

static void
a_store_survives_a_close_and_another_boot(void **state)
{
	struct fixture *f = *state;

	run(f, 0, false);
	boot(f, "second\n");
	run(f, 1, false);
	run(f, 2, false);
}

static void
a_store_survives_sigkill_in_the_same_boot(void **state)
{
	struct fixture *f = *state;

	run(f, 0, true);
	run(f, 1, true);
	run(f, 2, false);
}

static void
a_store_that_was_open_when_power_was_cut_is_discarded(void **state)
{
	struct fixture *f = *state;

	run(f, 0, true);
	boot(f, "second\n");
	run(f, 0, true);
	run(f, 1, false);
	boot(f, "third\n");
	run(f, 2, false);
}

static void
without_a_boot_id_an_open_store_is_not_trusted(void **state)
{
	struct fixture *f = *state;

	run(f, 0, true);
	marker_boot_id_path = "/nonexistent/boot_id";
	run(f, 0, true);
	run(f, 0, false);
	run(f, 1, false);
}

static void
a_state_record_that_is_damaged_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store s;

	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_OK);
	s.state.format = 99; /* of a kvd to come */
	{
		const struct engine_write w = {.name = record_name_state(),
		    .record = bytes_of_str("\x63 something else")};

		assert_int_equal(f->ops->write(s.engine, &w, 1), ERR_OK);
	}
	assert_int_equal(store_close(&s, false), ERR_OK);
	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_CORRUPT);
	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_CORRUPT);
}

static void
session_records_that_are_damaged_are_refused(void **state)
{
	struct fixture *f = *state;
	struct record_name a, b;
	const struct engine_write cases[] = {
	    {.name = bytes_of_str("s"), .record = bytes_of_str("x")},
	    {.name = record_name_session(&a, 1, 2),
		.record = bytes_of_str("short")},
	    {.name = record_name_result(&b, 1, 2, 3), /* without a session */
		.record = bytes_of("\0\0\0\0\0\0\0\0\0\0\0\0", 12)},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct engine_write undo = cases[i];
		struct sessions *ss;
		struct store s;

		undo.remove = true;
		assert_int_equal(store_open(&s, f->ops, f->dir), ERR_OK);
		assert_int_equal(f->ops->write(s.engine, &cases[i], 1), ERR_OK);
		assert_int_equal(sessions_open(&ss, &s), ERR_CORRUPT);
		assert_int_equal(f->ops->write(s.engine, &undo, 1), ERR_OK);
		assert_int_equal(sessions_open(&ss, &s), ERR_OK);
		sessions_close(ss);
		assert_int_equal(store_close(&s, false), ERR_OK);
	}
}

static void
an_engine_whose_files_are_damaged_does_not_open(void **state)
{
	struct fixture *f = *state;
	char command[256];
	struct store s;

	run(f, 0, false);
	(void)snprintf(command, sizeof command,
	    "for x in '%s'/data.mdb '%s'/MANIFEST*; do test ! -e $x || "
	    "head -c 9000 /dev/zero | tr '\\0' x > $x; done",
	    f->dir, f->dir);
	assert_int_equal(system(command), 0);
	assert_int_not_equal(store_open(&s, f->ops, f->dir), ERR_OK);
}

/* What was found out while the store was used holds for the next one. */
static void
a_condemned_store_is_damaged_whatever_the_engine_says(void **state)
{
	struct fixture *f = *state;
	struct store s;

	run(f, 0, true);
	marker_condemn(f->dir);
	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_CORRUPT);
	boot(f, "second\n");
	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_CORRUPT);
}

static enum err
sync_fails(struct engine *e)
{
	(void)e;
	return ERR_IO;
}

/* What the page cache has is not what the next one would read. */
static void
a_store_that_cannot_be_synced_is_not_opened_again(void **state)
{
	struct fixture *f = *state;
	struct engine_ops ops = *f->ops;
	struct store s;

	ops.sync = sync_fails;
	assert_int_equal(store_open(&s, &ops, f->dir), ERR_OK);
	store_put(&s, bytes_of_str("ka"), bytes_of_str("1"));
	assert_int_equal(store_write(&s), ERR_OK);
	assert_int_equal(store_close(&s, false), ERR_IO);
	assert_int_equal(store_open(&s, f->ops, f->dir), ERR_CORRUPT);
}

/* Has this process more addresses already?  A sanitizer takes terabytes. */
static bool
has_addresses_beyond(size_t limit)
{
	FILE *file = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%zu", &pages), 1);
	(void)fclose(file);
	return pages > limit / (size_t)sysconf(_SC_PAGESIZE);
}

static void
a_limit_on_addresses_makes_the_map_smaller(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	if (has_addresses_beyond((size_t)1 << 30))
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit limit = {
		    .rlim_cur = 1u << 30, .rlim_max = 1u << 30};

		if (setrlimit(RLIMIT_AS, &limit) == -1)
			_exit(1);
		run(f, 0, false);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	run(f, 1, false);
}

/* --- the syncer --- */

#define SYNC_TEST_MS 20u

static unsigned syncs;
static enum err sync_result;

static enum err
sync_for_test(struct engine *e)
{
	(void)e;
	__atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
	return sync_result;
}

static void
what_was_written_becomes_durable_in_the_background(void **state)
{
	const struct engine_ops ops = {.durable = true, .sync = sync_for_test};
	struct loop *loop = loop_open();
	struct syncer *s = syncer_open(loop, &ops, NULL, SYNC_TEST_MS);
	const struct mono end = mono_add_ms(mono_now(), 5000);
	bool failed;

	(void)state;
	sync_result = ERR_OK;
	syncs = 0;
	assert_int_equal(syncer_durable(s, &failed), 0);
	for (uint64_t applied = 1; applied <= 3; applied++) {
		syncer_wrote(s, applied);
		while (syncer_durable(s, &failed) != applied) {
			assert_false(mono_reached(end, loop_wait(loop, end)));
			assert_false(failed);
		}
	}
	assert_int_equal(__atomic_load_n(&syncs, __ATOMIC_RELAXED), 3);
	assert_true(syncer_close(s));
	loop_close(loop);
}

static unsigned slices;
static enum err slice_result;

static enum err
write_out_for_test(struct engine *e, uint64_t *at)
{
	(void)e;
	__atomic_add_fetch(&slices, 1, __ATOMIC_RELAXED);
	*at = (*at + 1) % 3;
	return slice_result;
}

/* One write, and what comes of it. */
static bool
sync_in_slices(enum err result)
{
	const struct engine_ops ops = {.durable = true,
	    .write_out = write_out_for_test,
	    .sync = sync_for_test};
	const struct mono end = mono_add_ms(mono_now(), 5000);
	struct loop *loop = loop_open();
	struct syncer *s = syncer_open(loop, &ops, NULL, SYNC_TEST_MS);
	bool failed = false;

	sync_result = ERR_OK;
	slice_result = result;
	syncs = slices = 0;
	syncer_wrote(s, 1);
	while (syncer_durable(s, &failed) != 1 && !failed)
		assert_false(mono_reached(end, loop_wait(loop, end)));
	assert_int_equal(syncer_close(s), !failed);
	loop_close(loop);
	return !failed;
}

static void
what_was_written_goes_out_in_slices_before_the_sync(void **state)
{
	(void)state;
	assert_true(sync_in_slices(ERR_OK));
	assert_int_equal(slices, 3);
	assert_int_equal(syncs, 1);
	assert_false(sync_in_slices(ERR_IO));
	assert_int_equal(slices, 1);
	assert_int_equal(syncs, 0);
}

static void
a_sync_that_fails_is_told_and_not_tried_again(void **state)
{
	const struct engine_ops ops = {.durable = true, .sync = sync_for_test};
	struct loop *loop = loop_open();
	struct syncer *s = syncer_open(loop, &ops, NULL, SYNC_TEST_MS);
	const struct mono end = mono_add_ms(mono_now(), 5000);
	bool failed = false;

	(void)state;
	sync_result = ERR_IO;
	syncs = 0;
	syncer_wrote(s, 5);
	while (!failed) {
		assert_false(mono_reached(end, loop_wait(loop, end)));
		assert_int_equal(syncer_durable(s, &failed), 0);
	}
	syncer_wrote(s, 6);
	assert_false(syncer_close(s));
	assert_int_equal(__atomic_load_n(&syncs, __ATOMIC_RELAXED), 1);
	loop_close(loop);
}

static void
the_memory_engine_is_never_durable(void **state)
{
	struct loop *loop = loop_open();
	struct syncer *s =
	    syncer_open(loop, &engine_memory, NULL, SYNC_TEST_MS);
	bool failed;

	(void)state;
	syncer_wrote(s, 5);
	assert_int_equal(syncer_durable(s, &failed), 0);
	assert_false(failed);
	assert_true(syncer_close(s));
	loop_close(loop);
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
	    EACH(a_limit_on_addresses_makes_the_map_smaller),
	    EACH(a_store_survives_a_close_and_another_boot),
	    EACH(a_store_survives_sigkill_in_the_same_boot),
	    EACH(a_store_that_was_open_when_power_was_cut_is_discarded),
	    EACH(without_a_boot_id_an_open_store_is_not_trusted),
	    EACH(a_state_record_that_is_damaged_is_refused),
	    EACH(session_records_that_are_damaged_are_refused),
	    EACH(an_engine_whose_files_are_damaged_does_not_open),
	    EACH(a_condemned_store_is_damaged_whatever_the_engine_says),
	    EACH(a_store_that_cannot_be_synced_is_not_opened_again),
	    cmocka_unit_test(
		what_was_written_becomes_durable_in_the_background),
	    cmocka_unit_test(
		what_was_written_goes_out_in_slices_before_the_sync),
	    cmocka_unit_test(a_sync_that_fails_is_told_and_not_tried_again),
	    cmocka_unit_test(the_memory_engine_is_never_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
