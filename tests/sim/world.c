/* Virtual time and one run from its start to its last check. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/sim/sim.h"

#define TAIL_LINES 4096u
#define LINE_BYTES 256u
#define SETTLE_ELECTIONS 60u /* to be well again after the faults, and */
#define SETTLE_MS 15000u     /* at least this */
#define CALM_ELECTIONS 2u

struct sim sim;

const char *const fault_names[FAULTS] = {
#define FAULT_NAME(name, word) [FAULT_##name] = (word),
    FAULT_TABLE(FAULT_NAME)
#undef FAULT_NAME
};
const char *const profile_names[PROFILES] = {
    "calm", "lossy", "disk", "membership", "all"};

/* ---- random numbers: splitmix64 ---- */

uint64_t
rng_next(struct rng *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	assert(n > 0);
	return rng_next(r) % n;
}

uint64_t
rng_between(struct rng *r, uint64_t lo, uint64_t hi)
{
	assert(lo <= hi);
	return lo + rng_below(r, hi - lo + 1);
}

bool
rng_chance(struct rng *r, uint64_t per_mille)
{
	return per_mille > 0 && rng_below(r, 1000) < per_mille;
}

/* ---- events: a heap by time, then by order of coming ---- */

struct event {
	uint64_t time, order;
	event_fn *fn;
	void *arg;
	uint64_t n;
};

static struct event *heap;
static size_t heap_count, heap_cap;
static uint64_t heap_order;

static bool
before(const struct event *a, const struct event *b)
{
	return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void
world_at(uint64_t time, event_fn *fn, void *arg, uint64_t n)
{
	struct event e = {time, heap_order++, fn, arg, n};
	size_t i = heap_count++;

	assert(time >= sim.now);
	if (heap_count > heap_cap) {
		heap_cap = heap_cap == 0 ? 1024 : heap_cap * 2;
		heap = realloc(heap, heap_cap * sizeof(heap[0]));
		assert(heap != NULL);
	}
	while (i > 0 && before(&e, &heap[(i - 1) / 2])) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = e;
}

static struct event
heap_pop(void)
{
	struct event top = heap[0], e = heap[--heap_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= heap_count)
			break;
		if (child + 1 < heap_count &&
		    before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &e))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = e;
	return top;
}

/* One event. */
static void
step(void)
{
	struct event e;

	assert(heap_count > 0);
	e = heap_pop();
	assert(e.time >= sim.now);
	sim.now = e.time;
	sim.steps++;
	e.fn(e.arg, e.n);
}

/* ---- the trace ---- */

static char tail[TAIL_LINES][LINE_BYTES];
static uint64_t tail_count;

void
trace_mix(uint64_t v)
{
	sim.trace_hash =
	    (sim.trace_hash ^ v) * UINT64_C(0x100000001b3) + (v >> 31);
}

bool
trace_wanted(void)
{
	return sim.opt.verbose || sim.opt.keep;
}

void
trace(const char *fmt, ...)
{
	char *line = tail[tail_count++ % TAIL_LINES];
	const char *who = sim.current != NULL ? sim.current->name : "world";
	va_list ap;
	int n;

	n = snprintf(line, LINE_BYTES, "%" PRIu64 ".%06" PRIu64 " %-7s ",
	    sim.now / SEC, sim.now % SEC / 1000, who);
	assert(n > 0);
	va_start(ap, fmt);
	(void)vsnprintf(line + n, LINE_BYTES - (size_t)n, fmt, ap);
	va_end(ap);
	/* Lines about single messages are there or not: not in the hash. */
	if (!trace_wanted())
		trace_mix(hash64(line, strlen(line), 0));
	if (sim.opt.verbose)
		fprintf(stderr, "%s\n", line);
}

void
trace_tail(size_t lines)
{
	uint64_t first = 0;

	if (tail_count > TAIL_LINES)
		first = tail_count - TAIL_LINES;
	if (tail_count > first + lines)
		first = tail_count - lines;
	for (uint64_t i = first; i < tail_count; i++)
		printf("  %s\n", tail[i % TAIL_LINES]);
}

void
violate(const char *fmt, ...)
{
	va_list ap;

	if (sim.violated)
		return;
	sim.violated = true;
	sim.over = true;
	sim.violation_step = sim.steps;
	va_start(ap, fmt);
	(void)vsnprintf(sim.violation, sizeof(sim.violation), fmt, ap);
	va_end(ap);
	trace("VIOLATION: %s", sim.violation);
}

/* ---- a run ---- */

static uint64_t
one_of(const uint64_t choice[4])
{
	return choice[rng_below(&sim.rng[RNG_WORLD], 4)];
}

static void
draw_limits(void)
{
	static const uint64_t message[] = {1, 300, 4096, 1 << 20};
	static const uint64_t ready[] = {1, 500, 8192, 16 << 20};
	static const uint64_t open[] = {500, 20000, 1 << 20, 64 << 20};
	static const uint64_t window[] = {1, 2, 8, 256};
	static const uint64_t bytes[] = {0, 10000, 1 << 20, 32 << 20};

	sim.limits.bytes_per_msg = one_of(message);
	sim.limits.committed_bytes = one_of(ready);
	sim.limits.uncommitted_bytes = one_of(open);
	sim.limits.inflight_msgs = (uint32_t)one_of(window);
	sim.limits.inflight_bytes = one_of(bytes);
	if (sim.limits.inflight_bytes > 0 &&
	    sim.limits.inflight_bytes < sim.limits.bytes_per_msg)
		sim.limits.inflight_bytes = sim.limits.bytes_per_msg;
}

static void
draw_hostility(void)
{
	struct rng *r = &sim.rng[RNG_WORLD];

	if (rng_chance(r, 500)) {
		sim.far_ns = rng_below(r, sim.heartbeat_ms * MS / 2) + 1;
		/* One entry per round trip would be too little for the
		 * clients there are. */
		if (sim.limits.inflight_msgs < 8)
			sim.limits.inflight_msgs = 8;
	}
	/* What thesis figure 3.7 is about: leaders that fall again and again
	 * while their entries travel one by one. */
	if (sim.opt.hunt) {
		sim.far_ns = sim.heartbeat_ms * MS / 2;
		sim.limits.bytes_per_msg = 1;
		sim.limits.inflight_msgs = 8;
	}
	if (rng_chance(r, 400)) {
		sim.hunt = (uint32_t)rng_between(r, 300, 900);
		/* More elections for as many events. */
		sim.think_ms = sim.heartbeat_ms * rng_between(r, 2, 20);
	}
	if (rng_chance(r, 300))
		sim.sync_ns = rng_below(
		    r, sim.election_ms * MS / (rng_chance(r, 500) ? 2 : 20));
	if (sim.opt.hunt)
		sim.hunt = 900;
}

static void
draw_settings(void)
{
	static const uint64_t beats[] = {10, 50, 100};
	struct rng *r = &sim.rng[RNG_WORLD];

	sim.heartbeat_ms = beats[rng_below(r, 3)];
	sim.election_ms = sim.heartbeat_ms * rng_between(r, 5, 10);
	sim.timeout_ms = sim.election_ms * rng_between(r, 2, 8);
	sim.think_ms = sim.heartbeat_ms * rng_between(r, 1, 4) / 2;
	/* Small, so that entries are read back and segments end. */
	sim.cache_bytes = rng_between(r, 1, 16) << 10;
	sim.segment_bytes = rng_between(r, 4, 64) << 10;
	sim.prefill_bytes = rng_between(r, 1, 8) << 10;
	sim.value_bytes_max = 6000;
	sim.keys = (uint32_t)rng_between(r, 2, SIM_KEYS_MAX);
	draw_limits();
	draw_hostility();
	sim.raw =
	    rng_chance(r, 350) || (sim.opt.without >> FAULT_ORDER & 1) != 0;
	sim.forced = rng_chance(r, 500);
	sim.own_ids = rng_chance(r, 400);
	/* In most of the runs nodes take snapshots and cut their logs. */
	sim.snapshot_count = 0;
	if (rng_chance(r, 600)) {
		sim.snapshot_count = rng_between(r, 4, 60);
		sim.segment_bytes = rng_between(r, 2, 8) << 10;
	}
	if (rng_chance(r, 600))
		sim.reserve_bytes = rng_between(r, 1000, 20000);
	if (rng_chance(r, 500)) {
		sim.ambush = (uint32_t)rng_between(r, 20, 400);
		sim.snapshot_rate = UINT64_C(4000) << rng_below(r, 5);
	}
}

static void
world_open(const struct sim_options *opt)
{
	memset(&sim, 0, sizeof(sim));
	sim.opt = *opt;
	for (int i = 0; i < RNG_STREAMS; i++)
		sim.rng[i].state = opt->seed * 1000003u + (uint64_t)i * 7919u;
	sim.now = 1;
	heap_count = 0;
	heap_order = 0;
	tail_count = 0;
	history_reset();
	check_raft_reset();
	check_members_reset();
	admin_reset();
	model_reset();
	engines_reset();
	draw_settings();
	proc_init_all();
}

static void
world_close(void)
{
	proc_free_all();
	while (heap_count > 0) {
		struct event e = heap_pop();

		net_discard(e.fn, e.arg);
	}
	net_reset();
	engines_reset();
}

static void
start_event(void *arg, uint64_t n)
{
	(void)n;
	proc_restart(arg);
}

static void
start_all(void)
{
	for (unsigned i = 1; i <= sim.slots; i++)
		for (enum role r = 0; r < ROLES; r++)
			world_at(
			    sim.now + rng_below(&sim.rng[RNG_WORLD], 50 * MS),
			    start_event, &sim.nodes[i].procs[r], 0);
}

/* Does node follow who leads, and can they talk?  A learner believes in a
 * leader that it does not hear from. */
static bool
follows(const struct raftd *rd)
{
	unsigned leader = check_raft_leader();
	const struct raftd *ld;

	if (leader == 0 || node_of_id(raft_leader(rd->raft)) != leader)
		return false;
	ld = sim.nodes[leader].procs[ROLE_RAFTD].rd;
	if (ld->peers == NULL || rd->peers == NULL) /* just begins */
		return false;
	return ld == rd || (peers_connected(ld->peers, rd->opt.id) &&
			       peers_connected(rd->peers, ld->opt.id));
}

/* Has node caught up, does it follow, does its client get on?  Those who are no
 * members must know it, and have left; those without a disk have nothing to
 * say. */
static bool
node_is_well(unsigned node, uint64_t since, uint64_t commit)
{
	const struct node *n = &sim.nodes[node];
	const struct proc *p = &n->procs[ROLE_RAFTD];

	if (n->off || n->wiped)
		return true;
	if (!nemesis_is_member(node))
		return nemesis_may_stay(node);
	return p->alive && p->rd->raft != NULL &&
	       raft_commit(p->rd->raft) >= commit && follows(p->rd) &&
	       client_progress(node, since);
}

static bool
all_are_well(uint64_t since, uint64_t commit)
{
	char why[100];

	if (check_raft_leader() == 0 || !nemesis_is_settled(why, sizeof(why)))
		return false;
	for (unsigned i = 1; i <= sim.slots; i++)
		if (!node_is_well(i, since, commit))
			return false;
	return true;
}

/* The rest of a run: no faults, everything must be well in a bounded time, and
 * stay so for as long as it takes a node to notice that its leader is silent:
 * a connection that a fault took may be missed late. */
static void
settle(void)
{
	uint64_t since = sim.now, commit = check_raft_committed();
	uint64_t stays = 2 * sim.election_ms * MS, well_from = 0;
	uint64_t limit = (SETTLE_ELECTIONS * sim.election_ms + SETTLE_MS) * MS;
	uint64_t next_look = 0;
	bool slowly = false;
	char why[100];

	while (!sim.over && sim.now < since + limit) {
		step();
		if (!slowly && sim.now >= since + limit / 2) {
			/* With the smallest windows who is behind is sent no
			 * more than is written. */
			sim.think_ms *= 4;
			slowly = true;
		}
		if (sim.now < next_look)
			continue;
		next_look = sim.now + 10 * MS;
		nemesis_settle();
		if (!all_are_well(since, commit)) {
			well_from = 0;
			continue;
		}
		if (well_from == 0)
			well_from = sim.now;
		if (sim.now - well_from >= stays) {
			sim.settled_percent = (sim.now - since) * 100 / limit;
			return;
		}
	}
	if (sim.over)
		return;
	if (admin_lost_quorum()) {
		trace("the disks of too many voters are lost");
		sim.over = true;
		sim.quorums_lost++;
		return;
	}
	if (check_raft_leader() == 0) {
		violate("liveness: no leader %" PRIu64
			" ms after the faults ended",
		    limit / MS);
		return;
	}
	if (!nemesis_is_settled(why, sizeof(why)))
		violate("liveness: the leader has not done what it has to do "
			"%" PRIu64 " ms after the faults ended: %s",
		    limit / MS, why);
	for (unsigned i = 1; i <= sim.slots; i++)
		if (!node_is_well(i, since, commit))
			violate("liveness: node %u is not well %" PRIu64
				" ms after the faults ended",
			    i, limit / MS);
}

static bool
applied_all(unsigned node)
{
	const struct proc *p = &sim.nodes[node].procs[ROLE_RAFTD];

	return sim.nodes[node].off || sim.nodes[node].wiped ||
	       !nemesis_is_member(node) ||
	       (p->alive && p->rd->feed != NULL && /* not just restarted */
		   feed_applied(p->rd->feed) == check_raft_committed());
}

/* All are well, and nothing happens to them: who asks now gets an answer. */
static void
calm(void)
{
	uint64_t end = sim.now + CALM_ELECTIONS * sim.election_ms * MS;

	sim.calm_from = history.count;
	while (!sim.over && sim.now < end)
		step();
}

/* Not where the core may hold so little that it refuses what is forwarded to
 * it: who sent it hears nothing then, and waits. */
static void
check_calm(void)
{
	if (sim.limits.uncommitted_bytes < 1u << 20)
		return;
	for (size_t i = sim.calm_from; i < history.count; i++) {
		const struct op *op = &history.ops[i];
		const struct node *n = &sim.nodes[op->node];

		if (op->state != OP_DONE && !n->off && !n->wiped &&
		    nemesis_is_member(op->node))
			violate("liveness: op %zu of node %u was not answered "
				"(%s), and nothing had happened for long",
			    i + 1, op->node, err_word(op->code));
	}
}

/* No new operations: wait for those under way and for every kvd. */
static void
drain(void)
{
	uint64_t limit = sim.now + (sim.timeout_ms + 5000) * MS;
	bool done = false;

	clients_stop();
	while (!sim.over && !done && sim.now < limit) {
		uint64_t look = sim.now + 20 * MS;

		while (!sim.over && sim.now < look)
			step();
		done = clients_open() == 0;
		for (unsigned i = 1; i <= sim.slots; i++)
			done = done && applied_all(i);
	}
	if (!sim.over && !done)
		violate("liveness: operations or kvds did not end in time");
}

static void
last_checks(void)
{
	for (unsigned i = 1; i <= sim.slots && !sim.violated; i++)
		if (!sim.nodes[i].wiped && nemesis_is_member(i) &&
		    sim.nodes[i].procs[ROLE_KVD].alive)
			engine_check_keys(i);
	if (!sim.violated)
		model_check_answers();
	if (!sim.violated)
		check_history();
}

void
world_run(const struct sim_options *opt)
{
	world_open(opt);
	start_all();
	nemesis_start();
	while (!sim.over && sim.steps < opt->steps)
		step();
	if (!sim.over) {
		nemesis_stop();
		settle();
	}
	if (!sim.over)
		calm();
	if (!sim.over)
		drain();
	if (!sim.over)
		check_calm();
	if (!sim.over)
		last_checks();
	trace_mix(sim.now);
	trace_mix(history.count);
	world_close();
}
