/* See client.h. */
#include "tests/bench/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define EVENTS 256
#define READ_BYTES (64u << 10)

/* --- connections --- */

static void
watch(struct conn *c, int how, bool writing)
{
	struct epoll_event e = {
	    .events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.ptr = c};

	c->writing = writing;
	if (epoll_ctl(c->client->epoll_fd, how, c->fd, &e) == -1) {
		perror("load: epoll_ctl");
		exit(1);
	}
}

/* On the loopback: it may wait. */
static int
connect_it(struct conn *c)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(c->client->port)};
	int one = 1;

	inet_pton(AF_INET, c->client->host, &to.sin_addr);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		return -1;
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) == -1 ||
	    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ==
		-1 ||
	    fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1) {
		close(c->fd);
		c->fd = -1;
		return -1;
	}
	watch(c, EPOLL_CTL_ADD, false);
	return 0;
}

/* The responses that will not come. */
static void
give_up(struct conn *c)
{
	unsigned lost = c->under_way;

	c->under_way = 0;
	c->part = PART_HEADER;
	buf_clear(&c->in);
	buf_clear(&c->out);
	while (lost-- > 0)
		c->client->fn(c->client->arg, c, 0);
}

static void
broken(struct conn *c)
{
	c->client->broken++;
	if (c->fd != -1)
		close(c->fd);
	(void)connect_it(c); /* else tried again with the next request */
	give_up(c);
}

int
client_open(struct client *cl, const char *address, unsigned count,
    client_response_fn *fn, void *arg)
{
	const char *colon = strrchr(address, ':');
	struct in_addr ip;

	memset(cl, 0, sizeof *cl);
	cl->fn = fn;
	cl->arg = arg;
	if (colon == NULL || (size_t)(colon - address) >= sizeof cl->host) {
		fprintf(stderr, "load: %s is not A.B.C.D:PORT\n", address);
		return -1;
	}
	memcpy(cl->host, address, (size_t)(colon - address));
	cl->port = (uint16_t)strtoul(colon + 1, NULL, 10);
	if (inet_pton(AF_INET, cl->host, &ip) != 1 || cl->port == 0) {
		fprintf(stderr, "load: %s is not A.B.C.D:PORT\n", address);
		return -1;
	}
	(void)prctl(PR_SET_TIMERSLACK, 1ul); /* ns */
	cl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cl->conn = mem_zalloc(count, sizeof cl->conn[0]);
	for (; cl->conn_count < count; cl->conn_count++) {
		struct conn *c = &cl->conn[cl->conn_count];

		c->client = cl;
		c->number = cl->conn_count;
		if (connect_it(c) == -1) {
			fprintf(stderr, "load: connect %s: %s\n", address,
			    strerror(errno));
			client_close(cl);
			return -1;
		}
	}
	return 0;
}

void
client_close(struct client *cl)
{
	for (unsigned i = 0; i < cl->conn_count; i++) {
		struct conn *c = &cl->conn[i];

		if (c->fd != -1)
			close(c->fd);
		buf_free(&c->in);
		buf_free(&c->out);
	}
	mem_free(cl->conn);
	close(cl->epoll_fd);
}

/* --- requests --- */

static void
flush(struct conn *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

		if (n == -1 && errno == EAGAIN)
			break;
		if (n == -1) {
			broken(c);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	if ((c->out.len > 0) != c->writing)
		watch(c, EPOLL_CTL_MOD, c->out.len > 0);
}

void
client_send(struct conn *c, unsigned requests)
{
	c->under_way += requests;
	if (c->fd == -1 && connect_it(c) == -1) {
		give_up(c);
		return;
	}
	flush(c);
}

/* --- responses --- */

/* The value of a header field in the lines from at on; NULL: not there. */
static const char *
field(const char *at, const char *end, const char *name)
{
	size_t n = strlen(name);

	while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		at++;
		if ((size_t)(end - at) > n && strncasecmp(at, name, n) == 0 &&
		    at[n] == ':')
			return at + n + 1 + strspn(at + n + 1, " ");
	}
	return NULL;
}

static void
response_done(struct conn *c)
{
	c->part = PART_HEADER;
	if (c->under_way > 0) {
		c->under_way--;
		c->client->fn(c->client->arg, c, c->status);
	}
}

/* 1: understood; 0: more is needed; -1: not HTTP. */
static int
take_header(struct conn *c)
{
	const char *text = (const char *)c->in.data, *end, *value;

	if (c->in.len == 0)
		return 0;
	end = memmem(text, c->in.len, "\r\n\r\n", 4);
	if (end == NULL)
		return 0;
	if (end - text < 12 || memcmp(text, "HTTP/1.1 ", 9) != 0)
		return -1;
	end += 2;
	c->status = (int)strtoul(text + 9, NULL, 10);
	c->left = 0;
	c->part = PART_LENGTH;
	if ((value = field(text, end, "Content-Length")) != NULL)
		c->left = strtoul(value, NULL, 10);
	else if (field(text, end, "Transfer-Encoding") != NULL)
		c->part = PART_CHUNK_SIZE;
	buf_consume(&c->in, (size_t)(end - text) + 2);
	if (c->part == PART_LENGTH && c->left == 0)
		response_done(c);
	return 1;
}

static int
take_chunk_size(struct conn *c)
{
	const char *text = (const char *)c->in.data, *end;

	end = c->in.len == 0 ? NULL : memchr(text, '\n', c->in.len);
	if (end == NULL)
		return 0;
	c->left = strtoul(text, NULL, 16);
	c->chunks_end = c->left == 0;
	c->left += 2; /* CR LF */
	c->part = PART_CHUNK;
	buf_consume(&c->in, (size_t)(end - text) + 1);
	return 1;
}

static int
take_body(struct conn *c)
{
	size_t n = c->in.len < c->left ? c->in.len : c->left;

	if (n == 0)
		return 0;
	buf_consume(&c->in, n);
	c->left -= n;
	if (c->left > 0)
		return 0;
	if (c->part == PART_LENGTH || c->chunks_end)
		response_done(c);
	else
		c->part = PART_CHUNK_SIZE;
	return 1;
}

static int
take(struct conn *c)
{
	switch (c->part) {
	case PART_HEADER:
		return take_header(c);
	case PART_CHUNK_SIZE:
		return take_chunk_size(c);
	case PART_LENGTH:
	case PART_CHUNK:
		return take_body(c);
	}
	return -1;
}

static void
read_some(struct conn *c)
{
	int fd = c->fd, rc;
	ssize_t n;

	buf_reserve(&c->in, READ_BYTES);
	n = recv(fd, c->in.data + c->in.len, READ_BYTES, 0);
	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0) {
		broken(c);
		return;
	}
	c->in.len += (size_t)n;
	while ((rc = take(c)) > 0)
		if (c->fd != fd)
			return; /* it broke while sending the next one */
	if (rc < 0)
		broken(c);
}

void
client_wait(struct client *cl, struct mono until)
{
	struct epoll_event events[EVENTS];
	struct mono now = mono_now();
	struct timespec left = {0, 0};
	int n;

	if (until.ns > now.ns) {
		left.tv_sec = (time_t)((until.ns - now.ns) / 1000000000u);
		left.tv_nsec = (long)((until.ns - now.ns) % 1000000000u);
	}
	n = epoll_pwait2(cl->epoll_fd, events, EVENTS, &left, NULL);
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (c->fd != -1 && (events[i].events & EPOLLOUT) != 0)
			flush(c);
		if (c->fd != -1 && (events[i].events & ~(unsigned)EPOLLOUT))
			read_some(c);
	}
}
