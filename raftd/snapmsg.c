/* One routine per message; see snapmsg.h. */
#include "raftd/snapmsg.h"

#define RAFT_BYTES_MAX                                                         \
	(2u << 20) /* a MsgSnap: the description of a snapshot                 \
		    */

static void
id_wire(struct wire *w, struct snapfile_id *id)
{
	wire_u64(w, &id->index);
	wire_u64(w, &id->term);
	wire_u64(w, &id->bytes);
	wire_u64(w, &id->checksum);
}

enum err
snapmsg_offer_wire(struct wire *w, struct snapmsg_offer *m)
{
	id_wire(w, &m->id);
	wire_require(w, m->id.index > 0);
	wire_u32(w, &m->number);
	wire_bytes(w, &m->raft, RAFT_BYTES_MAX);
	return wire_end(w);
}

enum err
snapmsg_want_wire(struct wire *w, struct snapmsg_want *m)
{
	wire_u8(w, &m->what);
	wire_require(w, m->what >= SNAPMSG_ASK && m->what <= SNAPMSG_REFUSED);
	id_wire(w, &m->id);
	wire_u32(w, &m->number);
	wire_u64(w, &m->offset);
	wire_u8(w, &m->code);
	return wire_end(w);
}

enum err
snapmsg_piece_wire(struct wire *w, struct snapmsg_piece *m)
{
	wire_u64(w, &m->checksum);
	wire_u64(w, &m->offset);
	wire_bytes(w, &m->data, SNAP_PIECE_BYTES);
	wire_require(w, m->data.len > 0);
	return wire_end(w);
}
