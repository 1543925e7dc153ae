/* Inside proto/link*.c only: a link, and what moves it from state to state.
 * link.c has the public calls, link_life.c the beginnings and ends of
 * connections, link_take.c what arrives.
 *
 *     WAITING --timer--> DIALING --connected--> GREETING --HELLO--> UP
 *        ^                  |                      |                |
 *        +---- failed ------+------- lost ---------+----- lost -----+
 *
 * A dialed link starts in DIALING; an accepted one in GREETING, and where a
 * dialed one goes to WAITING, it is DEAD.  A HELLO that is refused makes
 * GREETING ENDING: BYE goes out, and soon the link is lost.  link_close() makes
 * any link DEAD. Dead links are freed when no callback of an owner is running.
 */
#ifndef PROTO_LINK_STATE_H
#define PROTO_LINK_STATE_H

#include "base/loop.h"
#include "proto/link.h"
#include "proto/link_private.h"

/* Time is counted in ticks that this process has seen, at most one per turn of
 * the loop: a process that was stopped itself does not conclude that all its
 * counterparts are silent. */
#define TICK_MS 250u

#define REMOTE_BYTES_MAX 64u

enum link_state {
	LINK_WAITING,
	LINK_DIALING,
	LINK_GREETING,
	LINK_UP,
	LINK_ENDING,
	LINK_DEAD
};

struct link {
	struct links *ls;
	struct link *next;
	const struct link_ops *ops;
	void *arg;

	enum link_state state;
	unsigned ticks;    /* in this state */
	unsigned rx_ticks; /* since something came */
	unsigned tx_ticks; /* since something was sent */

	bool dialed;
	struct listener *listener; /* accepted; NULL: dialed */
	char *name; /* in log lines; accepted: known after HELLO */
	char *url;  /* dialed: to dial; accepted: of the listener */
	unsigned expect_mask;
	char remote[REMOTE_BYTES_MAX]; /* accepted: with port */
	char host[REMOTE_BYTES_MAX];   /* accepted: without */

	struct link_attempt *attempt; /* DIALING */
	struct loop_timer redial;     /* WAITING */
	uint32_t redial_ms;
	bool told_waiting; /* "link waiting" was logged in this outage */
	/* Short lives in a row: of this link, or of all that its listener
	 * accepted. */
	unsigned *flaps;
	unsigned own_flaps;

	struct link_stream *stream; /* GREETING and UP */
	uint64_t my_epoch;          /* as in our HELLO */
	struct msg_hello theirs;    /* valid while peer_known */
	bool peer_known;
	struct mono up_since;
	const char *doomed; /* why it is closed at the next links_take() */

	struct buf work; /* arrived, not yet whole frames */
	struct buf fill; /* frames since the last links_flush() */
	struct wire wire;
	bool open; /* between link_begin() and link_end() */
	uint8_t open_type;
	size_t open_at;
};

struct listener {
	struct links *ls;
	struct listener *next;
	struct link_listener *nng;
	char *url;
	unsigned expect_mask;
	const struct link_ops *ops;
	void *arg;
	struct loop_timer retry; /* after a failed accept */
	bool failed;
	unsigned accepted; /* its connections, HELLO or not */
	unsigned flaps;    /* as in struct link */
};

/* A connection that is over and waits to be freed: links_discard(). */
struct link_grave {
	struct link_grave *next;
	struct link_stream *stream;   /* or NULL */
	struct link_attempt *attempt; /* or NULL */
};

struct links {
	struct loop *loop; /* borrowed */
	enum msg_process self;
	struct loop_timer tick;
	bool ticked;   /* since the last links_take() */
	unsigned busy; /* callbacks may be running: nothing is freed */
	struct link *all;
	struct listener *listeners;
	struct link_grave *graves;
	struct link_complaints complaints;
	gid_t group; /* of the node's sockets; LINK_NO_GROUP: one user only */
};

/* ---- link_share.c ---- */

/* The socket of url, just made, becomes the group's if there is one.  0, or a
 * sysexits code after one logged line. */
int links_give(const struct links *ls, const char *url);

/* ---- link_life.c ---- */

/* A dial begins: now, not after the redial delay. */
void link_begin_dialing(struct link *l);
/* A connection is there: our HELLO goes out, theirs is awaited. */
void link_begin_greeting(struct link *l, struct link_stream *s);
void link_on_redial(void *arg, struct mono now); /* the timer's */
/* Theirs was taken, the link is up. */
void link_log_up(struct link *l);
/* One line, at most once a minute per counterpart, about a connection that
 * did not become a link. */
void link_complain(struct link *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The connection is over.  A dialed link dials again after its delay, or after
 * the longest one when trying again at once is known to be useless. */
void link_lose(struct link *l, const char *reason, bool useless);
/* A dial failed, or a connection ended before HELLO: said once per outage. */
void link_lose_unknown(struct link *l, const char *reason);
/* Close them; NULL is allowed.  They are freed now, or in a later turn of the
 * loop's own thread: links_bury(), which waits at the end of everything. */
void links_discard(
    struct links *ls, struct link_stream *s, struct link_attempt *a);
void links_bury(struct links *ls, bool wait);
/* Free what the connection has; then the link is dead.  No callback. */
void link_drop_connection(struct link *l);
void link_bury(struct link *l);
void links_reap(struct links *ls); /* free the dead, unless busy */

/* ---- link_take.c ---- */

/* Handle what has arrived for this link.  ticked: a tick has passed. */
void link_take(struct link *l, bool ticked);

#endif
