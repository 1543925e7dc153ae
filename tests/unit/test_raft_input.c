/* What other nodes send is input: nothing that arrives may end the process, and
 * what no working core could have sent is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/script/harness/store.h"

enum { SELF = 1, MESSAGES = 4000, SEEDS = 40 };

struct bench {
	struct store store;
	struct raft *raft;
	uint64_t state; /* of the generator */
};

static uint32_t
dice(struct bench *b, uint32_t n)
{
	b->state = b->state * UINT64_C(6364136223846793005) +
		   UINT64_C(1442695040888963407);
	return (uint32_t)(b->state >> 33) % n;
}

static uint32_t
dice_of(void *arg, uint32_t n)
{
	return dice(arg, n);
}

static void
bench_open(struct bench *b, uint64_t seed, bool async)
{
	struct raft_snapshot first = {.index = 2, .term = 1};
	struct raft_config c = {.id = SELF,
	    .election_ticks = 5,
	    .heartbeat_ticks = 1,
	    .storage = &store_ops,
	    .storage_arg = &b->store,
	    .applied = 2,
	    .async_storage_writes = async,
	    .max_bytes_per_msg = 100,
	    .max_inflight_msgs = 4,
	    .random = dice_of,
	    .random_arg = b};

	*b = (struct bench){.state = seed};
	c.check_quorum = dice(b, 2);
	c.pre_vote = dice(b, 2);
	first.conf.voters = (struct raft_ids){.count = 3, .id = {1, 2, 3}};
	store_open(&b->store, &first);
	b->raft = raft_new(&c);
	assert_non_null(b->raft);
}

static void
bench_close(struct bench *b)
{
	raft_free(b->raft);
	store_close(&b->store);
}

/* ---- carrying out, as raftd would ---- */

static void
apply(struct bench *b, const struct raft_entry *e, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct raft_conf_state conf;
		struct raft_conf_change cc;
		bool changed = e[i].type != RAFT_ENTRY_NORMAL &&
			       raft_conf_change_decode(e[i].type,
				   blob_bytes(e[i].data), &cc) == RAFT_OK;

		if (changed)
			raft_apply_conf_change(b->raft, &cc, &conf);
		if (e[i].index > store_newest(&b->store)->index)
			store_record(&b->store, &e[i], changed ? &conf : NULL);
	}
}

static void
write_out(struct bench *b, const struct raft_hard_state *hs,
    const struct raft_snapshot *snap, const struct raft_entry *e, size_t count)
{
	if (snap != NULL)
		assert_null(store_write(&b->store, hs, snap, NULL, 0));
	assert_null(store_write(&b->store, hs, NULL, e, count));
}

static void
do_work(struct bench *b, struct raft_msg *m)
{
	struct raft_hard_state hs = {m->term, m->vote, m->commit};

	if (m->type == RAFT_MSG_STORAGE_APPEND)
		write_out(b, &hs, m->snapshot, m->entries, m->entry_count);
	else
		apply(b, m->entries, m->entry_count);
	for (size_t i = 0; i < m->response_count; i++)
		if (m->responses[i].to == SELF)
			(void)raft_step(b->raft, &m->responses[i]);
}

static void
settle(struct bench *b, bool async)
{
	static const struct raft_hard_state none;

	for (int i = 0; i < 10 && raft_has_ready(b->raft); i++) {
		const struct raft_ready *rd = raft_ready(b->raft);

		for (size_t k = 0; async && k < rd->message_count; k++)
			if (rd->messages[k].to >= RAFT_APPLY_THREAD)
				do_work(b, &rd->messages[k]);
		if (async)
			continue;
		write_out(b, rd->has_hard_state ? &rd->hard_state : &none,
		    rd->snapshot, rd->entries, rd->entry_count);
		apply(b, rd->committed_entries, rd->committed_count);
		raft_advance(b->raft);
	}
}

/* ---- messages ---- */

/* Mostly near what would be right. */
static uint64_t
near_number(struct bench *b, uint64_t right)
{
	static const uint64_t odd[] = {0, 1, 2, UINT64_MAX, UINT64_MAX - 1,
	    (uint64_t)INT64_MAX, (uint64_t)INT64_MAX + 1};

	if (dice(b, 12) == 0)
		return odd[dice(b, 7)];
	return right + dice(b, 4) - (right > 0 ? dice(b, 2) : 0);
}

static void
random_entries(struct bench *b, struct raft_msg *m)
{
	size_t count = dice(b, 4);

	if (count == 0)
		return;
	m->entries = mem_zalloc(count, sizeof(*m->entries));
	m->entry_count = count;
	for (size_t i = 0; i < count; i++) {
		struct raft_entry *e = &m->entries[i];
		uint8_t junk[16];

		e->index =
		    dice(b, 20) ? m->index + 1 + i : near_number(b, m->index);
		e->term = dice(b, 20) ? m->log_term : near_number(b, m->term);
		if (dice(b, 3) == 0)
			e->term = m->term;
		e->type = (enum raft_entry_type)dice(b, dice(b, 30) ? 3 : 1000);
		for (size_t k = 0; k < sizeof(junk); k++)
			junk[k] = (uint8_t)dice(b, dice(b, 2) ? 3 : 256);
		if (dice(b, 2))
			e->data = blob_new(junk, dice(b, sizeof(junk)));
	}
}

static void
random_ids(struct bench *b, struct raft_ids *set)
{
	uint64_t id = 0;

	set->count = dice(b, 5);
	for (uint32_t i = 0; i < set->count; i++) {
		id += dice(b, 10) ? 1 + dice(b, 2) : 0;
		set->id[i] = id;
	}
	if (dice(b, 50) == 0)
		set->count = near_number(b, 100) > 1000 ? 1000 : 100;
}

static void
random_snapshot(struct bench *b, struct raft_msg *m)
{
	struct raft_snapshot *s;

	if (dice(b, 10) == 0)
		return;
	s = mem_zalloc(1, sizeof(*s));
	s->index = near_number(b, raft_commit(b->raft) + 1);
	s->term = near_number(b, raft_term(b->raft));
	random_ids(b, &s->conf.voters);
	if (dice(b, 2)) {
		random_ids(b, &s->conf.learners);
		random_ids(b, &s->conf.voters_outgoing);
		random_ids(b, &s->conf.learners_next);
		s->conf.auto_leave = dice(b, 2);
	} else {
		s->conf.voters = (struct raft_ids){.count = 3, .id = {1, 2, 3}};
	}
	m->snapshot = s;
}

static void
random_msg(struct bench *b, struct raft_msg *m, bool late)
{
	struct raft_status st;

	raft_status(b->raft, &st);
	*m = (struct raft_msg){
	    .type = (enum raft_msg_type)dice(b, dice(b, 50) ? 24 : 1000),
	    .to = SELF,
	    .from = dice(b, 20) ? 2 + dice(b, 2) : near_number(b, 1)};
	if (m->from >= RAFT_APPLY_THREAD)
		m->from = 7; /* raftd lets nobody use the threads' names */
	m->term = dice(b, 10) ? st.hard_state.term
			      : near_number(b, st.hard_state.term);
	/* Enough to see what comes after: not a new term every time, and the
	 * last one there is only near the end. */
	if (m->term > st.hard_state.term && dice(b, 4))
		m->term = st.hard_state.term;
	if (m->term == (uint64_t)INT64_MAX && !late)
		m->term = UINT64_MAX;
	m->index = near_number(b, st.last_index);
	m->log_term = near_number(b, st.hard_state.term);
	m->commit = near_number(b, st.hard_state.commit);
	m->vote = near_number(b, 1);
	m->reject = dice(b, 4) == 0;
	m->reject_hint = near_number(b, st.last_index);
	if (dice(b, 2))
		random_entries(b, m);
	if (m->type == RAFT_MSG_SNAP)
		random_snapshot(b, m);
	if (dice(b, 4) == 0)
		m->context = blob_new("CampaignTransfer", 8 + dice(b, 9));
}

static void
no_message_ends_the_process(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		bool async = seed % 2;
		struct bench b;
		uint32_t taken = 0;

		bench_open(&b, seed, async);
		for (int i = 0; i < MESSAGES; i++) {
			struct raft_msg m;

			random_msg(&b, &m, i > MESSAGES * 9 / 10);
			taken += raft_step(b.raft, &m) == RAFT_OK;
			raft_msg_free(&m);
			if (dice(&b, 3) == 0)
				settle(&b, async);
			if (dice(&b, 3) == 0)
				raft_tick(b.raft);
			if (dice(&b, 10) == 0)
				(void)raft_propose(b.raft, NULL);
		}
		assert_true(
		    taken > MESSAGES / 10); /* the test sees something */
		bench_close(&b);
	}
}

/* ---- one by one ---- */

static enum raft_rc
step(struct bench *b, const struct raft_msg *m)
{
	return raft_step(b->raft, m);
}

static void
append_entries_must_follow_on_each_other(void **state)
{
	struct raft_entry e[2] = {{.term = 2, .index = 3}, {2, 5, 0, NULL}};
	struct raft_msg m = {.type = RAFT_MSG_APP,
	    .from = 2,
	    .term = 2,
	    .log_term = 1,
	    .index = 2,
	    .entries = e,
	    .entry_count = 2};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	e[1].index = 4;
	e[1].term = 1; /* terms do not fall */
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	e[1].term = 3; /* nor are they ahead of the sender's */
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	e[1].term = 2;
	assert_int_equal(step(&b, &m), RAFT_OK);
	bench_close(&b);
}

static void
a_heartbeat_cannot_commit_beyond_the_log(void **state)
{
	struct raft_msg m = {
	    .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .commit = 3};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	assert_int_equal(raft_commit(b.raft), 2);
	bench_close(&b);
}

/* Node 1 leads term 1, with entry 3 that only it has. */
static void
lead(struct bench *b)
{
	struct raft_msg vote = {
	    .type = RAFT_MSG_VOTE_RESP, .from = 2, .term = 1};

	assert_int_equal(raft_campaign(b->raft), RAFT_OK);
	settle(b, false);
	if (raft_role(b->raft) == RAFT_PRE_CANDIDATE) { /* as the seed has it */
		vote.type = RAFT_MSG_PRE_VOTE_RESP;
		assert_int_equal(step(b, &vote), RAFT_OK);
		vote.type = RAFT_MSG_VOTE_RESP;
		settle(b, false);
	}
	assert_int_equal(step(b, &vote), RAFT_OK);
	assert_int_equal(raft_role(b->raft), RAFT_LEADER);
	settle(b, false);
}

/* Nobody can have of a term what its leader has not. */
static void
an_acknowledgement_beyond_the_log_is_refused(void **state)
{
	struct raft_msg ack = {
	    .type = RAFT_MSG_APP_RESP, .from = 2, .term = 1, .index = 4};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	lead(&b);
	assert_int_equal(step(&b, &ack), RAFT_STEP_MALFORMED);
	ack.index = 3; /* the first entry of the term */
	assert_int_equal(step(&b, &ack), RAFT_OK);
	assert_int_equal(raft_commit(b.raft), 3);
	bench_close(&b);
}

/* Who has no term yet has nothing that is not committed. */
static void
an_answer_of_no_term_acknowledges_what_is_committed(void **state)
{
	struct raft_msg ack = {
	    .type = RAFT_MSG_APP_RESP, .from = 2, .index = 3};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	lead(&b);
	assert_int_equal(step(&b, &ack), RAFT_STEP_MALFORMED);
	assert_int_equal(raft_commit(b.raft), 2);
	ack.index = 2;
	assert_int_equal(step(&b, &ack), RAFT_OK);
	ack.reject = true;
	assert_int_equal(step(&b, &ack), RAFT_STEP_MALFORMED);
	bench_close(&b);
}

/* What a snapshot holds is committed, and so right in any term; but no
 * candidate gives way to one of none (thesis 3.4). */
static void
a_snapshot_of_no_term_is_heard_by_followers(void **state)
{
	struct raft_snapshot s = {.index = 10, .term = 2};
	struct raft_msg beat = {
	    .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 5};
	struct raft_msg m = {.type = RAFT_MSG_SNAP, .from = 3, .snapshot = &s};
	struct raft_status st;
	struct bench b;

	(void)state;
	s.conf.voters = (struct raft_ids){.count = 3, .id = {1, 2, 3}};
	bench_open(&b, 1, false);
	assert_int_equal(step(&b, &beat), RAFT_OK);
	assert_int_equal(raft_campaign(b.raft), RAFT_OK);
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	beat.term = raft_term(b.raft);
	assert_int_equal(step(&b, &beat), RAFT_OK);
	assert_int_equal(step(&b, &m), RAFT_OK);
	raft_status(b.raft, &st);
	assert_int_equal(st.last_index, 10);
	bench_close(&b);
}

/* A leader does not step down for itself. */
static void
a_snapshot_of_the_own_name_is_ignored(void **state)
{
	struct raft_snapshot s = {.index = 10, .term = 2};
	struct raft_msg m = {
	    .type = RAFT_MSG_SNAP, .from = SELF, .term = 2, .snapshot = &s};
	struct bench b;

	(void)state;
	s.conf.voters = (struct raft_ids){.count = 3, .id = {1, 2, 3}};
	bench_open(&b, 1, false);
	lead(&b);
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	m.term = 1;
	assert_int_equal(step(&b, &m), RAFT_OK);
	assert_int_equal(raft_role(b.raft), RAFT_LEADER);
	assert_int_equal(raft_commit(b.raft), 2);
	bench_close(&b);
}

/* Nobody else has this node's name. */
static void
requests_of_the_own_name_are_refused(void **state)
{
	static const enum raft_msg_type types[] = {RAFT_MSG_VOTE,
	    RAFT_MSG_PRE_VOTE, RAFT_MSG_APP, RAFT_MSG_HEARTBEAT,
	    RAFT_MSG_TIMEOUT_NOW, RAFT_MSG_HEARTBEAT_RESP};
	struct raft_msg m = {
	    .from = SELF, .term = 2, .log_term = 1, .index = 2};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		m.type = types[i];
		assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	}
	assert_int_equal(raft_term(b.raft), 0);
	bench_close(&b);
}

static void
what_was_not_handed_out_cannot_have_been_applied(void **state)
{
	struct raft_entry e = {.term = 1, .index = 3};
	struct raft_msg m = {.type = RAFT_MSG_STORAGE_APPLY_RESP,
	    .from = RAFT_APPLY_THREAD,
	    .to = SELF,
	    .entries = &e,
	    .entry_count = 1};
	struct bench b;

	(void)state;
	bench_open(&b, 1, true);
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	e.index = 2;
	assert_int_equal(step(&b, &m), RAFT_OK);
	bench_close(&b);
}

static void
local_messages_and_strangers_are_refused(void **state)
{
	struct raft_msg hup = {.type = RAFT_MSG_HUP, .from = 2};
	struct raft_msg resp = {
	    .type = RAFT_MSG_APP_RESP, .from = 9, .term = 1};
	struct raft_msg unknown = {
	    .type = (enum raft_msg_type)77, .from = 2, .term = 1};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	assert_int_equal(step(&b, &hup), RAFT_STEP_LOCAL);
	assert_int_equal(step(&b, &resp), RAFT_STEP_UNKNOWN_PEER);
	assert_int_equal(step(&b, &unknown), RAFT_STEP_MALFORMED);
	assert_int_equal(raft_term(b.raft), 0);
	bench_close(&b);
}

static void
a_message_of_no_term_cannot_bring_a_node_back_to_term_0(void **state)
{
	struct raft_msg beat = {
	    .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 5};
	struct raft_msg m = {.type = RAFT_MSG_APP, .from = 2};
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	assert_int_equal(step(&b, &beat), RAFT_OK);
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	assert_int_equal(raft_term(b.raft), 5);
	bench_close(&b);
}

static void
a_snapshot_with_an_impossible_configuration_changes_nothing(void **state)
{
	struct raft_snapshot s = {.index = 10, .term = 2};
	struct raft_msg m = {
	    .type = RAFT_MSG_SNAP, .from = 2, .term = 2, .snapshot = &s};
	struct raft_status st;
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	s.conf.voters = (struct raft_ids){.count = 2, .id = {1, 2}};
	s.conf.learners = (struct raft_ids){.count = 1, .id = {2}};
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	s.conf.learners.count = RAFT_IDS_MAX + 1;
	assert_int_equal(step(&b, &m), RAFT_STEP_MALFORMED);
	raft_status(b.raft, &st);
	assert_int_equal(st.last_index, 2);
	assert_int_equal(st.conf.voters.count, 3);
	bench_close(&b);
}

/* ---- the payload of a configuration change ---- */

static void
a_change_survives_encoding(void **state)
{
	struct raft_conf_change cc = {.transition = RAFT_CONF_EXPLICIT,
	    .count = 2,
	    .ops = {{RAFT_CONF_ADD_LEARNER, 7},
		{RAFT_CONF_REMOVE, UINT64_MAX / 3}},
	    .context = bytes_of_str("host:1")};
	struct raft_conf_change back;
	struct blob *data = raft_conf_change_encode(&cc);

	(void)state;
	assert_int_equal(raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE_V2,
			     blob_bytes(data), &back),
	    RAFT_OK);
	assert_int_equal(back.transition, cc.transition);
	assert_int_equal(back.count, 2);
	assert_int_equal(back.ops[1].op, RAFT_CONF_REMOVE);
	assert_int_equal(back.ops[1].id, UINT64_MAX / 3);
	assert_true(bytes_equal(back.context, cc.context));
	/* The type of the entry says which kind it must be. */
	assert_int_equal(raft_conf_change_decode(
			     RAFT_ENTRY_CONF_CHANGE, blob_bytes(data), &back),
	    RAFT_CONF_INVALID);
	blob_unref(&data);
}

static void
leaving_a_joint_configuration_has_no_payload(void **state)
{
	struct raft_conf_change cc = {0};

	(void)state;
	assert_null(raft_conf_change_encode(&cc));
	assert_int_equal(raft_conf_change_decode(
			     RAFT_ENTRY_CONF_CHANGE_V2, bytes_of(NULL, 0), &cc),
	    RAFT_OK);
	assert_int_equal(cc.count, 0);
}

static void
a_short_or_wrong_change_is_refused(void **state)
{
	struct raft_conf_change cc = {
	    .v1 = true, .count = 1, .ops = {{RAFT_CONF_ADD_VOTER, 4}}};
	struct raft_conf_change back;
	struct blob *data = raft_conf_change_encode(&cc);

	(void)state;
	for (size_t len = 0; len < data->len; len++)
		assert_int_equal(raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE,
				     bytes_of(data->data, len), &back),
		    RAFT_CONF_INVALID);
	for (size_t at = 0; at < 5; at++) { /* head, and the operation */
		data->data[at] ^= 0x40;
		assert_int_equal(raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE,
				     blob_bytes(data), &back),
		    RAFT_CONF_INVALID);
		data->data[at] ^= 0x40;
	}
	blob_unref(&data);
}

static void
a_configuration_never_outgrows_its_sets(void **state)
{
	struct raft_conf_change cc = {.count = 1};
	struct raft_conf_state conf;
	struct bench b;

	(void)state;
	bench_open(&b, 1, false);
	for (uint64_t id = 4; id < 300; id++) {
		cc.ops[0] = (struct raft_conf_step){
		    id % 2 ? RAFT_CONF_ADD_VOTER : RAFT_CONF_ADD_LEARNER, id};
		raft_apply_conf_change(b.raft, &cc, &conf);
	}
	assert_int_equal(conf.voters.count, RAFT_IDS_MAX);
	assert_int_equal(conf.learners.count, RAFT_IDS_MAX);
	bench_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_message_ends_the_process),
	    cmocka_unit_test(append_entries_must_follow_on_each_other),
	    cmocka_unit_test(a_heartbeat_cannot_commit_beyond_the_log),
	    cmocka_unit_test(an_acknowledgement_beyond_the_log_is_refused),
	    cmocka_unit_test(
		an_answer_of_no_term_acknowledges_what_is_committed),
	    cmocka_unit_test(a_snapshot_of_no_term_is_heard_by_followers),
	    cmocka_unit_test(a_snapshot_of_the_own_name_is_ignored),
	    cmocka_unit_test(requests_of_the_own_name_are_refused),
	    cmocka_unit_test(what_was_not_handed_out_cannot_have_been_applied),
	    cmocka_unit_test(local_messages_and_strangers_are_refused),
	    cmocka_unit_test(
		a_message_of_no_term_cannot_bring_a_node_back_to_term_0),
	    cmocka_unit_test(
		a_snapshot_with_an_impossible_configuration_changes_nothing),
	    cmocka_unit_test(a_change_survives_encoding),
	    cmocka_unit_test(leaving_a_joint_configuration_has_no_payload),
	    cmocka_unit_test(a_short_or_wrong_change_is_refused),
	    cmocka_unit_test(a_configuration_never_outgrows_its_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
