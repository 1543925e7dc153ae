/* A node and its cluster as JSON; see report.h. */
#include "httpd/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/daemon.h"

#define CLUSTER_HEX_BYTES 17

static const char *
role_name(const struct status_view *v)
{
	static const char *const name[] = {[MSG_ROLE_FOLLOWER] = "follower",
	    [MSG_ROLE_CANDIDATE] = "candidate",
	    [MSG_ROLE_LEADER] = "leader",
	    [MSG_ROLE_LEARNER] = "learner"};

	if (!v->raft_here || v->raft->role >= sizeof name / sizeof name[0])
		return "unknown";
	return name[v->raft->role];
}

static const char *
member_name(uint8_t member)
{
	static const char *const name[] = {[MSG_MEMBER_VOTER] = "voter",
	    [MSG_MEMBER_LEARNER] = "learner",
	    [MSG_MEMBER_INCOMING] = "incoming",
	    [MSG_MEMBER_OUTGOING] = "outgoing"};

	return member < sizeof name / sizeof name[0] ? name[member] : "unknown";
}

static const char *
progress_name(uint8_t state)
{
	/* enum raft_progress_state + 1; 0 = we do not lead */
	static const char *const name[] = {
	    "unknown", "probe", "replicate", "snapshot"};

	return state < sizeof name / sizeof name[0] ? name[state] : name[0];
}

static void
cluster_hex(const struct status_view *v, char out[CLUSTER_HEX_BYTES])
{
	(void)snprintf(out, CLUSTER_HEX_BYTES, "%016" PRIx64, v->raft->cluster);
}

/* Numbers of ours are far below 2^63. */
static json_int_t
number(uint64_t n)
{
	return (json_int_t)n;
}

/* An address is what somebody has typed; jansson takes UTF-8 alone. */
static json_t *
text(const char *s)
{
	json_t *j = json_string(s);

	return j != NULL ? j : json_string("?");
}

/* --- status --- */

static json_t *
peers_json(const struct status_view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->raft->count; i++) {
		const struct msg_peer_item *p = &v->members[i];

		if (p->node == v->raft->node)
			continue;
		(void)json_array_append_new(list,
		    json_pack("{s:I,s:o,s:b,s:I,s:s,s:b}", "id",
			number(p->node), "address", text(p->address), "learner",
			p->member == MSG_MEMBER_LEARNER, "match",
			number(p->match), "state", progress_name(p->state),
			"connected", p->connected));
	}
	return list;
}

static json_t *
kv_json(const struct status_view *v)
{
	const struct msg_kv_status *kv = v->kv;
	char hash[HASH128_HEX_BYTES];

	hash128_hex(kv->hash, hash);
	return json_pack("{s:b,s:o,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:I}",
	    "connected", v->kv_here, "engine", text(kv->engine), "applied",
	    number(kv->applied), "durable", number(kv->durable), "revision",
	    number(kv->revision), "keys", number(kv->keys), "bytes",
	    number(kv->bytes), "hash", hash, "diverged", kv->diverged,
	    "diverged_index", number(kv->diverged_index));
}

static json_t *
raft_json(const struct status_view *v)
{
	const struct msg_raft_status *r = v->raft;

	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "first", number(r->first),
	    "last", number(r->last), "commit", number(r->commit), "applied",
	    number(r->applied), "snapshot", number(r->snapshot));
}

json_t *
report_status(const struct status_view *v)
{
	const struct msg_raft_status *r = v->raft;
	char cluster[CLUSTER_HEX_BYTES];

	cluster_hex(v, cluster);
	return json_pack("{s:I,s:s,s:I,s:I,s:s,s:s,s:o,s:o,s:o}", "id",
	    number(r->node), "cluster_id", cluster, "leader",
	    number(v->raft_here ? r->leader : 0), "term", number(r->term),
	    "role", role_name(v), "version", METCD_VERSION, "raft",
	    raft_json(v), "kv", kv_json(v), "peers", peers_json(v));
}

/* --- members --- */

static json_t *
member_json(const struct msg_peer_item *p)
{
	return json_pack("{s:I,s:o,s:s,s:s,s:I,s:b,s:I,s:s}", "id",
	    number(p->node), "peer", text(p->address), "role",
	    member_name(p->member), "promote", p->promote ? "auto" : "manual",
	    "replaces", number(p->replaces), "connected", p->connected, "match",
	    number(p->match), "state", progress_name(p->state));
}

/* Only there are voters that come in or go out. */
static bool
is_joint(const struct status_view *v)
{
	for (uint32_t i = 0; i < v->raft->count; i++)
		if (v->members[i].member == MSG_MEMBER_INCOMING ||
		    v->members[i].member == MSG_MEMBER_OUTGOING)
			return true;
	return false;
}

json_t *
report_members(const struct status_view *v)
{
	const struct msg_raft_status *r = v->raft;
	json_t *list = json_array();
	char cluster[CLUSTER_HEX_BYTES];

	cluster_hex(v, cluster);
	for (uint32_t i = 0; i < r->count; i++)
		(void)json_array_append_new(list, member_json(&v->members[i]));
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:b,s:o}", "cluster_id", cluster,
	    "node", number(r->node), "leader", number(r->leader), "last",
	    number(r->last), "index", number(r->members_index), "joint",
	    is_joint(v), "members", list);
}

json_t *
report_member(const struct status_view *v, uint64_t id)
{
	for (uint32_t i = 0; i < v->raft->count; i++)
		if (v->members[i].node == id)
			return member_json(&v->members[i]);
	return NULL;
}
