/* The WAL's writer: one helper thread that makes jobs durable in order, so
 * that the loop never waits for a disk.  Everything that waits when the disk
 * becomes free is one write and one fdatasync (group commit). */
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
	struct wal_position *positions; /* owned; one per entry, when done */
};

/* w is borrowed; wake (an eventfd watched in loop) makes loop_wait return when
 * jobs are done. */
struct writer *writer_open(struct loop *loop, struct wal *w);
/* Takes *job and sets it to NULL.  Collects; nothing starts before
 * writer_flush(), so that one turn's jobs are one write. */
void writer_submit(struct writer *wr, struct writer_job **job);
void writer_flush(struct writer *wr);
/* The done jobs, in order, or NULL.  The caller frees each. */
struct writer_job *writer_done(struct writer *wr);
size_t writer_waiting(const struct writer *wr); /* jobs not done */
void writer_job_free(struct writer_job **job);
/* Waits for all submitted jobs, then ends the thread. */
void writer_close(struct writer *wr);

#endif
