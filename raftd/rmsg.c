/* One routine per part of a raft_msg; see rmsg.h. */
#include "raftd/rmsg.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "proto/limits.h"

#define CONTEXT_BYTES_MAX 4096u
#define SNAPSHOT_BYTES_MAX (1u << 20) /* the description, not the data */
/* The least an entry takes on the wire: term, index, type, length. */
#define ENTRY_BYTES_LEAST 21u

/* A blob that may be absent: no bytes and no blob are the same. */
static void
blob_wire(struct wire *w, struct blob **bp, size_t max)
{
	struct bytes b = blob_bytes(*bp);

	wire_bytes(w, &b, max);
	if (w->mode == WIRE_DECODE)
		*bp = wire_err(w) == ERR_OK && b.len > 0
			  ? blob_new(b.data, b.len)
			  : NULL;
}

static void
entry_wire(struct wire *w, struct raft_entry *e)
{
	uint8_t type = (uint8_t)e->type;

	wire_u64(w, &e->term);
	wire_u64(w, &e->index);
	wire_u8(w, &type);
	blob_wire(w, &e->data, ENTRY_BYTES_MAX);
	if (w->mode == WIRE_DECODE) {
		if (type > RAFT_ENTRY_CONF_CHANGE_V2)
			w->err = ERR_MALFORMED;
		e->type = (enum raft_entry_type)type;
	}
}

static void
entries_wire(struct wire *w, struct raft_msg *m)
{
	uint32_t count = (uint32_t)m->entry_count;

	wire_u32(w, &count);
	if (w->mode == WIRE_DECODE) {
		if (wire_err(w) != ERR_OK || count == 0)
			return;
		if (count > w->left / ENTRY_BYTES_LEAST) {
			w->err = ERR_MALFORMED;
			return;
		}
		m->entries = mem_zalloc(count, sizeof(m->entries[0]));
		m->entry_count = count;
	}
	for (size_t i = 0; i < count && wire_err(w) == ERR_OK; i++)
		entry_wire(w, &m->entries[i]);
}

static void
ids_wire(struct wire *w, struct raft_ids *ids)
{
	wire_u32(w, &ids->count);
	if (ids->count > RAFT_IDS_MAX) {
		assert(w->mode == WIRE_DECODE);
		w->err = ERR_MALFORMED;
		ids->count = 0;
		return;
	}
	for (uint32_t i = 0; i < ids->count; i++) {
		wire_u64(w, &ids->id[i]);
		/* A set: ascending, without doubles, without 0. */
		if (w->mode == WIRE_DECODE &&
		    ids->id[i] <= (i > 0 ? ids->id[i - 1] : 0))
			w->err = ERR_MALFORMED;
	}
}

static void
snapshot_wire(struct wire *w, struct raft_msg *m)
{
	bool there = m->snapshot != NULL;
	struct raft_snapshot *s;

	wire_bool(w, &there);
	if (!there || wire_err(w) != ERR_OK)
		return;
	if (w->mode == WIRE_DECODE)
		m->snapshot = mem_zalloc(1, sizeof(*m->snapshot));
	s = m->snapshot;
	wire_u64(w, &s->index);
	wire_u64(w, &s->term);
	ids_wire(w, &s->conf.voters);
	ids_wire(w, &s->conf.learners);
	ids_wire(w, &s->conf.voters_outgoing);
	ids_wire(w, &s->conf.learners_next);
	wire_bool(w, &s->conf.auto_leave);
	blob_wire(w, &s->data, SNAPSHOT_BYTES_MAX);
}

static void
rmsg_wire(struct wire *w, struct raft_msg *m)
{
	uint8_t type = (uint8_t)m->type;

	wire_u8(w, &type);
	m->type = (enum raft_msg_type)type;
	wire_u64(w, &m->to);
	wire_u64(w, &m->from);
	wire_u64(w, &m->term);
	wire_u64(w, &m->log_term);
	wire_u64(w, &m->index);
	wire_u64(w, &m->commit);
	wire_bool(w, &m->reject);
	wire_u64(w, &m->reject_hint);
	blob_wire(w, &m->context, CONTEXT_BYTES_MAX);
	entries_wire(w, m);
	snapshot_wire(w, m);
}

void
rmsg_encode(struct wire *w, const struct raft_msg *m)
{
	struct raft_msg copy = *m; /* shallow: encoding changes nothing */

	rmsg_wire(w, &copy);
}

enum err
rmsg_decode(struct wire *w, struct raft_msg *m)
{
	struct raft_msg got;
	enum err err;

	memset(&got, 0, sizeof(got));
	rmsg_wire(w, &got);
	err = wire_end(w);
	if (err == ERR_OK && got.type > RAFT_MSG_FORGET_LEADER)
		err = ERR_MALFORMED;
	if (err != ERR_OK) {
		raft_msg_free(&got);
		return err;
	}
	*m = got;
	return ERR_OK;
}
