/* The handlers of the admin port's routes (api.h), and how they answer. */
#ifndef HTTPD_ADMIN_H
#define HTTPD_ADMIN_H

#include <jansson.h>

#include "httpd/api.h"

struct request;

/* In admin.c, ready.c and members.c. */
#define DECLARE(method, path, handler, body, answers)                          \
	void handler(struct request *rq);
ADMIN_TABLE(DECLARE)
#undef DECLARE

/* Answer with j, which is consumed, and may be NULL when memory is out. */
void admin_answer(struct request *rq, unsigned status, json_t *j);
/* The same, as a problem of its own form. */
void admin_answer_problem(struct request *rq, unsigned status, json_t *j);

#endif
