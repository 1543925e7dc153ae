/* The supervisor's rules as a table, state x event -> action, without any I/O:
 * what is to be done is asked for through struct supervise_ops.
 *
 *            START    READY  EXIT         TIMER      RESTART   STOP      KILL
 *   DOWN     spawn    -      -            -          -         gone      gone
 *   STARTING -        up     judge        -          SIGTERM   SIGTERM SIGKILL
 *   UP       -        -      judge        -          SIGTERM   SIGTERM SIGKILL
 *   BACKOFF  -        -      -            spawn      spawn     gone      gone
 *   STOPPING -        -      gone, next   SIGKILL    -         - SIGKILL GONE
 * -        -      -            -          -         -         -
 *
 * A child that is to be restarted is STOPPING, and spawned where another one
 * would be gone.
 *
 * judge: the exit codes of base/daemon.h decide between restart (at once the
 * first time, then after a growing delay while it keeps dying young) and the
 * end of everything with that exit code.  Once the supervisor stops, nothing
 * is restarted and the children end one after the other in the order of enum
 * child_id. */
#ifndef CMD_METCD_SUPERVISE_H
#define CMD_METCD_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In the order in which they are stopped: httpd drains while the others still
 * answer it, a leading raftd hands leadership over, kvd has nothing left. */
enum child_id { CHILD_HTTPD, CHILD_RAFTD, CHILD_KVD };
#define CHILDREN 3u

enum child_state {
	CHILD_DOWN,     /* not started yet */
	CHILD_STARTING, /* runs, has not said READY=1 */
	CHILD_UP,
	CHILD_BACKOFF,  /* died; a timer starts it again */
	CHILD_STOPPING, /* SIGTERM was sent; a timer sends SIGKILL */
	CHILD_GONE      /* ended and will not be started again */
};
#define CHILD_STATES 6u

enum child_event {
	CHILD_START,
	CHILD_READY,
	CHILD_EXIT,
	CHILD_TIMER,
	CHILD_RESTART,
	CHILD_STOP,
	CHILD_KILL
};
#define CHILD_EVENTS 7u

/* A child that has run for this long is not dying young. */
#define CHILD_STEADY_MS 2000u
#define CHILD_BACKOFF_MS_MIN 50u
#define CHILD_BACKOFF_MS_MAX 2000u
/* From SIGTERM to SIGKILL; three in a row stay under two seconds. */
#define CHILD_STOP_MS 600u

struct child {
	enum child_state state;
	pid_t pid;           /* while STARTING, UP or STOPPING */
	bool was_ready;      /* ever, in this supervisor's life */
	bool restart;        /* STOPPING, to be started again */
	uint64_t backoff_ms; /* delay after the next early death */
	int status;          /* of the last exit, as from waitpid */
	uint64_t ran_ms;     /* before the last exit */
};

/* arg is the one given to supervise_init().  None may call back. */
struct supervise_ops {
	pid_t (*spawn)(void *arg, enum child_id id); /* -1: logged, retried */
	void (*signal)(void *arg, pid_t pid, int signo);
	/* One CHILD_TIMER event in ms; replaces the one pending. */
	void (*timer)(void *arg, enum child_id id, uint64_t ms);
	void (*all_ready)(void *arg); /* all are UP for the first time */
};

struct supervisor {
	const struct supervise_ops *ops;
	void *arg;
	struct child child[CHILDREN];
	bool was_ready; /* all_ready was called */
	bool stopping;
	int exit_code; /* when stopping */
};

const char *child_name(enum child_id id); /* "raftd": the program's name */

void supervise_init(
    struct supervisor *s, const struct supervise_ops *ops, void *arg);
void supervise_start(struct supervisor *s); /* spawns all */

/* What happened to a child; what does not fit its state is ignored. */
void supervise_ready(struct supervisor *s, enum child_id id);
void supervise_exited(
    struct supervisor *s, enum child_id id, int status, uint64_t ran_ms);
void supervise_timer(struct supervisor *s, enum child_id id);

/* Stop a child and start it again, at once. */
void supervise_restart(struct supervisor *s, enum child_id id);

/* Stop the children in order, then be done with exit_code.  The first call
 * decides. */
void supervise_stop(struct supervisor *s, int exit_code);
void supervise_kill(struct supervisor *s); /* all of them, now */
bool supervise_done(const struct supervisor *s);

/* The child with that pid: true and *id, or false. */
bool supervise_find(const struct supervisor *s, pid_t pid, enum child_id *id);

#endif
