/* The store: an open engine, the state record in it, and the writes that are
 * not in the engine yet.
 *
 * Those are in two tables.  What is staged goes into the active one.  To be
 * written it is frozen: the tables change places, the helper thread of flush.h
 * (or the caller) writes the frozen one in one atomic step, and when that is
 * done it is settled: the engine has what is in it.  store_get() looks into the
 * active table, the other one and the engine, so it sees all that was staged,
 * wherever it is.  A settled table is emptied by the next freeze, not before:
 * what was written a moment ago is what is asked for, and a table is quicker
 * than an engine.
 *
 * While nothing is frozen the engine holds exactly `flushed`, a state that the
 * store once had; views of the engine (scan) are begun then.
 *
 * An error of any call but ERR_NOT_FOUND means that the store must not be
 * used any more: kvd ends with EX_IOERR. */
#ifndef KVD_STORE_H
#define KVD_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "kvd/engine.h"
#include "kvd/heads.h"
#include "kvd/overlay.h"
#include "kvd/record.h"

struct store {
	const struct engine_ops *ops;
	struct engine *engine;
	char *dir;
	struct state state;   /* with what is staged */
	struct state flushed; /* what the engine has */
	struct overlay active;
	struct overlay frozen;     /* or settled, which is as good as empty */
	bool is_frozen;            /* the engine may lack what is in it */
	struct state frozen_state; /* that is in `frozen` */
	struct heads heads;        /* kept by who stages keys */
	struct buf scratch;
};

/* A record, and its key's part in the state hash if that is known. */
struct store_found {
	struct bytes record; /* borrowed until the next call on the store */
	bool hashed;
	struct hash128 hash;
};

/* dir exists and is locked by the caller.  A new store has a state of zeroes
 * (but for format). */
enum err store_open(
    struct store *s, const struct engine_ops *ops, const char *dir);
/* hash: record_hash() of the name. */
enum err store_get(struct store *s, struct bytes name, uint64_t hash,
    struct store_found *found);
/* The name with that hash is about to be put, removed or got. */
void store_expect(const struct store *s, uint64_t hash);
/* A key's record: with its part in the state hash before (zero: there was no
 * such key) and after. */
void store_put_key(struct store *s, struct bytes name, uint64_t hash,
    struct bytes record, struct hash128 was, struct hash128 is);
void store_remove_key(
    struct store *s, struct bytes name, uint64_t hash, struct hash128 was);
/* Another record. */
void store_put(struct store *s, struct bytes name, struct bytes record);
void store_remove(struct store *s, struct bytes name);
/* Is there something to freeze, be it only a new applied index? */
bool store_is_dirty(const struct store *s);

/* Memory of what the engine does not have. */
size_t store_pending_bytes(const struct store *s);

/* Nothing is frozen: what is staged, and the state, are now. */
void store_freeze(struct store *s);
bool store_is_frozen(const struct store *s);
/* Write what is frozen in one atomic step; nothing else of the store is looked
 * at.  writes: those of the frozen table, in any order. */
enum err store_write_frozen(
    const struct store *s, const struct engine_write *writes);
/* It is written: the engine has what was frozen. */
void store_settle(struct store *s);

/* Nothing is frozen or staged, nobody syncs, no view is open: give back the
 * memory that only further writes would need.  What store_get() lent is given
 * back too. */
enum err store_shrink(struct store *s);

/* All of that: nothing is frozen, and what is staged is written. */
enum err store_write(struct store *s);
/* Sync and close; what is staged and not written is lost.  A store that failed
 * is not synced and is not marked as closed; one that cannot be synced is
 * condemned (marker.h). */
enum err store_close(struct store *s, bool failed);

#endif
