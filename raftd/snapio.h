/* The second helper thread: slow work on files that nothing waits for, so that
 * neither the loop nor the WAL's writer does it.  Snapshot files are written,
 * read and checked here, and what is no longer needed is removed.
 *
 * Jobs run one at a time, in order.  A long one does a slice, says "again" and
 * goes to the end of the queue, so that none holds up the others. */
#ifndef RAFTD_SNAPIO_H
#define RAFTD_SNAPIO_H

#include <stdbool.h>

#include "base/loop.h"

/* Embedded in what the job is about; whoever submits it owns it again when
 * done is called. */
struct snapio_job {
	struct snapio_job *next;
	/* On the helper thread; true: again, after the others.  It shares no
	 * memory with the loop but the job's own. */
	bool (*run)(struct snapio_job *job);
	/* In a turn of the loop, in order of completion.  cancelled: the
	 * process is closing and run may not have been called; only free it. */
	void (*done)(struct snapio_job *job, bool cancelled);
};

struct snapio;

/* The thread starts with the first job; loop is woken when jobs are done. */
struct snapio *snapio_open(struct loop *loop);
void snapio_submit(struct snapio *s, struct snapio_job *job);
void snapio_take(struct snapio *s); /* call done for what is done */
/* Waits for the slice that runs, cancels the rest.  NULL is allowed. */
void snapio_close(struct snapio *s);

#endif
