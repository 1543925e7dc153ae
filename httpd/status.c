/* Questions of status; see status.h. */
#include "httpd/status.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/limits.h"

#define STATUS_MS 200u

struct status {
	struct link *raftd, *kvd;
	status_answer_fn *answer;
	struct status_waiter *first, *last; /* in order of token */
	uint64_t token;                     /* the last one given */

	/* What was last said; zero before. */
	bool raft_known;
	struct msg_raft_status raft; /* raft.token: the last one answered */
	struct msg_peer_item peers[NODES_MAX];
	uint64_t raft_token;
	struct msg_kv_status kv;
	uint64_t kv_token;
};

struct status *
status_open(struct link *raftd, struct link *kvd, status_answer_fn *answer)
{
	struct status *st = mem_zalloc(1, sizeof *st);

	st->raftd = raftd;
	st->kvd = kvd;
	st->answer = answer;
	return st;
}

void
status_close(struct status *st)
{
	assert(st == NULL || st->first == NULL);
	mem_free(st);
}

/* --- asking --- */

static void
ask(struct link *l, uint64_t token)
{
	struct msg_status_ask m = {.token = token};
	struct wire *w;

	if (link_is_full(l) || (w = link_begin(l, MSG_STATUS_ASK)) == NULL)
		return;
	(void)msg_status_ask_wire(w, &m);
	link_end(l);
}

void
status_add(struct status *st, struct status_waiter *w, struct mono now)
{
	w->token = ++st->token;
	w->deadline = mono_add_ms(now, STATUS_MS);
	w->waiting = true;
	w->prev = st->last;
	w->next = NULL;
	if (st->last != NULL)
		st->last->next = w;
	else
		st->first = w;
	st->last = w;
	ask(st->raftd, w->token);
	ask(st->kvd, w->token);
}

void
status_forget(struct status *st, struct status_waiter *w)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		st->first = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	else
		st->last = w->prev;
}

/* --- answering --- */

static const char *
role_name(const struct status *st)
{
	static const char *const name[] = {[MSG_ROLE_FOLLOWER] = "follower",
	    [MSG_ROLE_CANDIDATE] = "candidate",
	    [MSG_ROLE_LEADER] = "leader",
	    [MSG_ROLE_LEARNER] = "learner"};

	if (!st->raft_known || st->raft.role >= sizeof name / sizeof name[0])
		return "unknown";
	return name[st->raft.role];
}

static json_t *
peers_json(const struct status *st)
{
	/* enum raft_progress_state + 1; 0 = we do not lead */
	static const char *const state[] = {
	    "unknown", "probe", "replicate", "snapshot"};
	json_t *list = json_array();

	for (uint32_t i = 0; i < st->raft.count; i++) {
		const struct msg_peer_item *p = &st->peers[i];

		if (p->node == st->raft.node)
			continue;
		(void)json_array_append_new(
		    list, json_pack("{s:I,s:s,s:b,s:I,s:s,s:b}", "id",
			      (json_int_t)p->node, "address", p->address,
			      "learner", p->member == MSG_MEMBER_LEARNER,
			      "match", (json_int_t)p->match, "state",
			      state[p->state < 4 ? p->state : 0], "connected",
			      p->connected));
	}
	return list;
}

static json_t *
kv_json(const struct status *st, bool connected)
{
	const struct msg_kv_status *kv = &st->kv;
	char hash[HASH128_HEX_BYTES];

	hash128_hex(kv->hash, hash);
	return json_pack("{s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:I}",
	    "connected", connected, "engine", kv->engine, "applied",
	    (json_int_t)kv->applied, "durable", (json_int_t)kv->durable,
	    "revision", (json_int_t)kv->revision, "keys", (json_int_t)kv->keys,
	    "bytes", (json_int_t)kv->bytes, "hash", hash, "diverged",
	    kv->diverged, "diverged_index", (json_int_t)kv->diverged_index);
}

static json_t *
raft_json(const struct status *st)
{
	const struct msg_raft_status *r = &st->raft;

	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "first", (json_int_t)r->first,
	    "last", (json_int_t)r->last, "commit", (json_int_t)r->commit,
	    "applied", (json_int_t)r->applied, "snapshot",
	    (json_int_t)r->snapshot);
}

/* NULL: a text in it is not UTF-8.  To be freed with free(). */
static char *
render(const struct status *st, const struct status_waiter *w)
{
	const struct msg_raft_status *r = &st->raft;
	bool raft_here = link_is_up(st->raftd) && st->raft_token >= w->token;
	bool kv_here = link_is_up(st->kvd) && st->kv_token >= w->token;
	char cluster[17];
	json_t *j;
	char *text;

	(void)snprintf(cluster, sizeof cluster, "%016" PRIx64, r->cluster);
	j = json_pack("{s:I,s:s,s:I,s:I,s:s,s:s,s:o,s:o,s:o}", "id",
	    (json_int_t)r->node, "cluster_id", cluster, "leader",
	    (json_int_t)(raft_here ? r->leader : 0), "term",
	    (json_int_t)r->term, "role", raft_here ? role_name(st) : "unknown",
	    "version", METCD_VERSION, "raft", raft_json(st), "kv",
	    kv_json(st, kv_here), "peers", peers_json(st));
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}

static void
answer(struct status *st, struct status_waiter *w)
{
	struct buf out = {NULL, 0, 0};
	char *text = render(st, w);

	status_forget(st, w);
	if (text != NULL) {
		buf_append(&out, text, strlen(text));
		buf_append(&out, "\n", 1);
	} else {
		log_errorx("status cannot be written as JSON");
	}
	st->answer(w, buf_bytes(&out));
	buf_free(&out);
	free(text);
}

static bool
is_complete(const struct status *st, const struct status_waiter *w)
{
	return (!link_is_up(st->raftd) || st->raft_token >= w->token) &&
	       (!link_is_up(st->kvd) || st->kv_token >= w->token);
}

void
status_run(struct status *st, struct mono now)
{
	struct status_waiter *w;

	while ((w = st->first) != NULL &&
	       (is_complete(st, w) || mono_reached(w->deadline, now)))
		answer(st, w);
}

struct mono
status_next(const struct status *st)
{
	return st->first == NULL ? MONO_NEVER : st->first->deadline;
}

/* --- what comes back --- */

enum err
status_take_raft(
    struct status *st, struct wire *body, struct msg_raft_status *said)
{
	struct msg_peer_item peers[NODES_MAX];
	struct msg_raft_status m;

	msg_raft_status_wire(body, &m);
	if (wire_err(body) != ERR_OK || m.count > NODES_MAX)
		return ERR_MALFORMED;
	for (uint32_t i = 0; i < m.count; i++)
		msg_peer_item_wire(body, &peers[i]);
	if (wire_end(body) != ERR_OK)
		return ERR_MALFORMED;
	st->raft = m;
	if (m.count > 0)
		memcpy(st->peers, peers, m.count * sizeof peers[0]);
	st->raft_known = true;
	if (m.token > st->raft_token && m.token <= st->token)
		st->raft_token = m.token;
	*said = m;
	return ERR_OK;
}

enum err
status_take_kv(struct status *st, struct wire *body, struct msg_kv_status *said)
{
	struct msg_kv_status m;

	if (msg_kv_status_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	st->kv = *said = m;
	if (m.token > st->kv_token && m.token <= st->token)
		st->kv_token = m.token;
	return ERR_OK;
}

void
status_raftd_up(struct status *st, const struct msg_hello *theirs)
{
	st->raft.node = theirs->node;
	st->raft.cluster = theirs->cluster;
}

void
status_kvd_up(struct status *st, const struct msg_hello *theirs)
{
	static_assert(
	    sizeof st->kv.engine == sizeof theirs->engine, "the same text");

	st->kv.applied = theirs->applied;
	st->kv.durable = theirs->durable;
	memcpy(st->kv.engine, theirs->engine, sizeof st->kv.engine);
}
