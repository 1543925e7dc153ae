/* base/watchdog: fed by a loop that turns, and only by that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/watchdog.h"

#define LIMIT_US "200000"
#define EVERY_MS 100u
#define LATE_MS 5000 /* a test that waits this long has failed */

/* The service manager's end; NOTIFY_SOCKET is set to it. */
static int
open_manager(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);
	char address[sizeof name.sun_path + 1] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
	len = sizeof name;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	memcpy(address, name.sun_path, len - sizeof(sa_family_t));
	address[0] = '@';
	assert_int_equal(setenv("NOTIFY_SOCKET", address, 1), 0);
	return fd;
}

static int
feedings(int fd)
{
	char text[64];
	int count = 0;
	ssize_t n;

	while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0) {
		assert_int_equal(n, 10);
		assert_memory_equal(text, "WATCHDOG=1", 10);
		count++;
	}
	return count;
}

/* In a child: the watchdog is one per process.  Its exit status is check()'s;
 * cmocka's failures there end it with another one. */
static void
in_child(int (*check)(struct loop *l, int fd), const char *usec, long pid)
{
	pid_t child = fork();
	int status = 0;

	assert_int_not_equal(child, -1);
	if (child == 0) {
		int fd = open_manager();
		char text[24];

		(void)snprintf(
		    text, sizeof text, "%ld", pid != 0 ? pid : (long)getpid());
		(void)setenv("WATCHDOG_PID", text, 1);
		if (usec != NULL)
			(void)setenv("WATCHDOG_USEC", usec, 1);
		else
			(void)unsetenv("WATCHDOG_USEC");
		_exit(check(loop_open(), fd));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* An idle loop, until it was fed often enough. */
static int
fed_five_times_when_idle(struct loop *l, int fd)
{
	struct mono start = mono_now(), limit = mono_add_ms(start, LATE_MS);
	int count = 0;

	watchdog_start(l);
	while (count < 5 && !mono_reached(limit, mono_now())) {
		(void)loop_wait(l, limit);
		count += feedings(fd);
	}
	/* The first at once; not more often than every EVERY_MS. */
	return count == 5 && mono_ms_since(start, mono_now()) >= 4 * EVERY_MS
		   ? 0
		   : 1;
}

/* Once at the start; then the loop does not turn. */
static int
not_fed_when_stuck(struct loop *l, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	watchdog_start(l);
	if (feedings(fd) != 1)
		return 1;
	return poll(&p, 1, 5 * EVERY_MS) == 0 ? 0 : 1;
}

static int
never_fed(struct loop *l, int fd)
{
	struct mono limit = mono_add_ms(mono_now(), 3 * EVERY_MS);

	watchdog_start(l);
	while (!mono_reached(limit, mono_now()))
		(void)loop_wait(l, limit);
	return feedings(fd) == 0 ? 0 : 1;
}

static void
an_idle_loop_feeds_twice_as_often_as_asked_for(void **state)
{
	(void)state;
	in_child(fed_five_times_when_idle, LIMIT_US, 0);
}

static void
a_loop_that_does_not_turn_feeds_no_more(void **state)
{
	(void)state;
	in_child(not_fed_when_stuck, LIMIT_US, 0);
}

static void
nothing_is_fed_without_a_watchdog_or_with_anothers(void **state)
{
	(void)state;
	in_child(never_fed, NULL, 0);
	in_child(never_fed, LIMIT_US, 1); /* of pid 1 */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_idle_loop_feeds_twice_as_often_as_asked_for),
	    cmocka_unit_test(a_loop_that_does_not_turn_feeds_no_more),
	    cmocka_unit_test(
		nothing_is_fed_without_a_watchdog_or_with_anothers),
	};

	log_open("test", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
