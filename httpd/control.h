/* Orders of administrators to this node's raftd: CONTROL, answered by
 * CONTROLLED.  They can take long; whoever waits is told after ORDER_MS at the
 * latest, or when raftd goes away or we stop.  Then nobody here knows whether
 * the order is carried out all the same: the code is ERR_TIMEOUT for all
 * three, and why says which it was. */
#ifndef HTTPD_CONTROL_H
#define HTTPD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "httpd/asker.h"
#include "proto/err.h"
#include "proto/link.h"
#include "proto/msg.h"

/* raftd itself gives up after about 50 s, and knows better why. */
#define ORDER_MS 60000u

struct control;

/* Memory of its request, zeroed. */
struct control_waiter {
	struct asker asker;
	struct msg_control *order; /* ours, while it waits and is answered */
};

/* m->code is an enum err; id and index are meaningful when it is ERR_OK.
 * w->order is what was ordered. */
typedef void control_answer_fn(
    struct control_waiter *w, const struct msg_controlled *m);

struct control *control_open(struct link *raftd, control_answer_fn *answer);
void control_close(struct control *ct); /* NULL is allowed */

/* order is copied; its token is given here.  false: raftd is away, nothing was
 * ordered. */
bool control_add(struct control *ct, struct control_waiter *w,
    const struct msg_control *order, struct mono now);
void control_forget(struct control *ct, struct control_waiter *w);

/* Answer those whose time is up; once per turn. */
void control_run(struct control *ct, struct mono now);
struct mono control_next(const struct control *ct);

enum err control_take(struct control *ct, struct wire *body);
void control_raftd_down(struct control *ct);
void control_stop(struct control *ct); /* answer everybody at once */

#endif
