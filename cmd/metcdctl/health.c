/* The verbs health and version: one short question to each node. */
#include <jansson.h>
#include <string.h>

#include "cmd/metcdctl/http.h"
#include "base/daemon.h"
#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/progress.h"
#include "cmd/metcdctl/report.h"

/* A node says within 2 s whether it is ready: longer is no answer. */
#define NODE_MS 3000u

struct said {
	int status;     /* 0: nothing */
	json_t *object; /* NULL: it was none */
	uint64_t took_ms;
	char why[HTTP_WHY_BYTES];
};

static void
ask(const char *endpoint, const char *target, struct mono deadline,
    struct said *s)
{
	const struct http_request r = {.method = "GET", .target = target};
	const struct mono began = mono_now();
	struct http_answer a = {0};

	*s = (struct said){0};
	deadline = mono_earlier(deadline, mono_add_ms(began, NODE_MS));
	if (http_ask(endpoint, &r, deadline, &a, s->why) == HTTP_ANSWERED) {
		s->status = a.status;
		s->object =
		    json_loadb((const char *)a.body.data, a.body.len, 0, NULL);
	}
	s->took_ms = mono_ms_since(began, mono_now());
	http_answer_free(&a);
}

/* --- health --- */

static const char *
why_unhealthy(const struct said *s)
{
	const char *detail =
	    json_string_value(json_object_get(s->object, "detail"));

	if (s->status == 0)
		return s->why;
	if (json_object_get(s->object, "ready") == NULL)
		return s->status == 503 && detail != NULL
			   ? detail
			   : "that is not an address of --admin-listen";
	return detail != NULL ? detail : "it does not say why";
}

static bool
is_healthy(const struct said *s)
{
	return s->status == 200 &&
	       json_is_true(json_object_get(s->object, "ready"));
}

enum ctl_exit
verb_health(const struct ctl *c)
{
	static const struct column columns[] = {{"endpoint", "endpoint"},
	    {"healthy", "healthy"}, {"took_ms", "took_ms"},
	    {"reason", "reason"}, {0}};
	const struct mono deadline = ctl_deadline(c, CTL_USUAL_MS);
	json_t *all = json_array();
	bool well = true;
	enum ctl_exit rc;

	progress_begin("asking the nodes");
	for (size_t i = 0; i < c->admin.count; i++) {
		struct said s;
		json_t *one;

		ask(c->admin.at[i], "/readyz", deadline, &s);
		one = json_pack("{s:s,s:b,s:I}", "endpoint", c->admin.at[i],
		    "healthy", is_healthy(&s), "took_ms",
		    (json_int_t)s.took_ms);
		if (!is_healthy(&s)) {
			well = false;
			(void)json_object_set_new(
			    one, "reason", json_string(why_unhealthy(&s)));
		}
		(void)json_array_append_new(all, one);
		json_decref(s.object);
	}
	progress_end();
	rc = report_print(c, columns, all, report_whole(all));
	json_decref(all);
	return rc != CTL_OK ? rc : well ? CTL_OK : CTL_ERROR;
}

/* --- version --- */

static json_t *
row(const char *who, const char *version)
{
	return json_pack("{s:s,s:s}", "program", who, "version", version);
}

enum ctl_exit
verb_version(const struct ctl *c)
{
	static const struct column columns[] = {
	    {"program", "program"}, {"version", "version"}, {0}};
	const struct mono deadline = ctl_deadline(c, CTL_USUAL_MS);
	json_t *all = json_array();
	enum ctl_exit rc = CTL_OK, printed;

	progress_begin("asking the nodes");
	(void)json_array_append_new(all, row("metcdctl", METCD_VERSION));
	for (size_t i = 0; i < c->admin.count; i++) {
		const char *endpoint = c->admin.at[i], *version;
		struct said s;

		ask(endpoint, "/version", deadline, &s);
		version =
		    json_string_value(json_object_get(s.object, "version"));
		if (version != NULL)
			(void)json_array_append_new(
			    all, row(endpoint, version));
		else if (s.status == 0) {
			ctl_error("no answer from %s: %s", endpoint, s.why);
			rc = CTL_CONNECTION;
		} else {
			ctl_error(
			    "%s is not an address of --admin-listen", endpoint);
			rc = CTL_ERROR;
		}
		json_decref(s.object);
	}
	progress_end();
	printed = report_print(c, columns, all, all);
	json_decref(all);
	return printed != CTL_OK ? printed : rc;
}
