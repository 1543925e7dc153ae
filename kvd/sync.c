/* The thread that syncs the engine; see sync.h. */
#include "kvd/sync.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"

/* raftd's log is on the same disk as a rule, and its syncs wait behind ours: so
 * what is to be synced goes out in slices, and after each one we rest for so
 * many times as long as it took. */
#define PAUSE_FACTOR 3u
#define SLICE_US_MIN 100u /* less: there was nothing to write */

struct syncer {
	struct loop *loop;
	const struct engine_ops *ops;
	struct engine *engine;
	uint64_t pause_ms;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more; /* wrote or stop has changed */
	/* Below: under lock. */
	uint64_t wrote;
	uint64_t durable;
	bool failed;
	bool stop;
	struct histogram syncs;
};

static void
must(int rc)
{
	assert(rc == 0); /* these calls only fail when they are misused */
	(void)rc;
}

static void
wait_until(struct syncer *s, struct mono at)
{
	const struct timespec ts = {.tv_sec = (time_t)(at.ns / 1000000000u),
	    .tv_nsec = (long)(at.ns % 1000000000u)};

	/* A time-out and a wake-up are alike: the caller looks again. */
	(void)pthread_cond_timedwait(&s->more, &s->lock, &ts);
}

/* One slice goes out, from *at on; called and returns with the lock held. */
static enum err
write_out_slice(struct syncer *s, uint64_t *at)
{
	const struct mono start = mono_now();
	struct mono end, next;
	enum err rc;

	must(pthread_mutex_unlock(&s->lock));
	rc = s->ops->write_out(s->engine, at);
	must(pthread_mutex_lock(&s->lock));
	end = mono_now();
	if (mono_us_since(start, end) < SLICE_US_MIN)
		return rc;
	next.ns = end.ns + PAUSE_FACTOR * (end.ns - start.ns);
	while (!s->stop && !mono_reached(next, mono_now()))
		wait_until(s, next);
	return rc;
}

/* So that not much is left for the sync; whoever stops does not wait for it. */
static enum err
write_out(struct syncer *s)
{
	uint64_t at = 0;
	enum err rc;

	if (s->ops->write_out == NULL)
		return ERR_OK;
	do
		rc = write_out_slice(s, &at);
	while (rc == ERR_OK && at != 0 && !s->stop);
	return rc;
}

/* Called and returns with the lock held. */
static enum err
sync_now(struct syncer *s)
{
	const struct mono start = mono_now();
	enum err rc;

	must(pthread_mutex_unlock(&s->lock));
	rc = s->ops->sync(s->engine);
	must(pthread_mutex_lock(&s->lock));
	histogram_add_since(&s->syncs, HISTOGRAM_DISK_NS, start, mono_now());
	return rc;
}

/* Called and returns with the lock held. */
static void
sync_once(struct syncer *s)
{
	const uint64_t goal = s->wrote;
	enum err rc = write_out(s);

	if (rc == ERR_OK)
		rc = sync_now(s);
	if (rc == ERR_OK)
		s->durable = goal;
	else
		s->failed = true;
	loop_wake(s->loop);
}

static void *
run(void *arg)
{
	struct syncer *s = arg;
	struct mono next = mono_now();

	must(pthread_mutex_lock(&s->lock));
	while (!s->stop && !s->failed) {
		if (s->wrote == s->durable)
			must(pthread_cond_wait(&s->more, &s->lock));
		else if (!mono_reached(next, mono_now()))
			wait_until(s, next);
		else {
			next = mono_add_ms(mono_now(), s->pause_ms);
			sync_once(s);
		}
	}
	must(pthread_mutex_unlock(&s->lock));
	return NULL;
}

struct syncer *
syncer_open(struct loop *loop, const struct engine_ops *ops, struct engine *e,
    uint64_t pause_ms)
{
	struct syncer *s = mem_zalloc(1, sizeof *s);
	pthread_condattr_t attr;

	s->loop = loop;
	s->ops = ops;
	s->engine = e;
	s->pause_ms = pause_ms;
	if (!ops->durable)
		return s;
	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&s->more, &attr));
	must(pthread_condattr_destroy(&attr));
	must(pthread_mutex_init(&s->lock, NULL));
	if (pthread_create(&s->thread, NULL, run, s) != 0) {
		log_errorx("cannot start the syncer; raise the limit on "
			   "threads");
		exit(EX_TEMPFAIL);
	}
	return s;
}

void
syncer_wrote(struct syncer *s, uint64_t applied)
{
	if (!s->ops->durable)
		return;
	must(pthread_mutex_lock(&s->lock));
	if (s->wrote != applied)
		must(pthread_cond_signal(&s->more));
	s->wrote = applied;
	must(pthread_mutex_unlock(&s->lock));
}

uint64_t
syncer_durable(struct syncer *s, bool *failed)
{
	uint64_t durable;

	*failed = false;
	if (!s->ops->durable)
		return 0;
	must(pthread_mutex_lock(&s->lock));
	durable = s->durable;
	*failed = s->failed;
	must(pthread_mutex_unlock(&s->lock));
	return durable;
}

bool
syncer_figures(struct syncer *s, struct histogram *syncs)
{
	if (!s->ops->durable)
		return false;
	must(pthread_mutex_lock(&s->lock));
	*syncs = s->syncs;
	must(pthread_mutex_unlock(&s->lock));
	return true;
}

bool
syncer_close(struct syncer *s)
{
	bool failed;

	if (s == NULL)
		return true;
	if (s->ops->durable) {
		must(pthread_mutex_lock(&s->lock));
		s->stop = true;
		must(pthread_cond_signal(&s->more));
		must(pthread_mutex_unlock(&s->lock));
		must(pthread_join(s->thread, NULL));
		must(pthread_cond_destroy(&s->more));
		must(pthread_mutex_destroy(&s->lock));
	}
	failed = s->failed;
	mem_free(s);
	return !failed;
}
