/* Commands as they stand in log entries: a batch, made by one turn of one
 * httpd's loop, is one entry.  Everything that a command does is determined by
 * the state and the entry alone.
 *
 * (node, epoch) names the session, seq the batch in it.  An httpd that does
 * not know whether a batch was proposed proposes it again, byte for byte; kvd
 * applies a seq once.  done_below: all batches of the session with a smaller
 * seq are answered or given up; they are never applied from here on. */
#ifndef PROTO_CMD_H
#define PROTO_CMD_H

#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "proto/limits.h"
#include "proto/wire.h"

#define CMD_FORMAT 1u

struct cmd_batch {
	uint8_t format; /* CMD_FORMAT */
	uint64_t node;  /* origin: node id, */
	uint64_t epoch; /* epoch of its httpd */
	uint64_t seq;   /* 1.. */
	uint64_t done_below;
	uint32_t count; /* commands that follow: 1..BATCH_COMMANDS_MAX */
};

enum cmd_op {
	CMD_PUT = 1,
	CMD_DELETE = 2,
	CMD_CHECK = 3 /* changes nothing: do you have this hash too? */
};

enum cmd_if {
	CMD_ALWAYS = 0,
	CMD_IF_REVISION = 1, /* the key exists with mod_revision if_revision */
	CMD_IF_ABSENT = 2,   /* there is no such key */
	CMD_IF_PRESENT = 3
};

/* What a node's state machine was: every other one compares it with what it
 * had itself at that index. */
struct cmd_check {
	uint64_t node;
	uint64_t index;      /* applied, below that of this entry */
	struct hash128 hash; /* the state hash there */
};

struct cmd {
	uint8_t op;   /* enum cmd_op */
	uint8_t when; /* enum cmd_if; if it does not hold: PRECONDITION */
	uint64_t if_revision;   /* on the wire only for CMD_IF_REVISION */
	struct bytes key;       /* 1..KEY_BYTES_MAX; none for CMD_CHECK */
	struct bytes value;     /* on the wire for CMD_PUT; ..VALUE_BYTES_MAX */
	struct cmd_check check; /* on the wire for CMD_CHECK, always */
};

/* Decoding checks every range above. */
void cmd_batch_wire(struct wire *w, struct cmd_batch *m); /* the head */
void cmd_wire(struct wire *w, struct cmd *m);

#endif
