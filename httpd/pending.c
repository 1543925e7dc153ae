/* Waiters, their batches, deadlines and answers; see pending.h. */
#include "httpd/pending.h"

#include <assert.h>

#include "base/mem.h"
#include "httpd/backlog.h"
#include "httpd/batch.h"
#include "proto/limits.h"

#define PROBE_MS 1000u
#define REFUSE_MS_MAX 200u
/* A link that is full tells nobody when it has room again. */
#define STALL_MS 10u
/* kvd remembers SESSION_BATCHES_MAX batches from the oldest open one on. */
#define WRITES_AHEAD_MAX (SESSION_BATCHES_MAX / 2)
struct waiters {
	struct waiter *first, *last;
};

struct pending {
	uint64_t node; /* 0: not known yet */
	uint64_t epoch;
	uint64_t patience_ms[PATIENCES];
	struct link *raftd, *kvd;
	pending_answer_fn *answer;

	size_t waiting;
	struct waiters patience[PATIENCES]; /* all waiters, by deadline */
	struct backlog backlog[WAYS];       /* those not sent */
	struct batches open;
	struct mono next_retry; /* not after the first batch's retry_at */
	struct mono wake;       /* a backlog waits for this, after a flush */
	bool ask_kvd;           /* its link is new */
	uint64_t leader, term;  /* as raftd said; 0: none */
	bool unheard;           /* its link is new and it has not said yet */
};

struct pending *
pending_open(uint64_t epoch, uint64_t timeout_ms, struct link *raftd,
    struct link *kvd, pending_answer_fn *answer)
{
	struct pending *p = mem_zalloc(1, sizeof *p);

	p->epoch = epoch;
	p->patience_ms[PATIENCE_REQUEST] = timeout_ms;
	p->patience_ms[PATIENCE_PROBE] = PROBE_MS;
	p->raftd = raftd;
	p->kvd = kvd;
	p->answer = answer;
	p->next_retry = MONO_NEVER;
	p->wake = MONO_NEVER;
	return p;
}

void
pending_close(struct pending *p)
{
	if (p == NULL)
		return;
	assert(p->waiting == 0);
	for (int way = 0; way < WAYS; way++)
		assert(p->open.first[way] == NULL);
	mem_free(p);
}

void
pending_node(struct pending *p, uint64_t node)
{
	p->node = node;
}

size_t
pending_count(const struct pending *p)
{
	return p->waiting;
}

size_t
pending_batches(const struct pending *p, enum way way)
{
	size_t n = 0;

	for (const struct batch *b = p->open.first[way]; b != NULL; b = b->next)
		n++;
	return n;
}

static struct link *
link_of(const struct pending *p, enum way way)
{
	return way == WAY_STALE ? p->kvd : p->raftd;
}

/* --- a waiter comes and goes --- */

bool
pending_add(struct pending *p, struct waiter *w, struct mono now)
{
	struct waiters *all = &p->patience[w->patience];

	assert(!w->waiting);
	if (p->waiting >= REQUESTS_INFLIGHT_MAX && !w->probe)
		return false;
	w->waiting = true;
	w->refused = ERR_OK;
	w->deadline = mono_add_ms(now, p->patience_ms[w->patience]);
	w->prev = all->last;
	w->next = NULL;
	if (all->last != NULL)
		all->last->next = w;
	else
		all->first = w;
	all->last = w;
	p->waiting++;
	backlog_push(&p->backlog[w->way], w);
	return true;
}

/* w waits no more.  Its batch, if nobody waits for that either, is closed. */
static void
remove_waiter(struct pending *p, struct waiter *w)
{
	struct waiters *all = &p->patience[w->patience];
	struct batch *b = w->batch;

	assert(w->waiting);
	assert(p->waiting > 0);
	if (b == NULL)
		backlog_remove(&p->backlog[w->way], w);
	else
		batch_drop(w);
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		all->first = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	else
		all->last = w->prev;
	w->prev = w->next = NULL;
	w->waiting = false;
	p->waiting--;
	if (b != NULL && b->waiting == 0)
		batch_free(&p->open, b);
}

void
pending_forget(struct pending *p, struct waiter *w)
{
	if (w->waiting)
		remove_waiter(p, w);
}

static void
finish(struct pending *p, struct waiter *w, const struct answer *a)
{
	remove_waiter(p, w);
	if (!w->silent)
		p->answer(w, a);
}

/* --- deadlines --- */

/* Was w certainly not executed?  Then *why says what was in the way. */
static bool
not_executed(const struct pending *p, const struct waiter *w, enum err *why)
{
	const struct batch *b = w->batch;

	*why = w->refused;
	if (b != NULL) {
		if (!batch_certainly_refused(b))
			return false;
		*why = b->refused;
	} else if (*why == ERR_OK && link_is_up(link_of(p, w->way))) {
		*why = p->backlog[w->way].hold_code;
		if (*why == ERR_OK)
			*why = ERR_OVERLOADED; /* its link was full */
	}
	if (*why == ERR_OK)
		*why = ERR_UNAVAILABLE;
	return true;
}

/* One command of a batch is about to be answered "not executed": then the batch
 * must never leave again.  Its waiters go back to the backlog, as if it had
 * never been. */
static void
dissolve(struct pending *p, struct batch *b)
{
	assert(batch_certainly_refused(b));
	for (uint32_t n = 0; n < b->slots; n++) {
		struct waiter *w = b->slot[n];

		if (w == NULL)
			continue;
		w->refused = b->refused;
		batch_drop(w);
		backlog_push(&p->backlog[w->way], w);
	}
	batch_free(&p->open, b);
}

/* w's time is over: 503 with why (or what stands in the way, if why is
 * ERR_OK), or 504. */
static void
give_up(struct pending *p, struct waiter *w, enum err why)
{
	struct answer a = {.code = ERR_TIMEOUT};
	enum err obstacle;

	if (not_executed(p, w, &obstacle)) {
		a.code = why != ERR_OK ? why : obstacle;
		if (w->batch != NULL)
			dissolve(p, w->batch);
	}
	finish(p, w, &a);
}

void
pending_expire(struct pending *p, struct mono now)
{
	struct waiter *w;

	for (int i = 0; i < PATIENCES; i++)
		while ((w = p->patience[i].first) != NULL &&
		       mono_reached(w->deadline, now))
			give_up(p, w, ERR_OK);
}

void
pending_stop(struct pending *p)
{
	struct waiter *w;

	for (int i = 0; i < PATIENCES; i++)
		while ((w = p->patience[i].first) != NULL)
			give_up(p, w, ERR_STOPPING);
}

struct mono
pending_next(const struct pending *p)
{
	struct mono next = mono_earlier(p->wake, p->next_retry);

	for (int i = 0; i < PATIENCES; i++)
		if (p->patience[i].first != NULL)
			next =
			    mono_earlier(next, p->patience[i].first->deadline);
	return next;
}

/* --- sending --- */

static void
retry(struct pending *p, struct batch *b, struct mono at)
{
	b->silent = false;
	b->retry_at = at;
	p->next_retry = mono_earlier(p->next_retry, at);
}

static void
send_batch(struct pending *p, struct batch *b, struct mono now)
{
	/* If the link is down, pending_raftd_up() or _kvd_up() sends it. */
	if (!batch_send(b, link_of(p, b->way), p->epoch, now))
		b->retry_at = MONO_NEVER;
	p->next_retry = mono_earlier(p->next_retry, b->retry_at);
	backlog_sent(&p->backlog[b->way], now);
}

/* FLOW 2: the commands of this turn -> one batch, one PROPOSE. */
static void
pending_propose(struct pending *p, struct mono now)
{
	struct cmd_batch head = {
	    .format = CMD_FORMAT, .node = p->node, .epoch = p->epoch};
	uint64_t oldest = batch_oldest_write(&p->open);
	struct backlog *q = &p->backlog[WAY_WRITE];
	struct waiter *w = q->first;
	size_t bytes = 0;
	struct batch *b;
	struct wire wire;

	for (; w != NULL && head.count < BATCH_COMMANDS_MAX &&
	       bytes < BATCH_BYTES_SOFT;
	     w = w->queue_next) {
		bytes += backlog_cmd_bytes(w);
		head.count++;
	}
	b = batch_new(&p->open, WAY_WRITE, head.count);
	b->count = head.count;
	head.seq = b->seq;
	head.done_below = oldest < b->seq ? oldest : b->seq;

	buf_reserve(&b->body, bytes + sizeof head);
	wire_encode(&wire, &b->body);
	cmd_batch_wire(&wire, &head);
	for (uint32_t n = 0; n < head.count; n++) {
		w = q->first;
		backlog_remove(q, w);
		cmd_wire(&wire, &w->cmd);
		batch_place(b, n, w);
	}
	assert(wire_end(&wire) == ERR_OK); /* checked by api.c */
	send_batch(p, b, now);
}

/* READ 2: the lookups of this turn -> one READ or STALE_READ.  Probes have no
 * key: they take the places behind the keys. */
static void
pending_read(struct pending *p, enum way way, struct mono now)
{
	struct backlog *q = &p->backlog[way];
	struct waiter *w = q->first;
	uint32_t slots = 0, probes;
	struct batch *b;
	struct wire wire;

	backlog_expect_none(q);
	for (; w != NULL && slots < READ_KEYS_MAX; w = w->queue_next)
		slots++;
	b = batch_new(&p->open, way, slots);
	wire_encode(&wire, &b->body);
	probes = 0;
	for (uint32_t n = 0; n < slots; n++) {
		w = q->first;
		backlog_remove(q, w);
		if (w->probe) {
			batch_place(b, slots - ++probes, w);
			continue;
		}
		msg_read_item_wire(&wire, &w->item);
		batch_place(b, b->count++, w);
	}
	assert(wire_end(&wire) == ERR_OK);
	assert(b->count + probes == slots);
	send_batch(p, b, now);
}

/* Can what is queued for this way leave now?  If time alone will change that,
 * it is noted in wake. */
static bool
may_send(struct pending *p, enum way way, struct mono now)
{
	struct link *l = link_of(p, way);
	struct backlog *q = &p->backlog[way];
	const struct batch *oldest = p->open.first[WAY_WRITE];

	if (q->first == NULL || !link_is_up(l))
		return false;
	if (backlog_is_held(q, now, &p->wake))
		return false;
	if (link_is_full(l)) {
		p->wake = mono_earlier(p->wake, mono_add_ms(now, STALL_MS));
		return false;
	}
	if (backlog_is_gathering(q, way, p->open.open[way], now, &p->wake))
		return false;
	if (way != WAY_WRITE)
		return true;
	/* Without room in the session the oldest batch comes first; it has a
	 * deadline. */
	return p->node != 0 &&
	       (oldest == NULL ||
		   p->open.made[WAY_WRITE] - oldest->nth < WRITES_AHEAD_MAX);
}

/* kvd is back or new: does it know results that were lost on the way? */
static void
send_ask(struct pending *p)
{
	struct msg_ask m = {.epoch = p->epoch};
	struct batch *b;
	struct wire *w;

	for (b = p->open.first[WAY_WRITE]; b != NULL; b = b->next)
		m.count++;
	if (m.count == 0)
		return;
	if ((w = link_begin(p->kvd, MSG_ASK)) == NULL)
		return;
	msg_ask_wire(w, &m);
	for (b = p->open.first[WAY_WRITE]; b != NULL; b = b->next)
		msg_ask_item_wire(w, &b->seq);
	link_end(p->kvd);
}

/* Batches whose time has come.  This walks over all open batches, but only
 * when one is due: without losses or refusals about once a second. */
static void
retry_due(struct pending *p, enum way way, struct mono now)
{
	struct link *l = link_of(p, way);

	for (struct batch *b = p->open.first[way]; b != NULL; b = b->next) {
		if (!link_is_up(l))
			b->retry_at = MONO_NEVER;
		else if (!mono_reached(b->retry_at, now))
			;
		else if (link_is_full(l))
			retry(p, b, mono_add_ms(now, STALL_MS));
		else if (b->silent && !link_is_up(p->kvd))
			/* Who should answer is away: asking again would only
			 * make the log longer. */
			b->retry_at = mono_add_ms(now, b->silence_ms);
		else
			send_batch(p, b, now);
		p->next_retry = mono_earlier(p->next_retry, b->retry_at);
	}
}

void
pending_flush(struct pending *p, struct mono now)
{
	p->wake = MONO_NEVER;
	if (p->ask_kvd) {
		p->ask_kvd = false;
		send_ask(p);
	}
	if (mono_reached(p->next_retry, now)) {
		p->next_retry = MONO_NEVER;
		retry_due(p, WAY_WRITE, now);
		retry_due(p, WAY_READ, now);
		retry_due(p, WAY_STALE, now);
	}
	while (may_send(p, WAY_WRITE, now))
		pending_propose(p, now);
	while (may_send(p, WAY_READ, now))
		pending_read(p, WAY_READ, now);
	while (may_send(p, WAY_STALE, now))
		pending_read(p, WAY_STALE, now);
}

/* --- what comes back --- */

/* A REPLY is looked at as a whole before anything is answered. */
static bool
reply_is_whole(struct wire body, uint32_t count)
{
	struct msg_reply_item item;

	for (uint32_t n = 0; n < count && wire_err(&body) == ERR_OK; n++)
		msg_reply_item_wire(&body, &item);
	return wire_end(&body) == ERR_OK;
}

/* Did kvd leave this lookup out because the REPLY was full, or is it about to
 * leave because its engine failed (another one will come)?  Then it is asked
 * for again.  The first of a REPLY always fits: if it is left out kvd is in
 * trouble, and gets some air. */
static bool
ask_again(struct pending *p, struct waiter *w, enum err code, struct mono now)
{
	struct backlog *q = &p->backlog[w->way];

	if (w->way == WAY_WRITE || (code != ERR_OVERLOADED && code != ERR_IO))
		return false;
	if (w->slot == 0 || code == ERR_IO)
		backlog_hold(q, mono_add_ms(now, STALL_MS), code);
	w->refused = code;
	batch_drop(w);
	backlog_push(q, w);
	backlog_expect_none(q); /* it has waited enough */
	return true;
}

/* The answers of one REPLY; its last one closes the batch. */
static void
answer_all(struct pending *p, struct batch *b, const struct msg_reply *m,
    struct wire *body, struct mono now)
{
	uint32_t slots = b->slots, count = b->count;

	if (b->way != WAY_WRITE)
		backlog_expect(&p->backlog[b->way], b->waiting, now);
	b->waiting++; /* ours: the batch stays until we are through */
	for (uint32_t n = 0; n < slots; n++) {
		struct msg_reply_item item = {.code = ERR_OK};
		struct waiter *w = b->slot[n];
		struct answer a;

		if (n < count)
			msg_reply_item_wire(body, &item);
		if (w == NULL)
			continue;
		a = (struct answer){.code = err_from_u8(item.code),
		    .from_store = true,
		    .store_revision = m->revision,
		    .revision = item.revision,
		    .length = item.length,
		    .value = item.value};
		if (!ask_again(p, w, a.code, now))
			finish(p, w, &a);
	}
	b->waiting--;
	batch_free(&p->open, b);
}

/* FLOW 8, READ 6: REPLY -> each waiter of the batch has its answer. */
enum err
pending_reply(struct pending *p, struct wire *body, struct mono now)
{
	struct msg_reply m;
	struct batch *b;

	msg_reply_wire(body, &m);
	if (wire_err(body) != ERR_OK || !reply_is_whole(*body, m.count))
		return ERR_MALFORMED;
	if ((b = batch_find(&p->open, m.seq)) == NULL)
		return ERR_OK; /* answered before, or nobody waits any more */
	if (m.count != b->count ||
	    (m.to == MSG_REPLY_PROPOSE) != (b->way == WAY_WRITE))
		return ERR_MALFORMED;
	answer_all(p, b, &m, body, now);
	return ERR_OK;
}

/* Can this refusal be another one in a moment? */
static bool
is_temporary(enum err code)
{
	return code == ERR_NO_LEADER || code == ERR_TRANSFERRING ||
	       code == ERR_OVERLOADED || code == ERR_UNAVAILABLE ||
	       code == ERR_STOPPING || code == ERR_TIMEOUT;
}

static void
refuse_all(struct pending *p, struct batch *b, enum err code)
{
	const struct answer a = {.code = code};

	b->waiting++; /* as in answer_all() */
	for (uint32_t n = 0; n < b->slots; n++)
		if (b->slot[n] != NULL)
			finish(p, b->slot[n], &a);
	b->waiting--;
	batch_free(&p->open, b);
}

enum err
pending_refuse(struct pending *p, struct wire *body, struct mono now)
{
	struct msg_refuse m;
	struct batch *b;
	enum err code;

	if (msg_refuse_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	code = err_from_u8(m.code);
	if (err_http(code) < 400) /* that is no refusal */
		return ERR_MALFORMED;
	if ((b = batch_find(&p->open, m.seq)) == NULL)
		return ERR_OK;
	if (b->way == WAY_STALE ||
	    (m.what == MSG_REFUSED_PROPOSE) != (b->way == WAY_WRITE))
		return ERR_MALFORMED;
	if (!batch_refused(b, m.attempt, code))
		return ERR_OK; /* a later attempt is under way */
	if (!is_temporary(code) &&
	    (b->way == WAY_READ || batch_certainly_refused(b))) {
		refuse_all(p, b, code);
		return ERR_OK;
	}
	retry(p, b, mono_add_ms(now, b->refuse_ms));
	backlog_hold(&p->backlog[b->way], b->retry_at, code);
	b->refuse_ms *= 2;
	if (b->refuse_ms > REFUSE_MS_MAX)
		b->refuse_ms = REFUSE_MS_MAX;
	return ERR_OK;
}

/* --- events --- */

static void
send_all_again(struct pending *p, enum way way, struct mono now)
{
	for (struct batch *b = p->open.first[way]; b != NULL; b = b->next)
		retry(p, b, now);
	backlog_hold(&p->backlog[way], now, ERR_OK);
}

void
pending_raftd_up(struct pending *p, struct mono now)
{
	p->unheard = true; /* it will say how things are: that is no change */
	send_all_again(p, WAY_WRITE, now);
	send_all_again(p, WAY_READ, now);
}

void
pending_kvd_up(struct pending *p, struct mono now)
{
	p->ask_kvd = true;
	send_all_again(p, WAY_READ, now); /* they died with it, or in a pipe */
	send_all_again(p, WAY_STALE, now);
}

void
pending_leader(
    struct pending *p, uint64_t leader, uint64_t term, struct mono now)
{
	const bool changed = leader != p->leader || term != p->term;

	p->leader = leader;
	p->term = term;
	if (p->unheard) {
		p->unheard = false;
		return;
	}
	if (!changed || leader == 0)
		return;
	send_all_again(p, WAY_WRITE, now);
	send_all_again(p, WAY_READ, now);
}
