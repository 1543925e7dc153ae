/* A cluster of one node from a survivor's directory: see force.c. */
#ifndef RAFTD_FORCE_H
#define RAFTD_FORCE_H

#include <stdbool.h>

/* dir: a node's, which does not run.  dry_run: say what is there and would be
 * lost, change nothing.  Prints to standard output; a sysexits code after one
 * logged line. */
int force_new_cluster(const char *dir, bool dry_run);

#endif
