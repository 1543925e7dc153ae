/* The KVStore interface: what a storage engine is.
 *
 * An engine is an ordered map from record names to records, both bytes, that
 * writes a batch of them in one atomic step.  It knows nothing of revisions or
 * of Raft: kvd's state (applied index, revision, hash...) is a record in the
 * same batch as the data (record.h), so both are there or neither is.
 *
 * Called in turns of kvd's loop, one at a time but on any thread, except sync,
 * which is called from one helper thread, and the write of a concurrent engine,
 * which may be called from another one: both possibly while a turn is in get,
 * scan, scan_next or release (but not in shrink).  No two writes at a time, and
 * the one that closes has waited for both.  Every call returns OK or an enum
 * err, and has logged why; on error the store is unchanged, and kvd ends with
 * EX_IOERR: an engine error never skips an entry. */
#ifndef KVD_ENGINE_H
#define KVD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/err.h"

/* Record names have 1..511 bytes (LMDB's limits). */
#define ENGINE_NAME_BYTES_MAX 511u

struct engine;      /* one open store, each engine's own */
struct engine_iter; /* a frozen view */

struct engine_write {
	struct bytes name;
	struct bytes record;
	bool remove; /* record is not looked at; absent names are no error */
};

/* Writes of a batch: every name at most once, in any order. */
struct engine_ops {
	const char *name; /* as given to --engine */
	bool durable;     /* false: what it holds ends with the process */
	bool concurrent;  /* others may read while one thread writes */

	/* Open or create the store in dir (exists, locked by the caller).
	 * What SIGKILL left is whole.  After a power cut it may not be: the
	 * caller keeps such a directory from being opened (marker.h). */
	enum err (*open)(struct engine **ep, const char *dir);
	/* Write all n in one atomic, not yet durable, step; visible to every
	 * get and scan that begins after it. */
	enum err (*write)(
	    struct engine *e, const struct engine_write *writes, size_t n);
	/* A long write calls rest(arg) now and then, which may sleep, so that
	 * it does not keep a processor to itself.  NULL: its writes are short,
	 * or one call of a library. */
	void (*set_rest)(struct engine *e, void (*rest)(void *), void *arg);
	/* Let a slice of what was written go to the disk, from *at on, wait
	 * for it, and move *at behind it, or to 0 at the end: a sync that
	 * comes then is short, and who else syncs files on that disk does not
	 * wait behind all of it.  Called by the thread that syncs; an error is
	 * one of a sync.  NULL: syncs are short. */
	enum err (*write_out)(struct engine *e, uint64_t *at);
	/* Make all writes durable that were complete when it was called. */
	enum err (*sync)(struct engine *e);
	/* *record is borrowed until the next get, scan or release, and if the
	 * loop writes until that.  ERR_NOT_FOUND. */
	enum err (*get)(
	    struct engine *e, struct bytes name, struct bytes *record);
	/* What get lent is given back, so that it keeps nothing in the store
	 * that later writes could use.  NULL: it never does. */
	void (*release)(struct engine *e);
	/* Give back memory that is kept for further writes.  Called in a turn,
	 * while nobody writes or syncs and no view is open; what get lent is
	 * given back too.  NULL: there is none. */
	enum err (*shrink)(struct engine *e);
	/* A frozen view of the names that start with prefix (all, if it is
	 * empty), in order of memcmp, from the first one not before `from`;
	 * writes go on meanwhile.  next gives ERR_NOT_FOUND at the end; what it
	 * gives is borrowed until the next call with this iterator. */
	enum err (*scan)(struct engine *e, struct bytes prefix,
	    struct bytes from, struct engine_iter **ip);
	enum err (*scan_next)(
	    struct engine_iter *i, struct bytes *name, struct bytes *record);
	void (*scan_close)(struct engine_iter *i); /* NULL is allowed */
	/* Close without syncing, after all iterators; NULL is allowed. */
	void (*close)(struct engine *e);
};

extern const struct engine_ops engine_memory, engine_lmdb, engine_leveldb;

/* Sizes, set before the first store is opened. */
struct engine_sizes {
	uint64_t lmdb_map_bytes;      /* most that a store holds; 0: no limit */
	uint64_t leveldb_cache_bytes; /* of blocks that were read */
	uint64_t leveldb_write_buffer_bytes; /* up to two are in memory */
	/* Set by an engine when it is opened: what is written in one step
	 * should not be larger, lest it take too much room.  0: any */
	uint64_t write_bytes;
};
extern struct engine_sizes engine_sizes;

/* The i-th of them, or NULL. */
const struct engine_ops *engine_at(size_t i);
/* By name, or NULL. */
const struct engine_ops *engine_find(const char *name);
/* "memory, lmdb, leveldb", for messages. */
const char *engine_names(void);

#endif
