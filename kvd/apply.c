/* From committed entries to the store and to replies.
 *
 * Everything that an entry does is determined by the state and the entry: no
 * clock, no random number, no locale, and what cannot be decoded is skipped
 * alike on every node. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "kvd/kvd.h"
#include "proto/cmd.h"

#define ENTRY_NORMAL 0 /* enum raft_entry_type: others are Raft's own */

/* A batch that was applied and whose reply is due in this turn; count
 * struct result_item follow. */
struct reply_due {
	uint64_t epoch; /* of the httpd that proposed it */
	uint64_t seq;
	uint64_t revision;
	uint32_t count;
};

void
kvd_fail(struct kvd *k, enum err why)
{
	k->damaged |= why == ERR_CORRUPT;
	k->quit = true;
	k->exit_code = EX_IOERR;
}

/* --- one command --- */

/* Of a batch that is being applied; its bytes are the entry's. */
struct taken_cmd {
	struct cmd cmd;
	uint64_t hash; /* record_hash_of_key() */
};

/* A key as it is before a command. */
struct found {
	bool exists;
	struct key_head was; /* zeroes if it does not exist */
};

static enum err
find_in_store(struct kvd *k, const struct taken_cmd *t, struct bytes name,
    struct found *found)
{
	struct store_found stored;
	struct key_record record;
	struct wire w;
	enum err rc = store_get(&k->store, name, t->hash, &stored);

	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc != ERR_OK)
		return rc;
	wire_decode(&w, stored.record);
	if (key_record_wire(&w, &record) != ERR_OK) {
		log_errorx("store is damaged dir=%s record=key bytes=%zu",
		    k->store.dir, stored.record.len);
		return ERR_CORRUPT;
	}
	found->exists = true;
	found->was = (struct key_head){
	    .hash = stored.hashed ? stored.hash
				  : key_record_hash(
					t->cmd.key, stored.record, &k->scratch),
	    .create_revision = record.create_revision,
	    .mod_revision = record.mod_revision,
	    .version = record.version,
	    .value_bytes = record.value.len,
	};
	return ERR_OK;
}

static enum err
find_key(struct kvd *k, const struct taken_cmd *t, struct bytes name,
    struct found *found)
{
	const struct bytes key = t->cmd.key;

	memset(found, 0, sizeof *found);
	found->exists = heads_find(&k->store.heads, key, t->hash, &found->was);
	return found->exists ? ERR_OK : find_in_store(k, t, name, found);
}

static bool
condition_holds(const struct cmd *cmd, const struct found *found)
{
	switch ((enum cmd_if)cmd->when) {
	case CMD_ALWAYS:
		return true;
	case CMD_IF_REVISION:
		return found->exists &&
		       found->was.mod_revision == cmd->if_revision;
	case CMD_IF_ABSENT:
		return !found->exists;
	case CMD_IF_PRESENT:
		return found->exists;
	}
	return false; /* cmd_wire lets no other number through */
}

/* Take the key's old record out of the counters. */
static void
uncount_key(struct state *s, struct bytes key, const struct found *found)
{
	if (!found->exists)
		return;
	s->keys--;
	s->bytes -= key.len + found->was.value_bytes;
	s->hash = hash128_sub(s->hash, found->was.hash);
}

static void
apply_put(struct kvd *k, const struct taken_cmd *t, struct bytes name,
    const struct found *found, struct result_item *result)
{
	const struct cmd *cmd = &t->cmd;
	struct state *s = &k->store.state;
	const uint64_t revision = s->revision + 1;
	struct key_record record = {
	    .create_revision =
		found->exists ? found->was.create_revision : revision,
	    .mod_revision = revision,
	    .version = found->was.version + 1,
	    .value = cmd->value,
	};
	struct key_head head = {
	    .create_revision = record.create_revision,
	    .mod_revision = revision,
	    .version = record.version,
	    .value_bytes = cmd->value.len,
	};
	const struct bytes encoded =
	    key_record_encode(cmd->key, &record, &k->scratch, &head.hash);

	uncount_key(s, cmd->key, found);
	s->revision = revision;
	s->keys++;
	s->bytes += cmd->key.len + cmd->value.len;
	s->hash = hash128_add(s->hash, head.hash);
	store_put_key(
	    &k->store, name, t->hash, encoded, found->was.hash, head.hash);
	heads_put(&k->store.heads, cmd->key, t->hash, &head);
	result->code = found->exists ? ERR_REPLACED : ERR_CREATED;
	result->revision = revision;
}

static void
apply_delete(struct kvd *k, const struct taken_cmd *t, struct bytes name,
    const struct found *found, struct result_item *result)
{
	struct state *s = &k->store.state;

	result->code = ERR_NOT_FOUND;
	if (found->exists) {
		s->revision++;
		uncount_key(s, t->cmd.key, found);
		store_remove_key(&k->store, name, t->hash, found->was.hash);
		heads_remove(&k->store.heads, t->cmd.key, t->hash);
		result->code = ERR_DELETED;
	}
	result->revision = s->revision;
}

/* Changes nothing; what is found is no part of the result. */
static void
apply_check(struct kvd *k, const struct cmd *cmd, struct result_item *result)
{
	check_compare(k->check, &k->store.state, &cmd->check);
	result->code = ERR_OK;
	result->revision = k->store.state.revision;
}

static enum err
apply_cmd(struct kvd *k, const struct taken_cmd *t, struct result_item *result)
{
	const struct cmd *cmd = &t->cmd;
	struct record_name name_data;
	struct bytes name;
	struct found found;
	enum err rc;

	if (cmd->op == CMD_CHECK) {
		apply_check(k, cmd, result);
		return ERR_OK;
	}
	name = record_name_key(&name_data, cmd->key);
	if ((rc = find_key(k, t, name, &found)) != ERR_OK)
		return rc;
	if (!condition_holds(cmd, &found)) {
		result->code = ERR_PRECONDITION;
		result->revision = found.was.mod_revision;
		return ERR_OK;
	}
	switch ((enum cmd_op)cmd->op) {
	case CMD_PUT:
		apply_put(k, t, name, &found, result);
		break;
	case CMD_DELETE:
		apply_delete(k, t, name, &found, result);
		break;
	case CMD_CHECK: /* see above */
		break;
	}
	return ERR_OK;
}

/* --- one entry --- */

/* All of it, into k->taken, before any of it is applied: a batch is applied as
 * a whole or not at all.  False: it is not a batch. */
static bool
take_batch(struct kvd *k, struct bytes data, struct cmd_batch *batch)
{
	struct taken_cmd *t;
	struct wire w;

	buf_clear(&k->taken);
	wire_decode(&w, data);
	cmd_batch_wire(&w, batch);
	for (uint32_t i = 0; i < batch->count && wire_err(&w) == ERR_OK; i++) {
		t = (struct taken_cmd *)buf_extend(&k->taken, sizeof *t);
		cmd_wire(&w, &t->cmd);
		t->hash = record_hash_of_key(t->cmd.key);
		store_expect(&k->store, t->hash);
	}
	return wire_end(&w) == ERR_OK;
}

/* Results of this node's current httpd are sent at the end of the turn. */
static void
reply_is_due(struct kvd *k, const struct cmd_batch *batch, uint64_t revision,
    const struct result_item *items, uint32_t count)
{
	struct reply_due due = {.epoch = batch->epoch,
	    .seq = batch->seq,
	    .revision = revision,
	    .count = count};

	if (batch->node != k->store.state.node || k->httpd == NULL ||
	    batch->epoch != k->httpd_epoch)
		return;
	buf_append(&k->replies, &due, sizeof due);
	buf_append(&k->replies, items, count * sizeof items[0]);
}

static enum err
apply_batch(struct kvd *k, const struct cmd_batch *batch)
{
	const struct taken_cmd *taken = (struct taken_cmd *)k->taken.data;
	const struct session_result *known;
	struct session *session;
	enum err rc;

	session = session_touch(k->sessions, batch->node, batch->epoch,
	    k->store.state.applied, batch->done_below);
	if (session_is_done(session, batch->seq))
		return ERR_OK;
	known = session_result(session, batch->seq);
	if (known != NULL) {
		reply_is_due(
		    k, batch, known->revision, known->items, known->count);
		return ERR_OK;
	}
	assert(batch->count <= BATCH_COMMANDS_MAX);
	for (uint32_t i = 0; i < batch->count; i++)
		if ((rc = apply_cmd(k, &taken[i], &k->items[i])) != ERR_OK)
			return rc;
	k->figures.commands += batch->count;
	session_add(k->sessions, session, batch->seq, k->store.state.revision,
	    k->items, batch->count);
	reply_is_due(k, batch, k->store.state.revision, k->items, batch->count);
	return ERR_OK;
}

static enum err
apply_data(struct kvd *k, const struct msg_commit_item *entry)
{
	const struct state *s = &k->store.state;
	struct cmd_batch batch;

	if (entry->type != ENTRY_NORMAL || entry->data.len == 0)
		return ERR_OK;
	if (!take_batch(k, entry->data, &batch)) {
		log_warnx("committed entry is not a batch, it is skipped "
			  "index=%" PRIu64 " term=%" PRIu64 " bytes=%zu",
		    s->applied, s->term, entry->data.len);
		return ERR_OK;
	}
	return apply_batch(k, &batch);
}

static enum err
apply_entry(struct kvd *k, const struct msg_commit_item *entry)
{
	struct state *s = &k->store.state;
	enum err rc;

	s->applied++;
	s->term = entry->term;
	k->figures.entries++;
	rc = apply_data(k, entry);
	check_applied(k->check, s);
	return rc;
}

/* --- the turn --- */

/* In this mode or another, what a turn gathers is bounded. */
static bool
run_is_long(const struct kvd *k)
{
	return k->replies.len > KVD_QUESTION_BYTES_SOFT ||
	       (k->flusher == NULL &&
		   k->store.active.bytes > KVD_STAGED_BYTES_SOFT);
}

static enum err
take_entries(struct kvd *k, uint32_t count, struct wire *body)
{
	struct msg_commit_item entry;
	enum err rc;

	for (uint32_t i = 0; i < count; i++) {
		msg_commit_item_wire(body, &entry);
		if (wire_err(body) != ERR_OK)
			return ERR_MALFORMED;
		if ((rc = apply_entry(k, &entry)) != ERR_OK) {
			kvd_fail(k, rc);
			return ERR_IO;
		}
		if (run_is_long(k)) {
			kvd_apply(k);
			kvd_reply(k);
		}
		if (k->exit_code != 0)
			return ERR_IO;
	}
	return wire_end(body);
}

enum err
kvd_take_commit(struct kvd *k, struct wire *body)
{
	const struct mono began = mono_now();
	struct msg_commit head;
	enum err rc;

	msg_commit_wire(body, &head);
	if (wire_err(body) != ERR_OK)
		return ERR_MALFORMED;
	if (head.first != k->store.state.applied + 1) {
		log_warnx("commits do not follow what is applied "
			  "first=%" PRIu64 " applied=%" PRIu64,
		    head.first, k->store.state.applied);
		return ERR_MALFORMED;
	}
	rc = take_entries(k, head.count, body);
	histogram_add_since(
	    &k->figures.applies, HISTOGRAM_NET_NS, began, mono_now());
	return rc;
}

void
kvd_apply(struct kvd *k)
{
	/* FLOW 6: a run of commits, applied to the table that all look into
	 * first.  It gets into the engine with this turn or a later one, as
	 * one transaction of its runs: keys, sessions, revision, hash and the
	 * index applied are all there or none is. */
	if (k->exit_code == 0)
		writeback_collect(k);
}

void
kvd_send_results(struct kvd *k, uint64_t seq, uint64_t revision,
    const struct result_item *items, uint32_t count)
{
	struct msg_reply reply = {.to = MSG_REPLY_PROPOSE,
	    .seq = seq,
	    .revision = revision,
	    .applied = k->store.state.applied,
	    .count = count};
	struct wire *w = link_begin(k->httpd, MSG_REPLY);

	if (w == NULL)
		return; /* down; httpd asks when it is back */
	msg_reply_wire(w, &reply);
	for (uint32_t i = 0; i < count; i++) {
		struct msg_reply_item item = {
		    .code = items[i].code, .revision = items[i].revision};

		msg_reply_item_wire(w, &item);
	}
	link_end(k->httpd);
}

void
kvd_reply(struct kvd *k)
{
	struct result_item items[BATCH_COMMANDS_MAX];
	struct reply_due due;

	/* FLOW 7: what is applied -> REPLY to the httpd of this epoch. */
	if (k->exit_code != 0)
		return;
	assert(k->flusher != NULL || !store_is_dirty(&k->store));
	for (size_t at = 0; at < k->replies.len;) {
		memcpy(&due, k->replies.data + at, sizeof due);
		at += sizeof due;
		assert(due.count <= BATCH_COMMANDS_MAX);
		memcpy(
		    items, k->replies.data + at, due.count * sizeof items[0]);
		at += due.count * sizeof items[0];
		/* Another httpd may have come since it was applied. */
		if (k->httpd != NULL && due.epoch == k->httpd_epoch)
			kvd_send_results(
			    k, due.seq, due.revision, items, due.count);
	}
	buf_clear(&k->replies);
}
