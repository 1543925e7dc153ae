/* The verbs; see verbs.h. */
#include "cmd/metcdctl/verbs.h"

#include <stdio.h>
#include <string.h>

#include "cmd/metcdctl/options.h"

#define ASKS (OPTION_ENDPOINTS | OPTION_TIMEOUT)
#define ADMIN (OPTION_ADMIN | OPTION_OUTPUT | OPTION_TIMEOUT)
#define LOCAL (OPTION_DIRS | OPTION_OUTPUT | OPTION_TIMEOUT)

const struct verb verbs_table[] = {
    {"put", "KEY [VALUE]", 1, 2, ASKS, NULL,
	"store VALUE; without one, or with -, what standard input has",
	verb_put},
    {"get", "KEY", 1, 1, ASKS | OPTION_STALE, NULL,
	"write the value of KEY, byte for byte", verb_get},
    {"del", "KEY", 1, 1, ASKS, NULL, "remove KEY, if it is there", verb_del},
    {"status", "", 0, 0, ADMIN | OPTION_CLUSTER, NULL, "say how nodes are",
	verb_status},
    {"health", "", 0, 0, ADMIN, NULL,
	"say which nodes can serve, or why not; exit 1 if one cannot",
	verb_health},
    {"member list", "", 0, 0, ADMIN, NULL, "show the cluster's members",
	verb_member_list},
    {"member add", "PEER", 1, 1, ADMIN | OPTION_ID | OPTION_AUTO | OPTION_WAIT,
	NULL, "let the node at PEER (HOST:PORT) join as a learner",
	verb_member_add},
    {"member promote", "ID", 1, 1, ADMIN | OPTION_FORCE, NULL,
	"let a learner vote", verb_member_promote},
    {"member remove", "ID", 1, 1, ADMIN | OPTION_FORCE, NULL,
	"take a member out, for good", verb_member_remove},
    {"member replace", "OLD PEER", 2, 2,
	ADMIN | OPTION_ID | OPTION_WAIT | OPTION_FORCE, NULL,
	"let a new node at PEER take the place of member OLD",
	verb_member_replace},
    {"member update", "ID PEER", 2, 2, ADMIN, NULL,
	"give a member another peer address", verb_member_update},
    {"move-leader", "[ID]", 0, 1, ADMIN, NULL,
	"let member ID lead; without one, the best of the others",
	verb_move_leader},
    {"snapshot", "", 0, 0, ADMIN, NULL, "let nodes take a snapshot now",
	verb_snapshot},
    {"engine", "NAME", 1, 1, LOCAL, "memory lmdb leveldb",
	"give the node on this machine another storage engine", verb_engine},
    {"rebuild", "", 0, 0, LOCAL, NULL,
	"throw its store away, it is made anew from log and snapshot",
	verb_rebuild},
    {"version", "", 0, 0, ADMIN, NULL,
	"print the version of metcdctl and of the nodes", verb_version},
    {"completion", "SHELL", 1, 1, 0, "bash zsh fish",
	"print what completes this command in a shell", verb_completion},
    {0},
};

/* --- finding --- */

size_t
verbs_words(const struct verb *v)
{
	return strchr(v->name, ' ') == NULL ? 1 : 2;
}

bool
verbs_in_group(const struct verb *v, const char *group)
{
	const size_t len = strlen(group);

	return strncmp(v->name, group, len) == 0 && v->name[len] == ' ';
}

bool
verbs_is_group(const char *word)
{
	for (const struct verb *v = verbs_table; v->name != NULL; v++)
		if (verbs_in_group(v, word))
			return true;
	return false;
}

static bool
begins_with(char **words, size_t count, const struct verb *v)
{
	if (verbs_words(v) == 1)
		return count > 0 && strcmp(v->name, words[0]) == 0;
	return count > 1 && verbs_in_group(v, words[0]) &&
	       strcmp(strchr(v->name, ' ') + 1, words[1]) == 0;
}

const struct verb *
verbs_find(char **words, size_t count)
{
	for (const struct verb *v = verbs_table; v->name != NULL; v++)
		if (begins_with(words, count, v))
			return v;
	return NULL;
}

/* --- help --- */

static void
help_exits(void)
{
	printf("\nExit codes:\n"
	       "  0   done\n"
	       "  1   the cluster answered with an error\n"
	       "  2   no endpoint could be reached, or none answered a read; "
	       "nothing was changed\n"
	       "  3   bad input: option, key or value\n"
	       "  10  there is no such key, or no such member\n"
	       "  11  a precondition does not hold\n"
	       "  12  a write was sent, but whether it was executed is "
	       "unknown\n");
}

static bool
is_shown(const struct verb *v, const struct verb *only, const char *group)
{
	if (only != NULL)
		return v == only;
	return group == NULL || verbs_in_group(v, group);
}

enum ctl_exit
verbs_help(const struct verb *only, const char *group)
{
	unsigned options = 0;

	if (only != NULL)
		printf("Usage: metcdctl %s%s%s [OPTION]...\n\n%s.\n",
		    only->name, only->operands[0] != '\0' ? " " : "",
		    only->operands, only->help);
	else if (group != NULL)
		printf("Usage: metcdctl %s VERB [OPERAND]... [OPTION]...\n\n"
		       "Verbs:\n",
		    group);
	else
		printf("Usage: metcdctl VERB [OPERAND]... [OPTION]...\n"
		       "Reads and changes a metcd cluster.\n\nVerbs:\n");
	for (const struct verb *v = verbs_table; v->name != NULL; v++) {
		if (!is_shown(v, only, group))
			continue;
		if (only == NULL)
			printf("  %-14s %-12s %s\n", v->name, v->operands,
			    v->help);
		options |= v->options;
	}
	options_help(options);
	help_exits();
	return ctl_print(NULL, 0);
}
