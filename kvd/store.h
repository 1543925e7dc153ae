/* The store: an open engine, the state record in it, and the writes that are
 * staged for the next engine write.  What is staged is seen by store_get().
 *
 * An error of any call but ERR_NOT_FOUND means that the store must not be
 * used any more: kvd ends with EX_IOERR. */
#ifndef KVD_STORE_H
#define KVD_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "kvd/engine.h"
#include "kvd/overlay.h"
#include "kvd/record.h"

struct store {
	const struct engine_ops *ops;
	struct engine *engine;
	char *dir;
	struct state state; /* with what is staged */
	uint64_t written;   /* index applied that the engine has */
	struct overlay staged;
	struct buf scratch;
};

/* dir exists and is locked by the caller.  A new store has a state of zeroes
 * (but for format). */
enum err store_open(
    struct store *s, const struct engine_ops *ops, const char *dir);
/* *record is borrowed until the next call. */
enum err store_get(struct store *s, struct bytes name, struct bytes *record);
void store_put(struct store *s, struct bytes name, struct bytes record);
void store_remove(struct store *s, struct bytes name);
/* Is there something to write, be it only a new applied index? */
bool store_is_dirty(const struct store *s);
/* Write what is staged and the state in one atomic step. */
enum err store_write(struct store *s);
/* Sync and close; what is staged and not written is lost.  A store that failed
 * is not synced and is not marked as closed. */
enum err store_close(struct store *s, bool failed);

#endif
