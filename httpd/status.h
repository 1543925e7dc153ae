/* Questions of status: GET /v1/status.  raftd and kvd are both asked, and the
 * answer leaves when both have answered, or after STATUS_MS with what was last
 * known of the one that did not.  Nothing here waits for Raft. */
#ifndef HTTPD_STATUS_H
#define HTTPD_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"
#include "proto/err.h"
#include "proto/link.h"
#include "proto/msg.h"

struct status;

/* Memory of its request, zeroed. */
struct status_waiter {
	struct status_waiter *prev, *next;
	uint64_t token;
	struct mono deadline;
	bool waiting;
};

/* json is borrowed during the call. */
typedef void status_answer_fn(struct status_waiter *w, struct bytes json);

struct status *status_open(
    struct link *raftd, struct link *kvd, status_answer_fn *answer);
void status_close(struct status *st); /* NULL is allowed */

void status_add(struct status *st, struct status_waiter *w, struct mono now);
void status_forget(struct status *st, struct status_waiter *w);

/* Answer those for whom all is here or whose time is up; once per turn, after
 * links_take(). */
void status_run(struct status *st, struct mono now);
struct mono status_next(const struct status *st);

/* Messages.  *said: without the peers, or all of kvd's; written only on
 * success. */
enum err status_take_raft(
    struct status *st, struct wire *body, struct msg_raft_status *said);
enum err status_take_kv(
    struct status *st, struct wire *body, struct msg_kv_status *said);
/* A HELLO says a little already. */
void status_raftd_up(struct status *st, const struct msg_hello *theirs);
void status_kvd_up(struct status *st, const struct msg_hello *theirs);

#endif
