/* The comparison of nodes through the log: now and then kvd is asked for its
 * state hash, which is proposed as a CMD_CHECK for all nodes to compare with
 * their own (kvd/check.h).  Nobody waits for it; one that is lost does no harm.
 */
#ifndef HTTPD_CHECKER_H
#define HTTPD_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "httpd/pending.h"
#include "proto/link.h"
#include "proto/msg.h"

struct checker {
	uint64_t interval_ms; /* 0: never */
	struct mono next;
	bool asked;
	struct link *kvd;
	struct pending *pending;
	struct waiter waiter;
};

/* c is zeroed; both are borrowed. */
void checker_init(struct checker *c, uint64_t interval_ms, struct link *kvd,
    struct pending *pending);
void checker_run(struct checker *c, struct mono now); /* once per turn */
struct mono checker_next(const struct checker *c);
/* What kvd says of itself, whoever asked. */
void checker_take(struct checker *c, uint64_t node,
    const struct msg_kv_status *kv, struct mono now);

#endif
