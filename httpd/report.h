/* What the admin port tells of a node and its cluster, as JSON. */
#ifndef HTTPD_REPORT_H
#define HTTPD_REPORT_H

#include <jansson.h>

#include "httpd/status.h"

/* All are the caller's, and never NULL but for the last. */
json_t *report_status(const struct status_view *v);  /* GET /v1/status */
json_t *report_members(const struct status_view *v); /* GET /v1/members */
/* GET /v1/members/ID; NULL: there is no such member. */
json_t *report_member(const struct status_view *v, uint64_t id);

#endif
