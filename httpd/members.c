/* The admin port's /v1/members and /v1/leader (api.h): who is in the cluster,
 * and orders about it.  What an order may do is decided by the leader's raftd;
 * here it is only read, passed on and answered. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "httpd/admin.h"
#include "httpd/fields.h"
#include "httpd/httpd.h"
#include "httpd/report.h"
#include "httpd/request.h"
#include "httpd/response.h"

/* --- who is there --- */

/* Old news about members is worse than none, so raftd has to be there. */
static bool
is_known(struct request *rq, const struct status_view *v)
{
	if (v->raft_here && v->raft->count > 0)
		return true;
	request_problem(rq, ERR_UNAVAILABLE,
	    v->raft_here ? "this node is not a member yet, it waits to be added"
			 : "raftd does not answer on this node; retry, or ask "
			   "another one");
	return false;
}

static void
answer_list(struct request *rq, const struct status_view *v)
{
	if (is_known(rq, v))
		admin_answer(rq, MHD_HTTP_OK, report_members(v));
}

static void
answer_get(struct request *rq, const struct status_view *v)
{
	json_t *member;

	if (!is_known(rq, v))
		return;
	if ((member = report_member(v, rq->id)) == NULL)
		request_problem(rq, ERR_NO_SUCH_MEMBER, NULL);
	else
		admin_answer(rq, MHD_HTTP_OK, member);
}

static void
ask(struct request *rq, request_status_fn *told)
{
	rq->told = told;
	status_add(request_httpd(rq)->status, &rq->status, mono_now());
	request_wait(rq);
}

void
members_list(struct request *rq)
{
	ask(rq, answer_list);
}

void
members_get(struct request *rq)
{
	ask(rq, answer_get);
}

/* --- orders: what is asked for --- */

/* The query: force=true or force=false.  false: it is answered. */
static bool
read_force(struct request *rq, bool *force)
{
	const char *name, *value;
	bool malformed;

	while (uri_query_next(&rq->uri.query, &name, &value, &malformed)) {
		if (force == NULL || strcmp(name, "force") != 0) {
			request_problem(rq, ERR_BAD_REQUEST,
			    force == NULL ? "this path has no parameters"
					  : "the only parameter here is force");
			return false;
		}
		if (value == NULL || (strcmp(value, "true") != 0 &&
					 strcmp(value, "false") != 0)) {
			request_problem(rq, ERR_BAD_REQUEST,
			    "force is either true or false");
			return false;
		}
		*force = strcmp(value, "true") == 0;
	}
	if (malformed)
		request_problem(rq, ERR_BAD_REQUEST,
		    "a % in the query is not followed by two hexadecimal "
		    "digits");
	return !malformed;
}

/* The body, into an order.  false: it is answered. */
static bool
read_body(struct request *rq, const struct field *fields)
{
	char why[FIELDS_WHY_BYTES];

	if (fields_read(fields, buf_bytes(&rq->body), why))
		return true;
	request_problem(rq, ERR_BAD_REQUEST, why);
	return false;
}

static void
give(struct request *rq, const struct msg_control *order,
    request_order_fn *ordered)
{
	struct control *ct = request_httpd(rq)->control;

	rq->ordered = ordered;
	if (control_add(ct, &rq->control, order, mono_now()))
		request_wait(rq);
	else
		request_problem(rq, ERR_UNAVAILABLE,
		    "raftd is away on this node, nothing was ordered; retry, "
		    "or ask another one");
}

/* --- orders: what became of them --- */

static bool
is_done(struct request *rq, const struct msg_controlled *m)
{
	if (m->code == ERR_OK)
		return true;
	request_problem(
	    rq, (enum err)m->code, m->why[0] != '\0' ? m->why : NULL);
	return false;
}

static void
answer_added(struct request *rq, const struct msg_control *order,
    const struct msg_controlled *m)
{
	char location[64], body[ADDRESS_BYTES_MAX + 128];
	struct MHD_Response *r;
	int n;

	if (!is_done(rq, m))
		return;
	/* The address was checked: nothing in it needs an escape. */
	n = snprintf(body, sizeof body,
	    "{\"id\":%" PRIu64 ",\"peer\":\"%s\",\"role\":\"learner\","
	    "\"promote\":\"%s\",\"index\":%" PRIu64 "}\n",
	    m->id, order->address, order->promote ? "auto" : "manual",
	    m->index);
	r = response_text(bytes_of(body, (size_t)n), "application/json");
	(void)snprintf(
	    location, sizeof location, "/v1/members/%" PRIu64, m->id);
	response_field(r, MHD_HTTP_HEADER_LOCATION, location);
	request_answer(rq, MHD_HTTP_CREATED, r);
}

static void
answer_replacing(struct request *rq, const struct msg_control *order,
    const struct msg_controlled *m)
{
	char next[160];

	if (!is_done(rq, m))
		return;
	(void)snprintf(next, sizeof next,
	    "start node %" PRIu64 "; once it has caught up it takes the place "
	    "of %" PRIu64 " by itself, GET /v1/members shows when",
	    m->id, order->old);
	admin_answer(rq, MHD_HTTP_ACCEPTED,
	    json_pack("{s:I,s:I,s:s,s:I,s:s}", "id", (json_int_t)m->id, "old",
		(json_int_t)order->old, "peer", order->address, "index",
		(json_int_t)m->index, "next", next));
}

static void
answer_updated(struct request *rq, const struct msg_control *order,
    const struct msg_controlled *m)
{
	if (is_done(rq, m))
		admin_answer(rq, MHD_HTTP_OK,
		    json_pack("{s:I,s:s,s:I}", "id", (json_int_t)order->id,
			"peer", order->address, "index", (json_int_t)m->index));
}

static void
answer_changed(struct request *rq, const struct msg_control *order,
    const struct msg_controlled *m)
{
	if (is_done(rq, m))
		admin_answer(rq, MHD_HTTP_OK,
		    json_pack("{s:I,s:I}", "id", (json_int_t)order->id, "index",
			(json_int_t)m->index));
}

static void
answer_leader(struct request *rq, const struct msg_control *order,
    const struct msg_controlled *m)
{
	(void)order;
	if (is_done(rq, m))
		admin_answer(rq, MHD_HTTP_OK,
		    json_pack("{s:I}", "leader", (json_int_t)m->id));
}

/* --- orders --- */

void
members_add(struct request *rq)
{
	struct msg_control order = {.order = MSG_ORDER_ADD};
	const struct field fields[] = {
	    {"peer", FIELD_ADDRESS, order.address, true},
	    {"id", FIELD_ID, &order.id, false},
	    {"promote", FIELD_PROMOTE, &order.promote, false}, {0}};

	if (read_force(rq, NULL) && read_body(rq, fields))
		give(rq, &order, answer_added);
}

void
members_replace(struct request *rq)
{
	struct msg_control order = {.order = MSG_ORDER_REPLACE};
	const struct field fields[] = {{"old", FIELD_ID, &order.old, true},
	    {"peer", FIELD_ADDRESS, order.address, true},
	    {"new", FIELD_ID, &order.id, false},
	    {"force", FIELD_FLAG, &order.force, false}, {0}};

	if (read_force(rq, NULL) && read_body(rq, fields))
		give(rq, &order, answer_replacing);
}

void
members_update(struct request *rq)
{
	struct msg_control order = {.order = MSG_ORDER_UPDATE, .id = rq->id};
	const struct field fields[] = {
	    {"peer", FIELD_ADDRESS, order.address, true}, {0}};

	if (read_force(rq, NULL) && read_body(rq, fields))
		give(rq, &order, answer_updated);
}

void
members_remove(struct request *rq)
{
	struct msg_control order = {.order = MSG_ORDER_REMOVE, .id = rq->id};

	if (read_force(rq, &order.force))
		give(rq, &order, answer_changed);
}

void
members_promote(struct request *rq)
{
	struct msg_control order = {.order = MSG_ORDER_PROMOTE, .id = rq->id};
	const struct field fields[] = {
	    {"force", FIELD_FLAG, &order.force, false}, {0}};

	if (read_force(rq, &order.force) && read_body(rq, fields))
		give(rq, &order, answer_changed);
}

void
members_lead(struct request *rq)
{
	struct msg_control order = {.order = MSG_ORDER_LEADER};
	const struct field fields[] = {{"to", FIELD_ID, &order.id, false}, {0}};

	if (read_force(rq, NULL) && read_body(rq, fields))
		give(rq, &order, answer_leader);
}
