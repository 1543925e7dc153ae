/* Layout of a batch of commands, as it stands in log entries: on disk and on
 * the wires of a cluster, so it can be extended but never changed.
 *
 *   batch: u8 format, u64 node, u64 epoch, u64 seq, u64 done_below, u32 count
 *   command: u8 op, u8 when, [u64 if_revision], u32+key, [u32+value]
 *   check: u8 op, u8 when, u64 node, u64 index, u64 hash.lo, u64 hash.hi */
#include "proto/cmd.h"

#define CMD_BYTES_MIN (1u + 1u + 4u + 1u) /* a delete of a one-byte key */

void
cmd_batch_wire(struct wire *w, struct cmd_batch *m)
{
	wire_u8(w, &m->format);
	wire_require(w, m->format == CMD_FORMAT);
	wire_u64(w, &m->node);
	wire_u64(w, &m->epoch);
	wire_u64(w, &m->seq);
	wire_require(w, m->seq >= 1);
	wire_u64(w, &m->done_below);
	wire_count(w, &m->count, CMD_BYTES_MIN);
	wire_require(w, m->count >= 1 && m->count <= BATCH_COMMANDS_MAX);
}

static void
check_wire(struct wire *w, struct cmd *m)
{
	struct cmd_check *c = &m->check;

	wire_require(w, m->when == CMD_ALWAYS);
	wire_u64(w, &c->node);
	wire_u64(w, &c->index);
	wire_u64(w, &c->hash.lo);
	wire_u64(w, &c->hash.hi);
}

void
cmd_wire(struct wire *w, struct cmd *m)
{
	if (w->mode == WIRE_DECODE)
		*m = (struct cmd){0};
	wire_u8(w, &m->op);
	wire_require(w, m->op >= CMD_PUT && m->op <= CMD_CHECK);
	wire_u8(w, &m->when);
	wire_require(w, m->when <= CMD_IF_PRESENT);
	if (m->op == CMD_CHECK) {
		check_wire(w, m);
		return;
	}
	if (m->when == CMD_IF_REVISION)
		wire_u64(w, &m->if_revision);
	wire_bytes(w, &m->key, KEY_BYTES_MAX);
	wire_require(w, m->key.len >= 1);
	if (m->op == CMD_PUT)
		wire_bytes(w, &m->value, VALUE_BYTES_MAX);
}
