/* The backlog of one way: waiters that were not sent yet, in the order in which
 * they came, and when they may be.  Not sooner than
 *   - what is under way has come back, or a while has passed: under load fewer
 *     and larger messages, log entries and engine writes go around the ring
 *     (Nagle, RFC 896);
 *   - the clients whose lookups were answered last are back with their next;
 *   - a refusal is a moment old.
 * All of it has a bound in time, and a full batch waits for none of the first
 * two.  Whether the link has room is pending.c's to see. */
#ifndef HTTPD_BACKLOG_H
#define HTTPD_BACKLOG_H

#include "httpd/pending.h"

/* Keys of one READ.  kvd answers it in one frame: those whose values do not
 * fit come back as ERR_OVERLOADED and are asked for again. */
#define READ_KEYS_MAX 64u

struct backlog { /* zeroed at first */
	struct waiter *first, *last;
	size_t count;
	size_t bytes; /* of their commands */

	struct mono gather_until; /* while others are under way */
	struct mono return_until; /* while so many... */
	size_t returning;         /* ...lookups are expected */
	struct mono hold_until;   /* refused just now */
	enum err hold_code;       /* why; ERR_OK: it is over */
};

/* Of a command in its batch, about. */
size_t backlog_cmd_bytes(const struct waiter *w);
/* w is in no batch. */
void backlog_push(struct backlog *q, struct waiter *w);
void backlog_remove(struct backlog *q, struct waiter *w);

/* A batch has left. */
void backlog_sent(struct backlog *q, struct mono now);
/* The clients of so many lookups are answered now and will be back. */
void backlog_expect(struct backlog *q, uint32_t lookups, struct mono now);
void backlog_expect_none(struct backlog *q);
/* Nothing leaves before that, because of code. */
void backlog_hold(struct backlog *q, struct mono until, enum err code);

/* May it not leave yet?  Then *wake is no later than the time that changes
 * that; else hold_code is over, too. */
bool backlog_is_held(struct backlog *q, struct mono now, struct mono *wake);
/* Likewise, with so many batches of this way under way. */
bool backlog_is_gathering(const struct backlog *q, enum way way,
    uint32_t batches, struct mono now, struct mono *wake);

#endif
