/* The bodies of JOIN_ASK and JOIN_ANSWER: see join.h.  Layout byte by byte in
 * proto/PROTOCOL.md. */
#ifndef RAFTD_JOINMSG_H
#define RAFTD_JOINMSG_H

#include "proto/wire.h"
#include "raftd/wal.h"

struct joinmsg_ask {
	uint64_t id;          /* of the node that asks */
	uint64_t incarnation; /* of the directory that it is about to make */
};

struct joinmsg_answer {
	uint8_t code; /* enum err: OK, NO_SUCH_MEMBER: not yet; or why not */
	uint64_t cluster;
	char why[512];        /* unless OK: for people */
	struct bytes members; /* OK: as a CONF record's payload, WAL.md */
};

enum err joinmsg_ask_wire(struct wire *w, struct joinmsg_ask *m);
enum err joinmsg_answer_wire(struct wire *w, struct joinmsg_answer *m);

#endif
