/* Links: framed message streams between processes of a node (ipc://) and
 * between nodes (tcp://).  Only link_stream.c and link_connect.c know nng.
 *
 * A link is one nng stream.  Both ends send HELLO first; no other message is
 * handled before that, and none from a process that may not send it, with a
 * wrong checksum, version or length: the link is closed and one line logged
 * (the same complaint about the same address at most once a minute).  A dialed
 * link is for ever: it dials again, with a fresh dialer per attempt, whenever
 * it is down.  An accepted one ends with its connection.
 *
 * A message that was sent is not delivered: when a link goes down everything
 * queued on it is dropped, and whoever needs it asks again after `up`.
 *
 * Every call and every callback is in a turn of the loop.  nng's callbacks only
 * move bytes and poke the loop (base/loop.h): perhaps it is on nng's thread
 * that the turn is done then. */
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "proto/err.h"
#include "proto/msg.h"
#include "proto/wire.h"

struct links; /* all links of a process */
struct link;

/* What the owner of a link does; arg is the one given to dial or listen.
 * None of these may call link_close() on the link it is called for: return an
 * error instead. */
struct link_ops {
	/* Fill in our HELLO: epoch, cluster, node, applied...  magic, protocol,
	 * process and version are already there. */
	void (*hello)(void *arg, struct msg_hello *mine);
	/* Their HELLO is here and well-formed.  OK: the link is up.  Anything
	 * else is told to them (BYE) and closes it; what and what to do is
	 * logged by the callee. */
	enum err (*up)(
	    void *arg, struct link *l, const struct msg_hello *theirs);
	/* A link that was up is down: once for each up that said OK.  An
	 * accepted link is gone after this. */
	void (*down)(void *arg, struct link *l);
	/* One message, of a legal type for the two ends.  Its bytes are valid
	 * during the call.  Anything but OK closes the link with a log line. */
	enum err (*take)(
	    void *arg, struct link *l, uint8_t type, struct wire *body);
	/* They have refused our HELLO, for this reason; `down` follows.  May
	 * be NULL. */
	void (*refused)(void *arg, struct link *l, enum err code);
};

/* All links of this process.  The loop is poked when something has arrived;
 * links_take() is called in its turns. */
struct links *links_open(struct loop *loop, enum msg_process self);
/* Hands what is queued to the kernel, for at most flush_ms, then closes and
 * frees everything.  Calls no op.  NULL is allowed. */
void links_close(struct links *ls, unsigned flush_ms);

/* Before the first listen or dial: the node's processes run as several users
 * who share this group (link_share.c); NULL: as one user.  0, or EX_CONFIG
 * after one logged line if there is no such group. */
int links_share(struct links *ls, const char *group);

/* Listen on url.  expect_mask has bit (1 << MSG_X) for each process that may
 * connect (checked against HELLO); two listeners never share a url.  ipc
 * sockets get mode, and peers of another user id than ours or root are refused
 * (but see links_share()).
 * 0, or a sysexits code after one logged line (EX_UNAVAILABLE: address in use;
 * EX_USAGE: bad url; EX_NOPERM). */
int links_listen(struct links *ls, const char *url, unsigned expect_mask,
    unsigned mode, const struct link_ops *ops, void *arg);

/* Dial url until link_close().  name appears in log lines ("kvd", "node 2"). */
struct link *links_dial(struct links *ls, const char *url,
    enum msg_process expect, const char *name, const struct link_ops *ops,
    void *arg);
/* Dialed or accepted; NULL is allowed.  If it was up, its `down` is called from
 * here.  Allowed in the callbacks of other links. */
void link_close(struct link *l);

/* Handle all that has arrived, went up or down: calls the ops above. */
void links_take(struct links *ls);
/* Send what was queued since the last call: one send per link.  The main loop
 * calls this last in each turn. */
void links_flush(struct links *ls);

/* Begin a message; the caller encodes its body with the wire given (msg.h),
 * then ends it.  NULL when the link is not up (then no link_end).  link_end()
 * asserts that the body was encoded without error and fits into a frame. */
struct wire *link_begin(struct link *l, enum msg_type type);
void link_end(struct link *l);

bool link_is_up(const struct link *l);   /* HELLO exchanged; NULL: false */
bool link_is_full(const struct link *l); /* over half of LINK_QUEUE_BYTES_MAX */
size_t link_queued_bytes(const struct link *l);
/* Their HELLO, while the link is up and in `down`; else NULL. */
const struct msg_hello *link_peer(const struct link *l);
/* For what the owner logs about a counterpart: true at most once a minute per
 * address.  A dialed link that is refused dials again four times a second. */
bool link_may_complain(struct link *l);

#endif
