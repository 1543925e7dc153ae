/* Diagnostics: one line to standard error per event, a fixed phrase and then
 * key=value pairs.  Never a user's key or value, only lengths.
 *
 *   2026-11-01T12:00:00.123Z info  raftd[2] became leader term=3
 *
 * error: someone must act; warn: we coped; info: a life event; debug: per
 * message.  error and warn append ": " and strerror(errno); the *x twins do
 * not.  Each call writes its line with a single write(2). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* process is borrowed for ever ("raftd"); node 0 means not known yet. */
void log_open(const char *process, uint64_t node);
void log_node(uint64_t node);
void log_level_set(enum log_level least);
int log_level_parse(const char *name, enum log_level *level); /* -1: unknown */

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))
void log_error(const char *fmt, ...) LOG_PRINTF;
void log_errorx(const char *fmt, ...) LOG_PRINTF;
void log_warn(const char *fmt, ...) LOG_PRINTF;
void log_warnx(const char *fmt, ...) LOG_PRINTF;
void log_info(const char *fmt, ...) LOG_PRINTF;
void log_debug(const char *fmt, ...) LOG_PRINTF;

#endif
