/* Answers about the state: reads, open proposals, status.
 *
 * A COMMIT_READ stands in commitC behind the entries that it must see; it is
 * answered after they are applied, from then or from later: both are states
 * that the store had between the request and its answer, which is all that
 * linearizable means.  A STALE_READ is answered from whatever is there. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "kvd/kvd.h"

/* body bytes follow */
struct question {
	uint8_t type; /* enum msg_type */
	uint32_t bytes;
};

/* --- taking --- */

/* The REPLY's head and an item without a value. */
static size_t
reply_head_bytes(void)
{
	struct msg_reply reply = {.to = MSG_REPLY_READ};
	struct wire w;

	wire_measure(&w);
	msg_reply_wire(&w, &reply);
	return w.measured;
}

static size_t
reply_item_bytes(void)
{
	struct msg_reply_item item = {0};
	struct wire w;

	wire_measure(&w);
	msg_reply_item_wire(&w, &item);
	return w.measured;
}

/* Whole and well-formed, and the answer fits into a frame. */
static enum err
check_read(struct wire *w)
{
	struct msg_read read;
	struct msg_read_item item;

	msg_read_wire(w, &read);
	if (read.count >
	    (FRAME_BODY_BYTES_MAX - reply_head_bytes()) / reply_item_bytes())
		return ERR_MALFORMED;
	for (uint32_t i = 0; i < read.count && wire_err(w) == ERR_OK; i++)
		msg_read_item_wire(w, &item);
	return wire_end(w);
}

static enum err
check_ask(struct wire *w)
{
	struct msg_ask ask;
	uint64_t seq;

	msg_ask_wire(w, &ask);
	for (uint32_t i = 0; i < ask.count && wire_err(w) == ERR_OK; i++)
		msg_ask_item_wire(w, &seq);
	return wire_end(w);
}

static enum err
check_status_ask(struct wire *w)
{
	struct msg_status_ask ask;

	return msg_status_ask_wire(w, &ask);
}

static enum err
check_question(uint8_t type, struct wire *w)
{
	if (type == MSG_COMMIT_READ || type == MSG_STALE_READ)
		return check_read(w);
	if (type == MSG_ASK)
		return check_ask(w);
	if (type == MSG_STATUS_ASK || type == MSG_METRICS_ASK)
		return check_status_ask(w);
	return ERR_MALFORMED;
}

enum err
kvd_take_question(struct kvd *k, uint8_t type, struct wire *body)
{
	const struct bytes bytes = bytes_of(body->pos, body->left);
	struct question q = {.type = type, .bytes = (uint32_t)bytes.len};

	if (check_question(type, body) != ERR_OK)
		return ERR_MALFORMED;
	if (k->httpd == NULL)
		return ERR_OK; /* whoever asked has gone */
	buf_append(&k->questions, &q, sizeof q);
	buf_append(&k->questions, bytes.data, bytes.len);
	if (k->questions.len > KVD_QUESTION_BYTES_SOFT) {
		kvd_apply(k);
		kvd_reply(k);
		kvd_answer(k);
	}
	return ERR_OK;
}

/* --- answering --- */

/* *room: bytes of values that the frame can still take. */
static enum err
read_key(struct kvd *k, const struct msg_read_item *wanted, size_t *room,
    struct msg_reply_item *item)
{
	struct record_name name;
	struct key_record record;
	struct store_found found;
	struct wire w;
	enum err rc;

	memset(item, 0, sizeof *item);
	rc = store_get(&k->store, record_name_key(&name, wanted->key),
	    record_hash_of_key(wanted->key), &found);
	if (rc == ERR_NOT_FOUND) {
		item->code = ERR_NOT_FOUND;
		return ERR_OK;
	}
	if (rc != ERR_OK)
		return rc;
	wire_decode(&w, found.record);
	if (key_record_wire(&w, &record) != ERR_OK) {
		log_errorx("store is damaged dir=%s record=key bytes=%zu",
		    k->store.dir, found.record.len);
		return ERR_CORRUPT;
	}
	item->code = ERR_OK;
	item->revision = record.mod_revision;
	item->length = record.value.len;
	if (wanted->known_revision == UINT64_MAX ||
	    wanted->known_revision == record.mod_revision)
		return ERR_OK;
	if (record.value.len > *room) { /* httpd asks again for this one */
		memset(item, 0, sizeof *item);
		item->code = ERR_OVERLOADED;
		return ERR_OK;
	}
	*room -= record.value.len;
	item->value = record.value;
	return ERR_OK;
}

static void
answer_read(struct kvd *k, uint8_t type, struct wire *body)
{
	struct msg_read read;
	struct msg_reply reply = {.to = MSG_REPLY_READ};
	struct wire *w;
	size_t room;
	enum err rc;

	/* READ 5: keys, behind the entries up to the read index -> REPLY. */
	msg_read_wire(body, &read);
	if (read.epoch != k->httpd_epoch)
		return; /* an httpd that is gone */
	if ((w = link_begin(k->httpd, MSG_REPLY)) == NULL)
		return;
	reply.seq = read.seq;
	reply.revision = k->store.state.revision;
	reply.applied = k->store.state.applied;
	reply.count = read.count;
	msg_reply_wire(w, &reply);
	room = FRAME_BODY_BYTES_MAX - reply_head_bytes() -
	       read.count * reply_item_bytes();
	if (link_is_full(k->httpd))
		room = 0; /* httpd asks again in a moment */
	for (uint32_t i = 0; i < read.count; i++) {
		struct msg_read_item wanted;
		struct msg_reply_item item;

		msg_read_item_wire(body, &wanted);
		if ((rc = read_key(k, &wanted, &room, &item)) != ERR_OK) {
			kvd_fail(k, rc);
			item = (struct msg_reply_item){.code = ERR_IO};
		}
		msg_reply_item_wire(w, &item); /* copies the borrowed value */
	}
	link_end(k->httpd);
	if (type == MSG_STALE_READ)
		k->figures.stale_reads += read.count;
	else
		k->figures.reads += read.count;
}

static void
answer_ask(struct kvd *k, struct wire *body)
{
	const struct session *session;
	struct msg_ask ask;

	msg_ask_wire(body, &ask);
	session = session_find(k->sessions, k->store.state.node, ask.epoch);
	if (session == NULL || ask.epoch != k->httpd_epoch)
		return;
	for (uint32_t i = 0; i < ask.count; i++) {
		const struct session_result *r;
		uint64_t seq;

		msg_ask_item_wire(body, &seq);
		if ((r = session_result(session, seq)) != NULL)
			kvd_send_results(
			    k, seq, r->revision, r->items, r->count);
	}
}

static void
answer_status(struct kvd *k, struct wire *body)
{
	const struct state *s = &k->store.state;
	struct msg_kv_status status = {.applied = s->applied,
	    .durable = k->durable,
	    .revision = s->revision,
	    .keys = s->keys,
	    .bytes = s->bytes,
	    .hash = s->hash};
	struct msg_status_ask ask;
	struct wire *w;

	status.diverged = check_diverged(k->check, &status.diverged_index);
	(void)msg_status_ask_wire(body, &ask); /* was checked when taken */
	if ((w = link_begin(k->httpd, MSG_KV_STATUS)) == NULL)
		return;
	status.token = ask.token;
	assert(strlen(k->store.ops->name) < sizeof status.engine);
	memcpy(status.engine, k->store.ops->name, strlen(k->store.ops->name));
	(void)msg_kv_status_wire(w, &status); /* ours: no error */
	link_end(k->httpd);
}

void
kvd_answer(struct kvd *k)
{
	struct question q;
	struct wire w;

	if (k->exit_code != 0)
		return;
	assert(k->flusher != NULL || !store_is_dirty(&k->store));
	for (size_t at = 0; at < k->questions.len; at += q.bytes) {
		memcpy(&q, k->questions.data + at, sizeof q);
		at += sizeof q;
		wire_decode(&w, bytes_of(k->questions.data + at, q.bytes));
		if (k->httpd == NULL)
			break;
		if (q.type == MSG_ASK)
			answer_ask(k, &w);
		else if (q.type == MSG_STATUS_ASK)
			answer_status(k, &w);
		else if (q.type == MSG_METRICS_ASK)
			kvd_answer_metrics(k, &w);
		else
			answer_read(k, q.type, &w);
	}
	buf_clear(&k->questions);
}
