/* The event loop that every process has: epoll over a few descriptors, timers
 * on CLOCK_MONOTONIC, signals as events.
 *
 * A process's main loop blocks in loop_wait() and nowhere else:
 *
 *     while (!quit) {
 *             loop_wait(loop, MONO_NEVER); // callbacks note what is there
 *             ... bounded phases of work ...
 *     }
 *
 * One turn at a time: the thread that called loop_open() holds the loop, and
 * with it all that its turns touch, except while it waits in loop_wait().  No
 * call is thread-safe but loop_poke() and loop_wake(), with which other threads
 * bring news, and loop_is_home().  After loop_share() they need not wake the
 * loop's thread for it: whoever pokes while it waits does the next turn
 * himself. (Waking threads is most of what a hop between processes costs.) */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
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

/* One turn, by another thread than the loop's: what the main loop does after
 * loop_wait() has returned now.  Returns when loop_wait() has to return at the
 * latest.  It may do all that the loop's thread may, except wait for the thread
 * that it runs on: loop_is_home() tells. */
typedef struct mono loop_turn_fn(void *arg, struct mono now);
void loop_share(struct loop *l, loop_turn_fn *turn, void *arg);

/* From within a turn: fn is called on this thread when the turn is over and
 * others can have the loop, and may block there.  True of fn: it has brought
 * news.  Not at the loop's own thread, which has to be there for signals and
 * the watchdog: then false, and it is the caller's to find another way.  One
 * per turn. */
typedef bool loop_work_fn(void *arg);
bool loop_afterwards(struct loop *l, loop_work_fn *fn, void *arg);

/* Any thread, holding no lock that a turn takes: there is news, already in
 * place, for a turn to find.  If nobody has the loop, the turn is done before
 * this returns (if it is shared; else loop_wait() returns).  If somebody has, a
 * turn follows. */
void loop_poke(struct loop *l);
/* The same, but the turn is left to the loop's thread: for those who have
 * something to do that may not wait for a turn, and from within one for what
 * has to be done at home. */
void loop_wake(struct loop *l);
/* Is this the loop's own thread? */
bool loop_is_home(const struct loop *l);

/* Wait until something is ready, somebody pokes, a timer is due or limit is
 * reached, then run the callbacks of all that is ready.  limit in the past:
 * poll once.  Returns the time at which it woke up. */
struct mono loop_wait(struct loop *l, struct mono limit);

#endif
