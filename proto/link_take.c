/* What arrives on a link: HELLO, then messages, or nothing for too long.  See
 * link_state.h. */
#include "proto/link_state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

#define BEAT_TICKS (LINK_BEAT_MS / TICK_MS)
#define SILENCE_TICKS (LINK_SILENCE_MS / TICK_MS)
#define HELLO_TICKS (LINK_HELLO_MS / TICK_MS)
#define DIAL_TICKS (1000u / TICK_MS)   /* an attempt is given up after */
#define ENDING_TICKS (1000u / TICK_MS) /* for a BYE to get there */

static_assert(BEAT_TICKS >= 1 && SILENCE_TICKS >= 4 * BEAT_TICKS, "ticks");

/* ---- HELLO ---- */

/* Our HELLO may not name them, theirs tells who they are. */
static void
name_accepted(struct link *l)
{
	char name[40];

	if (l->dialed)
		return;
	if (l->theirs.process == MSG_RAFTD && l->ls->self == MSG_RAFTD)
		(void)snprintf(
		    name, sizeof(name), "node %" PRIu64, l->theirs.node);
	else
		(void)snprintf(name, sizeof(name), "%s",
		    msg_process_name(l->theirs.process));
	mem_free(l->name);
	l->name = mem_strdup(name);
}

static bool
hello_ok(struct link *l, const struct link_frame *f, struct msg_hello *h)
{
	struct wire w;
	enum err rc;

	if (f->type != MSG_HELLO) {
		link_complain(l, "%s before HELLO", msg_name(f->type));
		return false;
	}
	wire_decode(&w, f->body);
	rc = msg_hello_wire(&w, h);
	if (rc == ERR_VERSION) {
		link_complain(l,
		    "it speaks protocol %u and we speak %u; install the same "
		    "version on both ends",
		    h->protocol, MSG_PROTOCOL);
		return false;
	}
	if (rc != ERR_OK) {
		link_complain(l, "malformed HELLO");
		return false;
	}
	if ((l->expect_mask & 1u << h->process) == 0) {
		link_complain(
		    l, "%s is not expected here", msg_process_name(h->process));
		return false;
	}
	/* A dial to a free port of this machine can connect to itself. */
	if (h->epoch == l->my_epoch && h->process == l->ls->self) {
		link_complain(l, "reached ourselves");
		return false;
	}
	return true;
}

/* Tell them why, then wait until they hang up: closing at once could take the
 * BYE away from them again, if something of theirs is still unread here.  What
 * leaves before it is, perhaps still unsent, our HELLO, and nothing else. */
static void
refuse(struct link *l, enum err why, size_t unsent)
{
	struct msg_bye m = {.code = (uint8_t)why};
	struct wire w;
	size_t at;

	l->fill.len = unsent;
	at = link_frame_begin(&l->fill);
	wire_encode(&w, &l->fill);
	(void)msg_bye_wire(&w, &m);
	link_frame_end(&l->fill, at, MSG_BYE);
	l->state = LINK_ENDING; /* it never was up: no `down` */
	l->ticks = 0;
	l->peer_known = false;
}

static void
take_hello(struct link *l, const struct link_frame *f)
{
	size_t unsent = l->fill.len;
	struct msg_hello theirs;
	enum err rc;

	if (!hello_ok(l, f, &theirs)) {
		link_lose(l, "no good HELLO", true);
		return;
	}
	l->theirs = theirs;
	l->peer_known = true;
	name_accepted(l);
	/* Up before the callback: it may send. */
	l->state = LINK_UP;
	l->ticks = 0;
	l->up_since = mono_now();
	link_stream_trust(l->stream);
	rc = l->ops->up(l->arg, l, &l->theirs);
	if (l->state != LINK_UP) /* closed by the callback */
		return;
	if (rc != ERR_OK) {
		refuse(l, rc, unsent); /* the owner has logged why */
		return;
	}
	l->told_waiting = false;
	link_log_up(l);
}

/* ---- messages ---- */

/* They have refused our HELLO. */
static void
take_bye(struct link *l, const struct link_frame *f)
{
	struct msg_bye m;
	char reason[64];
	struct wire w;
	enum err code;

	wire_decode(&w, f->body);
	if (msg_bye_wire(&w, &m) != ERR_OK) {
		link_lose(l, "malformed BYE", true);
		return;
	}
	code = err_from_u8(m.code);
	if (l->ops->refused != NULL)
		l->ops->refused(l->arg, l, code);
	if (l->state != LINK_UP)
		return;
	(void)snprintf(reason, sizeof(reason), "refused by the other end: %s",
	    err_word(code));
	link_lose(l, reason, true);
}

static void
take_message(struct link *l, const struct link_frame *f)
{
	enum msg_process from = (enum msg_process)l->theirs.process;
	char reason[96];
	struct wire w;
	enum err rc;

	if (f->type == MSG_BEAT && f->body.len == 0)
		return;
	if (f->type == MSG_BYE) {
		take_bye(l, f);
		return;
	}
	if (f->type == MSG_HELLO || f->type == MSG_BEAT ||
	    !msg_legal(f->type, from, l->ls->self)) {
		(void)snprintf(reason, sizeof(reason),
		    "message %s (%u) is not allowed from %s", msg_name(f->type),
		    f->type, msg_process_name((uint8_t)from));
		link_lose(l, reason, true);
		return;
	}
	wire_decode(&w, f->body);
	rc = l->ops->take(l->arg, l, f->type, &w);
	if (rc == ERR_OK || l->state != LINK_UP)
		return;
	(void)snprintf(reason, sizeof(reason), "message %s was refused: %s",
	    msg_name(f->type), err_word(rc));
	link_lose(l, reason, true);
}

/* Handle the whole frames in work; false when the connection is over.  state
 * changes under our hands: any callback may close any link. */
static bool
take_frames(struct link *l)
{
	const struct link_stream *s = l->stream;
	struct link_frame f;
	enum link_frame_rc rc = LINK_FRAME_MORE;
	size_t at = 0;

	while (l->stream == s && l->doomed == NULL && l->state != LINK_ENDING) {
		struct bytes in = {l->work.data + at, l->work.len - at};
		bool greeting = l->state == LINK_GREETING;

		if (in.len == 0)
			break;
		rc = link_frame_parse(in,
		    greeting ? LINK_HELLO_BODY_MAX : FRAME_BODY_BYTES_MAX, &f);
		if (rc != LINK_FRAME_OK)
			break;
		at += f.bytes;
		if (greeting)
			take_hello(l, &f);
		else
			take_message(l, &f);
	}
	if (l->stream != s)
		return false;
	if (l->state == LINK_ENDING)
		at = l->work.len; /* nothing of theirs counts any more */
	else if (rc != LINK_FRAME_OK && rc != LINK_FRAME_MORE) {
		const char *what = link_frame_complaint(rc);

		if (l->state == LINK_GREETING)
			link_complain(l, "%s", what);
		link_lose(l, what, true);
		return false;
	}
	if (at == l->work.len)
		link_buf_recycle(&l->work);
	else if (at > 0)
		buf_consume(&l->work, at);
	return true;
}

static void
send_beat(struct link *l)
{
	if (link_begin(l, MSG_BEAT) != NULL)
		link_end(l);
}

static void
count_tick(struct link *l)
{
	l->ticks++;
	l->rx_ticks++;
	l->tx_ticks++;
	switch (l->state) {
	case LINK_WAITING:
	case LINK_DEAD:
		break;
	case LINK_DIALING:
		if (l->ticks > DIAL_TICKS)
			link_lose_unknown(l, "no connection within 1 s");
		break;
	case LINK_GREETING:
		if (l->ticks <= HELLO_TICKS)
			break;
		if (!l->dialed)
			link_complain(
			    l, "no HELLO within %u ms", LINK_HELLO_MS);
		link_lose_unknown(l, "no HELLO in time");
		break;
	case LINK_UP:
		if (l->rx_ticks > SILENCE_TICKS)
			link_lose(l, "silence", false);
		else if (l->tx_ticks >= BEAT_TICKS && l->fill.len == 0 &&
			 link_stream_unsent(l->stream) == 0)
			send_beat(l);
		break;
	case LINK_ENDING:
		if (l->ticks > ENDING_TICKS)
			link_lose(l, "refused", true);
		break;
	}
}

static void
take_connection(struct link *l)
{
	size_t before = l->work.len;
	const char *failed = link_stream_take(l->stream, &l->work);

	if (l->state == LINK_ENDING) {
		link_buf_recycle(&l->work);
		if (failed != NULL) /* they have hung up */
			link_lose(l, "refused", true);
		return;
	}
	if (l->doomed == NULL && l->work.len != before) {
		l->rx_ticks = 0;
		if (!take_frames(l))
			return;
	}
	if (l->doomed != NULL)
		link_lose(l, l->doomed, false);
	else if (failed != NULL && l->state == LINK_UP)
		link_lose(l, failed, false);
	else if (failed != NULL && l->state == LINK_ENDING)
		link_lose(l, "refused", true);
	else if (failed != NULL)
		link_lose_unknown(l, failed);
}

static void
take_dial(struct link *l)
{
	struct link_stream *s;
	const char *why;

	switch (link_attempt_poll(l->attempt, &s, &why)) {
	case LINK_PENDING:
		return;
	case LINK_FAILED:
		link_lose_unknown(l, why);
		return;
	case LINK_READY:
		links_discard(l->ls, NULL, l->attempt);
		l->attempt = NULL;
		if (!link_stream_user_ok(s, l->ls->group)) {
			link_complain(l, "it runs as another user");
			links_discard(l->ls, s, NULL);
			link_lose(l, "another user", true);
			return;
		}
		link_begin_greeting(l, s);
		return;
	}
}

void
link_take(struct link *l, bool ticked)
{
	switch (l->state) {
	case LINK_WAITING:
	case LINK_DEAD:
		return;
	case LINK_DIALING:
		take_dial(l);
		break;
	case LINK_GREETING:
	case LINK_UP:
	case LINK_ENDING:
		take_connection(l);
		break;
	}
	if (ticked) /* after what has arrived: it breaks silence */
		count_tick(l);
}
