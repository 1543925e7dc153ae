/* Who waits for the answer to a question that was sent with a token, until a
 * deadline: lists of them.  All of a list are given the same time, so the first
 * is always the next to run out. */
#ifndef HTTPD_ASKER_H
#define HTTPD_ASKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"

/* Memory of its request, zeroed at first. */
struct asker {
	struct asker *prev, *next;
	uint64_t token; /* of its question; comes back in the answer */
	struct mono deadline;
	bool waiting;
};

struct askers {
	struct asker *first, *last; /* in order of token, and of deadline */
	uint64_t token;             /* the last one given; they count from 1 */
};

/* a waits from now on, under the next token. */
void asker_add(struct askers *list, struct asker *a, struct mono deadline);
/* It does not wait any more; one that does not is left alone. */
void asker_remove(struct askers *list, struct asker *a);
/* Who waits for this token, or NULL: its client may have left. */
struct asker *asker_find(const struct askers *list, uint64_t token);
struct mono asker_next(const struct askers *list); /* MONO_NEVER if none */

#endif
