/* What the files of the peers share; all others see raftd.h.
 *
 *   peer.c        who they are: dialed, moved, hung up on when they are removed
 *   peer_hello.c  who is let in, and who has refused this node
 *   peer_in.c     what they send
 *   peer_out.c    what is sent to them
 *
 * The same links as within a node, over TCP, one stream per direction.  Each
 * node dials every other one and sends on that link; what comes in on an
 * accepted link are their messages to us (only BEATs go back on it). */
#ifndef RAFTD_PEER_IMPL_H
#define RAFTD_PEER_IMPL_H

#include "raftd/echo.h"
#include "raftd/hold.h"
#include "raftd/raftd.h"
#include "raftd/strangers.h"

struct peer {
	struct peer *next;
	struct raftd *rd;
	uint64_t id;
	char address[ADDRESS_BYTES_MAX + 1];
	struct link *out;                 /* NULL: its address is not known */
	struct link *out_next;            /* to its new address; NULL: none */
	struct link *ins[PEER_LINKS_MAX]; /* accepted of this node, up */
	unsigned in;                      /* how many of them */
	uint64_t incarnation; /* of its raft directory; 0: not seen yet */
	bool missed;          /* a message was dropped since the last report */
	struct hold hold;
	uint64_t dropped; /* messages in all; the rest is of bytes */
	uint64_t sent_bytes, received_bytes;
	struct echo echo;
	enum err word; /* why it has refused this node; OK: it has not */
	bool gone;     /* removed */
	struct mono gone_at;
	uint64_t gone_index; /* of the change */
};

struct peers {
	struct raftd *rd;
	struct peer *list;
	bool some_gone, some_move;
	unsigned joining; /* accepted links of nodes that want to join */
	struct strangers strangers;
	char listens[ADDRESS_BYTES_MAX + 1];
	struct loop_timer campaign;
	struct loop_timer release; /* of what is held */
	bool release_set;
	struct mono ping_at;
};

/* NULL: not known. */
struct peer *peers_find(const struct peers *ps, uint64_t id);

/* ---- peer_hello.c ---- */

/* After peers_check_hello(), the same for those whose directories are not
 * recorded yet. */
enum err peer_check_incarnation(
    struct peer *p, struct link *l, const struct msg_hello *theirs);
/* The node at the other end has refused this one. */
void peers_note_word(struct raftd *rd, struct link *l, enum err code);

/* ---- peer_in.c ---- */

void peers_in_init(struct peers *ps);
void peers_in_stop(struct peers *ps);
/* 0 or a sysexits code. */
int peers_listen(struct peers *ps, const char *address);

/* ---- peer_out.c ---- */

void peers_out_init(struct peers *ps);
void peers_out_stop(struct peers *ps);
/* The peer is at that address from now on.  NULL: it is no address. */
struct link *peer_dial(struct peer *p, const char *address);

#endif
