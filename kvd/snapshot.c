/* The state as a stream of chunks; see snapshot.h. */
#include "kvd/snapshot.h"

#include <assert.h>
#include <inttypes.h>

#include "base/log.h"
#include "kvd/kvd.h"

/* A link that is full tells nobody when it has room again. */
#define STALL_MS 10u
/* Between two chunks: at most 125 MiB in a second. */
#define PAUSE_MS 2u

struct msg_snap_head
snapshot_head(const struct state *s, uint64_t id)
{
	return (struct msg_snap_head){.id = id,
	    .index = s->applied,
	    .term = s->term,
	    .cluster = s->cluster,
	    .revision = s->revision,
	    .keys = s->keys,
	    .bytes = s->bytes,
	    .hash = s->hash};
}

enum err
snapshot_fill(const struct engine_ops *ops, struct engine_iter *iter,
    struct buf *chunk, struct hash128 *sum)
{
	struct bytes name, record;
	struct buf scratch = {0};
	struct wire w;
	enum err rc = ERR_OK;

	wire_encode(&w, chunk);
	while (chunk->len < SNAP_CHUNK_BYTES_SOFT &&
	       (rc = ops->scan_next(iter, &name, &record)) == ERR_OK) {
		if (bytes_equal(name, record_name_state()))
			continue;
		wire_bytes(&w, &name, ENGINE_NAME_BYTES_MAX);
		wire_bytes(&w, &record, ENGINE_RECORD_BYTES_MAX);
		if (name.data[0] == (uint8_t)RECORD_KEY_PREFIX[0])
			*sum = hash128_add(
			    *sum, key_record_hash(
				      bytes_of(name.data + 1, name.len - 1),
				      record, &scratch));
	}
	buf_free(&scratch);
	assert(wire_end(&w) == ERR_OK); /* no larger ones are written */
	return rc;
}

void
snapshot_stop(struct kvd *k)
{
	struct snapshot *s = &k->snapshot;

	if (s->iter != NULL)
		k->store.ops->scan_close(s->iter);
	s->iter = NULL;
	s->asked = false;
	buf_free(&s->chunk);
}

enum err
snapshot_take(struct kvd *k, uint8_t type, struct wire *body)
{
	struct snapshot *s = &k->snapshot;
	struct msg_snap_ask ask;

	if (msg_snap_ask_wire(body, &ask) != ERR_OK)
		return ERR_MALFORMED;
	if (type == MSG_SNAP_MORE) {
		if (ask.id == s->id && ask.window > s->window)
			s->window = ask.window;
		return ERR_OK;
	}
	snapshot_stop(k);
	s->asked = true;
	s->from = k->store.state.applied;
	s->next = (struct mono){0};
	s->id = ask.id;
	s->window = ask.window;
	s->number = 0;
	return ERR_OK;
}

/* Nobody writes: head and records are of one state. */
static void
begin(struct kvd *k)
{
	const struct bytes all = bytes_of(NULL, 0);
	struct snapshot *s = &k->snapshot;
	struct msg_snap_head head = snapshot_head(&k->store.flushed, s->id);
	struct wire *w;
	enum err rc;

	assert(!store_is_frozen(&k->store));
	head.cluster = k->store.state.cluster; /* an empty store has none */
	s->asked = false;
	s->hash = head.hash;
	s->sum = (struct hash128){0, 0};
	if ((w = link_begin(k->raftd, MSG_SNAP_HEAD)) == NULL)
		return;
	(void)msg_snap_head_wire(w, &head); /* ours: no error */
	link_end(k->raftd);
	rc = k->store.ops->scan(k->store.engine, all, all, &s->iter);
	if (rc != ERR_OK) {
		s->iter = NULL;
		kvd_fail(k, rc);
	}
	log_info("snapshot begins index=%" PRIu64 " keys=%" PRIu64
		 " bytes=%" PRIu64,
	    head.index, head.keys, head.bytes);
}

static void
send_chunk(struct kvd *k, struct mono now)
{
	struct snapshot *s = &k->snapshot;
	struct msg_snap_data m = {.id = s->id, .number = s->number};
	struct wire *w;
	enum err rc;

	buf_clear(&s->chunk);
	rc = snapshot_fill(k->store.ops, s->iter, &s->chunk, &s->sum);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND) {
		log_errorx("store cannot be read dir=%s", k->store.dir);
		snapshot_stop(k);
		kvd_fail(k, rc);
		return;
	}
	m.last = rc == ERR_NOT_FOUND;
	if (m.last && (s->sum.lo != s->hash.lo || s->sum.hi != s->hash.hi)) {
		check_found_damage(k->check, &k->store, s->sum);
		snapshot_stop(k);
		return;
	}
	m.data = buf_bytes(&s->chunk);
	if ((w = link_begin(k->raftd, MSG_SNAP_DATA)) == NULL) {
		snapshot_stop(k);
		return;
	}
	(void)msg_snap_data_wire(w, &m); /* within its limits, see above */
	link_end(k->raftd);
	s->number++;
	s->next = mono_add_ms(now, PAUSE_MS);
	if (m.last) {
		log_info("snapshot sent chunks=%" PRIu32, s->number);
		snapshot_stop(k);
	}
}

static bool
may_begin(const struct kvd *k)
{
	return !store_is_frozen(&k->store) &&
	       k->store.flushed.applied >= k->snapshot.from;
}

bool
snapshot_waits(const struct kvd *k)
{
	return k->snapshot.asked && !may_begin(k);
}

/* While a state is loaded there is none worth a snapshot. */
static bool
may_send(const struct kvd *k)
{
	const struct snapshot *s = &k->snapshot;

	return k->exit_code == 0 && k->load == NULL &&
	       !check_is_damaged(k->check) &&
	       ((s->asked && may_begin(k)) ||
		   (s->iter != NULL && s->number < s->window));
}

void
snapshot_run(struct kvd *k, struct mono now)
{
	struct snapshot *s = &k->snapshot;

	if (!may_send(k))
		return;
	if (s->asked)
		begin(k);
	else if (!link_is_full(k->raftd) && mono_reached(s->next, now))
		send_chunk(k, now);
}

struct mono
snapshot_next(const struct kvd *k)
{
	if (!may_send(k))
		return MONO_NEVER;
	if (k->snapshot.asked)
		return mono_now();
	return link_is_full(k->raftd) ? mono_add_ms(mono_now(), STALL_MS)
				      : k->snapshot.next;
}
