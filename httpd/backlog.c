/* See backlog.h. */
#include "httpd/backlog.h"

#include <assert.h>

#include "proto/limits.h"

/* While so many batches of a way are on theirs, what comes gathers for the next
 * one; for at most GATHER_MS, lest one that is lost holds up others. */
static const uint32_t open_gather[WAYS] = {
    [WAY_WRITE] = 2, [WAY_READ] = 1, [WAY_STALE] = 1};
#define GATHER_MS 10u
/* Clients whose lookups were answered are mostly back at once with the next,
 * one after the other: a batch waits until as many are there as there were, but
 * no longer than this, counted from the REPLY, and than that for each of them:
 * the time in which it is answered and sends its next one.  Else the batch
 * leaves with the first few, the others follow in another one, and so the
 * batches of all rounds stay small. */
#define RETURN_US 60u
#define RETURN_US_EACH 6u
#define CMD_OVERHEAD_BYTES 32u /* of a command beside its key and value */

/* ---- who waits ---- */

size_t
backlog_cmd_bytes(const struct waiter *w)
{
	return w->cmd.key.len + w->cmd.value.len + CMD_OVERHEAD_BYTES;
}

void
backlog_push(struct backlog *q, struct waiter *w)
{
	assert(w->batch == NULL);
	w->queue_prev = q->last;
	w->queue_next = NULL;
	if (q->last != NULL)
		q->last->queue_next = w;
	else
		q->first = w;
	q->last = w;
	q->count++;
	q->bytes += backlog_cmd_bytes(w);
}

void
backlog_remove(struct backlog *q, struct waiter *w)
{
	if (w->queue_prev != NULL)
		w->queue_prev->queue_next = w->queue_next;
	else
		q->first = w->queue_next;
	if (w->queue_next != NULL)
		w->queue_next->queue_prev = w->queue_prev;
	else
		q->last = w->queue_prev;
	w->queue_prev = w->queue_next = NULL;
	q->count--;
	q->bytes -= backlog_cmd_bytes(w);
}

/* ---- for what ---- */

void
backlog_sent(struct backlog *q, struct mono now)
{
	q->gather_until = mono_add_ms(now, GATHER_MS);
}

void
backlog_expect(struct backlog *q, uint32_t lookups, struct mono now)
{
	q->returning = q->count + lookups;
	q->return_until =
	    mono_add_us(now, RETURN_US + RETURN_US_EACH * lookups);
}

void
backlog_expect_none(struct backlog *q)
{
	q->returning = 0;
}

void
backlog_hold(struct backlog *q, struct mono until, enum err code)
{
	q->hold_until = until;
	q->hold_code = code;
}

/* ---- how long ---- */

bool
backlog_is_held(struct backlog *q, struct mono now, struct mono *wake)
{
	if (!mono_reached(q->hold_until, now)) {
		*wake = mono_earlier(*wake, q->hold_until);
		return true;
	}
	q->hold_code = ERR_OK;
	return false;
}

/* Is there as much as one batch takes? */
static bool
is_full(const struct backlog *q, enum way way)
{
	if (way == WAY_WRITE)
		return q->count >= BATCH_COMMANDS_MAX ||
		       q->bytes >= BATCH_BYTES_SOFT;
	return q->count >= READ_KEYS_MAX;
}

bool
backlog_is_gathering(const struct backlog *q, enum way way, uint32_t batches,
    struct mono now, struct mono *wake)
{
	struct mono until;

	if (batches >= open_gather[way])
		until = q->gather_until;
	else if (q->count < q->returning)
		until = q->return_until;
	else
		return false;
	if (is_full(q, way) || mono_reached(until, now))
		return false;
	*wake = mono_earlier(*wake, until);
	return true;
}
