/* metcd: runs the three processes of a node.
 *
 * Role    Supervisor for laptops, tests and containers: starts raftd, kvd and
 *         httpd, starts again what dies, stops them in order.  Under systemd
 *         there is one unit per process instead.
 * Reads   Options; READY=1 of its children; orders at RUN/metcd.sock;
 *         DATA/engine.
 * Writes  DATA/LOCK, DATA/LOCK.children, DATA/engine; makes DATA and the run
 *         directory.
 * Trusts  Its children's exit codes; nothing that is stored.
 * Exits   0 told to stop; 64 wrong call; 69, 74, 75 a child could not start
 *         for that reason, or (75) the directory is in use; 77, 78 directory
 *         cannot be used or programs are missing.
 *
 * The rules are in supervise.c; this file connects them to processes, timers
 * and signals. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "cmd/metcd/config.h"
#include "cmd/metcd/control.h"
#include "cmd/metcd/engine.h"
#include "cmd/metcd/heirs.h"
#include "cmd/metcd/notify.h"
#include "cmd/metcd/spawn.h"
#include "cmd/metcd/supervise.h"

#define NOTIFY_PER_TURN 16

struct metcd;

/* A child's timer finds its way back. */
struct timer_arg {
	struct metcd *metcd;
	enum child_id id;
};

struct metcd {
	struct config config;
	char run_dir[PATH_MAX];
	int lock_fd;
	int notify_fd;
	char notify_address[NOTIFY_ADDRESS_BYTES];
	struct spawn spawn;
	struct loop *loop;
	struct supervisor supervisor;
	struct control control;
	struct mono started[CHILDREN];
	struct loop_timer timer[CHILDREN];
	struct timer_arg timer_arg[CHILDREN];
};

/* --- what the rules ask for --- */

static pid_t
op_spawn(void *arg, enum child_id id)
{
	struct metcd *m = arg;
	pid_t pid;

	m->started[id] = mono_now();
	pid = spawn_child(&m->spawn, id);
	if (id == CHILD_KVD && pid != -1)
		m->config.rebuild =
		    false; /* the one that was told to, has it */
	return pid;
}

static void
op_signal(void *arg, pid_t pid, int signo)
{
	(void)arg;
	if (kill(pid, signo) == -1) /* not reaped yet: the pid is its own */
		log_warn("cannot signal pid=%d signal=%d", (int)pid, signo);
}

static void
op_timer(void *arg, enum child_id id, uint64_t ms)
{
	struct metcd *m = arg;

	loop_timer_set(&m->timer[id], mono_add_ms(mono_now(), ms));
}

/* ":3379" is every address of this machine. */
static const char *
host_for_url(const char *address)
{
	return address[0] == ':' ? "localhost" : "";
}

static void
op_all_ready(void *arg)
{
	struct metcd *m = arg;

	log_info("ready url=http://%s%s admin=http://%s%s",
	    host_for_url(m->config.listen), m->config.listen,
	    host_for_url(m->config.admin_listen), m->config.admin_listen);
	daemon_ready();
}

static const struct supervise_ops ops = {
    .spawn = op_spawn,
    .signal = op_signal,
    .timer = op_timer,
    .all_ready = op_all_ready,
};

/* --- what happens to the children --- */

static void
on_timer(void *arg, struct mono now)
{
	struct timer_arg *t = arg;

	(void)now;
	supervise_timer(&t->metcd->supervisor, t->id);
}

static void
on_notify(void *arg, uint32_t events)
{
	struct metcd *m = arg;
	pid_t pid;
	bool ready;
	enum child_id id;

	(void)events;
	for (int i = 0; i < NOTIFY_PER_TURN; i++) {
		if (!notify_take(m->notify_fd, &pid, &ready))
			return;
		if (ready && supervise_find(&m->supervisor, pid, &id))
			supervise_ready(&m->supervisor, id);
	}
}

/* What a child said before it died comes first: one that was ready once is
 * judged otherwise. */
static void
reap(struct metcd *m)
{
	pid_t pid;
	int status;
	enum child_id id;

	on_notify(m, EPOLLIN);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		/* As a container's first process we also inherit orphans. */
		if (supervise_find(&m->supervisor, pid, &id))
			supervise_exited(&m->supervisor, id, status,
			    mono_ms_since(m->started[id], mono_now()));
	}
}

static void
on_signal(void *arg, int signo)
{
	struct metcd *m = arg;

	if (signo == SIGCHLD) {
		reap(m);
		return;
	}
	if (m->supervisor.stopping) {
		if (signo == SIGINT) {
			log_warnx("interrupted again, killing all processes");
			supervise_kill(&m->supervisor);
		}
		return;
	}
	log_info("stopping signal=%d", signo);
	daemon_stopping();
	supervise_stop(&m->supervisor, EX_OK);
}

/* --- life --- */

/* The locks come before the loop, so that signals end a wait for them. */
static int
take_directories(struct metcd *m)
{
	const char *dir = m->config.data_dir;
	int rc;

	if ((rc = file_make_dir(dir, 0700)) != 0 ||
	    (rc = daemon_run_dir(
		 m->config.run_dir, dir, m->run_dir, sizeof m->run_dir)) != 0 ||
	    (rc = file_make_dir(m->run_dir, 0700)) != 0 ||
	    (rc = file_lock(dir, "LOCK", &m->lock_fd)) != 0)
		return rc;
	return heirs_lock(dir, &m->spawn.lock_fd);
}

static bool
is_ignored(int signo)
{
	struct sigaction act;

	return sigaction(signo, NULL, &act) == 0 && act.sa_handler == SIG_IGN;
}

/* Without --engine it is the last one, whoever chose that. */
static void
choose_engine(struct config *c)
{
	const char *last = engine_recall(c->data_dir);

	if (c->engine == NULL)
		c->engine = last != NULL ? last : ENGINE_DEFAULT;
	else if (engine_is_known(c->engine) &&
		 (last == NULL || strcmp(last, c->engine) != 0) &&
		 engine_remember(c->data_dir, c->engine) == -1)
		log_warn("cannot write %s/engine; a start without --engine "
			 "will not know this one",
		    c->data_dir);
}

static void
open_loop(struct metcd *m)
{
	int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, 0};

	if (is_ignored(SIGHUP)) /* by nohup: then the terminal may go */
		signals[3] = 0;
	m->loop = loop_open();
	loop_signals(m->loop, signals, on_signal, m);
	loop_watch(m->loop, m->notify_fd, EPOLLIN, on_notify, m);
	for (unsigned i = 0; i < CHILDREN; i++) {
		m->timer_arg[i] = (struct timer_arg){m, (enum child_id)i};
		loop_timer_init(
		    m->loop, &m->timer[i], on_timer, &m->timer_arg[i]);
	}
}

static int
metcd_init(struct metcd *m, int argc, char *argv[])
{
	int rc;

	log_open("metcd", 0);
	if ((rc = config_read(&m->config, argc, argv)) != 0 ||
	    (rc = spawn_find(&m->spawn)) != 0 ||
	    (rc = take_directories(m)) != 0)
		return rc;
	choose_engine(&m->config);
	m->notify_fd = notify_open(m->notify_address);
	if (m->notify_fd == -1)
		return EX_OSERR;
	m->spawn.config = &m->config;
	m->spawn.run_dir = m->run_dir;
	m->spawn.notify_address = m->notify_address;
	open_loop(m);
	supervise_init(&m->supervisor, &ops, m);
	return control_open(
	    &m->control, m->loop, m->run_dir, &m->config, &m->supervisor);
}

static void
metcd_fini(struct metcd *m)
{
	if (m->supervisor.exit_code == EX_OK)
		log_info("stopped"); /* a failure has had its line */
	control_close(&m->control);
	loop_close(m->loop);
	(void)close(m->notify_fd); /* no data is behind any of these */
	(void)close(m->spawn.lock_fd);
	(void)close(m->lock_fd);
}

int
main(int argc, char *argv[])
{
	static struct metcd m;
	int rc;

	if ((rc = metcd_init(&m, argc, argv)) != 0)
		return rc;
	supervise_start(&m.supervisor);
	while (!supervise_done(&m.supervisor)) {
		(void)loop_wait(m.loop, MONO_NEVER);
		control_run(&m.control);
	}
	metcd_fini(&m);
	return m.supervisor.exit_code;
}
