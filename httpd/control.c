/* Orders to raftd; see control.h. */
#include "httpd/control.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"

struct control {
	struct link *raftd;
	control_answer_fn *answer;
	struct askers askers;
};

struct control *
control_open(struct link *raftd, control_answer_fn *answer)
{
	struct control *ct = mem_zalloc(1, sizeof *ct);

	ct->raftd = raftd;
	ct->answer = answer;
	return ct;
}

void
control_close(struct control *ct)
{
	assert(ct == NULL || ct->askers.first == NULL);
	mem_free(ct);
}

static struct control_waiter *
waiter_of(struct asker *a)
{
	return (
	    struct control_waiter *)((char *)a -
				     offsetof(struct control_waiter, asker));
}

bool
control_add(struct control *ct, struct control_waiter *w,
    const struct msg_control *order, struct mono now)
{
	struct wire *wire = link_begin(ct->raftd, MSG_CONTROL);

	if (wire == NULL)
		return false;
	asker_add(&ct->askers, &w->asker, mono_add_ms(now, ORDER_MS));
	w->order = mem_alloc(sizeof *w->order);
	*w->order = *order;
	w->order->token = w->asker.token;
	(void)msg_control_wire(wire, w->order); /* ours: no error */
	link_end(ct->raftd);
	return true;
}

static void
drop_order(struct control_waiter *w)
{
	mem_free(w->order);
	w->order = NULL;
}

void
control_forget(struct control *ct, struct control_waiter *w)
{
	asker_remove(&ct->askers, &w->asker);
	drop_order(w);
}

static void
answer(struct control *ct, struct control_waiter *w,
    const struct msg_controlled *m)
{
	asker_remove(&ct->askers, &w->asker);
	ct->answer(w, m);
	drop_order(w);
}

/* Of the first that waits: what becomes of its order is not known. */
static void
answer_unknown(struct control *ct, const char *why)
{
	struct msg_controlled m = {.code = ERR_TIMEOUT};

	(void)snprintf(m.why, sizeof m.why,
	    "%s, the order may be carried out all the same; GET /v1/members "
	    "and /v1/status show what became of it",
	    why);
	answer(ct, waiter_of(ct->askers.first), &m);
}

void
control_run(struct control *ct, struct mono now)
{
	while (mono_reached(asker_next(&ct->askers), now))
		answer_unknown(ct, "raftd has not answered in time");
}

struct mono
control_next(const struct control *ct)
{
	return asker_next(&ct->askers);
}

enum err
control_take(struct control *ct, struct wire *body)
{
	struct msg_controlled m;
	struct asker *a;

	if (msg_controlled_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	m.code = (uint8_t)err_from_u8(m.code);
	if ((a = asker_find(&ct->askers, m.token)) != NULL)
		answer(ct, waiter_of(a), &m); /* else its client has left */
	return ERR_OK;
}

void
control_raftd_down(struct control *ct)
{
	while (ct->askers.first != NULL)
		answer_unknown(ct, "raftd went away");
}

void
control_stop(struct control *ct)
{
	while (ct->askers.first != NULL)
		answer_unknown(ct, "this node is stopping");
}
