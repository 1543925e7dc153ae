/* The state machine a second time, as small as can be: it applies the committed
 * log and knows what every node's kvd must hold after each index, and what
 * became of every operation of our clients. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "proto/cmd.h"
#include "tests/sim/sim.h"

struct key_model {
	bool exists;
	uint64_t create, mod, version;
	size_t len;
	uint64_t hash; /* of the value */
};

/* Which batches of an httpd are applied. */
struct session_model {
	uint64_t node, epoch, done_below;
	bool *applied; /* by seq */
	size_t cap;
};

struct point { /* after an index */
	struct model_state st;
	bool hashed;
	struct hash128 hash; /* as the first kvd there had it */
	unsigned node;
};

static struct key_model keys[SIM_KEYS_MAX];
static struct model_state state;
static struct session_model *sessions;
static size_t session_count, session_cap;
static struct point *points; /* [i]: after index i */
static uint64_t point_count, point_cap;

static struct point *
point_new(void)
{
	if (point_count == point_cap) {
		point_cap = point_cap == 0 ? 1024 : point_cap * 2;
		points = realloc(points, point_cap * sizeof(points[0]));
		assert(points != NULL);
	}
	memset(&points[point_count], 0, sizeof(points[0]));
	return &points[point_count++];
}

void
model_reset(void)
{
	for (size_t i = 0; i < session_count; i++)
		free(sessions[i].applied);
	free(sessions);
	sessions = NULL;
	session_count = session_cap = 0;
	free(points);
	points = NULL;
	point_count = point_cap = 0;
	memset(keys, 0, sizeof(keys));
	memset(&state, 0, sizeof(state));
	(void)point_new(); /* before the first entry */
}

/* ---- sessions ---- */

static struct session_model *
session_of(uint64_t node, uint64_t epoch)
{
	struct session_model *s;

	for (size_t i = 0; i < session_count; i++)
		if (sessions[i].node == node && sessions[i].epoch == epoch)
			return &sessions[i];
	if (session_count == session_cap) {
		session_cap = session_cap == 0 ? 16 : session_cap * 2;
		sessions = realloc(sessions, session_cap * sizeof(*sessions));
		assert(sessions != NULL);
	}
	s = &sessions[session_count++];
	*s = (struct session_model){.node = node, .epoch = epoch};
	return s;
}

/* Is this the first time, and not given up? */
static bool
session_admit(struct session_model *s, uint64_t seq)
{
	if (seq < s->done_below)
		return false;
	if (seq >= s->cap) {
		size_t cap = (size_t)seq * 2 + 64;

		s->applied = realloc(s->applied, cap * sizeof(bool));
		assert(s->applied != NULL);
		memset(s->applied + s->cap, 0, (cap - s->cap) * sizeof(bool));
		s->cap = cap;
	}
	if (s->applied[seq])
		return false;
	s->applied[seq] = true;
	return true;
}

/* ---- commands ---- */

static struct key_model *
key_of(struct bytes key)
{
	for (uint32_t i = 0; i < SIM_KEYS_MAX; i++)
		if (bytes_equal(key, client_key(i)))
			return &keys[i];
	violate("the log has a key that no client uses");
	return &keys[0];
}

static bool
holds(const struct cmd *cmd, const struct key_model *k)
{
	switch ((enum cmd_if)cmd->when) {
	case CMD_ALWAYS:
		return true;
	case CMD_IF_REVISION:
		return k->exists && k->mod == cmd->if_revision;
	case CMD_IF_ABSENT:
		return !k->exists;
	case CMD_IF_PRESENT:
		return k->exists;
	}
	return false;
}

static enum err
put(struct key_model *k, const struct cmd *cmd)
{
	enum err code = k->exists ? ERR_REPLACED : ERR_CREATED;

	state.revision++;
	if (k->exists) {
		state.bytes -= k->len;
	} else {
		*k = (struct key_model){
		    .exists = true, .create = state.revision};
		state.keys++;
		state.bytes += cmd->key.len;
	}
	k->mod = state.revision;
	k->version++;
	k->len = cmd->value.len;
	k->hash = hash64(cmd->value.data, cmd->value.len, 0);
	state.bytes += k->len;
	return code;
}

static enum err
apply(const struct cmd *cmd, uint64_t *revision)
{
	struct key_model *k = key_of(cmd->key);
	enum err code;

	if (!holds(cmd, k)) {
		*revision = k->exists ? k->mod : 0;
		return ERR_PRECONDITION;
	}
	if (cmd->op == CMD_PUT) {
		code = put(k, cmd);
	} else if (k->exists) {
		state.revision++;
		state.keys--;
		state.bytes -= cmd->key.len + k->len;
		k->exists = false;
		code = ERR_DELETED;
	} else {
		code = ERR_NOT_FOUND;
	}
	*revision = state.revision;
	return code;
}

/* A batch that counts as done has been, or nobody waits for it any more. */
static void
check_done(const struct cmd_batch *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		const struct op *op =
		    history_find(node_of_id(b->node), b->epoch, b->seq, i);

		if (op != NULL && op->applied == 0 && op->state == OP_OPEN)
			violate("op %zu is waited for, and its batch counts as "
				"done",
			    (size_t)(op - history.ops) + 1);
	}
}

static void
apply_batch(struct bytes data)
{
	struct cmd_batch b;
	struct session_model *s;
	struct wire w;

	wire_decode(&w, data);
	cmd_batch_wire(&w, &b);
	if (wire_err(&w) != ERR_OK) {
		violate("the log has an entry that is not a batch");
		return;
	}
	s = session_of(b.node, b.epoch);
	if (s->done_below < b.done_below)
		s->done_below = b.done_below;
	if (!session_admit(s, b.seq)) {
		count(COUNT_CLIENT_TWICE);
		check_done(&b);
		return;
	}
	for (uint32_t i = 0; i < b.count; i++) {
		struct cmd cmd;
		struct op *op;

		cmd_wire(&w, &cmd);
		op = history_find(node_of_id(b.node), b.epoch, b.seq, i);
		if (wire_err(&w) != ERR_OK || op == NULL) {
			violate("the log has a command that no client gave");
			return;
		}
		op->applied++;
		op->model_index = point_count;
		op->model_code = apply(&cmd, &op->model_revision);
	}
}

void
model_advance(void)
{
	while (point_count <= check_raft_committed() && !sim.violated) {
		struct bytes data;
		uint8_t type;

		(void)check_raft_entry(point_count, &type, &data);
		if (type == RAFT_ENTRY_NORMAL && data.len > 0)
			apply_batch(data);
		point_new()->st = state;
	}
}

/* ---- kvd against the model ---- */

void
model_check_state(unsigned node, uint64_t applied, const struct model_state *st,
    struct hash128 hash)
{
	struct point *p;

	if (sim.violated)
		return;
	if (applied >= point_count) {
		violate("node %u applied index %" PRIu64
			", committed is %" PRIu64,
		    node, applied, point_count - 1);
		return;
	}
	p = &points[applied];
	count(COUNT_STATE_SEEN);
	if (p->hashed && p->node != node)
		count(COUNT_STATE_COMPARED);
	if (st->revision != p->st.revision || st->keys != p->st.keys ||
	    st->bytes != p->st.bytes)
		violate("node %u at index %" PRIu64 " has revision %" PRIu64
			" keys %" PRIu64 " bytes %" PRIu64
			", the log says %" PRIu64 " %" PRIu64 " %" PRIu64,
		    node, applied, st->revision, st->keys, st->bytes,
		    p->st.revision, p->st.keys, p->st.bytes);
	if (p->hashed && (p->hash.lo != hash.lo || p->hash.hi != hash.hi))
		violate("state hash: nodes %u and %u differ at index %" PRIu64,
		    node, p->node, applied);
	p->hashed = true;
	p->hash = hash;
	p->node = node;
}

void
model_check_key(unsigned node, struct bytes key, uint64_t create, uint64_t mod,
    uint64_t version, struct bytes value)
{
	const struct key_model *k = key_of(key);

	if (!k->exists || k->create != create || k->mod != mod ||
	    k->version != version || k->len != value.len ||
	    k->hash != hash64(value.data, value.len, 0))
		violate("node %u has a key with create %" PRIu64 " mod %" PRIu64
			" version %" PRIu64 ", the log says %" PRIu64
			" %" PRIu64 " %" PRIu64,
		    node, create, mod, version, k->create, k->mod, k->version);
}

void
model_check_key_count(unsigned node, uint64_t count)
{
	if (count != state.keys)
		violate("node %u has %" PRIu64 " keys, the log says %" PRIu64,
		    node, count, state.keys);
}

/* ---- answers ---- */

static void
check_read(size_t i, const struct op *op)
{
	const struct op *from;

	if (op->state != OP_DONE || op->code != ERR_OK)
		return;
	assert(op->value >= 1);
	from = &history.ops[op->value - 1];
	if (from->key != op->key || from->applied != 1 ||
	    from->model_revision != op->revision)
		violate("op %zu read value %" PRIu64 " at revision %" PRIu64
			", which was never there",
		    i + 1, op->value, op->revision);
}

static void
check_write(size_t i, const struct op *op)
{
	if (op->applied > 1)
		violate("op %zu was applied %u times", i + 1, op->applied);
	if (op->state == OP_REFUSED && op->applied > 0)
		violate("op %zu was refused (%s) and yet applied", i + 1,
		    err_word(op->code));
	if (op->state != OP_DONE)
		return;
	if (op->applied == 0)
		violate("op %zu was acknowledged and is not in the log", i + 1);
	else if (op->code != op->model_code ||
		 op->revision != op->model_revision)
		violate("op %zu was answered %s revision %" PRIu64
			", the log says %s %" PRIu64,
		    i + 1, err_word(op->code), op->revision,
		    err_word(op->model_code), op->model_revision);
}

void
model_check_answers(void)
{
	for (size_t i = 0; i < history.count && !sim.violated; i++) {
		const struct op *op = &history.ops[i];

		if (op->kind == OP_GET || op->kind == OP_STALE)
			check_read(i, op);
		else
			check_write(i, op);
	}
}
