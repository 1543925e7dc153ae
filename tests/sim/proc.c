/* Processes: coroutines with a clock of their own, that live and die. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tests/sim/sim.h"

#define STACK_BYTES ((size_t)256 << 10)
#define RESTART_NS_MIN (20 * MS)

enum { YIELDED = 1, EXITED = 2 };

int kvd_main(int argc, char *argv[]); /* kvd/main.c's, see sim.mk */

static void schedule(struct proc *p);

/* A stack that is used again: nothing of its last life is forbidden. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
static void
stack_clean(void *stack)
{
	__asan_unpoison_memory_region(stack, STACK_BYTES);
}
#else
static void
stack_clean(void *stack)
{
	(void)stack;
}
#endif

static struct proc *
proc_of(unsigned node, enum role role)
{
	return &sim.nodes[node].procs[role];
}

/* ---- clocks ---- */

uint64_t
proc_clock(const struct proc *p)
{
	unsigned __int128 ns = sim.now - p->clock_at;

	return p->clock_local + (uint64_t)(ns * p->clock_ppm / 1000000u);
}

void
proc_set_clock(struct proc *p, uint64_t ppm)
{
	p->clock_local = proc_clock(p);
	p->clock_at = sim.now;
	p->clock_ppm = ppm;
	if (p->alive) {
		p->turn_due = 0;
		schedule(p);
	}
}

/* When its clock shows t, in virtual time. */
static uint64_t
virtual_of(const struct proc *p, struct mono t)
{
	unsigned __int128 ns;

	if (t.ns == MONO_NEVER.ns)
		return UINT64_MAX;
	if (t.ns <= p->clock_local)
		return p->clock_at;
	ns = t.ns - p->clock_local;
	ns = (ns * 1000000u + p->clock_ppm - 1) / p->clock_ppm;
	return p->clock_at + (uint64_t)ns;
}

/* ---- what the three are ---- */

static void
raftd_entry(void)
{
	struct raftd *rd = sim.current->rd;
	int rc;

	rd->loop = loop_open();
	if ((rc = raftd_start(rd)) != 0) {
		raftd_close(rd);
		proc_exit(rc);
	}
	while (!rd->quit) {
		struct mono limit = rd->stopping ? rd->stop_by : MONO_NEVER;

		raftd_turn(rd, loop_wait(rd->loop, limit));
	}
	raftd_close(rd);
	loop_close(rd->loop);
	proc_exit(rd->exit_code);
}

static void
kvd_entry(void)
{
	char name[] = "kvd";
	char *argv[] = {name, NULL};

	proc_exit(kvd_main(1, argv));
}

static struct raftd *
raftd_new(unsigned node)
{
	static char dirs[SIM_NODES_MAX + 1][8];
	struct raftd *rd = calloc(1, sizeof(*rd));

	assert(rd != NULL);
	(void)snprintf(dirs[node], sizeof(dirs[node]), "/n%u", node);
	rd->opt = (struct raftd_options){.id = sim.nodes[node].id,
	    .cluster = sim.nodes[node].cluster,
	    .join = sim.nodes[node].join,
	    .peer_listen = sim.nodes[node].listen[0] != '\0'
			       ? sim.nodes[node].listen
			       : NULL,
	    .data_dir = dirs[node],
	    .heartbeat_ms = sim.heartbeat_ms,
	    .election_ms = sim.election_ms,
	    .cache_bytes = sim.cache_bytes,
	    .snapshot_count = sim.snapshot_count,
	    .snapshot_rate_bytes = sim.snapshot_rate,
	    .reserve_bytes = sim.reserve_bytes,
	    .log = DAEMON_LOG_DEFAULT};
	return rd;
}

/* ---- death ---- */

static void
bury(struct proc *p, bool silent)
{
	assert(p->alive);
	if (p->role == ROLE_RAFTD) {
		check_raft_died(p->node);
		disk_close_all(sim.nodes[p->node].disk);
	}
	if (p->role == ROLE_HTTPD)
		client_died(p);
	p->alive = false;
	p->life++;
	p->lived_ns = sim.now - p->started_at;
	p->turn_due = 0;
	net_proc_died(p, silent);
	p->loop = NULL;
	memory_free_all(p);
	free(p->rd);
	p->rd = NULL;
	image_free(p);
}

static void
restart_event(void *arg, uint64_t life)
{
	struct proc *p = arg;

	if (!p->alive && p->life == life && sim.nodes[p->node].power &&
	    !p->gone)
		proc_start(p);
}

/* The supervisor's part: soon, unless it makes no sense. */
static void
restart_later(struct proc *p)
{
	uint64_t wait = RESTART_NS_MIN;

	if (p->exit_code == EX_CONFIG || p->exit_code == EX_USAGE) {
		p->gone = true;
		check_members_left(p);
		return;
	}
	if (p->lived_ns < 50 * MS)
		p->failed_starts++;
	else
		p->failed_starts = 0;
	wait += p->failed_starts * 30 * MS;
	world_at(sim.now + wait + rng_below(&sim.rng[RNG_WORLD], 200 * MS),
	    restart_event, p, p->life);
}

static void
ended(struct proc *p)
{
	struct proc *current = sim.current;

	sim.current = NULL;
	trace("%s ended code=%d", p->name, p->exit_code);
	bury(p, false);
	restart_later(p);
	sim.current = current == p ? NULL : current;
}

void
proc_kill(struct proc *p, bool silent)
{
	if (!p->alive)
		return;
	trace("%s killed%s", p->name, silent ? ", power cut" : "");
	if (!silent)
		count(p->role == ROLE_RAFTD ? COUNT_KILL_RAFTD
		      : p->role == ROLE_KVD ? COUNT_KILL_KVD
					    : COUNT_KILL_HTTPD);
	if (p->role == ROLE_RAFTD)
		disk_note_kill(sim.nodes[p->node].disk, silent);
	if (p->role == ROLE_RAFTD && p->rd->raft == NULL)
		count(silent ? COUNT_POWER_AT_START : COUNT_KILL_AT_START);
	p->exit_code = 0;
	bury(p, silent);
}

/* ---- coroutines ---- */

/* Run one of p's coroutines, its first one (NULL) or a helper thread, until it
 * gives up the processor. */
static void
resume(struct proc *p, struct thread *t)
{
	struct proc *volatile self = p;
	int how;

	assert(sim.current == NULL);
	if (p->role == ROLE_KVD)
		image_load(p);
	sim.current = p;
	sim.thread = t;
	how = _setjmp(sim.scheduler);
	if (how == 0) {
		if (t == NULL && p->entry != NULL) {
			p->entry = NULL;
			(void)setcontext(&p->first);
		}
		if (t != NULL && t->fn != NULL)
			(void)setcontext(&t->first);
		_longjmp(t != NULL ? t->context : p->context, 1);
	}
	sim.current = NULL;
	sim.thread = NULL;
	if (how == EXITED)
		ended(self);
}

static void
give_up(struct proc *p)
{
	if (_setjmp(sim.thread != NULL ? sim.thread->context : p->context) == 0)
		_longjmp(sim.scheduler, YIELDED);
}

void
proc_yield(struct mono limit)
{
	sim.current->limit = limit;
	give_up(sim.current);
}

_Noreturn void
proc_exit(int code)
{
	sim.current->exit_code = code;
	_longjmp(sim.scheduler, EXITED);
}

/* ---- helper threads ---- */

static void
thread_event(void *arg, uint64_t due)
{
	struct thread *t = arg;
	struct proc *p = t->proc;

	if (!p->alive || !t->exists || t->due != due)
		return;
	if (sim.now < p->paused_until) {
		t->due = p->paused_until;
		world_at(t->due, thread_event, t, t->due);
		return;
	}
	t->due = 0;
	t->waits_for = NULL;
	resume(p, t);
	if (p->alive && t->done)
		proc_wake(p);
}

static void
thread_at(struct thread *t, uint64_t due)
{
	t->due = due;
	world_at(due, thread_event, t, due);
}

static void
thread_entry(void)
{
	struct proc *p = sim.current;
	struct thread *t = sim.thread;
	void *(*fn)(void *) = t->fn;

	t->fn = NULL;
	(void)fn(t->arg);
	t->done = true;
	for (;;)
		give_up(p);
}

static struct thread *
free_thread(struct proc *p)
{
	struct thread *t = p->threads;

	while (t->exists)
		t++;
	assert(t < p->threads + THREADS_MAX);
	return t;
}

static void
thread_prepare(struct thread *t, void *(*fn)(void *), void *arg)
{
	if (t->stack == NULL)
		t->stack = malloc(STACK_BYTES);
	assert(t->stack != NULL);
	t->exists = true;
	t->done = false;
	t->waits_for = NULL;
	t->fn = fn;
	t->arg = arg;
	stack_clean(t->stack);
	(void)getcontext(&t->first);
	t->first.uc_stack.ss_sp = t->stack;
	t->first.uc_stack.ss_size = STACK_BYTES;
	t->first.uc_link = NULL;
	makecontext(&t->first, thread_entry, 0);
}

unsigned
thread_start(struct proc *p, void *(*fn)(void *), void *arg)
{
	struct thread *t = free_thread(p);

	t->proc = p;
	thread_prepare(t, fn, arg);
	thread_at(t, sim.now + 1 + rng_below(&sim.rng[RNG_DISK], 50 * US));
	return (unsigned)(t - p->threads);
}

void
thread_wait(const void *condition)
{
	assert(sim.thread != NULL);
	sim.thread->waits_for = condition;
	give_up(sim.current);
}

void
thread_signal(struct proc *p, const void *condition)
{
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		struct thread *t = &p->threads[i];

		if (t->exists && t->waits_for == condition && t->due == 0)
			thread_at(
			    t, sim.now + 1 +
				   rng_below(&sim.rng[RNG_DISK], 30 * US));
	}
}

void
thread_join(struct proc *p, unsigned which)
{
	struct thread *t = &p->threads[which];

	assert(sim.thread == NULL);
	while (t->exists && !t->done)
		proc_yield(MONO_NEVER);
	t->exists = false;
}

void
proc_sleep(uint64_t ns)
{
	struct proc *p = sim.current;

	if (p == NULL || ns == 0)
		return;
	if (sim.thread != NULL) {
		thread_at(sim.thread, sim.now + ns);
		give_up(p);
		return;
	}
	p->asleep_until = sim.now + ns;
	give_up(p);
	p->asleep_until = 0;
}

/* ---- turns ---- */

static void turn_event(void *arg, uint64_t due);

static void
schedule(struct proc *p)
{
	uint64_t due = UINT64_MAX;

	if (!p->alive || p->in_turn)
		return;
	if (p->asleep_until != 0) {
		due = p->asleep_until;
	} else if (p->woken) {
		due = sim.now;
	} else {
		struct mono next = loop_next(p->loop);

		due = virtual_of(p, mono_earlier(next, p->limit));
	}
	if (due == UINT64_MAX)
		return;
	if (due < p->busy_until)
		due = p->busy_until;
	if (due < p->paused_until)
		due = p->paused_until;
	if (due <= sim.now)
		due = sim.now + 1;
	if (p->turn_due != 0 && p->turn_due <= due)
		return; /* comes earlier anyway, and looks again */
	p->turn_due = due;
	world_at(due, turn_event, p, due);
}

static void
turn(struct proc *p)
{
	p->in_turn = true;
	if (p->asleep_until == 0)
		p->woken = false;
	sim.turns++;
	resume(p, NULL);
	p->in_turn = false;
	if (!p->alive)
		return;
	/* What a turn costs. */
	p->busy_until = sim.now + rng_between(&sim.rng[RNG_NET], 10, 80) * US;
	if (p->role == ROLE_RAFTD && p->asleep_until == 0)
		check_raft_turn(p);
	schedule(p);
}

static void
turn_event(void *arg, uint64_t due)
{
	struct proc *p = arg;

	if (!p->alive || p->turn_due != due)
		return;
	p->turn_due = 0;
	if (sim.now < p->paused_until || sim.now < p->asleep_until) {
		schedule(p);
		return;
	}
	turn(p);
}

void
proc_wake(struct proc *p)
{
	p->woken = true;
	schedule(p);
}

void
proc_pause(struct proc *p, uint64_t until)
{
	p->paused_until = until;
	p->turn_due = 0;
	schedule(p);
}

void
proc_start(struct proc *p)
{
	static void (*const entries[ROLES])(void) = {[ROLE_RAFTD] = raftd_entry,
	    [ROLE_KVD] = kvd_entry,
	    [ROLE_HTTPD] = client_entry};

	assert(!p->alive);
	p->alive = true;
	p->started_at = sim.now;
	p->life++;
	p->exit_code = 0;
	p->woken = false;
	p->in_turn = false;
	p->turn_due = 0;
	p->busy_until = sim.now;
	p->paused_until = p->asleep_until = 0;
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		p->threads[i].exists = false;
		p->threads[i].due = 0;
	}
	p->limit = MONO_NEVER;
	p->loop = NULL;
	p->entry = entries[p->role];
	if (p->role == ROLE_RAFTD)
		p->rd = raftd_new(p->node);
	if (p->role == ROLE_KVD)
		image_init(p);
	stack_clean(p->stack);
	(void)getcontext(&p->first);
	p->first.uc_stack.ss_sp = p->stack;
	p->first.uc_stack.ss_size = STACK_BYTES;
	p->first.uc_link = NULL;
	makecontext(&p->first, entries[p->role], 0);
	trace("%s started", p->name);
	turn(p);
}

void
proc_restart(struct proc *p)
{
	if (!p->alive && !p->gone && sim.nodes[p->node].power)
		proc_start(p);
}

/* ---- nodes ---- */

void
node_power_cut(unsigned node)
{
	struct node *n = &sim.nodes[node];

	if (!n->power)
		return;
	trace("node %u power cut", node);
	count(COUNT_POWER);
	n->power = false;
	for (enum role r = 0; r < ROLES; r++)
		proc_kill(&n->procs[r], true);
	disk_power_cut(n->disk);
	engines_power_cut(node);
}

void
node_power_on(unsigned node)
{
	struct node *n = &sim.nodes[node];

	if (n->power || n->off)
		return;
	trace("node %u power on", node);
	n->power = true;
	net_power_on(node);
	for (enum role r = 0; r < ROLES; r++)
		proc_restart(&n->procs[r]);
}

void
node_off(unsigned node)
{
	trace("node %u off for good", node);
	node_power_cut(node);
	sim.nodes[node].off = true;
}

void
node_wipe(unsigned node)
{
	struct node *n = &sim.nodes[node];

	node_power_cut(node);
	trace("node %u lost its disk", node);
	count(COUNT_WIPED);
	disk_free(n->disk);
	n->disk = disk_new(node);
	n->wiped = true;
	check_raft_wiped(node);
}

void
node_join(unsigned node, uint64_t id, const struct wal_conf *members)
{
	struct node *n = &sim.nodes[node];
	char *end = n->cluster;

	assert(n->off);
	n->id = id;
	n->join = true;
	n->off = false;
	for (uint32_t i = 0; i < members->member_count; i++)
		end += sprintf(
		    end, "%s%s", i > 0 ? "," : "", members->members[i].address);
	assert(end < n->cluster + sizeof(n->cluster));
	trace("node %u gets id=%" PRIu64 " and joins %s", node, id, n->cluster);
	node_power_on(node);
}

unsigned
node_of_id(uint64_t id)
{
	for (unsigned i = 1; i <= sim.slots; i++)
		if (sim.nodes[i].id == id)
			return i;
	return 0;
}

unsigned
node_new(void)
{
	static const char *const words[ROLES] = {"raftd", "kvd", "httpd"};
	unsigned i = ++sim.slots;
	struct node *n = &sim.nodes[i];

	assert(i <= SIM_NODES_MAX);
	n->off = true;
	n->disk = disk_new(i);
	for (enum role r = 0; r < ROLES; r++) {
		struct proc *p = proc_of(i, r);

		p->role = r;
		p->node = i;
		(void)snprintf(p->name, sizeof(p->name), "%s%u", words[r], i);
		p->stack = malloc(STACK_BYTES);
		assert(p->stack != NULL);
		p->clock_ppm = 1000000;
		p->clock_local =
		    rng_between(&sim.rng[RNG_WORLD], 1, 1000) * SEC;
		p->clock_at = sim.now;
	}
	for (unsigned k = 1; k < i; k++)
		if (sim.far_ns > 0) {
			sim.distance[i][k] =
			    rng_below(&sim.rng[RNG_WORLD], sim.far_ns);
			sim.distance[k][i] =
			    rng_below(&sim.rng[RNG_WORLD], sim.far_ns);
		}
	return i;
}

void
proc_init_all(void)
{
	char cluster[sizeof(sim.nodes[0].cluster)], *end = cluster;

	for (unsigned i = 1; i <= sim.opt.nodes; i++)
		end += sprintf(end, "%s10.0.0.%u:3380", i > 1 ? "," : "", i);
	for (unsigned i = 1; i <= sim.opt.nodes; i++) {
		struct node *n = &sim.nodes[node_new()];

		n->off = false;
		n->power = true;
		n->id = i;
		memcpy(n->cluster, cluster, sizeof(cluster));
	}
}

void
proc_free_all(void)
{
	for (unsigned i = 1; i <= sim.slots; i++) {
		for (enum role r = 0; r < ROLES; r++) {
			struct proc *p = proc_of(i, r);

			if (p->alive)
				bury(p, false);
			free(p->stack);
			for (unsigned k = 0; k < THREADS_MAX; k++)
				free(p->threads[k].stack);
		}
		disk_free(sim.nodes[i].disk);
	}
}
