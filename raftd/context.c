/* See context.h, which has the layout. */
#include "raftd/context.h"

#include <assert.h>
#include <string.h>

#include "proto/wire.h"
#include "raftd/wal_format.h"

#define FORMAT 1u

static enum err
context_wire(struct wire *w, struct context *c)
{
	uint8_t format = FORMAT;

	wire_u8(w, &format);
	wire_require(w, format == FORMAT);
	wire_u64(w, &c->token);
	wire_u32(w, &c->count);
	wire_require(w, c->count <= NODES_MAX);
	for (uint32_t i = 0; wire_err(w) == ERR_OK && i < c->count; i++)
		wal_member_wire(w, &c->members[i]);
	return wire_end(w);
}

void
context_encode(const struct context *c, struct buf *out)
{
	struct context copy = *c;
	struct wire w;
	enum err e;

	wire_encode(&w, out);
	e = context_wire(&w, &copy);
	assert(e == ERR_OK);
}

enum err
context_decode(struct bytes in, struct context *c)
{
	struct wire w;

	memset(c, 0, sizeof(*c));
	wire_decode(&w, in);
	if (context_wire(&w, c) == ERR_OK)
		return ERR_OK;
	memset(c, 0, sizeof(*c));
	return ERR_MALFORMED;
}
