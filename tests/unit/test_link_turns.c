/* Links whose turns are done by whatever thread has the news (base/loop.h). */
#include "tests/unit/link_ends.h"

#define ROUNDS 60u

static struct end server, client;
static unsigned foreign; /* turns of nng's threads */

/* What a process's turn does; the test looks after each. */
static struct mono
shared_turn(void *arg, struct mono now)
{
	(void)now;
	if (!loop_is_home(arg))
		foreign++;
	links_take(server.ls);
	links_take(client.ls);
	links_flush(server.ls);
	links_flush(client.ls);
	return (struct mono){0};
}

static bool
has_refused(void *arg)
{
	return *(unsigned *)arg <= client.downs;
}

/* Each round a connection is made, and ended in the turn that takes the
 * message: perhaps in nng's callback of that very connection, which cannot wait
 * for itself. */
static void
connections_begin_and_end_in_turns_of_any_thread(void **state)
{
	(void)state;
	foreign = 0;
	both_up(&server, &client, ipc_url);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		server.take_answer = ERR_MALFORMED;
		send_propose(client.link, i, "x", 1);
		wait_for(&server, &client, has_refused, &i);
		/* Not to wait for the longest redial delay. */
		link_close(client.link);
		(void)end_dial(&client, ipc_url);
		wait_for(&server, &client, is_up, &client);
		wait_for(&server, &client, is_up, &server);
	}
	end_close(&client);
	end_close(&server);
	/* Nearly all are; how many is up to the scheduler. */
	assert_int_not_equal(foreign, 0);
}

static bool
has_all(void *arg)
{
	(void)arg;
	return server.taken == ROUNDS * 100u;
}

static void
messages_arrive_in_order_whoever_takes_them(void **state)
{
	(void)state;
	both_up(&server, &client, tcp_url);
	for (unsigned i = 0; i < ROUNDS * 100u; i++) {
		send_propose(client.link, i + 1, "abc", 3);
		if (i % 7 == 0)
			(void)turn(&server, &client, 0, NULL, NULL);
	}
	wait_for(&server, &client, has_all, NULL);
	assert_true(server.in_order);
	end_close(&client);
	end_close(&server);
}

static int
group_setup(void **state)
{
	(void)state;
	if (ends_setup() != 0)
		return -1;
	ends_loop("link_turns");
	ends_share(shared_turn);
	return 0;
}

static int
group_teardown(void **state)
{
	(void)state;
	return ends_teardown();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(connections_begin_and_end_in_turns_of_any_thread),
	    cmocka_unit_test(messages_arrive_in_order_whoever_takes_them),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
