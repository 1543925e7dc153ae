/* One routine per message; see joinmsg.h. */
#include "raftd/joinmsg.h"

#define MEMBERS_BYTES_MAX 65536u

enum err
joinmsg_ask_wire(struct wire *w, struct joinmsg_ask *m)
{
	wire_u64(w, &m->id);
	wire_require(w, m->id >= 1 && m->id <= NODE_ID_MAX);
	wire_u64(w, &m->incarnation);
	wire_require(w, m->incarnation != 0);
	return wire_end(w);
}

enum err
joinmsg_answer_wire(struct wire *w, struct joinmsg_answer *m)
{
	wire_u8(w, &m->code);
	wire_u64(w, &m->cluster);
	wire_text(w, m->why, sizeof(m->why));
	wire_bytes(w, &m->members, MEMBERS_BYTES_MAX);
	return wire_end(w);
}
