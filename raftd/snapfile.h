/* Snapshot files: an engine-neutral copy of the state machine as of a log
 * index, with the membership at that index.  Format, validity rules and a
 * worked example are in SNAPSHOT.md.
 *
 *   DATA/raft/snap/%016x.snap     index; whole and synced once it has the name
 *   DATA/raft/snap/NAME.part       being written or received; removed at start,
 *                                 but for a transfer that can be resumed
 *   DATA/raft/snap/NAME.damaged      set aside, never read
 *
 * Every chunk has a checksum that also covers its place; the end has the number
 * of chunks, bytes and keys and the state hash.  raftd checks all of it before
 * a file is used, and knows nothing of what the chunks contain.
 *
 * Nothing here starts a thread and every call may wait for the disk: raftd
 * calls from its helper thread (snapio.h), so the loop never does.  Files are
 * reached through struct wal_disk, so that tests can stand in for the disk. */
#ifndef RAFTD_SNAPFILE_H
#define RAFTD_SNAPFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/msg.h"
#include "raftd/wal.h"

/* Written bytes are synced this often, so that the log's syncs are not held up
 * behind a large file. */
#define SNAP_FLUSH_BYTES (2u << 20)
#define SNAP_NAME_BYTES 48u

/* What a snapshot is a snapshot of: in the file's header. */
struct snap_meta {
	struct msg_snap_head head;    /* id is 0 in files */
	struct wal_identity identity; /* of the node that made it */
	struct wal_conf conf;         /* members as of head.index */
};

/* Which file it is: two with the same id have the same bytes. */
struct snapfile_id {
	uint64_t index, term;
	uint64_t bytes;    /* of the whole file */
	uint64_t checksum; /* of its end, chained to all that is before */
};

bool snapfile_id_equal(
    const struct snapfile_id *a, const struct snapfile_id *b);

/* ---- names ---- */

void snapfile_name(uint64_t index, char out[SNAP_NAME_BYTES]);
bool snapfile_name_parse(const char *name, uint64_t *index);
/* Of a file that is being received. */
void snapfile_part_name(
    const struct snapfile_id *id, char out[SNAP_NAME_BYTES]);
bool snapfile_part_parse(const char *name, uint64_t *index, uint64_t *checksum);

/* ---- the description, also carried by Raft's snapshot messages ---- */

void snap_meta_encode(const struct snap_meta *m, struct buf *out);
enum err snap_meta_decode(struct bytes in, struct snap_meta *m); /* CORRUPT */

/* ---- writing ---- */

struct snapfile_writer;

/* Begin a file under a name of its own; d is borrowed.  All three: ERR_OK,
 * ERR_NO_SPACE or ERR_IO, logged; after an error only snapfile_drop(). */
enum err snapfile_create(struct snapfile_writer **wp, const struct wal_disk *d,
    const char *name, const struct snap_meta *meta);
enum err snapfile_put(struct snapfile_writer *w, struct bytes chunk);
/* Write the end, sync, rename to `name`, sync the directory. */
enum err snapfile_finish(
    struct snapfile_writer *w, const char *name, struct snapfile_id *id);
/* Free w; what was not finished is removed.  NULL is allowed. */
void snapfile_drop(struct snapfile_writer *w);

/* ---- reading ---- */

struct snapfile_reader;

/* Header and end are checked: what is between them, snapfile_next() does.
 * ERR_OK, ERR_CORRUPT, ERR_VERSION or ERR_IO, logged with file and offset. */
enum err snapfile_open(struct snapfile_reader **rp, const struct wal_disk *d,
    const char *name, struct snap_meta *meta, struct snapfile_id *id);
/* The next chunk, checked; borrowed until the next call.  Not to be called
 * again after *last or an error.  ERR_OK, ERR_CORRUPT, ERR_IO, logged. */
enum err snapfile_next(
    struct snapfile_reader *r, struct bytes *chunk, bool *last);
void snapfile_close(struct snapfile_reader *r); /* NULL is allowed */

#endif
