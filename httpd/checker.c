/* Proposing what kvd's state hash is; see checker.h. */
#include "httpd/checker.h"

/* Of our STATUS_ASK: one that no client's has (they count from 1). */
#define TOKEN UINT64_MAX

void
checker_init(struct checker *c, uint64_t interval_ms, struct link *kvd,
    struct pending *pending)
{
	c->interval_ms = interval_ms;
	c->kvd = kvd;
	c->pending = pending;
	c->next = interval_ms == 0 ? MONO_NEVER
				   : mono_add_ms(mono_now(), interval_ms);
}

struct mono
checker_next(const struct checker *c)
{
	return c->next;
}

void
checker_run(struct checker *c, struct mono now)
{
	struct msg_status_ask m = {.token = TOKEN};
	struct wire *w;

	if (!mono_reached(c->next, now))
		return;
	c->next = mono_add_ms(now, c->interval_ms);
	c->asked = false;
	if (c->waiter.waiting || link_is_full(c->kvd) ||
	    (w = link_begin(c->kvd, MSG_STATUS_ASK)) == NULL)
		return; /* the next time, then */
	(void)msg_status_ask_wire(w, &m);
	link_end(c->kvd);
	c->asked = true;
}

void
checker_take(struct checker *c, uint64_t node, const struct msg_kv_status *kv,
    struct mono now)
{
	if (!c->asked || kv->token != TOKEN)
		return;
	c->asked = false;
	if (c->waiter.waiting || kv->applied == 0 || node == 0)
		return;
	c->waiter = (struct waiter){.way = WAY_WRITE,
	    .patience = PATIENCE_REQUEST,
	    .silent = true,
	    .cmd = {.op = CMD_CHECK,
		.check = {
		    .node = node, .index = kv->applied, .hash = kv->hash}}};
	(void)pending_add(c->pending, &c->waiter, now); /* or not, if full */
}
