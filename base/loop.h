/* The event loop that every process has: epoll over a few descriptors, timers
 * on CLOCK_MONOTONIC, signals as events.  One thread; no call is thread-safe.
 *
 * A process's main loop blocks in loop_wait() and nowhere else:
 *
 *     while (!quit) {
 *             loop_wait(loop, MONO_NEVER); // callbacks note what is there
 *             ... bounded phases of work ...
 *     }
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

#include "base/mono.h"

struct loop;

typedef void loop_fd_fn(void *arg, uint32_t events); /* EPOLL* bits */
typedef void loop_timer_fn(void *arg, struct mono now);
typedef void loop_signal_fn(void *arg, int signo);

/* A timer is memory of its user, zeroed before loop_timer_init(). */
struct loop_timer {
	struct loop *loop;
	struct loop_timer *next;
	struct mono at; /* MONO_NEVER: not armed */
	loop_timer_fn *fn;
	void *arg;
};

/* Creates a loop; ends the process with EX_OSERR's cause logged if the kernel
 * has no descriptors left (nothing works without a loop). */
struct loop *loop_open(void);
void loop_close(struct loop *l); /* NULL is allowed */

/* Watch fd for events (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET).  fn is called
 * from loop_wait().  A descriptor is added once; loop_unwatch() before it is
 * closed, also from within a callback. */
void loop_watch(
    struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg);
void loop_unwatch(struct loop *l, int fd);

/* Block the signals (0-terminated list) for this process and all threads that
 * it starts later, and deliver them to fn from loop_wait().  Call this before
 * the first nng call.  SIGPIPE is always ignored. */
void loop_signals(
    struct loop *l, const int *signals, loop_signal_fn *fn, void *arg);

void loop_timer_init(
    struct loop *l, struct loop_timer *t, loop_timer_fn *fn, void *arg);
void loop_timer_set(struct loop_timer *t, struct mono at); /* one shot */
void loop_timer_stop(struct loop_timer *t);

/* Wait until something is ready, a timer is due or limit is reached, then run
 * the callbacks of all that is ready.  limit in the past: poll once.
 * Returns the time at which it woke up. */
struct mono loop_wait(struct loop *l, struct mono limit);

#endif
