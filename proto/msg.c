/* The message table as functions, and one layout routine per body.  What a
 * routine requires of a field is required of both ends: of what is decoded
 * (else ERR_MALFORMED) and of what we encode (else our own bug). */
#include "proto/msg.h"

/* Bytes of the smallest item of each list, against counts that lie. */
#define READ_ITEM_BYTES_MIN (4u + 1u + 8u)
#define COMMIT_ITEM_BYTES_MIN (8u + 1u + 4u)
#define REPLY_ITEM_BYTES_MIN (1u + 8u + 8u + 4u)
#define ASK_ITEM_BYTES_MIN 8u
#define PEER_ITEM_BYTES_MIN (8u + 4u + 1u + 1u + 8u + 1u)

struct msg_row {
	const char *name;
	enum msg_process from;
	enum msg_process to;
};

static const struct msg_row rows[] = {
#define MSG_ROW(name, nr, from, to) [nr] = {#name, MSG_##from, MSG_##to},
    MSG_TABLE(MSG_ROW)
#undef MSG_ROW
};

static const struct msg_row *
find(uint8_t type)
{
	if (type >= sizeof(rows) / sizeof(rows[0]) || rows[type].name == NULL)
		return NULL;
	return &rows[type];
}

const char *
msg_name(uint8_t type)
{
	const struct msg_row *row = find(type);

	return row != NULL ? row->name : "?";
}

const char *
msg_process_name(uint8_t proc)
{
	static const char *const names[] = {
	    [MSG_ANY] = "any",
	    [MSG_HTTPD] = "httpd",
	    [MSG_RAFTD] = "raftd",
	    [MSG_KVD] = "kvd",
	};

	return proc < sizeof(names) / sizeof(names[0]) ? names[proc] : "?";
}

bool
msg_legal(uint8_t type, enum msg_process from, enum msg_process to)
{
	const struct msg_row *row = find(type);

	if (row == NULL)
		return false;
	return (row->from == MSG_ANY || row->from == from) &&
	       (row->to == MSG_ANY || row->to == to);
}

/* magic and protocol stand first in every version to come: a HELLO of another
 * protocol is recognised, and the rest of it not looked at. */
enum err
msg_hello_wire(struct wire *w, struct msg_hello *m)
{
	wire_u64(w, &m->magic);
	wire_require(w, m->magic == MSG_MAGIC);
	wire_u16(w, &m->protocol);
	if (w->mode == WIRE_DECODE && wire_err(w) == ERR_OK &&
	    m->protocol != MSG_PROTOCOL)
		return ERR_VERSION;
	wire_u8(w, &m->process);
	wire_require(w, m->process >= MSG_HTTPD && m->process <= MSG_KVD);
	wire_u64(w, &m->epoch);
	wire_u64(w, &m->cluster);
	wire_u64(w, &m->node);
	wire_u64(w, &m->incarnation);
	wire_u64(w, &m->applied);
	wire_u64(w, &m->durable);
	wire_text(w, m->version, sizeof(m->version));
	wire_text(w, m->engine, sizeof(m->engine));
	return wire_end(w);
}

enum err
msg_propose_wire(struct wire *w, struct msg_propose *m)
{
	wire_u64(w, &m->seq);
	wire_u32(w, &m->attempt);
	wire_bytes(w, &m->entry, ENTRY_BYTES_MAX);
	wire_require(w, m->entry.len >= 1);
	return wire_end(w);
}

void
msg_read_wire(struct wire *w, struct msg_read *m)
{
	wire_u64(w, &m->epoch);
	wire_u64(w, &m->seq);
	wire_u32(w, &m->attempt);
	wire_count(w, &m->count, READ_ITEM_BYTES_MIN);
}

void
msg_read_item_wire(struct wire *w, struct msg_read_item *m)
{
	wire_bytes(w, &m->key, KEY_BYTES_MAX);
	wire_require(w, m->key.len >= 1);
	wire_u64(w, &m->known_revision);
}

enum err
msg_refuse_wire(struct wire *w, struct msg_refuse *m)
{
	wire_u8(w, &m->what);
	wire_require(
	    w, m->what == MSG_REFUSED_PROPOSE || m->what == MSG_REFUSED_READ);
	wire_u8(w, &m->code);
	wire_u64(w, &m->seq);
	wire_u32(w, &m->attempt);
	wire_u64(w, &m->leader);
	return wire_end(w);
}

void
msg_commit_wire(struct wire *w, struct msg_commit *m)
{
	wire_u64(w, &m->first);
	wire_count(w, &m->count, COMMIT_ITEM_BYTES_MIN);
	wire_require(w, m->count >= 1);
}

void
msg_commit_item_wire(struct wire *w, struct msg_commit_item *m)
{
	wire_u64(w, &m->term);
	wire_u8(w, &m->type);
	wire_bytes(w, &m->data, ENTRY_BYTES_MAX);
}

enum err
msg_applied_wire(struct wire *w, struct msg_applied *m)
{
	wire_u64(w, &m->applied);
	wire_u64(w, &m->durable);
	return wire_end(w);
}

void
msg_reply_wire(struct wire *w, struct msg_reply *m)
{
	wire_u8(w, &m->to);
	wire_require(w, m->to == MSG_REPLY_PROPOSE || m->to == MSG_REPLY_READ);
	wire_u64(w, &m->seq);
	wire_u64(w, &m->revision);
	wire_u64(w, &m->applied);
	wire_count(w, &m->count, REPLY_ITEM_BYTES_MIN);
}

void
msg_reply_item_wire(struct wire *w, struct msg_reply_item *m)
{
	wire_u8(w, &m->code);
	wire_u64(w, &m->revision);
	wire_u64(w, &m->length);
	wire_bytes(w, &m->value, VALUE_BYTES_MAX);
}

void
msg_ask_wire(struct wire *w, struct msg_ask *m)
{
	wire_u64(w, &m->epoch);
	wire_count(w, &m->count, ASK_ITEM_BYTES_MIN);
}

void
msg_ask_item_wire(struct wire *w, uint64_t *seq)
{
	wire_u64(w, seq);
}

enum err
msg_status_ask_wire(struct wire *w, struct msg_status_ask *m)
{
	wire_u64(w, &m->token);
	return wire_end(w);
}

void
msg_raft_status_wire(struct wire *w, struct msg_raft_status *m)
{
	wire_u64(w, &m->token);
	wire_u64(w, &m->cluster);
	wire_u64(w, &m->node);
	wire_u64(w, &m->leader);
	wire_u64(w, &m->term);
	wire_u8(w, &m->role);
	wire_require(w, m->role <= MSG_ROLE_LEARNER);
	wire_u64(w, &m->first);
	wire_u64(w, &m->last);
	wire_u64(w, &m->commit);
	wire_u64(w, &m->applied);
	wire_u64(w, &m->snapshot);
	wire_bool(w, &m->kvd_connected);
	wire_u64(w, &m->members_index);
	wire_count(w, &m->count, PEER_ITEM_BYTES_MIN);
}

void
msg_peer_item_wire(struct wire *w, struct msg_peer_item *m)
{
	wire_u64(w, &m->node);
	wire_text(w, m->address, sizeof(m->address));
	wire_u8(w, &m->member);
	wire_require(w, m->member <= MSG_MEMBER_OUTGOING);
	wire_bool(w, &m->promote);
	wire_u64(w, &m->replaces);
	wire_bool(w, &m->connected);
	wire_u64(w, &m->match);
	wire_u8(w, &m->state);
}

enum err
msg_snap_ask_wire(struct wire *w, struct msg_snap_ask *m)
{
	wire_u64(w, &m->id);
	wire_u32(w, &m->window);
	return wire_end(w);
}

enum err
msg_snap_head_wire(struct wire *w, struct msg_snap_head *m)
{
	wire_u64(w, &m->id);
	wire_u64(w, &m->index);
	wire_u64(w, &m->term);
	wire_u64(w, &m->cluster);
	wire_u64(w, &m->revision);
	wire_u64(w, &m->keys);
	wire_u64(w, &m->bytes);
	wire_u64(w, &m->hash.lo);
	wire_u64(w, &m->hash.hi);
	return wire_end(w);
}

enum err
msg_snap_data_wire(struct wire *w, struct msg_snap_data *m)
{
	wire_u64(w, &m->id);
	wire_u32(w, &m->number);
	wire_bool(w, &m->last);
	wire_bytes(
	    w, &m->data, SNAP_CHUNK_BYTES_SOFT + ENGINE_RECORD_BYTES_MAX);
	return wire_end(w);
}

enum err
msg_control_wire(struct wire *w, struct msg_control *m)
{
	wire_u64(w, &m->token);
	wire_u8(w, &m->order);
	wire_u64(w, &m->id);
	wire_u64(w, &m->old);
	wire_bool(w, &m->promote);
	wire_bool(w, &m->force);
	wire_text(w, m->address, sizeof(m->address));
	return wire_end(w);
}

enum err
msg_controlled_wire(struct wire *w, struct msg_controlled *m)
{
	wire_u64(w, &m->token);
	wire_u8(w, &m->code);
	wire_u64(w, &m->index);
	wire_u64(w, &m->id);
	wire_text(w, m->why, sizeof(m->why));
	return wire_end(w);
}

enum err
msg_bye_wire(struct wire *w, struct msg_bye *m)
{
	wire_u8(w, &m->code);
	return wire_end(w);
}

enum err
msg_metrics_wire(struct wire *w, struct msg_metrics *m)
{
	wire_u64(w, &m->token);
	wire_bytes(w, &m->text, METRICS_BYTES_MAX);
	return wire_end(w);
}

enum err
msg_kv_status_wire(struct wire *w, struct msg_kv_status *m)
{
	wire_u64(w, &m->token);
	wire_u64(w, &m->applied);
	wire_u64(w, &m->durable);
	wire_u64(w, &m->revision);
	wire_u64(w, &m->keys);
	wire_u64(w, &m->bytes);
	wire_u64(w, &m->hash.lo);
	wire_u64(w, &m->hash.hi);
	wire_text(w, m->engine, sizeof(m->engine));
	wire_bool(w, &m->diverged);
	wire_u64(w, &m->diverged_index);
	return wire_end(w);
}
