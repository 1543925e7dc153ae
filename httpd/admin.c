/* The admin port: its routes (api.h), and what one process can answer. */
#include "httpd/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/daemon.h"
#include "httpd/httpd.h"
#include "httpd/problem.h"
#include "httpd/report.h"
#include "httpd/request.h"
#include "httpd/response.h"
#include "httpd/route.h"

#define ADMIN_CONNECTIONS_MAX 256u
#define ALLOW_BYTES 64u

static const struct {
	const char *method;
	const char *path;
	request_fn *handle;
	bool wants_body;
} routes[] = {
#define ROUTE(method, path, handler, body, answers)                            \
	{#method, path, handler, body},
    ADMIN_TABLE(ROUTE)
#undef ROUTE
};
#define ROUTES (sizeof routes / sizeof routes[0])

/* --- the route --- */

static bool
is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* HEAD is welcome wherever GET is. */
static bool
method_matches(const char *route, const char *method)
{
	return is(route, method) || (is(route, MHD_HTTP_METHOD_GET) &&
					is(method, MHD_HTTP_METHOD_HEAD));
}

/* The methods of a path, as Allow lists them; "" if nothing is there. */
static void
list_methods(const char *path, char out[ALLOW_BYTES])
{
	uint64_t id;

	out[0] = '\0';
	for (size_t i = 0; i < ROUTES; i++) {
		const char *name = routes[i].method;

		if (!route_matches(routes[i].path, path, &id))
			continue;
		if (is(name, MHD_HTTP_METHOD_GET))
			name = "GET, HEAD";
		if (out[0] != '\0')
			strncat(out, ", ", ALLOW_BYTES - strlen(out) - 1);
		strncat(out, name, ALLOW_BYTES - strlen(out) - 1);
	}
}

static void
refuse_route(struct request *rq)
{
	char allow[ALLOW_BYTES];
	struct MHD_Response *r;

	list_methods(rq->uri.path, allow);
	if (allow[0] == '\0') {
		request_problem(rq, ERR_NO_SUCH_PATH,
		    "this is the admin port; keys are on the data port");
		return;
	}
	r = response_problem(
	    ERR_METHOD, "Allow says which methods this path has");
	response_field(r, MHD_HTTP_HEADER_ALLOW, allow);
	request_answer(rq, (unsigned)err_http(ERR_METHOD), r);
}

static void
admin_check(struct request *rq, const char *method)
{
	for (size_t i = 0; i < ROUTES; i++) {
		if (!method_matches(routes[i].method, method) ||
		    !route_matches(routes[i].path, rq->uri.path, &rq->id))
			continue;
		rq->handle = routes[i].handle;
		rq->wants_body = routes[i].wants_body;
		return;
	}
	refuse_route(rq);
}

const struct port admin_port = {.name = "admin",
    .flag = "admin-listen",
    .check = admin_check,
    .connections_max = ADMIN_CONNECTIONS_MAX,
    .body_bytes_max = ADMIN_BODY_BYTES_MAX,
    .traffic = TRAFFIC_ADMIN};

/* --- answers --- */

static struct MHD_Response *
json_response(json_t *j, const char *type)
{
	struct buf out = {NULL, 0, 0};
	char *text = json_dumps(j, JSON_COMPACT);
	struct MHD_Response *r;

	json_decref(j);
	if (text == NULL) /* memory */
		return NULL;
	buf_append(&out, text, strlen(text));
	buf_append(&out, "\n", 1);
	r = response_text(buf_bytes(&out), type);
	buf_free(&out);
	free(text);
	return r;
}

void
admin_answer(struct request *rq, unsigned status, json_t *j)
{
	struct MHD_Response *r = json_response(j, "application/json");

	if (r == NULL)
		request_problem(rq, ERR_OVERLOADED, NULL);
	else
		request_answer(rq, status, r);
}

void
admin_answer_problem(struct request *rq, unsigned status, json_t *j)
{
	struct MHD_Response *r = json_response(j, PROBLEM_TYPE);

	if (r == NULL) {
		request_problem(rq, ERR_OVERLOADED, NULL);
		return;
	}
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
		response_field(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	request_answer(rq, status, r);
}

/* --- handlers --- */

void
admin_livez(struct request *rq)
{
	request_answer(
	    rq, MHD_HTTP_OK, response_text(bytes_of_str("ok\n"), "text/plain"));
}

void
admin_version(struct request *rq)
{
	admin_answer(
	    rq, MHD_HTTP_OK, json_pack("{s:s}", "version", METCD_VERSION));
}

static void
answer_status(struct request *rq, const struct status_view *v)
{
	admin_answer(rq, MHD_HTTP_OK, report_status(v));
}

void
admin_status(struct request *rq)
{
	rq->told = answer_status;
	status_add(request_httpd(rq)->status, &rq->status, mono_now());
	request_wait(rq);
}

void
admin_metrics(struct request *rq)
{
	scrapes_add(request_httpd(rq)->scrapes, &rq->scrape, mono_now());
	request_wait(rq);
}

static void
answer_snapshot(struct request *rq, const struct msg_control *order,
    const struct msg_controlled *m)
{
	const enum err code = (enum err)m->code;

	(void)order;
	if (code == ERR_OK)
		admin_answer(rq, MHD_HTTP_OK,
		    json_pack("{s:I}", "index", (json_int_t)m->index));
	else if (code == ERR_TIMEOUT)
		request_problem(rq, code,
		    "the snapshot is still being taken; raft.snapshot of "
		    "/v1/status tells when it is there");
	else
		request_problem(rq, code, m->why[0] != '\0' ? m->why : NULL);
}

void
admin_snapshot(struct request *rq)
{
	const struct msg_control order = {.order = MSG_ORDER_SNAPSHOT};

	rq->ordered = answer_snapshot;
	if (control_add(
		request_httpd(rq)->control, &rq->control, &order, mono_now()))
		request_wait(rq);
	else
		request_problem(rq, ERR_UNAVAILABLE, NULL);
}
