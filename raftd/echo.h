/* The round trip to another node: now and then a PING on the stream to it,
 * whose PONG comes back on the stream from it.  So it has all that a message of
 * the Raft core and its answer meet: both streams, both loops, what is queued.
 */
#ifndef RAFTD_ECHO_H
#define RAFTD_ECHO_H

#include "base/metrics.h"
#include "base/mono.h"
#include "proto/link.h"

#define ECHO_MS 1000u          /* between two */
#define ECHO_PATIENCE_MS 5000u /* with an answer that does not come */

/* Of one other node; zeroed at first. */
struct echo {
	uint64_t token;      /* of the last PING */
	bool awaited;        /* its PONG is */
	struct mono sent_at; /* it */
	struct histogram round_trips;
};

/* Send a PING, unless the last one's answer is still awaited. */
void echo_ask(struct echo *e, struct link *out);
/* PING: answer it on our stream to the one who asked. */
enum err echo_answer(struct link *out, struct wire *w);
/* PONG. */
enum err echo_take(struct echo *e, struct wire *w);

#endif
