/* The writes of a run that are not in the engine yet: the last one of each
 * name, found by name, so that later commands see what earlier ones did. */
#ifndef KVD_OVERLAY_H
#define KVD_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "kvd/engine.h"

struct overlay_chunk;

/* Zeroed is empty and valid. */
struct overlay {
	struct engine_write *writes; /* n in use; their bytes are in chunks */
	size_t n, cap;
	uint32_t *slots;  /* position in writes + 1, or 0; open addressing */
	size_t slots_cap; /* a power of two */
	struct overlay_chunk *chunks; /* newest first */
	size_t bytes; /* names and records, overwritten ones too */
};

/* Both copy what they are given. */
void overlay_put(struct overlay *o, struct bytes name, struct bytes record);
void overlay_remove(struct overlay *o, struct bytes name);
/* The pending write of that name or NULL; borrowed until the next put or
 * remove, its bytes until the overlay is cleared. */
const struct engine_write *overlay_find(
    const struct overlay *o, struct bytes name);
void overlay_clear(struct overlay *o); /* keeps some memory */
void overlay_free(struct overlay *o);

#endif
