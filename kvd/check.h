/* Is this node's state what it should be?  Two answers to that, always on:
 *
 * Between nodes: every httpd proposes now and then, as a CMD_CHECK in the log,
 * what its kvd's state hash was at a log index.  Every kvd remembers its own
 * hashes of the last CHECK_INDEXES entries and compares when it applies the
 * entry.  With several nodes the one that most others contradict is wrong.
 *
 * Within a node: the state hash is carried along from change to change, so it
 * does not see what happens to a record below the engine.  So from time to time
 * all keys are read and hashed anew, a slice per turn (the scrub).  No view is
 * frozen for it: a key that is written behind the cursor is corrected for in
 * the sum, one before it is met later.
 *
 * Nothing of this changes the state: it is logged and shown in the status. */
#ifndef KVD_CHECK_H
#define KVD_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mono.h"
#include "kvd/store.h"
#include "proto/cmd.h"

#define CHECK_INDEXES 8192u /* a power of two */

struct check;

/* interval_ms: from the end of a scrub to the next one; 0: none at all. */
struct check *check_open(uint64_t interval_ms);
void check_close(struct check *c); /* NULL is allowed */

/* The state is another one, all of it: begin from nothing. */
void check_reset(struct check *c, const struct state *s);

/* --- between nodes --- */

void check_applied(struct check *c, const struct state *s); /* each entry */
void check_compare(
    struct check *c, const struct state *s, const struct cmd_check *theirs);

/* --- the scrub --- */

/* The engine has what is frozen, which is about to be settled. */
void check_written(struct check *c, const struct store *s);
/* Hash a slice, if it is time.  Nothing may be frozen: what is hashed is what
 * the engine has. */
void check_run(struct check *c, struct store *s, struct mono now);
struct mono check_next(const struct check *c); /* MONO_NEVER */

/* Whoever reads all keys and finds that their hash is not the state's. */
void check_found_damage(
    struct check *c, const struct store *s, struct hash128 found);
bool check_is_damaged(const struct check *c);

/* Is it known to be wrong?  *index: where that was found, else 0. */
bool check_diverged(const struct check *c, uint64_t *index);

#endif
