/* Sending the state to raftd: SNAP_ASK -> SNAP_HEAD, SNAP_DATA...
 *
 * The stream is a scan over all records, a view that is frozen when it begins
 * and stays as it is while commits go on being applied.  It begins when the
 * engine has all that was applied when it was asked for, between two writes of
 * the engine (writeback.h): head and records are of one state.  One chunk
 * leaves at a time, as long as raftd has room for it (SNAP_MORE) and the link
 * does; so a turn of the loop is never longer for it than a chunk takes.
 * Between chunks there is a pause: what waits for a processor or the disk is
 * served first.
 *
 * In it are the records of keys and of sessions (record.h).  The state record
 * is not: the head has all of it that does not differ from node to node.
 *
 * When the link breaks both ends give up; raftd asks again when it wants to.
 *
 * The keys are hashed on their way.  If that does not give the state hash the
 * store is damaged (check.h): the last chunk is never sent, nor is anything
 * more until kvd was rebuilt, so that no damage gets into a snapshot. */
#ifndef KVD_SNAPSHOT_H
#define KVD_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"
#include "kvd/engine.h"
#include "kvd/record.h"
#include "proto/msg.h"
#include "proto/wire.h"

struct kvd;

/* Zeroed: there is no stream. */
struct snapshot {
	bool asked;    /* it begins when the engine has */
	uint64_t from; /* this index */
	uint64_t id;
	uint32_t window;          /* chunks below it may be sent */
	uint32_t number;          /* of the next chunk */
	struct engine_iter *iter; /* NULL: no stream */
	struct mono next;         /* not before this */
	struct buf chunk;
	struct hash128 hash; /* that the keys must have, */
	struct hash128 sum;  /* and that of those sent so far */
};

/* SNAP_ASK or SNAP_MORE.  A new SNAP_ASK ends the stream before it. */
enum err snapshot_take(struct kvd *k, uint8_t type, struct wire *body);
/* Begin, or send a chunk. */
void snapshot_run(struct kvd *k, struct mono now);
/* Does one wait for the engine to be written? */
bool snapshot_waits(const struct kvd *k);
/* When snapshot_run() has something to do; MONO_NEVER. */
struct mono snapshot_next(const struct kvd *k);
/* Give up, before the engine is closed. */
void snapshot_stop(struct kvd *k);

/* What the state says of itself to others. */
struct msg_snap_head snapshot_head(const struct state *s, uint64_t id);
/* Append records from a scan to a chunk until it is full, and the hashes of
 * keys to *sum.  ERR_NOT_FOUND: that was all. */
enum err snapshot_fill(const struct engine_ops *ops, struct engine_iter *iter,
    struct buf *chunk, struct hash128 *sum);

#endif
