/* One line per event on standard error; see log.h.
 *
 * Nothing here allocates, so that it can tell that memory is out.  Helper
 * threads may log: the only state that changes after the start is atomic. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048u

struct line {
	char text[LINE_BYTES_MAX];
	size_t len;
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

static const char *process_name = "metcd";
static _Atomic uint64_t node_id;
static _Atomic int level_least = LOG_INFO;

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

void
log_open(const char *process, uint64_t node)
{
	fill_standard_descriptors();
	process_name = process;
	log_node(node);
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

int
log_level_parse(const char *name, enum log_level *level)
{
	for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

/* Append formatted text; what does not fit is cut off, leaving one byte for
 * the end of the line. */
static void __attribute__((format(printf, 2, 0)))
line_vadd(struct line *l, const char *fmt, va_list ap)
{
	size_t room = sizeof l->text - 1 - l->len;
	int n = vsnprintf(l->text + l->len, room, fmt, ap);

	if (n > 0)
		l->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void __attribute__((format(printf, 2, 3)))
line_add(struct line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_vadd(l, fmt, ap);
	va_end(ap);
}

static void
line_add_time(struct line *l)
{
	struct timespec ts;
	struct tm tm;
	char day[32] = "";

	/* Neither can fail for the current time. */
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	(void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	line_add(l, "%s.%03ldZ ", day, ts.tv_nsec / 1000000);
}

static void
line_add_source(struct line *l, enum log_level level)
{
	uint64_t node = atomic_load_explicit(&node_id, memory_order_relaxed);

	line_add(l, "%-5s %s", level_names[level], process_name);
	if (node != 0)
		line_add(l, "[%" PRIu64 "]", node);
	line_add(l, " ");
}

/* An event is one line whatever stands in a path or in an argument. */
static void
line_end(struct line *l)
{
	for (size_t i = 0; i < l->len; i++) {
		if ((unsigned char)l->text[i] < ' ' || l->text[i] == 0x7f)
			l->text[i] = '?';
	}
	l->text[l->len++] = '\n';
}

/* cause: an errno to name, or 0.  errno is kept. */
static void __attribute__((format(printf, 3, 0)))
emit(enum log_level level, int cause, const char *fmt, va_list ap)
{
	struct line l = {.len = 0};
	int errno_kept = errno;

	if ((int)level <
	    atomic_load_explicit(&level_least, memory_order_relaxed))
		return;
	line_add_time(&l);
	line_add_source(&l, level);
	line_vadd(&l, fmt, ap);
	if (cause != 0)
		line_add(&l, ": %s",
		    strerrordesc_np(cause) != NULL ? strerrordesc_np(cause)
						   : "unknown error");
	line_end(&l);
	if (write(STDERR_FILENO, l.text, l.len) == -1) {
		/* There is nowhere left to say it. */
	}
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
