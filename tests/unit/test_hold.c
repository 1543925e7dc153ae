/* What may wait on the way to a peer: raftd/hold.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raftd/hold.h"

static const struct mono now = {.ns = UINT64_C(1000000000)};

static struct raft_msg
app(uint64_t term, uint64_t index, uint64_t commit)
{
	return (struct raft_msg){.type = RAFT_MSG_APP,
	    .term = term,
	    .index = index,
	    .commit = commit};
}

static void
news_of_the_commit_index_wait_and_the_last_ones_are_kept(void **state)
{
	struct hold h = {0};
	struct raft_msg first = app(2, 10, 9), second = app(2, 10, 10);

	(void)state;
	assert_true(hold_put(&h, &first, now));
	assert_false(hold_precedes(&h, &second));
	assert_true(hold_put(&h, &second, now));
	assert_true(h.full);
	assert_int_equal(h.msg.commit, 10);
	hold_drop(&h);
	assert_false(h.full);
}

static void
entries_and_other_messages_do_not_wait(void **state)
{
	struct hold h = {0};
	struct raft_entry entry = {.term = 2, .index = 11};
	struct raft_msg entries = app(2, 10, 10);
	struct raft_msg beat = {.type = RAFT_MSG_HEARTBEAT, .term = 2};

	(void)state;
	entries.entries = &entry;
	entries.entry_count = 1;
	assert_false(hold_put(&h, &entries, now));
	assert_false(hold_put(&h, &beat, now));
	assert_false(h.full);
}

static void
what_says_less_than_is_held_goes_behind_it(void **state)
{
	struct hold h = {0};
	struct raft_msg held = app(2, 10, 10);
	struct raft_msg answer = {.type = RAFT_MSG_READ_INDEX_RESP, .term = 2};
	struct raft_msg newer = app(2, 11, 10), later_term = app(3, 12, 12);
	struct raft_msg less = app(2, 12, 9), before = app(2, 9, 12);

	(void)state;
	assert_false(hold_precedes(&h, &answer));
	assert_true(hold_put(&h, &held, now));
	assert_true(hold_precedes(&h, &answer));
	assert_true(hold_precedes(&h, &less));
	assert_true(hold_precedes(&h, &before));
	assert_true(hold_precedes(&h, &later_term));
	assert_false(hold_precedes(&h, &newer));
	hold_drop(&h);
}

/* A read on the leader is a heartbeat: it drives no news before it. */
static void
a_heartbeat_overtakes_the_news_or_says_them(void **state)
{
	struct hold h = {0};
	struct raft_msg held = app(2, 10, 10);
	struct raft_msg beat = {
	    .type = RAFT_MSG_HEARTBEAT, .term = 2, .commit = 9};
	struct raft_msg says_it = beat, of_later_term = beat;

	(void)state;
	assert_true(hold_put(&h, &held, now));
	of_later_term.term = 3;
	of_later_term.commit = 10;
	assert_true(hold_precedes(&h, &of_later_term));
	assert_false(hold_precedes(&h, &beat));
	hold_sent(&h, &beat);
	assert_true(h.full);
	says_it.commit = 10;
	assert_false(hold_precedes(&h, &says_it));
	hold_sent(&h, &says_it);
	assert_false(h.full);
}

/* Later news take the place of earlier ones, not more time. */
static void
what_is_held_is_due_from_the_first_news_on(void **state)
{
	struct hold h = {0};
	struct raft_msg first = app(2, 10, 9), second = app(2, 10, 10);
	struct raft_msg entries = app(2, 10, 10);

	(void)state;
	assert_true(hold_put(&h, &first, now));
	assert_true(hold_put(&h, &second, mono_add_ms(now, HOLD_MS - 1)));
	assert_int_equal(h.due.ns, mono_add_ms(now, HOLD_MS).ns);
	entries.entry_count = 1;
	hold_sent(&h, &entries);
	assert_false(h.full);
	assert_true(hold_put(&h, &second, mono_add_ms(now, HOLD_MS - 1)));
	assert_int_equal(h.due.ns, mono_add_ms(now, 2 * HOLD_MS - 1).ns);
	hold_drop(&h);
}

static void
a_node_with_clients_of_its_own_hears_at_once(void **state)
{
	struct hold h = {0};
	struct raft_msg m = app(2, 10, 10);

	(void)state;
	hold_note_clients(&h, now);
	assert_false(hold_put(&h, &m, now));
	assert_false(hold_put(&h, &m, mono_add_ms(now, HOLD_EAGER_MS - 1)));
	assert_true(hold_put(&h, &m, mono_add_ms(now, HOLD_EAGER_MS)));
	hold_drop(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		news_of_the_commit_index_wait_and_the_last_ones_are_kept),
	    cmocka_unit_test(entries_and_other_messages_do_not_wait),
	    cmocka_unit_test(what_says_less_than_is_held_goes_behind_it),
	    cmocka_unit_test(a_heartbeat_overtakes_the_news_or_says_them),
	    cmocka_unit_test(what_is_held_is_due_from_the_first_news_on),
	    cmocka_unit_test(a_node_with_clients_of_its_own_hears_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
