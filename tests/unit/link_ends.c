/* See link_ends.h. */
#include "tests/unit/link_ends.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/link_private.h"

char ends_dir[64];
char ipc_url[128];
char tcp_url[64];
static uint16_t tcp_port;
static struct loop *loop;

/* ---- the ends ---- */

static void
on_hello(void *arg, struct msg_hello *mine)
{
	struct end *e = arg;

	e->hellos++;
	mine->epoch = e->epoch;
	mine->node = e->epoch * 10;
}

static void
on_any(struct end *e)
{
	link_close(e->close_this);
	e->close_this = NULL;
}

static enum err
on_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct end *e = arg;

	on_any(e);
	if (e->up_answer != ERR_OK)
		return e->up_answer;
	e->ups++;
	e->link = l;
	e->peer = *theirs;
	assert_true(link_is_up(l));
	assert_ptr_equal(link_peer(l), theirs);
	return ERR_OK;
}

static void
on_down(void *arg, struct link *l)
{
	struct end *e = arg;

	e->downs++;
	assert_false(link_is_up(l));
	assert_null(link_begin(l, MSG_PROPOSE));
	assert_non_null(link_peer(l));
	if (e->link == l)
		e->link = NULL;
	on_any(e);
}

static void
send_refuse(struct link *l, uint64_t seq)
{
	struct msg_refuse m = {.what = MSG_REFUSED_PROPOSE, .seq = seq};
	struct wire *w = link_begin(l, MSG_REFUSE);

	if (w == NULL)
		return;
	(void)msg_refuse_wire(w, &m);
	link_end(l);
}

static enum err
on_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct end *e = arg;
	struct msg_propose m;

	on_any(e);
	e->taken++;
	e->taken_bytes += body->left;
	if (type != MSG_PROPOSE)
		return e->take_answer;
	if (msg_propose_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	e->in_order = e->in_order && m.seq == e->last_seq + 1;
	e->last_seq = m.seq;
	if (e->reply)
		send_refuse(l, m.seq);
	return e->take_answer;
}

static void
on_refused(void *arg, struct link *l, enum err code)
{
	struct end *e = arg;

	assert_non_null(link_peer(l));
	e->refusals++;
	e->refused = code;
	on_any(e);
}

const struct link_ops end_ops = {on_hello, on_up, on_down, on_take, on_refused};

void
end_open(struct end *e, enum msg_process self, uint64_t epoch)
{
	memset(e, 0, sizeof(*e));
	e->epoch = epoch;
	e->in_order = true;
	e->ls = links_open(loop, self);
}

void
end_listen(struct end *e, const char *url)
{
	assert_int_equal(
	    links_listen(
		e->ls, url, 1u << MSG_HTTPD | 1u << MSG_KVD, 0600, &end_ops, e),
	    0);
}

struct link *
end_dial(struct end *e, const char *url)
{
	return links_dial(e->ls, url, MSG_RAFTD, "raftd", &end_ops, e);
}

void
end_close(struct end *e)
{
	links_close(e->ls, 0);
	e->ls = NULL;
}

bool
turn(struct end *a, struct end *b, unsigned ms, bool (*done)(void *), void *arg)
{
	struct mono end = mono_add_ms(mono_now(), ms);
	struct mono now = mono_now();

	for (;;) {
		links_take(a->ls);
		if (b != NULL)
			links_take(b->ls);
		links_flush(a->ls);
		if (b != NULL)
			links_flush(b->ls);
		if (done != NULL && done(arg))
			return true;
		if (mono_reached(end, now))
			return done == NULL;
		now = loop_wait(loop, end);
	}
}

bool
is_up(void *arg)
{
	return link_is_up(((struct end *)arg)->link);
}

bool
is_down(void *arg)
{
	return ((struct end *)arg)->downs > 0;
}

bool
has_message(void *arg)
{
	return ((struct end *)arg)->taken > 0;
}

void
both_up(struct end *server, struct end *client, const char *url)
{
	end_open(server, MSG_RAFTD, 1);
	end_open(client, MSG_HTTPD, 2);
	end_listen(server, url);
	(void)end_dial(client, url);
	wait_for(server, client, is_up, client);
	wait_for(server, client, is_up, server);
}

void
send_propose(struct link *l, uint64_t seq, const void *data, size_t len)
{
	struct msg_propose m = {seq, 1, bytes_of(data, len)};
	struct wire *w = link_begin(l, MSG_PROPOSE);

	assert_non_null(w);
	assert_int_equal(msg_propose_wire(w, &m), ERR_OK);
	link_end(l);
}

/* ---- strangers ---- */

int
raw_connect(const char *url)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(tcp_port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strncmp(url, "tcp:", 4) == 0) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		rc = connect(fd, (struct sockaddr *)&in, sizeof(in));
	} else {
		(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s",
		    url + strlen("ipc://"));
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		rc = connect(fd, (struct sockaddr *)&un, sizeof(un));
	}
	assert_int_equal(rc, 0);
	return fd;
}

void
raw_send(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* Append the frame of a message with this body. */
void
raw_frame(struct buf *out, uint8_t type, struct bytes body)
{
	size_t at = link_frame_begin(out);

	buf_append(out, body.data, body.len);
	link_frame_end(out, at, type);
}

void
raw_hello(struct buf *out, uint8_t process)
{
	struct msg_hello m = {.magic = MSG_MAGIC,
	    .protocol = MSG_PROTOCOL,
	    .process = process,
	    .epoch = 99};
	struct buf body = {0};
	struct wire w;

	wire_encode(&w, &body);
	(void)msg_hello_wire(&w, &m);
	raw_frame(out, MSG_HELLO, buf_bytes(&body));
	buf_free(&body);
}

/* The other end has closed; what it sent before is thrown away. */
bool
raw_is_closed(void *arg)
{
	char bytes[65536];
	int fd = *(int *)arg;
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	return n == 0 || (errno != EAGAIN && errno != EINTR);
}

/* ---- where they meet ---- */

static uint16_t
free_port(void)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	return ntohs(in.sin_port);
}

int
ends_setup(void)
{
	(void)snprintf(ends_dir, sizeof(ends_dir), "/tmp/metcd-link-XXXXXX");
	if (mkdtemp(ends_dir) == NULL)
		return -1;
	(void)snprintf(ipc_url, sizeof(ipc_url), "ipc://%s/sock", ends_dir);
	tcp_port = free_port();
	(void)snprintf(
	    tcp_url, sizeof(tcp_url), "tcp://127.0.0.1:%u", tcp_port);
	return 0;
}

void
ends_loop(const char *log_name)
{
	log_open(log_name, 0);
	if (getenv("LINK_TEST_LOG") == NULL)
		log_level_set(LOG_ERROR);
	loop = loop_open();
}

void
ends_share(loop_turn_fn *fn)
{
	loop_share(loop, fn, loop);
}

int
ends_teardown(void)
{
	loop_close(loop);
	(void)unlink(ipc_url + strlen("ipc://"));
	return rmdir(ends_dir);
}
