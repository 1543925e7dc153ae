/* The thread that syncs the engine; see sync.h. */
#include "kvd/sync.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"

/* From the start of a sync to the next one: this, or PAUSE_FACTOR times what
 * the last one took if that is more.  raftd's log is on the same disk as a
 * rule, and its syncs wait behind ours. */
#define SYNC_MS_MIN 100u
#define PAUSE_FACTOR 4u

struct syncer {
	struct loop *loop;
	const struct engine_ops *ops;
	struct engine *engine;
	int wake; /* eventfd, watched in loop */
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

/* Sync once; called and returns with the lock held.  When to do it again. */
static struct mono
sync_once(struct syncer *s)
{
	const uint64_t goal = s->wrote, one = 1;
	const struct mono start = mono_now();
	struct mono end;
	uint64_t pause_ms;
	enum err rc;

	must(pthread_mutex_unlock(&s->lock));
	rc = s->ops->sync(s->engine);
	end = mono_now();
	pause_ms = PAUSE_FACTOR * mono_ms_since(start, end);
	must(pthread_mutex_lock(&s->lock));
	histogram_add_since(&s->syncs, HISTOGRAM_DISK_NS, start, end);
	if (rc == ERR_OK)
		s->durable = goal;
	else
		s->failed = true;
	if (write(s->wake, &one, sizeof one) == -1)
		log_error("cannot write eventfd");
	return mono_add_ms(
	    start, pause_ms > SYNC_MS_MIN ? pause_ms : SYNC_MS_MIN);
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
		else
			next = sync_once(s);
	}
	must(pthread_mutex_unlock(&s->lock));
	return NULL;
}

static void
woken(void *arg, uint32_t events)
{
	struct syncer *s = arg;
	uint64_t count;

	(void)events;
	if (read(s->wake, &count, sizeof count) == -1)
		log_debug("eventfd was empty"); /* nothing to do about it */
}

struct syncer *
syncer_open(struct loop *loop, const struct engine_ops *ops, struct engine *e)
{
	struct syncer *s = mem_zalloc(1, sizeof *s);
	pthread_condattr_t attr;

	s->loop = loop;
	s->ops = ops;
	s->engine = e;
	if (!ops->durable)
		return s;
	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&s->more, &attr));
	must(pthread_condattr_destroy(&attr));
	must(pthread_mutex_init(&s->lock, NULL));
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake == -1 || pthread_create(&s->thread, NULL, run, s) != 0) {
		log_errorx("cannot start the syncer; raise the limits on "
			   "descriptors and threads");
		exit(EX_TEMPFAIL);
	}
	loop_watch(loop, s->wake, EPOLLIN, woken, s);
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
		loop_unwatch(s->loop, s->wake);
		(void)close(s->wake); /* holds nothing */
		must(pthread_cond_destroy(&s->more));
		must(pthread_mutex_destroy(&s->lock));
	}
	failed = s->failed;
	mem_free(s);
	return !failed;
}
