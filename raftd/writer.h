/* The WAL's writer: a helper thread, or another one that has just done a turn,
 * makes jobs durable in order, so that the loop never waits for a disk.
 * Everything that waits when the disk becomes free is one write and one
 * fdatasync (group commit). */
#ifndef RAFTD_WRITER_H
#define RAFTD_WRITER_H

#include "base/loop.h"
#include "raftd/raft/raft.h"
#include "raftd/wal.h"

struct writer;

/* A MSG_STORAGE_APPEND on its way to the disk and back. */
struct writer_job {
	struct writer_job *next;
	struct raft_msg append; /* owned; its responses are due when done */
	struct wal_conf *conf;  /* owned; NULL: none */
	struct wal_mark mark;   /* index 0: none; goes before the entries */
	struct wal_position *positions; /* owned; one per entry, when done */
};

/* w is borrowed; loop is poked when jobs are done.  After loop_signals(): the
 * thread takes no signals.  A write that fails ends the process with EX_IOERR.
 */
struct writer *writer_open(struct loop *loop, struct wal *w);
/* Takes *job and sets it to NULL.  Collects; nothing starts before
 * writer_flush(), so that one turn's jobs are one write.  A job that only tells
 * the commit index waits for the next one that tells more, or for
 * writer_press(). */
void writer_submit(struct writer *wr, struct writer_job **job);
void writer_flush(struct writer *wr);
/* What waits leaves with the next flush: once per tick, since the record of the
 * commit index also proves the batch before it (WAL.md). */
void writer_press(struct writer *wr);
/* The next job that is done, in order of submission, or NULL; the caller frees
 * it. */
struct writer_job *writer_done(struct writer *wr);
size_t writer_waiting(const struct writer *wr); /* not taken by writer_done() */
void writer_job_free(struct writer_job **job);
/* Waits for all submitted jobs, then ends the thread; NULL is allowed. */
void writer_close(struct writer *wr);

#endif
