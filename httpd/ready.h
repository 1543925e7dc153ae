/* Can this node serve requests?  What /readyz and /health find out. */
#ifndef HTTPD_READY_H
#define HTTPD_READY_H

#include <stdbool.h>

#include "proto/err.h"

/* Two questions are asked at once: how raftd and kvd are (status.h), and a READ
 * without keys, which goes once around the ring (pending.h).  Both have a time
 * of their own, at most a second: hanging processes cannot make it longer. */
struct readiness {
	bool status_known; /* the first one is answered: */
	bool raftd, kvd;   /* this one has answered */
	bool leader;       /* raftd knows one */
	bool applied;      /* kvd has all that is known to be committed */
	bool diverged;     /* kvd has found its state wrong */
	bool read_known;   /* the second one is answered: */
	enum err read;     /* OK, or why not */
};

#endif
