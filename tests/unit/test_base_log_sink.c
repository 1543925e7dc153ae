/* base/log: a sink that takes no lines is not waited for.
 *
 * A call that did wait would wait for ever: alarm() ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/log_fixture.h"

#define OUTPUT_BYTES (1u << 20)
#define THREADS 4
#define LINES_PER_THREAD 3000

/* --- kernels and rights that this machine need not have --- */

enum ways {
	ALL_WAYS,
	NO_NOWAIT, /* pipes before Linux 6.4 */
	ONLY_POLL  /* and a pipe that another user made */
};

static enum ways ways;

ssize_t __real_pwritev2(
    int fd, const struct iovec *iov, int count, off_t at, int flags);
ssize_t __wrap_pwritev2(
    int fd, const struct iovec *iov, int count, off_t at, int flags);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

ssize_t
__wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	if (ways == ALL_WAYS)
		return __real_pwritev2(fd, iov, count, at, flags);
	errno = EOPNOTSUPP;
	return -1;
}

/* What is linked here opens nothing that would be created. */
int
__wrap_open(const char *path, int flags, ...)
{
	if (ways != ONLY_POLL)
		return __real_open(path, flags);
	errno = EACCES;
	return -1;
}

/* Write until nothing more is taken, in large and then in small pieces. */
static void
fill(int fd)
{
	static const char text[4096];
	int flags = fcntl(fd, F_GETFL);

	assert_int_not_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), -1);
	for (size_t n = sizeof text; n > 0; n /= 2) {
		while (write(fd, text, n) > 0) {
		}
	}
	assert_int_equal(errno, EAGAIN);
	assert_int_not_equal(fcntl(fd, F_SETFL, flags), -1);
}

static unsigned
count_lines(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what)) != NULL) {
		n++;
		text += strlen(what);
	}
	return n;
}

/* The sum of all "log lines lost n=". */
static uint64_t
lost_said(const char *text)
{
	static const char phrase[] = "log lines lost n=";
	uint64_t sum = 0;

	while ((text = strstr(text, phrase)) != NULL) {
		text += sizeof phrase - 1;
		sum += strtoull(text, NULL, 10);
	}
	return sum;
}

/* --- a sink that takes nothing --- */

/* Log while the sink is full, then make room: nothing waits, and what was lost
 * is said before the next line. */
static void
lines_are_lost_and_counted(struct borrowed b)
{
	int flags = fcntl(STDERR_FILENO, F_GETFL);
	const char *text;

	fill(STDERR_FILENO);
	for (int i = 0; i < 5; i++)
		log_a_life_event();
	assert_int_equal(fcntl(STDERR_FILENO, F_GETFL), flags);
	text = take(b.read_fd);
	assert_int_equal(flags & O_NONBLOCK, 0);
	log_warnx("there is room");
	log_warnx("and more");
	text = take(b.read_fd);
	give_back(b);
	assert_int_equal(count_lines(text, "\n"), 3);
	assert_non_null(strstr(text, " warn  raftd log lines lost n=5\n"));
	text = strstr(text, "n=5\n") + 4;
	assert_string_equal(
	    strstr(text, "raftd "), strstr(text, "raftd there is room\n"));
	assert_non_null(strstr(text, "raftd and more\n"));
}

static void
a_full_pipe_is_not_waited_for(void **state)
{
	(void)state;
	lines_are_lost_and_counted(borrow_pipe());
}

static void
a_full_pipe_is_not_waited_for_on_older_kernels(void **state)
{
	(void)state;
	ways = NO_NOWAIT;
	lines_are_lost_and_counted(borrow_pipe());
}

static void
a_full_pipe_of_another_user_is_not_waited_for(void **state)
{
	(void)state;
	ways = ONLY_POLL;
	lines_are_lost_and_counted(borrow_pipe());
}

static void
a_full_socket_is_not_waited_for(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	lines_are_lost_and_counted(borrow(fds[0], fds[1]));
}

/* As by Ctrl-S. */
static void
a_stopped_terminal_is_not_waited_for(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	struct termios mode;
	struct borrowed b;
	const char *text;
	int slave;

	(void)state;
	assert_true(master != -1);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave != -1);
	assert_int_equal(tcgetattr(slave, &mode), 0);
	cfmakeraw(&mode);
	assert_int_equal(tcsetattr(slave, TCSANOW, &mode), 0);
	b = borrow(master, slave);
	assert_int_equal(tcflow(STDERR_FILENO, TCOOFF), 0);
	for (int i = 0; i < 3; i++)
		log_a_life_event();
	assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
	log_warnx("there is room");
	text = take(b.read_fd);
	give_back(b);
	assert_int_equal(lost_said(text), 3);
	assert_non_null(strstr(text, "raftd there is room\n"));
}

static void
what_was_lost_is_said_without_a_next_line(void **state)
{
	struct borrowed b = borrow_pipe();
	const char *text;

	(void)state;
	fill(STDERR_FILENO);
	log_a_life_event();
	log_a_life_event();
	log_tell_lost(); /* not yet; and not again before its interval ends */
	(void)take(b.read_fd);
	do {
		log_tell_lost();
		text = take(b.read_fd);
	} while (text[0] == '\0'); /* alarm() ends it */
	assert_string_equal(
	    text + STAMP_BYTES, " warn  raftd log lines lost n=2\n");
	log_tell_lost();
	log_a_life_event();
	text = take(b.read_fd);
	give_back(b);
	assert_string_equal(
	    text + STAMP_BYTES, " info  raftd became leader term=3\n");
}

/* A file that may not grow for a while: the next line does not join the part
 * that stands there. */
static void
a_line_that_was_cut_ends_before_the_next(void **state)
{
	char name[] = "/tmp/test_base_log.XXXXXX";
	int fd = mkostemp(name, O_APPEND);
	int read_fd = open(name, O_RDONLY);
	struct borrowed b = borrow(read_fd, fd);
	struct rlimit kept, small;
	const char *text;

	(void)state;
	assert_int_equal(unlink(name), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
	small = kept;
	small.rlim_cur = 30;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	log_a_life_event();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
	log_a_life_event();
	text = take(b.read_fd);
	give_back(b);
	assert_int_equal(count_lines(text, "\n"), 3);
	assert_int_equal(strcspn(text, "\n"), 30);
	text = strchr(text, '\n') + 1;
	assert_memory_equal(
	    text + STAMP_BYTES, " warn  raftd log lines lost n=1\n", 32);
	text = strchr(text, '\n') + 1;
	assert_string_equal(
	    text + STAMP_BYTES, " info  raftd became leader term=3\n");
}

/* --- many threads --- */

struct writer {
	pthread_t thread;
	int number;
};

static atomic_int writers_done;

static void
log_number(int of, int i)
{
	log_info("line of=%d i=%d pad=%0200d end", of, i, 0);
}

static void *
write_lines(void *arg)
{
	const struct writer *w = arg;

	for (int i = 0; i < LINES_PER_THREAD; i++)
		log_number(w->number, i);
	atomic_fetch_add(&writers_done, 1);
	return NULL;
}

/* Lines of the threads as they were read: whole, each thread's in order. */
static unsigned
check_lines(char *text)
{
	int last[THREADS] = {-1, -1, -1, -1};
	unsigned n = 0;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		int of = -1, i = -1;

		assert_int_equal(strspn(line, "0123456789-T:.Z"), STAMP_BYTES);
		if (strstr(line, "log lines lost n=") != NULL)
			continue;
		assert_int_equal(sscanf(line + STAMP_BYTES,
				     " info raftd line of=%d i=%d", &of, &i),
		    2);
		assert_string_equal(line + strlen(line) - 5, "0 end");
		assert_in_range(of, 0, THREADS - 1);
		assert_true(i > last[of]);
		last[of] = i;
		n++;
	}
	return n;
}

/* Threads log to a small pipe whose reader looks away now and then; text is
 * what came out of it, the last line being one that was logged in peace. */
static void
write_with_threads(char *text)
{
	struct borrowed b = borrow_pipe();
	struct writer writers[THREADS];
	const char *more;
	size_t len = 0;

	assert_true(fcntl(b.read_fd, F_SETPIPE_SZ, 8192) > 0);
	atomic_store(&writers_done, 0);
	for (int i = 0; i < THREADS; i++) {
		writers[i].number = i;
		assert_int_equal(pthread_create(&writers[i].thread, NULL,
				     write_lines, &writers[i]),
		    0);
	}
	for (bool last = false; !last;) {
		last = atomic_load(&writers_done) == THREADS;
		more = take(b.read_fd);
		memcpy(text + len, more, strlen(more));
		len += strlen(more);
		(void)sched_yield();
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
	log_number(0, LINES_PER_THREAD);
	more = take(b.read_fd);
	memcpy(text + len, more, strlen(more) + 1);
	give_back(b);
}

static void
threads_write_whole_lines_in_order_and_all_are_counted(void **state)
{
	static char text[THREADS * LINES_PER_THREAD * 400];

	(void)state;
	for (ways = ALL_WAYS; ways <= ONLY_POLL; ways++) {
		uint64_t lost;

		write_with_threads(text);
		lost = lost_said(text);
		assert_int_equal(
		    check_lines(text) + lost, THREADS * LINES_PER_THREAD + 1);
	}
}

/* --- the end of a process --- */

struct ending {
	struct borrowed out; /* full when the child logs */
	pid_t pid;
};

/* A process that logs when its sink is full, and ends; it has logged when this
 * returns. */
static struct ending
end_with_a_full_sink(void (*log_fn)(void))
{
	struct ending e = {.out = borrow_pipe()};
	char byte;
	int said[2];

	fill(STDERR_FILENO);
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	e.pid = fork();
	if (e.pid == 0) {
		log_a_life_event();
		log_fn();
		(void)close(said[1]);
		(void)close(said[0]);
		exit(3);
	}
	assert_true(e.pid > 0);
	close(said[1]);
	assert_int_equal(read(said[0], &byte, 1), 0);
	close(said[0]);
	return e;
}

/* What is in the sink when the process has ended. */
static const char *
wait_for_end(struct ending e)
{
	const char *text;
	int status;

	assert_int_equal(waitpid(e.pid, &status, 0), e.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	text = take(e.out.read_fd);
	give_back(e.out);
	return text;
}

static void
the_last_error_is_waited_for_at_the_end(void **state)
{
	static char filling[OUTPUT_BYTES];
	struct ending e = end_with_a_full_sink(log_a_failure);
	const char *text;

	(void)state;
	/* One read: what is written meanwhile stays there. */
	assert_true(read(e.out.read_fd, filling, sizeof filling) > 0);
	text = wait_for_end(e);
	assert_string_equal(strstr(text, "error"),
	    strstr(text,
		"error raftd cannot write bytes=5: No space left on device\n"));
	assert_int_equal(count_lines(text, "\n"), 2);
	assert_int_equal(lost_said(text), 1);
}

static void
a_sink_that_stays_full_does_not_keep_a_process(void **state)
{
	(void)state;
	/* alarm() ends what does not end */
	(void)wait_for_end(end_with_a_full_sink(log_a_failure));
	(void)wait_for_end(end_with_a_full_sink(log_a_life_event));
}

static int
begin(void **state)
{
	ways = ALL_WAYS;
	return log_fixture_begin(state);
}

#define TEST(f) cmocka_unit_test_setup(f, begin)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_full_pipe_is_not_waited_for),
	    TEST(a_full_pipe_is_not_waited_for_on_older_kernels),
	    TEST(a_full_pipe_of_another_user_is_not_waited_for),
	    TEST(a_full_socket_is_not_waited_for),
	    TEST(a_stopped_terminal_is_not_waited_for),
	    TEST(what_was_lost_is_said_without_a_next_line),
	    TEST(a_line_that_was_cut_ends_before_the_next),
	    TEST(threads_write_whole_lines_in_order_and_all_are_counted),
	    TEST(the_last_error_is_waited_for_at_the_end),
	    TEST(a_sink_that_stays_full_does_not_keep_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
