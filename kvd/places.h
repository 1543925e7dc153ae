/* Where records are: of an engine whose frozen view is memory that does not
 * move, like LMDB's map.  A walk down its tree costs a dozen cache lines that
 * nobody has fetched; a record that was found once in a view is found here with
 * one, until the view ends.
 *
 * It is a cache: a name may be missing at any time. */
#ifndef KVD_PLACES_H
#define KVD_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define PLACES_BYTES ((size_t)4 << 20) /* from the first put on */

struct place;

/* Zeroed is empty and valid. */
struct places {
	struct place *table; /* PLACES_BYTES, or NULL */
	uint32_t view;       /* places of others count no more */
};

/* hash: of the name, the same one each time.  False: not here. */
bool places_find(const struct places *p, struct bytes name, uint64_t hash,
    struct bytes *record);
/* Both are borrowed until places_forget(). */
void places_put(
    struct places *p, struct bytes name, uint64_t hash, struct bytes record);
/* The view has ended. */
void places_forget(struct places *p);
void places_free(struct places *p);

#endif
