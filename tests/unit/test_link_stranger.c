/* Links and strangers: raw connections that send anything, or nothing, or do
 * not read, or are somebody else's. */
#include "tests/unit/link_ends.h"

#include <grp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- strangers at the door ---- */

enum garbage {
	RANDOM_BYTES,
	HTTP_REQUEST,
	ALL_ZERO,
	LONG_FRAME,
	BAD_CHECKSUM,
	OTHER_PROTOCOL,
	OTHER_PROCESS,
	NO_HELLO,
	BYE_FOR_HELLO,
	SECOND_HELLO,
	ILLEGAL_SENDER,
	BEAT_WITH_BODY,
	BYE_WITHOUT_BODY,
	LONG_BYE,
	GARBAGE_KINDS
};

static void
make_garbage(enum garbage kind, struct buf *out)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	unsigned i;

	switch (kind) {
	case RANDOM_BYTES:
		for (i = 0; i < 300; i++)
			buf_append(out, &(uint8_t){(uint8_t)(i * 37 + 11)}, 1);
		return;
	case HTTP_REQUEST:
		buf_append(out, http, sizeof(http) - 1);
		return;
	case ALL_ZERO:
		memset(buf_extend(out, 4096), 0, 4096);
		return;
	case LONG_FRAME:
		buf_append(
		    out, "\xff\xff\xff\x00\x01\x01\x00\x00.... and body", 20);
		return;
	case NO_HELLO:
		raw_frame(out, MSG_PROPOSE, bytes_of("12345678", 8));
		return;
	case OTHER_PROCESS:
		raw_hello(out, MSG_RAFTD);
		return;
	case OTHER_PROTOCOL:
		raw_frame(
		    out, MSG_HELLO, bytes_of("\x89metcd1\0\x02\0and more", 18));
		return;
	case BAD_CHECKSUM:
		raw_hello(out, MSG_HTTPD);
		out->data[out->len - 1] ^= 1;
		return;
	case SECOND_HELLO:
		raw_hello(out, MSG_HTTPD);
		raw_hello(out, MSG_HTTPD);
		return;
	case ILLEGAL_SENDER:
		raw_hello(out, MSG_HTTPD);
		raw_frame(out, MSG_COMMIT, bytes_of("12345678", 8));
		return;
	case BEAT_WITH_BODY:
		raw_hello(out, MSG_HTTPD);
		raw_frame(out, MSG_BEAT, bytes_of("x", 1));
		return;
	case BYE_FOR_HELLO:
		raw_frame(out, MSG_BYE, bytes_of("\x42", 1));
		return;
	case BYE_WITHOUT_BODY:
		raw_hello(out, MSG_HTTPD);
		raw_frame(out, MSG_BYE, bytes_of("", 0));
		return;
	case LONG_BYE:
		raw_hello(out, MSG_HTTPD);
		raw_frame(out, MSG_BYE, bytes_of("\x42\x42", 2));
		return;
	case GARBAGE_KINDS:
		break;
	}
	fail();
}

static void
garbage_over(const char *url)
{
	struct end server, client;
	struct buf out = {0};
	unsigned kind;
	int fd;

	both_up(&server, &client, url);
	server.ups = 0;
	for (kind = 0; kind < GARBAGE_KINDS; kind++) {
		fd = raw_connect(url);
		buf_clear(&out);
		make_garbage((enum garbage)kind, &out);
		raw_send(fd, out.data, out.len);
		wait_for(&server, &client, raw_is_closed, &fd);
		close(fd);
		/* Those with a good HELLO were up. */
		assert_int_equal(
		    server.ups, kind < SECOND_HELLO ? 0 : kind - BYE_FOR_HELLO);
		assert_int_equal(server.ups, server.downs);
		assert_int_equal(server.taken, 0);
		assert_int_equal(server.refusals, 0);
	}
	assert_int_equal(client.downs, 0);
	buf_free(&out);
	end_close(&client);
	end_close(&server);
}

/* Any number is a reason; one that nobody knows is "malformed". */
static void
a_stranger_may_refuse_us_with_any_code(void **state)
{
	struct end server, client;
	struct buf out = {0};

	(void)state;
	both_up(&server, &client, tcp_url);
	for (unsigned code = 0; code < 256; code += 51) {
		uint8_t body = (uint8_t)code;
		int fd = raw_connect(tcp_url);

		server.refusals = 0;
		buf_clear(&out);
		raw_hello(&out, MSG_HTTPD);
		raw_frame(&out, MSG_BYE, bytes_of(&body, 1));
		raw_send(fd, out.data, out.len);
		wait_for(&server, &client, raw_is_closed, &fd);
		close(fd);
		assert_int_equal(server.refusals, 1);
		assert_int_equal(server.refused, err_from_u8(code));
	}
	assert_int_equal(client.downs, 0);
	buf_free(&out);
	end_close(&client);
	end_close(&server);
}

/* It sends on although it was refused, and does not hang up. */
static void
a_refused_stranger_is_hung_up_on(void **state)
{
	struct end server;
	struct buf out = {0};
	int fd;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, tcp_url);
	server.up_answer = ERR_FOREIGN;
	fd = raw_connect(tcp_url);
	raw_hello(&out, MSG_HTTPD);
	for (unsigned i = 0; i < 50; i++)
		raw_frame(&out, MSG_PROPOSE, bytes_of("12345678", 8));
	raw_send(fd, out.data, out.len);
	wait_for(&server, NULL, raw_is_closed, &fd);
	close(fd);
	assert_int_equal(server.ups + server.downs, 0);
	assert_int_equal(server.taken, 0);
	buf_free(&out);
	end_close(&server);
}

static void
garbage_closes_its_connection_and_harms_nobody(void **state)
{
	(void)state;
	garbage_over(tcp_url);
	garbage_over(ipc_url);
}

static void
a_frame_that_arrives_byte_by_byte_is_whole_in_the_end(void **state)
{
	struct end server;
	struct buf out = {0};
	size_t i;
	int fd;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, tcp_url);
	fd = raw_connect(tcp_url);
	raw_hello(&out, MSG_HTTPD);
	for (i = 0; i < out.len; i++) {
		assert_int_equal(server.ups, 0);
		raw_send(fd, out.data + i, 1);
		assert_true(turn(&server, NULL, 1, NULL, NULL));
	}
	wait_for(&server, NULL, is_up, &server);
	close(fd);
	wait_for(&server, NULL, is_down, &server);
	buf_free(&out);
	end_close(&server);
}

static void
strangers_cannot_take_all_places(void **state)
{
	int fd[LINKS_ACCEPTED_MAX + 20];
	struct end server, client;
	size_t i;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, tcp_url);
	for (i = 0; i < sizeof(fd) / sizeof(fd[0]); i++) {
		fd[i] = raw_connect(tcp_url);
		assert_true(turn(&server, NULL, 2, NULL, NULL));
	}
	assert_true(raw_is_closed(&fd[0]));
	assert_false(raw_is_closed(&fd[i - 1]));
	end_open(&client, MSG_HTTPD, 2);
	(void)end_dial(&client, tcp_url);
	wait_for(&server, &client, is_up, &client);
	for (i = 0; i < sizeof(fd) / sizeof(fd[0]); i++)
		close(fd[i]);
	end_close(&client);
	end_close(&server);
}

static void
accepting_goes_on_after_a_time_without_descriptors(void **state)
{
	struct rlimit old, few;
	struct end server;
	struct buf out = {0};
	int fd, probe;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, ipc_url);
	assert_true(turn(&server, NULL, 20, NULL, NULL));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	close(fd);
	fd = raw_connect(ipc_url); /* takes a descriptor; accept needs one */
	close(fd);
	assert_true(turn(&server, NULL, 20, NULL, NULL));
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)probe; /* none above, and below all are used */
	close(probe);
	fd = raw_connect(ipc_url);
	few.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_true(turn(&server, NULL, 50, NULL, NULL));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	raw_hello(&out, MSG_HTTPD);
	raw_send(fd, out.data, out.len);
	wait_for(&server, NULL, is_up, &server);
	close(fd);
	buf_free(&out);
	end_close(&server);
}

/* ---- time ---- */

struct silent {
	int half_fd, silent_fd;
	bool half_closed;
	struct mono start, half_at;
	unsigned beats;
};

/* Count the beats that reach the silent one, watch the half one. */
static bool
silent_done(void *arg)
{
	struct silent *s = arg;
	uint8_t bytes[4096];
	ssize_t n, i;

	if (!s->half_closed && raw_is_closed(&s->half_fd)) {
		s->half_closed = true;
		s->half_at = mono_now();
	}
	n = recv(s->silent_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	for (i = 5; i < n; i += 16) /* frames of beats have no body */
		s->beats += bytes[i] == MSG_BEAT;
	return n == 0;
}

static void
silence_closes_a_link_and_beats_go_out_until_then(void **state)
{
	struct silent s = {.start = mono_now()};
	struct end server;
	struct buf out = {0};

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, tcp_url);
	s.half_fd = raw_connect(tcp_url);
	s.silent_fd = raw_connect(tcp_url);
	raw_hello(&out, MSG_HTTPD);
	raw_send(s.half_fd, out.data, out.len / 2);
	raw_send(s.silent_fd, out.data, out.len);
	wait_for(&server, NULL, silent_done, &s);
	assert_true(s.half_closed);
	assert_in_range(mono_ms_since(s.start, s.half_at), LINK_HELLO_MS - 300,
	    LINK_HELLO_MS + 1500);
	assert_in_range(mono_ms_since(s.start, mono_now()),
	    LINK_SILENCE_MS - 300, LINK_SILENCE_MS + 2000);
	assert_in_range(s.beats, 5, 12);
	assert_int_equal(server.downs, 1);
	close(s.half_fd);
	close(s.silent_fd);
	buf_free(&out);
	end_close(&server);
}

/* ---- a counterpart that does not read ---- */

static uint8_t large[1u << 20];

static void
send_large(struct end *server)
{
	struct bytes body = bytes_of(large, sizeof(large));

	wire_bytes(
	    link_begin(server->link, MSG_RAFT_STATUS), &body, sizeof(large));
	link_end(server->link);
}

/* A link to a descriptor that nobody reads, full; returns how many large
 * messages that took. */
static unsigned
fill_link(struct end *server, const char *url, int *fd)
{
	struct buf out = {0};
	unsigned sent = 0;

	end_open(server, MSG_RAFTD, 1);
	end_listen(server, url);
	*fd = raw_connect(url);
	raw_hello(&out, MSG_HTTPD);
	raw_send(*fd, out.data, out.len);
	buf_free(&out);
	wait_for(server, NULL, is_up, server);
	while (!link_is_full(server->link)) {
		send_large(server);
		links_flush(server->ls);
		sent++;
	}
	return sent;
}

static void
a_queue_over_its_bound_drops_the_link(void **state)
{
	struct end server;
	unsigned sent;
	int fd;

	(void)state;
	sent = fill_link(&server, ipc_url, &fd);
	assert_in_range(sent, 32, 40);
	assert_in_range(link_queued_bytes(server.link), 32u << 20, 34u << 20);
	while (link_is_up(server.link) && sent < 100) {
		send_large(&server);
		sent++;
	}
	assert_in_range(sent, 64, 70);
	assert_null(link_begin(server.link, MSG_RAFT_STATUS));
	assert_int_equal(server.downs, 0); /* not inside link_end() */
	wait_for(&server, NULL, is_down, &server);
	wait_for(&server, NULL, raw_is_closed, &fd);
	assert_int_equal(server.downs, 1);
	close(fd);
	end_close(&server);
}

struct reader {
	struct end *server;
	int fd;
};

/* Reads what is there.  All of it may be read before the link has heard that
 * it was sent: so what is awaited is the link, not one more byte. */
static bool
is_read_and_full_no_more(void *arg)
{
	struct reader *r = arg;

	assert_false(raw_is_closed(&r->fd));
	return !link_is_full(r->server->link);
}

static void
a_full_link_that_is_read_is_full_no_more(void **state)
{
	struct reader reader;
	struct end server;
	int fd;

	(void)state;
	(void)fill_link(&server, tcp_url, &fd);
	assert_true(turn(&server, NULL, 20, NULL, NULL));
	assert_true(link_is_full(server.link));
	reader = (struct reader){&server, fd};
	wait_for(&server, NULL, is_read_and_full_no_more, &reader);
	close(fd);
	end_close(&server);
}

/* ---- another user ---- */

#define NOBODY 65534u
#define SHARED "daemon" /* a group that every system has */

/* A child that makes raw calls only: nng allows none of its own after fork.  It
 * ends with 0 when the connection was closed without a byte sent, with 1 when
 * something came. */
static pid_t
stranger_of_another_user(const char *path, gid_t group)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	pid_t pid = fork();
	char byte;
	int fd;

	assert_int_not_equal(pid, -1);
	if (pid > 0)
		return pid;
	memcpy(un.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (setgroups(0, NULL) != 0 || setgid(group) != 0 ||
	    setuid(NOBODY) != 0 ||
	    connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		_exit(2);
	_exit(read(fd, &byte, 1) == 0 ? 0 : 1);
}

static bool
has_exited(void *arg)
{
	int *status = arg;

	return waitpid(-1, status, WNOHANG) > 0;
}

static void
another_user_is_refused_on_ipc(void **state)
{
	struct end server;
	const char *path = ipc_url + strlen("ipc://");
	int status = 0;

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can be somebody else */
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, ipc_url);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(chmod(ends_dir, 0755), 0);
	(void)stranger_of_another_user(path, NOBODY);
	wait_for(&server, NULL, has_exited, &status);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(ends_dir, 0700), 0);
	end_close(&server);
}

/* The socket is the group's, for it and nobody else. */
static void
check_socket_of_group(const char *path, gid_t group)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_gid, group);
}

static void
with_a_group_another_user_of_it_is_spoken_with(void **state)
{
	struct end server;
	const char *path = ipc_url + strlen("ipc://");
	const struct group *g = getgrnam(SHARED);
	int status = 0;

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can be somebody else */
	assert_non_null(g);
	end_open(&server, MSG_RAFTD, 1);
	assert_int_equal(links_share(server.ls, SHARED), 0);
	end_listen(&server, ipc_url);
	check_socket_of_group(path, g->gr_gid);
	assert_int_equal(chmod(ends_dir, 0755), 0);
	(void)stranger_of_another_user(path, g->gr_gid);
	wait_for(&server, NULL, has_exited, &status);
	assert_int_equal(WEXITSTATUS(status), 1);
	/* Even when the file lets him in. */
	assert_int_equal(chmod(path, 0666), 0);
	(void)stranger_of_another_user(path, NOBODY);
	wait_for(&server, NULL, has_exited, &status);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(ends_dir, 0700), 0);
	end_close(&server);
}

static void
a_group_that_does_not_exist_is_a_matter_of_configuration(void **state)
{
	struct end server;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	assert_int_equal(links_share(server.ls, "no-such-group"), EX_CONFIG);
	assert_int_equal(links_share(server.ls, NULL), 0);
	end_close(&server);
}

/* ---- all of it ---- */

static int
group_setup(void **state)
{
	(void)state;
	if (ends_setup() != 0)
		return -1;
	ends_loop("test");
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
	    cmocka_unit_test(a_stranger_may_refuse_us_with_any_code),
	    cmocka_unit_test(a_refused_stranger_is_hung_up_on),
	    cmocka_unit_test(garbage_closes_its_connection_and_harms_nobody),
	    cmocka_unit_test(
		a_frame_that_arrives_byte_by_byte_is_whole_in_the_end),
	    cmocka_unit_test(strangers_cannot_take_all_places),
	    cmocka_unit_test(
		accepting_goes_on_after_a_time_without_descriptors),
	    cmocka_unit_test(silence_closes_a_link_and_beats_go_out_until_then),
	    cmocka_unit_test(a_queue_over_its_bound_drops_the_link),
	    cmocka_unit_test(a_full_link_that_is_read_is_full_no_more),
	    cmocka_unit_test(another_user_is_refused_on_ipc),
	    cmocka_unit_test(with_a_group_another_user_of_it_is_spoken_with),
	    cmocka_unit_test(
		a_group_that_does_not_exist_is_a_matter_of_configuration),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
