/* Snapshot files: an engine-neutral copy of the state machine as of a log
 * index, with the membership at that index.  Format, validity rules and a
 * worked example are in SNAPSHOT.md.
 *
 *   DATA/raft/snap/%016x.snap     index; whole and synced once it has the name
 *   DATA/raft/snap/*.part         being written or received; removed at start,
 *                                 but for a transfer that can be resumed
 *
 * Every chunk has a checksum that also covers its place; the end has the number
 * of chunks, bytes and keys and the state hash.  raftd checks all of it before
 * a file is used, and knows nothing of what the chunks contain.
 *
 * Files are written by one helper thread (snapwrite), so the loop never waits
 * for a disk; each flushes every SNAP_FLUSH_BYTES, so that the log's syncs are
 * not held up behind a large one. */
#ifndef RAFTD_SNAPFILE_H
#define RAFTD_SNAPFILE_H

#include <stdint.h>

#include "proto/msg.h"
#include "raftd/wal.h"

#define SNAP_FLUSH_BYTES (2u << 20)

/* What a snapshot is a snapshot of: in the file's header. */
struct snap_meta {
	struct msg_snap_head head; /* id is 0 in files */
	struct wal_identity identity; /* of the node that made it */
	struct wal_conf conf;         /* members as of head.index */
	uint64_t file_bytes;          /* of the whole file; 0 while unknown */
};

#endif
