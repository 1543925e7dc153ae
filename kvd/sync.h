/* The syncer: a helper thread that makes an engine's writes durable in the
 * background, so that the loop never waits for a disk.  Raft's log is the
 * durability; what is synced here only moves the durable index, up to which a
 * power cut takes nothing back. */
#ifndef KVD_SYNC_H
#define KVD_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "kvd/engine.h"

struct syncer;

/* e is borrowed.  Each result makes loop_wait() of loop return.  An engine that
 * is not durable has no thread, and its durable index stays 0. */
struct syncer *syncer_open(
    struct loop *loop, const struct engine_ops *ops, struct engine *e);
/* The engine has everything up to index applied. */
void syncer_wrote(struct syncer *s, uint64_t applied);
/* The durable index; *failed: a sync failed, which is never tried again. */
uint64_t syncer_durable(struct syncer *s, bool *failed);
/* Waits for a sync that is running.  NULL is allowed. */
void syncer_close(struct syncer *s);

#endif
