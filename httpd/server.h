/* One port: a listening socket, libmicrohttpd without threads of its own, and
 * the limits on its connections.  The daemon is run from the main loop
 * whenever its epoll set is readable; see server_run(). */
#ifndef HTTPD_SERVER_H
#define HTTPD_SERVER_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "httpd/traffic.h"

struct httpd;
struct request;
struct server;

/* One connection.  It has to make its progress in time: a time-out of
 * libmicrohttpd's begins again with every byte. */
struct connection {
	struct connection *prev, *next; /* of its list, while listed */
	struct server *server;
	int fd; /* borrowed from libmicrohttpd */
	struct mono deadline;
	int list; /* enum progress; -1: nothing is expected */
};

/* What is awaited of a connection. */
enum progress { PROGRESS_HEADER, PROGRESS_BODY };
#define PROGRESSES 2

/* What makes the data port and the admin port differ. */
struct port {
	const char *name; /* in log lines and --help: "data" */
	const char *flag; /* "listen": --listen HOST:PORT */
	/* Find the route and set rq->handle, or answer.  Called before the
	 * body is read, if there is one. */
	void (*check)(struct request *rq, const char *method);
	unsigned connections_max; /* 0: --max-connections */
	uint64_t body_bytes_max;  /* 0: --max-value-bytes */
	bool tells_node;          /* Metcd-Node in all answers */
	enum traffic_port traffic;
};

extern const struct port api_port;   /* api.c */
extern const struct port admin_port; /* admin.c */

/* Listen on the socket that the service manager has passed (inherit.h), else on
 * address ("host:port", "[v6]:port", ":port" for all), and start.
 * 0 and *sp, or a sysexits code after one logged line. */
int server_open(struct server **sp, struct httpd *h, const struct port *port,
    const char *address);
/* No request may be suspended. */
void server_close(struct server *s); /* NULL is allowed */

struct httpd *server_httpd(const struct server *s);
const struct port *server_port(const struct server *s);

unsigned server_connections(const struct server *s); /* open now */

/* There is work for libmicrohttpd: run it in this turn, or, when it runs, once
 * more. */
void server_wake(struct server *s);
/* A request waits and is not suspended: until server_unvisit() we are called
 * for it in each run.  false: so many do that it must be suspended. */
bool server_visit(struct server *s);
void server_unvisit(struct server *s);
/* Let libmicrohttpd work if there is work for it: once per turn. */
void server_run(struct server *s, struct mono now);
struct mono server_next(const struct server *s);
/* Accept no more. */
void server_quiesce(struct server *s);

/* c is expected to make this progress in time, or to make none. */
void connection_expect(
    struct connection *c, enum progress what, struct mono now);
void connection_rest(struct connection *c);

#endif
