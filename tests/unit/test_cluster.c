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
#include "raftd/context.h"
#include "raftd/raftd.h"
#include "raftd/wal_format.h"

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
	struct context about = {.count = 1};
	struct buf bytes = {0};
	struct raft_conf_state st;

	(void)state;
	assert_int_equal(cluster_parse("h:1,h:2", &c), 0);
	add.ops[0].op = RAFT_CONF_ADD_LEARNER;
	add.ops[0].id = 7;
	about.members[0].id = 7;
	memcpy(about.members[0].address, "h:7", sizeof("h:7"));
	context_encode(&about, &bytes);
	add.context = buf_bytes(&bytes);
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
	buf_free(&bytes);
}

static struct raft_conf_change
change_of(enum raft_conf_op op, uint64_t id, const struct context *about,
    struct buf *bytes)
{
	struct raft_conf_change cc = {.count = 1};

	cc.ops[0].op = op;
	cc.ops[0].id = id;
	buf_clear(bytes);
	context_encode(about, bytes);
	cc.context = buf_bytes(bytes);
	return cc;
}

/* A node that was told of its members when it joined replays older changes. */
static void
what_is_known_from_joining_is_not_undone_by_older_changes(void **state)
{
	struct wal_conf c, before;
	struct context about = {.count = 1, .token = 8};
	struct raft_conf_change cc;
	struct raft_conf_state st = {.voters = {.count = 1, .id = {1}}};
	struct buf bytes = {0};

	(void)state;
	assert_int_equal(cluster_parse("h:1,h:2,h:3", &c), 0);
	c.state = (struct raft_conf_state){0};
	c.members_index = 30;
	before = c;
	about.members[0] = (struct wal_member){.id = 1, .address = "old:1"};
	cc = change_of(RAFT_CONF_ADD_VOTER, 1, &about, &bytes);
	cluster_apply(&c, 12, &cc, &st);
	assert_int_equal(c.index, 12);
	assert_int_equal(c.state.voters.count, 1);
	assert_int_equal(c.members_index, 30);
	assert_int_equal(c.member_count, 3);
	assert_memory_equal(c.members, before.members, sizeof(c.members));
	assert_null(cluster_order(&c, 8));
	cluster_apply(&c, 31, &cc, &st);
	assert_int_equal(c.members_index, 31);
	assert_int_equal(c.member_count, 1);
	assert_string_equal(c.members[0].address, "old:1");
	assert_int_equal(cluster_order(&c, 8)->index, 31);
	buf_free(&bytes);
}

static void
a_snapshot_brings_newer_members_only(void **state)
{
	struct wal_conf c, from;

	(void)state;
	assert_int_equal(cluster_parse("h:1,h:2", &c), 0);
	assert_int_equal(cluster_parse("g:1", &from), 0);
	c.members_index = 30;
	from.index = from.members_index = 20;
	cluster_install(&c, &from);
	assert_int_equal(c.index, 20);
	assert_int_equal(c.state.voters.count, 1);
	assert_int_equal(c.member_count, 2);
	from.index = from.members_index = 40;
	cluster_install(&c, &from);
	assert_int_equal(c.member_count, 1);
	assert_string_equal(c.members[0].address, "g:1");
}

static void
ids_and_directories_are_never_forgotten_and_orders_a_while(void **state)
{
	struct wal_conf c;
	struct context about = {.count = 1};
	struct raft_conf_change cc;
	struct raft_conf_state st;
	struct buf bytes = {0};

	(void)state;
	assert_int_equal(cluster_parse("h:1,h:2", &c), 0);
	st = c.state;
	about.members[0] =
	    (struct wal_member){.id = 2, .incarnation = 5, .address = "h:2"};
	cc = change_of(RAFT_CONF_UPDATE, 2, &about, &bytes);
	cluster_apply(&c, 10, &cc, &st);
	about.members[0].incarnation = 0;
	cc = change_of(RAFT_CONF_UPDATE, 2, &about, &bytes);
	cluster_apply(&c, 11, &cc, &st);
	assert_int_equal(cluster_member(&c, 2)->incarnation, 5);
	for (uint64_t i = 1; i <= WAL_ORDERS_MAX + 2; i++) {
		about = (struct context){.token = i};
		cc = change_of(RAFT_CONF_ADD_LEARNER, 100 + i, &about, &bytes);
		cluster_apply(&c, 11 + i, &cc, &st);
	}
	assert_int_equal(c.id_max, 100 + WAL_ORDERS_MAX + 2);
	assert_null(cluster_order(&c, 2));
	assert_non_null(cluster_order(&c, 3));
	assert_int_equal(c.order_count, WAL_ORDERS_MAX);
	/* A context that is none changes nothing but the sets. */
	cc.context = bytes_of_str("garbage");
	cluster_apply(&c, 50, &cc, &st);
	assert_int_equal(c.member_count, 2);
	buf_free(&bytes);
}

/* Of more no program that reads it would know what to make. */
static void
what_is_written_has_the_last_orders(void **state)
{
	static const uint32_t counts[] = {0, 8, 9, WAL_ORDERS_MAX};
	struct wal_conf c, read;
	struct buf bytes = {0};

	(void)state;
	assert_int_equal(cluster_parse("h:1", &c), 0);
	for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
		uint32_t n = counts[k], kept = n < 8 ? n : 8;

		c.order_count = n;
		for (uint32_t i = 0; i < n; i++)
			c.orders[i] = (struct wal_order){i + 1, i + 2, i + 3};
		bytes.len = 0;
		wal_conf_encode(&c, &bytes);
		assert_int_equal(c.order_count, n);
		assert_int_equal(
		    wal_conf_decode(buf_bytes(&bytes), &read), ERR_OK);
		assert_int_equal(read.order_count, kept);
		for (uint32_t i = 0; i < kept; i++)
			assert_memory_equal(&read.orders[i],
			    &c.orders[n - kept + i], sizeof(read.orders[i]));
	}
	buf_free(&bytes);
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
	    cmocka_unit_test(
		what_is_known_from_joining_is_not_undone_by_older_changes),
	    cmocka_unit_test(a_snapshot_brings_newer_members_only),
	    cmocka_unit_test(what_is_written_has_the_last_orders),
	    cmocka_unit_test(
		ids_and_directories_are_never_forgotten_and_orders_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
