/* Write-back: the engine is written now and then, not in every turn.
 *
 * A turn's entries are applied to the active table of the store (store.h) and
 * answered: Raft's log is the durability, so no engine has to be waited for.
 * When the table is large (--write-back-bytes), its first write is old
 * (WRITE_BACK_MS) or somebody wants a view, it is frozen, with the sessions and
 * the state record as of that moment, and the flusher (flush.h) writes it.  So
 * the engine always holds the state as of one applied index, as before, only an
 * older one: a kvd that was killed says so in HELLO and is fed what followed,
 * and as sessions are part of the state nothing is applied twice.
 *
 *     turn: take, collect, reply, answer, [views begin], run
 *                  |                                      |
 *                  settle what is written                 freeze and start
 *
 * Between collect and run nothing is frozen, if the last flush is done: there
 * snapshots begin and the scrub reads, so no flood of writes keeps them out.
 *
 * When the active table is full too, kvd goes on applying but does not tell
 * raftd that it has: raftd's window (FEED_WINDOW_BYTES) closes, and no queue
 * here has to wait.  So the tables have up to twice --write-back-bytes and that
 * window, whatever the disk does.
 *
 * Some seconds after much was written, when nothing is left to write or to
 * sync, the memory for writes is given back (store_shrink()): tables, and what
 * the engine keeps.
 *
 * An engine that is not concurrent, or --write-back-bytes 0: every turn is
 * written before it is answered.  Figures are in WRITEBACK.md. */
#ifndef KVD_WRITEBACK_H
#define KVD_WRITEBACK_H

#include <stdint.h>

#include "base/mono.h"

struct kvd;

#define WRITE_BACK_MS 2000u
#define WRITE_BACK_SHRINK_MS 5000u
#define WRITE_BACK_BYTES (UINT64_C(16) << 20) /* LevelDB: half of it */

/* The store's helper threads: flusher and syncer.  None without a loop. */
void writeback_open(struct kvd *k);
/* Waits for both; what is frozen or staged may be left.  False: a sync has
 * failed, which kvd_fail() was not told of yet. */
bool writeback_close(struct kvd *k);

/* Settle what the flusher has written; without one, write what is staged. */
void writeback_collect(struct kvd *k);
/* Start a flush, if it is time and none runs; or shrink. */
void writeback_run(struct kvd *k, struct mono now);
/* When writeback_run() has something to do; MONO_NEVER. */
struct mono writeback_next(const struct kvd *k);
/* The index that raftd may be told as applied; it was told `told`. */
uint64_t writeback_progress(const struct kvd *k, uint64_t told);
/* Write all that there is, and wait for it: at a clean end. */
void writeback_finish(struct kvd *k);

#endif
