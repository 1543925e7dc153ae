/* The flusher: a helper thread that writes what is frozen (store.h) to the
 * engine, in order of name, in one atomic step, while the loop goes on applying
 * and reading.
 *
 * The loop freezes, calls flusher_start(), and settles when flusher_poll() says
 * that it is written.  In between neither side changes what is frozen. */
#ifndef KVD_FLUSH_H
#define KVD_FLUSH_H

#include "base/loop.h"
#include "kvd/store.h"

enum flush_state {
	FLUSH_IDLE,
	FLUSH_RUNS,
	FLUSH_WRITTEN, /* said once; idle afterwards */
	FLUSH_FAILED,  /* for good: never tried again */
};

struct flusher;

/* s is borrowed; its engine is a concurrent one.  The end of each flush wakes
 * loop. */
struct flusher *flusher_open(struct loop *loop, const struct store *s);
/* Idle, and something is frozen: begin, without haste: the writes rest now and
 * then, so that those who answer requests find a processor. */
void flusher_start(struct flusher *f);
/* The rest of this flush is waited for. */
void flusher_hurry(struct flusher *f);
/* *why: an error, if it has failed. */
enum flush_state flusher_poll(struct flusher *f, enum err *why);
/* The same, but waits, as long as the disk takes, if it runs. */
enum flush_state flusher_wait(struct flusher *f, enum err *why);
/* Waits likewise.  NULL is allowed. */
void flusher_close(struct flusher *f);

#endif
