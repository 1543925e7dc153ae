/* Random clusters: cores whose messages are lost, doubled and reordered, whose
 * disks answer late, and which crash and come back with what was durable.
 *
 * Checked at every step: the core's own invariants; at most one leader a term
 * (thesis 3.4); the same entry at the same index on every node (state machine
 * safety, 3.6.3), applied in order without a gap; nothing applied that is not
 * durable here, in asynchronous mode; reads that see all that was committed
 * before they were asked for (6.4).  At the end: with no more faults the
 * cluster commits again.  The last only for every second seed, in which nodes 1
 * to 3 are voters for ever: as changes take effect when they are applied, a
 * leader that has just demoted itself can leave behind nodes that need its vote
 * and do not get it, because its log is longer.
 *
 * RAFT_SEED=n runs one seed, RAFT_SEEDS=n so many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/script/harness/cluster.h"
#include "tests/script/harness/print.h"

enum {
	NODES = 5,
	INDEX_MAX = 4096,
	TERM_MAX = 4096,
	READS_MAX = 4096,
	NETWORK_MAX = 200,
	STEPS = 6000,
	STEADY = 3, /* nodes 1 to STEADY, see above */
	HEAL_STEPS = 60000
};

struct sim {
	uint64_t seed;
	uint64_t state; /* of the generator */
	bool steady;
	uint32_t calm; /* the larger, the fewer faults */
	struct raft_config config;
	struct node m[NODES + 1]; /* by id; raft is NULL while one is down */
	struct mailbox network;
	uint64_t commit_max; /* of any node, ever */
	uint64_t proposals;
	struct {
		uint64_t term;
		uint64_t payload;
	} committed[INDEX_MAX];
	uint64_t leader_of[TERM_MAX];
	uint64_t read_floor[READS_MAX];
	uint64_t reads;
	uint64_t reads_answered;
	uint64_t crashes;
	uint64_t snapshots;
};

/* xorshift64*: the same on every machine. */
static uint32_t
dice(struct sim *s, uint32_t n)
{
	s->state ^= s->state >> 12;
	s->state ^= s->state << 25;
	s->state ^= s->state >> 27;
	return (uint32_t)((s->state * UINT64_C(2685821657736338717)) >> 33) % n;
}

static uint32_t
dice_of(void *arg, uint32_t n)
{
	return dice(arg, n);
}

/* ---- nodes ---- */

static void
trace_line(void *arg, const char *line)
{
	(void)arg;
	if (getenv("RAFT_TRACE") != NULL)
		(void)fprintf(stderr, "%s\n", line);
}

static void
start(struct sim *s, uint64_t id)
{
	struct node *n = &s->m[id];

	n->id = id;
	n->config = s->config;
	n->config.id = id;
	n->config.storage = &store_ops;
	n->config.storage_arg = &n->store;
	n->config.random = dice_of;
	n->config.random_arg = s;
	n->config.trace = trace_line;
	n->config.applied = store_newest(&n->store)->index;
	n->raft = raft_new(&n->config);
	assert_non_null(n->raft);
}

static void
work_clear(struct mailbox *b)
{
	for (size_t i = 0; i < b->count; i++)
		raft_msg_free(&b->v[i]);
	b->count = 0;
}

/* What was on its way to the disk is lost; what the state machine has beyond
 * the durable commit index comes again. */
static void
crash(struct sim *s, uint64_t id)
{
	struct node *n = &s->m[id];
	struct store *st = &n->store;

	raft_free(n->raft);
	n->raft = NULL;
	work_clear(&n->append_work);
	work_clear(&n->apply_work);
	while (st->history_count > 1 &&
	       store_newest(st)->index > st->hard_state.commit &&
	       store_newest(st)->index > st->base_index)
		blob_unref(&st->history[--st->history_count].data);
	s->crashes++;
}

static void
sim_open(struct sim *s, uint64_t seed)
{
	struct raft_snapshot first = {.index = 2, .term = 1};
	uint32_t voters;

	*s = (struct sim){
	    .seed = seed, .state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15)};
	s->steady = seed % 2 == 0;
	s->calm = 1 + dice(s, 10);
	voters = s->steady ? STEADY : 1 + dice(s, NODES);
	for (uint32_t i = 0; i < voters; i++)
		first.conf.voters.id[first.conf.voters.count++] = i + 1;
	s->config = (struct raft_config){.election_ticks = 5,
	    .heartbeat_ticks = 1 + dice(s, 2),
	    .async_storage_writes = dice(s, 3) != 0,
	    .max_bytes_per_msg = dice(s, 2) ? RAFT_NO_LIMIT : dice(s, 60),
	    .max_committed_bytes_per_ready =
		dice(s, 2) ? RAFT_NO_LIMIT : 1 + dice(s, 60),
	    .max_uncommitted_bytes = dice(s, 2) ? 0 : 100,
	    .max_inflight_msgs = 1 + dice(s, 4),
	    .check_quorum = dice(s, 2),
	    .pre_vote = dice(s, 2),
	    .step_down_on_removal = s->steady || dice(s, 2)};
	s->commit_max = first.index;
	s->committed[first.index].term = first.term;
	for (uint64_t id = 1; id <= NODES; id++) {
		struct raft_snapshot blank = {0};

		store_open(&s->m[id].store, id <= voters ? &first : &blank);
		start(s, id);
	}
}

static void
sim_close(struct sim *s)
{
	for (uint64_t id = 1; id <= NODES; id++) {
		struct node *n = &s->m[id];

		raft_free(n->raft);
		store_close(&n->store);
		work_clear(&n->append_work);
		work_clear(&n->apply_work);
		mem_free(n->append_work.v);
		mem_free(n->apply_work.v);
	}
	work_clear(&s->network);
	mem_free(s->network.v);
}

/* ---- what must hold ---- */

static void
check_node(struct sim *s, uint64_t id)
{
	const struct raft *r = s->m[id].raft;
	uint64_t term = raft_term(r);

	assert_true(term < TERM_MAX);
	if (raft_commit(r) > s->commit_max)
		s->commit_max = raft_commit(r);
	if (raft_role(r) != RAFT_LEADER)
		return;
	if (s->leader_of[term] == 0)
		s->leader_of[term] = id;
	assert_int_equal(s->leader_of[term], id);
}

static uint64_t
payload_of(const struct raft_entry *e)
{
	struct bytes data = blob_bytes(e->data);
	uint64_t value = 0;

	if (e->type == RAFT_ENTRY_NORMAL && data.len == sizeof(value))
		memcpy(&value, data.data, sizeof(value));
	return value;
}

static void
check_committed(struct sim *s, const struct raft_entry *e)
{
	assert_true(e->index < INDEX_MAX);
	if (s->committed[e->index].term == 0) {
		s->committed[e->index].term = e->term;
		s->committed[e->index].payload = payload_of(e);
	}
	assert_int_equal(s->committed[e->index].term, e->term);
	assert_int_equal(s->committed[e->index].payload, payload_of(e));
}

static void
check_durable(const struct node *n, const struct raft_entry *e)
{
	uint64_t term;

	if (e->index <= n->store.base_index)
		return; /* compacted since, or in the snapshot */
	assert_int_equal(
	    store_ops.term((void *)&n->store, e->index, &term), RAFT_OK);
	assert_int_equal(term, e->term);
}

static void
check_reads(struct sim *s, const struct raft_ready *rd)
{
	for (size_t i = 0; i < rd->read_state_count; i++) {
		struct bytes context = blob_bytes(rd->read_states[i].context);
		uint64_t number;

		assert_int_equal(context.len, sizeof(number));
		memcpy(&number, context.data, sizeof(number));
		assert_true(rd->read_states[i].index >= s->read_floor[number]);
		s->reads_answered++;
	}
}

/* ---- carrying out ---- */

static void
apply(struct sim *s, struct node *n, const struct raft_entry *e, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t newest = store_newest(&n->store)->index;
		struct raft_conf_state conf;
		struct raft_conf_change cc;

		check_committed(s, &e[i]);
		check_durable(n, &e[i]);
		if (e[i].index <= newest)
			continue; /* a snapshot was faster */
		assert_int_equal(e[i].index, newest + 1);
		if (e[i].type == RAFT_ENTRY_NORMAL) {
			store_record(&n->store, &e[i], NULL);
			continue;
		}
		assert_int_equal(raft_conf_change_decode(
				     e[i].type, blob_bytes(e[i].data), &cc),
		    RAFT_OK);
		raft_apply_conf_change(n->raft, &cc, &conf);
		store_record(&n->store, &e[i], &conf);
	}
}

static void
write_out(struct sim *s, struct node *n, const struct raft_hard_state *hs,
    const struct raft_snapshot *snap, const struct raft_entry *e, size_t count)
{
	struct store *st = &n->store;

	/* A snapshot and entries after it may come at once. */
	if (snap != NULL)
		assert_null(store_write(st, hs, snap, NULL, 0));
	assert_null(store_write(st, hs, NULL, e, count));
	if (snap == NULL)
		return;
	assert_int_equal(s->committed[snap->index].term, snap->term);
	s->snapshots++;
	if (store_newest(st)->index >= snap->index)
		return;
	/* The state machine becomes the snapshot. */
	st->history = mem_resize(
	    st->history, st->history_count + 1, sizeof(*st->history));
	st->history[st->history_count] = *snap;
	(void)blob_ref(snap->data);
	st->history_count++;
}

static void
do_ready(struct sim *s, struct node *n)
{
	static const struct raft_hard_state none;
	bool async = s->config.async_storage_writes;
	const struct raft_ready *rd;

	if (!raft_has_ready(n->raft))
		return;
	rd = raft_ready(n->raft);
	check_reads(s, rd);
	if (!async) {
		write_out(s, n, rd->has_hard_state ? &rd->hard_state : &none,
		    rd->snapshot, rd->entries, rd->entry_count);
		apply(s, n, rd->committed_entries, rd->committed_count);
	}
	for (size_t i = 0; i < rd->message_count; i++) {
		struct raft_msg *m = &rd->messages[i];

		if (m->to == RAFT_APPEND_THREAD)
			mailbox_push(&n->append_work, m);
		else if (m->to == RAFT_APPLY_THREAD)
			mailbox_push(&n->apply_work, m);
		else
			mailbox_push(&s->network, m);
	}
	if (!async)
		raft_advance(n->raft);
}

/* Responses for this node are stepped at once, others travel. */
static void
respond(struct sim *s, struct node *n, struct raft_msg *work)
{
	for (size_t i = 0; i < work->response_count; i++) {
		struct raft_msg *m = &work->responses[i];

		if (m->to == n->id)
			(void)raft_step(n->raft, m);
		else
			mailbox_push(&s->network, m);
	}
	raft_msg_free(work);
}

static struct raft_msg
shift(struct mailbox *b, size_t at)
{
	struct raft_msg m = b->v[at];

	b->count--;
	memmove(&b->v[at], &b->v[at + 1], (b->count - at) * sizeof(m));
	return m;
}

static void
do_append(struct sim *s, struct node *n)
{
	struct raft_hard_state hs;
	struct raft_msg work;

	if (n->append_work.count == 0)
		return;
	work = shift(&n->append_work, 0);
	hs = (struct raft_hard_state){work.term, work.vote, work.commit};
	write_out(s, n, &hs, work.snapshot, work.entries, work.entry_count);
	respond(s, n, &work);
}

static void
do_apply(struct sim *s, struct node *n)
{
	struct raft_msg work;

	if (n->apply_work.count == 0)
		return;
	work = shift(&n->apply_work, 0);
	apply(s, n, work.entries, work.entry_count);
	respond(s, n, &work);
}

static void
do_deliver(struct sim *s, bool faults)
{
	struct raft_msg m;
	struct raft *to;

	if (s->network.count == 0)
		return;
	m = shift(&s->network, faults && dice(s, s->calm) == 0
				   ? dice(s, (uint32_t)s->network.count)
				   : 0);
	to = m.to <= NODES ? s->m[m.to].raft : NULL;
	if (to != NULL && !(faults && dice(s, 8 * s->calm) == 0)) {
		(void)raft_step(to, &m);
		if (m.type == RAFT_MSG_SNAP && faults && dice(s, 4) == 0 &&
		    m.from <= NODES && s->m[m.from].raft != NULL)
			raft_report_snapshot(
			    s->m[m.from].raft, m.to, dice(s, 2));
		check_node(s, m.to);
		if (faults && dice(s, 8) == 0) {
			mailbox_push(&s->network, &m); /* once more, later */
			return;
		}
	}
	raft_msg_free(&m);
}

/* ---- the users ---- */

static void
do_propose(struct sim *s, struct node *n)
{
	uint64_t number = ++s->proposals;
	struct blob *data = blob_new(&number, sizeof(number));

	(void)raft_propose(n->raft, data);
	blob_unref(&data);
}

static void
do_change(struct sim *s, struct node *n)
{
	struct raft_conf_change cc = {.v1 = dice(s, 4) == 0};

	cc.count = cc.v1 ? 1 : dice(s, 4);
	if (!cc.v1)
		cc.transition = (enum raft_conf_transition)dice(s, 3);
	for (uint32_t i = 0; i < cc.count; i++) {
		cc.ops[i].op = (enum raft_conf_op)dice(s, 4);
		cc.ops[i].id = 1 + dice(s, NODES);
		if (s->steady && cc.ops[i].id <= STEADY)
			cc.ops[i].op = RAFT_CONF_ADD_VOTER;
	}
	(void)raft_propose_conf_change(n->raft, &cc);
}

static void
do_read(struct sim *s, struct node *n)
{
	struct blob *context;

	if (s->reads == READS_MAX)
		return;
	s->read_floor[s->reads] = s->commit_max;
	context = blob_new(&s->reads, sizeof(s->reads));
	s->reads++;
	(void)raft_read_index(n->raft, context);
	blob_unref(&context);
}

static void
do_compact(struct sim *s, struct node *n)
{
	struct store *st = &n->store;
	uint64_t newest = store_newest(st)->index;

	if (newest > st->base_index + 4 &&
	    newest <= st->base_index + st->entry_count)
		assert_null(store_compact(st, newest - dice(s, 4)));
}

static void
do_fault(struct sim *s, uint64_t id)
{
	struct node *n = &s->m[id];

	switch (dice(s, 7 + s->calm)) {
	case 0:
		crash(s, id);
		break;
	case 1:
		do_compact(s, n);
		break;
	case 2:
		raft_transfer_leadership(n->raft, id, 1 + dice(s, NODES));
		break;
	case 3:
		raft_report_unreachable(n->raft, 1 + dice(s, NODES));
		break;
	case 4:
		do_change(s, n);
		break;
	case 5:
		raft_forget_leader(n->raft);
		break;
	default: /* a number */
		break;
	}
}

static void
one_step(struct sim *s, bool faults)
{
	uint64_t id = 1 + dice(s, NODES);
	struct node *n = &s->m[id];
	uint32_t what = dice(s, 100);

	if (n->raft == NULL) {
		if (dice(s, 4 * s->calm) == 0 || !faults)
			start(s, id);
		return;
	}
	if (what < 45)
		do_deliver(s, faults);
	else if (what < 65)
		do_ready(s, n);
	else if (what < 75)
		do_append(s, n);
	else if (what < 83)
		do_apply(s, n);
	else if (what < 89)
		raft_tick(n->raft);
	else if (what < 94)
		do_propose(s, n);
	else if (what < 97)
		do_read(s, n);
	else if (faults)
		do_fault(s, id);
	while (s->network.count > NETWORK_MAX) {
		struct raft_msg m = shift(&s->network, 0);

		raft_msg_free(&m);
	}
	if (n->raft != NULL)
		check_node(s, id);
}

/* Everything as fast as it can, in turn. */
static void
healthy_round(struct sim *s)
{
	for (uint64_t id = 1; id <= NODES; id++) {
		struct node *n = &s->m[id];

		if (n->raft == NULL)
			start(s, id);
		if (dice(s, 4) == 0)
			raft_tick(n->raft);
		do_ready(s, n);
		while (n->append_work.count > 0)
			do_append(s, n);
		while (n->apply_work.count > 0)
			do_apply(s, n);
		check_node(s, id);
	}
	for (size_t i = s->network.count; i > 0; i--)
		do_deliver(s, false);
}

static bool
has_applied(const struct sim *s, uint64_t from, uint64_t number)
{
	for (uint64_t i = from; i <= s->commit_max; i++)
		if (s->committed[i].payload == number)
			return true;
	return false;
}

static void
describe(const struct sim *s)
{
	(void)fprintf(stderr, "seed %llu does not recover\n",
	    (unsigned long long)s->seed);
	for (uint64_t id = 1; id <= NODES; id++) {
		struct raft_status st;

		raft_status(s->m[id].raft, &st);
		(void)fprintf(stderr,
		    "%llu: %s term=%llu lead=%llu commit=%llu applied=%llu "
		    "last=%llu\n",
		    (unsigned long long)id, raft_role_name(st.soft_state.role),
		    (unsigned long long)st.hard_state.term,
		    (unsigned long long)st.soft_state.leader,
		    (unsigned long long)st.hard_state.commit,
		    (unsigned long long)st.applied,
		    (unsigned long long)st.last_index);
		(void)fprintf(stderr, "   voters:");
		for (uint32_t i = 0; i < st.conf.voters.count; i++)
			(void)fprintf(stderr, " %llu",
			    (unsigned long long)st.conf.voters.id[i]);
		(void)fprintf(stderr, " outgoing:");
		for (uint32_t i = 0; i < st.conf.voters_outgoing.count; i++)
			(void)fprintf(stderr, " %llu",
			    (unsigned long long)st.conf.voters_outgoing.id[i]);
		(void)fprintf(stderr, " learners:");
		for (uint32_t i = 0; i < st.conf.learners.count; i++)
			(void)fprintf(stderr, " %llu",
			    (unsigned long long)st.conf.learners.id[i]);
		(void)fprintf(stderr, "\n");
		for (uint32_t i = 0; i < st.progress_count; i++) {
			struct buf line = {0};

			print_progress(&line, &st.progress[i]);
			(void)fprintf(stderr, "   %.*s", (int)line.len,
			    (char *)line.data);
			buf_free(&line);
		}
	}
}

/* No faults: a proposal made from now on is committed, and every member of the
 * configuration comes to know it. */
static void
heal(struct sim *s)
{
	uint64_t from = s->commit_max;
	uint64_t number = s->proposals + 1;
	bool done = false;

	for (uint32_t i = 0; i < HEAL_STEPS / NODES && !done; i++) {
		healthy_round(s);
		if (i % 50 == 0)
			do_propose(s, &s->m[1 + dice(s, NODES)]);
		for (uint64_t k = number; k <= s->proposals && !done; k++)
			done = has_applied(s, from, k);
	}
	if (!done)
		describe(s);
	assert_true(done);
}

static void
run_seed(struct sim *s, uint64_t seed, uint64_t totals[4])
{
	sim_open(s, seed);
	for (uint32_t i = 0; i < STEPS; i++)
		one_step(s, true);
	if (s->steady)
		heal(s);
	totals[0] += s->commit_max;
	totals[1] += s->reads_answered;
	totals[2] += s->crashes;
	totals[3] += s->snapshots;
	sim_close(s);
}

static uint64_t
env_number(const char *name, uint64_t fallback)
{
	const char *value = getenv(name);

	return value == NULL ? fallback : strtoull(value, NULL, 10);
}

static void
random_clusters_stay_safe_and_recover(void **state)
{
	uint64_t one = env_number("RAFT_SEED", UINT64_MAX);
	uint64_t seeds = env_number("RAFT_SEEDS", 60);
	struct sim *s = mem_zalloc(1, sizeof(*s));
	uint64_t totals[4] = {0};

	(void)state;
	for (uint64_t seed = 0; one == UINT64_MAX && seed < seeds; seed++) {
		if (getenv("RAFT_VERBOSE") != NULL)
			(void)fprintf(
			    stderr, "seed %llu\n", (unsigned long long)seed);
		run_seed(s, seed, totals);
	}
	if (one != UINT64_MAX)
		run_seed(s, one, totals);
	print_message("commits=%llu reads=%llu crashes=%llu snapshots=%llu\n",
	    (unsigned long long)totals[0], (unsigned long long)totals[1],
	    (unsigned long long)totals[2], (unsigned long long)totals[3]);
	mem_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_clusters_stay_safe_and_recover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
