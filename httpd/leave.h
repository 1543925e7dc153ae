/* Clients that leave while their request travels, and is suspended.
 *
 * libmicrohttpd does not look at the socket of a suspended connection, so we
 * do: a request that has been suspended for LEAVE_AFTER_MS is watched, and its
 * owner told when the other end is gone.
 *
 * TCP cannot tell a client that has left (close) from one that has only said
 * all it has to say (shutdown of its sending side): both send FIN, and FIN
 * counts as gone.  Waiting for more (RST) would keep the connections of
 * thousands of clients that gave up while a cluster has no leader; and
 * libmicrohttpd 0.9.75 reads from a resumed connection before it answers, and
 * closes it when it reads the end of the stream, so the answer would mostly be
 * lost all the same.  A client that wants its answer keeps its side open until
 * it has it.
 *
 * A request is answered in milliseconds when all is well: not to look in its
 * first second saves the common request two system calls.
 */
#ifndef HTTPD_LEAVE_H
#define HTTPD_LEAVE_H

#include <stdbool.h>

#include "base/loop.h"

struct leave;

/* Memory of its request, zeroed. */
struct leaver {
	struct leaver *prev, *next; /* in the order of coming */
	struct mono since;
	int fd;
	bool listed;  /* not watched yet */
	bool watched; /* fd is in the epoll set */
};

typedef void leave_fn(struct leaver *v); /* v is removed already */

struct leave *leave_open(struct loop *loop, leave_fn *gone);
void leave_close(struct leave *lv);

void leave_add(struct leave *lv, struct leaver *v, int fd, struct mono now);
void leave_remove(struct leave *lv, struct leaver *v); /* if it is in */

/* Begin to watch those who have come long enough ago; once per turn. */
void leave_run(struct leave *lv, struct mono now);
struct mono leave_next(const struct leave *lv);

#endif
