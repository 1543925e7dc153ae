/* An event of the log as a JSON object; log.h shows one.  For log.c. */
#ifndef BASE_LOG_JSON_H
#define BASE_LOG_JSON_H

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* What a pipe takes whole or not at all. */
#define LOG_LINE_BYTES_MAX ((size_t)PIPE_BUF)

struct log_line {
	char text[LOG_LINE_BYTES_MAX];
	size_t len;
};

/* All borrowed for the call. */
struct log_event {
	const char *time; /* "2026-11-01T12:00:00.123Z" */
	const char *level;
	const char *process; /* a word */
	uint64_t node;
	const char *error; /* NULL: none */
};

/* Append the object and an end of line.  fmt is a fixed phrase and key=value
 * pairs: which is which is seen from fmt, not from the arguments.  l holds at
 * most a few bytes yet.  One call at a time. */
void log_json(struct log_line *l, const struct log_event *e, const char *fmt,
    va_list ap) __attribute__((format(printf, 3, 0)));

#endif
