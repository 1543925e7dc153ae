/* The data port: keys and values; see api.h. */
#include "httpd/api.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "httpd/httpd.h"
#include "httpd/request.h"
#include "httpd/response.h"
#include "proto/limits.h"

#define FIELD_REVISION "Metcd-Revision"
#define NAME_SHOWN_MAX 32 /* characters of a parameter's name in a detail */

/* Leave the value out of the REPLY whatever its revision is. */
#define NO_VALUE UINT64_MAX

#define DECLARE(method, path, handler, body, answers)                          \
	static void handler(struct request *rq);
API_TABLE(DECLARE)
#undef DECLARE

static const struct {
	const char *method;
	request_fn *handle;
	bool wants_body;
} routes[] = {
#define ROUTE(method, path, handler, body, answers) {#method, handler, body},
    API_TABLE(ROUTE)
#undef ROUTE
};

/* --- the header --- */

static bool
is_read(const struct request *rq)
{
	return rq->handle == api_get;
}

static bool
find_route(struct request *rq, const char *method)
{
	struct MHD_Response *r;

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(routes[i].method, method) == 0) {
			rq->handle = routes[i].handle;
			rq->wants_body = routes[i].wants_body;
			return true;
		}
	}
	r = response_problem(ERR_METHOD,
	    "a key is read with GET or HEAD, written with PUT and deleted "
	    "with DELETE");
	response_field(r, MHD_HTTP_HEADER_ALLOW, API_ALLOW);
	request_answer(rq, (unsigned)err_http(ERR_METHOD), r);
	return false;
}

static void
refuse_parameter(struct request *rq, const char *name)
{
	char detail[200];

	(void)snprintf(detail, sizeof detail,
	    "unknown parameter %.*s; GET and HEAD know consistency=stale and "
	    "consistency=linearizable; write a ? that belongs to the key as "
	    "%%3F",
	    NAME_SHOWN_MAX, name);
	request_problem(rq, ERR_BAD_REQUEST, detail);
}

static bool
read_query(struct request *rq)
{
	const char *name, *value;
	bool malformed;

	rq->waiter.way = is_read(rq) ? WAY_READ : WAY_WRITE;
	while (uri_query_next(&rq->uri.query, &name, &value, &malformed)) {
		if (!is_read(rq) || strcmp(name, "consistency") != 0) {
			refuse_parameter(rq, name);
			return false;
		}
		if (value != NULL && strcmp(value, "stale") == 0) {
			rq->waiter.way = WAY_STALE;
		} else if (value != NULL &&
			   strcmp(value, "linearizable") == 0) {
			rq->waiter.way = WAY_READ;
		} else {
			request_problem(rq, ERR_BAD_REQUEST,
			    "consistency is either stale or linearizable");
			return false;
		}
	}
	if (malformed)
		request_problem(rq, ERR_BAD_REQUEST,
		    "a % in the query is not followed by two hexadecimal "
		    "digits");
	return !malformed;
}

/* If-Match of a write.  Strong comparison (RFC 9110 section 13.1.1): a weak tag
 * never matches, and nor does one that is no revision. */
static bool
read_if_match(struct request *rq)
{
	const struct etags *e = &rq->if_match;
	struct cmd *cmd = &rq->waiter.cmd;

	if (e->any) {
		cmd->when = CMD_IF_PRESENT;
	} else if (e->listed != 1) {
		request_problem(rq, ERR_BAD_REQUEST,
		    "If-Match of a write takes one ETag, or *");
		return false;
	} else if (e->count == 0 || (e->weak & 1) != 0) {
		request_problem(rq, ERR_PRECONDITION, NULL);
		return false;
	} else {
		cmd->when = CMD_IF_REVISION;
		cmd->if_revision = e->revision[0];
	}
	return true;
}

static bool
read_conditions(struct request *rq)
{
	bool match = rq->if_match.present;
	bool none = rq->if_none_match.present;

	if (rq->bad_condition) {
		request_problem(rq, ERR_BAD_REQUEST,
		    "If-Match and If-None-Match take * or a list of at most "
		    "16 ETags in double quotes");
		return false;
	}
	if (is_read(rq)) /* looked at when the revision is known */
		return true;
	if (none &&
	    (match || !rq->if_none_match.any || rq->handle != api_put)) {
		request_problem(rq, ERR_BAD_REQUEST,
		    "of a write, If-None-Match is for PUT alone, with * and "
		    "without If-Match");
		return false;
	}
	if (none)
		rq->waiter.cmd.when = CMD_IF_ABSENT;
	return !match || read_if_match(rq);
}

static void
api_check(struct request *rq, const char *method)
{
	const char *why;
	enum err rc;

	if (!find_route(rq, method))
		return;
	if ((rc = uri_key(rq->uri.path, &rq->key, &why)) != ERR_OK) {
		request_problem(rq, rc, why);
		return;
	}
	if (read_query(rq))
		(void)read_conditions(rq); /* answers itself, too */
}

const struct port api_port = {
    .name = "data", .flag = "listen", .check = api_check, .tells_node = true};

/* --- answers --- */

static void
answer_problem(struct request *rq, const struct answer *a, enum err code)
{
	struct MHD_Response *r = response_problem(code, NULL);

	if (a->from_store)
		response_field_u64(r, FIELD_REVISION, a->store_revision);
	request_answer(rq, (unsigned)err_http(code), r);
}

static void
answer_write(struct request *rq, const struct answer *a)
{
	bool put = rq->waiter.cmd.op == CMD_PUT;
	struct MHD_Response *r;
	unsigned status = MHD_HTTP_NO_CONTENT;

	if (put && a->code == ERR_CREATED)
		status = MHD_HTTP_CREATED;
	else if (put ? a->code != ERR_REPLACED
		     : a->code != ERR_DELETED && a->code != ERR_NOT_FOUND &&
			   a->code != ERR_OK) {
		answer_problem(rq, a, a->code);
		return;
	}
	r = response_empty();
	if (put)
		response_etag(r, a->revision);
	response_field_u64(r, FIELD_REVISION, a->store_revision);
	request_answer(rq, status, r);
}

/* The value is there.  Conditions in the order of RFC 9110 section 13.2.2. */
static void
answer_found(struct request *rq, const struct answer *a)
{
	struct MHD_Response *r;
	unsigned status = MHD_HTTP_OK;

	if (rq->if_match.present &&
	    !etags_match_strong(&rq->if_match, a->revision)) {
		answer_problem(rq, a, ERR_PRECONDITION);
		return;
	}
	if (rq->if_none_match.present &&
	    etags_match_weak(&rq->if_none_match, a->revision))
		status = MHD_HTTP_NOT_MODIFIED;
	if (status == MHD_HTTP_NOT_MODIFIED || rq->head) {
		r = response_without_value(a->length);
	} else if (a->value.len == a->length) {
		r = response_value(a->value);
	} else { /* kvd left out what was asked for */
		answer_problem(rq, a, ERR_MALFORMED);
		return;
	}
	response_etag(r, a->revision);
	response_field_u64(r, FIELD_REVISION, a->store_revision);
	request_answer(rq, status, r);
}

static void
answer_read(struct request *rq, const struct answer *a)
{
	if (a->code == ERR_OK || a->code == ERR_NOT_MODIFIED)
		answer_found(rq, a);
	else if (a->code == ERR_NOT_FOUND && rq->if_match.present)
		answer_problem(rq, a, ERR_PRECONDITION);
	else
		answer_problem(rq, a, a->code);
}

/* --- handlers: the request is complete --- */

static void
travel(struct request *rq, request_answer_fn *answered)
{
	struct pending *p = request_httpd(rq)->pending;

	rq->answered = answered;
	if (pending_add(p, &rq->waiter, request_httpd(rq)->now))
		request_wait(rq);
	else
		request_problem(rq, ERR_OVERLOADED, NULL);
}

/* FLOW 1: HTTP request -> checked command, which waits. */
static void
api_put(struct request *rq)
{
	struct cmd *cmd = &rq->waiter.cmd; /* its condition is there already */

	cmd->op = CMD_PUT;
	cmd->key = rq->key;
	cmd->value = buf_bytes(&rq->body);
	assert(cmd->value.len <= VALUE_BYTES_MAX);
	travel(rq, answer_write);
}

static void
api_delete(struct request *rq)
{
	rq->waiter.cmd.op = CMD_DELETE;
	rq->waiter.cmd.key = rq->key;
	travel(rq, answer_write);
}

/* READ 1: HTTP request -> lookup, which waits. */
static void
api_get(struct request *rq)
{
	const struct etags *e = &rq->if_none_match;

	rq->waiter.item.key = rq->key;
	if (rq->head || e->any)
		rq->waiter.item.known_revision = NO_VALUE;
	else if (e->count == 1)
		rq->waiter.item.known_revision = e->revision[0];
	travel(rq, answer_read);
}
