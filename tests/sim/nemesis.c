/* Faults.  At random times one of the kinds that the profile has happens; what
 * lasts is undone at a random time later.  At the end all of it is undone. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "raftd/context.h"
#include "tests/sim/sim.h"

#define BIT(f) (1u << FAULT_##f)

static const uint32_t profile_faults[PROFILES] = {
    [PROFILE_CALM] = BIT(KVD) | BIT(HTTPD) | BIT(TRANSFER) | BIT(STOP),
    [PROFILE_LOSSY] = BIT(KILL) | BIT(STOP) | BIT(KVD) | BIT(HTTPD) |
		      BIT(PAUSE) | BIT(CLOCK) | BIT(PARTITION) | BIT(LOSS) |
		      BIT(SLOW) | BIT(BREAK) | BIT(TRANSFER) | BIT(CAMPAIGN),
    [PROFILE_DISK] = BIT(KILL) | BIT(POWER) | BIT(KVD) | BIT(SYNC) | BIT(IO) |
		     BIT(FULL) | BIT(PAUSE) | BIT(CAMPAIGN) | BIT(BREAK),
    [PROFILE_MEMBERSHIP] = BIT(CONF) | BIT(KILL) | BIT(POWER) | BIT(PARTITION) |
			   BIT(TRANSFER) | BIT(BREAK) | BIT(LOSS) | BIT(PAUSE),
    [PROFILE_ALL] = (1u << FAULTS) - 1,
};

static struct rng *
rng(void)
{
	return &sim.rng[RNG_WORLD];
}

static unsigned
any_node(void)
{
	return (unsigned)rng_between(rng(), 1, sim.opt.nodes);
}

static struct proc *
proc_at(unsigned node, enum role role)
{
	return &sim.nodes[node].procs[role];
}

/* The raft core of a node that runs and is not in the middle of something. */
static struct raft *
core_of(unsigned node)
{
	const struct proc *p = proc_at(node, ROLE_RAFTD);

	if (!p->alive || p->rd == NULL || p->rd->raft == NULL ||
	    p->rd->writer == NULL || p->asleep_until != 0)
		return NULL;
	return p->rd->raft;
}

/* Preferably the leader: it is where faults hurt. */
static unsigned
victim(void)
{
	unsigned leader = check_raft_leader();

	return leader != 0 && rng_chance(rng(), 400) ? leader : any_node();
}

static uint64_t
duration(void)
{
	uint64_t e = sim.election_ms * MS;

	return rng_chance(rng(), 700) ? rng_between(rng(), e / 10, e)
				      : rng_between(rng(), e, 4 * e);
}

static void
later(uint64_t ns, event_fn *fn, uint64_t n)
{
	world_at(sim.now + ns, fn, NULL, n);
}

/* ---- processes ---- */

static void
restart_event(void *arg, uint64_t n)
{
	(void)arg;
	if (sim.faults_on)
		proc_restart(
		    proc_at((unsigned)(n / ROLES), (enum role)(n % ROLES)));
}

static void
power_on_event(void *arg, uint64_t n)
{
	(void)arg;
	node_power_on((unsigned)n);
}

static void
kill_one(unsigned node, enum role role)
{
	struct proc *p = proc_at(node, role);

	proc_kill(p, false);
	later(duration() / 2, restart_event, node * ROLES + role);
}

static void
fault_pause(void)
{
	unsigned node = victim();
	struct proc *p = proc_at(node, (enum role)rng_below(rng(), ROLES));
	uint64_t until = sim.now + duration();

	if (!p->alive)
		return;
	trace("%s paused for %" PRIu64 " ms", p->name, (until - sim.now) / MS);
	proc_pause(p, until);
}

static void
fault_clock(void)
{
	enum role role = (enum role)rng_below(rng(), ROLES);
	struct proc *p = proc_at(any_node(), role);
	uint64_t ppm = rng_chance(rng(), 500)
			   ? rng_between(rng(), 900000, 1100000)
			   : rng_between(rng(), 250000, 3000000);

	trace("%s clock speed %" PRIu64 " ppm", p->name, ppm);
	proc_set_clock(p, ppm);
}

static void
fault_stop(void)
{
	struct proc *p = proc_at(victim(), ROLE_RAFTD);

	if (core_of(p->node) == NULL)
		return;
	trace("%s told to stop", p->name);
	sim.current = p;
	raftd_stop(p->rd);
	sim.current = NULL;
	proc_wake(p);
}

/* ---- the network ---- */

static void
heal_event(void *arg, uint64_t n)
{
	unsigned from = (unsigned)n >> 8, to = (unsigned)n & 255;

	(void)arg;
	sim.paths[from][to] = (struct path){0};
	net_paths_changed();
}

static void
block(unsigned from, unsigned to, bool hold, uint64_t ns)
{
	if (from == to)
		return;
	sim.paths[from][to].blocked = true;
	sim.paths[from][to].hold = hold;
	later(ns, heal_event, from << 8 | to);
}

/* bit i of each side: node i + 1. */
static void
block_between(uint32_t a, uint32_t b, bool hold, uint64_t ns)
{
	for (unsigned i = 1; i <= sim.opt.nodes; i++)
		for (unsigned j = 1; j <= sim.opt.nodes; j++)
			if ((a >> (i - 1) & 1) != 0 && (b >> (j - 1) & 1) != 0)
				block(i, j, hold, ns);
}

static void
fault_partition(void)
{
	uint32_t all = (1u << sim.opt.nodes) - 1, one = 1u << (victim() - 1);
	uint32_t side = (uint32_t)rng_below(rng(), all) + 1;
	uint64_t ns = duration();
	bool hold = rng_chance(rng(), 500);
	unsigned kind = (unsigned)rng_below(rng(), 6);

	trace("partition kind=%u node=%#x side=%#x for %" PRIu64 " ms%s", kind,
	    one, side, ns / MS, hold ? ", frames are held" : "");
	switch (kind) {
	case 0: /* one node alone */
		block_between(one, all, hold, ns);
		block_between(all, one, hold, ns);
		break;
	case 1: /* two halves */
		block_between(side, all & ~side, hold, ns);
		block_between(all & ~side, side, hold, ns);
		break;
	case 2: /* one node is not heard */
		block_between(one, all, hold, ns);
		break;
	case 3: /* one node does not hear */
		block_between(all, one, hold, ns);
		break;
	case 4: /* one link */
		block(any_node(), any_node(), hold, ns);
		break;
	default: /* two halves that only meet in one node */
		block_between(side & ~one, all & ~side & ~one, hold, ns);
		block_between(all & ~side & ~one, side & ~one, hold, ns);
		break;
	}
}

static void
fault_loss(void)
{
	uint64_t ns = duration();
	struct path path = {.loss = (uint32_t)rng_below(rng(), 300),
	    .duplicate = (uint32_t)rng_below(rng(), 300),
	    .reorder = (uint32_t)rng_below(rng(), 300)};

	trace("loss=%u duplicate=%u reorder=%u for %" PRIu64 " ms", path.loss,
	    path.duplicate, path.reorder, ns / MS);
	for (unsigned i = 1; i <= sim.opt.nodes; i++)
		for (unsigned j = 1; j <= sim.opt.nodes; j++)
			if (i != j && rng_chance(rng(), 700)) {
				sim.paths[i][j].loss = path.loss;
				sim.paths[i][j].duplicate = path.duplicate;
				sim.paths[i][j].reorder = path.reorder;
				later(ns, heal_event, i << 8 | j);
			}
}

static void
slow(unsigned from, unsigned to, uint64_t delay_ns, uint64_t ns)
{
	if (from == to)
		return;
	sim.paths[from][to].delay_ns = delay_ns;
	later(ns, heal_event, from << 8 | to);
}

static void
fault_slow(void)
{
	unsigned one = victim(), other = any_node();
	unsigned kind = (unsigned)rng_below(rng(), 3);
	uint64_t ns = duration();
	uint64_t delay_ns = rng_below(rng(), sim.election_ms * MS);

	trace("slow links kind=%u nodes %u, %u for %" PRIu64 " ms", kind, one,
	    other, ns / MS);
	for (unsigned i = 1; i <= sim.opt.nodes; i++) {
		if (kind == 0) /* one hears the others late */
			slow(i, one, delay_ns, ns);
		else if (kind == 1) /* ... is heard late */
			slow(one, i, delay_ns, ns);
	}
	if (kind == 2)
		slow(one, other, delay_ns, ns);
}

/* ---- the disk ---- */

static void
disk_heal_event(void *arg, uint64_t n)
{
	struct disk *d = sim.nodes[n].disk;

	(void)arg;
	disk_set_errors(d, 0, 0, 0);
	disk_set_full(d, false);
	disk_set_slow(d, 0);
}

static void
fault_disk(enum fault f)
{
	unsigned node = victim();
	struct disk *d = sim.nodes[node].disk;
	uint64_t ns = duration();

	trace("disk of node %u: %s for %" PRIu64 " ms", node, fault_names[f],
	    ns / MS);
	if (f == FAULT_SYNC)
		disk_set_slow(
		    d, rng_between(rng(), 1, sim.election_ms) * MS / 2);
	else if (f == FAULT_FULL)
		disk_set_full(d, true);
	else
		disk_set_errors(d, (uint32_t)rng_below(rng(), 60),
		    (uint32_t)rng_below(rng(), 60),
		    (uint32_t)rng_below(rng(), 40));
	later(ns, disk_heal_event, node);
}

/* ---- new leaders ---- */

static bool
allowed(enum fault f)
{
	return (profile_faults[sim.opt.profile] >> f & 1) != 0 &&
	       (sim.opt.without >> f & 1) == 0;
}

/* A leader that falls with its first entries half sent leaves the logs that
 * thesis figure 3.7 is about. */
static void
hunt_event(void *arg, uint64_t n)
{
	unsigned node = (unsigned)n;
	uint32_t all = (1u << sim.opt.nodes) - 1, one = 1u << (node - 1);
	uint64_t kind = rng_below(rng(), 100), ns = duration();

	(void)arg;
	if (!sim.faults_on)
		return;
	if (sim.opt.hunt) /* what is on its way must not arrive either */
		kind = 60 + kind * 2 / 5;
	if (kind < 40 && allowed(FAULT_KILL)) {
		sim.faults[FAULT_KILL]++;
		proc_kill(proc_at(node, ROLE_RAFTD), false);
		later(rng_between(rng(), 1, sim.election_ms / 2) * MS,
		    restart_event, node * ROLES + ROLE_RAFTD);
	} else if (kind < 70 && allowed(FAULT_POWER) && sim.nodes[node].power) {
		sim.faults[FAULT_POWER]++;
		node_power_cut(node);
		later(ns / 2, power_on_event, node);
	} else if (allowed(FAULT_PARTITION)) {
		sim.faults[FAULT_PARTITION]++;
		trace("new leader %u is cut off for %" PRIu64 " ms", node,
		    ns / MS);
		block_between(one, all, false, ns);
		if (kind < 90)
			block_between(all, one, false, ns);
	}
}

void
nemesis_new_leader(unsigned node)
{
	if (sim.faults_on && rng_chance(rng(), sim.hunt))
		later(rng_below(rng(), 2 * MS + 2 * sim.far_ns), hunt_event,
		    node);
}

/* ---- leadership and membership: as their owner would ask for them ---- */

static void
transfer(unsigned leader, unsigned to)
{
	struct raft *r = core_of(leader);

	if (r == NULL)
		return;
	trace("transfer of leadership from %u to %u", leader, to);
	sim.current = proc_at(leader, ROLE_RAFTD);
	raft_transfer_leadership(r, leader, to);
	sim.current = NULL;
	proc_wake(proc_at(leader, ROLE_RAFTD));
}

static void
fault_transfer(void)
{
	unsigned leader = check_raft_leader(), to = any_node();

	if (leader != 0)
		transfer(leader, to);
}

static void
fault_campaign(void)
{
	unsigned node = any_node();
	struct raft *r = core_of(node);

	if (r == NULL)
		return;
	trace("node %u campaigns", node);
	sim.current = proc_at(node, ROLE_RAFTD);
	if (rng_chance(rng(), 500))
		raft_forget_leader(r);
	(void)raft_campaign(r);
	sim.current = NULL;
	proc_wake(proc_at(node, ROLE_RAFTD));
}

static unsigned
voters_of(const struct wal_conf *conf)
{
	return conf->state.voters.count;
}

/* Nodes that somebody wanted removed.  They cannot come back under their id
 * (their raftd says so when it starts), so nobody asks for it. */
static uint32_t leaving;

/* Changes take effect when they are committed, as in etcd/raft, so those who
 * know of one may refuse their votes to those who do not, for having a longer
 * log, without being voters any more.  Two rules avoid that this is the end:
 * one of two voters is not taken away, and a joint state is left by a leader
 * who is a voter afterwards (so it is never left automatically when it takes
 * votes away). */
static bool
may_shrink(const struct wal_conf *conf)
{
	return voters_of(conf) != 2;
}

static void
draw_step(const struct wal_conf *conf, struct raft_conf_step *step)
{
	bool few = __builtin_popcount(leaving) + 2 >= (int)sim.opt.nodes;

	step->id = any_node();
	switch (rng_below(rng(), 4)) {
	case 0:
	case 1:
		step->op = RAFT_CONF_ADD_VOTER;
		break;
	case 2:
		step->op = RAFT_CONF_ADD_LEARNER;
		break;
	default:
		step->op = RAFT_CONF_REMOVE;
		break;
	}
	if (step->op != RAFT_CONF_ADD_VOTER && !may_shrink(conf))
		step->id = RAFT_NONE;
	if (step->op == RAFT_CONF_REMOVE ? few : (leaving >> step->id & 1) != 0)
		step->id = RAFT_NONE;
	if (step->op == RAFT_CONF_REMOVE && step->id != RAFT_NONE)
		leaving |= 1u << step->id;
}

static void
propose_conf(unsigned node, const struct raft_conf_change *cc)
{
	enum raft_rc rc;

	sim.current = proc_at(node, ROLE_RAFTD);
	rc = raft_propose_conf_change(core_of(node), cc);
	sim.current = NULL;
	trace("node %u proposes a change ops=%u first=%d:%" PRIu64
	      " transition=%d rc=%d",
	    node, cc->count, (int)cc->ops[0].op, cc->ops[0].id,
	    (int)cc->transition, (int)rc);
	proc_wake(proc_at(node, ROLE_RAFTD));
}

/* The voters become another set altogether, in one joint step. */
static void
draw_swap(unsigned leader, struct raft_conf_change *cc)
{
	uint32_t voters = sim.opt.hunt ? 250 : 600; /* per mille */

	cc->transition = RAFT_CONF_EXPLICIT;
	for (unsigned i = 1; i <= sim.opt.nodes; i++) {
		struct raft_conf_step *step = &cc->ops[cc->count];

		if ((leaving >> i & 1) != 0)
			continue;
		cc->count++;
		step->id = i;
		step->op = i == leader || rng_chance(rng(), voters)
			       ? RAFT_CONF_ADD_VOTER
			       : RAFT_CONF_ADD_LEARNER;
	}
}

/* One operation brings an address; the others are about members. */
static void
draw_steps(
    const struct wal_conf *conf, unsigned leader, struct raft_conf_change *cc)
{
	cc->count = 1;
	draw_step(conf, &cc->ops[0]);
	while (cc->count < 3 && rng_chance(rng(), 350)) {
		struct raft_conf_step *step = &cc->ops[cc->count++];

		draw_step(conf, step);
		if (cluster_member(conf, step->id) == NULL)
			step->id = RAFT_NONE;
	}
	for (uint32_t i = 0; cc->count > 1 && i < cc->count; i++) {
		struct raft_conf_step *step = &cc->ops[i];

		if (step->op == RAFT_CONF_ADD_VOTER)
			continue;
		cc->transition = RAFT_CONF_EXPLICIT;
		if (step->id == leader)
			step->id = RAFT_NONE;
	}
	cc->v1 = cc->count == 1 && rng_chance(rng(), 500);
	if (cc->v1)
		cc->transition = RAFT_CONF_AUTO;
}

/* End a joint state, or first make somebody leader who may. */
static void
leave_joint(unsigned leader)
{
	const struct wal_conf *conf = &proc_at(leader, ROLE_RAFTD)->rd->conf;
	struct raft_conf_change cc = {.transition = RAFT_CONF_AUTO};
	const struct raft_ids *voters = &conf->state.voters;

	for (uint32_t i = 0; i < voters->count; i++)
		if (voters->id[i] == leader) {
			propose_conf(leader, &cc);
			return;
		}
	transfer(leader, (unsigned)voters->id[rng_below(rng(), voters->count)]);
}

/* On the leader: elsewhere nobody knows what holds when it arrives there. */
static void
fault_conf(void)
{
	unsigned node = check_raft_leader();
	const struct wal_conf *conf;
	struct raft_conf_change cc = {0};
	struct context c = {.count = 1};
	struct buf bytes = {0};

	if (node == 0 || core_of(node) == NULL)
		return;
	conf = &proc_at(node, ROLE_RAFTD)->rd->conf;
	cc.transition = (enum raft_conf_transition)rng_below(rng(), 3);
	if (conf->state.voters_outgoing.count > 0 && rng_chance(rng(), 700)) {
		leave_joint(node);
		return;
	}
	if (may_shrink(conf) && rng_chance(rng(), 300)) {
		draw_swap(node, &cc);
		propose_conf(node, &cc);
		return;
	}
	draw_steps(conf, node, &cc);
	c.members[0].id = cc.ops[0].id;
	(void)snprintf(c.members[0].address, sizeof(c.members[0].address),
	    "10.0.0.%" PRIu64 ":3380", cc.ops[0].id);
	if (cc.ops[0].op != RAFT_CONF_REMOVE && cc.ops[0].id != RAFT_NONE) {
		context_encode(&c, &bytes);
		cc.context = buf_bytes(&bytes);
	}
	propose_conf(node, &cc);
	buf_free(&bytes);
}

/* ---- the time table ---- */

static void
power_cut(void)
{
	unsigned node = victim();

	if (!sim.nodes[node].power)
		return;
	node_power_cut(node);
	later(duration(), power_on_event, node);
	/* Now and then all of them at once. */
	if (!rng_chance(rng(), 150))
		return;
	for (unsigned i = 1; i <= sim.opt.nodes; i++)
		if (sim.nodes[i].power) {
			node_power_cut(i);
			later(duration(), power_on_event, i);
		}
}

static void
strike(enum fault f)
{
	sim.faults[f]++;
	trace_mix((uint64_t)f << 56 ^ sim.now);
	switch (f) {
	case FAULT_KILL:
		kill_one(victim(), ROLE_RAFTD);
		break;
	case FAULT_POWER:
		power_cut();
		break;
	case FAULT_STOP:
		fault_stop();
		break;
	case FAULT_KVD:
		kill_one(any_node(), ROLE_KVD);
		break;
	case FAULT_HTTPD:
		kill_one(any_node(), ROLE_HTTPD);
		break;
	case FAULT_PAUSE:
		fault_pause();
		break;
	case FAULT_CLOCK:
		fault_clock();
		break;
	case FAULT_PARTITION:
		fault_partition();
		break;
	case FAULT_LOSS:
		fault_loss();
		break;
	case FAULT_SLOW:
		fault_slow();
		break;
	case FAULT_BREAK:
		net_break(victim(), any_node());
		break;
	case FAULT_SYNC:
	case FAULT_IO:
	case FAULT_FULL:
		fault_disk(f);
		break;
	case FAULT_TRANSFER:
		fault_transfer();
		break;
	case FAULT_CAMPAIGN:
		fault_campaign();
		break;
	case FAULT_CONF:
		fault_conf();
		break;
	case FAULTS:
		break;
	}
}

static uint64_t
gap(void)
{
	uint64_t e = sim.election_ms * MS;

	/* Bursts, and times in which something can be done. */
	return rng_chance(rng(), 200) ? rng_between(rng(), e, 3 * e)
				      : rng_below(rng(), e / 2) + 1;
}

static void
strike_event(void *arg, uint64_t n)
{
	enum fault f;

	(void)arg;
	(void)n;
	if (!sim.faults_on)
		return;
	/* The draw does not depend on what is left out. */
	do
		f = (enum fault)rng_below(rng(), FAULTS);
	while ((profile_faults[sim.opt.profile] >> f & 1) == 0);
	if ((sim.opt.without >> f & 1) == 0)
		strike(f);
	later(gap(), strike_event, 0);
}

void
nemesis_start(void)
{
	sim.faults_on = true;
	leaving = 0;
	later(gap(), strike_event, 0);
}

void
nemesis_stop(void)
{
	sim.faults_on = false;
	trace("all faults end");
	memset(sim.paths, 0, sizeof(sim.paths));
	sim.sync_ns = 0;
	sim.think_ms *= 3; /* what piled up must be worked off, too */
	net_paths_changed();
	for (unsigned i = 1; i <= sim.opt.nodes; i++) {
		disk_heal_event(NULL, i);
		node_power_on(i);
		for (enum role r = 0; r < ROLES; r++) {
			struct proc *p = proc_at(i, r);

			proc_set_clock(p, 1000000);
			if (p->alive)
				proc_pause(p, 0);
			else
				proc_restart(p);
		}
	}
}

/* By the configuration of the node that leads. */
bool
nemesis_is_member(unsigned node)
{
	unsigned leader = check_raft_leader();

	if (leader == 0)
		return true;
	return cluster_member(&proc_at(leader, ROLE_RAFTD)->rd->conf, node) !=
	       NULL;
}

/* Changes may have been left half done: end the joint state. */
void
nemesis_settle(void)
{
	unsigned leader = check_raft_leader();

	if (leader != 0 && core_of(leader) != NULL &&
	    proc_at(leader, ROLE_RAFTD)->rd->conf.state.voters_outgoing.count >
		0)
		leave_joint(leader);
}
