/* A member that asks who the members are (raftd/join.h), on links that only
 * write down what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "raftd/join.h"
#include "raftd/joinmsg.h"
#include "raftd/raftd.h"
#include "raftd/wal_format.h"
#include "tests/unit/link_fake.h"

#define CLUSTER 77u
#define MINE 4u /* this node's id */
#define DIRECTORY 1234u

static struct raftd rd;
static struct link caller; /* a node that has dialed this one */
static struct link door;   /* dialed by this one: the one member it knows */
static unsigned updates, dialed, closed;
static const struct mono later = {.ns = UINT64_C(3600) * 1000000000};

/* ---- what join.c calls ---- */

struct link *
links_dial(struct links *ls, const char *url, enum msg_process expect,
    const char *name, const struct link_ops *ops, void *arg)
{
	(void)ls, (void)expect, (void)name, (void)ops, (void)arg;
	assert_string_equal(url, "tcp://10.0.0.1:3380");
	dialed++;
	return &door;
}

void
link_close(struct link *l)
{
	assert_ptr_equal(l, &door);
	closed++;
}

struct link *
peers_caller(const struct peers *ps, uint32_t i)
{
	(void)ps;
	return i == 0 ? &caller : NULL;
}

void
peers_update(struct peers *ps)
{
	(void)ps;
	updates++;
}

uint64_t
peers_incarnation(const struct peers *ps, uint64_t id)
{
	(void)ps, (void)id;
	return 0;
}

enum raft_role
raft_role(const struct raft *r)
{
	(void)r;
	return RAFT_FOLLOWER;
}

uint64_t
daemon_random(void)
{
	fail_msg("a member has its directory");
	return 0;
}

void
daemon_status(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- */

static void
member_add(struct wal_conf *conf, uint64_t id, const char *address)
{
	struct wal_member *m = &conf->members[conf->member_count++];

	*m = (struct wal_member){.id = id};
	(void)strcpy(m->address, address);
	if (conf->id_max < id)
		conf->id_max = id;
}

static int
set_up(void **state)
{
	(void)state;
	rd = (struct raftd){
	    .identity = {.cluster = CLUSTER, .incarnation = DIRECTORY}};
	rd.opt.id = MINE;
	rd.opt.election_ms = 1000;
	rd.conf.index = rd.conf.members_index = 10;
	member_add(&rd.conf, 1, "10.0.0.1:3380");
	member_add(&rd.conf, MINE, "10.0.0.4:3380");
	rd.conf.state.voters = (struct raft_ids){.count = 1, .id = {1}};
	caller = (struct link){.up = true};
	door = (struct link){.up = false};
	updates = dialed = closed = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	join_close(rd.refresh);
	link_fake_clear(&caller);
	link_fake_clear(&door);
	return 0;
}

static enum err
answer(enum err code, uint64_t cluster, const struct wal_conf *conf)
{
	struct joinmsg_answer m = {.code = (uint8_t)code, .cluster = cluster};
	struct buf members = {0}, body = {0};
	struct wire w;
	enum err rc;

	wal_conf_encode(conf, &members);
	m.members = buf_bytes(&members);
	wire_encode(&w, &body);
	assert_int_equal(joinmsg_answer_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = join_answered(&rd, &w);
	buf_free(&members);
	buf_free(&body);
	return rc;
}

/* What a leader knows that this node has never heard of. */
static struct wal_conf
newer(void)
{
	struct wal_conf conf = {.index = 20, .members_index = 20};

	member_add(&conf, MINE, "10.0.0.4:3380");
	member_add(&conf, 5, "10.0.0.5:3380");
	conf.state.voters = (struct raft_ids){.count = 1, .id = {5}};
	return conf;
}

static void
who_hears_a_leader_asks_nobody(void **state)
{
	(void)state;
	rd.heard_leader = later;
	join_refresh(&rd, later);
	assert_null(rd.refresh);
	assert_int_equal(caller.sent, 0);
	assert_int_equal(dialed, 0);
}

static void
who_hears_none_asks_the_members_and_whoever_dials(void **state)
{
	struct joinmsg_ask m;
	struct wire w;

	(void)state;
	join_refresh(&rd, later);
	assert_int_equal(dialed, 1);
	assert_int_equal(caller.sent, 1);
	assert_int_equal(link_fake_last_type(&caller), MSG_JOIN_ASK);
	wire_decode(&w, buf_bytes(&caller.message[0].body));
	assert_int_equal(joinmsg_ask_wire(&w, &m), ERR_OK);
	assert_int_equal(m.id, MINE);
	assert_int_equal(m.incarnation, DIRECTORY);
	join_refresh(&rd, mono_add_ms(later, 400)); /* not all the time */
	assert_int_equal(caller.sent, 1);
	join_refresh(&rd, mono_add_ms(later, 600));
	assert_int_equal(caller.sent, 2);
}

static void
a_newer_answer_brings_the_members_and_not_the_configuration(void **state)
{
	struct wal_conf conf = newer();

	(void)state;
	join_refresh(&rd, later);
	assert_int_equal(answer(ERR_OK, CLUSTER, &conf), ERR_OK);
	assert_int_equal(updates, 1);
	assert_non_null(cluster_member(&rd.conf, 5));
	assert_null(cluster_member(&rd.conf, 1));
	assert_int_equal(rd.conf.members_index, 20);
	assert_int_equal(rd.conf.id_max, 5);
	assert_int_equal(rd.conf.index, 10);
	assert_int_equal(rd.conf.state.voters.id[0], 1);
	assert_int_equal(answer(ERR_OK, CLUSTER, &conf), ERR_OK);
	assert_int_equal(updates, 1); /* it is nothing new */
}

static void
what_proves_nothing_is_not_taken(void **state)
{
	struct wal_conf conf = newer();

	(void)state;
	join_refresh(&rd, later);
	assert_int_equal(answer(ERR_OK, CLUSTER + 1, &conf), ERR_MALFORMED);
	assert_int_equal(answer(ERR_CONFLICT, CLUSTER, &conf), ERR_OK);
	assert_int_equal(answer(ERR_REMOVED, CLUSTER, &conf), ERR_OK);
	conf.members_index = 10; /* not newer */
	assert_int_equal(answer(ERR_OK, CLUSTER, &conf), ERR_OK);
	conf = newer();
	conf.members[0].id = 3; /* of which this node is no member */
	assert_int_equal(answer(ERR_OK, CLUSTER, &conf), ERR_OK);
	assert_int_equal(updates, 0);
	assert_int_equal(rd.conf.members_index, 10);
	assert_non_null(cluster_member(&rd.conf, 1));
}

static void
an_answer_that_comes_late_is_of_no_account(void **state)
{
	struct wal_conf conf = newer();

	(void)state;
	join_refresh(&rd, later);
	rd.heard_leader = later;
	join_refresh(&rd, later);
	assert_int_equal(closed, 1);
	assert_null(rd.refresh);
	assert_int_equal(answer(ERR_OK, CLUSTER, &conf), ERR_OK);
	assert_int_equal(updates, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		who_hears_a_leader_asks_nobody, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		who_hears_none_asks_the_members_and_whoever_dials, set_up,
		tear_down),
	    cmocka_unit_test_setup_teardown(
		a_newer_answer_brings_the_members_and_not_the_configuration,
		set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		what_proves_nothing_is_not_taken, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		an_answer_that_comes_late_is_of_no_account, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
