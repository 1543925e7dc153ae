/* metcdctl's options; see options.h. */
#include "cmd/metcdctl/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define TIMEOUT_MS_MAX 3600000u

/* --- one value --- */

static enum ctl_exit
set_endpoints(struct endpoints *e, const char *source, const char *value)
{
	char *p;

	mem_free(e->text);
	*e = (struct endpoints){.text = mem_strdup(value)};
	for (p = strtok(e->text, ","); p != NULL; p = strtok(NULL, ",")) {
		const char *port;

		if (strncmp(p, "http://", 7) == 0)
			p += 7;
		port = strrchr(p, ':');
		if (port == NULL || port == p || strpbrk(p, "/@?# ") != NULL ||
		    port[1] == '\0' ||
		    port[1 + strspn(port + 1, "0123456789")] != '\0') {
			ctl_error("%s must be HOST:PORT or several with commas "
				  "between, not \"%.80s\"",
			    source, p);
			return CTL_BAD_INPUT;
		}
		if (e->count == CTL_ENDPOINTS_MAX) {
			ctl_error("%s has more than %u addresses", source,
			    CTL_ENDPOINTS_MAX);
			return CTL_BAD_INPUT;
		}
		e->at[e->count++] = p;
	}
	if (e->count > 0)
		return CTL_OK;
	ctl_error("%s has no address; give HOST:PORT", source);
	return CTL_BAD_INPUT;
}

static enum ctl_exit
set_data(struct ctl *c, const char *source, const char *value)
{
	return set_endpoints(&c->data, source, value);
}

static enum ctl_exit
set_admin(struct ctl *c, const char *source, const char *value)
{
	return set_endpoints(&c->admin, source, value);
}

static enum ctl_exit
set_output(struct ctl *c, const char *source, const char *value)
{
	static const char *const names[] = {"simple", "json", "table"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(value, names[i]) == 0) {
			c->output = (enum ctl_output)i;
			return CTL_OK;
		}
	}
	ctl_error(
	    "%s must be simple, json or table, not \"%.40s\"", source, value);
	return CTL_BAD_INPUT;
}

static enum ctl_exit
set_timeout(struct ctl *c, const char *source, const char *value)
{
	size_t digits = strspn(value, "0123456789");
	unsigned long ms = 0;

	if (digits > 0 && digits < 9 && value[digits] == '\0')
		ms = strtoul(value, NULL, 10);
	if (ms < 1 || ms > TIMEOUT_MS_MAX) {
		ctl_error("%s must be a number from 1 to %u, not \"%.40s\"",
		    source, TIMEOUT_MS_MAX, value);
		return CTL_BAD_INPUT;
	}
	c->timeout_ms = ms;
	return CTL_OK;
}

/* A flag's twin says 1 or 0; on the command line it has no value. */
static enum ctl_exit
set_flag(bool *flag, const char *source, const char *value)
{
	if (value != NULL && strcmp(value, "1") != 0 &&
	    strcmp(value, "0") != 0) {
		ctl_error("%s must be 1 or 0, not \"%.40s\"", source, value);
		return CTL_BAD_INPUT;
	}
	*flag = value == NULL || value[0] == '1';
	return CTL_OK;
}

#define SET_FLAG(name)                                                         \
	static enum ctl_exit set_##name(                                       \
	    struct ctl *c, const char *source, const char *value)              \
	{                                                                      \
		return set_flag(&c->name, source, value);                      \
	}
SET_FLAG(stale)
SET_FLAG(cluster)
SET_FLAG(automatic)
SET_FLAG(wait)
SET_FLAG(force)
#undef SET_FLAG

static enum ctl_exit
set_id(struct ctl *c, const char *source, const char *value)
{
	return options_id(source, value, &c->id);
}

static enum ctl_exit
set_data_dir(struct ctl *c, const char *source, const char *value)
{
	(void)source;
	c->data_dir = value;
	return CTL_OK;
}

static enum ctl_exit
set_run_dir(struct ctl *c, const char *source, const char *value)
{
	(void)source;
	c->run_dir = value;
	return CTL_OK;
}

const struct option options_table[] = {
    {OPTION_ENDPOINTS, "--endpoints", "METCDCTL_ENDPOINTS", "HOST:PORT,...",
	NULL, "nodes to ask, tried in turn (127.0.0.1:3379)", set_data},
    {OPTION_ADMIN, "--admin", "METCDCTL_ADMIN", "HOST:PORT,...", NULL,
	"admin addresses of nodes (127.0.0.1:3381)", set_admin},
    {OPTION_OUTPUT, "-o", "METCDCTL_OUTPUT", "FORMAT", "simple json table",
	"simple, json or table (simple)", set_output},
    {OPTION_TIMEOUT, "--timeout-ms", "METCDCTL_TIMEOUT_MS", "MS", NULL,
	"time for the whole command (10000 for most verbs)", set_timeout},
    {OPTION_STALE, "--stale", "METCDCTL_STALE", NULL, NULL,
	"read what the node has, without asking the others", set_stale},
    {OPTION_CLUSTER, "--cluster", "METCDCTL_CLUSTER", NULL, NULL,
	"compare the hashes of the nodes; exit 1 if one differs", set_cluster},
    {OPTION_ID, "--id", "METCDCTL_ID", "N", NULL,
	"of the new member (the next free one)", set_id},
    {OPTION_AUTO, "--auto", "METCDCTL_AUTO", NULL, NULL,
	"let it vote when it has caught up, without being told", set_automatic},
    {OPTION_WAIT, "--wait", "METCDCTL_WAIT", NULL, NULL,
	"come back when it votes; with add, --auto goes with it", set_wait},
    {OPTION_FORCE, "--force", "METCDCTL_FORCE", NULL, NULL,
	"though the cluster may be left without a quorum", set_force},
    {OPTION_DIRS, "--data-dir", "METCDCTL_DATA_DIR", "DIR", NULL,
	"data of the node on this machine (./metcd.data)", set_data_dir},
    {OPTION_DIRS, "--run-dir", "METCDCTL_RUN_DIR", "DIR", NULL,
	"its sockets (DIR/run)", set_run_dir},
    {0},
};

/* --- help --- */

const char *
options_name(unsigned mask)
{
	const struct option *o = options_table;

	while (o->name != NULL && (o->bit & mask) == 0)
		o++;
	return o->name;
}

void
options_help(unsigned mask)
{
	printf("\nOptions, before or after the verb:\n");
	for (const struct option *o = options_table; o->name != NULL; o++) {
		int n;

		if ((o->bit & mask) == 0)
			continue;
		n = printf("  %s %s", o->name, o->value ? o->value : "");
		printf("%*s%s\n", n < 28 ? 28 - n : 1, "", o->help);
		if (o->twin != NULL)
			printf("%28s%s sets it too\n", "", o->twin);
	}
	printf("  --help%20sprint this text\n", "");
	printf("  --version%17sprint the version\n", "");
}

/* --- the command line --- */

static enum ctl_exit
read_environment(struct ctl *c)
{
	for (const struct option *o = options_table; o->name != NULL; o++) {
		const char *value = o->twin != NULL ? getenv(o->twin) : NULL;
		enum ctl_exit rc;

		if (value == NULL || value[0] == '\0')
			continue;
		if ((rc = o->set(c, o->twin, value)) != CTL_OK)
			return rc;
	}
	return CTL_OK;
}

/* The option that arg is or begins with ("--x", "--x=v", "-ov"); *value is
 * what follows in arg, NULL if nothing does. */
static const struct option *
find_option(const char *arg, const char **value)
{
	for (const struct option *o = options_table; o->name != NULL; o++) {
		size_t len = strlen(o->name);

		if (strncmp(arg, o->name, len) != 0)
			continue;
		*value = arg[len] == '\0' ? NULL : arg + len;
		if (arg[len] == '\0')
			return o;
		if (o->value != NULL && o->name[1] != '-')
			return o;
		if (o->value != NULL && arg[len] == '=') {
			*value = arg + len + 1;
			return o;
		}
	}
	return NULL;
}

/* argv[*i] begins with '-'; *i moves to the last word that was used. */
static enum ctl_exit
take_option(struct options *o, struct ctl *c, int *i, int argc, char *argv[])
{
	const char *value = NULL;
	const struct option *found;

	if (strcmp(argv[*i], "--help") == 0 || strcmp(argv[*i], "-h") == 0) {
		o->help = true;
		return CTL_OK;
	}
	if (strcmp(argv[*i], "--version") == 0) {
		o->version = true;
		return CTL_OK;
	}
	found = find_option(argv[*i], &value);
	if (found == NULL) {
		ctl_error("%.80s is not an option; --help lists them, and -- "
			  "before a key or value lets it begin with -",
		    argv[*i]);
		return CTL_BAD_INPUT;
	}
	if (found->value != NULL && value == NULL) {
		if (*i + 1 == argc) {
			ctl_error(
			    "%s needs a value: %s", found->name, found->value);
			return CTL_BAD_INPUT;
		}
		value = argv[++*i];
	}
	o->given |= found->bit;
	return found->set(c, found->name, value);
}

enum ctl_exit
options_id(const char *source, const char *value, uint64_t *id)
{
	size_t digits = strspn(value, "0123456789");

	if (digits < 1 || digits > 18 || value[digits] != '\0' ||
	    value[0] == '0') {
		ctl_error("%s must be the id of a member, a number from 1 on, "
			  "not \"%.40s\"",
		    source, value);
		return CTL_BAD_INPUT;
	}
	*id = strtoull(value, NULL, 10);
	return CTL_OK;
}

enum ctl_exit
options_read(struct options *o, struct ctl *c, int argc, char *argv[])
{
	enum ctl_exit rc;
	bool words_only = false;

	*o = (struct options){.words = argv};
	if ((rc = set_data(c, "", "127.0.0.1:3379")) != CTL_OK ||
	    (rc = set_admin(c, "", "127.0.0.1:3381")) != CTL_OK ||
	    (rc = read_environment(c)) != CTL_OK)
		return rc;
	for (int i = 1; i < argc; i++) {
		if (words_only || argv[i][0] != '-' || argv[i][1] == '\0') {
			o->words[o->word_count++] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			words_only = true;
			continue;
		}
		if ((rc = take_option(o, c, &i, argc, argv)) != CTL_OK)
			return rc;
	}
	return CTL_OK;
}
