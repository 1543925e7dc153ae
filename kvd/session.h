/* Sessions: which batches of which httpd are applied, so that a batch that was
 * proposed twice is applied once.
 *
 * All that is here follows from the log alone, in memory and in the store
 * (records of record.h, written in one step with the data they belong to).  A
 * session is one epoch of one node's httpd.  It knows the results of its
 * batches from done_below on: those below are answered or given up and never
 * applied again.
 *
 * Bounds: a session beyond SESSIONS_MAX displaces the one whose last entry is
 * the oldest; of more than SESSION_BATCHES_MAX results the oldest is dropped
 * and done_below moves behind it, so it is never applied twice. */
#ifndef KVD_SESSION_H
#define KVD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "kvd/record.h"
#include "kvd/store.h"

struct sessions;
struct session;

/* The results of an applied batch, in the order of its commands. */
struct session_result {
	uint64_t seq;
	uint64_t revision; /* the store's after it */
	uint32_t count;
	bool staged; /* the store has it, or will */
	struct result_item items[];
};

/* Loads what the store has.  s is borrowed.  On ERR_CORRUPT a line is logged.
 */
enum err sessions_open(struct sessions **ssp, struct store *s);
void sessions_close(struct sessions *ss); /* NULL is allowed */

/* The session of an entry at index, made if it is new; results below
 * done_below are dropped.  Valid until the next call of session_touch. */
struct session *session_touch(struct sessions *ss, uint64_t node,
    uint64_t epoch, uint64_t index, uint64_t done_below);
/* NULL if there is none. */
struct session *session_find(
    struct sessions *ss, uint64_t node, uint64_t epoch);
/* Given up, dropped or answered: not to be applied. */
bool session_is_done(const struct session *s, uint64_t seq);
/* Of an applied batch that is not done, or NULL; borrowed until the session is
 * touched again. */
const struct session_result *session_result(
    const struct session *s, uint64_t seq);
/* The first one whose seq is not below seq, or NULL; borrowed likewise. */
const struct session_result *session_result_from(
    const struct session *s, uint64_t seq);
/* Remember the results of a batch, neither done nor known, just applied. */
void session_add(struct sessions *ss, struct session *s, uint64_t seq,
    uint64_t revision, const struct result_item *items, uint32_t count);
/* Stage what has changed since the last call: heads, and results that are still
 * there.  Most results come and go between two calls, so the store never hears
 * of them. */
void sessions_stage(struct sessions *ss);

size_t sessions_count(const struct sessions *ss);

#endif
