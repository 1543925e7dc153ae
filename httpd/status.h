/* Questions of status: GET /v1/status and its like.  raftd and kvd are both
 * asked, and the answer leaves when both have answered, or after STATUS_MS with
 * what was last known of the one that did not.  Nothing here waits for Raft. */
#ifndef HTTPD_STATUS_H
#define HTTPD_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "httpd/asker.h"
#include "proto/err.h"
#include "proto/link.h"
#include "proto/msg.h"

#define STATUS_MS 200u

struct status;

/* What one who asked is told; borrowed during the call.  Zero, where nothing
 * was ever said. */
struct status_view {
	bool raft_known;         /* raftd has said something, once */
	bool raft_here, kv_here; /* it has answered this question */
	const struct msg_raft_status *raft;
	const struct msg_peer_item *members; /* raft->count */
	const struct msg_kv_status *kv;
};
typedef void status_answer_fn(struct asker *a, const struct status_view *v);

struct status *status_open(
    struct link *raftd, struct link *kvd, status_answer_fn *answer);
void status_close(struct status *st); /* NULL is allowed */

void status_add(struct status *st, struct asker *a, struct mono now);
void status_forget(struct status *st, struct asker *a);

/* Answer those for whom all is here or whose time is up; once per turn, after
 * links_take(). */
void status_run(struct status *st, struct mono now);
struct mono status_next(const struct status *st);
void status_stop(struct status *st); /* answer everybody at once */

/* Messages.  *said: without the members, or all of kvd's; written only on
 * success. */
enum err status_take_raft(
    struct status *st, struct wire *body, struct msg_raft_status *said);
enum err status_take_kv(
    struct status *st, struct wire *body, struct msg_kv_status *said);
/* A HELLO says a little already. */
void status_raftd_up(struct status *st, const struct msg_hello *theirs);
void status_kvd_up(struct status *st, const struct msg_hello *theirs);

#endif
