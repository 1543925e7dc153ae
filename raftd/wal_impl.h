/* What the files of the WAL share; nobody else includes this.
 *   wal.c         writing: encode, write, sync, roll
 *   wal_segment.c segments: the table, making one, zero-filling
 *   wal_cut.c     segments that are not needed any more
 *   wal_read.c    a window on a segment, and reading entries back
 *   wal_recover.c what wal_open() does
 *   wal_format.c  bytes;  wal_disk.c  files */
#ifndef RAFTD_WAL_IMPL_H
#define RAFTD_WAL_IMPL_H

#include <pthread.h>

#include "base/buf.h"
#include "raftd/wal.h"
#include "raftd/wal_format.h"

#define WAL_NO_RECORD SIZE_MAX

struct wal_segment {
	uint32_t sequence;
	uint64_t first;
	int fd;         /* -1: not open yet */
	uint64_t bytes; /* where its records end; 0: it is being written */
};

/* A window on one segment that slides and grows as needed. */
struct wal_reader {
	const struct wal_disk *disk;
	struct wal_segment segment;
	uint64_t size;  /* of the file */
	size_t chunk;   /* bytes to read at least */
	struct buf buf; /* bytes from `start` on */
	uint64_t start;
	enum err err; /* sticky: OK or ERR_IO */
};

struct wal {
	const struct wal_disk *disk; /* borrowed */
	struct wal_identity id;

	/* The segments in order of their sequence, without a gap; the last one
	 * is being written.  Entries never change; lock is for the table. */
	pthread_mutex_t lock;
	struct wal_segment *segments;
	size_t segment_count, segment_cap;
	bool remove_failed; /* under lock: an old file stayed, so all must */
	struct wal_figures figures; /* under lock */

	/* In turns of the loop: of wal_read(). */
	struct wal_reader reader;

	/* The writer's from here on. */
	uint64_t segment_bytes, prefill_bytes; /* limits */
	struct wal_segment cur;
	uint64_t begin;  /* in cur: where records that are its own begin */
	uint64_t at;     /* in cur: where the next write goes */
	uint64_t filled; /* size of cur's file, zeros from `at` on */
	uint64_t chain;  /* checksum of the last record sealed */
	uint64_t batch;  /* number of the next sync */
	bool unsynced;   /* records were written since the last sync */
	bool failed;     /* a write or sync has failed: nothing is written */
	struct buf out;  /* records that go to cur at `at` */
	size_t open;     /* the one in out not sealed yet, or WAL_NO_RECORD */
	struct buf head; /* scratch */

	/* What was last put; every new segment begins with it. */
	struct raft_hard_state hard_state;
	struct wal_conf conf;
	struct wal_mark mark; /* index 0: none, nor in segments */
	uint64_t last;        /* index of the last entry */
};

/* ---- wal_segment.c ---- */

/* Callable on any thread: the segment with this sequence number. */
bool wal_segment_find(
    struct wal *w, uint32_t sequence, struct wal_segment *out);
void wal_segment_add(struct wal *w, const struct wal_segment *s);
/* Nothing more is written to w->cur. */
void wal_segment_ended(struct wal *w);
/* Begin segment `sequence`; what is in the one before is synced.  It becomes
 * w->cur, has hard state and configuration as its first records, and it and its
 * name are durable. */
enum err wal_segment_begin(struct wal *w, uint32_t sequence);
/* Zeros, synced, from w->filled up to and beyond end. */
enum err wal_segment_fill(struct wal *w, uint64_t end);
/* Log the failure of op and end all writing; returns ERR_IO. */
enum err wal_failed(struct wal *w, const char *op, const char *name);

/* ---- wal.c ---- */

/* Append a record to w->out; no look at limits. */
void wal_put(
    struct wal *w, enum wal_type type, struct bytes head, struct bytes data);
/* Seal the open record, if there is one. */
void wal_seal(struct wal *w, uint8_t flags);

/* ---- wal_read.c ---- */

/* Point r, zeroed before its first use, at the start of s. */
enum err wal_reader_open(struct wal_reader *r, const struct wal_disk *disk,
    const struct wal_segment *s, size_t chunk);
void wal_reader_free(struct wal_reader *r);
/* n bytes at offset, borrowed until the next call; NULL if the file ends before
 * or (r->err) cannot be read. */
const uint8_t *wal_reader_at(struct wal_reader *r, uint64_t offset, size_t n);
/* The valid record at offset: its bytes, or NULL. */
const uint8_t *wal_reader_record(struct wal_reader *r,
    const struct wal_identity *id, uint64_t offset, struct wal_record *rec);

/* ---- wal_recover.c ---- */

typedef void wal_entry_fn(
    void *arg, const struct raft_entry *e, struct wal_position at);
enum err wal_recover(struct wal *w, struct wal_recovered *rec,
    wal_entry_fn *on_entry, void *arg);

#endif
