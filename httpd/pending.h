/* Requests on their way around the ring, and what is known of their fate.
 *
 * A waiter is one command or one lookup.  It stands in its way's backlog until
 * the end of the loop's turn, or a little longer (backlog.h), then travels with
 * all others that wait in one batch.  A batch is:
 * PROPOSE for writes, READ for linearizable reads (both to raftd), STALE_READ
 * for stale ones (to kvd).  It is answered once, by
 *   - the REPLY to its batch (kvd),
 *   - a REFUSE that no retry can help (raftd), or
 *   - its deadline: 503 if it was certainly not executed, else 504.
 * Then, or when its client has left, it is out of here.
 *
 * A batch is sent again, byte for byte, when its fate may be "lost": see
 * batch.h.  kvd applies a (node, epoch, seq) once, so that is safe.  Waiters
 * that were never sent wait in the backlog rather than in a batch: then they
 * leave in few, full messages when the way is free again.
 *
 * One thread.  The answer callback may not call back into here. */
#ifndef HTTPD_PENDING_H
#define HTTPD_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "proto/cmd.h"
#include "proto/err.h"
#include "proto/link.h"
#include "proto/msg.h"

struct batch;
struct pending;

/* Which way around the ring. */
enum way { WAY_WRITE, WAY_READ, WAY_STALE };
#define WAYS 3

/* How long a waiter waits: lists with one time-out each, so that in each of
 * them the first is always the next to run out. */
enum patience { PATIENCE_REQUEST, PATIENCE_PROBE };
#define PATIENCES 2

/* One command or lookup; memory of its request, zeroed at first. */
struct waiter {
	enum way way;
	enum patience patience;
	bool probe;                /* WAY_READ without a key */
	bool silent;               /* nobody is told what became of it */
	struct cmd cmd;            /* WAY_WRITE; bytes belong to the request */
	struct msg_read_item item; /* reads; likewise */

	/* The rest is pending's. */
	bool waiting;
	enum err refused; /* why it was not executed so far, or ERR_OK */
	struct mono deadline;
	struct waiter *prev, *next;             /* of its patience */
	struct waiter *queue_prev, *queue_next; /* while batch is NULL */
	struct batch *batch;                    /* borrowed; NULL: queued */
	uint32_t slot;                          /* its place in batch */
};

/* What became of a waiter. */
struct answer {
	enum err code;
	bool from_store;         /* a REPLY: the rest is meaningful */
	uint64_t store_revision; /* the store's when it was answered */
	uint64_t revision;       /* the key's mod_revision */
	uint64_t length;         /* of the whole value */
	struct bytes value;      /* borrowed during the callback; may be left
				  * out, see msg_read_item.known_revision */
};

typedef void pending_answer_fn(struct waiter *w, const struct answer *a);

/* The links are borrowed and outlive it. */
struct pending *pending_open(uint64_t epoch, uint64_t timeout_ms,
    struct link *raftd, struct link *kvd, pending_answer_fn *answer);
/* Nobody may wait any more. */
void pending_close(struct pending *p); /* NULL is allowed */

/* This node's id, from raftd's HELLO: before that nothing is sent. */
void pending_node(struct pending *p, uint64_t node);

/* Queue w.  false: REQUESTS_INFLIGHT_MAX wait already (probes always may). */
bool pending_add(struct pending *p, struct waiter *w, struct mono now);
/* w's client has left; the command may still be executed. */
void pending_forget(struct pending *p, struct waiter *w);
size_t pending_count(const struct pending *p);
/* Batches of this way that were sent and are not answered. */
size_t pending_batches(const struct pending *p, enum way way);

/* Answer everybody at once: 503 stopping, or 504. */
void pending_stop(struct pending *p);

/* Answer those whose deadline has come. */
void pending_expire(struct pending *p, struct mono now);
/* Send what is due: once per turn, before links_flush(). */
void pending_flush(struct pending *p, struct mono now);
/* When one of the two has to be called again; MONO_NEVER. */
struct mono pending_next(const struct pending *p);

/* Messages and events.  ERR_MALFORMED: the sender is broken. */
enum err pending_reply(struct pending *p, struct wire *body, struct mono now);
enum err pending_refuse(struct pending *p, struct wire *body, struct mono now);
void pending_raftd_up(struct pending *p, struct mono now);
void pending_kvd_up(struct pending *p, struct mono now);
/* What raftd says of the leader.  Its first word after pending_raftd_up(),
 * which makes all go again itself, is what later ones are compared with: a
 * change makes all go again. */
void pending_leader(
    struct pending *p, uint64_t leader, uint64_t term, struct mono now);

#endif
