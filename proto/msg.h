/* The messages between processes.  A message exists once: number, name, legal
 * sender and receiver in the table, layout in its one routine in msg.c, byte
 * by byte in PROTOCOL.md.
 *
 * A message that carries a list has a head (msg_X_wire), followed by `count`
 * items (msg_X_item_wire), followed by the end of the body (wire_end). */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "proto/limits.h"
#include "proto/wire.h"

#define MSG_PROTOCOL 1u /* of HELLO: both ends must say the same */

enum msg_process { MSG_ANY = 0, MSG_HTTPD = 1, MSG_RAFTD = 2, MSG_KVD = 3 };

/*	name         nr  sender  receiver  channel: what
 * Numbers are never reused. */
#define MSG_TABLE(X)                                                           \
	X(HELLO, 1, ANY, ANY)            /* first message of both ends */      \
	X(BEAT, 2, ANY, ANY)             /* nothing else was sent */           \
	X(PROPOSE, 3, HTTPD, RAFTD)      /* proposeC: one log entry */         \
	X(READ, 4, HTTPD, RAFTD)         /* readC: needs a read index */       \
	X(REFUSE, 5, RAFTD, HTTPD)       /* errorC: was not proposed */        \
	X(COMMIT, 6, RAFTD, KVD)         /* commitC: entries, no gap */        \
	X(COMMIT_READ, 7, RAFTD, KVD)    /* commitC: a READ in its place */    \
	X(APPLIED, 8, KVD, RAFTD)        /* commitC, back: progress */         \
	X(REPLY, 9, KVD, HTTPD)          /* replyC: results */                 \
	X(STALE_READ, 10, HTTPD, KVD)    /* replyC, back: from local state */  \
	X(ASK, 11, HTTPD, KVD)           /* replyC, back: open proposals */    \
	X(STATUS_ASK, 12, HTTPD, ANY)    /* to raftd and to kvd */             \
	X(RAFT_STATUS, 13, RAFTD, HTTPD) /* answer; also at leader changes */  \
	X(KV_STATUS, 14, KVD, HTTPD)     /* answer */                          \
	X(RAFT, 15, RAFTD, RAFTD)        /* a message of the Raft core */      \
	X(SNAP_ASK, 16, RAFTD, KVD)      /* commitC: send your state */        \
	X(SNAP_MORE, 17, RAFTD, KVD)     /* commitC: room for more of it */    \
	X(SNAP_HEAD, 18, KVD, RAFTD)     /* commitC, back: it begins */        \
	X(SNAP_DATA, 19, KVD, RAFTD)     /* commitC, back: a chunk of it */    \
	X(LOAD_HEAD, 20, RAFTD, KVD)     /* commitC: become this, it begins */ \
	X(LOAD_DATA, 21, RAFTD, KVD)     /* commitC: a chunk of it */          \
	X(SNAP_OFFER, 22, RAFTD, RAFTD)  /* a snapshot file for a follower */  \
	X(SNAP_WANT, 23, RAFTD, RAFTD)   /* from this offset on; or done */    \
	X(SNAP_PIECE, 24, RAFTD, RAFTD)  /* bytes of the file */               \
	X(CONTROL, 25, HTTPD, RAFTD)     /* admin: an order to this node */    \
	X(CONTROLLED, 26, RAFTD, HTTPD)  /* what became of it */               \
	X(BYE, 27, ANY, ANY)             /* why the link is closed now */      \
	X(ORDER, 28, RAFTD, RAFTD)       /* a CONTROL, passed to the leader */ \
	X(ORDERED, 29, RAFTD, RAFTD)     /* its CONTROLLED, passed back */     \
	X(JOIN_ASK, 30, RAFTD, RAFTD)    /* a new node: who are you all? */    \
	X(JOIN_ANSWER, 31, RAFTD, RAFTD) /* the members, or why not */         \
	X(METRICS_ASK, 32, HTTPD, ANY)   /* to raftd and to kvd */             \
	X(METRICS, 33, ANY, HTTPD)       /* answer: lines for Prometheus */    \
	X(PING, 34, RAFTD, RAFTD)        /* how long is the way to you? */     \
	X(PONG, 35, RAFTD, RAFTD)        /* answer, on the other stream */

enum msg_type {
#define MSG_ENUM(name, nr, from, to) MSG_##name = (nr),
	MSG_TABLE(MSG_ENUM)
#undef MSG_ENUM
};

const char *msg_name(uint8_t type);         /* "PROPOSE"; "?" */
const char *msg_process_name(uint8_t proc); /* "raftd"; "?" */
/* May `from` send this type to `to`?  Unknown types: no. */
bool msg_legal(uint8_t type, enum msg_process from, enum msg_process to);

/* Both ends send it before anything else.  Zero where it does not apply. */
struct msg_hello {
	uint64_t magic;       /* MSG_MAGIC */
	uint16_t protocol;    /* MSG_PROTOCOL */
	uint8_t process;      /* enum msg_process */
	uint64_t epoch;       /* random, one per process start */
	uint64_t cluster;     /* cluster id; 0 = not known yet */
	uint64_t node;        /* node id; 0 = not known yet */
	uint64_t incarnation; /* raftd: random, one per raft directory; kvd:
			       * of the one that fed it */
	uint64_t applied;     /* kvd: index applied, not yet perhaps durable */
	uint64_t durable;     /* kvd: index that survives a power cut */
	char version[32];     /* program version, for people */
	char engine[16];      /* kvd: name of the storage engine */
};
#define MSG_MAGIC UINT64_C(0x0031646374656d89) /* "\x89metcd1\0" */

/* One proposal: raftd looks at seq and attempt only, to name it in REFUSE.
 * entry is a cmd batch (cmd.h), the bytes that go into the log. */
struct msg_propose {
	uint64_t seq;       /* the batch's, as in the entry */
	uint32_t attempt;   /* 1 for the first time this seq is sent */
	struct bytes entry; /* 1..ENTRY_BYTES_MAX */
};

/* READ, COMMIT_READ and STALE_READ: keys to look up.  count may be 0: a probe
 * of the way (readyz). */
struct msg_read {
	uint64_t epoch;   /* of the httpd that asks */
	uint64_t seq;     /* httpd's; counts reads and proposals together */
	uint32_t attempt; /* as in PROPOSE */
	uint32_t count;   /* items: keys */
};
struct msg_read_item {
	struct bytes key; /* 1..KEY_BYTES_MAX */
	/* Leave the value out if the key's mod_revision is this (If-None-Match
	 * and HEAD need no value): UINT64_MAX leaves it out always. */
	uint64_t known_revision;
};

enum msg_refused { MSG_REFUSED_PROPOSE = 1, MSG_REFUSED_READ = 2 };

struct msg_refuse {
	uint8_t what; /* enum msg_refused */
	uint8_t code; /* enum err */
	uint64_t seq;
	uint32_t attempt;
	uint64_t leader; /* as raftd knows it; 0 = none */
};

/* A run of committed entries.  index follows the previous COMMIT's last, or
 * the applied index of kvd's HELLO. */
struct msg_commit {
	uint64_t first; /* index of the first entry */
	uint32_t count; /* items: entries; 1.. */
};
struct msg_commit_item {
	uint64_t term;
	uint8_t type;      /* enum raft_entry_type: 0 = a cmd batch or empty */
	struct bytes data; /* 0..ENTRY_BYTES_MAX */
};

struct msg_applied {
	uint64_t applied;
	uint64_t durable;
};

/* ---- snapshots; the way of one is in ARCHITECTURE.md ---- */

/* SNAP_HEAD and LOAD_HEAD: a state machine's state, as of a log index.  What
 * follows are chunks 0, 1, ... of records: in each a whole number of
 * { u32 length, name, u32 length, record } as in kvd/record.h, in order of
 * name; the last chunk says so.  A chunk has at most SNAP_CHUNK_BYTES_SOFT and
 * one more record. */
struct msg_snap_head {
	uint64_t id;    /* of this stream; as in SNAP_ASK */
	uint64_t index; /* log index applied */
	uint64_t term;  /* of the entry there */
	uint64_t cluster;
	uint64_t revision, keys, bytes;
	struct hash128 hash; /* the state hash, verified when it is loaded */
};
struct msg_snap_data { /* SNAP_DATA, LOAD_DATA */
	uint64_t id;
	uint32_t number; /* of the chunk, from 0 */
	bool last;
	struct bytes data;
};
struct msg_snap_ask { /* SNAP_ASK, SNAP_MORE */
	uint64_t id;
	uint32_t window; /* chunks with a smaller number may be sent */
};

/* Orders of administrators, to any node; those about members are carried out by
 * the leader. */
enum msg_order {
	MSG_ORDER_SNAPSHOT = 1,
	MSG_ORDER_ADD = 2,     /* id (0: the next free one) joins as learner */
	MSG_ORDER_REMOVE = 3,  /* id leaves */
	MSG_ORDER_PROMOTE = 4, /* learner id becomes a voter */
	MSG_ORDER_REPLACE = 5, /* id (0: the next free one) joins as learner,
				* and takes the place of old when it has caught
				* up: one joint change */
	MSG_ORDER_UPDATE = 6,  /* id has a new address */
	MSG_ORDER_LEADER = 7   /* id (0: the best one) shall lead */
};

struct msg_control {    /* CONTROL, ORDER; zero where it does not apply */
	uint64_t token; /* ORDER: of the node that passes it on */
	uint8_t order;  /* enum msg_order */
	uint64_t id, old;
	bool promote; /* ADD: once it has caught up, without being told */
	bool force;   /* REMOVE, PROMOTE, REPLACE: though a quorum is at risk */
	char address[ADDRESS_BYTES_MAX + 1]; /* ADD, REPLACE, UPDATE */
};
struct msg_controlled { /* CONTROLLED, ORDERED */
	uint64_t token;
	uint8_t code;   /* enum err: OK; or why not */
	uint64_t index; /* ORDER_SNAPSHOT: of the snapshot that is there now;
			 * members: of the change; ORDER_LEADER: 0 */
	uint64_t id;    /* of the member it was about; the new leader's */
	char why[512];  /* unless OK: for the one who gave the order; or "" */
};

enum msg_reply_to { MSG_REPLY_PROPOSE = 1, MSG_REPLY_READ = 2 };

/* Results of one batch, in the order of its commands or keys. */
struct msg_reply {
	uint8_t to;        /* enum msg_reply_to */
	uint64_t seq;      /* as in PROPOSE or READ */
	uint64_t revision; /* store revision (READ: when it was answered) */
	uint64_t applied;  /* index applied when this was sent */
	uint32_t count;    /* items */
};
struct msg_reply_item {
	uint8_t code;       /* enum err: OK, CREATED, DELETED, NOT_FOUND... */
	uint64_t revision;  /* READ, PUT: the key's mod_revision; DELETE: the
			     * store's after it */
	uint64_t length;    /* READ: bytes of the whole value (value may be left
			     * out, see known_revision) */
	struct bytes value; /* READ */
};

/* httpd reconnected to kvd, or kvd is new: which of these are applied? kvd
 * answers with a REPLY for each it knows the results of. */
struct msg_ask {
	uint64_t epoch;
	uint32_t count; /* items: u64 seq (msg_ask_item_wire) */
};

struct msg_status_ask { /* METRICS_ASK, PING and PONG as well */
	uint64_t token; /* comes back in the answer */
};

enum msg_role {
	MSG_ROLE_FOLLOWER = 0,
	MSG_ROLE_CANDIDATE = 1, /* or pre-candidate */
	MSG_ROLE_LEADER = 2,
	MSG_ROLE_LEARNER = 3
};

struct msg_raft_status {
	uint64_t token; /* 0: not asked for, leader or term changed */
	uint64_t cluster, node, leader, term;
	uint8_t role;                          /* enum msg_role */
	uint64_t first, last, commit, applied; /* applied: by kvd, as known */
	uint64_t snapshot; /* index of the newest one here; 0 = none */
	bool kvd_connected;
	uint64_t members_index; /* of the change that made them what they are */
	uint32_t count;         /* items: members, this node included */
};
/* A voter that comes in or goes out is one in a joint configuration only. */
enum msg_member {
	MSG_MEMBER_VOTER = 0,
	MSG_MEMBER_LEARNER = 1,
	MSG_MEMBER_INCOMING = 2,
	MSG_MEMBER_OUTGOING = 3
};
struct msg_peer_item {
	uint64_t node;
	char address[ADDRESS_BYTES_MAX + 1];
	uint8_t member;    /* enum msg_member */
	bool promote;      /* a learner that will be promoted by itself */
	uint64_t replaces; /* and then takes this one's place; 0: nobody's */
	bool connected;    /* itself: true */
	uint64_t match;    /* leader only, else 0 */
	uint8_t state;     /* enum raft_progress_state + 1; 0 = not leader */
};

struct msg_kv_status {
	uint64_t token;
	uint64_t applied, durable, revision, keys, bytes;
	struct hash128 hash;
	char engine[16];
	bool diverged;           /* found wrong, by itself or by the others, */
	uint64_t diverged_index; /* at this index */
};

struct msg_bye {
	uint8_t code; /* enum err */
};

/* METRICS: in Prometheus's text format, whole families with HELP and TYPE; each
 * process has names of its own. */
struct msg_metrics {
	uint64_t token; /* as in the METRICS_ASK, which is a msg_status_ask */
	struct bytes text;
};
#define METRICS_BYTES_MAX (1u << 20)

/* Those that return an enum err are whole bodies: OK or ERR_MALFORMED.  HELLO
 * also ERR_VERSION: only magic and protocol are set then. */
enum err msg_hello_wire(struct wire *w, struct msg_hello *m);
enum err msg_propose_wire(struct wire *w, struct msg_propose *m);
void msg_read_wire(struct wire *w, struct msg_read *m);
void msg_read_item_wire(struct wire *w, struct msg_read_item *m);
enum err msg_refuse_wire(struct wire *w, struct msg_refuse *m);
void msg_commit_wire(struct wire *w, struct msg_commit *m);
void msg_commit_item_wire(struct wire *w, struct msg_commit_item *m);
enum err msg_applied_wire(struct wire *w, struct msg_applied *m);
void msg_reply_wire(struct wire *w, struct msg_reply *m);
void msg_reply_item_wire(struct wire *w, struct msg_reply_item *m);
void msg_ask_wire(struct wire *w, struct msg_ask *m);
void msg_ask_item_wire(struct wire *w, uint64_t *seq);
enum err msg_status_ask_wire(struct wire *w, struct msg_status_ask *m);
void msg_raft_status_wire(struct wire *w, struct msg_raft_status *m);
void msg_peer_item_wire(struct wire *w, struct msg_peer_item *m);
enum err msg_kv_status_wire(struct wire *w, struct msg_kv_status *m);
enum err msg_snap_ask_wire(struct wire *w, struct msg_snap_ask *m);
enum err msg_snap_head_wire(struct wire *w, struct msg_snap_head *m);
enum err msg_snap_data_wire(struct wire *w, struct msg_snap_data *m);
enum err msg_control_wire(struct wire *w, struct msg_control *m);
enum err msg_controlled_wire(struct wire *w, struct msg_controlled *m);
enum err msg_bye_wire(struct wire *w, struct msg_bye *m);
enum err msg_metrics_wire(struct wire *w, struct msg_metrics *m);

#endif
