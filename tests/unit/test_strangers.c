/* Who is let in of whom this node has never heard (raftd/strangers.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raftd/raftd.h"
#include "raftd/strangers.h"
#include "tests/unit/link_fake.h"

#define CLUSTER 77u

static struct raftd rd;
static struct strangers strangers;
static struct link links[PEER_LINKS_MAX + 1];
static struct msg_hello hellos[PEER_LINKS_MAX + 1];

const struct msg_hello *
link_peer(const struct link *l)
{
	return &hellos[l - links];
}

void
link_close(struct link *l)
{
	strangers_down(&strangers, l); /* as the owner's `down` does */
}

static int
set_up(void **state)
{
	(void)state;
	rd = (struct raftd){.identity = {.cluster = CLUSTER}};
	rd.conf.id_max = 4;
	rd.refresh = (struct join *)&rd; /* it asks; nobody looks inside */
	strangers = (struct strangers){0};
	for (unsigned i = 0; i <= PEER_LINKS_MAX; i++)
		hellos[i] =
		    (struct msg_hello){.cluster = CLUSTER, .node = 5 + i};
	return 0;
}

static void
only_nodes_newer_than_all_it_knows_are_wanted(void **state)
{
	struct msg_hello h = {.cluster = CLUSTER, .node = 5};

	(void)state;
	assert_true(strangers_wanted(&rd, &h));
	h.node = 4; /* was removed, or has another directory */
	assert_false(strangers_wanted(&rd, &h));
	h = (struct msg_hello){.cluster = CLUSTER + 1, .node = 5};
	assert_false(strangers_wanted(&rd, &h));
	h = (struct msg_hello){.cluster = 0, .node = 5}; /* it wants to join */
	assert_false(strangers_wanted(&rd, &h));
}

static void
nobody_is_wanted_while_a_leader_is_heard(void **state)
{
	struct msg_hello h = {.cluster = CLUSTER, .node = 5};

	(void)state;
	rd.refresh = NULL;
	assert_false(strangers_wanted(&rd, &h));
}

static void
there_is_room_for_some(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PEER_LINKS_MAX; i++)
		assert_int_equal(strangers_add(&strangers, &links[i]), ERR_OK);
	assert_int_equal(
	    strangers_add(&strangers, &links[PEER_LINKS_MAX]), ERR_OVERLOADED);
	assert_false(strangers_have(&strangers, &links[PEER_LINKS_MAX]));
	strangers_down(&strangers, &links[PEER_LINKS_MAX]); /* none of them */
	strangers_down(&strangers, &links[0]);
	assert_false(strangers_have(&strangers, &links[0]));
	assert_int_equal(
	    strangers_add(&strangers, &links[PEER_LINKS_MAX]), ERR_OK);
}

static void
who_is_known_by_now_is_hung_up_on(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(strangers_add(&strangers, &links[i]), ERR_OK);
	strangers_part(&strangers, &rd);
	assert_int_equal(strangers.count, 3);
	rd.conf.id_max = 6; /* it was told of two of them */
	strangers_part(&strangers, &rd);
	assert_int_equal(strangers.count, 1);
	assert_true(strangers_have(&strangers, &links[2]));
	rd.refresh = NULL;
	strangers_part(&strangers, &rd);
	assert_int_equal(strangers.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(
		only_nodes_newer_than_all_it_knows_are_wanted, set_up),
	    cmocka_unit_test_setup(
		nobody_is_wanted_while_a_leader_is_heard, set_up),
	    cmocka_unit_test_setup(there_is_room_for_some, set_up),
	    cmocka_unit_test_setup(who_is_known_by_now_is_hung_up_on, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
