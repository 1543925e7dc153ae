/* The admin port: is this node alive, ready, and how does it fare; api.h. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/daemon.h"
#include "httpd/api.h"
#include "httpd/httpd.h"
#include "httpd/problem.h"
#include "httpd/request.h"
#include "httpd/response.h"

#define ADMIN_CONNECTIONS_MAX 256u

#define DECLARE(method, path, handler, answers)                                \
	static void handler(struct request *rq);
ADMIN_TABLE(DECLARE)
#undef DECLARE

static const struct {
	const char *method;
	const char *path;
	request_fn *handle;
} routes[] = {
#define ROUTE(method, path, handler, answers) {#method, path, handler},
    ADMIN_TABLE(ROUTE)
#undef ROUTE
};

/* HEAD is welcome wherever GET is. */
static bool
method_matches(const char *route, const char *method)
{
	return strcmp(route, method) == 0 ||
	       (strcmp(route, MHD_HTTP_METHOD_GET) == 0 &&
		   strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
}

/* The methods of a path, as Allow lists them. */
static const char *
allowed(const char *path)
{
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(routes[i].path, path) == 0 &&
		    strcmp(routes[i].method, MHD_HTTP_METHOD_GET) == 0)
			return "GET, HEAD";
	return MHD_HTTP_METHOD_POST;
}

static void
admin_check(struct request *rq, const char *method)
{
	struct MHD_Response *r;
	bool known = false;

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(routes[i].path, rq->uri.path) != 0)
			continue;
		known = true;
		if (method_matches(routes[i].method, method)) {
			rq->handle = routes[i].handle;
			return;
		}
	}
	if (!known) {
		request_problem(rq, ERR_NO_SUCH_PATH,
		    "this is the admin port; keys are on the data port");
		return;
	}
	r = response_problem(
	    ERR_METHOD, "Allow says which methods this path has");
	response_field(r, MHD_HTTP_HEADER_ALLOW, allowed(rq->uri.path));
	request_answer(rq, (unsigned)err_http(ERR_METHOD), r);
}

const struct port admin_port = {.name = "admin",
    .flag = "admin-listen",
    .check = admin_check,
    .connections_max = ADMIN_CONNECTIONS_MAX};

/* j is consumed. */
static void
answer_json(struct request *rq, unsigned status, json_t *j, const char *type)
{
	struct buf out = {NULL, 0, 0};
	char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	if (text == NULL) { /* memory: our texts are ASCII */
		request_problem(rq, ERR_OVERLOADED, NULL);
		return;
	}
	buf_append(&out, text, strlen(text));
	buf_append(&out, "\n", 1);
	request_answer(rq, status, response_text(buf_bytes(&out), type));
	buf_free(&out);
	free(text);
}

static void
admin_livez(struct request *rq)
{
	request_answer(
	    rq, MHD_HTTP_OK, response_text(bytes_of_str("ok\n"), "text/plain"));
}

static void
admin_version(struct request *rq)
{
	answer_json(rq, MHD_HTTP_OK,
	    json_pack("{s:s}", "version", METCD_VERSION), "application/json");
}

/* --- readiness: a READ without keys goes once around the ring --- */

static json_t *
check_json(const char *name, bool ok)
{
	return json_pack("{s:s,s:b}", "name", name, "ok", ok);
}

static void
answer_readyz(struct request *rq, const struct answer *a)
{
	const struct httpd *h = request_httpd(rq);
	bool ready = a->code == ERR_OK;
	json_t *checks =
	    json_pack("[o,o,o]", check_json("raftd_link", link_is_up(h->raftd)),
		check_json("kvd_link", link_is_up(h->kvd)),
		check_json("linearizable_read", ready));
	struct MHD_Response *r;
	struct buf text = {NULL, 0, 0};
	json_t *problem;
	char *dump;

	if (ready) {
		answer_json(rq, MHD_HTTP_OK,
		    json_pack("{s:b,s:o}", "ready", 1, "checks", checks),
		    "application/json");
		return;
	}
	problem = json_pack("{s:s,s:s,s:i,s:s,s:s,s:b,s:o}", "type",
	    "about:blank", "title", "This node cannot serve requests", "status",
	    MHD_HTTP_SERVICE_UNAVAILABLE, "code", err_word(a->code), "detail",
	    "the first check that is not ok says what is missing", "ready", 0,
	    "checks", checks);
	dump = json_dumps(problem, JSON_COMPACT);
	json_decref(problem);
	if (dump != NULL)
		buf_append(&text, dump, strlen(dump));
	buf_append(&text, "\n", 1);
	r = response_text(buf_bytes(&text), PROBLEM_TYPE);
	response_field(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	request_answer(rq, MHD_HTTP_SERVICE_UNAVAILABLE, r);
	buf_free(&text);
	free(dump);
}

static void
answer_health(struct request *rq, const struct answer *a)
{
	bool ok = a->code == ERR_OK;

	answer_json(rq, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
	    json_pack("{s:s}", "health", ok ? "true" : "false"),
	    "application/json");
}

static void
probe(struct request *rq, request_answer_fn *answered)
{
	rq->waiter.way = WAY_READ;
	rq->waiter.patience = PATIENCE_PROBE;
	rq->waiter.probe = true;
	rq->answered = answered;
	(void)pending_add(/* probes always may */
	    request_httpd(rq)->pending, &rq->waiter, mono_now());
	request_wait(rq);
}

static void
admin_readyz(struct request *rq)
{
	probe(rq, answer_readyz);
}

static void
admin_health(struct request *rq)
{
	probe(rq, answer_health);
}

static void
admin_status(struct request *rq)
{
	status_add(request_httpd(rq)->status, &rq->status, mono_now());
	request_wait(rq);
}

/* --- orders --- */

static void
answer_snapshot(struct request *rq, enum err code, uint64_t index)
{
	if (code == ERR_OK)
		answer_json(rq, MHD_HTTP_OK,
		    json_pack("{s:I}", "index", (json_int_t)index),
		    "application/json");
	else if (code == ERR_TIMEOUT)
		request_problem(rq, code,
		    "the snapshot is still being taken; raft.snapshot of "
		    "/v1/status tells when it is there");
	else
		request_problem(rq, code, NULL);
}

static void
admin_snapshot(struct request *rq)
{
	rq->ordered = answer_snapshot;
	if (!control_add(request_httpd(rq)->control, &rq->control,
		MSG_ORDER_SNAPSHOT, mono_now())) {
		request_problem(rq, ERR_UNAVAILABLE, NULL);
		return;
	}
	request_wait(rq);
}
