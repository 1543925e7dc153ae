/* What httpd/server.c builds on: libmicrohttpd asks for the response of a
 * complete request in each MHD_run(), while there is none ("the callback can be
 * called again immediately", MHD_AccessHandlerCallback).  Once; the connection
 * that has been silent longest is looked at once more, for its time-out. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 5000
#define TARGETS_MAX 4

struct test {
	struct MHD_Daemon *mhd;
	struct MHD_Connection *connection; /* of the last visit */
	int client;
	unsigned visits; /* of all requests together */
	unsigned completed;
	bool answer;  /* at the next visit */
	bool suspend; /* at the next visit */
	size_t body_bytes;
	size_t targets;
	char target[TARGETS_MAX][16]; /* in the order of their answers */
};

/* A request's context: NULL before its header, then this. */
static int begun;

static void
answer(struct test *t, struct MHD_Connection *c, const char *target)
{
	struct MHD_Response *r =
	    MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);

	assert_true(t->targets < TARGETS_MAX);
	strncpy(t->target[t->targets++], target, sizeof t->target[0] - 1);
	assert_int_equal(
	    MHD_queue_response(c, MHD_HTTP_NO_CONTENT, r), MHD_YES);
	MHD_destroy_response(r);
}

static enum MHD_Result
on_data(void *arg, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data,
    size_t *data_bytes, void **context)
{
	struct test *t = arg;

	(void)method;
	(void)version;
	(void)data;
	if (*context == NULL) {
		*context = &begun;
		return MHD_YES;
	}
	if (*data_bytes > 0) {
		t->body_bytes += *data_bytes;
		*data_bytes = 0;
		return MHD_YES;
	}
	t->visits++;
	t->connection = c;
	if (t->answer)
		answer(t, c, url);
	else if (t->suspend)
		MHD_suspend_connection(c);
	return MHD_YES;
}

static void
on_completed(void *arg, struct MHD_Connection *c, void **context,
    enum MHD_RequestTerminationCode why)
{
	struct test *t = arg;

	(void)c;
	(void)context;
	(void)why;
	t->completed++;
}

static int
setup(void **state)
{
	static struct test t;
	const union MHD_DaemonInfo *info;
	struct sockaddr_in to = {.sin_family = AF_INET};

	t = (struct test){.client = -1};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	t.mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0,
	    NULL, NULL, on_data, &t, MHD_OPTION_SOCK_ADDR, &to,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, &t, MHD_OPTION_END);
	assert_non_null(t.mhd);
	info = MHD_get_daemon_info(t.mhd, MHD_DAEMON_INFO_BIND_PORT);
	to.sin_port = htons(info->port);
	t.client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(
	    connect(t.client, (struct sockaddr *)&to, sizeof to), 0);
	*state = &t;
	return 0;
}

static int
teardown(void **state)
{
	struct test *t = *state;

	if (t->client != -1)
		close(t->client);
	MHD_stop_daemon(t->mhd);
	return 0;
}

static void
say(struct test *t, const char *text)
{
	size_t n = strlen(text);

	assert_int_equal(send(t->client, text, n, MSG_NOSIGNAL), n);
}

/* Run when something has happened, until *count has reached n. */
static void
run_until(struct test *t, const unsigned *count, unsigned n)
{
	struct pollfd p = {.events = POLLIN};

	p.fd = MHD_get_daemon_info(t->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	while (*count < n) {
		MHD_UNSIGNED_LONG_LONG ms;
		bool more = MHD_get_timeout(t->mhd, &ms) == MHD_YES && ms == 0;

		if (!more)
			assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		assert_int_equal(MHD_run(t->mhd), MHD_YES);
	}
}

static void
assert_answers(struct test *t, unsigned n)
{
	static const char line[] = "HTTP/1.1 204 No Content\r\n";
	char text[1024];
	ssize_t len = recv(t->client, text, sizeof text - 1, 0);
	unsigned found = 0;

	assert_true(len > 0);
	text[len] = '\0';
	for (const char *p = text; (p = strstr(p, line)) != NULL; p++)
		found++;
	assert_int_equal(found, n);
}

/* It would never be answered, or the run would never end. */
static void
assert_visited(struct test *t)
{
	unsigned before = t->visits;

	assert_int_equal(MHD_run(t->mhd), MHD_YES);
	assert_in_range(t->visits, before + 1, before + 2);
}

static void
a_request_without_a_response_is_visited_in_each_run(void **state)
{
	struct test *t = *state;
	unsigned before;

	say(t, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	run_until(t, &t->visits, 1);
	for (int i = 0; i < 100; i++)
		assert_visited(t);
	before = t->visits;
	t->answer = true;
	run_until(t, &t->completed, 1);
	assert_answers(t, 1);
	assert_int_equal(t->visits, before + 1);
}

static void
so_is_one_with_a_body_when_all_of_it_is_there(void **state)
{
	struct test *t = *state;

	say(t, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
	run_until(t, &t->visits, 1);
	assert_int_equal(t->body_bytes, 5);
	assert_visited(t);
	t->answer = true;
	run_until(t, &t->completed, 1);
	assert_int_equal(t->body_bytes, 5);
	assert_answers(t, 1);
}

static void
a_visited_request_can_be_suspended(void **state)
{
	struct test *t = *state;
	unsigned before;

	say(t, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	run_until(t, &t->visits, 3);
	before = t->visits;
	t->suspend = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(MHD_run(t->mhd), MHD_YES);
	assert_int_equal(t->visits, before + 1);
	answer(t, t->connection, "/a");
	MHD_resume_connection(t->connection);
	assert_int_equal(MHD_run(t->mhd), MHD_YES);
	run_until(t, &t->completed, 1);
	assert_answers(t, 1);
}

static void
what_is_pipelined_behind_it_waits_for_its_turn(void **state)
{
	struct test *t = *state;

	say(t, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	run_until(t, &t->visits, 3);
	say(t, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
	run_until(t, &t->visits, 6);
	assert_int_equal(t->completed, 0);
	t->answer = true;
	run_until(t, &t->completed, 2);
	assert_string_equal(t->target[0], "/a");
	assert_string_equal(t->target[1], "/b");
}

static void
a_client_that_resets_its_connection_is_noticed_by_itself(void **state)
{
	struct test *t = *state;
	const struct linger none = {.l_onoff = 1, .l_linger = 0};

	say(t, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	run_until(t, &t->visits, 3);
	assert_int_equal(
	    setsockopt(t->client, SOL_SOCKET, SO_LINGER, &none, sizeof none),
	    0);
	close(t->client);
	t->client = -1;
	run_until(t, &t->completed, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_request_without_a_response_is_visited_in_each_run, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		so_is_one_with_a_body_when_all_of_it_is_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_visited_request_can_be_suspended, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_is_pipelined_behind_it_waits_for_its_turn, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_client_that_resets_its_connection_is_noticed_by_itself, setup,
		teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
