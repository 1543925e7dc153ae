/* httpd: HTTP in, commands out; answers in, HTTP out.
 *
 * Role:   serves the data port (keys and values) and the admin port; api.h.
 * Reads:  requests; RUN/raftd.sock (refusals, status); RUN/kvd.sock (results).
 * Writes: answers; PROPOSE and READ to raftd, STALE_READ to kvd.  Of files only
 *         RUN/httpd.lock.
 * Trusts: raftd and kvd of its own user to mean well; no client.
 * Exits:  0 after SIGTERM or SIGINT; 64 wrong call; 69 port in use or address
 *         not there; 71 no descriptors; 75 out of memory, or the run directory
 *         has its httpd; 77 no right to the port or that directory.
 *
 * Owns no data: killed at any moment it loses only its connections. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/watchdog.h"
#include "httpd/httpd.h"
#include "base/inherit.h"
#include "httpd/request.h"
#include "proto/limits.h"

/* Together below the supervisor's CHILD_STOP_MS (600), after which it kills. */
#define DRAIN_MS 500u           /* for what is in flight at SIGTERM */
#define FAREWELL_MS 150u        /* of that, new requests are taken */
#define FLUSH_MS 80u            /* then, for the answers to leave */
#define FDS_BESIDE_CLIENTS 320u /* admin port, links, epoll sets... */
#define RUN_DIR_BYTES 256

struct arguments {
	const char *data_dir;
	const char *run_dir;
	const char *socket_group; /* NULL: one user */
	const char *listen;
	const char *admin_listen;
	struct daemon_log log;
};

static void
read_arguments(struct httpd *h, struct arguments *a, int argc, char *argv[])
{
	const struct opt opts[] = {
	    {"data-dir", OPT_STRING, &a->data_dir, 0, 0, "DIR",
		"the node's data; its run/ holds the sockets"},
	    {"run-dir", OPT_STRING, &a->run_dir, 0, 0, "DIR",
		"directory of the sockets (default: DATA-DIR/run)"},
	    {"socket-group", OPT_STRING, &a->socket_group, 0, 0, "GROUP",
		"group of the node's processes, if they are several users"},
	    {"listen", OPT_STRING, &a->listen, 0, 0, "HOST:PORT", "data port"},
	    {"admin-listen", OPT_STRING, &a->admin_listen, 0, 0, "HOST:PORT",
		"admin port"},
	    {"max-value-bytes", OPT_U64, &h->value_bytes_max, 1,
		VALUE_BYTES_MAX, "N", "largest value, bytes"},
	    {"request-timeout-ms", OPT_U64, &h->timeout_ms, 1, 3600000, "N",
		"longest wait for an answer, milliseconds"},
	    {"max-connections", OPT_U64, &h->connections_max, 1, 65536, "N",
		"connections at a time on the data port"},
	    {"check-interval-ms", OPT_U64, &h->check_ms, 0, 86400000, "MS",
		"between comparisons of state hashes through the log; 0: none"},
	    DAEMON_LOG_OPTIONS(&a->log), {.name = NULL}};
	int rc;

	daemon_options("httpd",
	    "Serve the node's keys over HTTP, together with raftd and kvd.",
	    opts, argc, argv, NULL);
	if ((rc = daemon_log(&a->log)) != EX_OK)
		exit(rc);
}

/* A descriptor for every connection that is allowed, or fewer connections. */
static void
fit_connections(struct httpd *h)
{
	struct rlimit rl;
	uint64_t want = h->connections_max + FDS_BESIDE_CLIENTS;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur >= want)
		return;
	rl.rlim_cur = rl.rlim_max < want ? rl.rlim_max : want;
	if (setrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur >= want)
		return;
	/* Without a descriptor to spare the node's own links could not be
	 * dialed again. */
	if (h->connections_max <= rl.rlim_cur / 2)
		return;
	h->connections_max = rl.rlim_cur / 2;
	log_warnx("fewer connections than --max-connections, the limit on "
		  "open files is too low connections=%" PRIu64,
	    h->connections_max);
}

static void
on_signal(void *arg, int signo)
{
	struct httpd *h = arg;

	log_info("stopping signal=%d", signo);
	h->leaving = true;
}

static int
httpd_init(struct httpd *h, int argc, char *argv[])
{
	static const int signals[] = {SIGTERM, SIGINT, 0};
	struct arguments a = {.data_dir = "./metcd.data",
	    .listen = "127.0.0.1:3379",
	    .admin_listen = "127.0.0.1:3381",
	    .log = DAEMON_LOG_DEFAULT};
	char run_dir[RUN_DIR_BYTES];
	int rc;

	log_open("httpd", 0);
	read_arguments(h, &a, argc, argv);
	rc = daemon_run_dir(a.run_dir, a.data_dir, run_dir, sizeof run_dir);
	if (rc != EX_OK)
		return rc;
	fit_connections(h);
	/* raftd and kvd talk to the last httpd that has dialed: two would cut
	 * each other off for ever. */
	if ((rc = file_make_dir(run_dir, 0700)) != EX_OK ||
	    (rc = file_lock(run_dir, "httpd.lock", &h->lock_fd)) != EX_OK)
		return rc;
	h->epoch = daemon_random();
	h->loop = loop_open();
	loop_signals(h->loop, signals, on_signal, h); /* before nng's threads */
	/* The ports first: what is wrong with them is a wrong call. */
	if ((rc = server_open(&h->data, h, &api_port, a.listen)) != EX_OK)
		return rc;
	rc = server_open(&h->admin, h, &admin_port, a.admin_listen);
	if (rc != EX_OK || (rc = inherit_done()) != EX_OK)
		return rc;
	h->links = links_open(h->loop, MSG_HTTPD);
	if ((rc = links_share(h->links, a.socket_group)) != EX_OK ||
	    (rc = ring_open(h, run_dir)) != EX_OK)
		return rc;
	h->pending = pending_open(
	    h->epoch, h->timeout_ms, h->raftd, h->kvd, request_on_answer);
	h->status = status_open(h->raftd, h->kvd, request_on_status);
	h->control = control_open(h->raftd, request_on_control);
	h->scrapes =
	    scrapes_open(h->raftd, h->kvd, httpd_figures, h, request_on_scrape);
	checker_init(&h->checker, h->check_ms, h->kvd, h->pending);
	h->leave = leave_open(h->loop, request_on_leave);
	daemon_ready();
	watchdog_start(h->loop);
	return EX_OK;
}

static struct mono
next_turn(const struct httpd *h)
{
	struct mono next = pending_next(h->pending);

	next = mono_earlier(next, status_next(h->status));
	next = mono_earlier(next, control_next(h->control));
	next = mono_earlier(next, scrapes_next(h->scrapes));
	next = mono_earlier(next, checker_next(&h->checker));
	next = mono_earlier(next, leave_next(h->leave));
	next = mono_earlier(next, server_next(h->data));
	return mono_earlier(next, server_next(h->admin));
}

/* One turn of the loop.  What comes back from the ring is answered before
 * new requests are read, and all requests of a turn leave together. */
static struct mono
httpd_turn(struct httpd *h, struct mono limit)
{
	struct mono now = loop_wait(h->loop, mono_earlier(limit, next_turn(h)));

	h->now = now;
	links_take(h->links); /* replies, refusals, status */
	pending_expire(h->pending, now);
	status_run(h->status, now);
	control_run(h->control, now);
	scrapes_run(h->scrapes, now);
	checker_run(&h->checker, now);
	leave_run(h->leave, now);
	server_run(h->data, now); /* answers out, requests in */
	server_run(h->admin, now);
	pending_flush(h->pending, now); /* one PROPOSE, few READs */
	links_flush(h->links);
	return now;
}

/* No new connections: they are for our successor, if the socket is the service
 * manager's.  Who has one open is told by its next answer that it ends; most
 * ask often enough to hear that.  Then no new requests; those in flight have
 * what is left of DRAIN_MS to be answered as usual. */
static void
httpd_drain(struct httpd *h)
{
	struct mono now = mono_now();
	struct mono limit = mono_add_ms(now, DRAIN_MS);
	struct mono farewell = mono_add_ms(now, FAREWELL_MS);

	daemon_stopping();
	server_quiesce(h->data);
	server_quiesce(h->admin);
	while (server_connections(h->data) > 0 && !mono_reached(farewell, now))
		now = httpd_turn(h, farewell);
	h->stopping = true;
	while (pending_count(h->pending) > 0 && !mono_reached(limit, now))
		now = httpd_turn(h, limit);
	pending_stop(h->pending);
	control_stop(h->control);
	scrapes_stop(h->scrapes);
	status_stop(h->status);
	limit = mono_add_ms(now, FLUSH_MS);
	while (h->requests > 0 && !mono_reached(limit, now))
		now = httpd_turn(h, limit);
}

static void
httpd_fini(struct httpd *h)
{
	server_close(h->data);
	server_close(h->admin);
	pending_close(h->pending);
	status_close(h->status);
	control_close(h->control);
	scrapes_close(h->scrapes);
	leave_close(h->leave);
	links_close(h->links, 0);
	loop_close(h->loop);
	(void)close(h->lock_fd); /* nothing was written since */
}

int
main(int argc, char *argv[])
{
	static struct httpd h = {.value_bytes_max = VALUE_BYTES_MAX,
	    .timeout_ms = 5000,
	    .connections_max = 4096,
	    .check_ms = 60000};
	int rc;

	if ((rc = httpd_init(&h, argc, argv)) != EX_OK)
		return rc;
	while (!h.leaving)
		(void)httpd_turn(&h, MONO_NEVER);
	httpd_drain(&h);
	httpd_fini(&h);
	log_info("stopped");
	return EX_OK;
}
