/* Standard error, borrowed by tests of the log; see log_fixture.h. */
#include "tests/unit/log_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define OUTPUT_BYTES (1u << 20)
#define STUCK_SECONDS 20u

struct borrowed
borrow(int read_fd, int write_fd)
{
	struct borrowed b = {.kept = dup(STDERR_FILENO), .read_fd = read_fd};

	assert_int_equal(dup2(write_fd, STDERR_FILENO), STDERR_FILENO);
	close(write_fd);
	return b;
}

struct borrowed
borrow_pipe(void)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	return borrow(fds[0], fds[1]);
}

void
give_back(struct borrowed b)
{
	assert_int_equal(dup2(b.kept, STDERR_FILENO), STDERR_FILENO);
	close(b.kept);
	close(b.read_fd);
}

const char *
take(int fd)
{
	static char text[OUTPUT_BYTES];
	size_t len = 0;
	ssize_t n;

	assert_int_not_equal(
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), -1);
	while ((n = read(fd, text + len, sizeof text - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

const char *
logged(void (*log_fn)(void))
{
	struct borrowed b = borrow_pipe();
	const char *text;

	log_fn();
	text = take(b.read_fd);
	give_back(b);
	return text;
}

void
log_a_life_event(void)
{
	log_info("became leader term=%d", 3);
}

void
log_a_failure(void)
{
	errno = ENOSPC;
	log_error("cannot write bytes=%d", 5);
	assert_int_equal(errno, ENOSPC);
}

int
log_fixture_begin(void **state)
{
	(void)state;
	(void)unsetenv("JOURNAL_STREAM");
	log_open("raftd", 0);
	log_level_set(LOG_INFO);
	log_format_set(LOG_LOGFMT);
	(void)alarm(STUCK_SECONDS);
	return 0;
}
