/* raftd/cluster.c: the --cluster list and what changes make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

#include "base/buf.h"
#include "raftd/raftd.h"

static void
addresses_get_ids_in_their_order(void **state)
{
	struct wal_conf c;

	(void)state;
	assert_int_equal(cluster_parse("a:1,[::1]:65535,10.0.0.1:3380", &c), 0);
	assert_int_equal(c.member_count, 3);
	assert_int_equal(c.state.voters.count, 3);
	assert_string_equal(cluster_member(&c, 2)->address, "[::1]:65535");
	assert_null(cluster_member(&c, 4));
}

static void
bad_lists_are_refused(void **state)
{
	static const char *const bad[] = {"", ",", "a:1,", "a", "a:", ":1",
	    "a:0", "a:65536", "a:123456", "a:1x", "a b:1", "a:1,a:1", "a/b:1"};
	struct wal_conf c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cluster_parse(bad[i], &c), EX_USAGE);
}

static void
too_many_nodes_are_refused(void **state)
{
	struct buf b = {0};
	struct wal_conf c;

	(void)state;
	for (unsigned i = 0; i <= NODES_MAX; i++) {
		char text[32];
		int n =
		    snprintf(text, sizeof(text), "%sh:%u", i ? "," : "", i + 1);

		buf_append(&b, text, (size_t)n);
	}
	buf_append(&b, "", 1);
	assert_int_equal(cluster_parse((char *)b.data, &c), EX_USAGE);
	buf_free(&b);
}

static void
the_cluster_id_depends_on_every_address(void **state)
{
	struct wal_conf a, b;

	(void)state;
	assert_int_equal(cluster_parse("h:1,h:2", &a), 0);
	assert_int_equal(cluster_parse("h:1,h:2", &b), 0);
	assert_true(cluster_id(&a) == cluster_id(&b));
	assert_int_equal(cluster_parse("h:1,h:3", &b), 0);
	assert_true(cluster_id(&a) != cluster_id(&b));
	assert_true(cluster_id(&a) != 0);
}

static void
a_change_brings_its_address_and_takes_removed_members(void **state)
{
	struct wal_conf c;
	struct raft_conf_change add = {.count = 1};
	struct raft_conf_change drop = {.count = 1};
	struct raft_conf_state st;

	(void)state;
	assert_int_equal(cluster_parse("h:1,h:2", &c), 0);
	add.ops[0].op = RAFT_CONF_ADD_LEARNER;
	add.ops[0].id = 7;
	add.context = bytes_of_str("h:7");
	st = c.state;
	st.learners.id[st.learners.count++] = 7;
	cluster_apply(&c, 12, &add, &st);
	assert_int_equal(c.index, 12);
	assert_string_equal(cluster_member(&c, 7)->address, "h:7");

	drop.ops[0].op = RAFT_CONF_REMOVE;
	drop.ops[0].id = 1;
	st.voters = (struct raft_ids){.count = 1, .id = {2}};
	cluster_apply(&c, 13, &drop, &st);
	assert_null(cluster_member(&c, 1));
	assert_non_null(cluster_member(&c, 2));
	assert_non_null(cluster_member(&c, 7));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_get_ids_in_their_order),
	    cmocka_unit_test(bad_lists_are_refused),
	    cmocka_unit_test(too_many_nodes_are_refused),
	    cmocka_unit_test(the_cluster_id_depends_on_every_address),
	    cmocka_unit_test(
		a_change_brings_its_address_and_takes_removed_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
