/* The WAL's writer; see writer.h.
 *
 *   staged --flush--> queue --write_queue()--> done --writer_done()--> the
 * caller
 *
 * staged is the loop's alone; queue and done are under the lock.  Who writes
 * has set `writing`: the thread, or another one that has just done the turn
 * which had something to write (loop_afterwards()) and need not be woken for
 * it.  It only reads the bytes of payloads: it never touches a blob's count. */
#include "raftd/writer.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct jobs { /* in order */
	struct writer_job *head;
	struct writer_job **tail;
};

struct writer {
	struct loop *loop; /* borrowed */
	struct wal *wal;   /* borrowed; of who writes */
	pthread_t thread;

	/* In turns of the loop. */
	struct jobs staged;
	struct jobs taken; /* from done, not handed out yet */
	size_t waiting;
	bool urgent; /* one of staged may not wait for the next */
	uint64_t staged_term, staged_vote; /* of the last hard state */

	pthread_mutex_t lock;
	pthread_cond_t work; /* there may be something for the thread */
	struct jobs queue, done;
	bool writing;
	bool stop;

	/* Of who writes: what was last made durable. */
	uint64_t term, vote;
	struct wal_batch_item *items;
	struct raft_hard_state *hard_states;
	struct wal_position *positions;
	size_t item_cap, position_cap;
};

/* ---- lists ---- */

static void
jobs_init(struct jobs *j)
{
	j->head = NULL;
	j->tail = &j->head;
}

static void
jobs_push(struct jobs *j, struct writer_job *job)
{
	job->next = NULL;
	*j->tail = job;
	j->tail = &job->next;
}

/* Move all of src behind dst. */
static void
jobs_move(struct jobs *dst, struct jobs *src)
{
	if (src->head == NULL)
		return;
	*dst->tail = src->head;
	dst->tail = src->tail;
	jobs_init(src);
}

/* ---- who writes ---- */

static size_t
grown(size_t need, size_t cap)
{
	while (cap < need)
		cap = cap == 0 ? 16 : cap * 2;
	return cap;
}

static void
reserve(struct writer *wr, size_t items, size_t positions)
{
	if (items > wr->item_cap) {
		wr->item_cap = grown(items, wr->item_cap);
		wr->items =
		    mem_resize(wr->items, wr->item_cap, sizeof(*wr->items));
		wr->hard_states = mem_resize(
		    wr->hard_states, wr->item_cap, sizeof(*wr->hard_states));
	}
	if (positions > wr->position_cap) {
		wr->position_cap = grown(positions, wr->position_cap);
		wr->positions = mem_resize(
		    wr->positions, wr->position_cap, sizeof(*wr->positions));
	}
}

/* One job as an item; true if it must be synced: entries, term and vote are
 * promises (thesis 3.8), while a commit index that is lost is learnt again. */
static bool
fill_item(struct writer *wr, const struct writer_job *job, size_t i)
{
	const struct raft_msg *m = &job->append;
	struct raft_hard_state *hs = &wr->hard_states[i];
	bool must_sync =
	    m->entry_count > 0 || job->conf != NULL || job->mark.index != 0;

	wr->items[i] = (struct wal_batch_item){.entries = m->entries,
	    .entry_count = m->entry_count,
	    .conf = job->conf,
	    .mark = job->mark.index != 0 ? &job->mark : NULL};
	if (m->term == 0 && m->vote == 0 && m->commit == 0)
		return must_sync; /* unchanged */
	*hs = (struct raft_hard_state){
	    .term = m->term, .vote = m->vote, .commit = m->commit};
	wr->items[i].hard_state = hs;
	must_sync |= m->term != wr->term || m->vote != wr->vote;
	wr->term = m->term;
	wr->vote = m->vote;
	return must_sync;
}

/* Hand each job its part of wr->positions. */
static void
give_positions(const struct writer *wr, struct writer_job *job)
{
	const struct wal_position *p = wr->positions;

	for (; job != NULL; job = job->next) {
		size_t n = job->append.entry_count;

		if (n == 0)
			continue;
		job->positions = mem_zalloc(n, sizeof(*job->positions));
		memcpy(job->positions, p, n * sizeof(*p));
		p += n;
	}
}

/* Group commit: all of them are one write and at most one sync. */
static void
write_jobs(struct writer *wr, const struct jobs *jobs)
{
	size_t items = 0, entries = 0, i = 0;
	bool must_sync = false;

	for (struct writer_job *j = jobs->head; j != NULL; j = j->next) {
		items++;
		entries += j->append.entry_count;
	}
	reserve(wr, items, entries);
	for (struct writer_job *j = jobs->head; j != NULL; j = j->next)
		must_sync |= fill_item(wr, j, i++);
	/* The WAL has logged it.  Nothing else may happen in this process: what
	 * is on the disk is known again only after a restart. */
	if (wal_write(wr->wal, wr->items, items, must_sync, wr->positions) !=
	    ERR_OK)
		_exit(EX_IOERR);
	give_positions(wr, jobs->head);
}

/* The lock is held, and again on return. */
static void
write_queue(struct writer *wr)
{
	struct jobs jobs;

	assert(!wr->writing);
	wr->writing = true;
	jobs_init(&jobs);
	jobs_move(&jobs, &wr->queue);
	(void)pthread_mutex_unlock(&wr->lock);
	write_jobs(wr, &jobs);
	(void)pthread_mutex_lock(&wr->lock);
	jobs_move(&wr->done, &jobs);
	wr->writing = false;
}

/* The lock is held, and again on return. */
static void
prepare(struct writer *wr)
{
	wr->writing = true;
	(void)pthread_mutex_unlock(&wr->lock);
	if (wal_prepare(wr->wal) != ERR_OK)
		_exit(EX_IOERR);
	(void)pthread_mutex_lock(&wr->lock);
	wr->writing = false;
}

/* The lock is held. */
static bool
has_work(const struct writer *wr)
{
	return !wr->writing &&
	       (wr->queue.head != NULL || wr->stop || wal_prepare_due(wr->wal));
}

static void
tell(struct writer *wr, bool more)
{
	(void)pthread_mutex_unlock(&wr->lock);
	if (more) /* the disk may not wait for a turn here */
		loop_wake(wr->loop);
	else
		loop_poke(wr->loop);
	(void)pthread_mutex_lock(&wr->lock);
}

static void *
run(void *arg)
{
	struct writer *wr = arg;

	(void)pthread_mutex_lock(&wr->lock);
	for (;;) {
		while (!has_work(wr))
			(void)pthread_cond_wait(&wr->work, &wr->lock);
		if (wr->queue.head != NULL) {
			write_queue(wr);
			tell(wr, wr->queue.head != NULL || wr->stop);
		} else if (wr->stop) {
			break;
		} else {
			prepare(wr);
		}
	}
	(void)pthread_mutex_unlock(&wr->lock);
	return NULL;
}

/* On another thread, which has just done a turn; true if it has written. */
static bool
help(void *arg)
{
	struct writer *wr = arg;
	bool mine;

	(void)pthread_mutex_lock(&wr->lock);
	mine = !wr->writing && wr->queue.head != NULL;
	if (mine) {
		write_queue(wr);
		if (has_work(wr)) /* what has come meanwhile */
			(void)pthread_cond_signal(&wr->work);
	}
	(void)pthread_mutex_unlock(&wr->lock);
	return mine;
}

/* ---- the loop's side ---- */

static void
thread_start(struct writer *wr)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&wr->thread, NULL, run, wr);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		errno = rc;
		log_error("writer: no thread, leaving");
		_exit(EX_TEMPFAIL);
	}
}

struct writer *
writer_open(struct loop *loop, struct wal *w)
{
	struct writer *wr = mem_zalloc(1, sizeof(*wr));

	wr->loop = loop;
	wr->wal = w;
	jobs_init(&wr->staged);
	jobs_init(&wr->taken);
	jobs_init(&wr->queue);
	jobs_init(&wr->done);
	(void)pthread_mutex_init(&wr->lock, NULL); /* glibc's never fail */
	(void)pthread_cond_init(&wr->work, NULL);
	thread_start(wr);
	return wr;
}

/* News of the commit index and nothing else can wait for what comes next: if it
 * is lost, it is learnt again. */
static bool
may_wait(struct writer *wr, const struct writer_job *job)
{
	const struct raft_msg *m = &job->append;
	bool promises = false;

	if (m->term != 0) {
		promises =
		    m->term != wr->staged_term || m->vote != wr->staged_vote;
		wr->staged_term = m->term;
		wr->staged_vote = m->vote;
	}
	return !promises && m->entry_count == 0 && m->response_count == 0 &&
	       job->conf == NULL && job->mark.index == 0;
}

void
writer_submit(struct writer *wr, struct writer_job **job)
{
	/* A snapshot from another node is a mark in the log. */
	assert(((*job)->append.snapshot != NULL) == (*job)->mark.replaces);
	if (!may_wait(wr, *job))
		wr->urgent = true;
	jobs_push(&wr->staged, *job);
	*job = NULL;
	wr->waiting++;
}

void
writer_flush(struct writer *wr)
{
	if (!wr->urgent)
		return;
	wr->urgent = false;
	(void)pthread_mutex_lock(&wr->lock);
	jobs_move(&wr->queue, &wr->staged);
	(void)pthread_mutex_unlock(&wr->lock);
	if (!loop_afterwards(wr->loop, help, wr))
		(void)pthread_cond_signal(&wr->work);
}

void
writer_press(struct writer *wr)
{
	wr->urgent = wr->staged.head != NULL;
}

struct writer_job *
writer_done(struct writer *wr)
{
	struct writer_job *job;

	if (wr->taken.head == NULL) {
		(void)pthread_mutex_lock(&wr->lock);
		jobs_move(&wr->taken, &wr->done);
		(void)pthread_mutex_unlock(&wr->lock);
	}
	if ((job = wr->taken.head) == NULL)
		return NULL;
	wr->taken.head = job->next;
	if (wr->taken.head == NULL)
		wr->taken.tail = &wr->taken.head;
	job->next = NULL;
	wr->waiting--;
	return job;
}

size_t
writer_waiting(const struct writer *wr)
{
	return wr->waiting;
}

void
writer_job_free(struct writer_job **jobp)
{
	struct writer_job *job = *jobp;

	*jobp = NULL;
	if (job == NULL)
		return;
	raft_msg_free(&job->append);
	mem_free(job->conf);
	mem_free(job->positions);
	mem_free(job);
}

void
writer_close(struct writer *wr)
{
	struct writer_job *job;

	if (wr == NULL)
		return;
	writer_press(wr);
	writer_flush(wr);
	(void)pthread_mutex_lock(&wr->lock);
	wr->stop = true;
	(void)pthread_cond_signal(&wr->work);
	(void)pthread_mutex_unlock(&wr->lock);
	(void)pthread_join(wr->thread, NULL);
	while ((job = writer_done(wr)) != NULL)
		writer_job_free(&job);
	(void)pthread_cond_destroy(&wr->work);
	(void)pthread_mutex_destroy(&wr->lock);
	mem_free(wr->items);
	mem_free(wr->hard_states);
	mem_free(wr->positions);
	mem_free(wr);
}
