/* Listening sockets and libmicrohttpd's daemons; see server.h.
 *
 * libmicrohttpd 0.9.75 with an epoll set that we watch ourselves: with a
 * thread of its own it stalls when exactly 128 connections are ready.  Its set
 * is edge-triggered inside, so MHD_run() must follow every wake-up by it, every
 * resume, and a time-out of 0 (more work at once).
 *
 * A request that waits for its answer is visited: libmicrohttpd calls its
 * handler again in each run, as for any request without a response.  To suspend
 * and resume it would cost two epoll_ctl and a recv that finds nothing, a fifth
 * of all that httpd does for a GET; a visit costs a fraction of a system call.
 * With somebody to visit the time-out is always 0: it is believed only if the
 * run has moved something (server_wake()), and tried again after
 * VISIT_PAUSE_MS.  Those who wait longer than the usual, or are too many, are
 * suspended (request.c). */
#include "httpd/server.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "httpd/httpd.h"
#include "base/inherit.h"
#include "httpd/request.h"

/* Of one request's header and target; libmicrohttpd zeroes it per request. */
#define MEMORY_BYTES (16u << 10)
#define IDLE_S 75u
#define BACKLOG 1024
#define VISITED_MAX 256u
#define VISIT_PAUSE_MS 1u
/* In one turn: one that asks for answers, one that sends them. */
#define RUNS_MAX 2

static const uint64_t progress_ms[PROGRESSES] = {
    [PROGRESS_HEADER] = 10000, /* from connect or request line to the end */
    [PROGRESS_BODY] = 120000};

struct server {
	struct httpd *httpd;
	const struct port *port;
	struct MHD_Daemon *mhd;
	int listen_fd;    /* libmicrohttpd's, until server_quiesce(); then -1 */
	bool inherited;   /* from the service manager, which has it too */
	int epoll_fd;     /* libmicrohttpd's */
	bool wake;        /* MHD_run() in this turn */
	unsigned visited; /* requests */
	struct mono idle_at; /* MHD_run() then, at the latest */
	struct {
		struct connection *first, *last;
	} expected[PROGRESSES];
};

struct httpd *
server_httpd(const struct server *s)
{
	return s->httpd;
}

const struct port *
server_port(const struct server *s)
{
	return s->port;
}

unsigned
server_connections(const struct server *s)
{
	return MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
	    ->num_connections;
}

/* --- the socket --- */

/* Split "host:port", "[v6]:port" or ":port".  0 or -1. */
static int
split_address(
    const char *address, char *host, size_t host_bytes, const char **service)
{
	const char *colon = strrchr(address, ':');
	const char *from = address;
	size_t n;

	if (colon == NULL || colon[1] == '\0' ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    strtoul(colon + 1, NULL, 10) > 65535)
		return -1;
	n = (size_t)(colon - address);
	if (n >= 2 && from[0] == '[' && from[n - 1] == ']') {
		from++;
		n -= 2;
	} else if (memchr(from, ':', n) != NULL) {
		return -1; /* where does an unbracketed v6 address end? */
	}
	if (n >= host_bytes)
		return -1;
	memcpy(host, from, n);
	host[n] = '\0';
	*service = colon + 1;
	return 0;
}

static int
resolve(const struct port *port, const char *address, struct addrinfo **list)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	char host[256];
	const char *service;
	int rc;

	if (split_address(address, host, sizeof host, &service) != 0) {
		log_errorx("--%s %s is not an address; write HOST:PORT, "
			   "for example 127.0.0.1:3379 or [::1]:3379",
		    port->flag, address);
		return EX_USAGE;
	}
	rc = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, list);
	if (rc == EAI_AGAIN) {
		log_errorx("cannot resolve %s for --%s now: %s", address,
		    port->flag, gai_strerror(rc));
		return EX_UNAVAILABLE;
	}
	if (rc != 0) {
		log_errorx("--%s %s is not an address of this machine: %s; "
			   "write HOST:PORT",
		    port->flag, address, gai_strerror(rc));
		return EX_USAGE;
	}
	return EX_OK;
}

static int
cannot_listen(const struct port *port, const char *address)
{
	int e = errno;

	if (e == EADDRINUSE) {
		log_errorx("cannot listen on %s: address already in use; "
			   "stop the other program or choose another --%s",
		    address, port->flag);
		return EX_UNAVAILABLE;
	}
	if (e == EACCES) {
		log_errorx("cannot listen on %s: no right to use that port; "
			   "choose a --%s with a port above 1023",
		    address, port->flag);
		return EX_NOPERM;
	}
	errno = e;
	log_error(
	    "cannot listen on %s, choose another --%s", address, port->flag);
	return EX_UNAVAILABLE;
}

/* The first of the addresses; a name with several is better written out. */
static int
open_socket(const struct port *port, const char *address, int *fdp)
{
	struct addrinfo *list;
	int one = 1, fd, rc;

	if ((rc = resolve(port, address, &list)) != EX_OK)
		return rc;
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    list->ai_protocol);
	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == -1 ||
	    bind(fd, list->ai_addr, list->ai_addrlen) == -1 ||
	    listen(fd, BACKLOG) == -1) {
		rc = cannot_listen(port, address);
		if (fd != -1)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	*fdp = fd;
	return rc;
}

/* The service manager's, if it has passed one, else one of our own. */
static int
take_socket(struct server *s, const char *address)
{
	int rc = inherit_socket(s->port->name, &s->listen_fd);

	if (rc != EX_OK)
		return rc;
	s->inherited = s->listen_fd != -1;
	return s->inherited ? EX_OK
			    : open_socket(s->port, address, &s->listen_fd);
}

/* Where fd listens, with the port that the kernel chose for ":0". */
static void
log_listening(const struct server *s)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof ss;
	char host[NI_MAXHOST], service[NI_MAXSERV];

	if (getsockname(s->listen_fd, (struct sockaddr *)&ss, &n) == -1 ||
	    getnameinfo((struct sockaddr *)&ss, n, host, sizeof host, service,
		sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	log_info("listening port=%s address=%s%s%s:%s%s", s->port->name,
	    ss.ss_family == AF_INET6 ? "[" : "", host,
	    ss.ss_family == AF_INET6 ? "]" : "", service,
	    s->inherited ? " socket=inherited" : "");
}

/* --- connections --- */

static void
unlist(struct connection *c)
{
	struct server *s = c->server;

	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		s->expected[c->list].first = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		s->expected[c->list].last = c->prev;
	c->prev = c->next = NULL;
	c->list = -1;
}

void
connection_rest(struct connection *c)
{
	if (c->list != -1)
		unlist(c);
}

void
connection_expect(struct connection *c, enum progress what, struct mono now)
{
	struct server *s = c->server;

	connection_rest(c);
	c->list = (int)what;
	c->deadline = mono_add_ms(now, progress_ms[what]);
	c->prev = s->expected[what].last;
	if (c->prev != NULL)
		c->prev->next = c;
	else
		s->expected[what].first = c;
	s->expected[what].last = c;
}

/* Those that are too slow: libmicrohttpd sees the end of the stream and
 * cleans up. */
static void
end_slow(struct server *s, struct mono now)
{
	for (int i = 0; i < PROGRESSES; i++) {
		struct connection *c;

		while ((c = s->expected[i].first) != NULL &&
		       mono_reached(c->deadline, now)) {
			unlist(c);
			log_debug("client too slow port=%s awaited=%s",
			    s->port->name,
			    i == PROGRESS_HEADER ? "header" : "body");
			(void)shutdown(c->fd, SHUT_RDWR); /* or gone */
			s->wake = true;
		}
	}
}

static void
on_connection(void *arg, struct MHD_Connection *mhd, void **context,
    enum MHD_ConnectionNotificationCode what)
{
	struct server *s = arg;
	struct connection *c = *context;

	switch (what) {
	case MHD_CONNECTION_NOTIFY_STARTED:
		c = mem_zalloc(1, sizeof *c);
		c->server = s;
		c->list = -1;
		c->fd = MHD_get_connection_info(
		    mhd, MHD_CONNECTION_INFO_CONNECTION_FD)
			    ->connect_fd;
		connection_expect(c, PROGRESS_HEADER, s->httpd->now);
		*context = c;
		break;
	case MHD_CONNECTION_NOTIFY_CLOSED:
		connection_rest(c);
		/* At its limit of connections (or of descriptors)
		 * libmicrohttpd stops watching the listening socket, and
		 * watches it again at the start of the first MHD_run() after
		 * one has ended: nothing else would wake us for that. */
		c->server->wake = true;
		mem_free(c);
		*context = NULL;
		break;
	}
}

/* --- libmicrohttpd --- */

/* Keys and paths stay as they came: uri.c decodes them. */
static size_t
keep_encoded(void *arg, struct MHD_Connection *mhd, char *text)
{
	(void)arg;
	(void)mhd;
	return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void
on_log(void *arg, const char *fmt, va_list ap)
{
	const struct server *s = arg;
	char line[256];
	int n = vsnprintf(line, sizeof line, fmt, ap);

	if (n > 0 && (size_t)n < sizeof line && line[n - 1] == '\n')
		line[n - 1] = '\0';
	log_debug("libmicrohttpd port=%s says=%s", s->port->name, line);
}

static _Noreturn void
on_panic(void *arg, const char *file, unsigned line, const char *reason)
{
	(void)arg;
	log_errorx("libmicrohttpd gives up file=%s line=%u reason=%s", file,
	    line, reason != NULL ? reason : "?");
	abort();
}

static void
on_readable(void *arg, uint32_t events)
{
	struct server *s = arg;

	(void)events;
	s->wake = true;
}

static struct MHD_Daemon *
start_daemon(struct server *s)
{
	unsigned limit = s->port->connections_max;

	if (limit == 0)
		limit = (unsigned)s->httpd->connections_max;
	MHD_set_panic_func(on_panic, NULL);
	/* One option per line: */
	/* clang-format off */
	return MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, request_on_data, s,
	    MHD_OPTION_EXTERNAL_LOGGER, on_log, s, /* must be the first */
	    MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
	    MHD_OPTION_URI_LOG_CALLBACK, request_on_target, s,
	    MHD_OPTION_NOTIFY_COMPLETED, request_on_completed, s,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
	    MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
	    MHD_OPTION_CONNECTION_LIMIT, limit,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, /* Host, blanks in targets */
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
	    MHD_OPTION_END);
	/* clang-format on */
}

int
server_open(struct server **sp, struct httpd *h, const struct port *port,
    const char *address)
{
	struct server *s = mem_zalloc(1, sizeof *s);
	int rc;

	s->httpd = h;
	s->port = port;
	s->idle_at = MONO_NEVER;
	if ((rc = take_socket(s, address)) != EX_OK)
		goto fail_socket;
	s->mhd = start_daemon(s);
	if (s->mhd == NULL) {
		log_errorx("cannot start libmicrohttpd port=%s", port->name);
		rc = EX_OSERR;
		goto fail_daemon;
	}
	s->epoll_fd =
	    MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	loop_watch(h->loop, s->epoll_fd, EPOLLIN, on_readable, s);
	s->wake = true;
	log_listening(s);
	*sp = s;
	return EX_OK;

fail_daemon:
	close(s->listen_fd);
fail_socket:
	mem_free(s);
	return rc;
}

void
server_close(struct server *s)
{
	if (s == NULL)
		return;
	loop_unwatch(s->httpd->loop, s->epoll_fd);
	MHD_stop_daemon(s->mhd);
	for (int i = 0; i < PROGRESSES; i++)
		assert(s->expected[i].first == NULL);
	mem_free(s);
}

void
server_quiesce(struct server *s)
{
	/* From now on the socket is ours. */
	int fd = s->listen_fd == -1 ? -1 : MHD_quiesce_daemon(s->mhd);

	s->listen_fd = -1;
	if (fd != -1)
		close(fd);
}

void
server_wake(struct server *s)
{
	s->wake = true;
}

bool
server_visit(struct server *s)
{
	if (s->visited >= VISITED_MAX)
		return false;
	s->visited++;
	return true;
}

void
server_unvisit(struct server *s)
{
	assert(s->visited > 0);
	s->visited--;
}

static void
run_once(struct server *s, struct mono now)
{
	MHD_UNSIGNED_LONG_LONG ms;

	s->wake = false;
	(void)MHD_run(s->mhd); /* fails only for other kinds of daemons */
	if (MHD_get_timeout(s->mhd, &ms) != MHD_YES)
		s->idle_at = MONO_NEVER;
	else if (ms > 0)
		s->idle_at = mono_add_ms(now, ms);
	else if (s->visited > 0)
		s->idle_at = mono_add_ms(now, VISIT_PAUSE_MS);
	else
		s->wake = true;
}

void
server_run(struct server *s, struct mono now)
{
	end_slow(s, now);
	if (mono_reached(s->idle_at, now))
		s->wake = true;
	for (int i = 0; s->wake && i < RUNS_MAX; i++)
		run_once(s, now);
}

struct mono
server_next(const struct server *s)
{
	struct mono next = s->idle_at;

	if (s->wake)
		return (struct mono){0};
	for (int i = 0; i < PROGRESSES; i++)
		if (s->expected[i].first != NULL)
			next =
			    mono_earlier(next, s->expected[i].first->deadline);
	return next;
}
