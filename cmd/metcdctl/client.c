/* Which endpoint is asked, and what an answer means; see client.h. */
#include "cmd/metcdctl/client.h"

#include <jansson.h>
#include <string.h>

#define NOT_FOUND "not_found"
#define NO_SUCH_MEMBER "no_such_member"
#define NO_SUCH_PATH "no_such_path"

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
	const struct mono deadline = ctl_deadline(c, CTL_USUAL_MS);
	char why[HTTP_WHY_BYTES] = "no time left";
	bool have_answer = false; /* a 503: kept if nobody does better */
	bool lost = false;        /* a read that was sent */

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
			if (!is_write) {
				lost = true;
				break;
			}
			ctl_error("no answer from %s: %s; whether the request "
				  "was executed is unknown",
			    c->data.at[i], why);
			return CTL_UNKNOWN;
		}
	}
	if (have_answer)
		return CTL_OK;
	if (lost)
		ctl_error("no endpoint answered: %s", why);
	else
		ctl_error("no endpoint took the request, nothing was "
			  "changed: %s",
		    why);
	return CTL_CONNECTION;
}

/* Of an answer that is no success; code: what its problem calls itself. */
static enum ctl_exit
exit_of(int status, const char *code)
{
	switch (status) {
	case 400:
	case 413:
	case 414:
		return CTL_BAD_INPUT;
	case 404: /* a path that is not there is no key that is not there */
		return strcmp(code, NOT_FOUND) == 0 ||
			       strcmp(code, NO_SUCH_MEMBER) == 0
			   ? CTL_NOT_FOUND
			   : CTL_ERROR;
	case 412:
		return CTL_PRECONDITION;
	case 504:
		return CTL_UNKNOWN;
	default:
		return CTL_ERROR;
	}
}

/* The string at PROBLEM.name; "" when there is none. */
static const char *
text_of(const json_t *problem, const char *name)
{
	const char *text = json_string_value(json_object_get(problem, name));

	return text != NULL ? text : "";
}

static void
print_problem(const struct http_answer *a, const char *what,
    const json_t *problem, const char *code)
{
	const char *title = text_of(problem, "title");
	const char *detail = text_of(problem, "detail");

	if (title[0] == '\0')
		title = "the node answered with an error";
	ctl_error("%s: %s%s%s (%s%sHTTP %d)%s", what, title,
	    detail[0] != '\0' ? "; " : "", detail, code,
	    code[0] != '\0' ? ", " : "", a->status,
	    a->status == 404 && strcmp(code, NO_SUCH_PATH) == 0
		? "; keys are on the ports of --listen, is this another one?"
		: "");
}

/* The node explains itself in application/problem+json (RFC 9457). */
enum ctl_exit
client_judge(const struct http_answer *a, const char *what)
{
	json_t *problem;
	enum ctl_exit rc;

	if (is_success(a->status))
		return CTL_OK;
	problem = json_loadb((const char *)a->body.data, a->body.len, 0, NULL);
	rc = exit_of(a->status, text_of(problem, "code"));
	print_problem(a, what, problem, text_of(problem, "code"));
	json_decref(problem); /* NULL is allowed */
	return rc;
}
