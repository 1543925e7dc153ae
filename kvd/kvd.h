/* kvd, the replicated state machine: what its files share.
 *
 * Commits are applied while they arrive (their bytes are borrowed from the
 * message) to the table of the store; the engine is written later, or at the
 * end of the turn (writeback.h).  What asks about the state waits in
 * `questions` until all that came before it in this turn is applied.  So a turn
 * is: take, apply, reply, answer, progress (main.c). */
#ifndef KVD_KVD_H
#define KVD_KVD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "kvd/check.h"
#include "kvd/load.h"
#include "kvd/session.h"
#include "kvd/snapshot.h"
#include "kvd/store.h"
#include "kvd/writeback.h"
#include "proto/link.h"
#include "proto/msg.h"

struct flusher;
struct syncer;

/* A turn's run is written in between when it has grown beyond this, so that
 * what is staged stays bounded; the same for replies and questions. */
#define KVD_STAGED_BYTES_SOFT ((size_t)4 << 20)
#define KVD_QUESTION_BYTES_SOFT ((size_t)1 << 20)

/* Counted for metrics.c, from the start of this process on. */
struct kvd_figures {
	uint64_t entries, commands;
	uint64_t reads, stale_reads; /* keys */
	struct histogram applies;    /* of COMMITs; HISTOGRAM_NET */
	struct histogram writes;     /* of the engine; likewise */
	struct histogram loads;      /* HISTOGRAM_LONG */
};

struct kvd {
	const char *kv_dir; /* DATA/kv; locked */
	struct store store;
	struct sessions *sessions;
	struct loop *loop;       /* NULL in tests: nothing is synced */
	struct syncer *syncer;   /* of store; or NULL */
	struct flusher *flusher; /* NULL: each turn is written */
	uint64_t write_back_bytes;
	struct mono flush_at; /* MONO_NEVER: nothing is staged */
	struct mono flush_began;
	struct mono shrink_at; /* MONO_NEVER: there is not much to give back */
	struct check *check;

	struct link *raftd;   /* dialed; up or not */
	struct link *httpd;   /* the current one, up, or NULL */
	uint64_t httpd_epoch; /* 0: none */

	struct buf replies;   /* struct reply_due and its items, packed */
	struct buf questions; /* struct question and its body, packed */
	uint64_t durable;     /* index that survives a power cut */

	struct snapshot snapshot; /* on its way to raftd */
	struct load *load;        /* on its way from raftd, or NULL: */
	struct msg_snap_head load_head;
	uint32_t load_number; /* of the next chunk */
	struct mono load_began, load_told;
	struct mono load_not_before; /* see loading_must_wait() */

	struct result_item items[BATCH_COMMANDS_MAX]; /* of one batch */
	struct buf taken;                             /* its commands */
	struct buf scratch; /* a key's record, as it is hashed */

	struct kvd_figures figures;

	bool quit;
	bool damaged; /* the store; with exit_code */
	int exit_code;
};

/* Storage failed (logged): this process ends.  ERR_CORRUPT: the next one sets
 * the store aside.  So it is, too, when a sync has failed: the kernel takes the
 * pages for clean then, drops them some time, and what is read is what the disk
 * has; and the next sync would succeed. */
void kvd_fail(struct kvd *k, enum err why);
#define KVD_SYNC_FAILED ERR_CORRUPT

/* --- apply.c --- */
/* Stage the entries of a COMMIT.  ERR_MALFORMED: not the entries after the
 * last ones; after ERR_IO kvd has failed. */
enum err kvd_take_commit(struct kvd *k, struct wire *body);
void kvd_apply(struct kvd *k); /* what is taken counts from now on */
void kvd_reply(struct kvd *k); /* results of what is applied, to our httpd */

/* --- read.c --- */
/* Keep a READ (of either kind), ASK, STATUS_ASK or METRICS_ASK until
 * kvd_answer(). */
enum err kvd_take_question(struct kvd *k, uint8_t type, struct wire *body);
void kvd_answer(struct kvd *k); /* after kvd_apply() */

/* --- metrics.c --- */
void kvd_answer_metrics(struct kvd *k, struct wire *body);

/* Send the results of one batch; shared by apply.c and read.c. */
void kvd_send_results(struct kvd *k, uint64_t seq, uint64_t revision,
    const struct result_item *items, uint32_t count);

#endif
