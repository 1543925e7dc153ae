/* The syncer: a helper thread that makes an engine's writes durable in the
 * background, so that the loop never waits for a disk and a clean stop is
 * short.  Raft's log is the durability: after a power cut a store that was open
 * is rebuilt from it (marker.h), so the durable index says what is synced, not
 * what the log may forget. */
#ifndef KVD_SYNC_H
#define KVD_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/metrics.h"
#include "kvd/engine.h"

struct syncer;

/* From the start of a sync to the next one.  Nobody waits for it, and what is
 * written again meanwhile goes to the disk once. */
#define SYNC_MS 5000u

/* e is borrowed; pause_ms: SYNC_MS, or for tests less.  Each result wakes
 * loop.  An engine that is not durable has no thread, and
 * its durable index stays 0. */
struct syncer *syncer_open(struct loop *loop, const struct engine_ops *ops,
    struct engine *e, uint64_t pause_ms);
/* The engine has everything up to index applied. */
void syncer_wrote(struct syncer *s, uint64_t applied);
/* The durable index; *failed: a sync failed, which is never tried again. */
uint64_t syncer_durable(struct syncer *s, bool *failed);
/* How long syncs took (HISTOGRAM_DISK); false: there are none. */
bool syncer_figures(struct syncer *s, struct histogram *syncs);
/* Waits for a sync that is running.  False: one has failed.  NULL is allowed.
 */
bool syncer_close(struct syncer *s);

#endif
