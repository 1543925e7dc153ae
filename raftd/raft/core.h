/* The inside of the Raft core: private to raftd/raft and its tests.
 *
 * One struct raft holds everything.  Below it, each used by the ones after:
 *   quorum.c    majorities and joint majorities
 *   progress.c  what a leader knows of one node; the tracked set (tracker)
 *   change.c    configuration arithmetic on a tracker (joint consensus)
 *   log.c       the log: unstable tail over stable storage
 *   step.c      roles, terms, the way of a message; then one file a subject
 *   raft.c      the calls of raft.h that put something in, and time
 *   ready.c     what leaves the core
 *   check.c     what must hold between two calls */
#ifndef RAFTD_RAFT_CORE_H
#define RAFTD_RAFT_CORE_H

#include "raftd/raft/raft.h"

#define RAFT_TRACKED_MAX (2u * RAFT_IDS_MAX) /* nodes with a progress */
/* No honest cluster comes near; with it no sum of two can overflow. */
#define RAFT_NUMBER_MAX ((uint64_t)INT64_MAX)

/* ---- quorum.c ---- */

enum vote_result { VOTE_PENDING, VOTE_LOST, VOTE_WON };

enum vote { VOTE_NONE, VOTE_YES, VOTE_NO };

bool ids_has(const struct raft_ids *set, uint64_t id);
bool ids_add(struct raft_ids *set, uint64_t id); /* false: it is full */
void ids_remove(struct raft_ids *set, uint64_t id);
bool ids_valid(const struct raft_ids *set); /* ascending, no doubles, no 0 */

/* The value that each voter of a set stands for; arg is the caller's. */
typedef uint64_t (*quorum_index_fn)(const void *arg, uint64_t id);
typedef enum vote (*quorum_vote_fn)(const void *arg, uint64_t id);

/* The largest index that a majority has reached; of no voters, UINT64_MAX. */
uint64_t quorum_committed(
    const struct raft_ids *voters, quorum_index_fn index, const void *arg);
/* Of no voters: won. */
enum vote_result quorum_vote(
    const struct raft_ids *voters, quorum_vote_fn vote, const void *arg);
/* Both halves (thesis 4.3); the second may be empty. */
uint64_t quorum_joint_committed(const struct raft_ids *a,
    const struct raft_ids *b, quorum_index_fn index, const void *arg);
enum vote_result quorum_joint_vote(const struct raft_ids *a,
    const struct raft_ids *b, quorum_vote_fn vote, const void *arg);

/* ---- progress.c ---- */

/* A window of appends sent and not acknowledged, oldest first: a ring that
 * grows on demand up to its limit. */
struct inflight {
	uint64_t index; /* of the last entry in the message */
	uint64_t bytes; /* of the payloads */
};

struct inflights {
	struct inflight *ring;
	uint32_t cap;
	uint32_t start;
	uint32_t count;
	uint64_t bytes;
	uint32_t count_max;
	uint64_t bytes_max; /* 0: no limit */
};

struct progress {
	uint64_t id;
	uint64_t match;            /* known to be replicated, thesis 3.5 */
	uint64_t next;             /* to be sent next; > match */
	uint64_t sent_commit;      /* highest commit index told to the node */
	uint64_t pending_snapshot; /* RAFT_PROGRESS_SNAPSHOT: its index */
	uint64_t read_ack;         /* reads acknowledged, see read.c */
	enum raft_progress_state state;
	enum vote vote;     /* in the election that this node holds */
	bool flow_paused;   /* no appends until something is heard */
	bool recent_active; /* heard from since the last quorum check */
	bool learner;
	struct inflights inflights;
};

void inflights_add(struct inflights *in, uint64_t index, uint64_t bytes);
void inflights_free_le(struct inflights *in, uint64_t index);
bool inflights_full(const struct inflights *in);
void inflights_clear(struct inflights *in); /* memory is kept */

bool progress_paused(const struct progress *pr);
void progress_become_probe(struct progress *pr);
void progress_become_replicate(struct progress *pr);
void progress_become_snapshot(struct progress *pr, uint64_t index);
bool progress_update(struct progress *pr, uint64_t match);
bool progress_decrease(
    struct progress *pr, uint64_t rejected, uint64_t match_hint);
void progress_sent(struct progress *pr, size_t entries, uint64_t bytes);
void progress_sent_commit(struct progress *pr, uint64_t commit);
bool progress_can_bump_commit(const struct progress *pr, uint64_t commit);
/* As after a change of role or term; id and learner stay. */
void progress_reset(struct progress *pr, uint64_t match, uint64_t next);

/* A configuration and the progress of every node in it, ascending by id. */
struct tracker {
	struct raft_conf_state conf;
	struct progress *prs;
	uint32_t count;
	uint32_t inflight_msgs_max;
	uint64_t inflight_bytes_max;
};

void tracker_free(struct tracker *t);
struct progress *tracker_find(const struct tracker *t, uint64_t id);
bool tracker_is_joint(const struct tracker *t);
bool tracker_is_voter(const struct tracker *t, uint64_t id); /* any half */
uint64_t tracker_committed(const struct tracker *t);
uint64_t tracker_read_acked(const struct tracker *t);
bool tracker_quorum_active(const struct tracker *t);
void tracker_reset_votes(struct tracker *t);
/* The first vote of a node counts. */
void tracker_record_vote(struct tracker *t, uint64_t id, bool granted);
enum vote_result tracker_vote_result(const struct tracker *t);

/* ---- change.c: NULL, or what is wrong in etcd's words; then *t is as it was.
 * New nodes start at next = max(last, 1). ---- */

const char *change_simple(struct tracker *t, const struct raft_conf_step *ops,
    uint32_t count, uint64_t last);
const char *change_enter_joint(struct tracker *t, bool auto_leave,
    const struct raft_conf_step *ops, uint32_t count, uint64_t last);
const char *change_leave_joint(struct tracker *t);
/* From nothing; the progress that there was is dropped. */
const char *change_restore(
    struct tracker *t, const struct raft_conf_state *conf, uint64_t last);
const char *change_check(const struct raft_conf_state *conf);
/* Whichever of the three cc asks for. */
const char *change_apply(
    struct tracker *t, const struct raft_conf_change *cc, uint64_t last);
/* What change_apply() would say. */
const char *change_try(
    const struct tracker *t, const struct raft_conf_change *cc);

/* ---- log.c ---- */

struct entry_list { /* v[head .. head + count - 1] */
	struct raft_entry *v;
	size_t head;
	size_t count;
	size_t cap;
};

/* The unstable tail is what storage has not confirmed.  Where both have an
 * index, the tail is right.  applied <= applying <= committed <= last. */
struct raft_log {
	const struct raft_storage_ops *ops;
	void *arg;

	struct raft_snapshot *snapshot; /* owned; to be restored, or NULL */
	bool snapshot_in_progress;      /* handed out to be written */
	struct entry_list tail;
	uint64_t offset;             /* index of the tail's first entry */
	uint64_t offset_in_progress; /* below it: handed out to be written */

	uint64_t committed;
	uint64_t applying; /* handed out to be applied */
	uint64_t applied;

	/* Entries handed out and not applied are limited by bytes. */
	uint64_t applying_bytes_max;
	uint64_t applying_bytes;
	bool applying_paused;
};

void raft_log_open(struct raft_log *l, const struct raft_storage_ops *ops,
    void *arg, uint64_t applying_bytes_max);
void raft_log_close(struct raft_log *l);
uint64_t raft_log_first(const struct raft_log *l);
uint64_t raft_log_last(const struct raft_log *l);
/* From first - 1 to last, else RAFT_COMPACTED or RAFT_UNAVAILABLE. */
enum raft_rc raft_log_term(
    const struct raft_log *l, uint64_t index, uint64_t *term);
uint64_t raft_log_last_term(const struct raft_log *l);
bool raft_log_matches(const struct raft_log *l, uint64_t index, uint64_t term);
/* Entries lo..hi-1 up to max_bytes, at least one: a new array with references,
 * freed with raft_entries_free().  RAFT_COMPACTED. */
enum raft_rc raft_log_slice(const struct raft_log *l, uint64_t lo, uint64_t hi,
    uint64_t max_bytes, struct raft_entry **out, size_t *count);
/* The largest index <= index with a term <= term, and its term; where terms are
 * not known any index will do, with term 0.  0/0: none. */
void raft_log_find_by_term(const struct raft_log *l, uint64_t index,
    uint64_t term, uint64_t *out_index, uint64_t *out_term);
/* entries[0].index is at most last + 1; takes references. */
void raft_log_append(
    struct raft_log *l, const struct raft_entry *entries, size_t count);
void raft_log_commit_to(struct raft_log *l, uint64_t index);
void raft_log_restore(struct raft_log *l, const struct raft_snapshot *s);
void raft_log_stable_to(struct raft_log *l, uint64_t index, uint64_t term);
void raft_log_snapshot_stable(struct raft_log *l, uint64_t index);
void raft_log_accept_unstable(struct raft_log *l);
size_t raft_log_next_unstable(
    const struct raft_log *l, const struct raft_entry **first);
bool raft_log_has_committed(const struct raft_log *l, bool unstable_too);
void raft_log_next_committed(const struct raft_log *l, bool unstable_too,
    struct raft_entry **out, size_t *count);
void raft_log_accept_applying(
    struct raft_log *l, uint64_t index, uint64_t bytes, bool unstable_too);
void raft_log_applied_to(struct raft_log *l, uint64_t index, uint64_t bytes);
uint64_t entries_size(const struct raft_entry *entries, size_t count);
uint64_t entries_payload(const struct raft_entry *entries, size_t count);
bool entries_have_change(const struct raft_entry *entries, size_t count);

/* ---- msg.c ---- */

struct msg_queue {
	struct raft_msg *v;
	size_t count;
	size_t cap;
};

/* Moves *m to the end. */
void msg_queue_push(struct msg_queue *q, struct raft_msg *m);
void msg_queue_clear(struct msg_queue *q); /* memory is kept */
void msg_queue_free(struct msg_queue *q);
bool msg_type_valid(enum raft_msg_type type);
bool msg_type_local(enum raft_msg_type type);
bool msg_type_response(enum raft_msg_type type);
struct raft_entry *entries_copy(const struct raft_entry *from, size_t count);
struct raft_snapshot *snapshot_copy(const struct raft_snapshot *s);
void snapshot_free(struct raft_snapshot **sp);

/* ---- the core ---- */

struct read_request {
	uint64_t index; /* commit index when it was queued */
	uint64_t from;  /* who is answered; RAFT_NONE or this node: a state */
	struct blob *context;
};

struct read_queue { /* v[head .. head + count - 1] */
	struct read_request *v;
	size_t head;
	size_t count;
	size_t cap;
};

struct read_states {
	struct raft_read_state *v;
	size_t count;
	size_t cap;
};

struct raft {
	struct raft_config config; /* zeros replaced by what they stand for */
	uint64_t id;

	uint64_t term;
	uint64_t vote;
	uint64_t lead;
	enum raft_role role;

	struct raft_log log;
	struct tracker tracker;

	uint32_t election_elapsed;  /* ticks */
	uint32_t heartbeat_elapsed; /* ticks */
	uint32_t election_timeout;  /* ticks, drawn anew at every reset */

	uint64_t transferee;         /* leader: to whom leadership goes */
	uint64_t pending_conf_index; /* leader: no change until it is applied */
	uint64_t uncommitted_bytes;  /* leader: payloads not yet applied */

	uint64_t read_count;     /* leader: reads queued in this leadership */
	struct read_queue reads; /* leader: waiting for a quorum */
	struct read_queue deferred; /* waiting for a commit of this term */
	struct read_states read_states;

	struct msg_queue msgs;       /* may leave at once */
	struct msg_queue msgs_after; /* only after the append is durable */

	/* What was last reported, and the raft_ready that is out: */
	struct raft_soft_state prev_soft;
	struct raft_hard_state prev_hard;
	struct raft_ready ready;
	struct raft_entry *ready_entries;   /* synchronous mode */
	struct raft_entry *ready_committed; /* synchronous mode */
	struct raft_snapshot *ready_snapshot;
	struct msg_queue ready_msgs;
	struct read_states ready_reads;
	struct msg_queue on_advance; /* synchronous mode: stepped by advance */
	bool advance_due;            /* synchronous mode */
};

/* step.c */
enum raft_rc core_step(struct raft *r, const struct raft_msg *m);
void core_send(struct raft *r, struct raft_msg *m); /* moves *m */
void core_become_follower(struct raft *r, uint64_t term, uint64_t lead);
void core_become_pre_candidate(struct raft *r);
void core_become_candidate(struct raft *r);
void core_become_leader(struct raft *r);
struct raft_hard_state core_hard_state(const struct raft *r);
void core_trace(const struct raft *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* election.c */
enum campaign { CAMPAIGN_PRE_ELECTION, CAMPAIGN_ELECTION, CAMPAIGN_TRANSFER };
bool election_promotable(const struct raft *r);
void election_hup(struct raft *r, enum campaign kind);
bool election_is_transfer(const struct raft_msg *m);
void election_on_vote(struct raft *r, const struct raft_msg *m);
void election_on_vote_resp(struct raft *r, const struct raft_msg *m);
void election_on_transfer(
    struct raft *r, struct progress *pr, const struct raft_msg *m);
void election_send_timeout_now(struct raft *r, uint64_t to);

/* propose.c */
enum raft_rc propose_on_leader(struct raft *r, const struct raft_msg *m);
bool propose_append(
    struct raft *r, const struct raft_entry *entries, size_t count);
void propose_leave_joint(struct raft *r);
void propose_reduce_uncommitted(struct raft *r, uint64_t bytes);

/* replicate.c */
bool replicate_send(struct raft *r, struct progress *pr, bool even_if_empty);
void replicate_broadcast(struct raft *r);
bool replicate_commit(struct raft *r);
void replicate_beat(struct raft *r);
enum raft_rc replicate_on_app_resp(
    struct raft *r, struct progress *pr, const struct raft_msg *m);
void replicate_on_heartbeat_resp(
    struct raft *r, struct progress *pr, const struct raft_msg *m);

/* follow.c */
enum raft_rc follow_on_app(struct raft *r, const struct raft_msg *m);
enum raft_rc follow_on_heartbeat(struct raft *r, const struct raft_msg *m);
enum raft_rc follow_on_forward(struct raft *r, const struct raft_msg *m);

/* snapshot.c */
bool snapshot_send(struct raft *r, struct progress *pr);
enum raft_rc snapshot_on_snap(struct raft *r, const struct raft_msg *m);
void snapshot_on_status(struct progress *pr, const struct raft_msg *m);

/* conf.c */
void conf_installed(struct raft *r);

/* read.c */
void read_on_leader(struct raft *r, const struct raft_msg *m);
void read_on_ack(struct raft *r, struct progress *pr, const struct raft_msg *m);
void read_on_resp(struct raft *r, const struct raft_msg *m);
void read_release_deferred(struct raft *r);
void read_answer_acked(struct raft *r);
void read_forget(struct raft *r); /* those that wait for a quorum */
void read_free(struct raft *r);
void read_states_clear(struct read_states *s); /* memory is kept */
/* What heartbeats carry: a new blob, or NULL when no read waits. */
struct blob *read_heartbeat_context(const struct raft *r);

/* ready.c */
void ready_free(struct raft *r);
void ready_on_append_resp(
    struct raft *r, const struct raft_msg *m, bool entries_count);
enum raft_rc ready_on_apply_resp(struct raft *r, const struct raft_msg *m);

/* admit.c: what raft_step() lets in. */
enum raft_rc admit_msg(const struct raft *r, const struct raft_msg *m);

/* check.c */
struct raft_view {
	uint64_t term;
	uint64_t vote;
	uint64_t committed;
	uint64_t applied;
};
struct raft_view raft_view(const struct raft *r);
void raft_check(const struct raft *r, const struct raft_view *before);

#endif
