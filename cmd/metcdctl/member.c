/* The verbs for members: member list, add, promote, remove, replace, update,
 * and move-leader. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cmd/metcdctl/admin.h"
#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/options.h"
#include "cmd/metcdctl/progress.h"
#include "cmd/metcdctl/report.h"
#include "cmd/metcdctl/vote.h"

/* Unless --timeout-ms says something: the leader's raftd gives up after about
 * 50 s; and a large store takes its time to be copied. */
#define ORDER_MS 65000u
#define WAIT_MS 600000u
#define TARGET_BYTES 96u

/* --- asking and ordering --- */

static enum ctl_exit
order(const struct ctl *c, const struct admin_order *o, struct mono deadline,
    json_t **answer)
{
	enum ctl_exit rc;

	progress_begin(c->verb);
	rc = admin_order(c, o, deadline, answer);
	progress_end();
	return rc;
}

/* An order whose answer is one line. */
static enum ctl_exit
order_and_report(const struct ctl *c, const struct admin_order *o,
    const struct column *columns)
{
	json_t *answer = NULL;
	enum ctl_exit rc = order(c, o, ctl_deadline(c, ORDER_MS), &answer);

	if (rc == CTL_OK)
		rc = report_print_one(c, columns, answer);
	json_decref(answer);
	return rc;
}

/* --- list --- */

/* For people: who leads; and no 0 for nobody. */
static json_t *
rows_of(const json_t *members)
{
	const json_t *list = json_object_get(members, "members");
	const json_int_t leader =
	    json_integer_value(json_object_get(members, "leader"));
	json_t *rows = json_deep_copy(list);

	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);

		(void)json_object_set_new(row, "leader",
		    json_boolean(json_integer_value(
				     json_object_get(row, "id")) == leader));
		if (json_integer_value(json_object_get(row, "replaces")) == 0)
			(void)json_object_del(row, "replaces");
	}
	return rows;
}

enum ctl_exit
verb_member_list(const struct ctl *c)
{
	static const struct column columns[] = {{"id", "id"}, {"peer", "peer"},
	    {"role", "role"}, {"leader", "leader"}, {"promote", "promote"},
	    {"replaces", "replaces"}, {"connected", "connected"},
	    {"match", "match"}, {"state", "state"}, {0}};
	json_t *members = NULL, *rows;
	enum ctl_exit rc =
	    admin_members(c, ctl_deadline(c, CTL_USUAL_MS), &members);

	if (rc != CTL_OK)
		return rc;
	rows = rows_of(members);
	rc = report_print(c, columns, rows, members);
	json_decref(rows);
	json_decref(members);
	return rc;
}

/* --- add, replace --- */

/* Set answer.start: what starts the new node. */
static void
add_start(const struct ctl *c, struct mono deadline, json_t *answer)
{
	const json_int_t id = json_integer_value(json_object_get(answer, "id"));
	struct buf line = {0};
	json_t *members = NULL, *list;

	if (admin_members(c, deadline, &members) != CTL_OK)
		return; /* it has said why; the order was carried out */
	report_text(
	    &line, "metcd --id %" JSON_INTEGER_FORMAT " --join --cluster ", id);
	list = json_object_get(members, "members");
	for (size_t i = 0; i < json_array_size(list); i++)
		report_text(&line, "%s%s", i > 0 ? "," : "",
		    report_cell(json_array_get(list, i), "peer"));
	report_text(&line, " --data-dir DIR");
	(void)json_object_set_new(
	    answer, "start", json_stringn((const char *)line.data, line.len));
	buf_free(&line);
	json_decref(members);
}

/* JSON has it as a field; others get a line of their own, to be copied. */
static enum ctl_exit
print_added(const struct ctl *c, const struct column *columns, json_t *answer)
{
	const char *start = json_string_value(json_object_get(answer, "start"));
	struct buf line = {0};
	enum ctl_exit rc = report_print_one(c, columns, answer);

	if (rc == CTL_OK && c->output != CTL_JSON && start != NULL) {
		report_text(&line, "start it with: %s\n", start);
		rc = ctl_print(line.data, line.len);
		buf_free(&line);
	}
	return rc;
}

/* old: whose place it takes; 0: nobody's. */
static enum ctl_exit
let_in(const struct ctl *c, const struct admin_order *o, uint64_t old,
    const struct column *columns)
{
	const struct mono deadline =
	    ctl_deadline(c, c->wait ? WAIT_MS : ORDER_MS);
	json_t *answer = NULL;
	enum ctl_exit rc = order(c, o, deadline, &answer);
	json_int_t id;

	if (rc == CTL_OK) {
		add_start(c, deadline, answer);
		id = json_integer_value(json_object_get(answer, "id"));
		rc = print_added(c, columns, answer);
		if (rc == CTL_OK && c->wait)
			rc = vote_wait(c, (uint64_t)id, old, deadline);
	}
	json_decref(answer);
	return rc;
}

enum ctl_exit
verb_member_add(const struct ctl *c)
{
	static const struct column columns[] = {{"id", "id"}, {"peer", "peer"},
	    {"role", "role"}, {"promote", "promote"}, {"index", "index"}, {0}};
	const bool automatic = c->automatic || c->wait;
	json_t *body = json_pack("{s:s,s:s}", "peer", c->operands[0], "promote",
	    automatic ? "auto" : "manual");
	const struct admin_order o = {"POST", "/v1/members", body};
	enum ctl_exit rc;

	if (body == NULL) {
		ctl_error("a peer address is HOST:PORT in plain characters");
		return CTL_BAD_INPUT;
	}
	if (c->id != 0)
		(void)json_object_set_new(
		    body, "id", json_integer((json_int_t)c->id));
	rc = let_in(c, &o, 0, columns);
	json_decref(body);
	return rc;
}

enum ctl_exit
verb_member_replace(const struct ctl *c)
{
	static const struct column columns[] = {{"id", "id"}, {"old", "old"},
	    {"peer", "peer"}, {"index", "index"}, {0}};
	uint64_t old = 0;
	enum ctl_exit rc = options_id("OLD", c->operands[0], &old);
	json_t *body;

	if (rc != CTL_OK)
		return rc;
	body = json_pack("{s:I,s:s,s:b}", "old", (json_int_t)old, "peer",
	    c->operands[1], "force", c->force);
	if (body == NULL) {
		ctl_error("a peer address is HOST:PORT in plain characters");
		return CTL_BAD_INPUT;
	}
	if (c->id != 0)
		(void)json_object_set_new(
		    body, "new", json_integer((json_int_t)c->id));
	rc = let_in(c,
	    &(struct admin_order){"POST", "/v1/members/replace", body}, old,
	    columns);
	json_decref(body);
	return rc;
}

/* --- promote, remove, update --- */

/* "/v1/members/ID" and what follows. */
static enum ctl_exit
member_target(const struct ctl *c, const char *rest, char out[TARGET_BYTES])
{
	uint64_t id = 0;
	enum ctl_exit rc = options_id("ID", c->operands[0], &id);

	(void)snprintf(
	    out, TARGET_BYTES, "/v1/members/%" PRIu64 "%s", id, rest);
	return rc;
}

static const struct column changed[] = {{"id", "id"}, {"index", "index"}, {0}};

enum ctl_exit
verb_member_promote(const struct ctl *c)
{
	char target[TARGET_BYTES];
	enum ctl_exit rc = member_target(
	    c, c->force ? "/promote?force=true" : "/promote", target);

	if (rc != CTL_OK)
		return rc;
	return order_and_report(
	    c, &(struct admin_order){"POST", target, NULL}, changed);
}

enum ctl_exit
verb_member_remove(const struct ctl *c)
{
	char target[TARGET_BYTES];
	enum ctl_exit rc =
	    member_target(c, c->force ? "?force=true" : "", target);

	if (rc != CTL_OK)
		return rc;
	return order_and_report(
	    c, &(struct admin_order){"DELETE", target, NULL}, changed);
}

enum ctl_exit
verb_member_update(const struct ctl *c)
{
	static const struct column columns[] = {
	    {"id", "id"}, {"peer", "peer"}, {"index", "index"}, {0}};
	char target[TARGET_BYTES];
	enum ctl_exit rc = member_target(c, "", target);
	json_t *body;

	if (rc != CTL_OK)
		return rc;
	if ((body = json_pack("{s:s}", "peer", c->operands[1])) == NULL) {
		ctl_error("a peer address is HOST:PORT in plain characters");
		return CTL_BAD_INPUT;
	}
	rc = order_and_report(
	    c, &(struct admin_order){"PUT", target, body}, columns);
	json_decref(body);
	return rc;
}

/* --- move-leader --- */

enum ctl_exit
verb_move_leader(const struct ctl *c)
{
	static const struct column columns[] = {{"leader", "leader"}, {0}};
	json_t *body = json_object();
	enum ctl_exit rc = CTL_OK;
	uint64_t id = 0;

	if (c->operand_count == 1)
		rc = options_id("ID", c->operands[0], &id);
	if (id != 0)
		(void)json_object_set_new(
		    body, "to", json_integer((json_int_t)id));
	if (rc == CTL_OK)
		rc = order_and_report(c,
		    &(struct admin_order){"POST", "/v1/leader", body}, columns);
	json_decref(body);
	return rc;
}
