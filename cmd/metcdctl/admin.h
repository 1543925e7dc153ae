/* Questions and orders to admin ports: JSON in, JSON out. */
#ifndef CMD_METCDCTL_ADMIN_H
#define CMD_METCDCTL_ADMIN_H

#include <jansson.h>

#include "base/mono.h"
#include "cmd/metcdctl/ctl.h"

/* Ask one node.  CTL_OK and *answer, a JSON object that is the caller's; else
 * one line was printed. */
enum ctl_exit admin_get(const char *endpoint, const char *target,
    struct mono deadline, json_t **answer);

/* The members, as the first of c's admin endpoints tells them that can. */
enum ctl_exit admin_members(
    const struct ctl *c, struct mono deadline, json_t **members);

struct admin_order {
	const char *method;
	const char *target;
	const json_t *body; /* borrowed; NULL: none */
};

/* Give an order to the first node that takes it: none of those before has
 * executed it.  It is sent only to what answers as an admin port: on a data
 * port its path would be a key.  CTL_OK and *answer; else one line was
 * printed. */
enum ctl_exit admin_order(const struct ctl *c, const struct admin_order *o,
    struct mono deadline, json_t **answer);

#endif
