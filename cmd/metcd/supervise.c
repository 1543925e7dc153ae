/* The supervisor's state table; see supervise.h. */
#include "cmd/metcd/supervise.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/log.h"

typedef void action_fn(struct supervisor *s, enum child_id id);

static void dispatch(
    struct supervisor *s, enum child_id id, enum child_event event);
static void stop_next(struct supervisor *s);

const char *
child_name(enum child_id id)
{
	switch (id) {
	case CHILD_HTTPD:
		return "httpd";
	case CHILD_RAFTD:
		return "raftd";
	case CHILD_KVD:
		return "kvd";
	}
	assert(0);
	return "?";
}

/* --- judgement of a death --- */

/* May a child that ended with this code be started again?  Codes: see
 * base/daemon.h.  What the outside may still change ends everything only if
 * the child has never been ready: then the user is looking on and wants to
 * know at once. */
static bool
is_final(const struct child *c, int code)
{
	switch (code) {
	case EX_USAGE:
	case EX_NOPERM:
	case EX_CONFIG:
		return true;
	case EX_UNAVAILABLE:
	case EX_IOERR:
	case EX_TEMPFAIL:
		return !c->was_ready;
	default:
		return false;
	}
}

/* The delay before the restart of a child that has died; 0: at once. */
static uint64_t
restart_delay_ms(struct child *c)
{
	uint64_t delay_ms;

	if (c->ran_ms >= CHILD_STEADY_MS)
		c->backoff_ms = 0;
	delay_ms = c->backoff_ms;
	c->backoff_ms = delay_ms == 0 ? CHILD_BACKOFF_MS_MIN : 2 * delay_ms;
	if (c->backoff_ms > CHILD_BACKOFF_MS_MAX)
		c->backoff_ms = CHILD_BACKOFF_MS_MAX;
	return delay_ms;
}

static void
log_death(enum child_id id, const struct child *c, uint64_t delay_ms)
{
	bool killed = WIFSIGNALED(c->status);

	log_warnx("process died process=%s pid=%d %s=%d restart_ms=%" PRIu64,
	    child_name(id), (int)c->pid, killed ? "signal" : "exit",
	    killed ? WTERMSIG(c->status) : WEXITSTATUS(c->status), delay_ms);
}

/* --- actions --- */

static void
act_spawn(struct supervisor *s, enum child_id id)
{
	struct child *c = &s->child[id];

	c->pid = s->ops->spawn(s->arg, id);
	if (c->pid == -1) {
		/* No process, no memory: the machine may recover. */
		c->state = CHILD_BACKOFF;
		s->ops->timer(s->arg, id, CHILD_BACKOFF_MS_MAX);
		return;
	}
	c->state = CHILD_STARTING;
	log_info("started process=%s pid=%d", child_name(id), (int)c->pid);
}

static void
act_up(struct supervisor *s, enum child_id id)
{
	s->child[id].state = CHILD_UP;
	s->child[id].was_ready = true;
	for (unsigned i = 0; i < CHILDREN; i++) {
		if (s->child[i].state != CHILD_UP)
			return;
	}
	if (s->was_ready || s->stopping)
		return;
	s->was_ready = true;
	s->ops->all_ready(s->arg);
}

static void
act_gone(struct supervisor *s, enum child_id id)
{
	s->child[id].pid = -1;
	if (s->child[id].restart) {
		s->child[id].restart = false;
		s->child[id].backoff_ms = 0;
		act_spawn(s, id);
		return;
	}
	s->child[id].state = CHILD_GONE;
	stop_next(s);
}

static void
act_judge(struct supervisor *s, enum child_id id)
{
	struct child *c = &s->child[id];
	int code = WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -1;
	uint64_t delay_ms;

	if (s->stopping) {
		act_gone(s, id); /* before its turn; the end all the same */
		return;
	}
	if (is_final(c, code)) {
		/* It has said why, in its own one line. */
		log_info("process cannot run, stopping process=%s exit=%d",
		    child_name(id), code);
		c->state = CHILD_GONE;
		c->pid = -1;
		supervise_stop(s, code);
		return;
	}
	delay_ms = restart_delay_ms(c);
	log_death(id, c, delay_ms);
	c->state = CHILD_BACKOFF;
	c->pid = -1;
	if (delay_ms == 0)
		act_spawn(s, id);
	else
		s->ops->timer(s->arg, id, delay_ms);
}

static void
act_term(struct supervisor *s, enum child_id id)
{
	s->child[id].state = CHILD_STOPPING;
	s->ops->signal(s->arg, s->child[id].pid, SIGTERM);
	s->ops->timer(s->arg, id, CHILD_STOP_MS);
}

static void
act_restart(struct supervisor *s, enum child_id id)
{
	s->child[id].restart = true;
	act_term(s, id);
}

static void
act_kill(struct supervisor *s, enum child_id id)
{
	s->child[id].state = CHILD_STOPPING;
	s->ops->signal(s->arg, s->child[id].pid, SIGKILL);
}

static void
act_kill_late(struct supervisor *s, enum child_id id)
{
	log_warnx("process did not stop in time, killing it process=%s pid=%d",
	    child_name(id), (int)s->child[id].pid);
	act_kill(s, id);
}

static void
act_nothing(struct supervisor *s, enum child_id id)
{
	(void)s;
	(void)id;
}

/* --- the table --- */

#define NOT act_nothing
static action_fn *const actions[CHILD_STATES][CHILD_EVENTS] = {
    /* START, READY, EXIT, TIMER, RESTART, STOP, KILL */
    [CHILD_DOWN] = {act_spawn, NOT, NOT, NOT, NOT, act_gone, act_gone},
    [CHILD_STARTING] = {NOT, act_up, act_judge, NOT, act_restart, act_term,
	act_kill},
    [CHILD_UP] = {NOT, NOT, act_judge, NOT, act_restart, act_term, act_kill},
    [CHILD_BACKOFF] = {NOT, NOT, NOT, act_spawn, act_spawn, act_gone, act_gone},
    [CHILD_STOPPING] = {NOT, NOT, act_gone, act_kill_late, NOT, NOT, act_kill},
    [CHILD_GONE] = {NOT, NOT, NOT, NOT, NOT, NOT, NOT},
};
#undef NOT

static void
dispatch(struct supervisor *s, enum child_id id, enum child_event event)
{
	assert((unsigned)id < CHILDREN);
	actions[s->child[id].state][event](s, id);
}

/* --- the whole --- */

void
supervise_init(struct supervisor *s, const struct supervise_ops *ops, void *arg)
{
	*s = (struct supervisor){.ops = ops, .arg = arg};
	for (unsigned i = 0; i < CHILDREN; i++)
		s->child[i].pid = -1;
}

/* The last to stop is the first to start: what httpd dials is then there. */
void
supervise_start(struct supervisor *s)
{
	for (unsigned i = CHILDREN; i-- > 0;)
		dispatch(s, (enum child_id)i, CHILD_START);
}

void
supervise_ready(struct supervisor *s, enum child_id id)
{
	dispatch(s, id, CHILD_READY);
}

void
supervise_exited(
    struct supervisor *s, enum child_id id, int status, uint64_t ran_ms)
{
	s->child[id].status = status;
	s->child[id].ran_ms = ran_ms;
	dispatch(s, id, CHILD_EXIT);
}

void
supervise_timer(struct supervisor *s, enum child_id id)
{
	dispatch(s, id, CHILD_TIMER);
}

void
supervise_restart(struct supervisor *s, enum child_id id)
{
	if (!s->stopping)
		dispatch(s, id, CHILD_RESTART);
}

/* Ask the first child that is not gone to stop, unless it was asked. */
static void
stop_next(struct supervisor *s)
{
	if (!s->stopping)
		return;
	for (unsigned i = 0; i < CHILDREN; i++) {
		if (s->child[i].state == CHILD_GONE)
			continue;
		if (s->child[i].state != CHILD_STOPPING)
			dispatch(s, (enum child_id)i, CHILD_STOP);
		return; /* a child that is gone at once has called us again */
	}
}

void
supervise_stop(struct supervisor *s, int exit_code)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->exit_code = exit_code;
	/* Those that wait for a restart do not wait for their turn. */
	for (unsigned i = 0; i < CHILDREN; i++) {
		s->child[i].restart = false;
		if (s->child[i].state == CHILD_BACKOFF)
			s->child[i].state = CHILD_GONE;
	}
	stop_next(s);
}

void
supervise_kill(struct supervisor *s)
{
	supervise_stop(s, EX_OK);
	for (unsigned i = 0; i < CHILDREN; i++)
		dispatch(s, (enum child_id)i, CHILD_KILL);
}

bool
supervise_done(const struct supervisor *s)
{
	for (unsigned i = 0; i < CHILDREN; i++) {
		if (s->child[i].state != CHILD_GONE)
			return false;
	}
	return s->stopping;
}

bool
supervise_find(const struct supervisor *s, pid_t pid, enum child_id *id)
{
	for (unsigned i = 0; i < CHILDREN; i++) {
		if (pid > 0 && s->child[i].pid == pid) {
			*id = (enum child_id)i;
			return true;
		}
	}
	return false;
}
