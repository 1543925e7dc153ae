/* The kinds of data files: a handler each, with a context that is made before
 * the first directive and released after the last. */
#ifndef HARNESS_KINDS_H
#define HARNESS_KINDS_H

#include "tests/script/harness/script.h"

struct kind {
	const char *name;
	script_handler handle;
	void *(*open)(void); /* NULL: no context */
	void (*close)(void *ctx);
};

extern const struct kind kind_interaction, kind_quorum, kind_confchange;

#endif
