/* Under the links, whose code is the real one down to link_private.h: streams
 * over a simulated network in place of nng's.
 *
 * On ipc streams bytes come in order and whole.  On tcp streams, between nodes,
 * frames may be lost, doubled, late or out of order (which no TCP does; Raft
 * must bear it), HELLOs not.  While a path is blocked, frames are dropped or
 * held back until it is open again; the end of a connection is always held. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/link_private.h"
#include "tests/sim/sim.h"

#define FRAME_TYPE_AT 5u
#define SOCKET_BYTES 1000u /* on a path that holds them: then a link is full   \
			    */

struct conn;

/* One end; belongs to the simulator, not to the process's memory. */
struct link_stream {
	struct proc *proc;
	struct conn *conn; /* NULL: it has failed */
	unsigned side;
	struct buf rx;
	const char *failed;
};

struct conn {
	struct conn *next;
	uint64_t id;
	bool tcp;
	unsigned node[2];
	struct link_stream *end[2]; /* NULL: closed, or its node is off */
	bool cut[2];                /* that end went without a word */
	uint64_t last[2];           /* arrival of the last bytes to that end */
	size_t held_bytes[2];
};

/* Bytes or the end of the connection, on their way to end `to`. */
struct packet {
	struct packet *next;
	uint64_t conn;
	unsigned to;
	bool end;
	size_t len;
	uint8_t *data;
};

struct link_listener {
	struct link_listener *next;
	struct proc *proc;
	char url[128];
	struct link_stream *ready[64];
	size_t ready_count;
	bool asked;
};

struct link_attempt {
	struct link_attempt *next;
	uint64_t id;
	struct proc *proc;
	char url[128];
	bool done;
	const char *failed;
	struct link_stream *stream;
};

static struct conn *conns;
static struct link_listener *listeners;
static struct link_attempt *attempts;
static struct packet *held, **held_tail = &held;
static uint64_t ids;

static struct rng *
rng(void)
{
	return &sim.rng[RNG_NET];
}

void
link_buf_recycle(struct buf *b)
{
	buf_clear(b);
}

/* ---- connections ---- */

static struct conn *
conn_find(uint64_t id)
{
	for (struct conn *c = conns; c != NULL; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

static void
conn_reap(struct conn *c)
{
	if (c->end[0] != NULL || c->end[1] != NULL)
		return;
	for (struct conn **pos = &conns; *pos != NULL; pos = &(*pos)->next)
		if (*pos == c) {
			*pos = c->next;
			break;
		}
	free(c);
}

static struct path *
path_to(const struct conn *c, unsigned to)
{
	return &sim.paths[c->node[1 - to]][c->node[to]];
}

static uint64_t
base_delay(bool tcp)
{
	/* Mostly quick, sometimes not. */
	uint64_t us =
	    tcp ? rng_between(rng(), 40, 300) : rng_between(rng(), 5, 40);

	if (rng_chance(rng(), 10))
		us += rng_below(rng(), tcp ? 20000 : 2000);
	if (tcp && us > 1000)
		count(COUNT_NET_LATE);
	return us * US;
}

static void packet_event(void *arg, uint64_t n);

static void
end_fail(struct conn *c, unsigned side, const char *why)
{
	struct link_stream *s = c->end[side];

	if (s == NULL)
		return;
	s->failed = why;
	s->conn = NULL;
	c->end[side] = NULL;
	proc_wake(s->proc);
}

static void
packet_hold(struct packet *p)
{
	struct conn *c = conn_find(p->conn);

	if (c != NULL)
		c->held_bytes[p->to] += p->len;
	p->next = NULL;
	*held_tail = p;
	held_tail = &p->next;
}

static void
packet_free(struct packet *p)
{
	free(p->data);
	free(p);
}

static void
packet_deliver(struct packet *p, struct conn *c)
{
	struct link_stream *s = c->end[p->to];

	trace_mix(sim.now ^ p->len << 48 ^ p->to << 8);
	if (p->end) {
		end_fail(c, p->to, "connection closed by the other end");
		conn_reap(c);
		return;
	}
	if (s == NULL)
		return; /* closed meanwhile */
	sim.messages++;
	if (trace_wanted() && p->len > FRAME_TYPE_AT)
		trace("%s <- node %u %s bytes=%zu", s->proc->name,
		    c->node[1 - p->to], msg_name(p->data[FRAME_TYPE_AT]),
		    p->len);
	buf_append(&s->rx, p->data, p->len);
	proc_wake(s->proc);
}

/* Stopped on its way to that end: altogether? */
static void
count_stopped(const struct conn *c, unsigned to)
{
	unsigned a = c->node[1 - to], b = c->node[to];
	bool around = false;

	count(COUNT_NET_STOPPED);
	if (!sim.paths[b][a].blocked)
		count(COUNT_NET_ONE_WAY);
	for (unsigned i = 1; i <= sim.slots && !around; i++)
		around = i != a && i != b && sim.nodes[i].power &&
			 !sim.paths[a][i].blocked && !sim.paths[i][b].blocked &&
			 !sim.paths[b][i].blocked && !sim.paths[i][a].blocked;
	if (around)
		count(COUNT_NET_PARTIAL);
}

static void
packet_event(void *arg, uint64_t n)
{
	struct packet *p = arg;
	struct conn *c = conn_find(p->conn);

	(void)n;
	if (c != NULL && path_to(c, p->to)->blocked && c->tcp) {
		count_stopped(c, p->to);
		if (path_to(c, p->to)->hold || p->end) {
			count(COUNT_NET_HELD);
			packet_hold(p);
			return;
		}
		packet_free(p);
		return;
	}
	if (c != NULL)
		packet_deliver(p, c);
	packet_free(p);
}

static void
packet_send(struct conn *c, unsigned to, const uint8_t *data, size_t len,
    uint64_t at, bool end)
{
	struct packet *p = calloc(1, sizeof(*p));

	assert(p != NULL);
	p->conn = c->id;
	p->to = to;
	p->end = end;
	p->len = len;
	if (len > 0) {
		p->data = malloc(len);
		assert(p->data != NULL);
		memcpy(p->data, data, len);
	}
	world_at(at, packet_event, p, 0);
}

/* In order behind what is under way. */
static uint64_t
arrival(struct conn *c, unsigned to)
{
	uint64_t at = sim.now + base_delay(c->tcp);

	if (c->tcp) {
		at += sim.distance[c->node[1 - to]][c->node[to]];
		if (path_to(c, to)->delay_ns > 0) {
			count(COUNT_NET_SLOW);
			at += rng_below(rng(), path_to(c, to)->delay_ns);
		}
	}
	if (at <= c->last[to])
		at = c->last[to] + 1;
	c->last[to] = at;
	return at;
}

/* One frame to another node: its fate is drawn. */
static void
send_frame(struct conn *c, unsigned to, const uint8_t *frame, size_t len)
{
	const struct path *path = path_to(c, to);
	uint64_t at;

	if (frame[FRAME_TYPE_AT] == MSG_HELLO) {
		packet_send(c, to, frame, len, arrival(c, to), false);
		return;
	}
	if (rng_chance(rng(), path->loss)) {
		count(COUNT_NET_LOST);
		return;
	}
	if (rng_chance(rng(), path->reorder)) {
		count(COUNT_NET_REORDERED);
		at = sim.now + base_delay(true) +
		     rng_below(rng(), 2 * sim.election_ms) * MS;
		packet_send(c, to, frame, len, at, false);
		return;
	}
	packet_send(c, to, frame, len, arrival(c, to), false);
	if (rng_chance(rng(), path->duplicate)) {
		count(COUNT_NET_DOUBLED);
		at = sim.now + base_delay(true) +
		     rng_below(rng(), sim.election_ms) * MS;
		packet_send(c, to, frame, len, at, false);
	}
}

static bool
path_is_clean(const struct path *p)
{
	return p->loss == 0 && p->duplicate == 0 && p->reorder == 0;
}

void
link_stream_send(struct link_stream *s, struct buf *fill)
{
	struct conn *c = s->conn;
	size_t at = 0;
	unsigned to = 1 - s->side;

	if (c == NULL || c->end[to] == NULL) {
		/* Nobody is there (yet it is not known): as if lost. */
		buf_clear(fill);
		return;
	}
	if (!c->tcp && fill->len > 1 && rng_chance(rng(), 20)) {
		/* A stream knows no frames. */
		at = 1 + rng_below(rng(), fill->len - 1);
		packet_send(c, to, fill->data, at, arrival(c, to), false);
	}
	if (!c->tcp || path_is_clean(path_to(c, to))) {
		packet_send(c, to, fill->data + at, fill->len - at,
		    arrival(c, to), false);
		buf_clear(fill);
		return;
	}
	while (at < fill->len) {
		uint32_t body;
		size_t len;

		memcpy(&body, fill->data + at, sizeof(body));
		len = LINK_HEADER_BYTES + body;
		assert(at + len <= fill->len);
		send_frame(c, to, fill->data + at, len);
		at += len;
	}
	buf_clear(fill);
}

static struct link_stream *
stream_new(struct conn *c, unsigned side, struct proc *p)
{
	struct link_stream *s = calloc(1, sizeof(*s));

	assert(s != NULL);
	s->proc = p;
	s->conn = c;
	s->side = side;
	c->end[side] = s;
	return s;
}

void
link_stream_start(struct link_stream *s)
{
	if (s->rx.len > 0 || s->failed != NULL)
		proc_wake(s->proc);
}

void
link_stream_trust(struct link_stream *s)
{
	(void)s;
}

const char *
link_stream_take(struct link_stream *s, struct buf *work)
{
	buf_append(work, s->rx.data, s->rx.len);
	buf_clear(&s->rx);
	return s->failed;
}

size_t
link_stream_unsent(const struct link_stream *s)
{
	/* What the kernel does not take any more. */
	if (s->conn == NULL || s->conn->held_bytes[1 - s->side] < SOCKET_BYTES)
		return 0;
	count(COUNT_NET_FULL);
	return LINK_QUEUE_BYTES_MAX / 2;
}

void
link_stream_drain(struct link_stream *s, struct mono deadline)
{
	(void)s, (void)deadline;
}

/* silent: its node lost power, the other end is not told. */
static void
stream_close(struct link_stream *s, bool silent)
{
	struct conn *c = s->conn;
	struct proc *current = sim.current;

	sim.current = NULL; /* rx is the simulator's */
	buf_free(&s->rx);
	sim.current = current;
	if (c != NULL) {
		unsigned to = 1 - s->side;

		c->end[s->side] = NULL;
		if (silent && c->tcp)
			c->cut[s->side] = true;
		else if (c->end[to] != NULL)
			packet_send(c, to, NULL, 0, arrival(c, to), true);
		conn_reap(c);
	}
	free(s);
}

void
link_stream_close(struct link_stream *s)
{
	(void)s; /* link_stream_free() follows at once */
}

bool
link_stream_busy(const struct link_stream *s)
{
	(void)s;
	return false;
}

void
link_stream_free(struct link_stream *s)
{
	if (s != NULL)
		stream_close(s, false);
}

void
link_stream_remote(
    const struct link_stream *s, bool with_port, char *out, size_t out_bytes)
{
	unsigned node =
	    s->conn != NULL ? s->conn->node[1 - s->side] : s->proc->node;

	(void)with_port;
	(void)snprintf(out, out_bytes, "node %u", node);
}

bool
link_stream_user_ok(const struct link_stream *s, gid_t group)
{
	(void)s;
	(void)group;
	return true;
}

/* ---- dialing ---- */

static struct link_attempt *
attempt_find(uint64_t id)
{
	for (struct link_attempt *a = attempts; a != NULL; a = a->next)
		if (a->id == id)
			return a;
	return NULL;
}

static struct link_listener *
listener_find(const char *url)
{
	for (struct link_listener *l = listeners; l != NULL; l = l->next)
		if (strcmp(l->url, url) == 0)
			return l;
	return NULL;
}

/* The node that a url leads to: "ipc:///nN/..." and "tcp://10.0.0.N:...". */
static unsigned
url_node(const char *url)
{
	unsigned node;

	if (sscanf(url, "ipc:///n%u/", &node) == 1 ||
	    sscanf(url, "tcp://10.0.0.%u:", &node) == 1)
		return node;
	return 0;
}

static bool
url_is_tcp(const char *url)
{
	return strncmp(url, "tcp:", 4) == 0;
}

static void
attempt_finish(struct link_attempt *a, const char *failed)
{
	if (a->done)
		return;
	a->done = true;
	a->failed = failed;
	proc_wake(a->proc);
}

/* The answer to a dial is back. */
static void
answer_event(void *arg, uint64_t id)
{
	struct link_attempt *a = attempt_find(id);

	(void)arg;
	if (a == NULL)
		return;
	if (a->stream != NULL)
		attempt_finish(a, NULL);
	else
		attempt_finish(a, "Connection refused");
}

/* A dial has arrived. */
static void
dial_event(void *arg, uint64_t id)
{
	struct link_attempt *a = attempt_find(id);
	struct link_listener *l;
	unsigned node;
	bool tcp;

	(void)arg;
	if (a == NULL)
		return;
	node = url_node(a->url);
	if (node > SIM_NODES_MAX)
		return; /* nobody has this address */
	tcp = url_is_tcp(a->url);
	if (tcp && (sim.paths[a->proc->node][node].blocked ||
		       sim.paths[node][a->proc->node].blocked ||
		       !sim.nodes[node].power))
		return; /* until the dialer gives up */
	l = listener_find(a->url);
	if (l != NULL && l->ready_count < 64) {
		struct conn *c = calloc(1, sizeof(*c));

		assert(c != NULL);
		c->id = ++ids;
		c->tcp = tcp;
		c->node[0] = a->proc->node;
		c->node[1] = node;
		c->next = conns;
		conns = c;
		a->stream = stream_new(c, 0, a->proc);
		l->ready[l->ready_count++] = stream_new(c, 1, l->proc);
		if (l->asked)
			proc_wake(l->proc);
	}
	world_at(sim.now + base_delay(tcp), answer_event, NULL, id);
}

struct link_attempt *
link_attempt_start(const char *url, struct loop *loop)
{
	struct link_attempt *a = calloc(1, sizeof(*a));

	(void)loop;
	assert(a != NULL);
	a->id = ++ids;
	a->proc = sim.current;
	(void)snprintf(a->url, sizeof(a->url), "%s", url);
	a->next = attempts;
	attempts = a;
	world_at(
	    sim.now + base_delay(url_is_tcp(url)), dial_event, NULL, a->id);
	return a;
}

enum link_poll
link_attempt_poll(
    struct link_attempt *a, struct link_stream **s, const char **why)
{
	if (!a->done)
		return LINK_PENDING;
	if (a->failed != NULL) {
		*why = a->failed;
		return LINK_FAILED;
	}
	*s = a->stream;
	a->stream = NULL;
	return LINK_READY;
}

static void
attempt_end(struct link_attempt *a, bool silent)
{
	for (struct link_attempt **pos = &attempts; *pos != NULL;
	     pos = &(*pos)->next)
		if (*pos == a) {
			*pos = a->next;
			break;
		}
	if (a->stream != NULL)
		stream_close(a->stream, silent);
	free(a);
}

void
link_attempt_close(struct link_attempt *a)
{
	(void)a;
}

bool
link_attempt_busy(const struct link_attempt *a)
{
	(void)a;
	return false;
}

void
link_attempt_free(struct link_attempt *a)
{
	if (a != NULL)
		attempt_end(a, false);
}

/* ---- listening ---- */

int
link_listener_open(struct link_listener **lp, const char *url, unsigned mode,
    struct loop *loop)
{
	struct link_listener *l = calloc(1, sizeof(*l));

	(void)mode, (void)loop;
	assert(l != NULL);
	assert(listener_find(url) == NULL);
	l->proc = sim.current;
	l->asked = true;
	(void)snprintf(l->url, sizeof(l->url), "%s", url);
	l->next = listeners;
	listeners = l;
	*lp = l;
	return 0;
}

void
link_listener_accept(struct link_listener *l)
{
	l->asked = true;
	if (l->ready_count > 0)
		proc_wake(l->proc);
}

enum link_poll
link_listener_poll(
    struct link_listener *l, struct link_stream **s, const char **why)
{
	(void)why;
	if (!l->asked || l->ready_count == 0)
		return LINK_PENDING;
	l->asked = false;
	*s = l->ready[0];
	memmove(l->ready, l->ready + 1, --l->ready_count * sizeof(l->ready[0]));
	return LINK_READY;
}

static void
listener_end(struct link_listener *l, bool silent)
{
	for (struct link_listener **pos = &listeners; *pos != NULL;
	     pos = &(*pos)->next)
		if (*pos == l) {
			*pos = l->next;
			break;
		}
	for (size_t i = 0; i < l->ready_count; i++)
		stream_close(l->ready[i], silent);
	free(l);
}

void
link_listener_free(struct link_listener *l)
{
	if (l != NULL)
		listener_end(l, false);
}

/* ---- what the world does ---- */

void
net_proc_died(struct proc *p, bool silent)
{
	struct link_listener *l, *next_l;
	struct link_attempt *a, *next_a;
	struct conn *c, *next_c;

	for (l = listeners; l != NULL; l = next_l) {
		next_l = l->next;
		if (l->proc == p)
			listener_end(l, silent);
	}
	for (a = attempts; a != NULL; a = next_a) {
		next_a = a->next;
		if (a->proc == p)
			attempt_end(a, silent);
	}
	for (c = conns; c != NULL; c = next_c) {
		next_c = c->next;
		/* Closing one end frees c only when the other one is gone. */
		if (c->end[0] != NULL && c->end[0]->proc == p) {
			bool last = c->end[1] == NULL;

			stream_close(c->end[0], silent);
			if (last)
				continue;
		}
		if (c->end[1] != NULL && c->end[1]->proc == p)
			stream_close(c->end[1], silent);
	}
}

/* A machine that is back answers what belongs to its earlier life with resets.
 */
void
net_power_on(unsigned node)
{
	for (struct conn *c = conns; c != NULL; c = c->next)
		for (unsigned side = 0; side < 2; side++)
			if (c->cut[side] && c->node[side] == node &&
			    c->end[1 - side] != NULL)
				packet_send(c, 1 - side, NULL, 0,
				    arrival(c, 1 - side), true);
}

void
net_paths_changed(void)
{
	struct packet *all = held, *p;

	held = NULL;
	held_tail = &held;
	while ((p = all) != NULL) {
		struct conn *c = conn_find(p->conn);

		all = p->next;
		if (c != NULL)
			c->held_bytes[p->to] -= p->len;
		if (c == NULL)
			packet_free(p);
		else if (path_to(c, p->to)->blocked)
			packet_hold(p);
		else
			world_at(arrival(c, p->to), packet_event, p, 0);
	}
}

void
net_break(unsigned from, unsigned to)
{
	for (struct conn *c = conns; c != NULL; c = c->next)
		if (c->tcp && c->node[0] == from && c->node[1] == to) {
			count(COUNT_NET_BROKEN);
			if (c->end[0] != NULL)
				packet_send(c, 0, NULL, 0, arrival(c, 0), true);
			if (c->end[1] != NULL)
				packet_send(c, 1, NULL, 0, arrival(c, 1), true);
		}
}

void
net_discard(event_fn *fn, void *arg)
{
	if (fn == packet_event)
		packet_free(arg);
}

void
net_reset(void)
{
	struct packet *p;

	assert(listeners == NULL);
	assert(attempts == NULL);
	while ((p = held) != NULL) {
		held = p->next;
		packet_free(p);
	}
	held_tail = &held;
	while (conns != NULL) {
		struct conn *c = conns;

		conns = c->next;
		free(c);
	}
	ids = 0;
}
