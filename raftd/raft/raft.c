/* The user's side of the core: birth and death, the calls that put something
 * in, and time.  What comes out is in ready.c. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define ULL(x) ((unsigned long long)(x))

/* ---- birth and death ---- */

/* NULL, or what is wrong. */
static const char *
config_wrong(const struct raft_config *c)
{
	if (c->id == RAFT_NONE)
		return "cannot use none as id";
	if (c->id >= RAFT_APPLY_THREAD)
		return "cannot use local target as id";
	if (c->heartbeat_ticks == 0)
		return "heartbeat tick must be greater than 0";
	if (c->election_ticks <= c->heartbeat_ticks)
		return "election tick must be greater than heartbeat tick";
	if (c->election_ticks > UINT32_MAX / 2)
		return "election tick is too large";
	if (c->storage == NULL)
		return "storage cannot be nil";
	if (c->random == NULL)
		return "a random source is needed";
	if (c->max_inflight_msgs == 0)
		return "max inflight messages must be greater than 0";
	if (c->max_inflight_bytes != 0 &&
	    c->max_inflight_bytes < c->max_bytes_per_msg)
		return "max inflight bytes must be >= max message size";
	if (c->read_mode == RAFT_READ_LEASE && !c->check_quorum)
		return "CheckQuorum must be enabled when ReadOnlyOption is "
		       "ReadOnlyLeaseBased";
	return NULL;
}

static void
config_fill(struct raft_config *c)
{
	if (c->max_committed_bytes_per_ready == 0)
		c->max_committed_bytes_per_ready = c->max_bytes_per_msg;
	/* One byte is the least that lets entries through one by one. */
	if (c->max_committed_bytes_per_ready == 0)
		c->max_committed_bytes_per_ready = 1;
	if (c->max_uncommitted_bytes == 0)
		c->max_uncommitted_bytes = RAFT_NO_LIMIT;
}

/* What storage and the application say of the past. */
static const char *
load_state(struct raft *r)
{
	struct raft_hard_state hard = {0};
	struct raft_conf_state conf = {0};
	uint64_t applied = r->config.applied;
	const char *wrong;

	r->config.storage->initial_state(r->config.storage_arg, &hard, &conf);
	wrong = change_restore(&r->tracker, &conf, raft_log_last(&r->log));
	if (wrong != NULL)
		return wrong;
	if (hard.commit != 0 || hard.term != 0 || hard.vote != 0) {
		if (hard.commit > raft_log_last(&r->log))
			return "state.commit is out of range";
		/* A commit index may be written after the compaction that it
		 * allowed; what is compacted was committed. */
		if (hard.commit > r->log.committed)
			r->log.committed = hard.commit;
		r->term = hard.term;
		r->vote = hard.vote;
	}
	if (applied > 0) {
		if (applied < r->log.applied || applied > r->log.committed)
			return "applied is out of range";
		raft_log_applied_to(&r->log, applied, 0);
	}
	return NULL;
}

struct raft *
raft_new(const struct raft_config *config)
{
	const char *wrong = config_wrong(config);
	struct raft *r = mem_zalloc(1, sizeof(*r));

	r->config = *config;
	r->id = config->id;
	if (wrong == NULL) {
		config_fill(&r->config);
		r->tracker.inflight_msgs_max = config->max_inflight_msgs;
		r->tracker.inflight_bytes_max = config->max_inflight_bytes;
		raft_log_open(&r->log, config->storage, config->storage_arg,
		    r->config.max_committed_bytes_per_ready);
		wrong = load_state(r);
	}
	if (wrong != NULL) {
		core_trace(r, "%llx cannot start: %s", ULL(r->id), wrong);
		raft_free(r);
		return NULL;
	}
	core_become_follower(r, r->term, RAFT_NONE);
	r->prev_soft = (struct raft_soft_state){RAFT_NONE, RAFT_FOLLOWER};
	r->prev_hard = core_hard_state(r);
	core_trace(r,
	    "newRaft %llx [term: %llu, commit: %llu, applied: %llu, "
	    "lastindex: %llu, lastterm: %llu]",
	    ULL(r->id), ULL(r->term), ULL(r->log.committed),
	    ULL(r->log.applied), ULL(raft_log_last(&r->log)),
	    ULL(raft_log_last_term(&r->log)));
	return r;
}

void
raft_free(struct raft *r)
{
	if (r == NULL)
		return;
	ready_free(r);
	read_free(r);
	msg_queue_free(&r->msgs);
	msg_queue_free(&r->msgs_after);
	tracker_free(&r->tracker);
	raft_log_close(&r->log);
	mem_free(r);
}

/* ---- small things ---- */

void
core_trace(const struct raft *r, const char *format, ...)
{
	char line[512];
	va_list args;

	if (r->config.trace == NULL)
		return;
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args); /* may be cut */
	va_end(args);
	r->config.trace(r->config.trace_arg, line);
}

struct raft_hard_state
core_hard_state(const struct raft *r)
{
	return (struct raft_hard_state){
	    .term = r->term, .vote = r->vote, .commit = r->log.committed};
}

/* ---- the user's calls ---- */

enum raft_rc
raft_step(struct raft *r, const struct raft_msg *m)
{
	const struct raft_view before = raft_view(r);
	enum raft_rc rc = admit_msg(r, m);

	if (rc != RAFT_OK)
		return rc;
	rc = core_step(r, m);
	raft_check(r, &before);
	return rc;
}

/* A message that this node makes for itself, without the checks of the door. */
static enum raft_rc
step_own(struct raft *r, const struct raft_msg *m)
{
	const struct raft_view before = raft_view(r);
	enum raft_rc rc = core_step(r, m);

	raft_check(r, &before);
	return rc;
}

/* ---- time ---- */

static void
tick_leader(struct raft *r)
{
	struct raft_msg m = {.from = r->id};

	r->election_elapsed++;
	r->heartbeat_elapsed++;
	if (r->election_elapsed >= r->config.election_ticks) {
		r->election_elapsed = 0;
		m.type = RAFT_MSG_CHECK_QUORUM;
		if (r->config.check_quorum)
			(void)core_step(r, &m); /* cannot be refused */
		/* The target did not take over in time: thesis 3.10. */
		if (r->role == RAFT_LEADER)
			r->transferee = RAFT_NONE;
	}
	if (r->role != RAFT_LEADER)
		return;
	if (r->heartbeat_elapsed >= r->config.heartbeat_ticks) {
		r->heartbeat_elapsed = 0;
		m.type = RAFT_MSG_BEAT;
		(void)core_step(r, &m); /* cannot be refused */
	}
}

void
raft_tick(struct raft *r)
{
	const struct raft_view before = raft_view(r);
	struct raft_msg hup = {.type = RAFT_MSG_HUP, .from = r->id};

	if (r->role == RAFT_LEADER) {
		tick_leader(r);
	} else {
		if (r->election_elapsed < UINT32_MAX)
			r->election_elapsed++;
		if (election_promotable(r) &&
		    r->election_elapsed >= r->election_timeout) {
			r->election_elapsed = 0;
			(void)core_step(r, &hup); /* cannot be refused */
		}
	}
	raft_check(r, &before);
}

/* ---- requests ---- */

enum raft_rc
raft_campaign(struct raft *r)
{
	struct raft_msg m = {.type = RAFT_MSG_HUP, .from = r->id};

	return step_own(r, &m);
}

enum raft_rc
raft_propose(struct raft *r, struct blob *data)
{
	struct raft_entry e = {.type = RAFT_ENTRY_NORMAL, .data = data};
	struct raft_msg m = {.type = RAFT_MSG_PROP,
	    .from = r->id,
	    .entries = &e,
	    .entry_count = 1};

	return step_own(r, &m);
}

enum raft_rc
raft_propose_conf_change(struct raft *r, const struct raft_conf_change *cc)
{
	struct raft_entry e = {.type = cc->v1 ? RAFT_ENTRY_CONF_CHANGE
					      : RAFT_ENTRY_CONF_CHANGE_V2};
	struct raft_msg m = {.type = RAFT_MSG_PROP,
	    .from = r->id,
	    .entries = &e,
	    .entry_count = 1};
	struct raft_conf_change decoded;
	enum raft_rc rc;

	if (cc->count > RAFT_CONF_OPS_MAX)
		return RAFT_CONF_INVALID;
	e.data = raft_conf_change_encode(cc);
	rc = raft_conf_change_decode(e.type, blob_bytes(e.data), &decoded);
	if (rc == RAFT_OK)
		rc = step_own(r, &m);
	blob_unref(&e.data);
	return rc;
}

void
raft_transfer_leadership(struct raft *r, uint64_t from, uint64_t to)
{
	/* The sender is the target: so it can ask for it itself. */
	struct raft_msg m = {
	    .type = RAFT_MSG_TRANSFER_LEADER, .from = to, .to = from};

	if (to != RAFT_NONE)
		(void)step_own(r, &m); /* ignored if it is not possible */
}

void
raft_forget_leader(struct raft *r)
{
	struct raft_msg m = {.type = RAFT_MSG_FORGET_LEADER, .from = r->id};

	(void)step_own(r, &m); /* cannot be refused */
}

enum raft_rc
raft_read_index(struct raft *r, struct blob *context)
{
	struct raft_entry e = {.type = RAFT_ENTRY_NORMAL, .data = context};
	struct raft_msg m = {
	    .type = RAFT_MSG_READ_INDEX, .entries = &e, .entry_count = 1};

	if (r->lead == RAFT_NONE)
		return RAFT_DROPPED;
	return step_own(r, &m);
}

void
raft_report_unreachable(struct raft *r, uint64_t id)
{
	struct raft_msg m = {.type = RAFT_MSG_UNREACHABLE, .from = id};

	(void)step_own(r, &m); /* cannot be refused */
}

void
raft_report_snapshot(struct raft *r, uint64_t id, bool ok)
{
	struct raft_msg m = {
	    .type = RAFT_MSG_SNAP_STATUS, .from = id, .reject = !ok};

	(void)step_own(r, &m); /* cannot be refused */
}
