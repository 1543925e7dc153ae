/* The helper thread for snapshot files; see snapio.h. */
#include "raftd/snapio.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct jobs { /* in order */
	struct snapio_job *head;
	struct snapio_job **tail;
};

struct snapio {
	struct loop *loop; /* borrowed */
	pthread_t thread;
	bool started; /* loop's side only */

	pthread_mutex_t lock;
	pthread_cond_t work; /* queue has become non-empty, or stop */
	struct jobs queue, done;
	bool stop;
};

static void
jobs_init(struct jobs *j)
{
	j->head = NULL;
	j->tail = &j->head;
}

static void
jobs_push(struct jobs *j, struct snapio_job *job)
{
	job->next = NULL;
	*j->tail = job;
	j->tail = &job->next;
}

static struct snapio_job *
jobs_pop(struct jobs *j)
{
	struct snapio_job *job = j->head;

	if (job == NULL)
		return NULL;
	j->head = job->next;
	if (j->head == NULL)
		j->tail = &j->head;
	return job;
}

/* ---- the thread ---- */

static void *
run(void *arg)
{
	struct snapio *s = arg;
	struct snapio_job *job;
	bool again;

	(void)pthread_mutex_lock(&s->lock);
	for (;;) {
		while (s->queue.head == NULL && !s->stop)
			(void)pthread_cond_wait(&s->work, &s->lock);
		if (s->stop)
			break;
		job = jobs_pop(&s->queue);
		(void)pthread_mutex_unlock(&s->lock);

		again = job->run(job);

		(void)pthread_mutex_lock(&s->lock);
		jobs_push(again ? &s->queue : &s->done, job);
		if (again)
			continue;
		loop_wake(s->loop); /* no turn here: more files may wait */
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- the loop's side ---- */

static void
thread_start(struct snapio *s)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&s->thread, NULL, run, s);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		errno = rc;
		log_error("snapshots: no thread, leaving");
		_exit(EX_TEMPFAIL);
	}
	s->started = true;
}

struct snapio *
snapio_open(struct loop *loop)
{
	struct snapio *s = mem_zalloc(1, sizeof(*s));

	s->loop = loop;
	jobs_init(&s->queue);
	jobs_init(&s->done);
	(void)pthread_mutex_init(&s->lock, NULL); /* glibc's never fail */
	(void)pthread_cond_init(&s->work, NULL);
	return s;
}

void
snapio_submit(struct snapio *s, struct snapio_job *job)
{
	if (!s->started)
		thread_start(s);
	(void)pthread_mutex_lock(&s->lock);
	jobs_push(&s->queue, job);
	(void)pthread_cond_signal(&s->work);
	(void)pthread_mutex_unlock(&s->lock);
}

void
snapio_take(struct snapio *s)
{
	struct snapio_job *job, *next;

	(void)pthread_mutex_lock(&s->lock);
	job = s->done.head;
	jobs_init(&s->done);
	(void)pthread_mutex_unlock(&s->lock);
	for (; job != NULL; job = next) {
		next = job->next; /* done may submit it again */
		job->done(job, false);
	}
}

void
snapio_close(struct snapio *s)
{
	struct snapio_job *job;

	if (s == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->stop = true;
	(void)pthread_cond_signal(&s->work);
	(void)pthread_mutex_unlock(&s->lock);
	if (s->started)
		(void)pthread_join(s->thread, NULL);
	while ((job = jobs_pop(&s->done)) != NULL)
		job->done(job, true);
	while ((job = jobs_pop(&s->queue)) != NULL)
		job->done(job, true);
	(void)pthread_cond_destroy(&s->work);
	(void)pthread_mutex_destroy(&s->lock);
	mem_free(s);
}
