/* A simulated httpd: the real pending.c with its batches, retries and
 * deadlines, and a few users who want something of it.  What they ask and what
 * they get is the history that is checked at the end. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/daemon.h"
#include "base/mem.h"
#include "httpd/batch.h"
#include "httpd/pending.h"
#include "tests/sim/sim.h"

#define USERS_MAX 5u
#define FIND_BUCKETS 4096u

struct user {
	struct waiter w;
	struct client *client;
	bool busy;
	size_t op; /* in history */
	struct mono next;
	struct buf value;
	/* What it last read, for OP_PUT_SAME. */
	uint32_t seen_key;
	uint64_t seen_value, seen_revision;
};

struct client {
	struct proc *proc;
	uint64_t epoch, node;
	struct loop *loop;
	struct links *links;
	struct link *raftd, *kvd;
	struct pending *pending;
	unsigned count;
	struct user users[USERS_MAX];
};

struct history history;

static bool stopping;
static size_t buckets[FIND_BUCKETS]; /* op's place + 1 */
static uint64_t progress_at[SIM_NODES_MAX + 1];

static struct rng *
rng(void)
{
	return &sim.rng[RNG_CLIENT];
}

/* ---- keys and values ---- */

struct bytes
client_key(uint32_t key)
{
	static const char *const keys[SIM_KEYS_MAX] = {
	    "a", "b", "key/3", "key/33", "\x01\x02", "f f", "gggggggggg", "h"};

	return bytes_of_str(keys[key]);
}

/* 8 bytes of id, then as many more as the id says. */
void
value_fill(uint64_t id, struct buf *out)
{
	size_t len = (size_t)(id * 7919 % 120);

	if (id % 50 == 0)
		len = (size_t)(id * 7919 % sim.value_bytes_max);
	buf_clear(out);
	buf_append(out, &id, sizeof(id));
	memset(buf_extend(out, len), (int)(id & 0xff), len);
}

uint64_t
value_id(struct bytes value)
{
	uint64_t id;

	if (value.len < sizeof(id))
		return 0;
	memcpy(&id, value.data, sizeof(id));
	return id <= history.count ? id : 0;
}

/* ---- the history ---- */

static struct op *
history_new(void)
{
	if (history.count == history.cap) {
		history.cap = history.cap == 0 ? 1024 : history.cap * 2;
		history.ops =
		    realloc(history.ops, history.cap * sizeof(history.ops[0]));
		assert(history.ops != NULL);
	}
	memset(&history.ops[history.count], 0, sizeof(struct op));
	return &history.ops[history.count++];
}

static size_t *
bucket_of(unsigned node, uint64_t epoch, uint64_t seq, uint32_t slot)
{
	return &buckets[(epoch ^ (seq * 64 + slot) * 7 ^ node) % FIND_BUCKETS];
}

struct op *
history_find(unsigned node, uint64_t epoch, uint64_t seq, uint32_t slot)
{
	size_t i = *bucket_of(node, epoch, seq, slot);

	while (i != 0) {
		struct op *op = &history.ops[i - 1];

		if (op->node == node && op->epoch == epoch && op->seq == seq &&
		    op->slot == slot)
			return op;
		i = op->chain;
	}
	return NULL;
}

void
history_reset(void)
{
	free(history.ops);
	memset(&history, 0, sizeof(history));
	memset(buckets, 0, sizeof(buckets));
	memset(progress_at, 0, sizeof(progress_at));
	stopping = false;
}

void
clients_stop(void)
{
	stopping = true;
}

size_t
clients_open(void)
{
	size_t open = 0;

	for (size_t i = 0; i < history.count; i++)
		if (history.ops[i].state == OP_OPEN)
			open++;
	return open;
}

bool
client_progress(unsigned node, uint64_t since)
{
	return progress_at[node] >= since && progress_at[node] > 0;
}

/* ---- users ---- */

static void
think(struct user *u, struct mono now)
{
	uint64_t ms = rng_between(rng(), 1, sim.think_ms);

	u->busy = false;
	u->next = mono_add_ms(now, ms);
}

static bool
is_write(const struct op *op)
{
	return op->kind != OP_GET && op->kind != OP_STALE;
}

static void
on_answer(struct waiter *w, const struct answer *a)
{
	struct user *u = (struct user *)w;
	struct op *op = &history.ops[u->op];

	op->completed = ++history.clock;
	op->code = a->code;
	op->revision = a->revision;
	if (a->from_store) {
		op->state = OP_DONE;
		sim.answered++;
		if (is_write(op) && progress_at[op->node] < op->at)
			progress_at[op->node] = op->at;
	} else {
		op->state = err_http(a->code) == 503 || err_http(a->code) == 507
				? OP_REFUSED
				: OP_UNKNOWN;
		count(err_http(a->code) == 507  ? COUNT_CLIENT_NO_SPACE
		      : op->state == OP_REFUSED ? COUNT_CLIENT_REFUSED
						: COUNT_CLIENT_UNKNOWN);
	}
	if (a->from_store && !is_write(op) && a->code == ERR_OK) {
		op->value = value_id(a->value);
		if (op->value == 0)
			violate("a read gave a value that nobody wrote");
		u->seen_key = op->key;
		u->seen_value = op->value;
		u->seen_revision = a->revision;
	}
	trace_mix(op->completed << 8 ^ (uint64_t)op->code);
	if (trace_wanted())
		trace("user of node %u: op %zu answered code=%s rev=%llu",
		    op->node, u->op + 1, err_word(a->code),
		    (unsigned long long)a->revision);
	think(u, mono_now());
}

static enum op_kind
draw_kind(const struct user *u)
{
	uint64_t n = rng_below(rng(), 100);

	if (n < 35)
		return OP_PUT;
	if (n < 43)
		return OP_DELETE;
	if (n < 48)
		return OP_PUT_ABSENT;
	if (n < 52)
		return OP_PUT_PRESENT;
	if (n < 60 && u->seen_value != 0)
		return OP_PUT_SAME;
	return n < 95 ? OP_GET : OP_STALE;
}

static void
fill_command(struct user *u, struct op *op)
{
	struct cmd *cmd = &u->w.cmd;
	static const uint8_t when[] = {[OP_PUT] = CMD_ALWAYS,
	    [OP_PUT_ABSENT] = CMD_IF_ABSENT,
	    [OP_PUT_PRESENT] = CMD_IF_PRESENT,
	    [OP_PUT_SAME] = CMD_IF_REVISION,
	    [OP_DELETE] = CMD_ALWAYS};

	u->w.way = WAY_WRITE;
	*cmd = (struct cmd){.op = op->kind == OP_DELETE ? CMD_DELETE : CMD_PUT,
	    .when = when[op->kind],
	    .key = client_key(op->key)};
	if (op->kind == OP_DELETE)
		return;
	op->value = u->op + 1;
	value_fill(op->value, &u->value);
	cmd->value = buf_bytes(&u->value);
	if (op->kind == OP_PUT_SAME) {
		op->expect = u->seen_value;
		op->expect_revision = cmd->if_revision = u->seen_revision;
	}
}

static void
user_begin(struct user *u, struct mono now)
{
	struct op *op = history_new();

	u->op = history.count - 1;
	op->kind = draw_kind(u);
	op->state = OP_OPEN;
	op->node = u->client->proc->node;
	op->key = (uint32_t)rng_below(rng(), sim.keys);
	op->at = sim.now;
	memset(&u->w, 0, sizeof(u->w));
	if (op->kind == OP_PUT_SAME)
		op->key = u->seen_key;
	if (is_write(op)) {
		fill_command(u, op);
	} else {
		u->w.way = op->kind == OP_GET ? WAY_READ : WAY_STALE;
		u->w.item.key = client_key(op->key);
	}
	op->invoked = ++history.clock;
	u->busy = true;
	sim.operations++;
	if (trace_wanted())
		trace("user of node %u: op %zu kind=%d key=%u", op->node,
		    u->op + 1, (int)op->kind, op->key);
	if (!pending_add(u->client->pending, &u->w, now)) {
		op->state = OP_REFUSED;
		op->completed = ++history.clock;
		think(u, now);
	}
}

static void
forget_place(struct op *op, size_t place)
{
	size_t *pos = bucket_of(op->node, op->epoch, op->seq, op->slot);

	while (*pos != place) {
		assert(*pos != 0);
		pos = &history.ops[*pos - 1].chain;
	}
	*pos = op->chain;
}

/* Where in the log a write will be found, once it is in a batch.  A batch that
 * is certainly refused may be given up and its commands go into another one. */
static void
note_place(struct user *u)
{
	struct op *op = &history.ops[u->op];
	size_t *bucket;

	if (!u->busy || u->w.batch == NULL || !is_write(op) ||
	    op->seq == u->w.batch->seq)
		return;
	if (op->seq != 0)
		forget_place(op, u->op + 1);
	op->epoch = u->client->epoch;
	op->seq = u->w.batch->seq;
	op->slot = u->w.slot;
	bucket = bucket_of(op->node, op->epoch, op->seq, op->slot);
	op->chain = *bucket;
	*bucket = u->op + 1;
}

/* ---- links, as httpd/ring.c has them ---- */

static void
hello(void *arg, struct msg_hello *mine)
{
	const struct client *c = arg;

	mine->epoch = c->epoch;
	mine->node = c->node;
}

static enum err
raftd_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct client *c = arg;

	(void)l;
	c->node = theirs->node;
	pending_node(c->pending, theirs->node);
	pending_raftd_up(c->pending, mono_now());
	return ERR_OK;
}

/* Nobody will answer what was ordered. */
static void
raftd_down(void *arg, struct link *l)
{
	const struct client *c = arg;

	(void)l;
	admin_lost(c->proc->node);
}

static void
nothing_down(void *arg, struct link *l)
{
	(void)arg, (void)l;
}

static enum err
raftd_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct client *c = arg;
	struct msg_raft_status st;
	struct msg_controlled done;

	(void)l;
	if (type == MSG_REFUSE)
		return pending_refuse(c->pending, body, mono_now());
	if (type == MSG_CONTROLLED) {
		if (msg_controlled_wire(body, &done) != ERR_OK)
			return ERR_MALFORMED;
		admin_answered(c->proc->node, &done);
		return ERR_OK;
	}
	if (type != MSG_RAFT_STATUS)
		return ERR_MALFORMED;
	msg_raft_status_wire(body, &st);
	if (wire_err(body) != ERR_OK)
		return ERR_MALFORMED;
	pending_leader(c->pending, st.leader, st.term, mono_now());
	return ERR_OK;
}

static enum err
kvd_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct client *c = arg;

	(void)l, (void)theirs;
	pending_kvd_up(c->pending, mono_now());
	return ERR_OK;
}

static enum err
kvd_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct client *c = arg;

	(void)l;
	return type == MSG_REPLY ? pending_reply(c->pending, body, mono_now())
				 : ERR_MALFORMED;
}

static const struct link_ops raftd_ops = {
    .hello = hello, .up = raftd_up, .down = raftd_down, .take = raftd_take};
static const struct link_ops kvd_ops = {
    .hello = hello, .up = kvd_up, .down = nothing_down, .take = kvd_take};

/* ---- the process ---- */

static struct client *
client_open(struct proc *p)
{
	struct client *c = mem_zalloc(1, sizeof(*c));
	char url[64];

	p->client = c;
	c->proc = p;
	c->epoch = daemon_random();
	c->loop = loop_open();
	c->links = links_open(c->loop, MSG_HTTPD);
	(void)snprintf(url, sizeof(url), "ipc:///n%u/run/raftd.sock", p->node);
	c->raftd = links_dial(c->links, url, MSG_RAFTD, "raftd", &raftd_ops, c);
	(void)snprintf(url, sizeof(url), "ipc:///n%u/run/kvd.sock", p->node);
	c->kvd = links_dial(c->links, url, MSG_KVD, "kvd", &kvd_ops, c);
	c->pending =
	    pending_open(c->epoch, sim.timeout_ms, c->raftd, c->kvd, on_answer);
	c->count = (unsigned)rng_between(rng(), 1, USERS_MAX);
	for (unsigned i = 0; i < c->count; i++) {
		c->users[i].client = c;
		think(&c->users[i], mono_now());
	}
	return c;
}

static struct mono
next_turn(const struct client *c)
{
	struct mono next = pending_next(c->pending);

	for (unsigned i = 0; i < c->count && !stopping; i++)
		if (!c->users[i].busy)
			next = mono_earlier(next, c->users[i].next);
	return next;
}

void
client_entry(void)
{
	struct client *c = client_open(sim.current);

	for (;;) {
		struct mono now = loop_wait(c->loop, next_turn(c));

		links_take(c->links);
		for (unsigned i = 0; i < c->count && !stopping; i++)
			if (!c->users[i].busy &&
			    mono_reached(c->users[i].next, now))
				user_begin(&c->users[i], now);
		pending_expire(c->pending, now);
		pending_flush(c->pending, now);
		for (unsigned i = 0; i < c->count; i++)
			note_place(&c->users[i]);
		links_flush(c->links);
	}
}

bool
client_order(unsigned node, const struct msg_control *m)
{
	struct proc *p = &sim.nodes[node].procs[ROLE_HTTPD];
	struct msg_control copy;
	struct wire *w;

	if (!p->alive || p->client == NULL || p->client->raftd == NULL ||
	    !link_is_up(p->client->raftd))
		return false;
	if (m == NULL)
		return true;
	copy = *m;
	sim.current = p; /* it does this in its next turn, to all but us */
	if ((w = link_begin(p->client->raftd, MSG_CONTROL)) != NULL) {
		(void)msg_control_wire(w, &copy);
		link_end(p->client->raftd);
	}
	sim.current = NULL;
	proc_wake(p);
	return w != NULL;
}

void
client_died(struct proc *p)
{
	struct client *c = p->client;

	admin_lost(p->node);
	for (unsigned i = 0; c != NULL && i < c->count; i++) {
		struct op *op = &history.ops[c->users[i].op];

		if (c->users[i].busy && op->state == OP_OPEN)
			op->state = OP_UNKNOWN; /* never completed */
	}
	p->client = NULL;
}
