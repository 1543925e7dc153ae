/* Links over real sockets: both ends in this process on one loop, or the other
 * one in a process of its own where that has to die. */
#include "tests/unit/link_ends.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/mem.h"
#include "proto/link_private.h"

#define CHILDREN 2
#define MANY 100000u /* messages */

/* Processes of their own: forked before this one's first nng call. */
static struct child {
	pid_t pid;
	int go; /* a byte starts it, closing ends it */
	char path[96], url[112];
} children[CHILDREN];

/* ---- links ---- */

static void
talk_over(const char *url)
{
	struct end server, client;

	both_up(&server, &client, url);
	assert_int_equal(client.peer.process, MSG_RAFTD);
	assert_int_equal(client.peer.epoch, 1);
	assert_int_equal(server.peer.process, MSG_HTTPD);
	assert_int_equal(server.peer.node, 20);
	assert_string_equal(server.peer.version, METCD_VERSION);

	server.reply = true;
	send_propose(client.link, 1, "x", 1);
	wait_for(&server, &client, has_message, &client);
	assert_int_equal(server.taken, 1);
	assert_int_equal(server.downs + client.downs, 0);
	end_close(&client);
	wait_for(&server, NULL, is_down, &server);
	assert_int_equal(client.downs, 0); /* links_close calls nobody */
	end_close(&server);
	assert_int_equal(server.downs, 1);
}

static void
both_ends_come_up_and_talk(void **state)
{
	(void)state;
	talk_over(ipc_url);
	talk_over(tcp_url);
}

static void
a_dialed_link_comes_up_when_its_listener_appears(void **state)
{
	struct end server, client;

	(void)state;
	end_open(&client, MSG_HTTPD, 2);
	(void)end_dial(&client, ipc_url);
	assert_true(turn(&client, NULL, 100, NULL, NULL));
	assert_int_equal(client.ups, 0);
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, ipc_url);
	wait_for(&server, &client, is_up, &client);
	end_close(&client);
	end_close(&server);
}

static void
a_dialed_link_comes_back_with_its_counterpart(void **state)
{
	struct end server, client;
	unsigned i;

	(void)state;
	both_up(&server, &client, tcp_url);
	for (i = 0; i < 3; i++) {
		end_close(&server);
		client.downs = 0;
		wait_for(&client, NULL, is_down, &client);
		assert_int_equal(client.downs, 1);
		end_open(&server, MSG_RAFTD, 100 + i);
		end_listen(&server, tcp_url);
		wait_for(&server, &client, is_up, &client);
		assert_int_equal(client.peer.epoch, 100 + i);
	}
	assert_int_equal(client.ups, 4);
	end_close(&client);
	end_close(&server);
}

static bool
took_all(void *arg)
{
	return ((struct end *)arg)->taken == MANY;
}

static void
many_small_messages_of_one_turn_arrive_in_order(void **state)
{
	struct end server, client;
	uint64_t seq;

	(void)state;
	both_up(&server, &client, ipc_url);
	for (seq = 1; seq <= MANY; seq++)
		send_propose(client.link, seq, &seq, sizeof(seq));
	wait_for(&server, &client, took_all, &server);
	assert_true(server.in_order);
	assert_int_equal(server.last_seq, MANY);
	end_close(&client);
	end_close(&server);
}

static void
messages_of_many_turns_arrive_in_order(void **state)
{
	struct end server, client;
	uint64_t seq;

	(void)state;
	both_up(&server, &client, tcp_url);
	for (seq = 1; seq <= MANY; seq++) {
		send_propose(client.link, seq, &seq, sizeof(seq));
		if (seq % 7 == 0) /* so that sends overlap */
			links_flush(client.ls);
	}
	wait_for(&server, &client, took_all, &server);
	assert_true(server.in_order);
	end_close(&client);
	end_close(&server);
}

/* Send a body of that size, which is the largest there is, and smaller ones
 * around it. */
static void
the_largest_frames_arrive_whole(void **state)
{
	static const size_t sizes[] = {
	    1, 8u << 20, FRAME_BODY_BYTES_MAX - 4, 131072 - 20, 131072 - 16};
	uint8_t *data = mem_zalloc(1, FRAME_BODY_BYTES_MAX);
	struct end server, client;
	struct bytes body;
	struct wire *w;
	uint64_t sum = 0;
	size_t i;

	(void)state;
	both_up(&server, &client, ipc_url);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		/* The other way: raftd's COMMIT is not for httpd, so it is a
		 * status, whose body the link does not look at either. */
		w = link_begin(server.link, MSG_RAFT_STATUS);
		body = bytes_of(data, sizes[i]);
		wire_bytes(w, &body, sizes[i]);
		link_end(server.link);
		sum += 4 + sizes[i];
		client.taken = 0;
		wait_for(&server, &client, has_message, &client);
		assert_int_equal(client.taken_bytes, sum);
	}
	assert_int_equal(client.downs + server.downs, 0);
	end_close(&client);
	end_close(&server);
	mem_free(data);
}

static void
closing_sends_what_is_queued(void **state)
{
	static const uint8_t data[256];
	struct end server, client;
	uint64_t seq;

	(void)state;
	both_up(&server, &client, tcp_url);
	for (seq = 1; seq <= 1000; seq++)
		send_propose(client.link, seq, data, sizeof(data));
	links_close(client.ls, 2000);
	wait_for(&server, NULL, is_down, &server);
	assert_int_equal(server.last_seq, 1000);
	end_close(&server);
}

static void
a_link_can_be_closed_in_the_callback_of_another(void **state)
{
	struct end server, client, other;

	(void)state;
	both_up(&server, &client, ipc_url);
	server.close_this = server.link;
	end_open(&other, MSG_HTTPD, 3);
	(void)end_dial(&other, ipc_url);
	/* server's `up` for the new link closes the old one. */
	wait_for(&server, &other, is_down, &server);
	wait_for(&server, &other, is_up, &other);
	wait_for(&server, &client, is_down, &client);
	assert_int_equal(server.ups, 2);
	assert_int_equal(server.downs, 1);
	end_close(&client);
	end_close(&other);
	end_close(&server);
}

static void
a_dialed_link_can_be_closed_in_every_state(void **state)
{
	struct end server, client;
	struct link *l;

	(void)state;
	end_open(&client, MSG_HTTPD, 2);
	link_close(end_dial(&client, tcp_url)); /* dialing */
	l = end_dial(&client, tcp_url);
	assert_true(turn(&client, NULL, 30, NULL, NULL));
	link_close(l); /* waiting */
	link_close(NULL);
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, tcp_url);
	l = end_dial(&client, tcp_url);
	wait_for(&server, &client, is_up, &client);
	assert_int_equal(client.downs, 0);
	link_close(l); /* up */
	assert_int_equal(client.downs, 1);
	wait_for(&server, &client, is_down, &server);
	assert_true(turn(&server, &client, 300, NULL, NULL));
	assert_int_equal(client.ups, 1); /* it does not dial again */
	end_close(&client);
	end_close(&server);
}

static void
a_refused_counterpart_is_never_up_and_tried_seldom(void **state)
{
	struct end server, client;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_open(&client, MSG_HTTPD, 2);
	end_listen(&server, ipc_url);
	(void)end_dial(&client, ipc_url);
	client.up_answer = ERR_FOREIGN;
	assert_true(turn(&server, &client, 1100, NULL, NULL));
	assert_int_equal(client.ups + client.downs, 0);
	assert_in_range(client.hellos, 2, 6); /* every LINK_REDIAL_MS_MAX */
	client.up_answer = ERR_OK;
	wait_for(&server, &client, is_up, &client);
	end_close(&client);
	end_close(&server);
}

static bool
is_refused(void *arg)
{
	const struct end *e = arg;

	return e->refusals > 0 && e->downs == e->ups;
}

/* Whoever dialed: also when it has sent much by then, which nobody reads. */
static void
a_refused_counterpart_is_told_why(void **state)
{
	const char *urls[] = {ipc_url, tcp_url};
	struct end server, client;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct end *refuses = i % 2 == 0 ? &server : &client;
		struct end *refused = i % 2 == 0 ? &client : &server;

		end_open(&server, MSG_RAFTD, 1);
		end_open(&client, MSG_HTTPD, 2);
		end_listen(&server, urls[i / 2]);
		(void)end_dial(&client, urls[i / 2]);
		refuses->up_answer = ERR_REMOVED;
		wait_for(&server, &client, is_refused, refused);
		assert_int_equal(refused->refused, ERR_REMOVED);
		assert_int_equal(refused->ups, refused->downs);
		assert_int_equal(refuses->ups + refuses->downs, 0);
		assert_int_equal(refuses->refusals, 0);
		refuses->up_answer = ERR_OK;
		wait_for(&server, &client, is_up, refuses);
		end_close(&client);
		end_close(&server);
	}
}

static void
a_message_that_its_taker_refuses_closes_the_link(void **state)
{
	struct end server, client;

	(void)state;
	both_up(&server, &client, ipc_url);
	server.take_answer = ERR_MALFORMED;
	send_propose(client.link, 1, "x", 1);
	send_propose(client.link, 2, "x", 1);
	wait_for(&server, &client, is_down, &client);
	assert_int_equal(server.taken, 1); /* nothing behind it is handled */
	assert_int_equal(server.downs, 1);
	end_close(&client);
	end_close(&server);
}

/* ---- time ---- */

/* A stopped process sees a late timer and old silence: here, both ends. */
static void
a_process_that_stood_still_keeps_its_links(void **state)
{
	struct timespec stop = {
	    .tv_sec = (LINK_SILENCE_MS + 500) / 1000, .tv_nsec = 500000000};
	struct end server, client;

	(void)state;
	both_up(&server, &client, ipc_url);
	assert_int_equal(nanosleep(&stop, NULL), 0);
	assert_true(turn(&server, &client, 600, NULL, NULL));
	assert_int_equal(server.downs + client.downs, 0);
	end_close(&client);
	end_close(&server);
}

/* ---- listening ---- */

static void
a_used_or_bad_address_is_an_error_with_a_code(void **state)
{
	struct end first, second;
	char url[256];

	(void)state;
	end_open(&first, MSG_RAFTD, 1);
	end_open(&second, MSG_RAFTD, 2);
	end_listen(&first, tcp_url);
	end_listen(&first, ipc_url);
	assert_int_equal(
	    links_listen(second.ls, tcp_url, 2, 0600, &end_ops, &second),
	    EX_UNAVAILABLE);
	assert_int_equal(
	    links_listen(second.ls, ipc_url, 2, 0600, &end_ops, &second),
	    EX_UNAVAILABLE);
	assert_int_equal(
	    links_listen(second.ls, "no url", 2, 0600, &end_ops, NULL),
	    EX_USAGE);
	(void)snprintf(url, sizeof(url), "ipc:///%0200d", 0);
	assert_int_equal(
	    links_listen(second.ls, url, 2, 0600, &end_ops, NULL), EX_USAGE);
	assert_int_not_equal(links_listen(second.ls, "ipc:///no/such/dir", 2,
				 0600, &end_ops, NULL),
	    0);
	end_close(&second);
	end_close(&first);
}

static void
an_ipc_socket_has_its_mode(void **state)
{
	struct end server;
	struct stat st;

	(void)state;
	end_open(&server, MSG_RAFTD, 1);
	end_listen(&server, ipc_url);
	assert_int_equal(stat(ipc_url + strlen("ipc://"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	end_close(&server);
}

/* ---- processes that die ---- */

static void
a_killed_process_is_down_at_once_and_its_successor_up(void **state)
{
	struct end client;
	struct mono t;
	struct child *a = &children[0], *b = &children[1];
	int status;

	(void)state;
	end_open(&client, MSG_HTTPD, 2);
	(void)end_dial(&client, a->url);
	assert_int_equal(write(a->go, "g", 1), 1);
	wait_for(&client, NULL, is_up, &client);
	assert_int_equal(client.peer.epoch, (uint64_t)a->pid);
	t = mono_now();
	assert_int_equal(kill(a->pid, SIGKILL), 0);
	wait_for(&client, NULL, is_down, &client);
	assert_in_range(mono_ms_since(t, mono_now()), 0, 1000);
	assert_int_equal(waitpid(a->pid, &status, 0), a->pid);
	a->pid = 0;
	/* The successor finds a stale socket file of the same name. */
	assert_int_equal(rename(a->path, b->path), 0);
	assert_int_equal(symlink(b->path, a->path), 0);
	assert_int_equal(write(b->go, "g", 1), 1);
	wait_for(&client, NULL, is_up, &client);
	assert_int_equal(client.peer.epoch, (uint64_t)b->pid);
	end_close(&client);
}

/* The child: waits for its byte, then listens and answers until its pipe is
 * closed. */
static void
child_main(const char *url, int go)
{
	struct end e;
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(0);
	ends_loop("child");
	end_open(&e, MSG_RAFTD, (uint64_t)getpid());
	if (links_listen(e.ls, url, 1u << MSG_HTTPD, 0600, &end_ops, &e) != 0)
		_exit(1);
	for (;;) {
		struct pollfd p = {.fd = go, .events = POLLIN};

		if (poll(&p, 1, 0) == 1)
			_exit(0);
		(void)turn(&e, NULL, 50, NULL, NULL);
	}
}

/* ---- parts ---- */

static void
a_frame_is_parsed_only_when_whole_and_good(void **state)
{
	struct link_frame f = {0};
	struct buf out = {0};
	size_t len, i;

	(void)state;
	raw_frame(&out, MSG_APPLIED, bytes_of("sixteen bytes...", 16));
	for (len = 0; len < out.len; len++)
		assert_int_equal(
		    link_frame_parse(bytes_of(out.data, len), 100, &f),
		    LINK_FRAME_MORE);
	assert_int_equal(
	    link_frame_parse(buf_bytes(&out), 15, &f), LINK_FRAME_BAD_LENGTH);
	assert_int_equal(
	    link_frame_parse(buf_bytes(&out), 16, &f), LINK_FRAME_OK);
	assert_int_equal(f.type, MSG_APPLIED);
	assert_int_equal(f.body.len, 16);
	assert_int_equal(f.bytes, out.len);
	for (i = 0; i < out.len * 8; i++) {
		out.data[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_not_equal(
		    link_frame_parse(buf_bytes(&out), 100, &f), LINK_FRAME_OK);
		out.data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	buf_free(&out);
}

static void
a_complaint_is_made_once_a_minute(void **state)
{
	struct link_complaints c = {0};
	struct mono t = mono_now();
	char address[32];
	unsigned i, made = 0;

	(void)state;
	assert_true(link_complaints_admit(&c, "link", "1.2.3.4", t));
	assert_false(link_complaints_admit(&c, "link", "1.2.3.4", t));
	assert_true(link_complaints_admit(&c, "owner", "1.2.3.4", t));
	assert_true(link_complaints_admit(&c, "link", "1.2.3.5", t));
	t = mono_add_ms(t, LINK_COMPLAINT_MS - 1);
	assert_false(link_complaints_admit(&c, "link", "1.2.3.4", t));
	t = mono_add_ms(t, 1);
	assert_true(link_complaints_admit(&c, "link", "1.2.3.4", t));
	t = mono_add_ms(t, LINK_COMPLAINT_MS);
	for (i = 0; i < 1000; i++) {
		(void)snprintf(address, sizeof(address), "2.0.0.%u", i);
		made += link_complaints_admit(&c, "link", address, t);
	}
	assert_int_equal(made, LINK_COMPLAINT_KEYS);
}

/* ---- all of it ---- */

static void
start_child(struct child *c, unsigned nr)
{
	int p[2];

	(void)snprintf(c->path, sizeof(c->path), "%s/child%u", ends_dir, nr);
	(void)snprintf(c->url, sizeof(c->url), "ipc://%s", c->path);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(fcntl(p[1], F_SETFD, FD_CLOEXEC), 0);
	c->pid = fork();
	assert_int_not_equal(c->pid, -1);
	if (c->pid == 0) {
		close(p[1]);
		child_main(c->url, p[0]);
	}
	close(p[0]);
	c->go = p[1];
}

static int
group_setup(void **state)
{
	unsigned i;

	(void)state;
	if (ends_setup() != 0)
		return -1;
	for (i = 0; i < CHILDREN; i++)
		start_child(&children[i], i);
	ends_loop("test");
	return 0;
}

static int
group_teardown(void **state)
{
	unsigned i;
	int status;

	(void)state;
	for (i = 0; i < CHILDREN; i++) {
		close(children[i].go);
		if (children[i].pid > 0)
			(void)waitpid(children[i].pid, &status, 0);
		(void)unlink(children[i].path);
	}
	return ends_teardown();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_frame_is_parsed_only_when_whole_and_good),
	    cmocka_unit_test(a_complaint_is_made_once_a_minute),
	    cmocka_unit_test(both_ends_come_up_and_talk),
	    cmocka_unit_test(a_dialed_link_comes_up_when_its_listener_appears),
	    cmocka_unit_test(a_dialed_link_comes_back_with_its_counterpart),
	    cmocka_unit_test(many_small_messages_of_one_turn_arrive_in_order),
	    cmocka_unit_test(messages_of_many_turns_arrive_in_order),
	    cmocka_unit_test(the_largest_frames_arrive_whole),
	    cmocka_unit_test(closing_sends_what_is_queued),
	    cmocka_unit_test(a_link_can_be_closed_in_the_callback_of_another),
	    cmocka_unit_test(a_dialed_link_can_be_closed_in_every_state),
	    cmocka_unit_test(
		a_refused_counterpart_is_never_up_and_tried_seldom),
	    cmocka_unit_test(a_refused_counterpart_is_told_why),
	    cmocka_unit_test(a_message_that_its_taker_refuses_closes_the_link),
	    cmocka_unit_test(a_process_that_stood_still_keeps_its_links),
	    cmocka_unit_test(a_used_or_bad_address_is_an_error_with_a_code),
	    cmocka_unit_test(an_ipc_socket_has_its_mode),
	    cmocka_unit_test(
		a_killed_process_is_down_at_once_and_its_successor_up),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
