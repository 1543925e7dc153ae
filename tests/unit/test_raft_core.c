/* Parts of the core on their own: windows, progress, quorums, what is lent out
 * and what is refused at the start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raftd/raft/core.h"
#include "tests/script/harness/store.h"

/* ---- the window ---- */

static void
a_window_keeps_its_order_while_it_grows_and_turns(void **state)
{
	struct inflights window = {.count_max = 50};
	struct inflights *in = &window;
	uint64_t next = 1;
	uint64_t oldest = 1;

	(void)state;
	for (int turn = 0; turn < 200; turn++) {
		while (!inflights_full(in) && next % 7 != 0)
			inflights_add(in, next++, 1);
		next++;
		inflights_free_le(in, oldest - 1); /* nothing */
		oldest += 3;
		inflights_free_le(in, oldest - 1);
		assert_true(in->count <= 50);
		if (in->count > 0)
			assert_true(in->ring[in->start].index >= oldest);
		assert_int_equal(in->bytes, in->count);
	}
	inflights_clear(in);
	assert_int_equal(in->bytes, 0);
	free(in->ring);
}

static void
a_window_is_full_by_messages_or_by_bytes(void **state)
{
	struct inflights in = {.count_max = 3, .bytes_max = 10};

	(void)state;
	inflights_add(&in, 1, 9);
	assert_false(inflights_full(&in));
	inflights_add(&in, 2, 9); /* may go beyond once */
	assert_true(inflights_full(&in));
	inflights_free_le(&in, 1);
	inflights_add(&in, 3, 0);
	inflights_add(&in, 4, 0);
	assert_true(inflights_full(&in)); /* three messages */
	free(in.ring);
}

/* Its last entry says when an append is acknowledged. */
static void
an_append_is_on_its_way_until_its_last_entry_is_acknowledged(void **state)
{
	struct progress pr = {
	    .state = RAFT_PROGRESS_REPLICATE, .match = 4, .next = 5};

	(void)state;
	pr.inflights.count_max = 2;
	progress_sent(&pr, 3, 30);
	assert_int_equal(pr.next, 8);
	inflights_free_le(&pr.inflights, 6);
	assert_int_equal(pr.inflights.count, 1);
	inflights_free_le(&pr.inflights, 7);
	assert_int_equal(pr.inflights.count, 0);
	free(pr.inflights.ring);
}

/* ---- progress ---- */

static void
a_rejection_at_or_below_match_is_stale(void **state)
{
	struct progress pr = {.state = RAFT_PROGRESS_REPLICATE,
	    .match = 5,
	    .next = 10,
	    .sent_commit = 9};

	(void)state;
	assert_false(progress_decrease(&pr, 5, 3));
	assert_false(progress_decrease(&pr, 4, 3));
	assert_int_equal(pr.next, 10);
	/* The hint is not used: all above match is in doubt. */
	assert_true(progress_decrease(&pr, 8, 7));
	assert_int_equal(pr.next, 6);
	assert_int_equal(pr.sent_commit, 5);
}

static void
a_rejection_of_another_probe_is_stale(void **state)
{
	struct progress pr = {.state = RAFT_PROGRESS_PROBE,
	    .match = 2,
	    .next = 10,
	    .flow_paused = true};

	(void)state;
	assert_false(progress_decrease(&pr, 8, 3));
	assert_true(pr.flow_paused);
	assert_true(progress_decrease(&pr, 9, 6));
	assert_int_equal(pr.next, 7);
	assert_false(pr.flow_paused);
	/* Never to or below match, and never beyond what was rejected. */
	assert_true(progress_decrease(&pr, 6, 0));
	assert_int_equal(pr.next, 3);
	pr.next = 10;
	assert_true(progress_decrease(&pr, 9, UINT64_MAX));
	assert_int_equal(pr.next, 3);
	pr.next = 10;
	assert_true(progress_decrease(&pr, 9, 20));
	assert_int_equal(pr.next, 9);
}

/* What was told with appends that are lost was not told; what lies below is. */
static void
a_probe_forgets_what_was_told_above_match(void **state)
{
	struct progress pr = {.state = RAFT_PROGRESS_REPLICATE,
	    .match = 5,
	    .next = 10,
	    .sent_commit = 9};

	(void)state;
	progress_become_probe(&pr);
	assert_int_equal(pr.next, 6);
	assert_int_equal(pr.sent_commit, 5);
	pr.sent_commit = 3;
	progress_become_probe(&pr);
	assert_int_equal(pr.sent_commit, 3);
}

/* A commit index beyond all that was sent is of no use to a node. */
static void
a_node_can_use_a_commit_index_that_it_has_entries_for(void **state)
{
	struct progress pr = {.next = 6, .sent_commit = 4};

	(void)state;
	assert_true(progress_can_bump_commit(&pr, 5));
	assert_true(progress_can_bump_commit(&pr, 9));
	assert_false(progress_can_bump_commit(&pr, 4));
	pr.sent_commit = 5;
	assert_false(progress_can_bump_commit(&pr, 9));
}

/* Thesis 3.4: who has answered has answered. */
static void
the_first_answer_of_a_voter_counts(void **state)
{
	struct progress prs[1] = {{.id = 1}};
	struct tracker t = {.prs = prs, .count = 1};

	(void)state;
	t.conf.voters = (struct raft_ids){.count = 1, .id = {1}};
	tracker_record_vote(&t, 9, true); /* nobody */
	assert_int_equal(tracker_vote_result(&t), VOTE_PENDING);
	tracker_record_vote(&t, 1, false);
	tracker_record_vote(&t, 1, true);
	assert_int_equal(tracker_vote_result(&t), VOTE_LOST);
}

/* ---- quorums ---- */

struct values {
	uint64_t of[8];
};

static uint64_t
value_of(const void *arg, uint64_t id)
{
	return ((const struct values *)arg)->of[id];
}

static enum vote
vote_of(const void *arg, uint64_t id)
{
	return (enum vote)((const struct values *)arg)->of[id];
}

/* The definition: the largest index that more than half of the voters have. */
static uint64_t
committed_by_counting(const struct raft_ids *set, const struct values *v)
{
	uint64_t best = 0;

	for (uint64_t index = 1; index < 4; index++) {
		uint32_t have = 0;

		for (uint32_t i = 0; i < set->count; i++)
			have += v->of[set->id[i]] >= index;
		if (have * 2 > set->count)
			best = index;
	}
	return best;
}

static void
committed_is_what_a_majority_has(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 7; n++) {
		struct raft_ids set = {.count = n};

		for (uint32_t i = 0; i < n; i++)
			set.id[i] = i + 1;
		for (uint32_t k = 0; k < 16384; k++) { /* 4^7 */
			struct values v;

			for (uint32_t i = 0; i < 8; i++)
				v.of[i] = i == 0 ? 0 : k >> (2 * (i - 1)) & 3;
			assert_int_equal(quorum_committed(&set, value_of, &v),
			    committed_by_counting(&set, &v));
		}
	}
}

static void
a_joint_vote_is_lost_with_one_half(void **state)
{
	struct raft_ids a = {.count = 3, .id = {1, 2, 3}};
	struct raft_ids b = {.count = 3, .id = {3, 4, 5}};
	struct raft_ids none = {.count = 0};
	struct values v = {{0, VOTE_YES, VOTE_YES, 0, VOTE_NO, VOTE_NO}};

	(void)state;
	assert_int_equal(quorum_vote(&a, vote_of, &v), VOTE_WON);
	assert_int_equal(quorum_joint_vote(&a, &b, vote_of, &v), VOTE_LOST);
	assert_int_equal(quorum_joint_vote(&b, &a, vote_of, &v), VOTE_LOST);
	v.of[5] = VOTE_NONE;
	assert_int_equal(quorum_joint_vote(&a, &b, vote_of, &v), VOTE_PENDING);
	assert_int_equal(quorum_joint_vote(&a, &none, vote_of, &v), VOTE_WON);
}

static void
a_set_is_ascending_and_holds_no_reserved_id(void **state)
{
	struct raft_ids set = {.count = 3, .id = {1, 2, 7}};

	(void)state;
	assert_true(ids_valid(&set));
	set.id[2] = 2;
	assert_false(ids_valid(&set));
	set.id[2] = 1;
	assert_false(ids_valid(&set));
	set.id[2] = RAFT_APPLY_THREAD;
	assert_false(ids_valid(&set));
	set.id[2] = RAFT_APPEND_THREAD;
	assert_false(ids_valid(&set));
	set.id[2] = RAFT_APPLY_THREAD - 1;
	assert_true(ids_valid(&set));
	set.id[0] = RAFT_NONE;
	assert_false(ids_valid(&set));
	set.count = RAFT_IDS_MAX + 1;
	assert_false(ids_valid(&set));
}

/* ---- the core as a whole ---- */

static uint32_t
no_random(void *arg, uint32_t n)
{
	(void)arg;
	(void)n;
	return 0;
}

static struct raft_config
config_of(struct store *s)
{
	return (struct raft_config){.id = 1,
	    .election_ticks = 10,
	    .heartbeat_ticks = 1,
	    .storage = &store_ops,
	    .storage_arg = s,
	    .max_bytes_per_msg = RAFT_NO_LIMIT,
	    .max_inflight_msgs = 8,
	    .random = no_random};
}

static void
store_of_two(struct store *s)
{
	struct raft_snapshot first = {.index = 2, .term = 1};

	first.conf.voters = (struct raft_ids){.count = 2, .id = {1, 2}};
	store_open(s, &first);
}

static void
a_configuration_that_contradicts_itself_is_refused(void **state)
{
	struct raft_config good;
	struct raft_config c;
	struct store s;
	struct raft *r;

	(void)state;
	store_of_two(&s);
	good = config_of(&s);
	r = raft_new(&good);
	assert_non_null(r);
	raft_free(r);
	raft_free(NULL);

	c = good;
	c.id = RAFT_NONE;
	assert_null(raft_new(&c));
	c = good;
	c.id = RAFT_APPLY_THREAD;
	assert_null(raft_new(&c));
	c = good;
	c.heartbeat_ticks = 10;
	assert_null(raft_new(&c));
	c.heartbeat_ticks = 0;
	assert_null(raft_new(&c));
	c = good;
	c.election_ticks = UINT32_MAX; /* twice it would overflow */
	assert_null(raft_new(&c));
	c = good;
	c.storage = NULL;
	assert_null(raft_new(&c));
	c = good;
	c.random = NULL;
	assert_null(raft_new(&c));
	c = good;
	c.max_inflight_msgs = 0;
	assert_null(raft_new(&c));
	c = good;
	c.read_mode = RAFT_READ_LEASE;
	assert_null(raft_new(&c));
	c = good;
	c.max_inflight_bytes = 1;
	assert_null(raft_new(&c));
	c = good;
	c.applied = 3; /* not committed */
	assert_null(raft_new(&c));
	c.applied = 1; /* compacted: what lies between is gone */
	assert_null(raft_new(&c));
	s.hard_state.commit = 3; /* beyond the log */
	assert_null(raft_new(&good));
	store_close(&s);
}

/* Thesis 3.8: or it might vote twice in a term. */
static void
a_node_that_starts_again_knows_its_term_and_its_vote(void **state)
{
	struct raft_status st;
	struct raft_config c;
	struct store s;
	struct raft *r;

	(void)state;
	store_of_two(&s);
	s.hard_state =
	    (struct raft_hard_state){.term = 7, .vote = 2, .commit = 2};
	c = config_of(&s);
	r = raft_new(&c);
	assert_non_null(r);
	raft_status(r, &st);
	assert_int_equal(st.hard_state.term, 7);
	assert_int_equal(st.hard_state.vote, 2);
	assert_int_equal(st.hard_state.commit, 2);
	assert_false(raft_has_ready(r));
	raft_free(r);
	store_close(&s);
}

/* The messages of a raft_ready may be taken out of it, and outlive it. */
static void
a_message_can_be_moved_out(void **state)
{
	struct raft_msg kept;
	const struct raft_ready *rd;
	struct raft_config c;
	struct store s;
	struct raft *r;

	(void)state;
	store_of_two(&s);
	c = config_of(&s);
	c.async_storage_writes = true;
	r = raft_new(&c);
	assert_non_null(r);
	assert_false(raft_has_ready(r));
	assert_int_equal(raft_campaign(r), RAFT_OK);
	assert_true(raft_has_ready(r));
	rd = raft_ready(r);
	assert_int_equal(rd->message_count, 2); /* a vote, and the write */
	raft_msg_move(&kept, &rd->messages[1]);
	assert_false(raft_has_ready(r));
	raft_free(r);
	assert_int_equal(kept.type, RAFT_MSG_STORAGE_APPEND);
	assert_int_equal(kept.response_count, 1);
	assert_int_equal(kept.responses[0].type, RAFT_MSG_VOTE_RESP);
	raft_msg_free(&kept);
	store_close(&s);
}

static void
a_refused_proposal_keeps_nothing(void **state)
{
	struct blob *data = blob_new("x", 1);
	struct raft_config c;
	struct store s;
	struct raft *r;

	(void)state;
	store_of_two(&s);
	c = config_of(&s);
	r = raft_new(&c);
	assert_non_null(r);
	assert_int_equal(raft_propose(r, data), RAFT_DROPPED);
	assert_int_equal(raft_read_index(r, data), RAFT_DROPPED);
	assert_int_equal(data->refs, 1);
	assert_false(raft_has_ready(r));
	blob_unref(&data);
	raft_free(r);
	store_close(&s);
}

/* ---- time ---- */

static uint32_t
most_random(void *arg, uint32_t n)
{
	(void)arg;
	return n - 1;
}

static uint32_t
ticks_to_campaign(struct raft_config *c)
{
	struct raft *r = raft_new(c);
	uint32_t ticks = 0;

	assert_non_null(r);
	for (; raft_role(r) == RAFT_FOLLOWER && ticks < 100; ticks++)
		raft_tick(r);
	raft_free(r);
	return ticks;
}

/* Thesis 3.4: from one timeout to just below two, so that votes are seldom
 * split. */
static void
election_timeouts_are_spread(void **state)
{
	struct raft_config c;
	struct store s;

	(void)state;
	store_of_two(&s);
	c = config_of(&s);
	assert_int_equal(ticks_to_campaign(&c), 10);
	c.random = most_random;
	assert_int_equal(ticks_to_campaign(&c), 19);
	store_close(&s);
}

/* ---- what does not show in scripts: what is proposed at once, and what
 * heartbeats carry ---- */

static void
carry_out(struct raft *r, struct store *s)
{
	static const struct raft_hard_state none;
	const struct raft_ready *rd = raft_ready(r);

	assert_null(store_write(s, rd->has_hard_state ? &rd->hard_state : &none,
	    NULL, rd->entries, rd->entry_count));
	raft_advance(r);
}

/* Node 1 of five leads term 1, and has committed its first entry, 3. */
static struct raft *
leader_of_five(struct store *s)
{
	struct raft_snapshot first = {.index = 2, .term = 1};
	struct raft_msg m = {.type = RAFT_MSG_VOTE_RESP, .term = 1};
	struct raft_config c;
	struct raft *r;

	first.conf.voters =
	    (struct raft_ids){.count = 5, .id = {1, 2, 3, 4, 5}};
	store_open(s, &first);
	c = config_of(s);
	r = raft_new(&c);
	assert_non_null(r);
	assert_int_equal(raft_campaign(r), RAFT_OK);
	carry_out(r, s);
	for (m.from = 2; m.from <= 3; m.from++)
		assert_int_equal(raft_step(r, &m), RAFT_OK);
	carry_out(r, s);
	m.type = RAFT_MSG_APP_RESP;
	m.index = 3;
	for (m.from = 2; m.from <= 3; m.from++)
		assert_int_equal(raft_step(r, &m), RAFT_OK);
	carry_out(r, s);
	assert_int_equal(raft_commit(r), 3);
	return r;
}

/* A proposal may bring several entries, and changes among them: of those one
 * at a time (thesis 4.1). */
static void
several_entries_are_proposed_at_once(void **state)
{
	struct raft_conf_change cc = {
	    .count = 1, .ops = {{RAFT_CONF_ADD_LEARNER, 9}}};
	struct raft_entry e[4] = {{.type = RAFT_ENTRY_NORMAL},
	    {.type = RAFT_ENTRY_CONF_CHANGE_V2},
	    {.type = RAFT_ENTRY_CONF_CHANGE_V2}, {.type = RAFT_ENTRY_NORMAL}};
	struct raft_msg m = {
	    .type = RAFT_MSG_PROP, .from = 2, .entries = e, .entry_count = 4};
	const struct raft_ready *rd;
	struct store s;
	struct raft *r;

	(void)state;
	r = leader_of_five(&s);
	e[0].data = blob_new("a", 1);
	e[1].data = raft_conf_change_encode(&cc);
	e[2].data = e[1].data;
	assert_int_equal(raft_step(r, &m), RAFT_OK);
	rd = raft_ready(r);
	assert_int_equal(rd->entry_count, 4);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(rd->entries[i].index, 4 + i);
	assert_ptr_equal(rd->entries[0].data, e[0].data);
	assert_int_equal(rd->entries[1].type, RAFT_ENTRY_CONF_CHANGE_V2);
	assert_int_equal(rd->entries[2].type, RAFT_ENTRY_NORMAL);
	assert_null(rd->entries[2].data);
	assert_int_equal(e[2].type, RAFT_ENTRY_CONF_CHANGE_V2); /* borrowed */
	assert_null(store_write(&s, &rd->hard_state, NULL, rd->entries, 4));
	raft_advance(r);
	/* With one that cannot be read, none is taken. */
	e[1].data->data[0] ^= 0x40;
	assert_int_equal(raft_step(r, &m), RAFT_STEP_MALFORMED);
	assert_false(raft_has_ready(r));
	blob_unref(&e[0].data);
	blob_unref(&e[1].data);
	raft_free(r);
	store_close(&s);
}

static void
read_on(struct raft *r)
{
	struct blob *context = blob_new("r", 1);

	assert_int_equal(raft_read_index(r, context), RAFT_OK);
	blob_unref(&context);
}

/* The number of reads that a heartbeat of now carries, or 0. */
static uint8_t
reads_on_heartbeat(struct raft *r)
{
	const struct raft_ready *rd;
	struct bytes context;
	uint8_t reads;

	raft_tick(r);
	rd = raft_ready(r);
	assert_true(rd->message_count > 0);
	assert_int_equal(
	    rd->messages[rd->message_count - 1].type, RAFT_MSG_HEARTBEAT);
	context = blob_bytes(rd->messages[rd->message_count - 1].context);
	reads = context.len == 0 ? 0 : context.data[0];
	raft_advance(r);
	return reads;
}

static void
acknowledge_reads(struct raft *r, uint64_t from, uint8_t count)
{
	const uint8_t counter[8] = {count};
	struct raft_msg m = {
	    .type = RAFT_MSG_HEARTBEAT_RESP, .from = from, .term = 1};

	m.context = blob_new(counter, sizeof(counter));
	assert_int_equal(raft_step(r, &m), RAFT_OK);
	blob_unref(&m.context);
}

static size_t
reads_answered(struct raft *r)
{
	size_t count = raft_ready(r)->read_state_count;

	raft_advance(r);
	return count;
}

/* Thesis 6.4. */
static void
a_heartbeat_carries_the_reads_that_wait(void **state)
{
	struct store s;
	struct raft *r;

	(void)state;
	r = leader_of_five(&s);
	assert_int_equal(reads_on_heartbeat(r), 0);
	read_on(r);
	read_on(r);
	assert_int_equal(reads_on_heartbeat(r), 2);
	acknowledge_reads(r, 2, 2);
	acknowledge_reads(r, 3, 2);
	assert_int_equal(reads_answered(r), 2);
	assert_int_equal(reads_on_heartbeat(r), 0);
	raft_free(r);
	store_close(&s);
}

/* Thesis 6.4: answers may come in any order. */
static void
an_older_acknowledgement_of_reads_takes_nothing_away(void **state)
{
	struct store s;
	struct raft *r;

	(void)state;
	r = leader_of_five(&s);
	read_on(r);
	read_on(r);
	acknowledge_reads(r, 2, 2);
	acknowledge_reads(r, 2, 1);
	assert_int_equal(reads_answered(r), 0);
	acknowledge_reads(r, 3, 9); /* of nothing that was sent */
	assert_int_equal(reads_answered(r), 0);
	acknowledge_reads(r, 3, 2);
	assert_int_equal(reads_answered(r), 2);
	raft_free(r);
	store_close(&s);
}

/* ---- a storage that has no snapshot now ---- */

static enum raft_rc
no_snapshot(void *arg, struct raft_snapshot *out)
{
	(void)arg;
	(void)out;
	return RAFT_UNAVAILABLE;
}

static enum raft_rc
empty_snapshot(void *arg, struct raft_snapshot *out)
{
	(void)arg;
	*out = (struct raft_snapshot){0};
	return RAFT_OK;
}

static size_t
snapshots_sent(struct raft *r)
{
	const struct raft_ready *rd = raft_ready(r);
	size_t count = 0;

	for (size_t i = 0; i < rd->message_count; i++)
		count += rd->messages[i].type == RAFT_MSG_SNAP;
	raft_advance(r);
	return count;
}

/* Nothing is sent to the node, and its answer to a heartbeat tries again. */
static void
a_snapshot_that_is_not_there_is_sent_later(void **state)
{
	struct raft_storage_ops ops = store_ops;
	struct raft_msg m = {
	    .type = RAFT_MSG_HEARTBEAT_RESP, .from = 4, .term = 1};
	struct store s;
	struct raft *r;

	(void)state;
	r = leader_of_five(&s);
	assert_null(store_compact(&s, 3));
	r->log.ops = &ops;
	ops.snapshot = no_snapshot;
	assert_int_equal(raft_step(r, &m), RAFT_OK);
	assert_int_equal(snapshots_sent(r), 0);
	ops.snapshot = empty_snapshot;
	assert_int_equal(raft_step(r, &m), RAFT_OK);
	assert_int_equal(snapshots_sent(r), 0);
	ops.snapshot = store_ops.snapshot;
	assert_int_equal(raft_step(r, &m), RAFT_OK);
	assert_int_equal(snapshots_sent(r), 1);
	raft_free(r);
	store_close(&s);
}

static void
an_entry_is_measured_as_protobuf_encodes_it(void **state)
{
	struct blob *data = blob_new(NULL, 200);
	struct raft_entry e = {.term = 1, .index = 127};

	(void)state;
	assert_int_equal(raft_entry_size(&e), 4);
	e.index = 128;
	assert_int_equal(raft_entry_size(&e), 5);
	e.type = RAFT_ENTRY_CONF_CHANGE_V2;
	assert_int_equal(raft_entry_size(&e), 7);
	e.data = data;
	assert_int_equal(raft_entry_size(&e), 7 + 1 + 2 + 200);
	blob_unref(&data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_window_keeps_its_order_while_it_grows_and_turns),
	    cmocka_unit_test(a_window_is_full_by_messages_or_by_bytes),
	    cmocka_unit_test(
		an_append_is_on_its_way_until_its_last_entry_is_acknowledged),
	    cmocka_unit_test(a_rejection_at_or_below_match_is_stale),
	    cmocka_unit_test(a_rejection_of_another_probe_is_stale),
	    cmocka_unit_test(a_probe_forgets_what_was_told_above_match),
	    cmocka_unit_test(
		a_node_can_use_a_commit_index_that_it_has_entries_for),
	    cmocka_unit_test(the_first_answer_of_a_voter_counts),
	    cmocka_unit_test(committed_is_what_a_majority_has),
	    cmocka_unit_test(a_joint_vote_is_lost_with_one_half),
	    cmocka_unit_test(a_set_is_ascending_and_holds_no_reserved_id),
	    cmocka_unit_test(
		a_configuration_that_contradicts_itself_is_refused),
	    cmocka_unit_test(
		a_node_that_starts_again_knows_its_term_and_its_vote),
	    cmocka_unit_test(a_message_can_be_moved_out),
	    cmocka_unit_test(a_refused_proposal_keeps_nothing),
	    cmocka_unit_test(election_timeouts_are_spread),
	    cmocka_unit_test(several_entries_are_proposed_at_once),
	    cmocka_unit_test(a_heartbeat_carries_the_reads_that_wait),
	    cmocka_unit_test(
		an_older_acknowledgement_of_reads_takes_nothing_away),
	    cmocka_unit_test(a_snapshot_that_is_not_there_is_sent_later),
	    cmocka_unit_test(an_entry_is_measured_as_protobuf_encodes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
