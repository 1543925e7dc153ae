/* Fixed paths with an id in them: "/v1/members/ID/promote". */
#ifndef HTTPD_ROUTE_H
#define HTTPD_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

/* Is path what pattern says?  "ID" in pattern stands for a number from 1
 * on without leading zeros, which is written to *id; UINT64_MAX if it is too
 * large for that.
 * Without "ID" *id is left alone. */
bool route_matches(const char *pattern, const char *path, uint64_t *id);

#endif
