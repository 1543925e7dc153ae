/* Which endpoint is asked, and what an answer means; see client.h. */
#include "cmd/metcdctl/client.h"

#include <jansson.h>
#include <string.h>

static bool
is_success(int status)
{
	return status >= 200 && status < 300;
}

/* Until when one of the endpoints that are left may take.  A read gives each
 * its share, so that a node that hangs does not use up everything; a write is
 * never sent twice, so it waits for the node that has it. */
static struct mono
share_of(struct mono deadline, bool is_write, size_t endpoints_left)
{
	struct mono now = mono_now();
	uint64_t left_ms = mono_ms_until(deadline, now);

	return is_write ? deadline : mono_add_ms(now, left_ms / endpoints_left);
}

enum ctl_exit
client_ask(const struct ctl *c, const struct http_request *r, bool is_write,
    struct http_answer *a)
{
	const struct mono deadline = mono_add_ms(mono_now(), c->timeout_ms);
	char why[HTTP_WHY_BYTES] = "no time left";
	bool have_answer = false; /* a 503: kept if nobody does better */

	for (size_t i = 0; i < c->data.count; i++) {
		if (i > 0 && mono_reached(deadline, mono_now()))
			break;
		switch (http_ask(c->data.at[i], r,
		    share_of(deadline, is_write, c->data.count - i), a, why)) {
		case HTTP_ANSWERED:
			if (a->status != 503)
				return CTL_OK;
			have_answer = true;
			break;
		case HTTP_NOT_SENT:
			break;
		case HTTP_LOST:
			if (!is_write)
				break;
			ctl_error("no answer from %s: %s; whether the request "
				  "was executed is unknown",
			    c->data.at[i], why);
			return CTL_UNKNOWN;
		}
	}
	if (have_answer)
		return CTL_OK;
	ctl_error("no endpoint took the request, nothing was changed: %s", why);
	return CTL_CONNECTION;
}

static enum ctl_exit
exit_of(int status)
{
	if (is_success(status))
		return CTL_OK;
	switch (status) {
	case 400:
	case 413:
	case 414:
		return CTL_BAD_INPUT;
	case 404:
		return CTL_NOT_FOUND;
	case 412:
		return CTL_PRECONDITION;
	case 504:
		return CTL_UNKNOWN;
	default:
		return CTL_ERROR;
	}
}

/* The node explains itself in application/problem+json (RFC 9457). */
static void
print_problem(const struct http_answer *a, const char *what)
{
	json_t *problem =
	    json_loadb((const char *)a->body.data, a->body.len, 0, NULL);
	const char *code = json_string_value(json_object_get(problem, "code"));
	const char *text =
	    json_string_value(json_object_get(problem, "detail"));

	if (text == NULL)
		text = json_string_value(json_object_get(problem, "title"));
	ctl_error("%s: %s (%s%sHTTP %d)", what,
	    text != NULL ? text : "the node answered with an error",
	    code != NULL ? code : "", code != NULL ? ", " : "", a->status);
	json_decref(problem); /* NULL is allowed */
}

enum ctl_exit
client_judge(const struct http_answer *a, const char *what)
{
	enum ctl_exit rc = exit_of(a->status);

	if (rc != CTL_OK)
		print_problem(a, what);
	return rc;
}
