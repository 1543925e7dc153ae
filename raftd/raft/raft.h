/* The Raft core: the Node of etcd-io/raft in C, a library with no I/O.
 *
 * No clock, file, socket, thread, global state, or random source but the one
 * it is given: the same calls give the same results.  Behaviour is
 * etcd-io/raft's (main, after 3.7), message for message; what its sources do
 * not say, the Raft thesis does (Ongaro, "Consensus: Bridging Theory and
 * Practice", 2014), cited at the line.
 *
 * The user of a core does three things: step messages into it that arrive
 * (raft_step), tick it (raft_tick), and carry out each raft_ready.
 *
 * The order in which a raft_ready must be carried out, synchronous mode:
 *   1. write hard_state, entries and snapshot to stable storage; sync if
 *      must_sync.  An entry replaces all entries with its index or larger;
 *   2. send messages.  None may leave before 1 is done, except the ones that a
 *      leader sends (thesis 10.2.1: the leader writes in parallel);
 *   3. apply snapshot and committed_entries; hand each configuration change
 *      to raft_apply_conf_change();
 *   4. raft_advance().
 *
 * Asynchronous mode (async_storage_writes): raft_advance() is not called.  The
 * messages of a raft_ready are sent at once; two of them are for local threads:
 *   RAFT_APPEND_THREAD: a MSG_STORAGE_APPEND with entries, hard state (term,
 *     vote, commit; all zero when unchanged) and snapshot to make durable;
 *     only then its responses are delivered, to the network or to raft_step();
 *   RAFT_APPLY_THREAD: a MSG_STORAGE_APPLY with committed entries to apply;
 *     then its response goes to raft_step().
 * Both threads work strictly in order of arrival.  entries, hard_state,
 * snapshot and committed_entries of the raft_ready say the same and need not
 * be looked at, except read_states and soft_state; entries point into these
 * messages, and are gone when those are freed.  A MSG_STORAGE_APPEND without
 * entries and snapshot, and with a term of 0, only delays its responses.
 *
 * In both modes a snapshot and entries may come at once: the entries follow on
 * the snapshot, which is written first.
 *
 * Departures from etcd-io/raft, all of them where it would panic, wait for
 * ever, or could answer wrongly:
 *   - raft_step() refuses what no working core sends (RAFT_STEP_MALFORMED);
 *   - a committed configuration change that cannot be carried out has no effect
 *     (raft_apply_conf_change), and a leader does not propose one;
 *   - a proposed change that was dropped is not pending;
 *   - a pre-vote that a node without a term refuses is not answered;
 *   - raft_read_index() without a leader is refused;
 *   - a single voter answers reads only when it has committed in its term, and
 *     only if it is that voter itself; reads are answered also when a change of
 *     the configuration makes their quorum;
 *   - a stored commit index older than the first is taken for first - 1. */
#ifndef RAFTD_RAFT_RAFT_H
#define RAFTD_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/buf.h"

#define RAFT_NONE UINT64_C(0)
#define RAFT_APPEND_THREAD UINT64_MAX
#define RAFT_APPLY_THREAD (UINT64_MAX - 1)
#define RAFT_NO_LIMIT UINT64_MAX
#define RAFT_IDS_MAX 64u /* members of one set of a configuration */

/* What a call returns.  Only RAFT_OK means that it had the effect asked for. */
enum raft_rc {
	RAFT_OK = 0,
	RAFT_DROPPED,           /* "raft proposal dropped": no leader, ... */
	RAFT_STEP_LOCAL,        /* "raft: cannot step raft local message" */
	RAFT_STEP_UNKNOWN_PEER, /* "raft: cannot step as peer not found" */
	/* Storage only: */
	RAFT_COMPACTED,   /* the index is older than the first */
	RAFT_UNAVAILABLE, /* the index is newer than the last */
	RAFT_SNAP_OUT_OF_DATE,
	RAFT_SNAP_UNAVAILABLE, /* for now; ask again */
	/* Configuration changes (confchange): */
	RAFT_CONF_INVALID,
	/* raft_step: no working core sends this; the message was ignored. */
	RAFT_STEP_MALFORMED
};
const char *raft_rc_text(enum raft_rc rc); /* etcd's words, as quoted above */

/* ---- entries, configurations, snapshots ---- */

enum raft_entry_type {
	RAFT_ENTRY_NORMAL = 0,
	RAFT_ENTRY_CONF_CHANGE = 1,   /* data: raft_conf_change, v1 */
	RAFT_ENTRY_CONF_CHANGE_V2 = 2 /* data: raft_conf_change or empty */
};

struct raft_entry {
	uint64_t term;
	uint64_t index;
	enum raft_entry_type type;
	struct blob *data; /* NULL: empty; a reference of the entry's holder */
};

struct raft_ids { /* a set: ascending, without doubles */
	uint32_t count;
	uint64_t id[RAFT_IDS_MAX];
};

struct raft_conf_state {
	struct raft_ids voters;
	struct raft_ids learners;
	struct raft_ids voters_outgoing;
	struct raft_ids learners_next;
	bool auto_leave;
};

struct raft_snapshot {
	uint64_t index; /* 0: no snapshot */
	uint64_t term;
	struct raft_conf_state conf;
	struct blob *data; /* the application's; the core never looks at it */
};

struct raft_hard_state {
	uint64_t term;
	uint64_t vote;
	uint64_t commit;
};

enum raft_role {
	RAFT_FOLLOWER,
	RAFT_CANDIDATE,
	RAFT_LEADER,
	RAFT_PRE_CANDIDATE
};

struct raft_soft_state {
	uint64_t leader; /* RAFT_NONE: not known */
	enum raft_role role;
};

enum raft_conf_op {
	RAFT_CONF_ADD_VOTER = 0,
	RAFT_CONF_REMOVE = 1,
	RAFT_CONF_UPDATE = 2, /* no effect on the core */
	RAFT_CONF_ADD_LEARNER = 3
};

enum raft_conf_transition {
	RAFT_CONF_AUTO = 0,     /* simple if possible, else joint implicit */
	RAFT_CONF_IMPLICIT = 1, /* joint; left automatically */
	RAFT_CONF_EXPLICIT = 2  /* joint; left by a change without operations */
};

#define RAFT_CONF_OPS_MAX 32u

struct raft_conf_step {
	enum raft_conf_op op;
	uint64_t id; /* RAFT_NONE: no effect */
};

struct raft_conf_change {
	bool v1; /* entry type CONF_CHANGE: one operation, transition auto */
	enum raft_conf_transition transition;
	uint32_t count;
	struct raft_conf_step ops[RAFT_CONF_OPS_MAX];
	struct bytes context; /* the application's (addresses); borrowed */
};

/* The payload of an entry of a change: encode gives a new blob (NULL for a V2
 * change that is all defaults), decode borrows context from data.
 * RAFT_CONF_INVALID when data is malformed. */
struct blob *raft_conf_change_encode(const struct raft_conf_change *cc);
enum raft_rc raft_conf_change_decode(
    enum raft_entry_type type, struct bytes data, struct raft_conf_change *cc);

/* ---- messages ---- */

enum raft_msg_type { /* numbers are those of etcd's raftpb */
	RAFT_MSG_HUP = 0,
	RAFT_MSG_BEAT = 1,
	RAFT_MSG_PROP = 2,
	RAFT_MSG_APP = 3,
	RAFT_MSG_APP_RESP = 4,
	RAFT_MSG_VOTE = 5,
	RAFT_MSG_VOTE_RESP = 6,
	RAFT_MSG_SNAP = 7,
	RAFT_MSG_HEARTBEAT = 8,
	RAFT_MSG_HEARTBEAT_RESP = 9,
	RAFT_MSG_UNREACHABLE = 10,
	RAFT_MSG_SNAP_STATUS = 11,
	RAFT_MSG_CHECK_QUORUM = 12,
	RAFT_MSG_TRANSFER_LEADER = 13,
	RAFT_MSG_TIMEOUT_NOW = 14,
	RAFT_MSG_READ_INDEX = 15,
	RAFT_MSG_READ_INDEX_RESP = 16,
	RAFT_MSG_PRE_VOTE = 17,
	RAFT_MSG_PRE_VOTE_RESP = 18,
	RAFT_MSG_STORAGE_APPEND = 19,
	RAFT_MSG_STORAGE_APPEND_RESP = 20,
	RAFT_MSG_STORAGE_APPLY = 21,
	RAFT_MSG_STORAGE_APPLY_RESP = 22,
	RAFT_MSG_FORGET_LEADER = 23
};

struct raft_msg {
	enum raft_msg_type type;
	uint64_t to;
	uint64_t from;
	uint64_t term;
	uint64_t log_term;
	uint64_t index;
	uint64_t commit;
	uint64_t vote; /* MSG_STORAGE_APPEND */
	bool reject;
	uint64_t reject_hint;
	struct raft_entry *entries; /* owned array; each entry holds its data */
	size_t entry_count;
	struct raft_snapshot *snapshot; /* owned; NULL: none */
	struct blob *context;           /* owned reference; NULL: none */
	struct raft_msg *responses;     /* owned array (storage messages) */
	size_t response_count;
};

/* Release all that *m owns and zero it. */
void raft_msg_free(struct raft_msg *m);
/* Move *src to *dst; *src is zeroed.  With it a user takes a message out of a
 * raft_ready to keep it. */
void raft_msg_move(struct raft_msg *dst, struct raft_msg *src);
/* Deep copy; payloads are shared by reference. */
void raft_msg_copy(struct raft_msg *dst, const struct raft_msg *src);
void raft_entries_free(struct raft_entry *entries, size_t count);
const char *raft_msg_type_name(enum raft_msg_type type); /* "MsgApp" */
const char *raft_role_name(enum raft_role role);         /* "StateLeader" */

/* ---- storage ---- */

/* The log on stable storage, as the core sees it.  None of these may block on
 * another thread; each returns RAFT_OK or what its comment says. */
struct raft_storage_ops {
	/* What was last written; conf as of the index given as `applied`. */
	void (*initial_state)(void *arg, struct raft_hard_state *hs,
	    struct raft_conf_state *conf);
	/* Entries lo..hi-1, at least one, and no more once their size (see
	 * raft_entry_size) is above max_bytes.  *out is a new array with a
	 * reference on each payload; the caller frees it with
	 * raft_entries_free().  RAFT_COMPACTED, RAFT_UNAVAILABLE. */
	enum raft_rc (*entries)(void *arg, uint64_t lo, uint64_t hi,
	    uint64_t max_bytes, struct raft_entry **out, size_t *count);
	/* Known from first - 1 to last.  RAFT_COMPACTED, RAFT_UNAVAILABLE. */
	enum raft_rc (*term)(void *arg, uint64_t index, uint64_t *term);
	uint64_t (*first_index)(void *arg); /* last + 1 when there are none */
	uint64_t (*last_index)(void *arg);
	/* The newest snapshot; *s is filled, with a reference on data.
	 * RAFT_SNAP_UNAVAILABLE. */
	enum raft_rc (*snapshot)(void *arg, struct raft_snapshot *s);
};

/* etcd's measure for size limits: the bytes of the protobuf encoding. */
uint64_t raft_entry_size(const struct raft_entry *e);

/* ---- the core ---- */

enum raft_read_mode { RAFT_READ_SAFE, RAFT_READ_LEASE };

struct raft_config {
	uint64_t id;
	uint32_t election_ticks; /* follower's patience, > heartbeat_ticks */
	uint32_t heartbeat_ticks;
	const struct raft_storage_ops *storage;
	void *storage_arg;
	/* Last applied index: entries up to it are not handed out again. */
	uint64_t applied;
	bool async_storage_writes;
	uint64_t max_bytes_per_msg;             /* of entries in one MsgApp */
	uint64_t max_committed_bytes_per_ready; /* 0: as max_bytes_per_msg */
	uint64_t max_uncommitted_bytes;         /* 0: no limit; thesis 10.2 */
	uint32_t max_inflight_msgs;
	uint64_t max_inflight_bytes; /* 0: no limit */
	bool check_quorum;
	bool pre_vote;
	enum raft_read_mode read_mode; /* LEASE needs check_quorum */
	bool disable_proposal_forwarding;
	bool disable_conf_change_validation;
	bool step_down_on_removal;
	/* A number in 0..n-1: the only source of randomness. */
	uint32_t (*random)(void *arg, uint32_t n);
	void *random_arg;
	/* One line of diagnostics, in etcd's words; NULL: none. */
	void (*trace)(void *arg, const char *line);
	void *trace_arg;
};

struct raft;

struct raft_read_state {
	uint64_t index;       /* reads are linearizable once this is applied */
	struct blob *context; /* as given to raft_read_index() */
};

/* Valid until the next raft_ready() or raft_advance().  The user may move
 * messages out of it (raft_msg_move). */
struct raft_ready {
	bool has_soft_state;
	struct raft_soft_state soft_state;
	bool has_hard_state;
	struct raft_hard_state hard_state;
	struct raft_read_state *read_states;
	size_t read_state_count;
	const struct raft_entry *entries; /* to make durable */
	size_t entry_count;
	const struct raft_snapshot *snapshot; /* NULL: none */
	const struct raft_entry *committed_entries;
	size_t committed_count;
	struct raft_msg *messages;
	size_t message_count;
	bool must_sync;
};

/* NULL, with a line traced, when the configuration contradicts itself. */
struct raft *raft_new(const struct raft_config *config);
void raft_free(struct raft *r); /* NULL is allowed */

enum raft_rc raft_campaign(struct raft *r);
/* Takes no reference of its own beyond what it stores; the caller keeps his.
 * RAFT_DROPPED: no leader is known or it is being replaced, too much is
 * uncommitted.  On a follower RAFT_OK only means that it was passed on. */
enum raft_rc raft_propose(struct raft *r, struct blob *data);
enum raft_rc raft_propose_conf_change(
    struct raft *r, const struct raft_conf_change *cc);
/* A message from the network or a response of a local thread.  *m stays the
 * caller's; what the core keeps it references or copies.  Who it says it is
 * from is the caller's to check: only a local thread may be
 * RAFT_APPEND_THREAD or RAFT_APPLY_THREAD, and only requests that followers
 * pass on (MSG_PROP, MSG_READ_INDEX, MSG_TRANSFER_LEADER) may name another node
 * than the one that sent them. */
enum raft_rc raft_step(struct raft *r, const struct raft_msg *m);
void raft_tick(struct raft *r);
bool raft_has_ready(const struct raft *r);
const struct raft_ready *raft_ready(struct raft *r);
void raft_advance(struct raft *r); /* synchronous mode only */
/* A committed configuration change takes effect; *out (may be NULL) is what now
 * holds.  One that cannot be carried out changes nothing, on any node. */
void raft_apply_conf_change(struct raft *r, const struct raft_conf_change *cc,
    struct raft_conf_state *out);
void raft_transfer_leadership(struct raft *r, uint64_t from, uint64_t to);
void raft_forget_leader(struct raft *r);
/* Ask for a read index; the answer is a read_state with this context, or never
 * comes (message or leader lost): ask again.  RAFT_DROPPED: no leader is
 * known. */
enum raft_rc raft_read_index(struct raft *r, struct blob *context);
void raft_report_unreachable(struct raft *r, uint64_t id);
void raft_report_snapshot(struct raft *r, uint64_t id, bool ok);

enum raft_progress_state {
	RAFT_PROGRESS_PROBE,
	RAFT_PROGRESS_REPLICATE,
	RAFT_PROGRESS_SNAPSHOT
};

struct raft_progress_status {
	uint64_t id;
	uint64_t match;
	uint64_t next;
	enum raft_progress_state state;
	bool learner;
	bool paused;
	bool recent_active;
	uint64_t pending_snapshot;
	uint32_t inflight;
	bool inflight_full;
};

struct raft_status {
	uint64_t id;
	struct raft_hard_state hard_state; /* as of now, perhaps not durable */
	struct raft_soft_state soft_state;
	uint64_t applied;
	uint64_t first_index;
	uint64_t last_index;
	uint64_t transferee; /* RAFT_NONE: no transfer in progress */
	struct raft_conf_state conf;
	/* Leader only, else count 0; ascending ids, this node included. */
	uint32_t progress_count;
	struct raft_progress_status progress[2 * RAFT_IDS_MAX];
};
void raft_status(const struct raft *r, struct raft_status *out);
/* Cheap pieces of the above for every turn of a loop. */
uint64_t raft_leader(const struct raft *r);
uint64_t raft_term(const struct raft *r);
uint64_t raft_commit(const struct raft *r);
enum raft_role raft_role(const struct raft *r);

#endif
