/* One line per event on standard error; see log.h.
 *
 * Nothing here allocates, so that it can tell that memory is out.  Helper
 * threads may log: a line is made and written under one mutex.
 *
 * Why not O_NONBLOCK on descriptor 2, and no thread that does the writing: the
 * open file description is shared with whoever started us, and a line in the
 * queue of a thread is lost when the process is killed, which is when it
 * matters.  See put_unhurried(). */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/log_json.h"

#define TIME_BYTES 32u
#define TELL_INTERVAL_MS 200
#define EXIT_WAIT_MS 500

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

/* sd-daemon(3) */
static const char *const level_priorities[] = {
    [LOG_DEBUG] = "<7>",
    [LOG_INFO] = "<6>",
    [LOG_WARN] = "<4>",
    [LOG_ERROR] = "<3>",
};

static const char *const format_names[] = {
    [LOG_LOGFMT] = "logfmt",
    [LOG_JSON] = "json",
};

static const char *process_name = "metcd";
static _Atomic uint64_t node_id;
static _Atomic int level_least = LOG_INFO;
static _Atomic int format_now = LOG_LOGFMT;

/* Under the mutex: what did not get out. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool torn;                  /* the last write ended within a line */
static _Atomic uint64_t lost;      /* lines; read without the mutex too */
static struct log_line last_error; /* one of them, the newest at error; len 0 */

/* --- settings --- */

/* A process that is started with standard error closed would get descriptor 2
 * for one of its files, and write its log lines into it. */
static void
fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) == -1)
			(void)open("/dev/null", O_RDWR); /* the lowest: fd */
	}
}

static void tell_at_exit(void);

void
log_open(const char *process, uint64_t node)
{
	static bool opened;

	fill_standard_descriptors();
	process_name = process;
	log_node(node);
	if (!opened)
		opened = atexit(tell_at_exit) == 0; /* else: not told */
}

void
log_node(uint64_t node)
{
	atomic_store_explicit(&node_id, node, memory_order_relaxed);
}

void
log_level_set(enum log_level least)
{
	atomic_store_explicit(&level_least, (int)least, memory_order_relaxed);
}

void
log_format_set(enum log_format format)
{
	atomic_store_explicit(&format_now, (int)format, memory_order_relaxed);
}

/* The place of name among count names, or -1. */
static int
find_name(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	}
	return -1;
}

int
log_level_parse(const char *name, enum log_level *level)
{
	int found = find_name(name, level_names, LOG_ERROR + 1);

	if (found == -1)
		return -1;
	*level = (enum log_level)found;
	return 0;
}

int
log_format_parse(const char *name, enum log_format *format)
{
	int found = find_name(name, format_names, LOG_JSON + 1);

	if (found == -1)
		return -1;
	*format = (enum log_format)found;
	return 0;
}

/* --- a line --- */

/* The first byte is '\n', which put() may leave out. */
static void
line_begin(struct log_line *l)
{
	l->text[0] = '\n';
	l->len = 1;
}

/* Append formatted text; what does not fit is cut off, leaving one byte for
 * the end of the line. */
static void __attribute__((format(printf, 2, 0)))
line_vadd(struct log_line *l, const char *fmt, va_list ap)
{
	size_t room = sizeof l->text - 1 - l->len;
	int n = vsnprintf(l->text + l->len, room, fmt, ap);

	if (n > 0)
		l->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void __attribute__((format(printf, 2, 3)))
line_add(struct log_line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_vadd(l, fmt, ap);
	va_end(ap);
}

static void
format_time(char out[TIME_BYTES])
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	/* Neither can fail for the current time. */
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(
	    out + n, TIME_BYTES - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

/* An event is one line whatever stands in a path or in an argument. */
static void
line_end(struct log_line *l, size_t from)
{
	for (size_t i = from; i < l->len; i++) {
		if ((unsigned char)l->text[i] < ' ' || l->text[i] == 0x7f)
			l->text[i] = '?';
	}
	l->text[l->len++] = '\n';
}

static void __attribute__((format(printf, 4, 0)))
make_logfmt(struct log_line *l, const struct log_event *e, bool journal,
    const char *fmt, va_list ap)
{
	size_t from = l->len;

	if (!journal)
		line_add(l, "%s ", e->time);
	line_add(l, "%-5s %s", e->level, e->process);
	if (e->node != 0)
		line_add(l, "[%" PRIu64 "]", e->node);
	line_add(l, " ");
	line_vadd(l, fmt, ap);
	if (e->error != NULL)
		line_add(l, ": %s", e->error);
	line_end(l, from);
}

/* --- where lines go --- */

/* Standard error, as of now. */
struct sink {
	mode_t type; /* S_IFIFO, ...; 0: unknown */
	bool journal;
};

/* $JOURNAL_STREAM is DEVICE:INODE; inherited, so it need not be ours. */
static bool
is_journal(const struct stat *st)
{
	const char *given = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;

	return given != NULL && sscanf(given, "%ju:%ju", &dev, &ino) == 2 &&
	       dev == st->st_dev && ino == st->st_ino;
}

static struct sink
find_sink(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) == -1)
		return (struct sink){0};
	return (struct sink){
	    .type = st.st_mode & S_IFMT, .journal = is_journal(&st)};
}

/* To a pipe or terminal, without waiting, and without O_NONBLOCK on what we
 * share.  Three ways: RWF_NOWAIT (pipes, since Linux 6.4); an open file
 * description of our own (needs /proc, and the right to open it: a pipe made
 * by another user cannot be); or to look first, where another process could
 * take the last room between the look and the write. */
static ssize_t
put_unhurried(const char *text, size_t n)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = n};
	struct pollfd look = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t done = pwritev2(STDERR_FILENO, &part, 1, -1, RWF_NOWAIT);
	int fd;

	if (done != -1 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return done;
	fd = open("/proc/self/fd/2",
	    O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND | O_CLOEXEC);
	if (fd != -1) {
		done = write(fd, text, n);
		(void)close(fd); /* descriptor 2 holds it open */
		return done;
	}
	if (poll(&look, 1, 0) != 1 || (look.revents & POLLOUT) == 0)
		return -1;
	return write(STDERR_FILENO, text, n);
}

/* Write a line whole; false if it was not taken.  After one of which only a
 * part was taken (by a terminal, a full disk), the next begins with an end of
 * line. */
static bool
put(const struct log_line *l, const struct sink *to)
{
	const char *text = l->text + (torn ? 0 : 1);
	size_t n = l->len - (torn ? 0 : 1);
	ssize_t done;

	assert(l->len > 1 && l->len <= sizeof l->text);
	if (to->type == S_IFSOCK)
		done =
		    send(STDERR_FILENO, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (to->type == S_IFIFO || to->type == S_IFCHR)
		done = put_unhurried(text, n);
	else
		done = write(STDERR_FILENO, text, n);
	if (done > 0)
		torn = (size_t)done < n;
	return done == (ssize_t)n;
}

static const char *
cause_text(int cause)
{
	const char *text = strerrordesc_np(cause);

	return text != NULL ? text : "unknown error";
}

/* cause: an errno to name, or 0. */
static void __attribute__((format(printf, 5, 0)))
vmake(struct log_line *l, const struct sink *to, enum log_level level,
    int cause, const char *fmt, va_list ap)
{
	char time[TIME_BYTES];
	struct log_event e = {.time = time,
	    .level = level_names[level],
	    .process = process_name,
	    .node = atomic_load_explicit(&node_id, memory_order_relaxed),
	    .error = cause != 0 ? cause_text(cause) : NULL};

	format_time(time);
	line_begin(l);
	if (to->journal)
		line_add(l, "%s", level_priorities[level]);
	if (atomic_load_explicit(&format_now, memory_order_relaxed) == LOG_JSON)
		log_json(l, &e, fmt, ap);
	else
		make_logfmt(l, &e, to->journal, fmt, ap);
}

static void __attribute__((format(printf, 4, 5))) make(struct log_line *l,
    const struct sink *to, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmake(l, to, level, 0, fmt, ap);
	va_end(ap);
}

/* --- lines that were lost --- */

static uint64_t
lost_now(void)
{
	return atomic_load_explicit(&lost, memory_order_relaxed);
}

static void
lost_set(uint64_t n)
{
	atomic_store_explicit(&lost, n, memory_order_relaxed);
}

/* Under the mutex.  False while there is no room, true when nothing is left to
 * be told. */
static bool
tell_lost(const struct sink *to)
{
	static struct log_line l;

	if (last_error.len > 0) {
		if (!put(&last_error, to))
			return false;
		last_error.len = 0;
		lost_set(lost_now() - 1);
	}
	if (lost_now() > 0) {
		make(&l, to, LOG_WARN, "log lines lost n=%" PRIu64, lost_now());
		if (!put(&l, to))
			return false;
		lost_set(0);
	}
	return true;
}

/* True, and *at is now, when the interval has passed since *at. */
static bool
interval_passed(struct timespec *at)
{
	struct timespec now;
	int64_t ms;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* cannot fail */
	ms = (now.tv_sec - at->tv_sec) * 1000 +
	     (now.tv_nsec - at->tv_nsec) / 1000000;
	if (ms < TELL_INTERVAL_MS)
		return false;
	*at = now;
	return true;
}

void
log_tell_lost(void)
{
	static struct timespec tried_at; /* under the mutex */
	struct sink to;
	int errno_kept = errno;

	if (lost_now() == 0)
		return;
	(void)pthread_mutex_lock(&mutex); /* cannot fail: never held twice */
	if (interval_passed(&tried_at)) {
		to = find_sink();
		(void)tell_lost(&to); /* else: again later */
	}
	(void)pthread_mutex_unlock(&mutex);
	errno = errno_kept;
}

/* An error that was lost may be why the process ends: that is worth a moment's
 * patience. */
static void
tell_at_exit(void)
{
	struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
	struct sink to = find_sink();

	(void)pthread_mutex_lock(&mutex);
	if (!tell_lost(&to) && last_error.len > 0 &&
	    poll(&room, 1, EXIT_WAIT_MS) == 1)
		(void)tell_lost(&to); /* else there is no way to say it */
	(void)pthread_mutex_unlock(&mutex);
}

/* --- events --- */

/* cause: an errno to name, or 0.  errno is kept. */
static void __attribute__((format(printf, 3, 0)))
emit(enum log_level level, int cause, const char *fmt, va_list ap)
{
	static struct log_line l; /* under the mutex */
	int errno_kept = errno;
	struct sink to;

	if ((int)level <
	    atomic_load_explicit(&level_least, memory_order_relaxed))
		return;
	to = find_sink();
	(void)pthread_mutex_lock(&mutex);
	vmake(&l, &to, level, cause, fmt, ap);
	if (!tell_lost(&to) || !put(&l, &to)) {
		lost_set(lost_now() + 1);
		if (level == LOG_ERROR)
			last_error = l;
	}
	(void)pthread_mutex_unlock(&mutex);
	errno = errno_kept;
}

#define EMIT(level, cause)                                                     \
	do {                                                                   \
		va_list ap;                                                    \
		va_start(ap, fmt);                                             \
		emit((level), (cause), fmt, ap);                               \
		va_end(ap);                                                    \
	} while (0)

void
log_error(const char *fmt, ...)
{
	EMIT(LOG_ERROR, errno);
}

void
log_errorx(const char *fmt, ...)
{
	EMIT(LOG_ERROR, 0);
}

void
log_warn(const char *fmt, ...)
{
	EMIT(LOG_WARN, errno);
}

void
log_warnx(const char *fmt, ...)
{
	EMIT(LOG_WARN, 0);
}

void
log_info(const char *fmt, ...)
{
	EMIT(LOG_INFO, 0);
}

void
log_debug(const char *fmt, ...)
{
	EMIT(LOG_DEBUG, 0);
}
