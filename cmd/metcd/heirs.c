/* The lock that the children hold; see heirs.h. */
#include "cmd/metcd/heirs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mono.h"

#define LOCK_NAME "LOCK.children"
#define WAIT_MS 3000u
#define ALARM_MS 100u

static void
on_alarm(int signo)
{
	(void)signo; /* it is here to interrupt flock */
}

/* flock knows no time-out, so a signal ends it now and then.  It comes again
 * and again: one that arrives just before flock blocks does no harm. */
static int
flock_for(int fd, uint64_t wait_ms)
{
	const struct mono limit = mono_add_ms(mono_now(), wait_ms);
	const struct sigaction act = {.sa_handler = on_alarm};
	const struct itimerval every = {
	    .it_value = {.tv_usec = ALARM_MS * 1000},
	    .it_interval = {.tv_usec = ALARM_MS * 1000}};
	const struct itimerval off = {.it_value = {.tv_usec = 0}};
	struct sigaction before;
	int rc;

	if (sigaction(SIGALRM, &act, &before) == -1 ||
	    setitimer(ITIMER_REAL, &every, NULL) == -1)
		return -1;
	do
		rc = flock(fd, LOCK_EX);
	while (rc == -1 && errno == EINTR && !mono_reached(limit, mono_now()));
	(void)setitimer(ITIMER_REAL, &off, NULL); /* known to be valid */
	(void)sigaction(SIGALRM, &before, NULL);
	return rc;
}

int
heirs_lock(const char *dir, int *fdp)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s", dir, LOCK_NAME);
	int fd = -1;

	if (n > 0 && (size_t)n < sizeof path)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1) {
		log_error("cannot open lock file %s/%s", dir, LOCK_NAME);
		return EX_IOERR;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		log_info("waiting for processes of an earlier run to end");
		if (flock_for(fd, WAIT_MS) == -1) {
			log_error("processes of an earlier run still use %s; "
				  "stop them or choose another --data-dir",
			    dir);
			(void)close(fd); /* nothing was written */
			return EX_TEMPFAIL;
		}
	}
	*fdp = fd;
	return 0;
}
