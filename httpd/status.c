/* Questions of status; see status.h. */
#include "httpd/status.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "proto/limits.h"

struct status {
	struct link *raftd, *kvd;
	status_answer_fn *answer;
	struct askers askers;

	/* What was last said; zero before. */
	bool raft_known;
	struct msg_raft_status raft; /* raft.token: the last one answered */
	struct msg_peer_item members[NODES_MAX];
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
	assert(st == NULL || st->askers.first == NULL);
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
status_add(struct status *st, struct asker *a, struct mono now)
{
	asker_add(&st->askers, a, mono_add_ms(now, STATUS_MS));
	ask(st->raftd, a->token);
	ask(st->kvd, a->token);
}

void
status_forget(struct status *st, struct asker *a)
{
	asker_remove(&st->askers, a);
}

/* --- answering --- */

static void
answer(struct status *st, struct asker *a)
{
	const struct status_view v = {.raft_known = st->raft_known,
	    .raft_here = link_is_up(st->raftd) && st->raft_token >= a->token,
	    .kv_here = link_is_up(st->kvd) && st->kv_token >= a->token,
	    .raft = &st->raft,
	    .members = st->members,
	    .kv = &st->kv};

	asker_remove(&st->askers, a);
	st->answer(a, &v);
}

static bool
is_complete(const struct status *st, const struct asker *a)
{
	return (!link_is_up(st->raftd) || st->raft_token >= a->token) &&
	       (!link_is_up(st->kvd) || st->kv_token >= a->token);
}

void
status_run(struct status *st, struct mono now)
{
	struct asker *a;

	while ((a = st->askers.first) != NULL &&
	       (is_complete(st, a) || mono_reached(a->deadline, now)))
		answer(st, a);
}

struct mono
status_next(const struct status *st)
{
	return asker_next(&st->askers);
}

void
status_stop(struct status *st)
{
	while (st->askers.first != NULL)
		answer(st, st->askers.first);
}

/* --- what comes back --- */

enum err
status_take_raft(
    struct status *st, struct wire *body, struct msg_raft_status *said)
{
	struct msg_peer_item members[NODES_MAX];
	struct msg_raft_status m;

	msg_raft_status_wire(body, &m);
	if (wire_err(body) != ERR_OK || m.count > NODES_MAX)
		return ERR_MALFORMED;
	for (uint32_t i = 0; i < m.count; i++)
		msg_peer_item_wire(body, &members[i]);
	if (wire_end(body) != ERR_OK)
		return ERR_MALFORMED;
	st->raft = m;
	if (m.count > 0)
		memcpy(st->members, members, m.count * sizeof members[0]);
	st->raft_known = true;
	if (m.token > st->raft_token && m.token <= st->askers.token)
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
	if (m.token > st->kv_token && m.token <= st->askers.token)
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
