/* cmd/metcd/supervise: the rules of the supervisor, against a record of what
 * it asks for.  Nothing is started and no time passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/log.h"
#include "cmd/metcd/supervise.h"

#define STEADY CHILD_STEADY_MS

/* A wait status as waitpid gives it, see wait(2). */
#define EXITED(code) ((code) << 8)
#define KILLED(signo) (signo)

struct bench {
	struct supervisor s;
	char trace[1024]; /* what was asked for, since the last expect() */
	pid_t next_pid;
	bool fork_fails;
};

static struct bench bench;

static void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
trace(const char *fmt, ...)
{
	size_t len = strlen(bench.trace);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(bench.trace + len, sizeof bench.trace - len, fmt, ap);
	va_end(ap);
}

static pid_t
op_spawn(void *arg, enum child_id id)
{
	(void)arg;
	trace("spawn %s\n", child_name(id));
	return bench.fork_fails ? -1 : bench.next_pid++;
}

static void
op_signal(void *arg, pid_t pid, int signo)
{
	enum child_id id;

	(void)arg;
	assert_true(supervise_find(&bench.s, pid, &id));
	trace("%s %s\n", signo == SIGKILL ? "kill" : "term", child_name(id));
}

static void
op_timer(void *arg, enum child_id id, uint64_t ms)
{
	(void)arg;
	trace("timer %s %u\n", child_name(id), (unsigned)ms);
}

static void
op_all_ready(void *arg)
{
	(void)arg;
	trace("all ready\n");
}

static const struct supervise_ops ops = {
    op_spawn, op_signal, op_timer, op_all_ready};

/* What was asked for since the last call is exactly this. */
static void
expect(const char *text)
{
	assert_string_equal(bench.trace, text);
	bench.trace[0] = '\0';
}

static int
set_up(void **state)
{
	(void)state;
	log_level_set(LOG_ERROR);
	bench = (struct bench){.next_pid = 100};
	supervise_init(&bench.s, &ops, NULL);
	supervise_start(&bench.s);
	expect("spawn kvd\nspawn raftd\nspawn httpd\n");
	return 0;
}

static int
set_up_all_ready(void **state)
{
	(void)set_up(state);
	supervise_ready(&bench.s, CHILD_RAFTD);
	supervise_ready(&bench.s, CHILD_KVD);
	expect("");
	supervise_ready(&bench.s, CHILD_HTTPD);
	expect("all ready\n");
	return 0;
}

static void
dies(enum child_id id, int status, uint64_t ran_ms)
{
	supervise_exited(&bench.s, id, status, ran_ms);
}

/* --- restarts --- */

static void
all_ready_is_said_once(void **state)
{
	(void)state;
	dies(CHILD_KVD, KILLED(SIGKILL), STEADY);
	expect("spawn kvd\n");
	supervise_ready(&bench.s, CHILD_KVD);
	expect("");
}

static void
readiness_that_is_said_twice_is_ignored(void **state)
{
	(void)state;
	supervise_ready(&bench.s, CHILD_KVD);
	expect("");
	assert_int_equal(bench.s.child[CHILD_KVD].state, CHILD_UP);
}

static void
a_killed_child_is_started_again_at_once(void **state)
{
	(void)state;
	dies(CHILD_RAFTD, KILLED(SIGKILL), 100);
	expect("spawn raftd\n");
	assert_int_equal(bench.s.child[CHILD_RAFTD].state, CHILD_STARTING);
	assert_false(supervise_done(&bench.s));
}

static void
a_child_that_keeps_dying_young_waits_longer_and_longer(void **state)
{
	static const unsigned delays[] = {
	    50, 100, 200, 400, 800, 1600, 2000, 2000};
	char text[64];

	(void)state;
	dies(CHILD_KVD, KILLED(SIGSEGV), 1);
	expect("spawn kvd\n");
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		dies(CHILD_KVD, KILLED(SIGSEGV), STEADY - 1);
		(void)snprintf(text, sizeof text, "timer kvd %u\n", delays[i]);
		expect(text);
		supervise_timer(&bench.s, CHILD_KVD);
		expect("spawn kvd\n");
	}
}

static void
a_steady_run_makes_the_next_restart_immediate(void **state)
{
	(void)state;
	dies(CHILD_KVD, EXITED(1), 1);
	dies(CHILD_KVD, EXITED(1), 1);
	expect("spawn kvd\ntimer kvd 50\n");
	supervise_timer(&bench.s, CHILD_KVD);
	dies(CHILD_KVD, EXITED(1), STEADY);
	expect("spawn kvd\nspawn kvd\n");
}

static void
children_wait_apart_from_each_other(void **state)
{
	(void)state;
	dies(CHILD_KVD, EXITED(1), 1);
	dies(CHILD_KVD, EXITED(1), 1);
	dies(CHILD_HTTPD, EXITED(1), 1);
	expect("spawn kvd\ntimer kvd 50\nspawn httpd\n");
}

static void
a_fork_that_fails_is_tried_again(void **state)
{
	(void)state;
	bench.fork_fails = true;
	dies(CHILD_KVD, KILLED(SIGKILL), STEADY);
	expect("spawn kvd\ntimer kvd 2000\n");
	bench.fork_fails = false;
	supervise_timer(&bench.s, CHILD_KVD);
	expect("spawn kvd\n");
}

static void
an_exit_with_0_that_nobody_asked_for_is_a_death(void **state)
{
	(void)state;
	dies(CHILD_HTTPD, EXITED(0), STEADY);
	expect("spawn httpd\n");
}

/* --- exit codes that end everything --- */

static void
assert_ends_with(enum child_id id, int code)
{
	dies(id, EXITED(code), 5);
	assert_true(bench.s.stopping);
	assert_int_equal(bench.s.exit_code, code);
	assert_int_equal(bench.s.child[id].state, CHILD_GONE);
}

static void
wrong_calls_rights_and_configuration_end_everything(void **state)
{
	static const int codes[] = {EX_USAGE, EX_NOPERM, EX_CONFIG};

	for (size_t i = 0; i < 3; i++) {
		(void)set_up_all_ready(state);
		assert_ends_with(CHILD_KVD, codes[i]);
		expect("term httpd\ntimer httpd 600\n");
		dies(CHILD_HTTPD, EXITED(0), STEADY);
		expect("term raftd\ntimer raftd 600\n");
		dies(CHILD_RAFTD, EXITED(0), STEADY);
		expect("");
		assert_true(supervise_done(&bench.s));
		assert_int_equal(bench.s.exit_code, codes[i]);
	}
}

static void
what_the_machine_lacks_ends_all_before_the_first_readiness(void **state)
{
	static const int codes[] = {EX_UNAVAILABLE, EX_IOERR, EX_TEMPFAIL};

	for (size_t i = 0; i < 3; i++) {
		(void)set_up(state);
		assert_ends_with(CHILD_RAFTD, codes[i]);
		expect("term httpd\ntimer httpd 600\n");
	}
}

static void
what_the_machine_lacks_is_waited_for_after_readiness(void **state)
{
	static const int codes[] = {EX_UNAVAILABLE, EX_IOERR, EX_TEMPFAIL};

	for (size_t i = 0; i < 3; i++) {
		(void)set_up_all_ready(state);
		dies(CHILD_RAFTD, EXITED(codes[i]), STEADY);
		expect("spawn raftd\n");
		/* Not ready this time: that it once was is what counts. */
		dies(CHILD_RAFTD, EXITED(codes[i]), 5);
		expect("timer raftd 50\n");
		assert_false(bench.s.stopping);
	}
}

static void
the_first_reason_to_end_decides_the_exit_code(void **state)
{
	(void)state;
	assert_ends_with(CHILD_KVD, EX_USAGE);
	dies(CHILD_RAFTD, EXITED(EX_CONFIG), 5);
	supervise_stop(&bench.s, EX_OK);
	assert_int_equal(bench.s.exit_code, EX_USAGE);
	dies(CHILD_HTTPD, EXITED(0), 5);
	assert_true(supervise_done(&bench.s));
}

/* --- stopping --- */

static void
children_stop_one_after_the_other_httpd_first(void **state)
{
	(void)state;
	supervise_stop(&bench.s, EX_OK);
	expect("term httpd\ntimer httpd 600\n");
	dies(CHILD_HTTPD, EXITED(0), STEADY);
	expect("term raftd\ntimer raftd 600\n");
	dies(CHILD_RAFTD, EXITED(0), STEADY);
	expect("term kvd\ntimer kvd 600\n");
	assert_false(supervise_done(&bench.s));
	dies(CHILD_KVD, EXITED(0), STEADY);
	expect("");
	assert_true(supervise_done(&bench.s));
	assert_int_equal(bench.s.exit_code, 0);
}

static void
a_child_that_does_not_stop_in_time_is_killed(void **state)
{
	(void)state;
	supervise_stop(&bench.s, EX_OK);
	supervise_timer(&bench.s, CHILD_HTTPD);
	expect("term httpd\ntimer httpd 600\nkill httpd\n");
	dies(CHILD_HTTPD, KILLED(SIGKILL), STEADY);
	expect("term raftd\ntimer raftd 600\n");
	assert_int_equal(bench.s.exit_code, 0);
}

static void
a_timer_that_comes_too_late_is_ignored(void **state)
{
	(void)state;
	supervise_stop(&bench.s, EX_OK);
	dies(CHILD_HTTPD, EXITED(0), STEADY);
	bench.trace[0] = '\0';
	supervise_timer(&bench.s, CHILD_HTTPD);
	expect("");
}

static void
nothing_is_started_again_while_stopping(void **state)
{
	(void)state;
	dies(CHILD_RAFTD, EXITED(1), 1);
	dies(CHILD_RAFTD, EXITED(1), 1); /* now it waits for its timer */
	bench.trace[0] = '\0';
	supervise_stop(&bench.s, EX_OK);
	expect("term httpd\ntimer httpd 600\n");
	supervise_timer(&bench.s, CHILD_RAFTD);
	dies(CHILD_KVD, KILLED(SIGKILL), 1); /* before its turn */
	expect("");
	dies(CHILD_HTTPD, EXITED(0), STEADY);
	expect("");
	assert_true(supervise_done(&bench.s));
}

static void
readiness_during_the_stop_is_ignored(void **state)
{
	(void)state;
	supervise_stop(&bench.s, EX_OK);
	supervise_ready(&bench.s, CHILD_HTTPD);
	supervise_ready(&bench.s, CHILD_RAFTD);
	supervise_ready(&bench.s, CHILD_KVD);
	expect("term httpd\ntimer httpd 600\n");
}

static void
killing_ends_all_children_at_once(void **state)
{
	(void)state;
	supervise_stop(&bench.s, EX_OK);
	expect("term httpd\ntimer httpd 600\n");
	supervise_kill(&bench.s);
	expect("kill httpd\nkill raftd\nkill kvd\n");
	dies(CHILD_KVD, KILLED(SIGKILL), STEADY);
	dies(CHILD_HTTPD, KILLED(SIGKILL), STEADY);
	dies(CHILD_RAFTD, KILLED(SIGKILL), STEADY);
	expect("");
	assert_true(supervise_done(&bench.s));
}

static void
a_child_is_found_by_its_pid_while_it_runs(void **state)
{
	enum child_id id = CHILD_HTTPD;

	(void)state;
	assert_true(supervise_find(&bench.s, 101, &id));
	assert_int_equal(id, CHILD_RAFTD);
	dies(CHILD_RAFTD, KILLED(SIGKILL), STEADY);
	assert_false(supervise_find(&bench.s, 101, &id));
	assert_false(supervise_find(&bench.s, -1, &id));
	assert_false(supervise_find(&bench.s, 0, &id));
}

#define EARLY(f) cmocka_unit_test_setup(f, set_up)
#define READY(f) cmocka_unit_test_setup(f, set_up_all_ready)

/* --- restarts that are asked for --- */

static void
a_restart_stops_one_child_and_starts_it_at_once(void **state)
{
	(void)state;
	supervise_restart(&bench.s, CHILD_KVD);
	expect("term kvd\ntimer kvd 600\n");
	supervise_restart(&bench.s, CHILD_KVD); /* it is under way */
	expect("");
	dies(CHILD_KVD, EXITED(0), 10);
	expect("spawn kvd\n");
	supervise_ready(&bench.s, CHILD_KVD);
	expect("");
	dies(CHILD_KVD, KILLED(SIGKILL), 10); /* the first early death */
	expect("spawn kvd\n");
}

static void
a_restart_that_takes_too_long_is_helped(void **state)
{
	(void)state;
	supervise_restart(&bench.s, CHILD_KVD);
	expect("term kvd\ntimer kvd 600\n");
	supervise_timer(&bench.s, CHILD_KVD);
	expect("kill kvd\n");
	dies(CHILD_KVD, KILLED(SIGKILL), 10);
	expect("spawn kvd\n");
}

static void
a_restart_ends_the_wait_for_another_one(void **state)
{
	(void)state;
	dies(CHILD_KVD, KILLED(SIGKILL), 10);
	expect("spawn kvd\n");
	dies(CHILD_KVD, KILLED(SIGKILL), 10);
	expect("timer kvd 50\n");
	supervise_restart(&bench.s, CHILD_KVD);
	expect("spawn kvd\n");
	supervise_timer(&bench.s, CHILD_KVD);
	expect("");
}

static void
a_restart_gives_way_to_the_stop_of_all(void **state)
{
	(void)state;
	supervise_restart(&bench.s, CHILD_KVD);
	expect("term kvd\ntimer kvd 600\n");
	supervise_stop(&bench.s, EX_OK);
	expect("term httpd\ntimer httpd 600\n");
	dies(CHILD_KVD, EXITED(0), 10);
	expect("");
	dies(CHILD_HTTPD, EXITED(0), 10);
	expect("term raftd\ntimer raftd 600\n");
	supervise_restart(&bench.s, CHILD_KVD);
	expect("");
	dies(CHILD_RAFTD, EXITED(0), 10);
	expect("");
	assert_true(supervise_done(&bench.s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    READY(all_ready_is_said_once),
	    READY(readiness_that_is_said_twice_is_ignored),
	    READY(a_killed_child_is_started_again_at_once),
	    READY(a_child_that_keeps_dying_young_waits_longer_and_longer),
	    READY(a_steady_run_makes_the_next_restart_immediate),
	    READY(children_wait_apart_from_each_other),
	    READY(a_fork_that_fails_is_tried_again),
	    READY(an_exit_with_0_that_nobody_asked_for_is_a_death),
	    READY(wrong_calls_rights_and_configuration_end_everything),
	    EARLY(what_the_machine_lacks_ends_all_before_the_first_readiness),
	    READY(what_the_machine_lacks_is_waited_for_after_readiness),
	    EARLY(the_first_reason_to_end_decides_the_exit_code),
	    READY(children_stop_one_after_the_other_httpd_first),
	    READY(a_child_that_does_not_stop_in_time_is_killed),
	    READY(a_timer_that_comes_too_late_is_ignored),
	    READY(nothing_is_started_again_while_stopping),
	    EARLY(readiness_during_the_stop_is_ignored),
	    READY(killing_ends_all_children_at_once),
	    READY(a_child_is_found_by_its_pid_while_it_runs),
	    READY(a_restart_stops_one_child_and_starts_it_at_once),
	    READY(a_restart_that_takes_too_long_is_helped),
	    READY(a_restart_ends_the_wait_for_another_one),
	    READY(a_restart_gives_way_to_the_stop_of_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
