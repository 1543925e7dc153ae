/* Changing a configuration: simple changes of one voter (thesis 4.1) and
 * joint ones (thesis 4.3).
 *
 * A change is worked out on a plan, a copy of the configuration and of the set
 * of tracked nodes.  Only a plan that came out well is installed, so that a
 * refused change has no effect.  Nodes that stay keep their progress. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

struct planned {
	uint64_t id;
	bool learner;
	bool fresh; /* starts with a new progress */
};

struct plan {
	struct raft_conf_state conf;
	uint32_t count;
	struct planned nodes[RAFT_TRACKED_MAX];
	bool full; /* a set would have overflowed */
};

/* ---- the plan ---- */

static void
plan_init(struct plan *p, const struct tracker *t)
{
	p->conf = t->conf;
	p->count = t->count;
	p->full = false;
	for (uint32_t i = 0; i < t->count; i++)
		p->nodes[i] = (struct planned){
		    .id = t->prs[i].id, .learner = t->prs[i].learner};
}

static struct planned *
plan_find(struct plan *p, uint64_t id)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->nodes[i].id == id)
			return &p->nodes[i];
	return NULL;
}

static void
plan_set_add(struct plan *p, struct raft_ids *set, uint64_t id)
{
	if (!ids_add(set, id))
		p->full = true;
}

static void
plan_track(struct plan *p, uint64_t id, bool learner)
{
	uint32_t at = p->count;

	if (p->count == RAFT_TRACKED_MAX) {
		p->full = true;
		return;
	}
	for (; at > 0 && p->nodes[at - 1].id > id; at--)
		p->nodes[at] = p->nodes[at - 1];
	p->nodes[at] =
	    (struct planned){.id = id, .learner = learner, .fresh = true};
	p->count++;
}

static void
plan_untrack(struct plan *p, uint64_t id)
{
	struct planned *node = plan_find(p, id);

	assert(node != NULL);
	p->count--;
	memmove(node, node + 1,
	    (size_t)(&p->nodes[p->count] - node) * sizeof(*node));
}

static void
plan_leave_sets(struct plan *p, uint64_t id)
{
	ids_remove(&p->conf.voters, id);
	ids_remove(&p->conf.learners, id);
	ids_remove(&p->conf.learners_next, id);
}

static void
plan_voter(struct plan *p, uint64_t id)
{
	struct planned *node = plan_find(p, id);

	if (node == NULL)
		plan_track(p, id, false);
	else
		node->learner = false;
	plan_leave_sets(p, id);
	plan_set_add(p, &p->conf.voters, id);
}

static void
plan_learner(struct plan *p, uint64_t id)
{
	struct planned *node = plan_find(p, id);

	if (node == NULL) {
		plan_track(p, id, true);
		plan_set_add(p, &p->conf.learners, id);
		return;
	}
	if (node->learner)
		return;
	plan_leave_sets(p, id);
	if (ids_has(&p->conf.voters_outgoing, id)) {
		/* A node is never voter of one half and learner at once: it
		 * becomes learner when the joint configuration is left. */
		plan_set_add(p, &p->conf.learners_next, id);
	} else {
		node->learner = true;
		plan_set_add(p, &p->conf.learners, id);
	}
}

static void
plan_remove(struct plan *p, uint64_t id)
{
	if (plan_find(p, id) == NULL)
		return;
	plan_leave_sets(p, id);
	if (!ids_has(&p->conf.voters_outgoing, id))
		plan_untrack(p, id);
}

static const char *
plan_apply(struct plan *p, const struct raft_conf_step *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ops[i].id == RAFT_NONE)
			continue; /* the application has struck it out */
		if (ops[i].id >= RAFT_APPLY_THREAD)
			return "node id is reserved";
		switch (ops[i].op) {
		case RAFT_CONF_ADD_VOTER:
			plan_voter(p, ops[i].id);
			break;
		case RAFT_CONF_ADD_LEARNER:
			plan_learner(p, ops[i].id);
			break;
		case RAFT_CONF_REMOVE:
			plan_remove(p, ops[i].id);
			break;
		case RAFT_CONF_UPDATE:
			break;
		}
	}
	if (p->full)
		return "too many nodes in the config";
	if (p->conf.voters.count == 0)
		return "removed all voters";
	return NULL;
}

static uint32_t
ids_missing(const struct raft_ids *from, const struct raft_ids *in)
{
	uint32_t missing = 0;

	for (uint32_t i = 0; i < from->count; i++)
		missing += !ids_has(in, from->id[i]);
	return missing;
}

static const char *
plan_simple(struct plan *p, const struct tracker *t,
    const struct raft_conf_step *ops, uint32_t count)
{
	const char *wrong;

	if (tracker_is_joint(t))
		return "can't apply simple config change in joint config";
	wrong = plan_apply(p, ops, count);
	if (wrong != NULL)
		return wrong;
	/* Majorities before and after overlap only if they differ in one
	 * voter: thesis 4.1. */
	if (ids_missing(&p->conf.voters, &t->conf.voters) +
		ids_missing(&t->conf.voters, &p->conf.voters) >
	    1)
		return "more than one voter changed without entering joint "
		       "config";
	return NULL;
}

static const char *
plan_enter_joint(struct plan *p, const struct tracker *t, bool auto_leave,
    const struct raft_conf_step *ops, uint32_t count)
{
	const char *wrong;

	if (tracker_is_joint(t))
		return "config is already joint";
	if (t->conf.voters.count == 0)
		return "can't make a zero-voter config joint";
	p->conf.voters_outgoing = p->conf.voters;
	wrong = plan_apply(p, ops, count);
	if (wrong == NULL)
		p->conf.auto_leave = auto_leave;
	return wrong;
}

static const char *
plan_leave_joint(struct plan *p, const struct tracker *t)
{
	const struct raft_ids *outgoing = &t->conf.voters_outgoing;

	if (!tracker_is_joint(t))
		return "can't leave a non-joint config";
	for (uint32_t i = 0; i < p->conf.learners_next.count; i++) {
		uint64_t id = p->conf.learners_next.id[i];

		plan_set_add(p, &p->conf.learners, id);
		plan_find(p, id)->learner = true;
	}
	if (p->full)
		return "too many nodes in the config";
	p->conf.learners_next.count = 0;
	for (uint32_t i = 0; i < outgoing->count; i++) {
		uint64_t id = outgoing->id[i];

		if (!ids_has(&p->conf.voters, id) &&
		    !ids_has(&p->conf.learners, id))
			plan_untrack(p, id);
	}
	p->conf.voters_outgoing.count = 0;
	p->conf.auto_leave = false;
	return NULL;
}

/* ---- installing ---- */

static void
progress_init(struct progress *pr, const struct tracker *t,
    const struct planned *node, uint64_t last)
{
	*pr = (struct progress){.id = node->id,
	    .state = RAFT_PROGRESS_PROBE,
	    .next = last > 1 ? last : 1,
	    /* So that a quorum check right after does not depose the leader
	     * before the node had a chance to answer. */
	    .recent_active = true};
	pr->inflights.count_max = t->inflight_msgs_max;
	pr->inflights.bytes_max = t->inflight_bytes_max;
}

static void
plan_install(struct plan *p, struct tracker *t, uint64_t last)
{
	struct progress *prs = mem_zalloc(p->count + 1, sizeof(*prs));

	assert(change_check(&p->conf) == NULL);
	for (uint32_t i = 0; i < p->count; i++) {
		struct progress *old = tracker_find(t, p->nodes[i].id);

		if (old != NULL && !p->nodes[i].fresh) {
			prs[i] = *old;
			old->inflights.ring = NULL; /* moved */
		} else {
			progress_init(&prs[i], t, &p->nodes[i], last);
		}
		prs[i].learner = p->nodes[i].learner;
	}
	tracker_free(t);
	t->prs = prs;
	t->count = p->count;
	t->conf = p->conf;
}

/* ---- entry points ---- */

const char *
change_simple(struct tracker *t, const struct raft_conf_step *ops,
    uint32_t count, uint64_t last)
{
	struct plan p;
	const char *wrong;

	plan_init(&p, t);
	wrong = plan_simple(&p, t, ops, count);
	if (wrong == NULL)
		plan_install(&p, t, last);
	return wrong;
}

const char *
change_enter_joint(struct tracker *t, bool auto_leave,
    const struct raft_conf_step *ops, uint32_t count, uint64_t last)
{
	struct plan p;
	const char *wrong;

	plan_init(&p, t);
	wrong = plan_enter_joint(&p, t, auto_leave, ops, count);
	if (wrong == NULL)
		plan_install(&p, t, last);
	return wrong;
}

const char *
change_leave_joint(struct tracker *t)
{
	struct plan p;
	const char *wrong;

	plan_init(&p, t);
	wrong = plan_leave_joint(&p, t);
	if (wrong == NULL)
		plan_install(&p, t, 0); /* nobody is new */
	return wrong;
}

/* Whichever of the three cc asks for. */
static const char *
plan_change(
    struct plan *p, const struct tracker *t, const struct raft_conf_change *cc)
{
	plan_init(p, t);
	if (cc->count == 0 && cc->transition == RAFT_CONF_AUTO)
		return plan_leave_joint(p, t);
	if (cc->count > 1 || cc->transition != RAFT_CONF_AUTO)
		return plan_enter_joint(p, t,
		    cc->transition != RAFT_CONF_EXPLICIT, cc->ops, cc->count);
	return plan_simple(p, t, cc->ops, cc->count);
}

const char *
change_apply(
    struct tracker *t, const struct raft_conf_change *cc, uint64_t last)
{
	struct plan p;
	const char *wrong = plan_change(&p, t, cc);

	if (wrong == NULL)
		plan_install(&p, t, last);
	return wrong;
}

const char *
change_try(const struct tracker *t, const struct raft_conf_change *cc)
{
	struct plan p;

	return plan_change(&p, t, cc);
}

/* Is there an id that is in both? */
static bool
ids_meet(const struct raft_ids *a, const struct raft_ids *b)
{
	return ids_missing(a, b) != a->count;
}

const char *
change_check(const struct raft_conf_state *c)
{
	if (!ids_valid(&c->voters) || !ids_valid(&c->learners) ||
	    !ids_valid(&c->voters_outgoing) || !ids_valid(&c->learners_next))
		return "a set of the config is not ascending";
	if (c->voters.count == 0 &&
	    c->voters_outgoing.count + c->learners.count > 0)
		return "the config has no voters";
	if (ids_meet(&c->learners, &c->voters) ||
	    ids_meet(&c->learners, &c->voters_outgoing))
		return "a node is both voter and learner";
	if (ids_missing(&c->learners_next, &c->voters_outgoing) > 0 ||
	    ids_meet(&c->learners_next, &c->voters))
		return "a node of learners_next is not an outgoing voter";
	if (c->voters_outgoing.count == 0 && c->auto_leave)
		return "auto_leave without a joint config";
	return NULL;
}

const char *
change_restore(
    struct tracker *t, const struct raft_conf_state *conf, uint64_t last)
{
	const struct raft_ids *sets[] = {
	    &conf->voters, &conf->voters_outgoing, &conf->learners};
	struct plan p = {.conf = *conf};
	const char *wrong = change_check(conf);

	if (wrong != NULL)
		return wrong;
	for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
		for (uint32_t i = 0; i < sets[s]->count; i++)
			if (plan_find(&p, sets[s]->id[i]) == NULL)
				plan_track(&p, sets[s]->id[i], s == 2);
	if (p.full)
		return "too many nodes in the config";
	plan_install(&p, t, last);
	return NULL;
}
