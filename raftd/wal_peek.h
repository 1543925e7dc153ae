/* A directory of the WAL, or of snapshots, to look at: nothing in it is
 * changed.  What is written goes nowhere, and succeeds, so that recovery can be
 * run. */
#ifndef RAFTD_WAL_PEEK_H
#define RAFTD_WAL_PEEK_H

#include "raftd/wal.h"

struct wal_peek {
	struct wal_disk disk; /* the real one */
	const char *dir;      /* borrowed */
};

/* *d uses *r, which stays.  0 or -1 and errno. */
int wal_peek_open(struct wal_peek *r, struct wal_disk *d, const char *dir);

#endif
