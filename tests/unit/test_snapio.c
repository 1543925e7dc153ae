/* The helper thread for snapshot files: jobs run in order, a long one lets
 * others through, and closing waits for nothing but the slice that runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "raftd/snapio.h"

#define JOBS 200u

struct job {
	struct snapio_job job; /* first */
	unsigned number;
	unsigned slices; /* how often it says "again" */
	unsigned ran;
	struct fixture *f;
};

struct fixture {
	struct loop *loop;
	struct snapio *s;
	struct job jobs[JOBS];
	unsigned order[JOBS]; /* as they were done */
	unsigned done, cancelled;
};

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));

	f->loop = loop_open();
	f->s = snapio_open(f->loop);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	snapio_close(f->s);
	loop_close(f->loop);
	mem_free(f);
	return 0;
}

static bool
run(struct snapio_job *job)
{
	struct job *j = (struct job *)job;

	j->ran++;
	return j->slices-- > 0;
}

static void
done(struct snapio_job *job, bool cancelled)
{
	struct job *j = (struct job *)job;

	j->f->order[j->f->done++] = j->number;
	j->f->cancelled += cancelled;
}

static void
submit(struct fixture *f, unsigned number, unsigned slices)
{
	struct job *j = &f->jobs[number];

	*j = (struct job){.job = {.run = run, .done = done},
	    .number = number,
	    .slices = slices,
	    .f = f};
	snapio_submit(f->s, &j->job);
}

static void
wait_for(struct fixture *f, unsigned count)
{
	const struct mono end = mono_add_ms(mono_now(), 10000);

	while (f->done < count) {
		assert_false(mono_reached(end, loop_wait(f->loop, end)));
		snapio_take(f->s);
	}
}

static void
jobs_are_done_in_order(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < JOBS; i++)
		submit(f, i, 0);
	wait_for(f, JOBS);
	for (unsigned i = 0; i < JOBS; i++) {
		assert_int_equal(f->order[i], i);
		assert_int_equal(f->jobs[i].ran, 1);
	}
}

static void
a_long_job_does_not_hold_up_the_others(void **state)
{
	struct fixture *f = *state;

	submit(f, 0, 100000);
	for (unsigned i = 1; i < 10; i++)
		submit(f, i, 0);
	wait_for(f, 10);
	assert_int_equal(f->order[9], 0);
	assert_int_equal(f->jobs[0].ran, 100001);
}

static bool
run_once(struct snapio_job *job)
{
	((struct job *)job)->ran++;
	return false;
}

static void
submit_again(struct snapio_job *job, bool cancelled)
{
	struct job *j = (struct job *)job;

	assert_false(cancelled);
	if (++j->f->done < 5)
		snapio_submit(j->f->s, job);
}

static void
a_job_may_be_submitted_again_when_it_is_done(void **state)
{
	struct fixture *f = *state;
	struct job *j = &f->jobs[0];

	*j = (struct job){
	    .job = {.run = run_once, .done = submit_again}, .f = f};
	snapio_submit(f->s, &j->job);
	wait_for(f, 5);
	assert_int_equal(j->ran, 5);
}

static void
closing_cancels_what_has_not_run(void **state)
{
	struct fixture *f = *state;

	submit(f, 0, UINT32_MAX / 2); /* would take minutes */
	for (unsigned i = 1; i < 10; i++)
		submit(f, i, UINT32_MAX / 2);
	snapio_close(f->s);
	f->s = snapio_open(f->loop);
	assert_int_equal(f->done, 10);
	assert_int_equal(f->cancelled, 10);
}

static void
a_thread_that_was_never_needed_is_never_started(void **state)
{
	(void)state; /* teardown closes it */
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(jobs_are_done_in_order),
	    TEST(a_long_job_does_not_hold_up_the_others),
	    TEST(a_job_may_be_submitted_again_when_it_is_done),
	    TEST(closing_cancels_what_has_not_run),
	    TEST(a_thread_that_was_never_needed_is_never_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
