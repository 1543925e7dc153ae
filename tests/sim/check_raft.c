/* What Raft promises (thesis figure 3.2), checked from outside: on what each
 * raftd gives to its writer, finds in its log when it starts, and says of
 * itself after each turn.
 *
 *   election safety      one leader per term
 *   leader append-only   a leader never gives the writer an index again
 *   log matching         entries that agree in index and term agree in all
 *                        that is before them: a hash chain over each log
 *   leader completeness  who becomes leader of term T has all that was
 *                        committed in terms before T
 *   state machine safety an index is committed with one term and content
 *   quorum               what is committed for the first time is durable on a
 *                        majority (in a joint configuration, on both)
 *   promotion            a learner becomes a voter when it has what its leader
 *                        had a moment ago (thesis 4.2.1)
 *   durability           what was reported as durable is found at the next
 *                        start: entries, term, vote.  A disk that was lost ends
 *                        this, and nobody may listen to its node again: it
 *                        votes in no term in which it has voted before */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "raftd/context.h"
#include "tests/sim/sim.h"

#define BUCKETS 65536u

struct line { /* an entry in a log */
	uint64_t term;
	uint64_t chain; /* hash of it and all before */
};

struct log {
	struct line *v; /* v[i]: index i + 1 */
	uint64_t last, cap;
};

/* All entries ever seen, by index and term. */
struct seen {
	struct seen *next;
	uint64_t index, term, chain;
	uint8_t type;
	size_t len;
	uint8_t *data;
};

struct view {                /* of a node */
	struct log given;    /* to the writer, or recovered */
	struct log durable;  /* reported as durable */
	uint64_t term, vote; /* durable */
	uint64_t given_term, given_vote;
	/* Entries under way: the smallest index among them may replace what is
	 * durable. */
	uint64_t floor[1024];
	size_t under_way;
	uint64_t committed; /* as it last said */
	uint64_t leads;     /* term it leads, as last seen; 0: none */
	bool started_now;   /* its first turn is to come */
	bool recovering;
	/* What was durable when its disk was lost. */
	struct log lost;
	bool wiped_now; /* its next start finds nothing */
	/* What it voted, in all its lives. */
	struct vote {
		uint64_t term, vote;
	} * votes;
	size_t vote_count, vote_cap;
	uint64_t conf;         /* index of the last one known at a turn's end */
	uint64_t conf_durable; /* ... on its disk */
	bool led;
	/* Last index of a leader's log, at the ends of the turns before its
	 * last two ticks. */
	uint64_t last_before[2];
	uint64_t tick_at;
	uint64_t last_at_turn;
	/* What recovery tells of, by index: the newest of each. */
	struct raft_entry *found;
	size_t found_cap;
};

struct leader {
	uint64_t term;
	unsigned node;
};

struct committed {
	uint64_t term, chain;
	uint64_t in_term; /* of the node that first said so: not before it was
			   * committed */
	struct seen *entry;
};

static struct view views[SIM_NODES_MAX + 1];
static struct seen *seen[BUCKETS];
static struct leader *leaders;
static size_t leader_count, leader_cap;
static struct committed *committed; /* [i]: index i + 1 */
static uint64_t committed_count, committed_cap;

uint64_t
check_raft_committed(void)
{
	return committed_count;
}

uint64_t
check_raft_entry(uint64_t index, uint8_t *type, struct bytes *data)
{
	const struct seen *s = committed[index - 1].entry;

	*type = s->type;
	*data = bytes_of(s->data, s->len);
	return s->term;
}

/* ---- logs ---- */

static void
log_put(struct log *l, uint64_t index, uint64_t term, uint64_t chain)
{
	if (index > l->cap) {
		l->cap = l->cap == 0 ? 256 : l->cap * 2;
		l->v = realloc(l->v, l->cap * sizeof(l->v[0]));
		assert(l->v != NULL);
	}
	l->v[index - 1] = (struct line){term, chain};
	l->last = index;
}

static const struct line *
log_at(const struct log *l, uint64_t index)
{
	static const struct line none;

	if (index == 0 || index > l->last)
		return &none;
	return &l->v[index - 1];
}

static struct seen *
find_seen(uint64_t index, uint64_t term)
{
	struct seen *s = seen[(index * 31 + term) % BUCKETS];

	while (s != NULL && (s->index != index || s->term != term))
		s = s->next;
	return s;
}

static uint64_t
chain_of(uint64_t before, const struct raft_entry *e)
{
	struct bytes data = blob_bytes(e->data);
	uint64_t head[4] = {before, e->term, e->index, e->type};

	return hash64(data.data, data.len, hash64(head, sizeof(head), 0x51));
}

/* Up to index, l is what was committed: a snapshot stands for it. */
static void
take_committed(unsigned node, struct log *l, uint64_t index)
{
	if (index > committed_count) {
		violate("node %u has a snapshot of index %" PRIu64
			" and only %" PRIu64 " are committed",
		    node, index, committed_count);
		return;
	}
	for (uint64_t i = 1; i <= index; i++)
		log_put(l, i, committed[i - 1].term, committed[i - 1].chain);
	l->last = index;
}

/* An entry behind the last one of l; log matching is checked here. */
static void
take_entry(unsigned node, struct log *l, const struct raft_entry *e,
    bool must_be_known)
{
	uint64_t chain;
	struct seen *s;

	if (e->index == 0 || e->index > l->last + 1) {
		violate("node %u: gap in the log, index %" PRIu64
			" after %" PRIu64,
		    node, e->index, l->last);
		return;
	}
	chain = chain_of(log_at(l, e->index - 1)->chain, e);
	s = find_seen(e->index, e->term);
	if (s != NULL && s->chain != chain) {
		violate("log matching: node %u has another entry %" PRIu64
			"/%" PRIu64 " or history before it",
		    node, e->term, e->index);
		return;
	}
	if (s == NULL && must_be_known) {
		violate("node %u recovered an entry %" PRIu64 "/%" PRIu64
			" that nobody ever wrote",
		    node, e->term, e->index);
		return;
	}
	if (s == NULL) {
		struct bytes data = blob_bytes(e->data);
		struct seen **bucket =
		    &seen[(e->index * 31 + e->term) % BUCKETS];

		s = calloc(1, sizeof(*s));
		assert(s != NULL);
		*s = (struct seen){.next = *bucket,
		    .index = e->index,
		    .term = e->term,
		    .chain = chain,
		    .type = (uint8_t)e->type,
		    .len = data.len};
		s->data = malloc(data.len + 1);
		assert(s->data != NULL);
		if (data.len > 0)
			memcpy(s->data, data.data, data.len);
		*bucket = s;
	}
	log_put(l, e->index, e->term, chain);
}

/* ---- the writer's side ---- */

static void
note_vote(unsigned node, uint64_t term, uint64_t vote)
{
	struct view *v = &views[node];

	for (size_t i = v->vote_count; i-- > 0;)
		if (v->votes[i].term == term) {
			if (v->votes[i].vote != vote)
				violate("node %u voted twice in term "
					"%" PRIu64,
				    node, term);
			return;
		}
	if (v->vote_count == v->vote_cap) {
		v->vote_cap = v->vote_cap == 0 ? 16 : v->vote_cap * 2;
		v->votes = realloc(v->votes, v->vote_cap * sizeof(v->votes[0]));
		assert(v->votes != NULL);
	}
	v->votes[v->vote_count++] = (struct vote){term, vote};
}

/* A leader makes a learner a voter: has it caught up?  Not where it may have
 * been forced, or the core was told behind raftd's back. */
static void
check_promotion(unsigned node, const struct raft_entry *e)
{
	const struct view *v = &views[node];
	struct raft_conf_change cc;
	struct context context;
	unsigned who;

	if (e->type == RAFT_ENTRY_NORMAL || e->term != v->leads || sim.raw ||
	    raft_conf_change_decode(e->type, blob_bytes(e->data), &cc) !=
		RAFT_OK ||
	    cc.count == 0 || cc.ops[0].op != RAFT_CONF_ADD_VOTER)
		return;
	(void)context_decode(cc.context, &context);
	who = node_of_id(cc.ops[0].id);
	if ((context.token != 0 && sim.forced) ||
	    (who != 0 && sim.nodes[who].wiped)) /* it had caught up */
		return;
	if (who == 0 || views[who].durable.last < v->last_before[1])
		violate("node %" PRIu64 " is promoted at index %" PRIu64
			" and has not caught up: its log ends at %" PRIu64
			", the leader's was at %" PRIu64,
		    cc.ops[0].id, e->index, views[who].durable.last,
		    v->last_before[1]);
}

void
check_raft_submitted(unsigned node, const struct raft_msg *m)
{
	struct view *v = &views[node];

	if (m->term != 0 || m->vote != 0 || m->commit != 0) {
		if (m->term < v->given_term)
			violate("node %u: term goes back from %" PRIu64
				" to %" PRIu64,
			    node, v->given_term, m->term);
		if (m->term == v->given_term && v->given_vote != 0 &&
		    m->vote != v->given_vote)
			violate("node %u voted twice in term %" PRIu64, node,
			    m->term);
		if (m->term > v->given_term && m->vote == sim.nodes[node].id)
			/* It may win before its disk knows the term. */
			nemesis_ambush(&sim.nodes[node].procs[ROLE_RAFTD],
			    2 * MS + sim.sync_ns, sim.ambush / 2);
		v->given_term = m->term;
		v->given_vote = m->vote;
	}
	if (m->entry_count > 0 && v->leads != 0 && v->leads == v->given_term &&
	    m->entries[0].term == v->leads &&
	    m->entries[0].index <= v->given.last)
		violate("leader append-only: node %u replaces index %" PRIu64
			" as leader of term %" PRIu64,
		    node, m->entries[0].index, v->leads);
	if (m->snapshot != NULL) {
		if (m->snapshot->index <= v->committed)
			violate("node %u installs a snapshot of index %" PRIu64
				" and has committed %" PRIu64,
			    node, m->snapshot->index, v->committed);
		take_committed(node, &v->given, m->snapshot->index);
		count(COUNT_SNAP_INSTALLED);
		nemesis_ambush(
		    &sim.nodes[node].procs[ROLE_RAFTD], 2 * MS, sim.ambush);
	}
	for (size_t i = 0; i < m->entry_count; i++) {
		if (m->entries[i].index <= v->committed)
			violate("node %u replaces committed index %" PRIu64,
			    node, m->entries[i].index);
		if (find_seen(m->entries[i].index, m->entries[i].term) == NULL)
			check_promotion(node, &m->entries[i]);
		take_entry(node, &v->given, &m->entries[i], false);
	}
	assert(v->under_way < 1024);
	v->floor[v->under_way++] = m->snapshot != NULL  ? 0
				   : m->entry_count > 0 ? m->entries[0].index
							: UINT64_MAX;
}

void
check_raft_durable(unsigned node, const struct raft_msg *m)
{
	struct view *v = &views[node];

	assert(v->under_way > 0);
	memmove(v->floor, v->floor + 1, --v->under_way * sizeof(v->floor[0]));
	if (m->term != 0) {
		v->term = m->term;
		v->vote = m->vote;
		if (m->vote != 0)
			note_vote(node, m->term, m->vote);
	}
	if (m->snapshot != NULL)
		take_committed(node, &v->durable, m->snapshot->index);
	for (size_t i = 0; i < m->entry_count; i++)
		take_entry(node, &v->durable, &m->entries[i], true);
}

/* ---- a start ---- */

void
check_raft_recovering(unsigned node)
{
	struct view *v = &views[node];

	v->given.last = 0;
	v->recovering = true;
	for (size_t i = 0; i < v->found_cap; i++)
		free(v->found[i].data);
	free(v->found);
	v->found = NULL;
	v->found_cap = 0;
}

void
check_raft_recovered_entry(unsigned node, const struct raft_entry *e)
{
	struct view *v = &views[node];
	size_t cap = v->found_cap;

	while (e->index >= v->found_cap)
		v->found_cap = v->found_cap == 0 ? 256 : v->found_cap * 2;
	if (v->found_cap > cap) {
		v->found =
		    realloc(v->found, v->found_cap * sizeof(v->found[0]));
		assert(v->found != NULL);
		memset(v->found + cap, 0,
		    (v->found_cap - cap) * sizeof(v->found[0]));
	}
	free(v->found[e->index].data);
	v->found[e->index] = *e;
	if (e->data != NULL) {
		v->found[e->index].data =
		    malloc(sizeof(struct blob) + e->data->len);
		memcpy(v->found[e->index].data, e->data,
		    sizeof(struct blob) + e->data->len);
	}
}

/* Recovered: v->given.  Promised: v->durable, but what was under way may have
 * replaced its end. */
static void
check_promises(unsigned node, const struct raft_hard_state *hs)
{
	struct view *v = &views[node];
	uint64_t floor = UINT64_MAX;

	for (size_t i = 0; i < v->under_way; i++)
		if (v->floor[i] < floor)
			floor = v->floor[i];
	if (hs->term < v->term)
		violate("node %u forgot term %" PRIu64 ", has %" PRIu64, node,
		    v->term, hs->term);
	else if (hs->term == v->term && v->vote != 0 && hs->vote != v->vote)
		violate(
		    "node %u forgot its vote in term %" PRIu64, node, v->term);
	for (uint64_t i = 1; i <= v->durable.last && i < floor; i++)
		if (log_at(&v->given, i)->chain !=
		    log_at(&v->durable, i)->chain) {
			violate("node %u forgot entry %" PRIu64 "/%" PRIu64
				" that it had reported as durable",
			    node, log_at(&v->durable, i)->term, i);
			return;
		}
}

void
check_raft_recovered(unsigned node, const struct wal_recovered *rec)
{
	struct view *v = &views[node];
	static const struct raft_hard_state none;
	const struct raft_hard_state *hs = rec->fresh ? NULL : &rec->hard_state;

	take_committed(node, &v->given, rec->first - 1);
	/* The first entries are written before anybody can know them. */
	for (uint64_t i = rec->first; i <= rec->last && !sim.violated; i++)
		take_entry(node, &v->given, &v->found[i], v->found[i].term > 1);

	if (!sim.violated && !v->wiped_now)
		check_promises(node, hs != NULL ? hs : &none);
	if (v->wiped_now && rec->last > 0)
		violate("node %u lost its disk and recovered a log", node);
	v->wiped_now = false;
	v->under_way = 0;
	v->durable.last = 0;
	for (uint64_t i = 1; i <= v->given.last; i++)
		log_put(&v->durable, i, v->given.v[i - 1].term,
		    v->given.v[i - 1].chain);
	v->term = v->given_term = hs != NULL ? hs->term : 0;
	v->vote = v->given_vote = hs != NULL ? hs->vote : 0;
	v->committed = 0;
	v->leads = 0;
	v->conf = v->conf_durable = rec->conf.index;
	v->started_now = true;
}

void
check_raft_wiped(unsigned node)
{
	struct view *v = &views[node];

	free(v->lost.v);
	v->lost = v->durable;
	v->durable = (struct log){0};
	v->wiped_now = true;
	v->conf_durable = 0;
}

void
check_raft_conf_durable(unsigned node, uint64_t index)
{
	views[node].conf_durable = index;
}

uint64_t
check_raft_conf_of(unsigned node)
{
	return views[node].conf_durable;
}

bool
check_raft_led(unsigned node)
{
	return views[node].led;
}

void
check_raft_died(unsigned node)
{
	views[node].leads = 0;
}

/* The first entries of a log are written in store_open(), not by the writer:
 * they are looked at when the node first runs. */
static void
take_bootstrap(struct proc *p)
{
	struct view *v = &views[p->node];
	struct raft_entry *e;
	size_t count;

	/* All or, when that write was torn, the rest of them. */
	if (!v->started_now || rlog_last(p->rd->rlog) <= v->given.last)
		return;
	if (rlog_entries(p->rd->rlog, v->given.last + 1,
		rlog_last(p->rd->rlog) + 1, UINT64_MAX, &e, &count) != RAFT_OK)
		return;
	for (size_t i = 0; i < count && !sim.violated; i++) {
		take_entry(p->node, &v->given, &e[i], false);
		take_entry(p->node, &v->durable, &e[i], false);
	}
	raft_entries_free(e, count);
	if (v->term == 0)
		v->term = v->given_term = 1;
}

/* ---- after a turn ---- */

static void
check_completeness(unsigned node, uint64_t term)
{
	const struct view *v = &views[node];

	for (uint64_t i = committed_count; i > 0; i--) {
		const struct committed *c = &committed[i - 1];

		if (c->in_term >= term)
			continue;
		if (log_at(&v->given, i)->chain != c->chain)
			violate("leader completeness: node %u leads term "
				"%" PRIu64 " without %" PRIu64 "/%" PRIu64,
			    node, term, c->term, i);
		return; /* the chain speaks for those before */
	}
}

static void
note_leader(unsigned node, uint64_t term)
{
	for (size_t i = leader_count; i-- > 0;)
		if (leaders[i].term == term) {
			if (leaders[i].node != node)
				violate("election safety: nodes %u and %u "
					"both lead term %" PRIu64,
				    leaders[i].node, node, term);
			return;
		}
	if (leader_count == leader_cap) {
		leader_cap = leader_cap == 0 ? 64 : leader_cap * 2;
		leaders = realloc(leaders, leader_cap * sizeof(leaders[0]));
		assert(leaders != NULL);
	}
	leaders[leader_count++] = (struct leader){term, node};
	sim.leaders++;
	views[node].led = true;
	memset(views[node].last_before, 0, sizeof(views[node].last_before));
	check_completeness(node, term);
	nemesis_new_leader(node);
}

static void
check_quorum(unsigned node, uint64_t index, uint64_t chain)
{
	const struct view *v = &views[node];
	uint64_t have = 0;

	if (index <= sim.opt.nodes)
		return; /* the first entries are committed by agreement */
	check_members_advance();
	for (unsigned i = 1; i <= sim.slots; i++)
		if (log_at(&views[i].durable, index)->chain == chain ||
		    log_at(&views[i].lost, index)->chain == chain)
			have |= UINT64_C(1) << sim.nodes[i].id;
	/* Changes may have taken effect since its last turn. */
	if (!check_members_quorum_between(v->conf,
		sim.nodes[node].procs[ROLE_RAFTD].rd->conf.index, have))
		violate("index %" PRIu64 " is committed and durable on nodes "
			"%#" PRIx64 " only",
		    index, have);
}

static void
first_commit(unsigned node, uint64_t index, uint64_t in_term)
{
	const struct line *line = log_at(&views[node].given, index);

	if (committed_count == committed_cap) {
		committed_cap = committed_cap == 0 ? 1024 : committed_cap * 2;
		committed =
		    realloc(committed, committed_cap * sizeof(committed[0]));
		assert(committed != NULL);
	}
	committed[committed_count++] = (struct committed){.term = line->term,
	    .chain = line->chain,
	    .in_term = in_term,
	    .entry = find_seen(index, line->term)};
	sim.commits++;
	check_quorum(node, index, line->chain);
}

static void
check_commit(unsigned node, uint64_t commit, uint64_t term)
{
	struct view *v = &views[node];

	if (commit < v->committed)
		violate("node %u: commit index goes back from %" PRIu64
			" to %" PRIu64,
		    node, v->committed, commit);
	if (commit > v->given.last) {
		violate("node %u: commit index %" PRIu64
			" is beyond its log, last %" PRIu64,
		    node, commit, v->given.last);
		return;
	}
	for (uint64_t i = v->committed + 1; i <= commit; i++) {
		if (i > committed_count)
			first_commit(node, i, term);
		else if (log_at(&v->given, i)->chain !=
			 committed[i - 1].chain) {
			violate("state machine safety: node %u has committed "
				"%" PRIu64 "/%" PRIu64 ", another node %" PRIu64
				"/%" PRIu64,
			    node, log_at(&v->given, i)->term, i,
			    committed[i - 1].term, i);
			return;
		}
	}
	v->committed = commit;
}

/* Who knows that he is no voter does not lead. */
static void
check_is_voter(const struct proc *p)
{
	const struct raft_conf_state *c = &p->rd->conf.state;

	if (!cluster_ids_have(&c->voters, p->rd->opt.id) &&
	    !cluster_ids_have(&c->voters_outgoing, p->rd->opt.id))
		violate(
		    "node %" PRIu64 " leads and is no voter", p->rd->opt.id);
}

void
check_raft_turn(struct proc *p)
{
	const struct raft *r = p->rd->raft;
	struct view *v = &views[p->node];
	uint64_t term;

	if (r == NULL || sim.violated || p->rd->writer == NULL)
		return;
	take_bootstrap(p);
	v->started_now = false;
	term = raft_term(r);
	if (raft_role(r) == RAFT_LEADER) {
		v->leads = term;
		note_leader(p->node, term);
		check_is_voter(p);
	} else {
		v->leads = 0;
	}
	if (p->rd->tick_at.ns != v->tick_at) {
		v->tick_at = p->rd->tick_at.ns;
		v->last_before[1] = v->last_before[0];
		v->last_before[0] = v->last_at_turn;
	}
	v->last_at_turn = v->given.last;
	check_commit(p->node, raft_commit(r), term);
	trace_mix(term << 32 ^ raft_commit(r));
	if (!sim.violated)
		check_members_advance();
	if (!sim.violated)
		check_members_turn(p);
	v->conf = p->rd->conf.index;
	if (!sim.violated)
		model_advance();
}

unsigned
check_raft_leader(void)
{
	uint64_t best = 0;
	unsigned node = 0;

	for (unsigned i = 1; i <= sim.slots; i++)
		if (sim.nodes[i].procs[ROLE_RAFTD].alive &&
		    views[i].leads > best) {
			best = views[i].leads;
			node = i;
		}
	return node;
}

void
check_raft_reset(void)
{
	for (unsigned i = 0; i <= SIM_NODES_MAX; i++) {
		for (size_t k = 0; k < views[i].found_cap; k++)
			free(views[i].found[k].data);
		free(views[i].found);
		free(views[i].given.v);
		free(views[i].durable.v);
		free(views[i].lost.v);
		free(views[i].votes);
	}
	memset(views, 0, sizeof(views));
	for (size_t i = 0; i < BUCKETS; i++) {
		struct seen *s;

		while ((s = seen[i]) != NULL) {
			seen[i] = s->next;
			free(s->data);
			free(s);
		}
	}
	free(leaders);
	leaders = NULL;
	leader_count = leader_cap = 0;
	free(committed);
	committed = NULL;
	committed_count = committed_cap = 0;
}
