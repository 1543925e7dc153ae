/* Orders to raftd; see control.h. */
#include "httpd/control.h"

#include <assert.h>

#include "base/mem.h"

struct control {
	struct link *raftd;
	control_answer_fn *answer;
	struct control_waiter *first, *last; /* in order of deadline */
	uint64_t token;                      /* the last one given */
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
	assert(ct == NULL || ct->first == NULL);
	mem_free(ct);
}

bool
control_add(struct control *ct, struct control_waiter *w, enum msg_order order,
    struct mono now)
{
	struct msg_control m = {.order = (uint8_t)order};
	struct wire *wire = link_begin(ct->raftd, MSG_CONTROL);

	if (wire == NULL)
		return false;
	m.token = w->token = ++ct->token;
	(void)msg_control_wire(wire, &m); /* ours: no error */
	link_end(ct->raftd);
	w->deadline = mono_add_ms(now, ORDER_MS);
	w->waiting = true;
	w->prev = ct->last;
	w->next = NULL;
	if (ct->last != NULL)
		ct->last->next = w;
	else
		ct->first = w;
	ct->last = w;
	return true;
}

void
control_forget(struct control *ct, struct control_waiter *w)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		ct->first = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	else
		ct->last = w->prev;
}

static void
answer(
    struct control *ct, struct control_waiter *w, enum err code, uint64_t index)
{
	control_forget(ct, w);
	ct->answer(w, code, index);
}

void
control_run(struct control *ct, struct mono now)
{
	while (ct->first != NULL && mono_reached(ct->first->deadline, now))
		answer(ct, ct->first, ERR_TIMEOUT, 0);
}

struct mono
control_next(const struct control *ct)
{
	return ct->first == NULL ? MONO_NEVER : ct->first->deadline;
}

enum err
control_take(struct control *ct, struct wire *body)
{
	struct control_waiter *w;
	struct msg_controlled m;

	if (msg_controlled_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	for (w = ct->first; w != NULL && w->token != m.token; w = w->next)
		;
	if (w != NULL) /* else its client has left */
		answer(ct, w, err_from_u8(m.code), m.index);
	return ERR_OK;
}

void
control_raftd_down(struct control *ct)
{
	while (ct->first != NULL)
		answer(ct, ct->first, ERR_UNAVAILABLE, 0);
}

void
control_stop(struct control *ct)
{
	while (ct->first != NULL)
		answer(ct, ct->first, ERR_STOPPING, 0);
}
