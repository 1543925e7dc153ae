/* What leaves the core: raft_ready() collects it, raft_advance() or the answers
 * of the local threads say that it has been carried out.
 *
 * Answers that promise durability wait in msgs_after until what they promise
 * is written.  Synchronous mode: the user sends all messages after the write;
 * what this node has for itself is stepped by raft_advance().  Asynchronous
 * mode: they are the responses of the MsgStorageAppend. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static bool
hard_equal(struct raft_hard_state a, struct raft_hard_state b)
{
	return a.term == b.term && a.vote == b.vote && a.commit == b.commit;
}

static struct raft_soft_state
soft_state(const struct raft *r)
{
	return (struct raft_soft_state){.leader = r->lead, .role = r->role};
}

static bool
soft_equal(struct raft_soft_state a, struct raft_soft_state b)
{
	return a.leader == b.leader && a.role == b.role;
}

/* In synchronous mode entries may be applied that the same raft_ready asks to
 * write: the user writes first. */
static bool
unstable_too(const struct raft *r)
{
	return !r->config.async_storage_writes;
}

bool
raft_has_ready(const struct raft *r)
{
	const struct raft_entry *first;

	return r->msgs.count > 0 || r->msgs_after.count > 0 ||
	       r->read_states.count > 0 ||
	       !soft_equal(soft_state(r), r->prev_soft) ||
	       !hard_equal(core_hard_state(r), r->prev_hard) ||
	       (r->log.snapshot != NULL && !r->log.snapshot_in_progress) ||
	       raft_log_next_unstable(&r->log, &first) > 0 ||
	       raft_log_has_committed(&r->log, unstable_too(r));
}

/* ---- collecting ---- */

/* Give back what the last raft_ready lent out. */
static void
ready_clear(struct raft *r)
{
	msg_queue_clear(&r->ready_msgs);
	read_states_clear(&r->ready_reads);
	snapshot_free(&r->ready_snapshot);
	if (r->ready_entries != NULL)
		raft_entries_free(r->ready_entries, r->ready.entry_count);
	if (r->ready_committed != NULL)
		raft_entries_free(r->ready_committed, r->ready.committed_count);
	r->ready_entries = NULL;
	r->ready_committed = NULL;
	r->ready = (struct raft_ready){0};
}

void
ready_free(struct raft *r)
{
	ready_clear(r);
	msg_queue_free(&r->ready_msgs);
	msg_queue_free(&r->on_advance);
	mem_free(r->ready_reads.v);
}

static void
collect_states(struct raft *r, struct raft_ready *rd)
{
	struct read_states reads = r->ready_reads;

	rd->soft_state = soft_state(r);
	rd->has_soft_state = !soft_equal(rd->soft_state, r->prev_soft);
	rd->hard_state = core_hard_state(r);
	rd->has_hard_state = !hard_equal(rd->hard_state, r->prev_hard);
	/* A commit index lost in a crash is found again; term, vote and
	 * entries are promises: thesis 3.8. */
	rd->must_sync = rd->entry_count > 0 ||
			rd->hard_state.term != r->prev_hard.term ||
			rd->hard_state.vote != r->prev_hard.vote;

	r->ready_reads = r->read_states;
	r->read_states = reads;
	rd->read_states = r->ready_reads.v;
	rd->read_state_count = r->ready_reads.count;
	r->prev_soft = rd->soft_state;
	r->prev_hard = rd->hard_state;
}

/* "All of the log that I have now is durable."  It names the end of the log,
 * not of the entries at hand: storage works in order, so earlier ones are
 * durable too, and it is made even without entries as long as any are on their
 * way, because an earlier confirmation is void if the term has changed since.
 * False: there is nothing to confirm. */
static bool
append_resp(const struct raft *r, struct raft_msg *m)
{
	const struct raft_log *l = &r->log;

	if (l->tail.count == 0 && r->ready_snapshot == NULL)
		return false;
	*m = (struct raft_msg){.type = RAFT_MSG_STORAGE_APPEND_RESP,
	    .to = r->id,
	    .from = RAFT_APPEND_THREAD,
	    .term = r->term};
	if (l->tail.count > 0) {
		m->index = raft_log_last(l);
		m->log_term = raft_log_last_term(l);
	}
	m->snapshot = snapshot_copy(r->ready_snapshot);
	return true;
}

/* ---- asynchronous mode ---- */

static void
push_storage_append(
    struct raft *r, struct raft_ready *rd, struct raft_entry *entries)
{
	struct raft_msg m = {.type = RAFT_MSG_STORAGE_APPEND,
	    .to = RAFT_APPEND_THREAD,
	    .from = r->id,
	    .entries = entries,
	    .entry_count = rd->entry_count};
	struct msg_queue *after = &r->msgs_after;

	if (rd->entry_count == 0 && !rd->has_hard_state &&
	    r->ready_snapshot == NULL && after->count == 0)
		return;
	if (rd->has_hard_state) {
		m.term = rd->hard_state.term;
		m.vote = rd->hard_state.vote;
		m.commit = rd->hard_state.commit;
	}
	m.snapshot = snapshot_copy(r->ready_snapshot);
	m.responses = mem_zalloc(after->count + 1, sizeof(*m.responses));
	for (size_t i = 0; i < after->count; i++)
		raft_msg_move(&m.responses[m.response_count++], &after->v[i]);
	after->count = 0;
	/* Last, after the messages that it makes true. */
	if (append_resp(r, &m.responses[m.response_count]))
		m.response_count++;
	msg_queue_push(&r->ready_msgs, &m);
}

static void
push_storage_apply(
    struct raft *r, const struct raft_ready *rd, struct raft_entry *committed)
{
	struct raft_msg m = {.type = RAFT_MSG_STORAGE_APPLY,
	    .to = RAFT_APPLY_THREAD,
	    .from = r->id,
	    .entries = committed,
	    .entry_count = rd->committed_count};

	if (rd->committed_count == 0)
		return;
	m.responses = mem_zalloc(1, sizeof(*m.responses));
	m.response_count = 1;
	m.responses[0] = (struct raft_msg){.type = RAFT_MSG_STORAGE_APPLY_RESP,
	    .to = r->id,
	    .from = RAFT_APPLY_THREAD,
	    .entries = entries_copy(committed, rd->committed_count),
	    .entry_count = rd->committed_count};
	msg_queue_push(&r->ready_msgs, &m);
}

/* ---- synchronous mode ---- */

static void
split_after(struct raft *r)
{
	struct raft_msg resp;

	for (size_t i = 0; i < r->msgs_after.count; i++) {
		struct raft_msg *m = &r->msgs_after.v[i];

		msg_queue_push(
		    m->to == r->id ? &r->on_advance : &r->ready_msgs, m);
	}
	r->msgs_after.count = 0;
	if (append_resp(r, &resp))
		msg_queue_push(&r->on_advance, &resp);
}

/* ---- both ---- */

/* The queue of the last raft_ready is empty: take it for the next messages. */
static void
take_messages(struct raft *r)
{
	struct msg_queue empty = r->ready_msgs;

	assert(empty.count == 0);
	r->ready_msgs = r->msgs;
	r->msgs = empty;
}

const struct raft_ready *
raft_ready(struct raft *r)
{
	struct raft_ready *rd = &r->ready;
	const struct raft_entry *unstable;
	struct raft_entry *entries;
	struct raft_entry *committed;

	assert(!r->advance_due); /* raft_advance() comes first */
	ready_clear(r);
	rd->entry_count = raft_log_next_unstable(&r->log, &unstable);
	entries = entries_copy(unstable, rd->entry_count);
	raft_log_next_committed(
	    &r->log, unstable_too(r), &committed, &rd->committed_count);
	if (!r->log.snapshot_in_progress)
		r->ready_snapshot = snapshot_copy(r->log.snapshot);
	collect_states(r, rd);
	take_messages(r);
	if (r->config.async_storage_writes) {
		push_storage_append(r, rd, entries);
		push_storage_apply(r, rd, committed);
	} else {
		split_after(r);
		r->ready_entries = entries;
		r->ready_committed = committed;
		r->advance_due = true;
	}
	rd->entries = entries;
	rd->committed_entries = committed;
	rd->snapshot = r->ready_snapshot;
	rd->messages = r->ready_msgs.v;
	rd->message_count = r->ready_msgs.count;

	raft_log_accept_unstable(&r->log);
	if (rd->committed_count > 0)
		raft_log_accept_applying(&r->log,
		    committed[rd->committed_count - 1].index,
		    entries_size(committed, rd->committed_count),
		    unstable_too(r));
	return rd;
}

/* ---- carried out ---- */

static void
applied_to(struct raft *r, uint64_t index, uint64_t bytes)
{
	if (index < r->log.applied)
		index = r->log.applied;
	raft_log_applied_to(&r->log, index, bytes);
	/* Thesis 4.3: the joint configuration is left once it has been
	 * reached.  pending_conf_index keeps this from being repeated. */
	if (r->tracker.conf.auto_leave && r->role == RAFT_LEADER &&
	    r->log.applied >= r->pending_conf_index)
		propose_leave_joint(r);
}

/* entries_count: not after a change of the term, which may have replaced the
 * entries by others with the same index and, once more, the same term, that
 * are not durable. */
void
ready_on_append_resp(
    struct raft *r, const struct raft_msg *m, bool entries_count)
{
	if (entries_count && m->index != 0)
		raft_log_stable_to(&r->log, m->index, m->log_term);
	if (m->snapshot != NULL && m->snapshot->index <= r->log.committed) {
		raft_log_snapshot_stable(&r->log, m->snapshot->index);
		applied_to(r, m->snapshot->index, 0);
	}
}

enum raft_rc
ready_on_apply_resp(struct raft *r, const struct raft_msg *m)
{
	uint64_t last;

	if (m->entry_count == 0)
		return RAFT_OK;
	last = m->entries[m->entry_count - 1].index;
	if (last > r->log.applying)
		return RAFT_STEP_MALFORMED; /* was never handed out */
	applied_to(r, last, entries_size(m->entries, m->entry_count));
	propose_reduce_uncommitted(
	    r, entries_payload(m->entries, m->entry_count));
	return RAFT_OK;
}

void
raft_advance(struct raft *r)
{
	const struct raft_view before = raft_view(r);
	struct raft_msg applied = {.type = RAFT_MSG_STORAGE_APPLY_RESP,
	    .to = r->id,
	    .from = RAFT_APPLY_THREAD,
	    .entries = r->ready_committed, /* borrowed */
	    .entry_count = r->ready.committed_count};

	assert(r->advance_due);
	r->advance_due = false;
	/* What these steps send waits for the next raft_ready. */
	for (size_t i = 0; i < r->on_advance.count; i++)
		(void)core_step(r, &r->on_advance.v[i]); /* own: not refused */
	msg_queue_clear(&r->on_advance);
	(void)core_step(r, &applied); /* own: not refused */
	ready_clear(r);
	raft_check(r, &before);
}
