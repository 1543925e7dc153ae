/* Starting the three programs of a node. */
#ifndef CMD_METCD_SPAWN_H
#define CMD_METCD_SPAWN_H

#include <limits.h>
#include <sys/types.h>

#include "cmd/metcd/config.h"
#include "cmd/metcd/supervise.h"

struct spawn {
	const struct config *config; /* borrowed */
	const char *run_dir;         /* borrowed */
	const char *notify_address;  /* borrowed: NOTIFY_SOCKET of a child */
	int lock_fd;                 /* stays open in every child */
	char dir[PATH_MAX];          /* where the programs are */
};

/* Find the programs: next to our own, or in ../libexec/metcd from there.
 * 0, or EX_CONFIG after one logged line. */
int spawn_find(struct spawn *s);

/* Start one program, or -1 after one logged line.  It gets SIGKILL when this
 * process ends, however that comes about. */
pid_t spawn_child(const struct spawn *s, enum child_id id);

#endif
