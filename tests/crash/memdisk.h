/* A disk in memory for the WAL: it forgets what was not synced, tears writes,
 * fails on demand.  It takes the place of wal_disk_posix.
 *
 * Each file has what programs read and what the platter has; between two syncs
 * it keeps every write, so that a power cut can leave any mixture of them.
 * Names are likewise: durable only once the directory was synced. */
#ifndef TESTS_CRASH_MEMDISK_H
#define TESTS_CRASH_MEMDISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "raftd/wal.h"

enum memdisk_op {
	MEMDISK_CREATE = 1,
	MEMDISK_WRITE = 2,
	MEMDISK_SYNC = 4,
	MEMDISK_RENAME = 8,
	MEMDISK_REMOVE = 16,
	MEMDISK_SYNC_DIR = 32,
	MEMDISK_READ = 64
};

enum memdisk_cut {
	MEMDISK_CUT_ALL,    /* nothing survives that was not synced */
	MEMDISK_CUT_NONE,   /* all of it does: the process alone died */
	MEMDISK_CUT_PREFIX, /* all up to some byte of some write */
	MEMDISK_CUT_RANDOM  /* each sector in any state since the last sync */
};

struct memdisk;

struct memdisk *memdisk_new(void);
struct memdisk *memdisk_clone(const struct memdisk *md);
void memdisk_free(struct memdisk *md);
struct wal_disk memdisk_disk(struct memdisk *md);

/* The nth operation (1 is the next) of these kinds fails with EIO, and does
 * what such a failure does: a write is done in part, a sync loses its data for
 * good.  nth 0: none fails. */
void memdisk_fail(struct memdisk *md, unsigned ops, uint64_t nth);
bool memdisk_has_failed(const struct memdisk *md);
/* How many operations of this kind there were. */
uint64_t memdisk_ops(struct memdisk *md, enum memdisk_op op);
/* Power goes at the nth changing operation from now (1 is the next), which and
 * all later ones fail; a write at that moment can be found torn after
 * memdisk_cut(), which must follow. */
void memdisk_power_off(struct memdisk *md, uint64_t nth);
/* Power goes and comes back. */
void memdisk_cut(struct memdisk *md, enum memdisk_cut mode, uint64_t *seed);

/* The content of the file, to be looked at and tampered with; what a test
 * writes here is on the platter after memdisk_settle().  NULL: no such file. */
struct buf *memdisk_file(struct memdisk *md, const char *name);
void memdisk_settle(struct memdisk *md);
/* The name of the file that sorts last, or NULL. */
const char *memdisk_last_name(const struct memdisk *md);
size_t memdisk_file_count(const struct memdisk *md);
/* Both have the same files with the same content. */
bool memdisk_same(struct memdisk *a, struct memdisk *b);
/* As rename(2) and unlink(2), durable at once. */
void memdisk_move(struct memdisk *md, const char *from, const char *to);

/* A number in 0..n-1 (splitmix64). */
uint64_t memdisk_random(uint64_t *seed, uint64_t n);

#endif
