/* metcdctl: the command line client.
 *
 * Role    One request to a cluster, and an exit code that scripts can use.
 * Reads   Options, standard input for values.
 * Writes  Standard output: values and reports only; standard error: one line.
 * Trusts  Nothing it receives: answers are bounded and parsed as data.
 * Exits   enum ctl_exit in ctl.h. */
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/daemon.h"
#include "base/mem.h"
#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/options.h"

#define TIMEOUT_MS 10000u

struct verb {
	const char *name;
	const char *operands;
	size_t min, max;  /* operands */
	unsigned options; /* OPTION_* that it understands */
	const char *help;
	enum ctl_exit (*run)(const struct ctl *c);
};

#define ASKS (OPTION_ENDPOINTS | OPTION_TIMEOUT)

static const struct verb verbs[] = {
    {"put", "KEY [VALUE]", 1, 2, ASKS,
	"store VALUE; without one, or with -, what standard input has",
	verb_put},
    {"get", "KEY", 1, 1, ASKS | OPTION_STALE,
	"write the value of KEY, byte for byte", verb_get},
    {"del", "KEY", 1, 1, ASKS, "remove KEY, if it is there", verb_del},
    {"status", "", 0, 0,
	OPTION_ADMIN | OPTION_OUTPUT | OPTION_TIMEOUT | OPTION_CLUSTER,
	"say how nodes are", verb_status},
    {"snapshot", "", 0, 0, OPTION_ADMIN | OPTION_TIMEOUT,
	"let nodes take a snapshot now", verb_snapshot},
    {"engine", "NAME", 1, 1, OPTION_DIRS | OPTION_TIMEOUT,
	"give the node on this machine another storage engine", verb_engine},
    {"rebuild", "", 0, 0, OPTION_DIRS | OPTION_TIMEOUT,
	"throw its store away, it is made anew from log and snapshot",
	verb_rebuild},
    {0},
};

/* --- output --- */

void
ctl_error(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("metcdctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

enum ctl_exit
ctl_print(const void *data, size_t len)
{
	if ((len > 0 && fwrite(data, 1, len, stdout) != len) ||
	    fflush(stdout) != 0) {
		ctl_error(
		    "cannot write to standard output: %s", strerror(errno));
		return CTL_ERROR;
	}
	return CTL_OK;
}

static enum ctl_exit
print_help(const struct verb *only)
{
	unsigned options = 0;

	if (only != NULL)
		printf("Usage: metcdctl %s%s%s [OPTION]...\n\n%s.\n",
		    only->name, only->operands[0] != '\0' ? " " : "",
		    only->operands, only->help);
	else
		printf("Usage: metcdctl VERB [OPERAND]... [OPTION]...\n"
		       "Reads and changes a metcd cluster.\n\nVerbs:\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		if (only == NULL)
			printf(
			    "  %-8s %-12s %s\n", v->name, v->operands, v->help);
		if (only == NULL || only == v)
			options |= v->options;
	}
	options_help(options);
	printf("\nExit codes:\n"
	       "  0   done\n"
	       "  1   the cluster answered with an error\n"
	       "  2   no endpoint could be reached, or none answered a read; "
	       "nothing was changed\n"
	       "  3   bad input: option, key or value\n"
	       "  10  there is no such key\n"
	       "  11  a precondition does not hold\n"
	       "  12  a write was sent, but whether it was executed is "
	       "unknown\n");
	return ctl_print(NULL, 0);
}

/* --- the verb --- */

static const struct verb *
find_verb(const char *name)
{
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		if (strcmp(v->name, name) == 0)
			return v;
	}
	return NULL;
}

static enum ctl_exit
check_call(const struct verb *v, const struct options *o)
{
	size_t operands = o->word_count - 1;
	unsigned odd = o->given & ~v->options;

	if (odd != 0) {
		ctl_error("%s does not go with %s", options_name(odd), v->name);
		return CTL_BAD_INPUT;
	}
	if (operands < v->min || operands > v->max) {
		ctl_error("usage: metcdctl %s %s", v->name, v->operands);
		return CTL_BAD_INPUT;
	}
	return CTL_OK;
}

static enum ctl_exit
run_verb(const struct verb *v, struct ctl *c, const struct options *o)
{
	enum ctl_exit rc = check_call(v, o);

	if (rc != CTL_OK)
		return rc;
	c->verb = v->name;
	c->operands = o->words + 1;
	c->operand_count = o->word_count - 1;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		ctl_error("libcurl cannot start");
		return CTL_ERROR;
	}
	rc = v->run(c);
	curl_global_cleanup();
	return rc;
}

static enum ctl_exit
run(struct ctl *c, int argc, char *argv[])
{
	struct options o;
	const struct verb *v = NULL;
	enum ctl_exit rc = options_read(&o, c, argc, argv);

	if (rc != CTL_OK)
		return rc;
	if (o.version) {
		printf("metcdctl %s\n", METCD_VERSION);
		return ctl_print(NULL, 0);
	}
	if (o.word_count > 0)
		v = find_verb(o.words[0]);
	if (o.help && (v != NULL || o.word_count == 0))
		return print_help(v);
	if (o.word_count == 0) {
		ctl_error("no verb; metcdctl --help lists them");
		return CTL_BAD_INPUT;
	}
	if (v == NULL) {
		ctl_error("%.40s is not a verb; metcdctl --help lists them",
		    o.words[0]);
		return CTL_BAD_INPUT;
	}
	return run_verb(v, c, &o);
}

int
main(int argc, char *argv[])
{
	struct ctl c = {.timeout_ms = TIMEOUT_MS, .data_dir = "./metcd.data"};
	enum ctl_exit rc = run(&c, argc, argv);

	mem_free(c.data.text);
	mem_free(c.admin.text);
	return (int)rc;
}
