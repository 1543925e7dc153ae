/* Waiting until a member votes; see vote.h. */
#include "cmd/metcdctl/vote.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cmd/metcdctl/http.h"
#include "cmd/metcdctl/progress.h"

#define PAUSE_MS 100
#define NODE_MS 2000u /* for the answer of one node */

/* What the nodes say of a member. */
struct view {
	bool asked_leader;
	bool there, votes, old_there;
	json_int_t match, last; /* of the leader; else 0 */
	char state[16];
};

static json_t *
ask(const char *endpoint, struct mono deadline)
{
	const struct http_request r = {
	    .method = "GET", .target = "/v1/members"};
	struct http_answer a = {0};
	char why[HTTP_WHY_BYTES];
	json_t *j = NULL;

	deadline = mono_earlier(deadline, mono_add_ms(mono_now(), NODE_MS));
	if (http_ask(endpoint, &r, deadline, &a, why) == HTTP_ANSWERED)
		j = json_loadb((const char *)a.body.data, a.body.len, 0, NULL);
	http_answer_free(&a);
	return j;
}

static json_int_t
number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static struct view
read_view(const json_t *j, uint64_t id, uint64_t old)
{
	const json_t *members = json_object_get(j, "members");
	struct view v = {
	    .asked_leader = number(j, "leader") != 0 &&
			    number(j, "node") == number(j, "leader"),
	    .last = number(j, "last")};

	for (size_t i = 0; i < json_array_size(members); i++) {
		const json_t *m = json_array_get(members, i);
		const json_int_t mine = number(m, "id");
		const char *role =
		    json_string_value(json_object_get(m, "role"));
		const char *state =
		    json_string_value(json_object_get(m, "state"));

		if (old != 0 && mine == (json_int_t)old)
			v.old_there = true;
		if (mine != (json_int_t)id)
			continue;
		v.there = true;
		v.votes = role != NULL && strcmp(role, "voter") == 0;
		v.match = number(m, "match");
		(void)snprintf(v.state, sizeof v.state, "%s",
		    state != NULL ? state : "unknown");
	}
	return v;
}

/* The leader's view if it can be had, since it alone knows how far the others
 * are; else any other's.  false: nobody answers. */
static bool
look(const struct ctl *c, uint64_t id, uint64_t old, struct mono deadline,
    struct view *out)
{
	bool found = false;

	for (size_t i = 0; i < c->admin.count; i++) {
		json_t *j = ask(c->admin.at[i], deadline);

		progress_tick();
		if (json_is_array(json_object_get(j, "members"))) {
			*out = read_view(j, id, old);
			found = true;
		}
		json_decref(j);
		if (found && out->asked_leader)
			break;
	}
	return found;
}

static enum ctl_exit
give_up(uint64_t id, uint64_t old, const struct view *v)
{
	if (v->votes && v->old_there)
		ctl_error("member %" PRIu64 " votes, but %" PRIu64
			  " is not out yet; see metcdctl member list",
		    id, old);
	else
		ctl_error("member %" PRIu64
			  " does not vote yet (match=%" JSON_INTEGER_FORMAT
			  " last=%" JSON_INTEGER_FORMAT
			  " state=%s); does its node run? see metcdctl member "
			  "list",
		    id, v->match, v->last,
		    v->state[0] != '\0' ? v->state : "unknown");
	return CTL_ERROR;
}

enum ctl_exit
vote_wait(const struct ctl *c, uint64_t id, uint64_t old, struct mono deadline)
{
	struct view v = {0};
	enum ctl_exit rc = CTL_UNKNOWN; /* goes on */
	char text[64];

	(void)snprintf(text, sizeof text, "member %" PRIu64 " catches up", id);
	progress_begin(text);
	while (rc == CTL_UNKNOWN) {
		if (look(c, id, old, deadline, &v)) {
			if (v.asked_leader && v.match > 0 && v.last > 0)
				progress_set(
				    (uint64_t)v.match, (uint64_t)v.last);
			if (v.votes && !v.old_there)
				rc = CTL_OK;
			else if (!v.there && v.asked_leader)
				rc = CTL_ERROR;
		}
		if (rc == CTL_UNKNOWN && mono_reached(deadline, mono_now()))
			break;
		if (rc == CTL_UNKNOWN)
			(void)poll(NULL, 0, PAUSE_MS); /* others' progress */
		progress_tick();
	}
	progress_end();
	if (rc == CTL_ERROR)
		ctl_error("member %" PRIu64 " is out again", id);
	return rc == CTL_UNKNOWN ? give_up(id, old, &v) : rc;
}
