/* Connections of a load generator to one server: HTTP/1.1 with keep-alive and
 * pipelining, one thread, epoll.  A connection that breaks is opened again;
 * what was under way on it is answered with status 0. */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"

/* A response: what of it is still to come. */
enum part { PART_HEADER, PART_LENGTH, PART_CHUNK_SIZE, PART_CHUNK };

struct conn {
	struct client *client;
	int fd; /* -1: could not be opened */
	unsigned number;
	unsigned under_way; /* requests without a response */
	struct buf out;     /* not yet written */
	struct buf in;      /* not yet understood */
	enum part part;
	int status;
	size_t left; /* of the body, or of the chunk with its CR LF */
	bool chunks_end;
	bool writing; /* EPOLLOUT is watched */
};

/* status 0: the connection broke first. */
typedef void client_response_fn(void *arg, struct conn *c, int status);

struct client {
	int epoll_fd;
	struct conn *conn;
	unsigned conn_count;
	char host[64];
	uint16_t port;
	uint64_t broken; /* connections that broke */
	client_response_fn *fn;
	void *arg;
};

/* Open count connections to address, "A.B.C.D:PORT".  0, or -1 after a line on
 * standard error. */
int client_open(struct client *cl, const char *address, unsigned count,
    client_response_fn *fn, void *arg);
void client_close(struct client *cl);
/* Send what the caller has put into c->out, requests requests. */
void client_send(struct conn *c, unsigned requests);
/* Wait until something happens or until, and call fn for each response. */
void client_wait(struct client *cl, struct mono until);

#endif
