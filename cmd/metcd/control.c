/* The supervisor's socket; see control.h. */
#include "cmd/metcd/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/metcd/engine.h"

#define ORDER_BYTES_MAX 128u
#define BACKLOG 8

/* Made with no rights for others from the first moment on. */
static int
bind_private(int fd, const struct sockaddr_un *name)
{
	const mode_t before = umask(0177);
	int rc;

	(void)unlink(name->sun_path); /* an earlier run's; DATA is locked */
	rc = bind(fd, (const struct sockaddr *)name, sizeof *name);
	(void)umask(before);
	return rc;
}

static int
listen_at(const char *run_dir)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd, n;

	n = snprintf(
	    name.sun_path, sizeof name.sun_path, "%s/metcd.sock", run_dir);
	if (n < 0 || (size_t)n >= sizeof name.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (bind_private(fd, &name) == -1 || listen(fd, BACKLOG) == -1) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* --- clients --- */

static void
client_close(struct control_client *cl)
{
	struct control *c = cl->control;

	if (c->asker == cl)
		c->asker = NULL;
	loop_unwatch(c->loop, cl->fd);
	(void)close(cl->fd); /* what was to be said is said */
	cl->fd = -1;
}

static void __attribute__((format(printf, 2, 3)))
answer(struct control_client *cl, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0 && send(cl->fd, text, strlen(text), MSG_NOSIGNAL) == -1)
		log_debug("who gave the order has left");
	client_close(cl);
}

static void
restart_kvd(struct control *c, struct control_client *cl)
{
	c->busy = true;
	c->asker = cl;
	c->old_pid = c->supervisor->child[CHILD_KVD].pid;
	supervise_restart(c->supervisor, CHILD_KVD);
}

static void
order_engine(struct control *c, struct control_client *cl, const char *name)
{
	if (!engine_is_known(name)) {
		answer(cl, "error unknown engine; choose one of %s",
		    engine_list());
		return;
	}
	if (engine_remember(c->config->data_dir, name) == -1) {
		answer(cl, "error cannot write %s/engine: %s",
		    c->config->data_dir, strerror(errno));
		return;
	}
	log_info("changing the engine from=%s to=%s", c->config->engine, name);
	c->config->engine = engine_find_name(name);
	restart_kvd(c, cl);
}

static void
order(struct control *c, struct control_client *cl, const char *text)
{
	if (c->supervisor->stopping)
		answer(cl, "error metcd is stopping");
	else if (c->busy)
		answer(cl, "error kvd is being restarted, try again");
	else if (strncmp(text, "engine ", 7) == 0)
		order_engine(c, cl, text + 7);
	else if (strcmp(text, "rebuild") == 0) {
		log_info("rebuilding the store engine=%s", c->config->engine);
		c->config->rebuild = true; /* until kvd was started once */
		restart_kvd(c, cl);
	} else
		answer(cl, "error this metcd does not know that order");
}

static void
on_client(void *arg, uint32_t events)
{
	struct control_client *cl = arg;
	char text[ORDER_BYTES_MAX + 1];
	ssize_t n = recv(cl->fd, text, ORDER_BYTES_MAX, 0);

	(void)events;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || cl->control->asker == cl) { /* left, or speaks twice */
		client_close(cl);
		return;
	}
	text[n] = '\0';
	order(cl->control, cl, text);
}

static void
on_connection(void *arg, uint32_t events)
{
	struct control *c = arg;
	int fd =
	    accept4(c->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd == -1)
		return; /* it left before we came */
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (c->client[i].fd != -1)
			continue;
		c->client[i].fd = fd;
		loop_watch(c->loop, fd, EPOLLIN, on_client, &c->client[i]);
		return;
	}
	(void)close(fd); /* no room */
}

/* --- life --- */

int
control_open(struct control *c, struct loop *loop, const char *run_dir,
    struct config *config, struct supervisor *supervisor)
{
	*c = (struct control){.loop = loop,
	    .config = config,
	    .supervisor = supervisor,
	    .listen_fd = listen_at(run_dir)};
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		c->client[i] = (struct control_client){c, -1};
	if (c->listen_fd == -1) {
		log_error("cannot listen at %s/metcd.sock", run_dir);
		c->loop = NULL;
		return EX_CANTCREAT;
	}
	loop_watch(loop, c->listen_fd, EPOLLIN, on_connection, c);
	return 0;
}

void
control_close(struct control *c)
{
	if (c->loop == NULL)
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->client[i].fd != -1)
			client_close(&c->client[i]);
	loop_unwatch(c->loop, c->listen_fd);
	(void)close(c->listen_fd);
}

void
control_run(struct control *c)
{
	const struct child *kvd = &c->supervisor->child[CHILD_KVD];

	if (!c->busy)
		return;
	if (c->supervisor->stopping) {
		c->busy = false;
		if (c->asker != NULL)
			answer(c->asker, "error metcd is stopping");
	} else if (kvd->state == CHILD_UP && kvd->pid != c->old_pid) {
		c->busy = false;
		if (c->asker != NULL)
			answer(c->asker, "ok engine=%s", c->config->engine);
	}
}
