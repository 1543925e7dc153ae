/* Links: the public calls.  See link.h for the contract and link_state.h for a
 * link's states. */
#include "proto/link_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/log.h"
#include "base/mem.h"

#define ACCEPT_RETRY_MS 100u

/* ---- sending ---- */

struct wire *
link_begin(struct link *l, enum msg_type type)
{
	if (!link_is_up(l))
		return NULL;
	assert(!l->open);
	assert(msg_legal(
	    (uint8_t)type, l->ls->self, (enum msg_process)l->theirs.process));
	l->open = true;
	l->open_type = (uint8_t)type;
	l->open_at = link_frame_begin(&l->fill);
	wire_encode(&l->wire, &l->fill);
	return &l->wire;
}

void
link_end(struct link *l)
{
	assert(l->open);
	assert(wire_err(&l->wire) == ERR_OK);
	link_frame_end(&l->fill, l->open_at, l->open_type);
	l->open = false;
	if (link_queued_bytes(l) <= LINK_QUEUE_BYTES_MAX)
		return;
	/* Not closed here: the caller does not expect `down` in link_end(). */
	l->doomed = "the other end does not read; its queue is over the limit";
	link_buf_recycle(&l->fill);
	loop_poke(l->ls->loop);
}

bool
link_is_up(const struct link *l)
{
	return l != NULL && l->state == LINK_UP && l->doomed == NULL;
}

size_t
link_queued_bytes(const struct link *l)
{
	if (l == NULL || l->stream == NULL)
		return 0;
	return l->fill.len + link_stream_unsent(l->stream);
}

bool
link_is_full(const struct link *l)
{
	return link_queued_bytes(l) >= LINK_QUEUE_BYTES_MAX / 2;
}

const struct msg_hello *
link_peer(const struct link *l)
{
	return l != NULL && l->peer_known ? &l->theirs : NULL;
}

void
links_flush(struct links *ls)
{
	struct link *l;

	for (l = ls->all; l != NULL; l = l->next) {
		assert(!l->open);
		if (l->fill.len == 0 || l->stream == NULL)
			continue;
		link_stream_send(l->stream, &l->fill);
		l->tx_ticks = 0;
	}
}

/* ---- accepting ---- */

static struct link *
link_new(struct links *ls, const char *name, const char *url,
    const struct link_ops *ops, void *arg)
{
	struct link *l = mem_zalloc(1, sizeof(*l));

	l->ls = ls;
	l->ops = ops;
	l->arg = arg;
	l->name = mem_strdup(name);
	l->url = mem_strdup(url);
	l->redial_ms = LINK_REDIAL_MS_MIN;
	l->flaps = &l->own_flaps;
	loop_timer_init(ls->loop, &l->redial, link_on_redial, l);
	l->next = ls->all;
	ls->all = l;
	return l;
}

/* When a listener's places are taken, strangers give way: the one who has been
 * silent longest.  False: all have said HELLO. */
static bool
make_room(struct listener *li)
{
	struct link *l, *oldest = NULL;

	if (li->accepted < LINKS_ACCEPTED_MAX)
		return true;
	for (l = li->ls->all; l != NULL; l = l->next)
		if (l->listener == li &&
		    (l->state == LINK_GREETING || l->state == LINK_ENDING) &&
		    (oldest == NULL || l->ticks >= oldest->ticks))
			oldest = l;
	if (oldest == NULL)
		return false;
	link_complain(oldest, "too many connections (%u)", LINKS_ACCEPTED_MAX);
	link_lose_unknown(oldest, "too many connections");
	return true;
}

static void
accepted(struct listener *li, struct link_stream *s)
{
	struct links *ls = li->ls;
	char host[REMOTE_BYTES_MAX];
	const char *why = NULL;
	struct link *l;

	link_stream_remote(s, false, host, sizeof(host));
	if (!link_stream_user_ok(s, ls->group))
		why = "it runs as another user";
	else if (!make_room(li))
		why = "too many connections";
	if (why != NULL) {
		if (link_complaints_admit(
			&ls->complaints, "accept", host, mono_now()))
			log_warnx("connection refused from=%s url=%s reason=%s",
			    host, li->url, why);
		links_discard(ls, s, NULL);
		return;
	}
	l = link_new(ls, "?", li->url, li->ops, li->arg);
	l->expect_mask = li->expect_mask;
	l->flaps = &li->flaps;
	memcpy(l->host, host, sizeof(host));
	link_stream_remote(s, true, l->remote, sizeof(l->remote));
	l->listener = li;
	li->accepted++;
	link_begin_greeting(l, s);
}

static void
on_accept_retry(void *arg, struct mono now)
{
	struct listener *li = arg;

	(void)now;
	li->failed = false;
	link_listener_accept(li->nng);
}

static void
take_accepted(struct listener *li)
{
	struct link_stream *s;
	const char *why;

	if (li->failed)
		return;
	switch (link_listener_poll(li->nng, &s, &why)) {
	case LINK_PENDING:
		return;
	case LINK_READY:
		link_listener_accept(li->nng);
		accepted(li, s);
		return;
	case LINK_FAILED: /* no descriptors, say: it may get better */
		li->failed = true;
		loop_timer_set(
		    &li->retry, mono_add_ms(mono_now(), ACCEPT_RETRY_MS));
		if (link_complaints_admit(
			&li->ls->complaints, "listen", li->url, mono_now()))
			log_warnx("cannot accept connections url=%s reason=%s",
			    li->url, why);
		return;
	}
}

/* ---- all links ---- */

static void
on_tick(void *arg, struct mono now)
{
	struct links *ls = arg;

	ls->ticked = true;
	/* From now, not from when it was due: see the top of the file. */
	loop_timer_set(&ls->tick, mono_add_ms(now, TICK_MS));
}

struct links *
links_open(struct loop *loop, enum msg_process self)
{
	struct links *ls = mem_zalloc(1, sizeof(*ls));

	ls->loop = loop;
	ls->self = self;
	ls->group = LINK_NO_GROUP;
	loop_timer_init(loop, &ls->tick, on_tick, ls);
	loop_timer_set(&ls->tick, mono_add_ms(mono_now(), TICK_MS));
	return ls;
}

void
links_take(struct links *ls)
{
	bool ticked = ls->ticked;
	struct listener *li;
	struct link *l;

	assert(ls->busy == 0);
	ls->busy++;
	ls->ticked = false;
	links_bury(ls, false);
	for (li = ls->listeners; li != NULL; li = li->next)
		take_accepted(li);
	for (l = ls->all; l != NULL; l = l->next)
		link_take(l, ticked);
	ls->busy--;
	links_reap(ls);
}

int
links_listen(struct links *ls, const char *url, unsigned expect_mask,
    unsigned mode, const struct link_ops *ops, void *arg)
{
	struct link_listener *nng;
	struct listener *li;
	int rc;

	if ((rc = link_listener_open(&nng, url, mode, ls->loop)) != 0)
		return rc;
	if ((rc = links_give(ls, url)) != 0) {
		link_listener_free(nng);
		return rc;
	}
	li = mem_zalloc(1, sizeof(*li));
	li->ls = ls;
	li->nng = nng;
	li->url = mem_strdup(url);
	li->expect_mask = expect_mask;
	li->ops = ops;
	li->arg = arg;
	loop_timer_init(ls->loop, &li->retry, on_accept_retry, li);
	li->next = ls->listeners;
	ls->listeners = li;
	return 0;
}

struct link *
links_dial(struct links *ls, const char *url, enum msg_process expect,
    const char *name, const struct link_ops *ops, void *arg)
{
	struct link *l = link_new(ls, name, url, ops, arg);

	l->dialed = true;
	l->expect_mask = 1u << expect;
	link_begin_dialing(l);
	return l;
}

static void
listeners_free(struct links *ls)
{
	struct listener *li;

	while ((li = ls->listeners) != NULL) {
		ls->listeners = li->next;
		loop_timer_stop(&li->retry);
		link_listener_free(li->nng);
		mem_free(li->url);
		mem_free(li);
	}
}

void
links_close(struct links *ls, unsigned flush_ms)
{
	struct mono deadline = mono_add_ms(mono_now(), flush_ms);
	struct link *l;

	if (ls == NULL)
		return;
	assert(ls->busy == 0);
	links_flush(ls);
	for (l = ls->all; l != NULL; l = l->next)
		if (l->stream != NULL)
			link_stream_drain(l->stream, deadline);
	for (l = ls->all; l != NULL; l = l->next) {
		link_drop_connection(l);
		link_bury(l);
	}
	links_reap(ls);
	listeners_free(ls); /* their links are gone: each was counted there */
	loop_timer_stop(&ls->tick);
	links_bury(ls, true);
	mem_free(ls);
}
