/* The ceiling: what libmicrohttpd itself allows.  The same way as httpd uses it
 * (an epoll set that we watch, every request suspended and resumed in the next
 * turn of the loop), and nothing behind it: a PUT is answered with 204 once its
 * body is read, a GET with 200 and VALUE_BYTES bytes.
 *
 *	ceiling PORT [VALUE_BYTES]
 *
 * Ends at SIGTERM or SIGINT. */
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define MEMORY_BYTES (32u << 10)
#define IDLE_S 75u
#define CONNECTIONS_MAX 6000u
#define VALUE_BYTES_MAX (1ul << 20)

struct request {
	struct MHD_Connection *connection;
	struct request *next; /* of those that wait for the next turn */
	size_t body_bytes;
	int started, put, answered;
};

struct server {
	struct request *waiting;
	struct MHD_Response *empty;
	struct MHD_Response *value;
};

static enum MHD_Result
on_data(void *arg, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data,
    size_t *data_bytes, void **context)
{
	struct server *s = arg;
	struct request *rq = *context;

	(void)url;
	(void)version;
	(void)data;
	if (!rq->started) { /* the header; an answer here would end it */
		rq->started = 1;
		rq->connection = connection;
		rq->put = strcmp(method, MHD_HTTP_METHOD_PUT) == 0;
		return MHD_YES;
	}
	if (*data_bytes > 0) {
		rq->body_bytes += *data_bytes;
		*data_bytes = 0;
		return MHD_YES;
	}
	if (!rq->answered) {
		rq->answered = 1;
		rq->next = s->waiting;
		s->waiting = rq;
		MHD_suspend_connection(connection);
		return MHD_YES;
	}
	if (rq->put)
		return MHD_queue_response(
		    connection, MHD_HTTP_NO_CONTENT, s->empty);
	return MHD_queue_response(connection, MHD_HTTP_OK, s->value);
}

static void *
on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
	(void)arg;
	(void)target;
	(void)connection;
	return calloc(1, sizeof(struct request));
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode how)
{
	(void)arg;
	(void)connection;
	(void)how;
	free(*context);
	*context = NULL;
}

static void
resume_all(struct server *s)
{
	while (s->waiting != NULL) {
		struct request *rq = s->waiting;

		s->waiting = rq->next;
		MHD_resume_connection(rq->connection);
	}
}

/* Until a signal comes. */
static void
serve(struct server *s, struct MHD_Daemon *mhd, int signal_fd)
{
	int mhd_fd =
	    MHD_get_daemon_info(mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	int set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e[2] = {{.events = EPOLLIN, .data.fd = mhd_fd},
	    {.events = EPOLLIN, .data.fd = signal_fd}};

	if (set == -1 || epoll_ctl(set, EPOLL_CTL_ADD, mhd_fd, &e[0]) == -1 ||
	    epoll_ctl(set, EPOLL_CTL_ADD, signal_fd, &e[1]) == -1) {
		perror("ceiling: epoll");
		exit(1);
	}
	for (;;) {
		MHD_UNSIGNED_LONG_LONG ms;
		int timeout = -1, n;

		if (s->waiting != NULL)
			timeout = 0;
		else if (MHD_get_timeout(mhd, &ms) == MHD_YES)
			timeout = ms < 1000 ? (int)ms : 1000;
		n = epoll_wait(set, e, 2, timeout);
		for (int i = 0; i < n; i++)
			if (e[i].data.fd == signal_fd) {
				resume_all(s);
				(void)MHD_run(mhd);
				close(set);
				return;
			}
		resume_all(s);
		(void)MHD_run(mhd);
	}
}

int
main(int argc, char *argv[])
{
	static char value[VALUE_BYTES_MAX];
	struct server s = {.waiting = NULL};
	unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
	struct MHD_Daemon *mhd;
	sigset_t set;
	int signal_fd;

	if (port == 0 || port > 65535 || bytes > sizeof value) {
		fprintf(stderr, "usage: ceiling PORT [VALUE_BYTES]\n");
		return 64;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	memset(value, 'v', bytes);
	s.empty =
	    MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	s.value = MHD_create_response_from_buffer(
	    bytes, value, MHD_RESPMEM_PERSISTENT);
	mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME,
	    (uint16_t)port, NULL, NULL, on_data, &s,
	    MHD_OPTION_URI_LOG_CALLBACK, on_target, &s,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, &s,
	    MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_END);
	if (signal_fd == -1 || s.empty == NULL || s.value == NULL ||
	    mhd == NULL) {
		fprintf(stderr, "ceiling: cannot listen on port %lu\n", port);
		return 69;
	}
	serve(&s, mhd, signal_fd);
	MHD_stop_daemon(mhd);
	MHD_destroy_response(s.empty);
	MHD_destroy_response(s.value);
	return 0;
}
