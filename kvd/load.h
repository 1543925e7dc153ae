/* Becoming another state: all or nothing.
 *
 * The new state is built beside the store, which goes on answering stale reads
 * meanwhile: in DATA/kv/ENGINE.load, or in memory for an engine that is not
 * durable.  Records are checked and counted as they come, and each chunk is
 * one engine write, so memory is bounded by a chunk.  Only when keys, bytes and
 * the state hash, computed anew from the records, are those that the head
 * promised does the new store take the place of the old one (dirs.h).
 *
 * Nothing is synced for this.  A process that is killed loses nothing that it
 * wrote, and after a power cut a store that was open is not used (marker.h). */
#ifndef KVD_LOAD_H
#define KVD_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "kvd/store.h"
#include "proto/msg.h"

struct kvd;
struct load;

/* Is there room for such a state beside the present one, as far as can be told
 * before it is there?  Logged if not. */
bool load_has_room(const struct engine_ops *ops, const char *kv_dir,
    const struct msg_snap_head *head);
/* Of a state that raftd or another engine has; it will be owner's.  Strings
 * are borrowed.  Errors of all calls are logged; after one, abandon it. */
enum err load_open(struct load **lp, const struct engine_ops *ops,
    const char *kv_dir, const struct state *owner,
    const struct msg_snap_head *head);
/* The records of a chunk, in order of name.  ERR_CORRUPT: not well-formed. */
enum err load_chunk(struct load *l, struct bytes chunk);
/* That was all.  ERR_CORRUPT: it is not what the head promised. */
enum err load_finish(struct load *l);
/* *s, which is open, becomes what was loaded; *lp = NULL in any case.  After
 * an error *s is closed. */
enum err load_swap(struct load **lp, struct store *s);
/* *lp = NULL; NULL is allowed there. */
void load_abandon(struct load **lp);

uint64_t load_keys(const struct load *l); /* so far */

/* --- what raftd sends (loading.c) --- */

/* LOAD_HEAD or LOAD_DATA.  The last chunk makes the switch, so that COMMITs
 * behind it find the new state. */
enum err loading_take(struct kvd *k, uint8_t type, struct wire *body);
/* The link broke, or kvd leaves. */
void loading_stop(struct kvd *k);
/* Not yet, after a state that was not what it claimed to be, or that there was
 * no room for: raftd would send it again at once. */
bool loading_must_wait(const struct kvd *k);

#endif
