/* base/inherit: sockets that a service manager passes, as sd_listen_fds(3)
 * has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/inherit.h"

#define FIRST 3 /* SD_LISTEN_FDS_START */

static int
a_socket(bool listening)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1 || bind(fd, (struct sockaddr *)&in, sizeof in) == -1 ||
	    (listening && listen(fd, 1) == -1))
		_exit(100);
	return fd;
}

/* As after exec by a service manager: what is passed stands from FIRST on. */
static void
pass(int count, const char *names, bool listening)
{
	int fd[4];
	char text[24];

	for (int i = 0; i < count; i++)
		fd[i] = fcntl(a_socket(listening), F_DUPFD, 20);
	for (int i = 0; i < count; i++)
		if (dup2(fd[i], FIRST + i) == -1)
			_exit(101);
	(void)snprintf(text, sizeof text, "%d", count);
	(void)setenv("LISTEN_FDS", text, 1);
	(void)snprintf(text, sizeof text, "%ld", (long)getpid());
	(void)setenv("LISTEN_PID", text, 1);
	(void)setenv("LISTEN_FDNAMES", names, 1);
}

/* The exit status of check() in a child. */
static int
in_child(int (*check)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(check());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
by_name(void)
{
	int data = -2, admin = -2;

	pass(2, "admin:data", true);
	if (inherit_socket("data", &data) != 0 ||
	    inherit_socket("admin", &admin) != 0 || inherit_done() != 0)
		return 1;
	if (data != FIRST + 1 || admin != FIRST || getenv("LISTEN_FDS") != NULL)
		return 2;
	return (fcntl(data, F_GETFL) & O_NONBLOCK) != 0 &&
		       (fcntl(data, F_GETFD) & FD_CLOEXEC) != 0
		   ? 0
		   : 3;
}

static int
only_one(void)
{
	int data = -2, admin = -2;

	pass(1, "data", true);
	if (inherit_socket("data", &data) != 0 ||
	    inherit_socket("admin", &admin) != 0 || inherit_done() != 0)
		return 1;
	return data == FIRST && admin == -1 ? 0 : 2;
}

static int
nothing(void)
{
	int fd = -2;

	return inherit_socket("data", &fd) == 0 && fd == -1 ? inherit_done()
							    : 1;
}

static int
of_another_process(void)
{
	int fd = -2;

	pass(1, "data", true);
	(void)setenv("LISTEN_PID", "1", 1);
	return inherit_socket("data", &fd) == 0 && fd == -1 ? inherit_done()
							    : 1;
}

static int
twice(void)
{
	int fd = -2;

	pass(2, "data:data", true);
	return inherit_socket("data", &fd);
}

static int
without_name(void)
{
	int fd = -2;

	pass(1, "unknown", true);
	return inherit_socket("data", &fd) == 0 ? inherit_done() : 1;
}

static int
not_listening(void)
{
	int fd = -2;

	pass(1, "data", false);
	return inherit_socket("data", &fd);
}

static void
sockets_are_told_apart_by_their_names(void **state)
{
	(void)state;
	assert_int_equal(in_child(by_name), 0);
	assert_int_equal(in_child(only_one), 0);
}

static void
without_any_passed_there_is_none(void **state)
{
	(void)state;
	assert_int_equal(in_child(nothing), 0);
	assert_int_equal(in_child(of_another_process), 0);
}

static void
what_cannot_be_served_is_a_wrong_call(void **state)
{
	(void)state;
	assert_int_equal(in_child(twice), EX_USAGE);
	assert_int_equal(in_child(without_name), EX_USAGE);
	assert_int_equal(in_child(not_listening), EX_USAGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sockets_are_told_apart_by_their_names),
	    cmocka_unit_test(without_any_passed_there_is_none),
	    cmocka_unit_test(what_cannot_be_served_is_a_wrong_call),
	};

	log_open("test", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
