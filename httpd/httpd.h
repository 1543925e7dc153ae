/* The whole of one httpd process: what its modules share. */
#ifndef HTTPD_HTTPD_H
#define HTTPD_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "httpd/checker.h"
#include "httpd/control.h"
#include "httpd/leave.h"
#include "httpd/metrics.h"
#include "httpd/pending.h"
#include "httpd/server.h"
#include "httpd/status.h"
#include "httpd/traffic.h"
#include "proto/link.h"

struct httpd {
	/* From the command line. */
	uint64_t value_bytes_max;
	uint64_t timeout_ms;
	uint64_t connections_max;
	uint64_t check_ms; /* 0: never */

	uint64_t epoch;   /* of this process start */
	uint64_t node;    /* from raftd; 0: not known yet */
	uint64_t cluster; /* from raftd; 0: not known yet */

	int lock_fd; /* of RUN/httpd.lock, for life */
	struct loop *loop;
	struct mono now; /* of this turn */
	struct links *links;
	struct link *raftd; /* proposeC, readC; back: errorC */
	struct link *kvd;   /* replyC */
	bool kvd_knows_us;  /* it has heard our HELLO */
	struct pending *pending;
	struct status *status;
	struct control *control;
	struct scrapes *scrapes;
	struct checker checker;
	struct leave *leave;
	struct server *data;
	struct server *admin;

	size_t requests;   /* from the first line to the end of the answer */
	size_t body_bytes; /* that all requests hold */
	bool leaving;      /* every answer ends its connection */
	bool stopping;     /* and new requests are refused */
	struct traffic traffic;
};

/* figures.c: httpd's own families; arg is the struct httpd. */
void httpd_figures(void *arg, struct metrics *m);

/* ring.c: dial raftd and kvd, whose sockets are in run_dir.  0, or a sysexits
 * code after one logged line. */
int ring_open(struct httpd *h, const char *run_dir);

#endif
