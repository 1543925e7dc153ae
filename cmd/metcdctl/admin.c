/* Questions and orders to admin ports; see admin.h. */
#include "cmd/metcdctl/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/metcdctl/client.h"

/* None of the questions here waits for more than one node's processes. */
#define QUESTION_MS 3000u

static struct mono
question_deadline(struct mono deadline)
{
	return mono_earlier(deadline, mono_add_ms(mono_now(), QUESTION_MS));
}

static json_t *
object_of(const struct http_answer *a)
{
	json_t *j =
	    json_loadb((const char *)a->body.data, a->body.len, 0, NULL);

	if (json_is_object(j))
		return j;
	json_decref(j);
	return NULL;
}

/* --- questions --- */

enum ctl_exit
admin_get(const char *endpoint, const char *target, struct mono deadline,
    json_t **answer)
{
	const struct http_request r = {.method = "GET", .target = target};
	struct http_answer a = {0};
	char why[HTTP_WHY_BYTES];
	enum ctl_exit rc;

	if (http_ask(endpoint, &r, deadline, &a, why) != HTTP_ANSWERED) {
		ctl_error("no answer from %s: %s", endpoint, why);
		rc = CTL_CONNECTION;
	} else if (a.status == 404) { /* there it is a key */
		ctl_error("%s has no %s; give an address of --admin-listen",
		    endpoint, target);
		rc = CTL_ERROR;
	} else if ((rc = client_judge(&a, endpoint)) == CTL_OK &&
		   (*answer = object_of(&a)) == NULL) {
		ctl_error("the answer of %s is no JSON object; is it an admin "
			  "address?",
		    endpoint);
		rc = CTL_ERROR;
	}
	http_answer_free(&a);
	return rc;
}

/* Why nothing came of asking, for one line at the end. */
struct failure {
	enum ctl_exit rc;
	char why[2 * HTTP_WHY_BYTES];
};

static json_t *
ask_members(const char *endpoint, struct mono deadline, struct failure *f)
{
	const struct http_request r = {
	    .method = "GET", .target = "/v1/members"};
	struct http_answer a = {0};
	char detail[HTTP_WHY_BYTES];
	json_t *j = NULL;

	f->rc = CTL_CONNECTION;
	if (http_ask(endpoint, &r, question_deadline(deadline), &a, detail) !=
	    HTTP_ANSWERED) {
		(void)snprintf(
		    f->why, sizeof f->why, "%s: %s", endpoint, detail);
	} else {
		j = object_of(&a);
		if (a.status == 200 &&
		    json_is_array(json_object_get(j, "members")))
			goto out;
		f->rc = CTL_ERROR;
		(void)snprintf(f->why, sizeof f->why,
		    a.status == 503 ? "%s: its raftd does not answer, or is "
				      "not a member yet"
				    : "%s is not an address of --admin-listen",
		    endpoint);
		json_decref(j);
		j = NULL;
	}
out:
	http_answer_free(&a);
	return j;
}

/* From endpoint *at on; *at is the one that has answered. */
static json_t *
find_members(
    const struct ctl *c, struct mono deadline, size_t *at, struct failure *f)
{
	json_t *j = NULL;

	for (; *at < c->admin.count; (*at)++) {
		j = ask_members(c->admin.at[*at], deadline, f);
		if (j != NULL || mono_reached(deadline, mono_now()))
			break;
	}
	return j;
}

enum ctl_exit
admin_members(const struct ctl *c, struct mono deadline, json_t **members)
{
	struct failure f;
	size_t at = 0;

	if ((*members = find_members(c, deadline, &at, &f)) != NULL)
		return CTL_OK;
	ctl_error("%s: %s", c->verb, f.why);
	return f.rc;
}

/* --- orders --- */

static enum ctl_exit
judge_order(const struct ctl *c, const struct http_answer *a, json_t **answer)
{
	enum ctl_exit rc = client_judge(a, c->verb);

	if (rc == CTL_OK && (*answer = object_of(a)) == NULL) {
		ctl_error("the answer is no JSON object, though it says that "
			  "the order was carried out (HTTP %d)",
		    a->status);
		rc = CTL_ERROR;
	}
	return rc;
}

static enum ctl_exit
order_in_turn(const struct ctl *c, const struct http_request *r,
    struct mono deadline, json_t **answer)
{
	struct http_answer a = {0}; /* a 503: the last one to be told */
	struct failure f;
	enum ctl_exit rc = CTL_OK;
	json_t *members;

	for (size_t at = 0; rc == CTL_OK && at < c->admin.count; at++) {
		if ((members = find_members(c, deadline, &at, &f)) == NULL)
			break;
		json_decref(members);
		switch (http_ask(c->admin.at[at], r, deadline, &a, f.why)) {
		case HTTP_ANSWERED:
			if (a.status == 503)
				break;
			rc = judge_order(c, &a, answer);
			http_answer_free(&a);
			return rc;
		case HTTP_NOT_SENT:
			f.rc = CTL_CONNECTION;
			break;
		case HTTP_LOST:
			ctl_error("%s: no answer from %s: %s; whether the "
				  "order was carried out is unknown, see "
				  "metcdctl member list",
			    c->verb, c->admin.at[at], f.why);
			rc = CTL_UNKNOWN;
			break;
		}
	}
	if (rc == CTL_OK && a.status != 0)
		rc = judge_order(c, &a, answer);
	else if (rc == CTL_OK) {
		ctl_error("%s: nothing was ordered: %s", c->verb, f.why);
		rc = f.rc;
	}
	http_answer_free(&a);
	return rc;
}

enum ctl_exit
admin_order(const struct ctl *c, const struct admin_order *o,
    struct mono deadline, json_t **answer)
{
	char *text = o->body != NULL ? json_dumps(o->body, JSON_COMPACT) : NULL;
	const struct http_request r = {.method = o->method,
	    .target = o->target,
	    .has_body = strcmp(o->method, "DELETE") != 0,
	    .is_json = true,
	    .body = bytes_of_str(text != NULL ? text : "")};
	enum ctl_exit rc = order_in_turn(c, &r, deadline, answer);

	free(text);
	return rc;
}
