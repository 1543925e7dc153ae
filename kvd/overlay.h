/* A table of writes that are not in the engine yet: the last one of each name,
 * found by name, so that later commands see what earlier ones did.
 *
 * Nothing in it moves or changes once it is frozen (store.h): then a helper
 * thread may read it while the loop looks names up. */
#ifndef KVD_OVERLAY_H
#define KVD_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "kvd/engine.h"

struct overlay_chunk;

/* What the table knows of a write besides what the engine is told. */
struct overlay_note {
	/* A key's part in the state hash: before the first write of the table,
	 * and after the last one.  Zero: no such key, or no key's record. */
	struct hash128 was, is;
	size_t room; /* bytes that the record may take where it is */
};

struct overlay_slot {
	uint32_t hash; /* of the name */
	uint32_t at;   /* position in writes + 1, or 0 */
};

/* Zeroed is empty and valid. */
struct overlay {
	struct engine_write *writes; /* n in use; their bytes are in chunks */
	struct overlay_note *notes;  /* as many */
	size_t n, cap;
	struct overlay_slot *slots;   /* open addressing */
	size_t slots_cap;             /* a power of two */
	struct overlay_chunk *chunks; /* in use, newest first */
	struct overlay_chunk *spare;  /* of a usual size, for the next ones */
	size_t bytes; /* memory in use, about; records that did not fit where
		       * the one before them was count twice */
};

/* Both copy what they are given.  hash: record_hash() of the name.  was, is:
 * see overlay_note; `was` is looked at only if the name is not there yet. */
void overlay_put(struct overlay *o, struct bytes name, uint64_t hash,
    struct bytes record, struct hash128 was, struct hash128 is);
void overlay_remove(
    struct overlay *o, struct bytes name, uint64_t hash, struct hash128 was);
/* The name with that hash is about to be put, removed or found. */
void overlay_expect(const struct overlay *o, uint64_t hash);
/* The pending write of that name (its note is at the same position) or NULL;
 * borrowed until the next put or remove. */
const struct engine_write *overlay_find(
    const struct overlay *o, struct bytes name, uint64_t hash);
/* Keeps memory for as much again, within bounds. */
void overlay_clear(struct overlay *o);
void overlay_free(struct overlay *o);

#endif
