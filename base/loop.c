/* The event loop: epoll, one-shot timers, a signalfd; see loop.h.
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
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define EVENTS_PER_TURN 128
#define SIGNALS_PER_READ 16

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
};

static _Noreturn void
loop_broken(const char *call)
{
	log_error("event loop: %s failed, ending", call);
	exit(EX_OSERR);
}

struct loop *
loop_open(void)
{
	struct loop *l = mem_zalloc(1, sizeof *l);

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd == -1)
		loop_broken("epoll_create1");
	l->signal_fd = -1;
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
	close(l->epoll_fd);
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

/* --- the turn --- */

/* epoll's time-out until the earlier of limit and the first timer. */
static int
timeout_ms(const struct loop *l, struct mono limit)
{
	struct mono until = limit;
	uint64_t ms;

	if (l->timers != NULL)
		until = mono_earlier(until, l->timers->at);
	if (until.ns == MONO_NEVER.ns)
		return -1;
	ms = mono_ms_until(until, mono_now());
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

struct mono
loop_wait(struct loop *l, struct mono limit)
{
	struct epoll_event ev[EVENTS_PER_TURN];
	struct mono now;
	int n =
	    epoll_wait(l->epoll_fd, ev, EVENTS_PER_TURN, timeout_ms(l, limit));

	if (n == -1 && errno != EINTR)
		loop_broken("epoll_wait");
	now = mono_now();
	for (int i = 0; i < n; i++) {
		struct watch *w = ev[i].data.ptr;

		if (!w->removed)
			w->fn(w->arg, ev[i].events);
	}
	free_removed(l);
	run_timers(l, now);
	free_removed(l); /* timers remove watches too */
	log_tell_lost();
	return now;
}
