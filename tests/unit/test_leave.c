/* Who must stay although the log says that it was removed (raftd/leave.c): the
 * one without whom nobody could be elected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raftd/raftd.h"

#define ME 2u
#define INDEX 20u /* of the change */

static struct raftd rd;
static enum err word; /* of the other one */

/* ---- what leave.c calls ---- */

enum err
peers_word(const struct peers *ps, uint64_t id)
{
	(void)ps, (void)id;
	return word;
}

uint64_t
raft_commit(const struct raft *r)
{
	(void)r;
	return INDEX;
}

void
daemon_status(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- */

static int
set_up(void **state)
{
	(void)state;
	rd = (struct raftd){.opt = {.id = ME}};
	rd.conf.index = rd.conf.members_index = 10;
	word = ERR_OK;
	return 0;
}

/* The joint state of a replacement is left. */
static bool
stays_in_joint(struct raft_ids before, struct raft_ids after)
{
	const struct raft_conf_change leave = {.count = 0};

	rd.conf.state.voters_outgoing = before;
	rd.conf.state.voters = after;
	return leave_must_stay(&rd, &leave, INDEX);
}

#define IDS(...)                                                               \
	((struct raft_ids){                                                    \
	    .count = sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),     \
	    .id = {__VA_ARGS__}})

static void
one_of_two_stays_until_the_other_one_says_so(void **state)
{
	struct raft_conf_change cc = {
	    .count = 1, .ops = {{.op = RAFT_CONF_REMOVE, .id = ME}}};

	(void)state;
	rd.conf.state.voters = IDS(1, ME);
	assert_true(leave_must_stay(&rd, &cc, INDEX));
	assert_int_equal(rd.needed_by, 1);
	leave_run(&rd, (struct mono){.ns = UINT64_MAX - 1});
	assert_false(rd.quit); /* however long that takes */
	word = ERR_REMOVED;
	leave_run(&rd, (struct mono){0});
	assert_true(rd.quit);
}

static void
one_of_two_that_is_replaced_stays(void **state)
{
	(void)state;
	assert_true(stays_in_joint(IDS(1, ME), IDS(1, 3)));
	assert_int_equal(rd.needed_by, 1);
}

/* Simulator, seed 6521663: the new one forgot, by a power cut, that it is alone
 * by now, and had a shorter log than this one, which it needed and which was
 * gone. */
static void
the_only_one_that_is_replaced_stays(void **state)
{
	(void)state;
	assert_true(stays_in_joint(IDS(ME), IDS(4)));
	assert_int_equal(rd.needed_by, 4);
	assert_true(rd.removed);
}

static void
one_of_many_goes(void **state)
{
	(void)state;
	assert_false(stays_in_joint(IDS(1, ME, 3), IDS(1, 3, 4)));
	assert_false(rd.removed);
}

static void
who_stays_a_voter_or_becomes_a_learner_is_not_removed(void **state)
{
	(void)state;
	assert_false(stays_in_joint(IDS(ME), IDS(ME)));
	rd.conf.state.learners_next = IDS(ME);
	assert_false(stays_in_joint(IDS(ME), IDS(4)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(
		one_of_two_stays_until_the_other_one_says_so, set_up),
	    cmocka_unit_test_setup(one_of_two_that_is_replaced_stays, set_up),
	    cmocka_unit_test_setup(the_only_one_that_is_replaced_stays, set_up),
	    cmocka_unit_test_setup(one_of_many_goes, set_up),
	    cmocka_unit_test_setup(
		who_stays_a_voter_or_becomes_a_learner_is_not_removed, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
