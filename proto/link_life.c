/* Beginnings and ends of connections: dialing, our HELLO, loss, redial, and
 * what is logged of it.  See link_state.h. */
#include "proto/link_state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"

/* A link that stays up for less keeps its redial delay... */
#define STEADY_MS 1000u
/* ...and after so many in a row says so at most once a minute. */
#define FLAPS_LOGGED 3u

/* ---- what is logged ---- */

/* Which counterpart a complaint is about. */
static const char *
complaint_key(const struct link *l)
{
	return l->dialed ? l->url : l->host;
}

bool
link_may_complain(struct link *l)
{
	return link_complaints_admit(
	    &l->ls->complaints, "owner", complaint_key(l), mono_now());
}

/* A connection that did not become a link. */
void
link_complain(struct link *l, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	if (!link_complaints_admit(
		&l->ls->complaints, "link", complaint_key(l), mono_now()))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (l->dialed)
		log_warnx("link refused peer=%s url=%s reason=%s", l->name,
		    l->url, what);
	else
		log_warnx("link refused from=%s url=%s reason=%s", l->remote,
		    l->url, what);
}

static bool
flap_may_log(struct link *l)
{
	return *l->flaps < FLAPS_LOGGED ||
	       link_complaints_admit(
		   &l->ls->complaints, "flap", l->name, l->up_since);
}

void
link_log_up(struct link *l)
{
	const struct msg_hello *h = &l->theirs;

	if (flap_may_log(l))
		log_info("link up peer=%s %s=%s node=%" PRIu64
			 " epoch=%016" PRIx64 " version=%s",
		    l->name, l->dialed ? "url" : "from",
		    l->dialed ? l->url : l->remote, h->node, h->epoch,
		    h->version);
}

/* ---- a connection begins ---- */

static void
send_hello(struct link *l)
{
	struct msg_hello mine = {
	    .magic = MSG_MAGIC,
	    .protocol = MSG_PROTOCOL,
	    .process = (uint8_t)l->ls->self,
	};
	struct wire w;
	size_t at;
	enum err rc;

	(void)snprintf(mine.version, sizeof(mine.version), "%s", METCD_VERSION);
	l->ops->hello(l->arg, &mine);
	l->my_epoch = mine.epoch;
	at = link_frame_begin(&l->fill);
	wire_encode(&w, &l->fill);
	rc = msg_hello_wire(&w, &mine);
	assert(rc == ERR_OK);
	link_frame_end(&l->fill, at, MSG_HELLO);
}

void
link_begin_greeting(struct link *l, struct link_stream *s)
{
	l->stream = s;
	l->state = LINK_GREETING;
	l->ticks = l->rx_ticks = l->tx_ticks = 0;
	link_buf_recycle(&l->work);
	send_hello(l);
	link_stream_start(s);
}

void
link_begin_dialing(struct link *l)
{
	l->state = LINK_DIALING;
	l->ticks = 0;
	l->attempt = link_attempt_start(l->url, l->ls->loop);
}

void
link_on_redial(void *arg, struct mono now)
{
	(void)now;
	link_begin_dialing(arg);
}

static void
log_down(struct link *l, const char *reason, bool violation)
{
	if (!flap_may_log(l))
		return;
	if (violation)
		log_warnx("link down peer=%s reason=%s", l->name, reason);
	else
		log_info("link down peer=%s reason=%s", l->name, reason);
}

/* ---- ends of connections ---- */

static void
redial_later(struct link *l, uint32_t ms)
{
	l->state = LINK_WAITING;
	loop_timer_set(&l->redial, mono_add_ms(mono_now(), ms));
}

static void
redial_backoff(struct link *l)
{
	uint32_t ms = l->redial_ms;

	l->redial_ms =
	    ms < LINK_REDIAL_MS_MAX / 2 ? ms * 2 : LINK_REDIAL_MS_MAX;
	redial_later(l, ms);
}

/* To free a connection waits for its callbacks.  One may be what does this
 * turn, or wait for a disk, for which nobody who has the loop is to wait; and
 * while a thread of nng's waits for another one, both are missing there. */
static bool
may_free(const struct links *ls, const struct link_stream *s,
    const struct link_attempt *a)
{
	return loop_is_home(ls->loop) && !(s != NULL && link_stream_busy(s)) &&
	       !(a != NULL && link_attempt_busy(a));
}

void
links_discard(struct links *ls, struct link_stream *s, struct link_attempt *a)
{
	struct link_grave *g;

	if (s == NULL && a == NULL)
		return;
	if (a != NULL)
		link_attempt_close(a);
	if (s != NULL)
		link_stream_close(s);
	if (may_free(ls, s, a)) {
		link_attempt_free(a);
		link_stream_free(s);
		return;
	}
	g = mem_zalloc(1, sizeof(*g));
	g->stream = s;
	g->attempt = a;
	g->next = ls->graves;
	ls->graves = g;
	loop_wake(ls->loop);
}

void
links_bury(struct links *ls, bool wait)
{
	struct link_grave **gp = &ls->graves, *g;

	while ((g = *gp) != NULL) {
		if (!wait && !may_free(ls, g->stream, g->attempt)) {
			gp = &g->next; /* after the next tick, at the latest */
			continue;
		}
		*gp = g->next;
		link_attempt_free(g->attempt);
		link_stream_free(g->stream);
		mem_free(g);
	}
}

void
link_drop_connection(struct link *l)
{
	links_discard(l->ls, l->stream, l->attempt);
	l->attempt = NULL;
	l->stream = NULL;
	link_buf_recycle(&l->fill);
	/* work stays: frames in it may be in the hands of a callback. */
}

/* Dead: nothing happens to it any more, and it is freed soon. */
void
link_bury(struct link *l)
{
	assert(l->state != LINK_DEAD);
	loop_timer_stop(&l->redial);
	l->state = LINK_DEAD;
	if (l->listener != NULL) {
		assert(l->listener->accepted > 0);
		l->listener->accepted--;
	}
}

static void
call_down(struct link *l)
{
	l->ops->down(l->arg, l);
	l->peer_known = false;
}

/* The connection is over.  A dialed link dials again after its delay, or after
 * the longest one when trying again at once is known to be useless. */
void
link_lose(struct link *l, const char *reason, bool useless)
{
	bool was_up = l->state == LINK_UP;

	link_drop_connection(l);
	l->doomed = NULL;
	if (was_up) {
		if (mono_ms_since(l->up_since, mono_now()) < STEADY_MS) {
			(*l->flaps)++;
		} else {
			*l->flaps = 0;
			l->redial_ms = LINK_REDIAL_MS_MIN;
		}
		log_down(l, reason, useless);
		l->told_waiting = true;
	}
	if (!l->dialed)
		link_bury(l);
	else if (useless)
		redial_later(l, LINK_REDIAL_MS_MAX);
	else
		redial_backoff(l);
	if (was_up)
		call_down(l);
	else
		l->peer_known = false;
}

/* A dial failed, or a connection ended before HELLO: said once per outage. */
void
link_lose_unknown(struct link *l, const char *reason)
{
	if (l->dialed && !l->told_waiting) {
		log_info("link waiting peer=%s url=%s reason=%s", l->name,
		    l->url, reason);
		l->told_waiting = true;
	} else if (!l->dialed) {
		log_debug("connection ended before hello from=%s reason=%s",
		    l->remote, reason);
	}
	link_lose(l, reason, false);
}

void
links_reap(struct links *ls)
{
	struct link **lp = &ls->all, *l;

	if (ls->busy > 0)
		return;
	while ((l = *lp) != NULL) {
		if (l->state != LINK_DEAD) {
			lp = &l->next;
			continue;
		}
		*lp = l->next;
		buf_free(&l->work);
		buf_free(&l->fill);
		mem_free(l->name);
		mem_free(l->url);
		mem_free(l);
	}
}

void
link_close(struct link *l)
{
	struct links *ls;
	bool was_up;

	if (l == NULL || l->state == LINK_DEAD)
		return;
	ls = l->ls;
	was_up = l->state == LINK_UP;
	link_drop_connection(l);
	link_bury(l);
	ls->busy++; /* `down` may close links too */
	if (was_up) {
		log_info("link down peer=%s reason=closed by us", l->name);
		call_down(l);
	}
	ls->busy--;
	links_reap(ls);
}
