/* The verb status: what nodes say about themselves. */
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "cmd/metcdctl/client.h"
#include "cmd/metcdctl/compare.h"
#include "cmd/metcdctl/ctl.h"

#define COMPARE_TRIES 10
#define COMPARE_PAUSE_MS 100

/* A line of the table; short words for what stands below. */
#define ROW "%-4s %-9s %-6s %-5s %-9s %-9s %-9s %-9s %-9s %-8s %s\n"

static void __attribute__((format(printf, 2, 3)))
add(struct buf *out, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n > 0)
		buf_append(out, text, (size_t)n);
	if (n >= 0)
		free(text);
}

/* The value at OBJECT.name as text; "-" when it is not there.  The text is
 * valid until the CELLS-th next call. */
#define CELLS 16
static const char *
cell(const json_t *object, const char *name)
{
	static char cells[CELLS][32];
	static unsigned next;
	const json_t *v = json_object_get(object, name);
	char *out = cells[next++ % CELLS];

	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	if (json_is_integer(v))
		(void)snprintf(out, sizeof cells[0], "%" JSON_INTEGER_FORMAT,
		    json_integer_value(v)); /* 20 digits fit */
	else
		(void)snprintf(out, sizeof cells[0], "-");
	return out;
}

/* --- formats --- */

static void
add_peer(struct buf *out, const json_t *peer)
{
	add(out,
	    "  peer id=%s address=%s learner=%s state=%s match=%s "
	    "connected=%s\n",
	    cell(peer, "id"), cell(peer, "address"), cell(peer, "learner"),
	    cell(peer, "state"), cell(peer, "match"), cell(peer, "connected"));
}

static void
add_simple(struct buf *out, const json_t *status)
{
	const json_t *raft = json_object_get(status, "raft");
	const json_t *kv = json_object_get(status, "kv");
	const json_t *peers = json_object_get(status, "peers");

	add(out,
	    "node id=%s role=%s leader=%s term=%s version=%s "
	    "cluster=%s\n",
	    cell(status, "id"), cell(status, "role"), cell(status, "leader"),
	    cell(status, "term"), cell(status, "version"),
	    cell(status, "cluster_id"));
	add(out, "  raft first=%s last=%s commit=%s applied=%s snapshot=%s\n",
	    cell(raft, "first"), cell(raft, "last"), cell(raft, "commit"),
	    cell(raft, "applied"), cell(raft, "snapshot"));
	add(out,
	    "  kv connected=%s engine=%s applied=%s durable=%s "
	    "revision=%s keys=%s bytes=%s hash=%s diverged=%s\n",
	    cell(kv, "connected"), cell(kv, "engine"), cell(kv, "applied"),
	    cell(kv, "durable"), cell(kv, "revision"), cell(kv, "keys"),
	    cell(kv, "bytes"), cell(kv, "hash"), cell(kv, "diverged"));
	for (size_t i = 0; i < json_array_size(peers); i++)
		add_peer(out, json_array_get(peers, i));
}

static void
add_table_head(struct buf *out)
{
	add(out, ROW, "NODE", "ROLE", "LEADER", "TERM", "COMMIT", "APPLIED",
	    "REVISION", "KEYS", "BYTES", "ENGINE", "HASH");
}

static void
add_table_row(struct buf *out, const json_t *status)
{
	const json_t *raft = json_object_get(status, "raft");
	const json_t *kv = json_object_get(status, "kv");

	add(out, ROW, cell(status, "id"), cell(status, "role"),
	    cell(status, "leader"), cell(status, "term"), cell(raft, "commit"),
	    cell(kv, "applied"), cell(kv, "revision"), cell(kv, "keys"),
	    cell(kv, "bytes"), cell(kv, "engine"), cell(kv, "hash"));
}

/* One node's object; several nodes' objects are an array. */
static void
add_json(struct buf *out, const json_t *all)
{
	const json_t *what =
	    json_array_size(all) == 1 ? json_array_get(all, 0) : all;
	char *text = json_dumps(what, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (text != NULL)
		add(out, "%s\n", text);
	free(text);
}

static enum ctl_exit
print_all(const struct ctl *c, const json_t *all)
{
	struct buf out = {0};
	enum ctl_exit rc;

	if (c->output == CTL_TABLE)
		add_table_head(&out);
	if (c->output == CTL_JSON)
		add_json(&out, all);
	for (size_t i = 0; i < json_array_size(all); i++) {
		if (c->output == CTL_TABLE)
			add_table_row(&out, json_array_get(all, i));
		else if (c->output == CTL_SIMPLE)
			add_simple(&out, json_array_get(all, i));
	}
	rc = ctl_print(out.data, out.len);
	buf_free(&out);
	return rc;
}

/* --- asking --- */

/* Append the status of one node to all. */
static enum ctl_exit
ask_node(const char *endpoint, struct mono deadline, json_t *all)
{
	const struct http_request r = {.method = "GET", .target = "/v1/status"};
	struct http_answer a = {0};
	char why[HTTP_WHY_BYTES];
	json_t *status = NULL;
	enum ctl_exit rc;

	if (http_ask(endpoint, &r, deadline, &a, why) != HTTP_ANSWERED) {
		ctl_error("no answer from %s: %s", endpoint, why);
		rc = CTL_CONNECTION;
	} else if (a.status == 404) { /* there it is a key */
		ctl_error("%s has no status; give an address of --admin-listen",
		    endpoint);
		rc = CTL_ERROR;
	} else if ((rc = client_judge(&a, endpoint)) == CTL_OK) {
		status =
		    json_loadb((const char *)a.body.data, a.body.len, 0, NULL);
		if (!json_is_object(status)) {
			ctl_error("the answer of %s is not a status; is it an "
				  "admin address?",
			    endpoint);
			json_decref(status);
			rc = CTL_ERROR;
		} else
			json_array_append_new(all, status);
	}
	http_answer_free(&a);
	return rc;
}

/* Ask all nodes; those that answer are in all. */
static enum ctl_exit
ask_all(const struct ctl *c, struct mono deadline, json_t *all)
{
	enum ctl_exit rc = CTL_OK;

	for (size_t i = 0; i < c->admin.count; i++) {
		enum ctl_exit one = ask_node(c->admin.at[i], deadline, all);

		if (one != CTL_OK)
			rc = one;
	}
	return rc;
}

/* Nodes that are written to are rarely met at the same index: ask again. */
static enum ctl_exit
ask_comparable(const struct ctl *c, struct mono deadline, json_t *all)
{
	enum ctl_exit rc = ask_all(c, deadline, all);

	for (int i = 0;
	     i < COMPARE_TRIES && rc == CTL_OK && !compare_is_possible(all) &&
	     !mono_reached(deadline, mono_now());
	     i++) {
		(void)poll(NULL, 0, COMPARE_PAUSE_MS); /* others' progress */
		json_array_clear(all);
		rc = ask_all(c, deadline, all);
	}
	return rc;
}

/* Where the verdict stands: behind the report, but not within JSON. */
static enum ctl_exit
print_verdict(const struct ctl *c, const json_t *all)
{
	struct buf out = {0};
	const bool well = compare_nodes(all, &out);
	enum ctl_exit rc = CTL_OK;

	if (c->output != CTL_JSON)
		rc = ctl_print(out.data, out.len);
	else
		(void)fwrite(out.data, 1, out.len, stderr);
	buf_free(&out);
	return rc != CTL_OK ? rc : well ? CTL_OK : CTL_ERROR;
}

static enum ctl_exit
report(const struct ctl *c, const json_t *all, enum ctl_exit rc)
{
	enum ctl_exit printed;

	if (json_array_size(all) == 0)
		return rc;
	if ((printed = print_all(c, all)) != CTL_OK)
		rc = printed;
	if (c->cluster && (printed = print_verdict(c, all)) != CTL_OK)
		rc = printed;
	return rc;
}

enum ctl_exit
verb_status(const struct ctl *c)
{
	const struct mono deadline = mono_add_ms(mono_now(), c->timeout_ms);
	json_t *all = json_array();
	enum ctl_exit rc = c->cluster ? ask_comparable(c, deadline, all)
				      : ask_all(c, deadline, all);

	rc = report(c, all, rc);
	json_decref(all);
	return rc;
}
