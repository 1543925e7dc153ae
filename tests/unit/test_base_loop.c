/* base/loop: descriptors, timers and signals as events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"

#define LATE_MS 2000u /* a test that waits this long has failed */

static struct loop *
test_loop(void **state)
{
	return *state;
}

static int
set_up(void **state)
{
	*state = loop_open();
	return 0;
}

static int
tear_down(void **state)
{
	sigset_t none;

	loop_close(*state);
	(void)sigemptyset(&none);
	return pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static struct mono
in_ms(uint64_t ms)
{
	return mono_add_ms(mono_now(), ms);
}

/* --- descriptors --- */

struct seen {
	struct loop *loop;
	int fd; /* an eventfd */
	int calls;
	uint32_t events;
	struct seen *remove; /* taken off by the callback */
};

static void
note(void *arg, uint32_t events)
{
	struct seen *s = arg;

	s->calls++;
	s->events = events;
	if (s->remove != NULL) {
		loop_unwatch(s->loop, s->remove->fd);
		s->remove = NULL;
	}
}

static void
watch_eventfd(struct seen *s, struct loop *l, unsigned value)
{
	*s = (struct seen){.loop = l};
	s->fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(s->fd >= 0);
	loop_watch(l, s->fd, EPOLLIN, note, s);
}

static void
a_ready_descriptor_is_told_until_it_is_read(void **state)
{
	struct loop *l = test_loop(state);
	struct seen s;
	eventfd_t value;

	watch_eventfd(&s, l, 1);
	loop_wait(l, in_ms(LATE_MS));
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(s.calls, 2);
	assert_int_equal(s.events, EPOLLIN);
	assert_int_equal(eventfd_read(s.fd, &value), 0);
	loop_wait(l, (struct mono){0});
	assert_int_equal(s.calls, 2);
	loop_unwatch(l, s.fd);
	close(s.fd);
}

static void
a_callback_may_remove_its_own_watch(void **state)
{
	struct loop *l = test_loop(state);
	struct seen s;

	watch_eventfd(&s, l, 1);
	s.remove = &s;
	loop_wait(l, in_ms(LATE_MS));
	loop_wait(l, (struct mono){0});
	assert_int_equal(s.calls, 1);
	loop_watch(l, s.fd, EPOLLIN, note, &s); /* and it may come back */
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(s.calls, 2);
	close(s.fd);
}

/* Both are ready in the same turn; whichever is called first takes the other
 * one off, which must then not be called. */
static void
a_callback_may_remove_another_watch_that_is_ready(void **state)
{
	struct loop *l = test_loop(state);
	struct seen a;
	struct seen b;

	watch_eventfd(&a, l, 1);
	watch_eventfd(&b, l, 1);
	a.remove = &b;
	b.remove = &a;
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(a.calls + b.calls, 1);
	close(a.fd);
	close(b.fd);
}

static void
a_wait_ends_at_its_limit(void **state)
{
	struct loop *l = test_loop(state);
	struct mono limit = in_ms(20);
	struct mono woken = loop_wait(l, limit);

	assert_true(mono_reached(limit, woken));
	assert_true(mono_ms_since(limit, woken) < LATE_MS);
}

/* --- timers --- */

struct record {
	char names[16]; /* in the order of the calls */
	size_t count;
};

struct named_timer {
	struct loop_timer timer;
	struct record *record;
	char name;
	struct named_timer *stop; /* stopped by the callback */
	bool again;               /* set again at once by the callback */
};

static void
fire(void *arg, struct mono now)
{
	struct named_timer *t = arg;

	assert_true(t->record->count < sizeof t->record->names - 1);
	t->record->names[t->record->count++] = t->name;
	if (t->stop != NULL)
		loop_timer_stop(&t->stop->timer);
	if (t->again)
		loop_timer_set(&t->timer, now);
}

static void
make_timer(struct loop *l, struct named_timer *t, struct record *r, char name)
{
	*t = (struct named_timer){.record = r, .name = name};
	loop_timer_init(l, &t->timer, fire, t);
}

static void
timers_fire_in_the_order_of_their_times(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a, b, c;
	struct mono base = in_ms(1);

	make_timer(l, &a, &r, 'a');
	make_timer(l, &b, &r, 'b');
	make_timer(l, &c, &r, 'c');
	loop_timer_set(&a.timer, mono_add_ms(base, 15));
	loop_timer_set(&b.timer, mono_add_ms(base, 5));
	loop_timer_set(&c.timer, mono_add_ms(base, 10));
	while (r.count < 3)
		loop_wait(l, in_ms(LATE_MS));
	assert_string_equal(r.names, "bca");
}

static void
a_timer_does_not_fire_early_and_only_once(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a;
	struct mono at = in_ms(12);
	struct mono woken = {0};

	make_timer(l, &a, &r, 'a');
	loop_timer_set(&a.timer, at);
	while (r.count < 1)
		woken = loop_wait(l, MONO_NEVER);
	assert_true(mono_reached(at, woken));
	loop_wait(l, in_ms(5));
	assert_int_equal(r.count, 1);
}

static void
timers_of_the_same_time_fire_in_the_order_of_setting(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a, b, c;
	struct mono at = mono_now();

	make_timer(l, &a, &r, 'a');
	make_timer(l, &b, &r, 'b');
	make_timer(l, &c, &r, 'c');
	loop_timer_set(&b.timer, at);
	loop_timer_set(&a.timer, at);
	loop_timer_set(&c.timer, at);
	loop_wait(l, in_ms(LATE_MS));
	assert_string_equal(r.names, "bac");
}

static void
a_stopped_timer_does_not_fire(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a;

	make_timer(l, &a, &r, 'a');
	loop_timer_stop(&a.timer); /* not armed: allowed */
	loop_timer_set(&a.timer, mono_now());
	loop_timer_stop(&a.timer);
	loop_wait(l, (struct mono){0});
	assert_int_equal(r.count, 0);
}

static void
a_timer_that_is_set_again_keeps_only_the_new_time(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a;

	make_timer(l, &a, &r, 'a');
	loop_timer_set(&a.timer, mono_now());
	loop_timer_set(&a.timer, in_ms(LATE_MS));
	loop_wait(l, in_ms(3));
	assert_int_equal(r.count, 0);
	loop_timer_set(&a.timer, mono_now());
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(r.count, 1);
	loop_timer_set(&a.timer, MONO_NEVER);
	loop_wait(l, (struct mono){0});
	assert_int_equal(r.count, 1);
}

static void
a_callback_may_stop_a_timer_that_is_due_with_it(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a, b, c;
	struct mono at = mono_now();

	make_timer(l, &a, &r, 'a');
	make_timer(l, &b, &r, 'b');
	make_timer(l, &c, &r, 'c');
	a.stop = &b;
	loop_timer_set(&a.timer, at);
	loop_timer_set(&b.timer, at);
	loop_timer_set(&c.timer, at);
	loop_wait(l, in_ms(LATE_MS));
	assert_string_equal(r.names, "ac");
}

/* Otherwise one timer could keep all descriptors from being served. */
static void
a_timer_that_sets_itself_again_waits_for_the_next_turn(void **state)
{
	struct loop *l = test_loop(state);
	struct record r = {0};
	struct named_timer a;

	make_timer(l, &a, &r, 'a');
	a.again = true;
	loop_timer_set(&a.timer, mono_now());
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(r.count, 1);
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(r.count, 2);
	loop_timer_stop(&a.timer);
}

/* --- signals --- */

struct signals {
	int count;
	int last;
};

static void
note_signal(void *arg, int signo)
{
	struct signals *s = arg;

	s->count++;
	s->last = signo;
}

static void
a_signal_is_an_event_of_the_loop(void **state)
{
	static const int list[] = {SIGTERM, SIGUSR1, 0};
	struct loop *l = test_loop(state);
	struct signals s = {0};

	loop_signals(l, list, note_signal, &s);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(s.count, 0);
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(s.count, 1);
	assert_int_equal(s.last, SIGUSR1);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(s.last, SIGTERM);
}

static void
two_signals_at_once_are_two_events(void **state)
{
	static const int list[] = {SIGUSR2, SIGUSR1, 0};
	struct loop *l = test_loop(state);
	struct signals s = {0};

	loop_signals(l, list, note_signal, &s);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	loop_wait(l, in_ms(LATE_MS));
	assert_int_equal(s.count, 2);
}

static void
writing_to_a_closed_pipe_does_not_end_the_process(void **state)
{
	static const int none[] = {0};
	struct signals s = {0};
	int fds[2];

	loop_signals(test_loop(state), none, note_signal, &s);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(write(fds[1], "x", 1), -1);
	close(fds[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_ready_descriptor_is_told_until_it_is_read),
	    TEST(a_callback_may_remove_its_own_watch),
	    TEST(a_callback_may_remove_another_watch_that_is_ready),
	    TEST(a_wait_ends_at_its_limit),
	    TEST(timers_fire_in_the_order_of_their_times),
	    TEST(a_timer_does_not_fire_early_and_only_once),
	    TEST(timers_of_the_same_time_fire_in_the_order_of_setting),
	    TEST(a_stopped_timer_does_not_fire),
	    TEST(a_timer_that_is_set_again_keeps_only_the_new_time),
	    TEST(a_callback_may_stop_a_timer_that_is_due_with_it),
	    TEST(a_timer_that_sets_itself_again_waits_for_the_next_turn),
	    TEST(a_signal_is_an_event_of_the_loop),
	    TEST(two_signals_at_once_are_two_events),
	    TEST(writing_to_a_closed_pipe_does_not_end_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
