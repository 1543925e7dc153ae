/* Do the nodes of a cluster hold the same? */
#ifndef CMD_METCDCTL_COMPARE_H
#define CMD_METCDCTL_COMPARE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

/* all: an array of statuses.  Can each be compared with each: have all of them
 * applied the same? */
bool compare_is_possible(const json_t *all);
/* Append what is found as lines of text.  true: all is well, as far as it can
 * be told. */
bool compare_nodes(const json_t *all, struct buf *out);

#endif
