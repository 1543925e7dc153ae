/* Clients that leave; see leave.h. */
#include "httpd/leave.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define LEAVE_AFTER_MS 1000u
#define EVENTS_PER_TURN 64

struct leave {
	struct loop *loop;
	int epoll_fd; /* a set of its own inside the loop's */
	leave_fn *gone;
	struct leaver *first, *last; /* listed */
};

static void
take_events(void *arg, uint32_t events)
{
	struct leave *lv = arg;
	struct epoll_event ev[EVENTS_PER_TURN];
	int n = epoll_wait(lv->epoll_fd, ev, EVENTS_PER_TURN, 0);

	(void)events;
	for (int i = 0; i < n; i++) {
		struct leaver *v = ev[i].data.ptr;

		leave_remove(lv, v);
		lv->gone(v);
	}
}

struct leave *
leave_open(struct loop *loop, leave_fn *gone)
{
	struct leave *lv = mem_zalloc(1, sizeof *lv);

	lv->loop = loop;
	lv->gone = gone;
	lv->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (lv->epoll_fd == -1) {
		log_error("cannot watch clients, ending");
		exit(EX_OSERR);
	}
	loop_watch(loop, lv->epoll_fd, EPOLLIN, take_events, lv);
	return lv;
}

void
leave_close(struct leave *lv)
{
	if (lv == NULL)
		return;
	loop_unwatch(lv->loop, lv->epoll_fd);
	close(lv->epoll_fd);
	mem_free(lv);
}

static void
unlist(struct leave *lv, struct leaver *v)
{
	if (v->prev != NULL)
		v->prev->next = v->next;
	else
		lv->first = v->next;
	if (v->next != NULL)
		v->next->prev = v->prev;
	else
		lv->last = v->prev;
	v->prev = v->next = NULL;
	v->listed = false;
}

void
leave_add(struct leave *lv, struct leaver *v, int fd, struct mono now)
{
	v->fd = fd;
	v->since = now;
	v->listed = true;
	v->prev = lv->last;
	v->next = NULL;
	if (lv->last != NULL)
		lv->last->next = v;
	else
		lv->first = v;
	lv->last = v;
}

void
leave_remove(struct leave *lv, struct leaver *v)
{
	if (v->listed)
		unlist(lv, v);
	if (v->watched) {
		/* It is there: it was added, and its socket is open. */
		(void)epoll_ctl(lv->epoll_fd, EPOLL_CTL_DEL, v->fd, NULL);
		v->watched = false;
	}
}

/* Edge-triggered, but what has happened before the adding is reported too. */
static void
watch(struct leave *lv, struct leaver *v)
{
	struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = v};

	if (epoll_ctl(lv->epoll_fd, EPOLL_CTL_ADD, v->fd, &ev) == 0)
		v->watched = true;
	else /* its deadline ends it in any case */
		log_warn("cannot watch a client");
}

void
leave_run(struct leave *lv, struct mono now)
{
	struct leaver *v;

	while ((v = lv->first) != NULL && mono_reached(leave_next(lv), now)) {
		unlist(lv, v);
		watch(lv, v);
	}
}

struct mono
leave_next(const struct leave *lv)
{
	return lv->first == NULL
		   ? MONO_NEVER
		   : mono_add_ms(lv->first->since, LEAVE_AFTER_MS);
}
