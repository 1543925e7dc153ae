/* Every bound of metcd in one place.  Bytes unless the name says otherwise. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include <assert.h>

#define KEY_BYTES_MAX 500u
#define VALUE_BYTES_MAX (1u << 20) /* --max-value-bytes can only lower it */

/* A batch of commands is closed when it has this many or is this large; so
 * the largest log entry is one more command on top. */
#define BATCH_COMMANDS_MAX 1024u
#define BATCH_BYTES_SOFT (1u << 20)
#define ENTRY_BYTES_MAX (4u << 20)

/* One frame of a link: the body of the largest message. */
#define FRAME_BODY_BYTES_MAX (16u << 20)
/* What a link holds for a counterpart that does not read: beyond it the
 * sender is told (link_is_full) and, if it goes on, the link is dropped. */
#define LINK_QUEUE_BYTES_MAX (64u << 20)
/* Silence after which a link is taken for dead, and the beat against it. */
#define LINK_BEAT_MS 500u
#define LINK_SILENCE_MS 5000u
#define LINK_HELLO_MS 2000u /* from connect to HELLO */
#define LINK_REDIAL_MS_MIN 10u
#define LINK_REDIAL_MS_MAX 250u
#define LINKS_ACCEPTED_MAX 64u /* of one listener, HELLO or not */
#define PEER_LINKS_MAX 8u      /* accepted of one node */

/* One COMMIT message is closed at this size; so at most one more entry on
 * top. */
#define COMMIT_BYTES_SOFT (1u << 20)
/* Committed entries sent to kvd and not yet acknowledged as applied. */
#define FEED_WINDOW_BYTES (16u << 20)

/* Linearizable reads in raftd: those that wait for their index, and again
 * those that wait for kvd. */
#define READS_WAITING_BYTES_MAX (8u << 20)
/* A record of kvd with its name, in its stored form. */
#define ENGINE_RECORD_BYTES_MAX (VALUE_BYTES_MAX + 4096u)

/* Snapshots: a chunk of records, and how many may be under way from kvd. */
#define SNAP_CHUNK_BYTES_SOFT (256u << 10)
#define SNAP_WINDOW_CHUNKS 8u
/* Chunks that raftd reads at once when kvd gets a snapshot. */
#define LOAD_SLICE_CHUNKS 64u
/* A piece of a snapshot file on its way to another node. */
#define SNAP_PIECE_BYTES (256u << 10)

#define NODES_MAX 32u /* members at a time */
#define NODE_ID_MAX 0xffffffffu
#define ADDRESS_BYTES_MAX 255u
#define SESSIONS_MAX 1024u        /* httpd epochs that kvd remembers */
#define SESSION_BATCHES_MAX 4096u /* unanswered batches of one session */
#define REQUESTS_INFLIGHT_MAX 16384u

static_assert(BATCH_BYTES_SOFT + KEY_BYTES_MAX + VALUE_BYTES_MAX + 65536 <
		  ENTRY_BYTES_MAX,
    "a batch fits into an entry");
static_assert(
    ENTRY_BYTES_MAX + COMMIT_BYTES_SOFT + 65536 < FRAME_BODY_BYTES_MAX,
    "entries fit into a frame");
static_assert(FRAME_BODY_BYTES_MAX < LINK_QUEUE_BYTES_MAX, "frame, queue");

#endif
