/* The round trip to another node; see echo.h. */
#include "raftd/echo.h"

static bool
send_token(struct link *out, enum msg_type type, uint64_t token)
{
	struct msg_status_ask m = {.token = token};
	struct wire *w;

	if (link_is_full(out) || (w = link_begin(out, type)) == NULL)
		return false;
	(void)msg_status_ask_wire(w, &m); /* ours: no error */
	link_end(out);
	return true;
}

void
echo_ask(struct echo *e, struct link *out)
{
	struct mono now = mono_now();

	if (e->awaited && mono_ms_since(e->sent_at, now) < ECHO_PATIENCE_MS)
		return;
	e->token++; /* an answer to an older one is too late */
	e->sent_at = now;
	e->awaited = send_token(out, MSG_PING, e->token);
}

enum err
echo_answer(struct link *out, struct wire *w)
{
	struct msg_status_ask m;

	if (msg_status_ask_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	(void)send_token(out, MSG_PONG, m.token); /* or it is lost */
	return ERR_OK;
}

enum err
echo_take(struct echo *e, struct wire *w)
{
	struct msg_status_ask m;

	if (msg_status_ask_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (!e->awaited || m.token != e->token)
		return ERR_OK;
	e->awaited = false;
	histogram_add_since(
	    &e->round_trips, HISTOGRAM_NET_NS, e->sent_at, mono_now());
	return ERR_OK;
}
