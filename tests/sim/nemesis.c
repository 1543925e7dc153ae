/* Faults.  At random times one of the kinds that the profile has happens; what
 * lasts is undone at a random time later.  At the end all of it is undone. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/nemesis.h"
#include "tests/sim/sim.h"

#define BIT(f) (1u << FAULT_##f)

static const uint32_t profile_faults[PROFILES] = {
    [PROFILE_CALM] = BIT(KVD) | BIT(HTTPD) | BIT(TRANSFER) | BIT(STOP),
    [PROFILE_LOSSY] = BIT(KILL) | BIT(STOP) | BIT(KVD) | BIT(HTTPD) |
		      BIT(PAUSE) | BIT(CLOCK) | BIT(PARTITION) | BIT(LOSS) |
		      BIT(SLOW) | BIT(BREAK) | BIT(TRANSFER) | BIT(CAMPAIGN),
    [PROFILE_DISK] = BIT(KILL) | BIT(POWER) | BIT(KVD) | BIT(SYNC) | BIT(IO) |
		     BIT(FULL) | BIT(PAUSE) | BIT(CAMPAIGN) | BIT(BREAK),
    [PROFILE_MEMBERSHIP] = BIT(CONF) | BIT(ORDER) | BIT(WIPE) | BIT(KILL) |
			   BIT(POWER) | BIT(PARTITION) | BIT(TRANSFER) |
			   BIT(BREAK) | BIT(LOSS) | BIT(PAUSE),
    [PROFILE_ALL] = (1u << FAULTS) - 1,
};

/* Whom leadership was handed to, if it was just now. */
static unsigned transfer_to;
static uint64_t transfer_until;

static struct rng *
rng(void)
{
	return &sim.rng[RNG_WORLD];
}

static unsigned
any_node(void)
{
	return (unsigned)rng_between(rng(), 1, sim.slots);
}

static struct proc *
proc_at(unsigned node, enum role role)
{
	return &sim.nodes[node].procs[role];
}

/* The raft core of a node that runs and is not in the middle of something. */
struct raft *
nemesis_core(unsigned node)
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

uint64_t
nemesis_duration(void)
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
	later(nemesis_duration() / 2, restart_event, node * ROLES + role);
}

static void
fault_pause(void)
{
	unsigned node = victim();
	struct proc *p = proc_at(node, (enum role)rng_below(rng(), ROLES));
	uint64_t until = sim.now + nemesis_duration();

	if (!p->alive)
		return;
	trace("%s paused for %" PRIu64 " ms", p->name, (until - sim.now) / MS);
	count(COUNT_PAUSED);
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
	count(COUNT_CLOCKS);
	proc_set_clock(p, ppm);
}

static void
fault_stop(void)
{
	struct proc *p = proc_at(victim(), ROLE_RAFTD);

	if (nemesis_core(p->node) == NULL)
		return;
	trace("%s told to stop", p->name);
	count(COUNT_STOPPED);
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
	for (unsigned i = 1; i <= sim.slots; i++)
		for (unsigned j = 1; j <= sim.slots; j++)
			if ((a >> (i - 1) & 1) != 0 && (b >> (j - 1) & 1) != 0)
				block(i, j, hold, ns);
}

static void
fault_partition(void)
{
	uint32_t all = (1u << sim.slots) - 1, one = 1u << (victim() - 1);
	uint32_t side = (uint32_t)rng_below(rng(), all) + 1;
	uint64_t ns = nemesis_duration();
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
	uint64_t ns = nemesis_duration();
	struct path path = {.loss = (uint32_t)rng_below(rng(), 300),
	    .duplicate = (uint32_t)rng_below(rng(), 300),
	    .reorder = (uint32_t)rng_below(rng(), 300)};

	trace("loss=%u duplicate=%u reorder=%u for %" PRIu64 " ms", path.loss,
	    path.duplicate, path.reorder, ns / MS);
	for (unsigned i = 1; i <= sim.slots; i++)
		for (unsigned j = 1; j <= sim.slots; j++)
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
	uint64_t ns = nemesis_duration();
	uint64_t delay_ns = rng_below(rng(), sim.election_ms * MS);

	trace("slow links kind=%u nodes %u, %u for %" PRIu64 " ms", kind, one,
	    other, ns / MS);
	for (unsigned i = 1; i <= sim.slots; i++) {
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
	disk_set_name_errors(d, 0);
	disk_set_full(d, false);
	disk_set_slow(d, 0);
}

static void
fault_disk(enum fault f)
{
	unsigned node = victim();
	struct disk *d = sim.nodes[node].disk;
	uint64_t ns = nemesis_duration();

	trace("disk of node %u: %s for %" PRIu64 " ms", node, fault_names[f],
	    ns / MS);
	if (f == FAULT_SYNC)
		disk_set_slow(
		    d, rng_between(rng(), 1, sim.election_ms) * MS / 2);
	else if (f == FAULT_FULL && rng_chance(rng(), 500))
		disk_set_full(d, true);
	else if (f == FAULT_FULL)
		disk_set_free(d, rng_below(rng(), sim.reserve_bytes * 2 + 1));
	else if (rng_chance(rng(), 200)) /* not a word about files */
		disk_set_name_errors(d, (uint32_t)rng_below(rng(), 500));
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
	uint32_t all = (1u << sim.slots) - 1, one = 1u << (node - 1);
	uint64_t kind = rng_below(rng(), 100), ns = nemesis_duration();

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
	if (node == transfer_to && sim.now < transfer_until)
		count(COUNT_TRANSFERS_DONE);
	transfer_to = 0;
	if (sim.faults_on && rng_chance(rng(), sim.hunt))
		later(rng_below(rng(), 2 * MS + 2 * sim.far_ns), hunt_event,
		    node);
}

/* ---- at the worst moment ---- */

/* n: process and which life. */
static void
ambush_event(void *arg, uint64_t life)
{
	struct proc *p = arg;

	if (!sim.faults_on || !p->alive || p->life != life)
		return;
	if (p->role == ROLE_RAFTD && rng_chance(rng(), 400) &&
	    allowed(FAULT_BREAK)) {
		for (unsigned i = 1; i <= sim.slots; i++)
			net_break(i, p->node);
	} else if (p->role == ROLE_RAFTD && rng_chance(rng(), 400) &&
		   allowed(FAULT_POWER)) {
		sim.faults[FAULT_POWER]++;
		node_power_cut(p->node);
		later(nemesis_duration(), power_on_event, p->node);
	} else if (allowed(p->role == ROLE_RAFTD ? FAULT_KILL : FAULT_KVD)) {
		kill_one(p->node, p->role);
	}
}

void
nemesis_ambush(struct proc *p, uint64_t ns, uint32_t per_mille)
{
	if (sim.faults_on && rng_chance(rng(), per_mille))
		world_at(
		    sim.now + rng_below(rng(), ns), ambush_event, p, p->life);
}

/* ---- leadership and membership: as their owner would ask for them ---- */

/* to: an id. */
void
nemesis_transfer(unsigned leader, uint64_t to)
{
	struct raft *r = nemesis_core(leader);

	if (r == NULL)
		return;
	trace("transfer of leadership from node %u to %" PRIu64, leader, to);
	if (sim.nodes[leader].id != to) {
		count(COUNT_TRANSFERS);
		transfer_to = node_of_id(to);
		transfer_until = sim.now + 2 * sim.election_ms * MS;
	}
	sim.current = proc_at(leader, ROLE_RAFTD);
	raft_transfer_leadership(r, sim.nodes[leader].id, to);
	sim.current = NULL;
	proc_wake(proc_at(leader, ROLE_RAFTD));
}

static void
fault_transfer(void)
{
	unsigned leader = check_raft_leader(), to = any_node();

	if (leader != 0 && sim.nodes[to].id != 0)
		nemesis_transfer(leader, sim.nodes[to].id);
}

static void
fault_campaign(void)
{
	unsigned node = any_node();
	struct raft *r = nemesis_core(node);

	if (r == NULL)
		return;
	trace("node %u campaigns", node);
	count(COUNT_CAMPAIGNS);
	sim.current = proc_at(node, ROLE_RAFTD);
	if (rng_chance(rng(), 500))
		raft_forget_leader(r);
	(void)raft_campaign(r);
	sim.current = NULL;
	proc_wake(proc_at(node, ROLE_RAFTD));
}

/* ---- the time table ---- */

static void
power_cut(void)
{
	unsigned node = victim();

	if (!sim.nodes[node].power)
		return;
	node_power_cut(node);
	later(nemesis_duration(), power_on_event, node);
	/* Now and then all of them at once. */
	if (!rng_chance(rng(), 150))
		return;
	count(COUNT_POWER_ALL);
	for (unsigned i = 1; i <= sim.slots; i++)
		if (sim.nodes[i].power) {
			node_power_cut(i);
			later(nemesis_duration(), power_on_event, i);
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
		change_strike();
		break;
	case FAULT_ORDER:
		admin_strike();
		break;
	case FAULT_WIPE:
		admin_wipe();
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
	/* A run has the one or the other. */
	if (sim.raw && (f == FAULT_ORDER || f == FAULT_WIPE))
		f = FAULT_CONF;
	else if (!sim.raw && f == FAULT_CONF)
		f = FAULT_ORDER;
	if ((sim.opt.without >> f & 1) == 0)
		strike(f);
	later(gap(), strike_event, 0);
}

void
nemesis_start(void)
{
	sim.faults_on = true;
	transfer_to = 0;
	change_reset();
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
	for (unsigned i = 1; i <= sim.slots; i++) {
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

bool
nemesis_is_at_work(void)
{
	for (unsigned i = 1; i <= sim.slots; i++) {
		const struct node *n = &sim.nodes[i];

		if (n->off)
			continue;
		if (!n->power || !n->procs[ROLE_RAFTD].alive ||
		    sim.now < n->procs[ROLE_RAFTD].paused_until ||
		    !disk_is_well(n->disk))
			return true;
		for (unsigned k = 1; k <= sim.slots; k++) {
			const struct path *p = &sim.paths[i][k];

			if (p->blocked || p->delay_ns > 0 || p->loss > 0)
				return true;
		}
	}
	return false;
}

/* By the configuration of the node that leads. */
static const struct wal_conf *
leaders_conf(void)
{
	unsigned leader = check_raft_leader();

	return leader != 0 ? &proc_at(leader, ROLE_RAFTD)->rd->conf : NULL;
}

bool
nemesis_is_member(unsigned node)
{
	const struct wal_conf *conf = leaders_conf();

	return conf == NULL ||
	       (sim.nodes[node].id != 0 &&
		   cluster_member(conf, sim.nodes[node].id) != NULL);
}

/* Those who were never let in wait for ever.  The others were told by one of
 * the members that they know, or by a majority of the voters (of both sets,
 * where they are joint): as long as those are still there. */
bool
nemesis_may_stay(unsigned node)
{
	const struct proc *p = proc_at(node, ROLE_RAFTD);
	const struct wal_conf *conf;
	uint32_t known = 0, there = 0;

	if (p->gone || !p->alive || p->rd->raft == NULL)
		return p->gone || (p->alive && p->rd->join != NULL);
	conf = &p->rd->conf;
	for (uint32_t i = 0; i < conf->member_count; i++) {
		const struct wal_member *m = &conf->members[i];
		unsigned other = node_of_id(m->id);

		if (other == node ||
		    (!cluster_ids_have(&conf->state.voters, m->id) &&
			!cluster_ids_have(&conf->state.voters_outgoing, m->id)))
			continue;
		known++;
		there += other != 0 && !sim.nodes[other].wiped &&
			 nemesis_is_member(other) &&
			 admin_listens_at(other, m->address);
	}
	return there * 2 <= known;
}

bool
nemesis_is_settled(char *why, size_t bytes)
{
	const struct wal_conf *conf = leaders_conf();

	(void)snprintf(why, bytes, "the configuration is joint");
	if (conf == NULL || conf->state.voters_outgoing.count > 0)
		return false;
	for (uint32_t i = 0; i < conf->member_count; i++) {
		unsigned node = node_of_id(conf->members[i].id);

		if (conf->members[i].promote &&
		    cluster_ids_have(
			&conf->state.learners, conf->members[i].id) &&
		    (node == 0 || !sim.nodes[node].wiped)) {
			(void)snprintf(why, bytes,
			    "node %" PRIu64 " waits to be promoted",
			    conf->members[i].id);
			return false;
		}
	}
	return true;
}

/* What its owner does without being told: machines that were let in are
 * started. */
void
nemesis_settle(void)
{
	change_settle();
	admin_look();
}
