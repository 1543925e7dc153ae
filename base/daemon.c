/* Options with environment twins, and what else main() functions share; see
 * daemon.h. */
#include "base/daemon.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"

#define TWIN_PREFIX "METCD_"
#define TWIN_BYTES_MAX 64u
#define STATUS_BYTES_MAX 256u
/* The longest name of a socket in the run directory. */
#define SOCKET_NAME "/notify.sock"
#define SUN_PATH_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path)
#define COLUMN 34 /* of the help text */

struct options {
	const char *program;
	const char *about;
	const struct opt *table;
};

/* --- one value --- */

/* METCD_DATA_DIR for data-dir. */
static const char *
twin_of(const struct opt *o, char twin[TWIN_BYTES_MAX])
{
	size_t at = sizeof TWIN_PREFIX - 1;

	assert(at + strlen(o->name) < TWIN_BYTES_MAX);
	memcpy(twin, TWIN_PREFIX, at);
	for (const char *p = o->name; *p != '\0'; p++)
		twin[at++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	twin[at] = '\0';
	return twin;
}

/* source: "--data-dir" or "METCD_DATA_DIR", as the user wrote it. */
static _Noreturn void __attribute__((format(printf, 3, 4)))
refuse(const struct options *all, const char *source, const char *fmt, ...)
{
	char why[STATUS_BYTES_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof why, fmt, ap); /* cut off if too long */
	va_end(ap);
	(void)fprintf(stderr, "%s: %s %s; %s --help lists all options\n",
	    all->program, source, why, all->program);
	exit(EX_USAGE);
}

/* Decimal digits only: no sign, no blanks, no 0x. */
static bool
parse_u64(const char *text, uint64_t *out)
{
	uint64_t v = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return false;
	}
	*out = v;
	return true;
}

static void
set_u64(const struct options *all, const struct opt *o, const char *source,
    const char *text)
{
	uint64_t v;

	if (!parse_u64(text, &v) || v < o->min || v > o->max)
		refuse(all, source,
		    "must be a number from %" PRIu64 " to %" PRIu64
		    ", not \"%.40s\"",
		    o->min, o->max, text);
	*(uint64_t *)o->dst = v;
}

static void
set_flag(const struct options *all, const struct opt *o, const char *source,
    const char *text)
{
	if (strcmp(text, "1") != 0 && strcmp(text, "0") != 0)
		refuse(all, source, "must be 1 or 0, not \"%.40s\"", text);
	*(bool *)o->dst = text[0] == '1';
}

static void
set_value(const struct options *all, const struct opt *o, const char *source,
    const char *text)
{
	switch (o->kind) {
	case OPT_STRING:
		*(const char **)o->dst = text;
		break;
	case OPT_U64:
		set_u64(all, o, source, text);
		break;
	case OPT_FLAG:
		set_flag(all, o, source, text);
		break;
	}
}

/* --- help --- */

static void
print_default(const struct opt *o)
{
	switch (o->kind) {
	case OPT_STRING:
		if (*(const char **)o->dst != NULL)
			printf("default %s, ", *(const char **)o->dst);
		break;
	case OPT_U64:
		printf("default %" PRIu64 ", ", *(uint64_t *)o->dst);
		break;
	case OPT_FLAG:
		break;
	}
}

static void
print_option(const struct opt *o)
{
	char twin[TWIN_BYTES_MAX];
	int n = printf("  --%s%s%s", o->name, o->value != NULL ? " " : "",
	    o->value != NULL ? o->value : "");

	printf("%*s%s\n%*s(", n < COLUMN ? COLUMN - n : 1, "", o->help, COLUMN,
	    "");
	print_default(o);
	printf("%s)\n", twin_of(o, twin));
}

static _Noreturn void
print_help(const struct options *all)
{
	printf("Usage: %s [OPTION]...\n%s\n\nOptions, and the environment "
	       "variables that set them too (options win):\n",
	    all->program, all->about);
	for (const struct opt *o = all->table; o->name != NULL; o++)
		print_option(o);
	printf("  --help%*sprint this text and end\n", COLUMN - 8, "");
	printf("  --version%*sprint the version and end\n", COLUMN - 11, "");
	printf("\nExit codes:\n"
	       "  0   done\n"
	       "  64  wrong call: unknown option or bad value\n"
	       "  69  something outside is not there, such as a free port\n"
	       "  71  the kernel refuses what is needed, such as a "
	       "descriptor\n"
	       "  74  storage failed\n"
	       "  75  busy (a directory in use) or out of memory\n"
	       "  77  no rights\n"
	       "  78  configuration or directory does not fit\n");
	exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

static _Noreturn void
print_version(const struct options *all)
{
	printf("%s %s\n", all->program, METCD_VERSION);
	exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

/* --- environment and arguments --- */

/* An empty variable counts as not set: files of EnvironmentFile= have them. */
static void
read_environment(const struct options *all)
{
	char twin[TWIN_BYTES_MAX];

	for (const struct opt *o = all->table; o->name != NULL; o++) {
		const char *text = getenv(twin_of(o, twin));

		if (text != NULL && text[0] != '\0')
			set_value(all, o, twin, text);
	}
}

static const struct opt *
find_option(const struct options *all, const char *name, size_t len)
{
	for (const struct opt *o = all->table; o->name != NULL; o++) {
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	}
	return NULL;
}

/* argv[i] begins with "--".  Returns how many of argv were used. */
static int
take_argument(const struct options *all, int i, int argc, char *argv[])
{
	const char *name = argv[i] + 2;
	size_t len = strcspn(name, "=");
	const struct opt *o = find_option(all, name, len);

	if (o == NULL)
		refuse(all, argv[i], "is not an option");
	if (name[len] == '=') {
		argv[i][2 + len] = '\0'; /* for messages */
		set_value(all, o, argv[i], name + len + 1);
		return 1;
	}
	if (o->kind == OPT_FLAG) {
		*(bool *)o->dst = true;
		return 1;
	}
	if (i + 1 == argc)
		refuse(all, argv[i], "needs a value: %s", o->value);
	set_value(all, o, argv[i], argv[i + 1]);
	return 2;
}

/* --help and --version first: they must work whatever else is wrong. */
static void
answer_questions(const struct options *all, int argc, char *argv[])
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0)
			print_help(all);
		if (strcmp(argv[i], "--version") == 0)
			print_version(all);
	}
}

void
daemon_options(const char *program, const char *about, const struct opt *opts,
    int argc, char *argv[], int *operands)
{
	struct options all = {
	    .program = program, .about = about, .table = opts};
	int i = 1;

	answer_questions(&all, argc, argv);
	read_environment(&all);
	while (i < argc && strncmp(argv[i], "--", 2) == 0) {
		if (argv[i][2] == '\0') {
			i++;
			break;
		}
		i += take_argument(&all, i, argc, argv);
	}
	if (operands != NULL)
		*operands = i;
	else if (i < argc)
		refuse(&all, argv[i], "is not an option");
}

/* --- the log --- */

int
daemon_log(const struct daemon_log *log)
{
	enum log_level level;
	enum log_format format;

	if (log_format_parse(log->format, &format) == -1) {
		log_errorx("--log-format must be logfmt or json, not "
			   "\"%.40s\"",
		    log->format);
		return EX_USAGE;
	}
	log_format_set(format);
	if (log_level_parse(log->level, &level) == -1) {
		log_errorx("--log-level must be debug, info, warn or error, "
			   "not \"%.40s\"",
		    log->level);
		return EX_USAGE;
	}
	log_level_set(level);
	return 0;
}

/* --- the service manager --- */

/* A service manager that cannot be told is not a reason to stop: it will say
 * itself what it misses. */
static void
notify(const char *state)
{
	int rc = sd_notify(0, state);

	if (rc < 0) {
		errno = -rc;
		log_warn("cannot notify service manager");
	}
}

void
daemon_ready(void)
{
	notify("READY=1");
}

void
daemon_stopping(void)
{
	notify("STOPPING=1");
}

void
daemon_status(const char *fmt, ...)
{
	char text[STATUS_BYTES_MAX] = "STATUS=";
	const size_t at = sizeof "STATUS=" - 1;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text + at, sizeof text - at, fmt, ap); /* cut off */
	va_end(ap);
	notify(text);
}

/* --- small things --- */

uint64_t
daemon_random(void)
{
	uint64_t v = 0;

	/* Up to 256 bytes come whole or not at all, see getrandom(2). */
	while (v == 0) {
		if (getrandom(&v, sizeof v, 0) == -1 && errno != EINTR) {
			log_error("no random numbers from the kernel, ending");
			exit(EX_OSERR);
		}
	}
	return v;
}

/* systemd lists several directories with colons between: ours is the first.
 * Returns the length, of which at most out_bytes - 1 were written. */
static size_t
choose_run_dir(
    const char *run_dir, const char *data_dir, char *out, size_t out_bytes)
{
	const char *given = getenv("RUNTIME_DIRECTORY");
	int n;

	if (run_dir != NULL)
		n = snprintf(out, out_bytes, "%s", run_dir);
	else if (given != NULL && given[0] != '\0')
		n = snprintf(
		    out, out_bytes, "%.*s", (int)strcspn(given, ":"), given);
	else
		n = snprintf(out, out_bytes, "%s/run", data_dir);
	return n < 0 ? SIZE_MAX : (size_t)n;
}

int
daemon_run_dir(
    const char *run_dir, const char *data_dir, char *out, size_t out_bytes)
{
	const size_t path_max = SUN_PATH_BYTES - sizeof SOCKET_NAME;
	size_t n = choose_run_dir(run_dir, data_dir, out, out_bytes);

	if (n >= out_bytes || n > path_max) {
		log_errorx("run directory's path is longer than the %zu bytes "
			   "that leave room for a socket; choose a shorter "
			   "--run-dir bytes=%zu",
		    path_max, n);
		return EX_USAGE;
	}
	return 0;
}
