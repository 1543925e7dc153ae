/* Orders to a running supervisor: the socket RUN/metcd.sock, for this user
 * alone.  One connection, one message with one order, one answer when it is
 * carried out or cannot be; metcdctl is at the other end.
 *
 *   engine NAME   start kvd with that engine, now and from now on
 *   rebuild       start kvd without its store, which is made anew
 *
 *   ok TEXT       or: error TEXT
 *
 * The engine is remembered in DATA/engine, for a start without --engine. */
#ifndef CMD_METCD_CONTROL_H
#define CMD_METCD_CONTROL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/loop.h"
#include "cmd/metcd/config.h"
#include "cmd/metcd/supervise.h"

#define CONTROL_CLIENTS_MAX 8u

struct control;

struct control_client {
	struct control *control;
	int fd; /* -1: free */
};

struct control {
	struct loop *loop;
	struct config *config; /* what kvd is started with is changed here */
	struct supervisor *supervisor;
	int listen_fd; /* -1: none */
	struct control_client client[CONTROL_CLIENTS_MAX];
	/* The order that is being carried out. */
	bool busy;
	struct control_client *asker; /* NULL: has left */
	pid_t old_pid;                /* of kvd, before it */
};

/* Listen.  0, or a sysexits code after one logged line. */
int control_open(struct control *c, struct loop *loop, const char *run_dir,
    struct config *config, struct supervisor *supervisor);
void control_close(struct control *c); /* zeroed is allowed */
/* After each turn: answer when kvd is there again. */
void control_run(struct control *c);

#endif
