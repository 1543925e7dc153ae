/* Reads that need no entry in the log (thesis 6.4).
 *
 * Safe: the commit index of now is the answer, once a quorum has confirmed, by
 * answering a heartbeat sent after the read came in, that this node still
 * leads.  Reads of one leadership are numbered from 1; a heartbeat carries the
 * number of the last one, and its answer acknowledges all up to that.
 * By lease: the answer is given at once, on the strength of check-quorum and
 * clocks that run evenly (6.4.1). */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { COUNTER_BYTES = 8 };

/* ---- queues ---- */

static void
queue_push(struct read_queue *q, struct read_request request)
{
	if (q->head > 0 && q->head + q->count == q->cap) {
		memmove(q->v, q->v + q->head, q->count * sizeof(*q->v));
		q->head = 0;
	}
	if (q->count == q->cap) {
		q->cap = q->cap == 0 ? 16 : q->cap * 2;
		q->v = mem_resize(q->v, q->cap, sizeof(*q->v));
	}
	q->v[q->head + q->count++] = request;
}

/* The first; its reference on the context goes to the caller. */
static struct read_request
queue_pop(struct read_queue *q)
{
	assert(q->count > 0);
	q->count--;
	return q->v[q->head++];
}

static void
queue_clear(struct read_queue *q)
{
	while (q->count > 0) {
		struct read_request request = queue_pop(q);

		blob_unref(&request.context);
	}
	q->head = 0;
}

static void
states_push(struct read_states *s, uint64_t index, struct blob *context)
{
	if (s->count == s->cap) {
		s->cap = s->cap == 0 ? 16 : s->cap * 2;
		s->v = mem_resize(s->v, s->cap, sizeof(*s->v));
	}
	s->v[s->count++] =
	    (struct raft_read_state){.index = index, .context = context};
}

void
read_states_clear(struct read_states *s)
{
	for (size_t i = 0; i < s->count; i++)
		blob_unref(&s->v[i].context);
	s->count = 0;
}

void
read_forget(struct raft *r)
{
	queue_clear(&r->reads);
	r->read_count = 0;
}

void
read_free(struct raft *r)
{
	queue_clear(&r->reads);
	queue_clear(&r->deferred);
	mem_free(r->reads.v);
	mem_free(r->deferred.v);
	read_states_clear(&r->read_states);
	mem_free(r->read_states.v);
}

/* ---- the leader ---- */

/* Takes over the reference on the context. */
static void
answer(struct raft *r, struct read_request request, uint64_t index)
{
	struct raft_msg m = {.type = RAFT_MSG_READ_INDEX_RESP,
	    .to = request.from,
	    .index = index};

	if (request.from == RAFT_NONE || request.from == r->id) {
		states_push(&r->read_states, index, request.context);
		return;
	}
	m.entries = mem_zalloc(1, sizeof(*m.entries));
	m.entries[0].data = request.context;
	m.entry_count = 1;
	core_send(r, &m);
}

static bool
is_single_voter(const struct raft *r)
{
	const struct raft_conf_state *conf = &r->tracker.conf;

	/* The one voter must be this node, and not the last one left of a
	 * cluster that this node has been removed from. */
	return conf->voters.count == 1 && conf->voters_outgoing.count == 0 &&
	       conf->voters.id[0] == r->id;
}

/* Before that the commit index may be older than what other leaders have
 * committed: thesis 6.4, step 1. */
static bool
has_committed_in_term(const struct raft *r)
{
	return raft_log_matches(&r->log, r->log.committed, r->term);
}

void
read_answer_acked(struct raft *r)
{
	uint64_t acked = tracker_read_acked(&r->tracker);

	while (
	    r->reads.count > 0 && r->read_count - r->reads.count + 1 <= acked) {
		struct read_request request = queue_pop(&r->reads);

		answer(r, request, request.index);
	}
	if (r->reads.count == 0)
		r->reads.head = 0;
}

/* Takes over the reference on the context. */
static void
serve(struct raft *r, struct read_request request)
{
	struct progress *self = tracker_find(&r->tracker, r->id);

	if (r->config.read_mode == RAFT_READ_LEASE || is_single_voter(r)) {
		answer(r, request, r->log.committed);
		return;
	}
	request.index = r->log.committed;
	queue_push(&r->reads, request);
	r->read_count++;
	if (self != NULL)
		self->read_ack = r->read_count;
	replicate_beat(r);
}

void
read_on_leader(struct raft *r, const struct raft_msg *m)
{
	struct read_request request = {.from = m->from};

	assert(m->entry_count == 1);
	request.context = blob_ref(m->entries[0].data);
	if (has_committed_in_term(r))
		serve(r, request);
	else
		queue_push(&r->deferred, request);
}

/* Commit has moved. */
void
read_release_deferred(struct raft *r)
{
	if (r->deferred.count == 0 || !has_committed_in_term(r))
		return;
	while (r->deferred.count > 0)
		serve(r, queue_pop(&r->deferred));
	r->deferred.head = 0;
}

struct blob *
read_heartbeat_context(const struct raft *r)
{
	struct blob *b;

	if (r->reads.count == 0)
		return NULL;
	b = blob_new(NULL, COUNTER_BYTES);
	for (unsigned int i = 0; i < COUNTER_BYTES; i++)
		b->data[i] = (uint8_t)(r->read_count >> (8 * i));
	return b;
}

/* An answer to a heartbeat of this term. */
void
read_on_ack(struct raft *r, struct progress *pr, const struct raft_msg *m)
{
	struct bytes context = blob_bytes(m->context);
	uint64_t counter = 0;

	if (r->config.read_mode != RAFT_READ_SAFE ||
	    context.len != COUNTER_BYTES)
		return;
	for (unsigned int i = 0; i < COUNTER_BYTES; i++)
		counter |= (uint64_t)context.data[i] << (8 * i);
	if (counter > r->read_count)
		return; /* no heartbeat of ours */
	if (counter > pr->read_ack)
		pr->read_ack = counter;
	read_answer_acked(r);
}

/* ---- who asked ---- */

void
read_on_resp(struct raft *r, const struct raft_msg *m)
{
	assert(m->entry_count == 1);
	states_push(&r->read_states, m->index, blob_ref(m->entries[0].data));
}
