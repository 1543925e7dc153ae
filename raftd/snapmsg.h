/* The bodies of SNAP_OFFER, SNAP_WANT and SNAP_PIECE: see transfer.h.  Layout
 * byte by byte in proto/PROTOCOL.md. */
#ifndef RAFTD_SNAPMSG_H
#define RAFTD_SNAPMSG_H

#include "proto/wire.h"
#include "raftd/snapfile.h"

struct snapmsg_offer {
	struct snapfile_id id;
	uint32_t number;   /* of this offer in its transfer, from 1 on */
	struct bytes raft; /* a MsgSnap as in rmsg.h; empty: was asked for */
};

enum snapmsg_what {
	SNAPMSG_ASK = 1,    /* offer me one as of id.index or later */
	SNAPMSG_FROM = 2,   /* of file id: all before offset is written here */
	SNAPMSG_DONE = 3,   /* it is here, whole */
	SNAPMSG_REFUSED = 4 /* not wanted, not now, or damaged: code */
};
struct snapmsg_want {
	uint8_t what; /* enum snapmsg_what */
	struct snapfile_id id;
	uint32_t number; /* of the last offer seen; ASK: 0 */
	uint64_t offset;
	uint8_t code; /* enum err */
};

struct snapmsg_piece {
	uint64_t checksum; /* the file's, as in its id */
	uint64_t offset;
	struct bytes data; /* 1..SNAP_PIECE_BYTES */
};

enum err snapmsg_offer_wire(struct wire *w, struct snapmsg_offer *m);
enum err snapmsg_want_wire(struct wire *w, struct snapmsg_want *m);
enum err snapmsg_piece_wire(struct wire *w, struct snapmsg_piece *m);

#endif
