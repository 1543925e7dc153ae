/* The options of metcdctl: before and after the verb, with environment twins
 * that begin with METCDCTL_. */
#ifndef CMD_METCDCTL_OPTIONS_H
#define CMD_METCDCTL_OPTIONS_H

#include "cmd/metcdctl/ctl.h"

/* Which option was given, or is understood by a verb: bits. */
#define OPTION_ENDPOINTS 1u
#define OPTION_ADMIN 2u
#define OPTION_OUTPUT 4u
#define OPTION_TIMEOUT 8u
#define OPTION_STALE 16u
#define OPTION_CLUSTER 32u
#define OPTION_DIRS 64u
#define OPTION_ID 128u
#define OPTION_AUTO 256u
#define OPTION_WAIT 512u
#define OPTION_FORCE 1024u

struct option {
	unsigned bit;
	const char *name;    /* "--admin" */
	const char *twin;    /* environment variable; of a flag: 1 or 0 */
	const char *value;   /* placeholder; NULL: a flag */
	const char *choices; /* the values there are, or NULL */
	const char *help;
	enum ctl_exit (*set)(
	    struct ctl *c, const char *source, const char *value);
};
extern const struct option options_table[]; /* ends with name NULL */

struct options {
	unsigned given; /* OPTION_* bits of the command line */
	bool help;
	bool version;
	char **words; /* argv without the options, the verb first */
	size_t word_count;
};

/* Read the environment and argv into c and o (argv is rearranged: o->words
 * points into it).  CTL_OK, or CTL_BAD_INPUT after one line. */
enum ctl_exit options_read(
    struct options *o, struct ctl *c, int argc, char *argv[]);
/* A member's id, of the option or operand that source names. */
enum ctl_exit options_id(const char *source, const char *value, uint64_t *id);
/* "--stale": the first of the options in mask. */
const char *options_name(unsigned mask);
void options_help(unsigned mask); /* lines for those in mask, to stdout */

#endif
