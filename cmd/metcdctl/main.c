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
#include "cmd/metcdctl/progress.h"
#include "cmd/metcdctl/verbs.h"

/* --- output --- */

void
ctl_error(const char *fmt, ...)
{
	va_list ap;

	progress_hide();
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

struct mono
ctl_deadline(const struct ctl *c, uint64_t usual_ms)
{
	return mono_add_ms(
	    mono_now(), c->timeout_ms != 0 ? c->timeout_ms : usual_ms);
}

/* --- the verb --- */

static enum ctl_exit
check_call(const struct verb *v, const struct options *o)
{
	size_t operands = o->word_count - verbs_words(v);
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
	c->operands = o->words + verbs_words(v);
	c->operand_count = o->word_count - verbs_words(v);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		ctl_error("libcurl cannot start");
		return CTL_ERROR;
	}
	rc = v->run(c);
	curl_global_cleanup();
	return rc;
}

static enum ctl_exit
refuse_words(const struct options *o, const char *group)
{
	if (o->word_count == 0)
		ctl_error("no verb; metcdctl --help lists them");
	else if (group != NULL && o->word_count == 1)
		ctl_error("%s is followed by another verb; metcdctl %s --help "
			  "lists them",
		    group, group);
	else if (group != NULL)
		ctl_error("%s %.40s is not a verb; metcdctl %s --help lists "
			  "them",
		    group, o->words[1], group);
	else
		ctl_error("%.40s is not a verb; metcdctl --help lists them",
		    o->words[0]);
	return CTL_BAD_INPUT;
}

static enum ctl_exit
run(struct ctl *c, int argc, char *argv[])
{
	struct options o;
	const struct verb *v;
	const char *group;
	enum ctl_exit rc = options_read(&o, c, argc, argv);

	if (rc != CTL_OK)
		return rc;
	if (o.version) {
		printf("metcdctl %s\n", METCD_VERSION);
		return ctl_print(NULL, 0);
	}
	v = verbs_find(o.words, o.word_count);
	group = v == NULL && o.word_count > 0 && verbs_is_group(o.words[0])
		    ? o.words[0]
		    : NULL;
	if (o.help && (v != NULL || group != NULL || o.word_count == 0))
		return verbs_help(v, group);
	if (v == NULL)
		return refuse_words(&o, group);
	return run_verb(v, c, &o);
}

int
main(int argc, char *argv[])
{
	struct ctl c = {.data_dir = "./metcd.data"};
	enum ctl_exit rc = run(&c, argc, argv);

	mem_free(c.data.text);
	mem_free(c.admin.text);
	return (int)rc;
}
