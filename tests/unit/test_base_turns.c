/* base/loop: turns that other threads do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/loop.h"

#define LATE_MS 5000u /* a test that waits this long has failed */

/* What turns touch: no lock of its own. */
struct work {
	struct loop *loop;
	unsigned turns;
	unsigned at_home;     /* of them */
	unsigned done;        /* the last turn saw all */
	atomic_uint news;     /* brought so far */
	unsigned end_at;      /* then the loop's thread is wanted */
	struct loop_timer *t; /* set in a turn, for 5 ms later */
	bool busy;            /* in a turn */
};

static struct mono
in_ms(uint64_t ms)
{
	return mono_add_ms(mono_now(), ms);
}

static struct mono
work_turn(void *arg, struct mono now)
{
	struct work *w = arg;

	if (w->busy) /* not cmocka's: it jumps, and this may be any thread */
		abort();
	w->busy = true;
	w->turns++;
	if (loop_is_home(w->loop))
		w->at_home++;
	w->done = atomic_load(&w->news);
	if (w->t != NULL)
		loop_timer_set(w->t, mono_add_ms(now, 5));
	w->t = NULL;
	w->busy = false;
	return w->done >= w->end_at ? (struct mono){0} : MONO_NEVER;
}

static int
set_up(void **state)
{
	static struct work w;

	w = (struct work){.loop = loop_open(), .end_at = UINT32_MAX};
	*state = &w;
	return 0;
}

static int
tear_down(void **state)
{
	struct work *w = *state;

	loop_close(w->loop);
	return 0;
}

static void *
bring_one(void *arg)
{
	struct work *w = arg;

	(void)atomic_fetch_add(&w->news, 1);
	loop_poke(w->loop);
	return NULL;
}

static pthread_t
start(void *(*fn)(void *), struct work *w)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, fn, w), 0);
	return t;
}

static void
a_poke_ends_the_wait_of_a_loop_that_is_not_shared(void **state)
{
	struct work *w = *state;
	struct mono late = in_ms(LATE_MS);
	pthread_t t = start(bring_one, w);

	while (atomic_load(&w->news) == 0)
		assert_false(mono_reached(late, loop_wait(w->loop, late)));
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(w->turns, 0);
}

/* Its turn is seen by the count, and wakes the loop's thread for the test. */
static struct mono
foreign_turn_seen(void *arg, struct mono now)
{
	struct work *w = arg;

	(void)work_turn(w, now);
	return w->turns > w->at_home ? (struct mono){0} : MONO_NEVER;
}

static void *
bring_until_done(void *arg)
{
	struct work *w = arg;

	while (atomic_load(&w->news) == 0)
		loop_poke(w->loop);
	return NULL;
}

static void
who_pokes_while_the_loop_waits_does_the_turn(void **state)
{
	struct work *w = *state;
	struct mono late = in_ms(LATE_MS);
	pthread_t t;

	loop_share(w->loop, foreign_turn_seen, w);
	t = start(bring_until_done, w);
	while (w->turns == w->at_home)
		assert_false(mono_reached(late, loop_wait(w->loop, late)));
	atomic_store(&w->news, 1);
	assert_int_equal(pthread_join(t, NULL), 0);
}

static void
a_poke_during_a_turn_is_not_forgotten(void **state)
{
	struct work *w = *state;
	pthread_t t;

	loop_share(w->loop, work_turn, w);
	/* We have the loop: the poke can only leave word. */
	t = start(bring_one, w);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(w->turns, 0);
	assert_false(mono_reached(
	    in_ms(LATE_MS - 1000), loop_wait(w->loop, in_ms(LATE_MS))));
	(void)work_turn(w, mono_now());
	assert_int_equal(w->done, 1);
}

static void
note_timer(void *arg, struct mono now)
{
	bool *fired = arg;

	(void)now;
	*fired = true;
}

static void
a_timer_that_another_thread_sets_in_a_turn_fires(void **state)
{
	struct work *w = *state;
	struct loop_timer timer;
	bool fired = false;
	struct mono late = in_ms(LATE_MS);
	pthread_t t;

	loop_timer_init(w->loop, &timer, note_timer, &fired);
	w->t = &timer;
	loop_share(w->loop, work_turn, w);
	t = start(bring_one, w);
	while (!fired) {
		assert_false(mono_reached(late, loop_wait(w->loop, late)));
		(void)work_turn(w, mono_now());
	}
	assert_int_equal(pthread_join(t, NULL), 0);
}

static void
a_wake_is_for_the_loops_own_thread(void **state)
{
	struct work *w = *state;

	loop_share(w->loop, work_turn, w);
	loop_wake(w->loop);
	loop_wake(w->loop);
	assert_false(mono_reached(
	    in_ms(LATE_MS - 1000), loop_wait(w->loop, in_ms(LATE_MS))));
	assert_int_equal(w->turns, 0);
}

struct chore {
	struct work *work;
	pthread_t turned, worked; /* on which thread */
	atomic_bool accepted;
	atomic_bool done;
	atomic_bool seen; /* a turn came after it was done */
};

static bool
chore_work(void *arg)
{
	struct chore *c = arg;

	c->worked = pthread_self();
	/* The loop may be had by others meanwhile. */
	loop_poke(c->work->loop);
	c->done = true;
	return true;
}

static struct mono
chore_turn(void *arg, struct mono now)
{
	struct chore *c = arg;

	if (c->done) {
		c->seen = true;
		return (struct mono){0};
	}
	if (!c->accepted && !loop_is_home(c->work->loop)) {
		c->turned = pthread_self();
		c->accepted = loop_afterwards(c->work->loop, chore_work, c);
	}
	return mono_add_ms(now, LATE_MS);
}

/* Until its poke does the turn: while the loop's thread has the loop, a poke
 * only leaves word. */
static void *
bring_chore(void *arg)
{
	struct chore *c = arg;

	while (!c->accepted)
		loop_poke(c->work->loop);
	return NULL;
}

static void
work_after_a_turn_is_done_by_its_thread_and_is_news(void **state)
{
	struct work *w = *state;
	struct chore c = {.work = w};
	struct mono late = in_ms(LATE_MS);
	pthread_t t;

	/* At home it is for the caller to find another way. */
	assert_false(loop_afterwards(w->loop, chore_work, &c));
	loop_share(w->loop, chore_turn, &c);
	assert_int_equal(pthread_create(&t, NULL, bring_chore, &c), 0);
	/* Nobody pokes after the work: that it is done is the news. */
	while (!c.seen) {
		assert_false(mono_reached(late, loop_wait(w->loop, late)));
		(void)chore_turn(&c, mono_now());
	}
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_true(pthread_equal(c.turned, c.worked));
}

/* ---- news while a thread is at the work that its turn has left to it ---- */

struct stall {
	struct loop *loop;
	atomic_bool released;
	atomic_bool poked; /* in the turn, as by who found it locked */
	atomic_uint later; /* turns since then */
};

static bool
stall_work(void *arg)
{
	struct stall *s = arg;

	while (!atomic_load(&s->released))
		(void)sched_yield();
	return false;
}

static struct mono
stall_turn(void *arg, struct mono now)
{
	struct stall *s = arg;

	(void)now;
	if (atomic_load(&s->poked)) {
		atomic_fetch_add(&s->later, 1);
	} else if (loop_afterwards(s->loop, stall_work, s)) {
		loop_poke(s->loop);
		atomic_store(&s->poked, true);
	}
	return MONO_NEVER;
}

static void *
bring_stall(void *arg)
{
	struct stall *s = arg;

	while (!atomic_load(&s->poked))
		loop_poke(s->loop);
	return NULL;
}

static void
news_does_not_wait_for_work_after_a_turn(void **state)
{
	struct work *w = *state;
	struct stall s = {.loop = w->loop};
	struct mono late = in_ms(LATE_MS);
	pthread_t t;

	loop_share(w->loop, stall_turn, &s);
	assert_int_equal(pthread_create(&t, NULL, bring_stall, &s), 0);
	while (atomic_load(&s.later) == 0) {
		struct mono now = loop_wait(w->loop, late);

		assert_false(mono_reached(late, now));
		(void)stall_turn(&s, now);
	}
	atomic_store(&s.released, true);
	assert_int_equal(pthread_join(t, NULL), 0);
}

#define BRINGERS 4u
#define NEWS 20000u

static void *
bring_many(void *arg)
{
	for (unsigned i = 0; i < NEWS; i++)
		(void)bring_one(arg);
	return NULL;
}

/* ThreadSanitizer and work_turn()'s `busy` see that turns exclude each other;
 * the last piece of news would be waited for in vain if a poke could be
 * lost. */
static void
many_threads_bring_news_and_none_is_lost(void **state)
{
	struct work *w = *state;
	struct mono late = in_ms(4 * LATE_MS);
	struct mono next = {0};
	pthread_t t[BRINGERS];

	w->end_at = BRINGERS * NEWS;
	loop_share(w->loop, work_turn, w);
	for (unsigned i = 0; i < BRINGERS; i++)
		t[i] = start(bring_many, w);
	while (w->done < BRINGERS * NEWS) {
		next = loop_wait(w->loop, mono_earlier(next, late));
		assert_false(mono_reached(late, next));
		next = work_turn(w, next);
	}
	for (unsigned i = 0; i < BRINGERS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_true(w->turns > w->at_home);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_poke_ends_the_wait_of_a_loop_that_is_not_shared),
	    TEST(who_pokes_while_the_loop_waits_does_the_turn),
	    TEST(a_poke_during_a_turn_is_not_forgotten),
	    TEST(a_timer_that_another_thread_sets_in_a_turn_fires),
	    TEST(a_wake_is_for_the_loops_own_thread),
	    TEST(work_after_a_turn_is_done_by_its_thread_and_is_news),
	    TEST(news_does_not_wait_for_work_after_a_turn),
	    TEST(many_threads_bring_news_and_none_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
