/* The event loop: epoll, one-shot timers, a signalfd; see loop.h.
 *
 * Who may do a turn: `turn` is locked by who does one, by the loop's thread
 * always but while it waits for epoll.  News is marked by `poked`, which each
 * turn clears before it looks, and which who has unlocked `turn` looks at
 * again: so a poke that finds it locked may go away.  The loop's thread must
 * not starve: while it waits for the lock (`wanted`) nobody else takes it.
 *
 * What may end the wait for epoll earlier than was known when it began is a
 * timer or limit of a turn of another thread, so both go by a timerfd.  It is
 * set when something is due earlier than what it was set to; that it may fire
 * for nothing costs less than to set it each time.
 *
 * Watches are found by descriptor.  One that is removed while its event waits
 * in the batch that epoll_wait returned is only marked, and freed when the
 * batch is done: so a callback may remove any watch, its own included.
 *
 * Timers stand in a list sorted by time; a process has a handful.  Those that
 * are due move to a list of their own before the first callback runs, so a
 * timer that is set again from a callback waits for the next turn. */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define EVENTS_PER_TURN 128
#define SIGNALS_PER_READ 16
/* A thread that has poked does so many turns if news keeps coming; then the
 * loop's own thread goes on. */
#define TURNS_PER_POKE 4
#define NS_PER_S 1000000000u
#define HEAPS 2 /* of turns, and of who works beside them */

struct watch {
	int fd;
	bool removed;
	loop_fd_fn *fn;
	void *arg;
	struct watch *next_removed;
};

struct loop {
	int epoll_fd;
	int signal_fd; /* -1: no signals */
	loop_signal_fn *signal_fn;
	void *signal_arg;
	struct watch **watches; /* by descriptor; NULL: not watched */
	size_t watches_cap;
	struct watch *removed;     /* freed at the end of the turn */
	struct loop_timer *timers; /* earliest first */
	struct loop_timer *due;    /* taken off timers, callbacks pending */
	int timer_fd;
	struct mono armed;     /* when timer_fd fires */
	loop_turn_fn *turn_fn; /* NULL: not shared */
	void *turn_arg;
	loop_work_fn *work_fn; /* loop_afterwards(), of the turn under way */
	void *work_arg;
	pthread_t home;

	pthread_mutex_t turn; /* for all of the above */
	atomic_bool poked;    /* there is news that no turn has looked for */
	atomic_bool wanted;   /* the loop's thread is about to lock turn */
	atomic_bool woken;    /* wake_fd was written and not read */
	int wake_fd;
};

static _Noreturn void
loop_broken(const char *call)
{
	log_error("event loop: %s failed, ending", call);
	exit(EX_OSERR);
}

static void
must(int rc)
{
	assert(rc == 0); /* these calls fail only when they are misused */
	(void)rc;
}

/* Watch a descriptor of the loop's own, which needs no callback: that
 * epoll_wait() returns is all it is for. */
static void
watch_own(struct loop *l, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = NULL};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == -1)
		loop_broken("epoll_ctl");
}

struct loop *
loop_open(void)
{
	struct loop *l = mem_zalloc(1, sizeof *l);

	/* Turns go from thread to thread, one at a time.  With a heap for each
	 * thread what one frees would not be there for the next. */
	(void)mallopt(M_ARENA_MAX, HEAPS); /* else it takes more memory */
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd == -1)
		loop_broken("epoll_create1");
	l->signal_fd = -1;
	l->timer_fd =
	    timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->timer_fd == -1)
		loop_broken("timerfd_create");
	l->armed = MONO_NEVER;
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd == -1)
		loop_broken("eventfd");
	/* Edges, so that neither has to be read: each time that the timer is
	 * set, and each write, is a new one. */
	watch_own(l, l->timer_fd, EPOLLIN | EPOLLET);
	watch_own(l, l->wake_fd, EPOLLIN | EPOLLET);
	l->home = pthread_self();
	must(pthread_mutex_init(&l->turn, NULL));
	must(pthread_mutex_lock(&l->turn));
	return l;
}

static void
free_removed(struct loop *l)
{
	struct watch *w;

	while ((w = l->removed) != NULL) {
		l->removed = w->next_removed;
		mem_free(w);
	}
}

void
loop_close(struct loop *l)
{
	if (l == NULL)
		return;
	free_removed(l);
	for (size_t fd = 0; fd < l->watches_cap; fd++)
		mem_free(l->watches[fd]);
	mem_free(l->watches);
	if (l->signal_fd != -1)
		close(l->signal_fd);
	close(l->timer_fd);
	close(l->wake_fd);
	close(l->epoll_fd);
	must(pthread_mutex_unlock(&l->turn));
	must(pthread_mutex_destroy(&l->turn));
	mem_free(l);
}

/* --- descriptors --- */

static void
watches_grow(struct loop *l, size_t fd)
{
	size_t cap = l->watches_cap == 0 ? 64 : l->watches_cap;

	while (cap <= fd)
		cap *= 2;
	if (cap == l->watches_cap)
		return;
	l->watches = mem_resize(l->watches, cap, sizeof *l->watches);
	for (size_t i = l->watches_cap; i < cap; i++)
		l->watches[i] = NULL;
	l->watches_cap = cap;
}

void
loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
{
	struct watch *w;
	struct epoll_event ev = {.events = events};

	assert(fd >= 0);
	assert(fn != NULL);
	watches_grow(l, (size_t)fd);
	assert(l->watches[fd] == NULL);
	w = mem_zalloc(1, sizeof *w);
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	ev.data.ptr = w;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == -1)
		loop_broken("epoll_ctl");
	l->watches[fd] = w;
}

void
loop_unwatch(struct loop *l, int fd)
{
	struct watch *w;

	assert(fd >= 0);
	assert((size_t)fd < l->watches_cap);
	w = l->watches[fd];
	assert(w != NULL);
	/* Fails only for a descriptor that was closed before: our bug, but
	 * then epoll has forgotten it as well. */
	(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	l->watches[fd] = NULL;
	w->removed = true;
	w->next_removed = l->removed;
	l->removed = w;
}

/* --- signals --- */

static void
take_signals(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct signalfd_siginfo info[SIGNALS_PER_READ];
	ssize_t n = read(l->signal_fd, info, sizeof info);

	(void)events;
	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			loop_broken("read of signalfd");
		return;
	}
	for (size_t i = 0; i < (size_t)n / sizeof info[0]; i++)
		l->signal_fn(l->signal_arg, (int)info[i].ssi_signo);
}

void
loop_signals(struct loop *l, const int *signals, loop_signal_fn *fn, void *arg)
{
	sigset_t set;

	assert(l->signal_fd == -1);
	assert(fn != NULL);
	(void)signal(SIGPIPE, SIG_IGN); /* a known signal: cannot fail */
	(void)sigemptyset(&set);
	for (size_t i = 0; signals[i] != 0; i++)
		(void)sigaddset(&set, signals[i]);
	errno = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (errno != 0)
		loop_broken("pthread_sigmask");
	l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (l->signal_fd == -1)
		loop_broken("signalfd");
	l->signal_fn = fn;
	l->signal_arg = arg;
	loop_watch(l, l->signal_fd, EPOLLIN, take_signals, l);
}

/* --- timers --- */

void
loop_timer_init(
    struct loop *l, struct loop_timer *t, loop_timer_fn *fn, void *arg)
{
	assert(fn != NULL);
	*t = (struct loop_timer){
	    .loop = l, .at = MONO_NEVER, .fn = fn, .arg = arg};
}

static bool
list_remove(struct loop_timer **pos, struct loop_timer *t)
{
	for (; *pos != NULL; pos = &(*pos)->next) {
		if (*pos == t) {
			*pos = t->next;
			t->next = NULL;
			return true;
		}
	}
	return false;
}

void
loop_timer_stop(struct loop_timer *t)
{
	bool listed;

	if (t->at.ns == MONO_NEVER.ns)
		return;
	listed =
	    list_remove(&t->loop->timers, t) || list_remove(&t->loop->due, t);
	assert(listed);
	(void)listed;
	t->at = MONO_NEVER;
}

void
loop_timer_set(struct loop_timer *t, struct mono at)
{
	struct loop_timer **pos;

	assert(t->loop != NULL);
	loop_timer_stop(t);
	if (at.ns == MONO_NEVER.ns)
		return;
	/* Behind those of the same time: first set, first called. */
	for (pos = &t->loop->timers; *pos != NULL; pos = &(*pos)->next) {
		if ((*pos)->at.ns > at.ns)
			break;
	}
	t->at = at;
	t->next = *pos;
	*pos = t;
}

/* Move the timers that are due from timers to due. */
static void
take_due(struct loop *l, struct mono now)
{
	struct loop_timer **end = &l->due;
	struct loop_timer *t;

	assert(l->due == NULL);
	while ((t = l->timers) != NULL && mono_reached(t->at, now)) {
		l->timers = t->next;
		t->next = NULL;
		*end = t;
		end = &t->next;
	}
}

static void
run_timers(struct loop *l, struct mono now)
{
	struct loop_timer *t;

	take_due(l, now);
	while ((t = l->due) != NULL) {
		l->due = t->next;
		t->next = NULL;
		t->at = MONO_NEVER;
		t->fn(t->arg, now); /* may free t */
	}
}

/* --- turns --- */

/* When the loop's thread has to go on, if nothing happens before. */
static struct mono
due_at(const struct loop *l, struct mono limit)
{
	return l->timers != NULL ? mono_earlier(limit, l->timers->at) : limit;
}

/* Let the timer_fd fire then, or before. */
static void
arm(struct loop *l, struct mono at)
{
	struct itimerspec it = {0};

	if (at.ns >= l->armed.ns)
		return;
	l->armed = at;
	/* What is past fires at once; 0 would stop it. */
	it.it_value.tv_sec = (time_t)(at.ns / NS_PER_S);
	it.it_value.tv_nsec = (long)(at.ns % NS_PER_S);
	if (at.ns == 0)
		it.it_value.tv_nsec = 1;
	if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &it, NULL) == -1)
		loop_broken("timerfd_settime");
}

/* The lock is held, and what woke us is in ev. */
static void
run_events(struct loop *l, const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		struct watch *w = ev[i].data.ptr;

		if (w != NULL && !w->removed)
			w->fn(w->arg, ev[i].events);
	}
	free_removed(l);
}

struct mono
loop_wait(struct loop *l, struct mono limit)
{
	struct epoll_event ev[EVENTS_PER_TURN];
	struct mono now;
	bool ready;
	int n;

	limit = due_at(l, limit);
	ready = mono_reached(limit, mono_now());
	if (!ready)
		arm(l, limit);
	must(pthread_mutex_unlock(&l->turn));
	ready |= atomic_load(&l->poked); /* after it was unlocked */
	n = epoll_wait(l->epoll_fd, ev, EVENTS_PER_TURN, ready ? 0 : -1);
	if (n == -1 && errno != EINTR)
		loop_broken("epoll_wait");
	atomic_store(&l->wanted, true);
	must(pthread_mutex_lock(&l->turn));
	atomic_store(&l->wanted, false);
	atomic_store(&l->woken, false);
	atomic_store(&l->poked, false);
	now = mono_now();
	if (mono_reached(l->armed, now))
		l->armed = MONO_NEVER;
	run_events(l, ev, n);
	run_timers(l, now);
	free_removed(l); /* timers remove watches too */
	log_tell_lost();
	return now;
}

/* --- other threads --- */

void
loop_share(struct loop *l, loop_turn_fn *turn, void *arg)
{
	assert(loop_is_home(l));
	l->turn_fn = turn;
	l->turn_arg = arg;
}

bool
loop_is_home(const struct loop *l)
{
	return pthread_equal(l->home, pthread_self()) != 0;
}

void
loop_wake(struct loop *l)
{
	const uint64_t one = 1;

	atomic_store(&l->poked, true);
	if (atomic_exchange(&l->woken, true))
		return;
	/* It cannot fail: the counter is far from its maximum. */
	if (write(l->wake_fd, &one, sizeof one) == -1)
		log_error("cannot wake the loop");
}

bool
loop_afterwards(struct loop *l, loop_work_fn *fn, void *arg)
{
	if (loop_is_home(l))
		return false;
	assert(l->work_fn == NULL || (l->work_fn == fn && l->work_arg == arg));
	l->work_fn = fn;
	l->work_arg = arg;
	return true;
}

/* The lock is held, and not by the loop's thread, which may be in epoll_wait():
 * watches that are removed are left to it.  Returns unlocked. */
static void
foreign_turn(struct loop *l)
{
	loop_work_fn *work;
	void *arg;

	atomic_store(&l->poked, false);
	arm(l, due_at(l, l->turn_fn(l->turn_arg, mono_now())));
	work = l->work_fn;
	arg = l->work_arg;
	l->work_fn = NULL;
	must(pthread_mutex_unlock(&l->turn));
	if (work == NULL)
		return;
	if (atomic_load(&l->poked)) /* who found it locked is not to wait */
		loop_wake(l);
	if (work(arg))
		atomic_store(&l->poked, true);
}

void
loop_poke(struct loop *l)
{
	int turns = 0;

	atomic_store(&l->poked, true);
	(void)sched_yield();
	while (atomic_load(&l->poked) && turns++ < TURNS_PER_POKE) {
		/* If somebody has the loop, or is about to, he will look. */
		if (atomic_load(&l->wanted) ||
		    pthread_mutex_trylock(&l->turn) != 0)
			return;
		if (l->turn_fn == NULL) {
			must(pthread_mutex_unlock(&l->turn));
			break;
		}
		foreign_turn(l);
	}
	if (atomic_load(&l->poked))
		loop_wake(l);
}
