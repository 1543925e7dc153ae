/* raftd's own header: the process as a whole and what its parts offer each
 * other.  Reading order: node.c (a turn of the loop), ready.c (the order of
 * effects), front.c (httpd), reads.c, feed.c (kvd), peer_impl.h (other
 * nodes). */
#ifndef RAFTD_RAFTD_H
#define RAFTD_RAFTD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/daemon.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "proto/link.h"
#include "proto/msg.h"
#include "raftd/raft/raft.h"
#include "raftd/rlog.h"
#include "raftd/wal.h"
#include "raftd/writer.h"

struct feed;
struct front;
struct join;
struct members;
struct orders;
struct peers;
struct reads;
struct snapio;
struct snaps;
struct space;
struct take;
struct transfers;

struct raftd_options {
	uint64_t id;
	const char *cluster;     /* peer addresses, comma-separated */
	bool join;               /* a cluster that there is */
	const char *peer_listen; /* NULL: at this node's address */
	const char *data_dir;
	const char *run_dir;      /* NULL: see daemon_run_dir() */
	const char *socket_group; /* NULL: see links_share() */
	uint64_t heartbeat_ms;    /* one tick */
	uint64_t election_ms;
	uint64_t cache_bytes;         /* of recent log entries */
	uint64_t segment_bytes;       /* of the log */
	uint64_t snapshot_log_bytes;  /* of log, then one is taken; 0: never */
	uint64_t snapshot_count;      /* likewise, entries */
	uint64_t log_keep_bytes;      /* of log, though a snapshot has them */
	uint64_t snapshot_rate_bytes; /* to other nodes, per second; 0: any */
	uint64_t reserve_bytes; /* of disk; with less, proposals are refused */
	const char *check;      /* directory to look at, and nothing else */
	const char *force; /* directory to make a new cluster of, likewise */
	bool dry_run;
	struct daemon_log log;
};

/* Counted for metrics.c, from the start of this process on. */
struct raftd_figures {
	uint64_t leader; /* last one seen; 0: none */
	uint64_t leader_changes;
	uint64_t refused[UINT8_MAX + 1]; /* proposals, by enum err */
	struct histogram snap_saves;     /* HISTOGRAM_LONG */
};

struct raftd {
	struct raftd_options opt;
	struct loop *loop;
	struct links *links;
	struct loop_timer tick;
	struct mono tick_at; /* when the next one is due */
	uint64_t epoch;

	struct wal_identity identity;
	struct wal_conf conf;  /* members as of the last change applied */
	uint64_t conf_durable; /* conf.index, of the last one on the disk */
	struct wal_recovered *recovered; /* until store_start() */
	struct wal_disk disk;
	struct wal *wal;
	struct rlog *rlog;
	struct writer *writer;
	struct wal_disk snap_disk;
	struct snapio *snapio;
	struct snaps *snaps;
	struct take *take;
	struct transfers *transfers;
	struct space *space;
	struct raft *raft;
	/* Log index up to which the core hands nothing out again. */
	uint64_t applied_at_start;

	struct peers *peers;
	struct orders *orders;
	struct members *members;
	struct front *front;
	struct reads *reads;
	struct feed *feed;

	struct raftd_figures figures;

	uint64_t random_state; /* of the core's random source */
	uint64_t leader_seen;  /* leader and term last announced */
	uint64_t term_seen;
	struct join *join;    /* NULL: this node has its place in the cluster */
	struct join *refresh; /* NULL: it need not ask who the members are */
	struct mono heard_leader;
	bool bootstrapped;  /* the directory was made in this life */
	bool removed;       /* and has to leave: see leave.c */
	uint64_t needed_by; /* not before this node knows; 0: nobody */
	struct mono leave_by;
	int exit_code;
	bool stopping; /* handing leadership over, then quit */
	struct mono stop_by;
	bool quit;
};

/* ---- node.c: the process as a whole; opt and loop are set by main.c ---- */

/* 0, or a sysexits code after one logged line. */
int raftd_start(struct raftd *rd);
/* One turn of the loop: all that has arrived, in bounded phases. */
void raftd_turn(struct raftd *rd, struct mono now);
/* Begin to stop: a leader hands over first; then rd->quit is set.  The second
 * time: at once. */
void raftd_stop(struct raftd *rd);
/* After raftd_start(), whatever it returned. */
void raftd_close(struct raftd *rd);

/* ---- cluster.c: who is in the cluster ---- */

/* Parse "HOST:PORT,HOST:PORT,..." into members with ids 1, 2, ...  0, or
 * EX_USAGE after one logged line. */
int cluster_parse(const char *text, struct wal_conf *conf);
/* The id that every node computes from the same list. */
uint64_t cluster_id(const struct wal_conf *conf);
/* NULL: not a member. */
const struct wal_member *cluster_member(
    const struct wal_conf *conf, uint64_t id);
/* "HOST:PORT"? */
bool cluster_address_valid(const char *s, size_t len);
/* Whose address that is; NULL: nobody's. */
const struct wal_member *cluster_address_owner(
    const struct wal_conf *conf, const char *address);
bool cluster_ids_have(const struct raft_ids *ids, uint64_t id);
bool cluster_state_has(const struct raft_conf_state *s, uint64_t id);
/* What became of the order with this token; NULL: not known. */
const struct wal_order *cluster_order(
    const struct wal_conf *conf, uint64_t token);
/* A change took effect: new state, and the members in its context. */
void cluster_apply(struct wal_conf *conf, uint64_t index,
    const struct raft_conf_change *cc, const struct raft_conf_state *state);
/* A snapshot from another node took the place of the log. */
void cluster_install(struct wal_conf *conf, const struct wal_conf *from);

/* ---- leave.c: a node that is no member any more ---- */

/* This change takes this node away, and it must not take effect here: another
 * one could not be elected without it. */
bool leave_must_stay(
    struct raftd *rd, const struct raft_conf_change *cc, uint64_t index);
/* The log says that this node was removed. */
void leave_removed(struct raftd *rd);
/* Is it time to go? */
void leave_run(struct raftd *rd, struct mono now);

/* ---- store.c: the raft directory: lock, WAL, bootstrap, the core ---- */

/* The directory and its log; *fresh: it is empty, and this node is to join a
 * cluster: store_join() comes next, else store_start().  All: 0 or a sysexits
 * code after one logged line. */
int store_open(struct raftd *rd, bool *fresh);
/* The log begins, as the one of a member of this cluster. */
int store_join(struct raftd *rd, const struct wal_identity *identity,
    const struct wal_conf *conf);
/* Everything below rd->raft; a new directory is bootstrapped. */
int store_start(struct raftd *rd);
void store_close(struct raftd *rd);

/* ---- space.c: a disk that is nearly full ---- */

struct space *space_open(struct raftd *rd);
void space_close(struct space *sp);
void space_run(struct space *sp, struct mono now);
/* This node's proposals are refused. */
bool space_is_low(const struct space *sp);
/* Nothing may be added to the log: what is left is for a clean end.  Entries of
 * other nodes are taken for lost on their way. */
bool space_is_out(const struct space *sp);
/* Other nodes propose although this one's disk is nearly full. */
void space_note_proposal(struct space *sp);
/* Have they since the last time, a while ago? */
bool space_pressed(struct space *sp, struct mono now);
/* What need not be there may stay: there is twice what is kept free. */
bool space_is_ample(const struct space *sp);
/* Is there room for a file of so many bytes? */
bool space_for(struct space *sp, uint64_t bytes);

/* ---- check.c ---- */

/* Print what is in dir, a node's, and change nothing.  A sysexits code. */
int check_directory(const char *dir);

/* ---- ready.c: the effects of the core, in order ---- */

/* What has become durable: its responses, to the core and to the peers. */
void ready_storage_done(struct raftd *rd);
/* Carry out everything the core wants: save, send, publish.  What is to be
 * saved leaves with writer_flush(), what is sent with links_flush(). */
void ready_run(struct raftd *rd);

/* ---- peer*.c: other nodes; see peer_impl.h ---- */

/* Listen for and dial the members.  0 or a sysexits code. */
int peers_open(struct raftd *rd);
void peers_close(struct raftd *rd); /* after links_close() */
/* Takes the message's contents.  Dropped, and reported to the core later, when
 * the node cannot be reached. */
void peers_send(struct peers *ps, const struct raft_msg *m);
/* Dial new members, hang up on removed ones. */
void peers_update(struct peers *ps);
/* Hang up on members that were removed a while ago. */
void peers_run(struct peers *ps, struct mono now);
/* Why node id has refused this one, as far as it has not spoken to it since. */
enum err peers_word(const struct peers *ps, uint64_t id);
/* Tell the core whom messages did not reach. */
void peers_report(struct peers *ps);
/* The i-th link that other nodes have dialed, those of nodes that this one does
 * not know among them; NULL: there are not so many. */
struct link *peers_caller(const struct peers *ps, uint32_t i);
/* For connections of their own: may this one be at the other end? */
enum err peers_check_hello(
    const struct raftd *rd, struct link *l, const struct msg_hello *theirs);
void peers_fill_hello(const struct raftd *rd, struct msg_hello *mine);
/* A link on which messages go to node id, or NULL. */
struct link *peers_link(const struct peers *ps, uint64_t id);
bool peers_connected(const struct peers *ps, uint64_t id);
/* Measure round trips when it is time; once per turn. */
void peers_ping(struct peers *ps, struct mono now);
/* What is known of a node's traffic, for metrics.c. */
struct peer_figures {
	uint64_t id;
	bool connected;
	size_t queued_bytes;
	uint64_t sent_bytes, received_bytes; /* of messages */
	uint64_t dropped;                    /* messages, not sent */
	const struct histogram *round_trips; /* HISTOGRAM_NET */
};
/* The i-th other node; false: there are not so many. */
bool peers_figures(
    const struct peers *ps, uint32_t i, struct peer_figures *figures);
/* Of the raft directory of node id, as it says; 0: it was not seen. */
uint64_t peers_incarnation(const struct peers *ps, uint64_t id);

/* ---- front.c: httpd ---- */

int front_open(struct raftd *rd); /* listens on RUN/raftd.sock for both */
void front_close(struct raftd *rd);
void front_refuse(struct front *f, enum msg_refused what, enum err code,
    uint64_t epoch, uint64_t seq, uint32_t attempt);
void front_controlled(
    struct front *f, uint64_t token, enum err code, uint64_t index);
void front_answer(struct front *f, const struct msg_controlled *m);
/* Tell httpd if leader or term have changed since the last turn. */
void front_announce(struct front *f);
struct link *front_link(const struct front *f); /* NULL: away */

/* ---- metrics.c ---- */

/* This node's leader is another one (0: none). */
void figures_leader(struct raftd_figures *fg, uint64_t leader);
/* METRICS_ASK: answered at once on l. */
enum err metrics_ask(struct raftd *rd, struct link *l, struct wire *w);

/* ---- reads.c: linearizable reads wait here for their index ---- */

struct reads *reads_open(struct raftd *rd);
void reads_close(struct reads *rs);
/* A READ as httpd sent it (body is copied). */
void reads_add(struct reads *rs, const struct msg_read *m, struct bytes body);
/* The core knows the index for what was asked with this context. */
void reads_known(struct reads *rs, const struct raft_read_state *state);
/* Leader or term changed: what was asked may never be answered; ask again. */
void reads_restart(struct reads *rs);
void reads_drop_all(struct reads *rs); /* their httpd is gone */
/* Start a round for what waits; refuse it when there is no leader. */
void reads_run(struct reads *rs);

/* ---- feed.c: kvd ---- */

struct feed *feed_open(struct raftd *rd);
void feed_close(struct feed *f);
enum err feed_up(
    struct feed *f, struct link *l, const struct msg_hello *theirs);
void feed_down(struct feed *f, struct link *l);
enum err feed_take(struct feed *f, uint8_t type, struct wire *w);
/* Committed, durable here and in rlog up to index: kvd may have it. */
void feed_publish(struct feed *f, uint64_t index);
/* Pass a READ on behind the entries up to index; takes the reference. */
void feed_read(struct feed *f, uint64_t index, struct blob *body);
void feed_drop_reads(struct feed *f);
/* Send what kvd may have and its window has room for. */
void feed_run(struct feed *f, struct mono now);
/* httpd wants something now: its clients wait for kvd. */
void feed_note_clients(struct feed *f, struct mono now);
bool feed_connected(const struct feed *f);
struct link *feed_link(const struct feed *f); /* NULL: away */
/* kvd gets, or needs, a snapshot: it is behind the log. */
bool feed_loading(const struct feed *f);
uint64_t feed_applied(const struct feed *f);
uint64_t feed_published(const struct feed *f);

#endif
