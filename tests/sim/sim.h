/* metcd-sim: a cluster of metcd in one process on virtual time.
 *
 * The real raftd and kvd run here, each process as a coroutine that gives up
 * the processor where the real one would wait (loop_wait).  What would reach
 * the kernel is replaced at link time: see the seam_*.c files and sim.mk.
 * Everything is derived from one seed; nothing depends on addresses, real time
 * or the order of a hash table.
 *
 *   main.c       options, seeds one after the other, shrinking a failure
 *   world.c      virtual time: events, the run from start to last check
 *   proc.c       processes: start, turn, pause, death
 *   nemesis.c    faults, by profile
 *   count.c      what has happened, in numbers
 *   client.c     a simulated httpd (the real pending.c) and its clients
 *   seam_*.c     loop, clock, memory, log, streams, disk, writer, engines
 *   check_*.c    what must hold; none of it uses the code that it checks,
 *                decoders of messages and records apart */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "base/buf.h"
#include "base/loop.h"
#include "proto/msg.h"
#include "raftd/raftd.h"
#include "tests/sim/count.h"

#define SIM_NODES_MAX 12u /* in a run, one after the other */
#define SIM_START_MAX 7u  /* ... when it begins, and at a time */
#define SIM_KEYS_MAX 8u
#define THREADS_MAX 2u
#define US UINT64_C(1000) /* virtual nanoseconds */
#define MS UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

/* ---- random numbers: one stream per subject, so that removing one fault
 * while a failure is shrunk disturbs the others as little as possible ---- */

struct rng {
	uint64_t state;
};

enum stream {
	RNG_WORLD,
	RNG_NET,
	RNG_DISK,
	RNG_CLIENT,
	RNG_ENTROPY,
	RNG_STREAMS
};

uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0..n-1; n > 0 */
uint64_t rng_between(struct rng *r, uint64_t lo, uint64_t hi); /* inclusive */
bool rng_chance(struct rng *r, uint64_t per_mille);

/* ---- faults and profiles ---- */

#define FAULT_TABLE(X)                                                         \
	X(KILL, "kill")           /* raftd dies at once, is restarted */       \
	X(POWER, "power")         /* the whole node, un-synced writes too */   \
	X(STOP, "stop")           /* raftd is told to stop */                  \
	X(KVD, "kvd")             /* kvd dies alone */                         \
	X(HTTPD, "httpd")         /* httpd dies alone */                       \
	X(PAUSE, "pause")         /* a process does not run for a while */     \
	X(CLOCK, "clock")         /* clocks of different speed */              \
	X(PARTITION, "partition") /* of all kinds */                           \
	X(LOSS, "loss")           /* loss, duplication, reordering */          \
	X(SLOW, "slow")           /* slow links */                             \
	X(BREAK, "break")         /* connections end */                        \
	X(SYNC, "sync")           /* slow syncs */                             \
	X(IO, "io")               /* write, sync and read errors */            \
	X(FULL, "full")           /* a full disk */                            \
	X(TRANSFER, "transfer")   /* of leadership */                          \
	X(CAMPAIGN, "campaign")   /* a node campaigns for no reason */         \
	X(CONF, "conf")           /* changes proposed to the core */           \
	X(ORDER, "order")         /* orders about members */                   \
	X(WIPE, "wipe")           /* a node loses its disk */

enum fault {
#define FAULT_ENUM(name, word) FAULT_##name,
	FAULT_TABLE(FAULT_ENUM)
#undef FAULT_ENUM
	    FAULTS
};

enum profile {
	PROFILE_CALM,
	PROFILE_LOSSY,
	PROFILE_DISK,
	PROFILE_MEMBERSHIP,
	PROFILE_ALL,
	PROFILES
};

extern const char *const fault_names[FAULTS];
extern const char *const profile_names[PROFILES];

struct sim_options {
	uint64_t seed;
	uint64_t steps; /* events of the phase with faults */
	unsigned nodes;
	enum profile profile;
	uint32_t without; /* bit per enum fault: not used */
	bool hunt;        /* every new leader is struck, see draw_hostility() */
	bool verbose;     /* trace every message, to standard error */
	bool keep;        /* keep the trace's last lines */
};

/* ---- processes ---- */

enum role { ROLE_RAFTD, ROLE_KVD, ROLE_HTTPD, ROLES };

struct mem_head; /* seam_process.c */
struct sim_stream;

/* A helper thread: another coroutine of its process. */
struct thread {
	struct proc *proc;
	bool exists, done;
	const void *waits_for; /* a condition; NULL: it does not wait */
	uint64_t due;          /* of the event that counts; 0: none */
	void *stack;
	jmp_buf context;
	ucontext_t first;
	void *(*fn)(void *);
	void *arg;
};

struct proc {
	enum role role;
	unsigned node; /* 1.. */
	char name[16]; /* "raftd1" */

	bool alive;
	uint64_t life; /* counts starts: events of an earlier one are void */
	int exit_code;
	uint64_t started_at;
	uint64_t lived_ns; /* the last life's */
	unsigned failed_starts;

	/* its clock */
	uint64_t clock_ppm;
	uint64_t clock_local, clock_at; /* it showed local at virtual time at */

	/* scheduling */
	bool woken;
	bool in_turn;
	uint64_t turn_due; /* of the turn event that counts; 0: none */
	uint64_t busy_until;
	uint64_t paused_until;
	struct mono limit; /* of its loop_wait() */
	struct loop *loop;

	/* as a coroutine */
	void *stack;
	jmp_buf context;
	ucontext_t first;
	void (*entry)(void);
	uint64_t asleep_until;              /* in a system call; 0: not */
	struct thread threads[THREADS_MAX]; /* raftd's: writer, snapio */

	struct mem_head *memory; /* all it has allocated, newest first */
	struct raftd *rd;        /* ROLE_RAFTD, while alive */
	uint8_t *image;          /* ROLE_KVD: its static data */
	struct client *client;   /* ROLE_HTTPD, while alive */
	bool gone; /* left with EX_CONFIG: not to be started again */
};

/* ---- paths between nodes ---- */

struct path {
	bool blocked;
	bool hold; /* while blocked: hold frames back rather than drop them */
	uint64_t delay_ns;                 /* added to the base delay */
	uint32_t loss, duplicate, reorder; /* per mille */
};

struct disk; /* seam_disk.c */

/* A machine.  It has an address for good, an id at most once. */
struct node {
	struct proc procs[ROLES];
	struct disk *disk;
	bool power;        /* false: all of it is off */
	bool off;          /* ... and stays so: not yet, or no more, in use */
	bool join;         /* started with --join */
	bool wiped;        /* its disk was lost, and all it has promised */
	uint64_t id;       /* --id; 0: not known yet */
	unsigned moves;    /* of its address */
	char cluster[512]; /* --cluster */
	char listen[32];   /* --peer-listen; "": not given */
};

/* ---- the whole ---- */

typedef void event_fn(void *arg, uint64_t n);

struct sim {
	struct sim_options opt;
	struct rng rng[RNG_STREAMS];
	uint64_t now; /* virtual nanoseconds */
	uint64_t steps;
	bool faults_on;
	bool over; /* stop processing events */

	struct node nodes[SIM_NODES_MAX + 1]; /* from 1 */
	unsigned slots;                       /* of them there are so many */
	struct path paths[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
	/* Of the runs in which the membership changes: by proposals to the
	 * core, else by orders; of those, with orders that are forced, else
	 * with disks that are lost; of those, with ids that the owner chooses.
	 */
	bool raw, forced, own_ids;
	uint64_t heartbeat_ms, election_ms;
	uint64_t timeout_ms; /* clients' */
	uint64_t think_ms;
	/* What a path takes at least, in seeds whose nodes are far apart. */
	uint64_t far_ns;
	uint64_t distance[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
	uint64_t sync_ns; /* a sync takes up to that where disks are slow */
	uint32_t hunt;    /* per mille: a new leader is struck at once */
	uint32_t ambush;  /* per mille: who is at something is struck */
	uint64_t snapshot_rate; /* of transfers, in bytes per second; 0: any */
	uint64_t cache_bytes;
	uint64_t segment_bytes, prefill_bytes;
	uint64_t snapshot_count;
	uint64_t reserve_bytes; /* of the disk; 0: none */
	uint64_t value_bytes_max;
	struct { /* of the Raft core, see raft_config */
		uint64_t bytes_per_msg, committed_bytes, uncommitted_bytes;
		uint32_t inflight_msgs;
		uint64_t inflight_bytes;
	} limits;
	uint32_t keys; /* that the clients use */

	struct proc *current;  /* whose code is running */
	struct thread *thread; /* ... on that one; NULL: its first */
	jmp_buf scheduler;

	bool violated;
	char violation[512];
	uint64_t violation_step;

	uint64_t trace_hash;

	/* counters for the summary */
	uint64_t turns, messages, operations, answered, faults[FAULTS];
	uint64_t commits, leaders;
	uint64_t orders, joins, quorums_lost;
	uint64_t settled_percent; /* of the time to be well again */
	size_t calm_from;         /* place in the history */
	uint64_t by_log; /* keys whose history the search did not decide */
	uint64_t counts[COUNTS];
};

extern struct sim sim;

/* ---- world.c ---- */

/* One run; sim.violated says how it ended. */
void world_run(const struct sim_options *opt);
void world_at(uint64_t time, event_fn *fn, void *arg, uint64_t n);
/* The first violation ends the run. */
void violate(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void trace_mix(uint64_t v); /* into the hash only */
/* The kept lines, oldest first. */
void trace_tail(size_t lines);
bool trace_wanted(void); /* is anybody interested in every message? */

/* ---- proc.c ---- */

/* The machines that there are when a run begins. */
void proc_init_all(void);
/* One more, which is off. */
unsigned node_new(void);
void proc_free_all(void);
void proc_start(struct proc *p);
/* Not its own doing: the kernel or we end it, now.  graceful: its connections
 * are closed by the kernel; else (power) nobody hears of it. */
void proc_kill(struct proc *p, bool silent);
void proc_wake(struct proc *p);
void proc_pause(struct proc *p, uint64_t until);
void proc_set_clock(struct proc *p, uint64_t ppm);
/* Called from p's code, in its coroutine. */
void proc_yield(struct mono limit);
_Noreturn void proc_exit(int code);
/* A system call that takes so long, on whichever thread is running. */
void proc_sleep(uint64_t ns);
/* Helper threads: one is started, waits for a condition, is signalled. */
unsigned thread_start(struct proc *p, void *(*fn)(void *), void *arg);
void thread_wait(const void *condition);
void thread_signal(struct proc *p, const void *condition);
void thread_join(struct proc *p, unsigned which);
uint64_t proc_clock(const struct proc *p);
void node_power_cut(unsigned node);
void node_power_on(unsigned node);
/* Off for good. */
void node_off(unsigned node);
/* With this id and a --cluster of those members, for the first time. */
void node_join(unsigned node, uint64_t id, const struct wal_conf *members);
/* All its disk is lost; it is off then. */
void node_wipe(unsigned node);
/* Which machine has that id; 0: none. */
unsigned node_of_id(uint64_t id);
/* Restart whatever does not run (unless its node is off or it is gone). */
void proc_restart(struct proc *p);

/* ---- nemesis.c ---- */

void nemesis_start(void);
void nemesis_new_leader(unsigned node);
/* A process is busy for so long with what should be struck now and then. */
void nemesis_ambush(struct proc *p, uint64_t ns, uint32_t per_mille);
bool nemesis_is_at_work(void);         /* is anything broken just now? */
void nemesis_stop(void);               /* undo all faults, restart everything */
bool nemesis_is_member(unsigned node); /* as its leader sees it */
/* It is none, and has left, or cannot know it. */
bool nemesis_may_stay(unsigned node);
/* No joint configuration, nobody who waits for his promotion; or why not. */
bool nemesis_is_settled(char *why, size_t bytes);
/* Leave a joint configuration, if that is where we are. */
void nemesis_settle(void);

/* ---- admin.c: whoever gives orders about members ---- */

void admin_reset(void);
void admin_strike(void); /* give one */
void admin_wipe(void);   /* a node loses its disk, if that can be borne */
/* What httpd of a node was told. */
void admin_answered(unsigned node, const struct msg_controlled *m);
void admin_lost(unsigned node); /* ... and will not be told any more */
/* Start those who became members and do not know it. */
void admin_look(void);
/* Is the machine to be found there? */
bool admin_listens_at(unsigned node, const char *address);
/* The disks of a majority are lost, and not by raftd's doing. */
bool admin_lost_quorum(void);

/* ---- client.c ---- */

enum op_kind {
	OP_PUT,
	OP_PUT_ABSENT,  /* if the key does not exist */
	OP_PUT_PRESENT, /* if it exists */
	OP_PUT_SAME,    /* if it has the revision of value `expect` */
	OP_DELETE,
	OP_GET,
	OP_STALE
};
enum op_state { OP_OPEN, OP_DONE, OP_REFUSED, OP_UNKNOWN };

struct op {
	enum op_kind kind;
	enum op_state state;
	unsigned node;
	uint32_t key;
	uint64_t value;  /* id written; reads: id found, 0 = none */
	uint64_t expect; /* OP_PUT_SAME */
	uint64_t expect_revision;
	uint64_t invoked, completed; /* places in the history, from 1 */
	uint64_t at;                 /* virtual time */
	enum err code;
	uint64_t revision;
	/* its place in the log, once it was sent (writes) */
	uint64_t epoch, seq;
	uint32_t slot;
	size_t chain; /* of history_find() */
	/* check_model.c: what the log says it did. */
	unsigned applied;
	enum err model_code;
	uint64_t model_revision;
	uint64_t model_index;
};

struct history {
	struct op *ops;
	size_t count, cap;
	uint64_t clock; /* orders invocations and completions */
};
extern struct history history;

void client_entry(void);          /* the coroutine of a simulated httpd */
void client_died(struct proc *p); /* its open operations are unknown */
void clients_stop(void);          /* begin no new operations */
size_t clients_open(void);        /* operations that wait */
bool client_progress(unsigned node, uint64_t since); /* a write since then */
/* An order through this httpd (NULL: just asking); false: it has no raftd. */
bool client_order(unsigned node, const struct msg_control *m);
struct bytes client_key(uint32_t key);
void history_reset(void);
/* The write at this place in the log, or NULL: no client of ours sent it. */
struct op *history_find(
    unsigned node, uint64_t epoch, uint64_t seq, uint32_t slot);
/* The value that a PUT with this id carries, len bytes. */
void value_fill(uint64_t id, struct buf *out);
uint64_t value_id(struct bytes value); /* 0: not one of ours */

/* ---- seam_stream.c ---- */

void net_reset(void);
void net_discard(event_fn *fn, void *arg); /* an event that never comes */
void net_proc_died(struct proc *p, bool silent);
void net_power_on(unsigned node);
void net_paths_changed(void); /* deliver what was held */
void net_break(unsigned from, unsigned to);

/* ---- seam_disk.c ---- */

struct disk *disk_new(unsigned node);
void disk_free(struct disk *d);
void disk_power_cut(struct disk *d);
void disk_close_all(struct disk *d); /* its process has ended */
/* Its process is about to be killed: in the middle of what? */
void disk_note_kill(const struct disk *d, bool power);
void disk_set_errors(
    struct disk *d, uint32_t write, uint32_t sync, uint32_t read);
void disk_set_name_errors(struct disk *d, uint32_t names);
void disk_set_full(struct disk *d, bool full);
void disk_set_free(struct disk *d, uint64_t bytes);
void disk_set_slow(struct disk *d, uint64_t sync_ns);
bool disk_is_well(const struct disk *d);

/* ---- seam_process.c ---- */

void memory_free_all(struct proc *p);
struct mono loop_next(const struct loop *l);
void image_init(struct proc *p);
void image_load(struct proc *p);
void image_free(struct proc *p);

/* ---- seam_engine.c ---- */

void engines_power_cut(unsigned node);
void engines_reset(void);
void engine_check_keys(unsigned node);

/* ---- check_raft.c ---- */

void check_raft_reset(void);
/* After each turn of a raftd. */
void check_raft_turn(struct proc *p);
void check_raft_died(unsigned node);
/* The writer was given a, or has made it durable. */
void check_raft_submitted(unsigned node, const struct raft_msg *append);
void check_raft_durable(unsigned node, const struct raft_msg *append);
/* wal_open has found these. */
void check_raft_recovering(unsigned node);
void check_raft_recovered_entry(unsigned node, const struct raft_entry *e);
void check_raft_recovered(unsigned node, const struct wal_recovered *rec);
uint64_t check_raft_committed(void); /* by anybody */
unsigned check_raft_leader(void);    /* node that leads the newest term, or 0 */
/* A committed entry, for the model. */
uint64_t check_raft_entry(uint64_t index, uint8_t *type, struct bytes *data);
/* The disk of a node was lost. */
void check_raft_wiped(unsigned node);
/* The last configuration that is on a node's disk. */
void check_raft_conf_durable(unsigned node, uint64_t index);
uint64_t check_raft_conf_of(unsigned node);
bool check_raft_led(unsigned node); /* ever */

/* ---- check_members.c: the configurations, once more from the log ---- */

struct members { /* bit per id */
	uint64_t voters, outgoing, learners, next;
};

void check_members_reset(void);
void check_members_advance(void); /* what is newly committed */
/* The members after that index, as far as it is committed. */
const struct members *check_members_at(uint64_t index);
bool check_members_has(uint64_t id); /* a member now? */
/* Index of the change since which it has its address. */
uint64_t check_members_addressed(uint64_t id);
/* Are those a quorum? */
bool check_members_quorum(const struct members *m, uint64_t have);
/* ... of one of the configurations between these indexes? */
bool check_members_quorum_between(uint64_t from, uint64_t to, uint64_t have);
void check_members_turn(struct proc *p); /* after each turn of a raftd */
void check_members_left(struct proc *p); /* with EX_CONFIG */
/* An order was answered: what the log says about it.  again: it was given
 * before. */
void check_members_order(const struct msg_control *order,
    const struct msg_controlled *answer, bool again);

/* ---- check_model.c ---- */

struct model_state {
	uint64_t revision, keys, bytes;
};
void model_reset(void);
/* Apply the committed entries that are new. */
void model_advance(void);
void model_check_state(unsigned node, uint64_t applied,
    const struct model_state *st, struct hash128 hash);
void model_check_key(unsigned node, struct bytes key, uint64_t create,
    uint64_t mod, uint64_t version, struct bytes value);
void model_check_key_count(unsigned node, uint64_t keys);
void model_check_answers(void); /* at the end: every acknowledged operation */

/* ---- check_history.c ---- */

/* Linearizability of all operations, key by key. */
void check_history(void);

#endif
