/* For tests of base/log: standard error is a pipe, a socket or a terminal of
 * the test while lines are logged. */
#ifndef TESTS_UNIT_LOG_FIXTURE_H
#define TESTS_UNIT_LOG_FIXTURE_H

#define STAMP_BYTES 24u /* 2026-11-01T12:00:00.123Z */

struct borrowed {
	int kept;    /* what standard error was */
	int read_fd; /* the other end of what it is */
};

/* Closes write_fd, which standard error is from now on. */
struct borrowed borrow(int read_fd, int write_fd);
struct borrowed borrow_pipe(void);
void give_back(struct borrowed b);

/* What is there to be read, without waiting for more; valid until the next
 * call. */
const char *take(int fd);

/* The line that one call of log_fn wrote; as that of take(). */
const char *logged(void (*log_fn)(void));

void log_a_life_event(void); /* info: "became leader term=3" */
void log_a_failure(void);    /* error: "cannot write bytes=5", ENOSPC */

/* Before each test: raftd logs logfmt from info on; alarm() is set. */
int log_fixture_begin(void **state);

#endif
