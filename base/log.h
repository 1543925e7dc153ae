/* Diagnostics: one line to standard error per event, a fixed phrase and then
 * key=value pairs.  Never a user's key or value, only lengths.
 *
 *   logfmt  2026-11-01T12:00:00.123Z info  raftd[2] became leader term=3
 *   json    {"ts":"2026-11-01T12:00:00.123Z","level":"info",
 *            "process":"raftd","node":2,"msg":"became leader","term":3}
 *           in one line, always valid JSON: bytes that are no UTF-8 become
 *           U+FFFD.  Numbers of up to 15 digits are numbers, all else is a
 *           string; a pair named like one of the five is called about_node
 *           (and so on); "node" is 0 while it is not known.
 *
 * error: someone must act; warn: we coped; info: a life event; debug: per
 * message.  error and warn append ": " and strerror(errno), in json the field
 * "error"; the *x twins do not.
 *
 * When standard error is the journal ($JOURNAL_STREAM), each line begins with
 * its priority, "<6>", and logfmt leaves out the time, see sd-daemon(3).
 *
 * A line is written whole, by the caller, before the call returns; but no call
 * waits for who reads: a line that a full pipe, socket or terminal does not
 * take is lost, and counted, and "log lines lost n=" is logged when there is
 * room again.  At exit the newest error line that was lost is offered once
 * more.  (A file is waited for, as for any file.)  All calls may come from any
 * thread; none allocates. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* process is borrowed for ever ("raftd"); node 0 means not known yet. */
void log_open(const char *process, uint64_t node);
void log_node(uint64_t node);
void log_level_set(enum log_level least);
int log_level_parse(const char *name, enum log_level *level); /* -1: unknown */
void log_format_set(enum log_format format);
int log_format_parse(const char *name, enum log_format *format); /* -1 */

/* Say how many lines were lost, if any were and there is room again: for loops,
 * which call it every turn.  Costs nothing while nothing is lost. */
void log_tell_lost(void);

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))
void log_error(const char *fmt, ...) LOG_PRINTF;
void log_errorx(const char *fmt, ...) LOG_PRINTF;
void log_warn(const char *fmt, ...) LOG_PRINTF;
void log_warnx(const char *fmt, ...) LOG_PRINTF;
void log_info(const char *fmt, ...) LOG_PRINTF;
void log_debug(const char *fmt, ...) LOG_PRINTF;

#endif
