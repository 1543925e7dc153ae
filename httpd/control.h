/* Orders of administrators to this node's raftd: CONTROL, answered by
 * CONTROLLED.  They can take long; whoever waits is told after ORDER_MS at the
 * latest, or when raftd goes away: the order may be carried out all the same.
 */
#ifndef HTTPD_CONTROL_H
#define HTTPD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "proto/err.h"
#include "proto/link.h"
#include "proto/msg.h"

#define ORDER_MS 60000u

struct control;

/* Memory of its request, zeroed. */
struct control_waiter {
	struct control_waiter *prev, *next;
	uint64_t token;
	struct mono deadline;
	bool waiting;
};

/* index is meaningful when code is ERR_OK. */
typedef void control_answer_fn(
    struct control_waiter *w, enum err code, uint64_t index);

struct control *control_open(struct link *raftd, control_answer_fn *answer);
void control_close(struct control *ct); /* NULL is allowed */

/* false: raftd is away. */
bool control_add(struct control *ct, struct control_waiter *w,
    enum msg_order order, struct mono now);
void control_forget(struct control *ct, struct control_waiter *w);

/* Answer those whose time is up; once per turn. */
void control_run(struct control *ct, struct mono now);
struct mono control_next(const struct control *ct);

enum err control_take(struct control *ct, struct wire *body);
void control_raftd_down(struct control *ct);
void control_stop(struct control *ct); /* answer everybody at once */

#endif
