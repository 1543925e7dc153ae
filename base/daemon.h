/* What the daemons' main() functions share: options with environment twins,
 * exit codes, readiness towards the service manager.
 *
 * Exit codes are sysexits numbers and the protocol with the supervisor:
 *   0  EX_OK           done
 *   64 EX_USAGE        wrong call: unknown option, bad value; do not restart
 *   69 EX_UNAVAILABLE  something outside is not there (a used port); restart
 *   71 EX_OSERR       the kernel refuses what is needed; restart
 *   74 EX_IOERR        storage failed; restart, the disk says what is true
 *   75 EX_TEMPFAIL     busy or out of memory; restart
 *   77 EX_NOPERM       no rights; do not restart
 *   78 EX_CONFIG       configuration or directory does not fit; do not restart
 */
#ifndef BASE_DAEMON_H
#define BASE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sysexits.h>

#define METCD_VERSION "0.1.0"

enum opt_kind {
	OPT_STRING, /* dst is const char **; borrowed from argv or environ */
	OPT_U64,    /* dst is uint64_t *; min..max, decimal */
	OPT_FLAG    /* dst is bool *; no value ("--join"); twin: 1 or 0 */
};

/* One line of a program's option table; the table ends with name NULL.
 * dst holds the default before daemon_options() is called. */
struct opt {
	const char *name; /* "data-dir": --data-dir VALUE, METCD_DATA_DIR */
	enum opt_kind kind;
	void *dst;
	uint64_t min, max; /* OPT_U64 only */
	const char *value; /* placeholder in --help: "DIR" */
	const char *help;  /* one line, says the unit */
};

/* Read the environment, then argv (flags win; both "--x v" and "--x=v").
 * --help and --version print to standard output and end the process with 0;
 * an unknown option or a bad value prints one line that names it and ends the
 * process with EX_USAGE.  Operands are refused, unless operands is not NULL:
 * then *operands is the index of the first one in argv (argc if none). */
void daemon_options(const char *program, const char *about,
    const struct opt *opts, int argc, char *argv[], int *operands);

/* What a daemon is told about its log; two lines of its option table. */
struct daemon_log {
	const char *level;
	const char *format;
};

#define DAEMON_LOG_DEFAULT                                                     \
	{                                                                      \
		.level = "info", .format = "logfmt"                            \
	}

/* clang-format off */
#define DAEMON_LOG_OPTIONS(log)                                                \
	{"log-level", OPT_STRING, &(log)->level, 0, 0, "LEVEL",                \
	    "least that is logged: debug, info, warn, error"},                 \
	{"log-format", OPT_STRING, &(log)->format, 0, 0, "FORMAT",             \
	    "of a line: logfmt, or json for an object"}
/* clang-format on */

/* Log in that way from now on.  0, or EX_USAGE after one logged line. */
int daemon_log(const struct daemon_log *log);

/* Tell the service manager ($NOTIFY_SOCKET; nothing when it is not set). */
void daemon_ready(void);                 /* READY=1 */
void daemon_stopping(void);              /* STOPPING=1 */
void daemon_status(const char *fmt, ...) /* STATUS=... */
    __attribute__((format(printf, 1, 2)));

/* A random 64-bit number other than 0 from the kernel: epochs, incarnations,
 * seeds. */
uint64_t daemon_random(void);

/* The directory of the sockets: run_dir if not NULL, else RUNTIME_DIRECTORY's
 * value if set, else DATA_DIR/run.  Written to out; 0, or EX_USAGE after one
 * logged line when the path is too long for a socket name. */
int daemon_run_dir(
    const char *run_dir, const char *data_dir, char *out, size_t out_bytes);

#endif
