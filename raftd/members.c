/* See members.h. */
#include "raftd/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/orders.h"
#include "raftd/plan.h"
#include "raftd/raftd.h"

#define WORK_MAX WAL_ORDERS_MAX
#define WORK_MS 60000u /* then nobody waits for it any more */
/* A refusal that is about who is connected must hold for so many elections'
 * patience: a leader asks its followers that often whether they are there. */
#define PASSING_ELECTIONS 2u
/* A member that has not applied the last change of members yet does not
 * campaign, and so lets a transfer pass (thesis 3.10; raft/election.c): it is
 * begun again so often. */
#define TRANSFERS_MAX 5u
/* Members that were not seen yet are not waited for any longer. */
#define UNSEEN_MS 2000u

/* An order on its way. */
struct work {
	struct work *next;
	uint64_t from;
	struct msg_control order;
	struct mono began;
	uint64_t proposed; /* index of the change; 0: not proposed */
	bool transferring;
	unsigned transfers; /* begun */
};

struct members {
	struct raftd *rd;
	struct work *list;
	unsigned count;
	uint64_t term; /* in which this node leads; 0: it does not */
	struct mono leads_since;
	/* The core takes no change before this index is applied. */
	uint64_t quiet;
	bool ticked;
	uint64_t last_before; /* last index of the log, two ticks ago */
	uint64_t last_now;    /* and at the last one */
	struct mono recorded; /* incarnations were */
};

struct members *
members_open(struct raftd *rd)
{
	struct members *ms = mem_zalloc(1, sizeof(*ms));

	ms->rd = rd;
	return ms;
}

static void
pop(struct members *ms, struct work **wp)
{
	struct work *w = *wp;

	*wp = w->next;
	ms->count--;
	mem_free(w);
}

void
members_close(struct members *ms)
{
	if (ms == NULL)
		return;
	while (ms->list != NULL)
		pop(ms, &ms->list);
	mem_free(ms);
}

static void
reply(struct members *ms, const struct work *w, enum err code, uint64_t index,
    uint64_t id, const char *why)
{
	struct msg_controlled m = {.token = w->order.token,
	    .code = (uint8_t)code,
	    .index = index,
	    .id = id};

	(void)snprintf(m.why, sizeof(m.why), "%s", why);
	log_info("order %s order=%u from=%" PRIu64 " id=%" PRIu64
		 " index=%" PRIu64 " code=%s",
	    code == ERR_OK ? "carried out" : "refused", w->order.order, w->from,
	    id, index, err_word(code));
	orders_reply(ms->rd, w->from, &m);
}

void
members_take(struct members *ms, uint64_t from, const struct msg_control *m)
{
	struct work **wp = &ms->list;
	struct work *w;

	if (raft_role(ms->rd->raft) != RAFT_LEADER)
		return; /* it comes again, to the one that does */
	for (; *wp != NULL; wp = &(*wp)->next)
		if ((*wp)->order.token == m->token)
			return; /* it is on its way */
	if (ms->count == WORK_MAX)
		return; /* it comes again */
	w = mem_zalloc(1, sizeof(*w));
	w->from = from;
	w->order = *m;
	w->began = mono_now();
	ms->count++;
	*wp = w;
}

void
members_tick(struct members *ms)
{
	ms->ticked = true;
}

/* ---- facts ---- */

static void
gather(const struct members *ms, const struct raft_status *st,
    struct plan_facts *f)
{
	const struct raftd *rd = ms->rd;

	f->conf = &rd->conf;
	f->self = rd->opt.id;
	f->last = st->last_index;
	f->count = 0;
	for (uint32_t i = 0; i < st->progress_count; i++) {
		const struct raft_progress_status *p = &st->progress[i];
		struct plan_fact *x = &f->facts[f->count++];
		bool self = p->id == f->self;

		*x = (struct plan_fact){.id = p->id, .match = p->match};
		x->active = self || (p->recent_active &&
					peers_connected(rd->peers, p->id));
		x->caught_up = self || (p->state == RAFT_PROGRESS_REPLICATE &&
					   p->match >= ms->last_before);
		x->incarnation = self ? rd->identity.incarnation
				      : peers_incarnation(rd->peers, p->id);
	}
}

/* ---- doing it ---- */

/* False: not now. */
static bool
propose(struct members *ms, const struct plan *p, uint64_t *index)
{
	struct raft_conf_change cc = p->cc;
	struct buf context = {0};
	struct raft_status st;
	enum raft_rc rc;

	if (p->context.token != 0 || p->context.count > 0)
		context_encode(&p->context, &context);
	cc.context = buf_bytes(&context);
	rc = raft_propose_conf_change(ms->rd->raft, &cc);
	buf_free(&context);
	if (rc != RAFT_OK)
		return false;
	raft_status(ms->rd->raft, &st);
	*index = ms->quiet = st.last_index;
	log_info("change of members proposed id=%" PRIu64 " index=%" PRIu64,
	    p->id, *index);
	return true;
}

static void
hand_over(struct members *ms, const struct plan *p)
{
	log_info(
	    "handing leadership over, the members are changing to=%" PRIu64,
	    p->to);
	raft_transfer_leadership(ms->rd->raft, ms->rd->opt.id, p->to);
}

static bool
may_change(const struct members *ms, const struct raft_status *st)
{
	return st->transferee == RAFT_NONE && st->applied >= ms->quiet;
}

/* Decide about an order that is not under way; false: it waits. */
static bool
start(struct members *ms, struct work *w, const struct raft_status *st,
    struct mono now)
{
	uint64_t grace = PASSING_ELECTIONS * ms->rd->opt.election_ms;
	struct plan_facts f;
	struct plan p;

	if (!may_change(ms, st) || st->conf.voters_outgoing.count > 0)
		return false;
	gather(ms, st, &f);
	plan_order(&f, &w->order, &p);
	switch (p.what) {
	case PLAN_NOTHING:
		return false;
	case PLAN_ANSWER:
		if (p.passing && mono_ms_since(w->began, now) < grace)
			return false;
		reply(ms, w, p.code,
		    p.code == ERR_OK && w->order.order != MSG_ORDER_LEADER
			? ms->rd->conf.index
			: 0,
		    p.id, p.why);
		return true;
	case PLAN_CHANGE:
		(void)propose(ms, &p, &w->proposed);
		return false;
	case PLAN_TRANSFER:
		hand_over(ms, &p);
		w->transferring = true;
		w->transfers++;
		return false;
	}
	return false;
}

/* True: it is answered. */
static bool
step(struct members *ms, struct work *w, const struct raft_status *st,
    struct mono now)
{
	const struct raftd *rd = ms->rd;
	const struct wal_order *o = cluster_order(&rd->conf, w->order.token);

	if (o != NULL) {
		if (rd->conf_durable < o->index)
			return false;
		reply(ms, w, ERR_OK, o->index, o->id, "");
		return true;
	}
	if (w->proposed > st->applied)
		return false;
	w->proposed = 0; /* the core found a reason against it: once more */
	if (!w->transferring)
		return start(ms, w, st, now);
	if (st->transferee != RAFT_NONE)
		return false;
	if (w->transfers < TRANSFERS_MAX) {
		w->transferring = false;
		return start(ms, w, st, now);
	}
	reply(ms, w, ERR_CONFLICT, 0, rd->opt.id,
	    "leadership could not be handed over: the other node did not take "
	    "it in time; see its log, and try again");
	return true;
}

/* A duty of the leader, if there is one. */
static void
do_duty(struct members *ms, const struct raft_status *st, struct mono now)
{
	struct plan_facts f;
	struct plan p;
	uint64_t index;

	if (!may_change(ms, st))
		return;
	gather(ms, st, &f);
	plan_duty(&f, &p);
	if (p.what == PLAN_NOTHING &&
	    mono_ms_since(ms->recorded, now) >= UNSEEN_MS)
		plan_incarnations(
		    &f, mono_ms_since(ms->leads_since, now) >= UNSEEN_MS, &p);
	switch (p.what) {
	case PLAN_NOTHING:
	case PLAN_ANSWER:
		return;
	case PLAN_CHANGE:
		if (propose(ms, &p, &index))
			ms->recorded = now;
		return;
	case PLAN_TRANSFER:
		hand_over(ms, &p);
		return;
	}
}

/* ---- turns ---- */

/* False: this node does not lead. */
static bool
note_leadership(struct members *ms, struct mono now)
{
	const struct raftd *rd = ms->rd;

	if (raft_role(rd->raft) != RAFT_LEADER) {
		ms->term = 0;
		while (ms->list != NULL)
			pop(ms, &ms->list);
		return false;
	}
	if (ms->term == raft_term(rd->raft))
		return true;
	/* Changes of earlier leaders may be in the log: they come first. */
	ms->term = raft_term(rd->raft);
	ms->leads_since = now;
	ms->recorded = (struct mono){0};
	ms->quiet = 0; /* soon known */
	ms->last_before = ms->last_now = UINT64_MAX;
	return true;
}

void
members_run(struct members *ms, struct mono now)
{
	struct work **wp = &ms->list;
	struct raft_status st;
	bool ticked = ms->ticked;

	ms->ticked = false;
	if (!note_leadership(ms, now) || (!ticked && ms->list == NULL))
		return;
	raft_status(ms->rd->raft, &st);
	if (ms->quiet < st.last_index && ms->last_now == UINT64_MAX)
		ms->quiet = st.last_index;
	if (ticked) {
		ms->last_before = ms->last_now;
		ms->last_now = st.last_index;
	}
	while (*wp != NULL && (mono_ms_since((*wp)->began, now) >= WORK_MS ||
				  step(ms, *wp, &st, now)))
		pop(ms, wp);
	if (ticked && (ms->list == NULL ||
			  (ms->list->proposed == 0 && !ms->list->transferring)))
		do_duty(ms, &st, now);
}
