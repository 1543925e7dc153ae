/* Changes of the membership that are proposed to the core, behind raftd's back:
 * any of them, not only those that raftd makes. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "raftd/context.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/sim.h"

static struct rng *
rng(void)
{
	return &sim.rng[RNG_WORLD];
}

static struct proc *
raftd_at(unsigned node)
{
	return &sim.nodes[node].procs[ROLE_RAFTD];
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

	step->id = rng_between(rng(), 1, sim.slots);
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

	sim.current = raftd_at(node);
	rc = raft_propose_conf_change(nemesis_core(node), cc);
	sim.current = NULL;
	trace("node %u proposes a change ops=%u first=%d:%" PRIu64
	      " transition=%d rc=%d",
	    node, cc->count, (int)cc->ops[0].op, cc->ops[0].id,
	    (int)cc->transition, (int)rc);
	proc_wake(raftd_at(node));
}

/* Most of those who vote now go on voting.  Else all who do may forget that the
 * joint state is over, need those who do not any more, and have shorter logs
 * than they: nobody could be elected. */
static bool
keeps_majority(const struct wal_conf *conf, const struct raft_conf_change *cc)
{
	const struct raft_ids *voters = &conf->state.voters;
	uint32_t kept = voters->count;

	for (uint32_t i = 0; i < cc->count; i++)
		if (cc->ops[i].op != RAFT_CONF_ADD_VOTER &&
		    cc->ops[i].op != RAFT_CONF_UPDATE &&
		    cluster_ids_have(voters, cc->ops[i].id))
			kept--;
	return kept * 2 > voters->count;
}

/* Several voters are replaced in one joint step, less than half of them. */
static void
draw_swap(unsigned leader, struct raft_conf_change *cc)
{
	uint32_t voters = sim.opt.hunt ? 250 : 600; /* per mille */
	unsigned second = leader % sim.slots + 1;

	cc->transition = RAFT_CONF_EXPLICIT;
	for (unsigned i = 1; i <= sim.slots; i++) {
		struct raft_conf_step *step = &cc->ops[cc->count];

		if ((leaving >> i & 1) != 0)
			continue;
		cc->count++;
		step->id = i;
		/* Never one alone: the others may have longer logs than it
		 * when it forgets that it is alone. */
		if ((leaving >> second & 1) != 0)
			second = second % sim.slots + 1;
		step->op =
		    i == leader || i == second || rng_chance(rng(), voters)
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
	const struct wal_conf *conf = &raftd_at(leader)->rd->conf;
	struct raft_conf_change cc = {.transition = RAFT_CONF_AUTO};
	const struct raft_ids *voters = &conf->state.voters;

	for (uint32_t i = 0; i < voters->count; i++)
		if (voters->id[i] == leader) {
			propose_conf(leader, &cc);
			return;
		}
	nemesis_transfer(leader, voters->id[rng_below(rng(), voters->count)]);
}

/* On the leader: elsewhere nobody knows what holds when it arrives there. */
void
change_strike(void)
{
	unsigned node = check_raft_leader();
	const struct wal_conf *conf;
	struct raft_conf_change cc = {0};
	struct context c = {.count = 1};
	struct buf bytes = {0};

	if (node == 0 || nemesis_core(node) == NULL)
		return;
	conf = &raftd_at(node)->rd->conf;
	cc.transition = (enum raft_conf_transition)rng_below(rng(), 3);
	if (conf->state.voters_outgoing.count > 0 && rng_chance(rng(), 700)) {
		leave_joint(node);
		return;
	}
	if (may_shrink(conf) && rng_chance(rng(), 300)) {
		draw_swap(node, &cc);
		if (keeps_majority(conf, &cc))
			propose_conf(node, &cc);
		return;
	}
	draw_steps(conf, node, &cc);
	if (!keeps_majority(conf, &cc))
		return;
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

void
change_reset(void)
{
	leaving = 0;
}

/* Changes may have been left half done: end the joint state. */
void
change_settle(void)
{
	unsigned leader = check_raft_leader();

	if (sim.raw && leader != 0 && nemesis_core(leader) != NULL &&
	    raftd_at(leader)->rd->conf.state.voters_outgoing.count > 0)
		leave_joint(leader);
}
