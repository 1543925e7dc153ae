/* Batches: what was sent around the ring in one message and is not answered.
 *
 * seq counts batches of all ways together, from 1.  Each sending is an
 * attempt; a REFUSE names the attempt that it answers.  An attempt that was
 * not refused may be executed at any later time, so a batch is certainly not
 * executed only when every attempt was refused. */
#ifndef HTTPD_BATCH_H
#define HTTPD_BATCH_H

#include "base/buf.h"
#include "httpd/pending.h"

struct batch {
	struct batch *prev, *next; /* of its way, oldest first */
	struct batch *chain;       /* same bucket of the table */
	enum way way;
	uint64_t seq;
	uint64_t nth; /* of its way, from 0 */

	uint32_t attempt;    /* how often it was sent */
	uint64_t unresolved; /* bit n: attempt - n was not refused */
	bool unknown;        /* nor was one of before those 64 */
	enum err refused;    /* why the last REFUSE said no, or ERR_OK */

	struct mono retry_at; /* when it is sent again */
	bool silent;          /* ... because there was no answer by then */
	uint32_t silence_ms;  /* how long to wait for an answer */
	uint32_t refuse_ms;   /* how long to wait after a REFUSE */

	struct buf body;       /* WRITE: the log entry; else the encoded keys */
	uint32_t count;        /* commands or keys */
	uint32_t waiting;      /* slots that are taken */
	uint32_t slots;        /* count, and a READ's probes behind */
	struct waiter *slot[]; /* NULL: answered, or its client has left */
};

#define BATCH_BUCKETS 4096u /* a power of two */

struct batches {
	struct batch *first[WAYS];
	struct batch *last[WAYS];
	uint32_t open[WAYS]; /* batches */
	uint64_t made[WAYS]; /* batches so far: the next one's nth */
	uint64_t seq;        /* the last one given */
	struct batch *bucket[BATCH_BUCKETS];
};

/* A new batch with the next seq and room for slots waiters, in the table. */
struct batch *batch_new(struct batches *t, enum way way, uint32_t slots);
void batch_free(struct batches *t, struct batch *b);
struct batch *batch_find(const struct batches *t, uint64_t seq);
/* The smallest seq of an open PROPOSE; if there is none, beyond all. */
uint64_t batch_oldest_write(const struct batches *t);

/* Put w at place n. */
void batch_place(struct batch *b, uint32_t n, struct waiter *w);
/* Take w out of its batch, which stays open. */
void batch_drop(struct waiter *w);

/* Send it as one more attempt; false: l is not up. */
bool batch_send(
    struct batch *b, struct link *l, uint64_t epoch, struct mono now);
/* Attempt n was refused.  true: it was the last one that was sent. */
bool batch_refused(struct batch *b, uint32_t attempt, enum err code);
bool batch_certainly_refused(const struct batch *b);

#endif
