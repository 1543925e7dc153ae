/* The verbs: a table that dispatch, help and completion are made from. */
#ifndef CMD_METCDCTL_VERBS_H
#define CMD_METCDCTL_VERBS_H

#include "cmd/metcdctl/ctl.h"

struct verb {
	const char *name;     /* one word, or two: those of a group, "member" */
	const char *operands; /* as the help shows them */
	size_t min, max;      /* how many */
	unsigned options;     /* OPTION_* that it understands */
	const char *choices;  /* what an operand may be, or NULL */
	const char *help;
	enum ctl_exit (*run)(const struct ctl *c);
};
extern const struct verb verbs_table[]; /* ends with name NULL */

/* The verb that words begin with, or NULL. */
const struct verb *verbs_find(char **words, size_t count);
bool verbs_is_group(const char *word);
size_t verbs_words(const struct verb *v); /* of its name */
/* Is v one of this group? */
bool verbs_in_group(const struct verb *v, const char *group);

/* Help for one verb, for a group, or (both NULL) for all. */
enum ctl_exit verbs_help(const struct verb *only, const char *group);

#endif
