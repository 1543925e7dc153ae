/* A new state beside the old one; see load.h. */
#include "kvd/load.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kvd/dirs.h"
#include "kvd/marker.h"
#include "kvd/session.h"

/* Of a key in an engine, besides itself and its value: at least. */
#define KEY_OVERHEAD_BYTES 32u

struct load {
	const char *kv_dir;
	struct msg_snap_head head;
	uint64_t node, incarnation;
	struct store store; /* the new one */
	bool open;

	struct record_name last; /* of the records so far; len 0: none */
	uint64_t keys, bytes, records;
	struct hash128 hash;

	struct buf writes;  /* struct engine_write, of one chunk */
	struct buf scratch; /* what is hashed */
};

static enum err
open_store(struct load *l, const struct engine_ops *ops)
{
	const struct dirs_path dir = dirs_path(l->kv_dir, ops->name, ".load");
	enum err rc;

	if (ops->durable &&
	    (rc = dirs_make_load(l->kv_dir, ops->name)) != ERR_OK)
		return rc;
	if ((rc = store_open(&l->store, ops, dir.text)) != ERR_OK) {
		if (ops->durable)
			dirs_remove_load(l->kv_dir, ops->name);
		return rc;
	}
	l->open = true;
	return ERR_OK;
}

bool
load_has_room(const struct engine_ops *ops, const char *kv_dir,
    const struct msg_snap_head *head)
{
	const uint64_t need = head->bytes + head->keys * KEY_OVERHEAD_BYTES;
	uint64_t room;

	if (!ops->durable)
		return true;
	room = dirs_free_bytes(kv_dir);
	if (room >= need)
		return true;
	log_errorx("the disk has no room to load a state beside the present "
		   "one, which is kept; free some space, it is tried again "
		   "dir=%s bytes_free=%" PRIu64 " bytes_needed=%" PRIu64,
	    kv_dir, room, need);
	return false;
}

enum err
load_open(struct load **lp, const struct engine_ops *ops, const char *kv_dir,
    const struct state *owner, const struct msg_snap_head *head)
{
	struct load *l = mem_zalloc(1, sizeof *l);
	enum err rc;

	l->kv_dir = kv_dir;
	l->node = owner->node;
	l->incarnation = owner->incarnation;
	l->head = *head;
	if ((rc = open_store(l, ops)) != ERR_OK) {
		mem_free(l);
		return rc;
	}
	*lp = l;
	return ERR_OK;
}

static void
load_free(struct load *l)
{
	buf_free(&l->writes);
	buf_free(&l->scratch);
	mem_free(l);
}

void
load_abandon(struct load **lp)
{
	struct load *l = *lp;
	const struct engine_ops *ops;

	if (l == NULL)
		return;
	*lp = NULL;
	if (l->open) {
		ops = l->store.ops;
		(void)store_close(&l->store, true); /* not synced: no error */
		if (ops->durable)
			dirs_remove_load(l->kv_dir, ops->name);
	}
	load_free(l);
}

uint64_t
load_keys(const struct load *l)
{
	return l->keys;
}

/* --- records --- */

static enum err
corrupt(const struct load *l, const char *what)
{
	log_errorx("the state to be loaded is damaged; the present one is kept "
		   "what=\"%s\" index=%" PRIu64 " record=%" PRIu64,
	    what, l->head.index, l->records);
	return ERR_CORRUPT;
}

static enum err
check_key(struct load *l, struct bytes name, struct bytes record)
{
	const struct bytes key = bytes_of(name.data + 1, name.len - 1);
	struct key_record r;
	struct wire w;

	wire_decode(&w, record);
	if (key.len < 1 || key.len > KEY_BYTES_MAX ||
	    key_record_wire(&w, &r) != ERR_OK)
		return corrupt(l, "not a key's record");
	if (r.mod_revision > l->head.revision)
		return corrupt(l, "a key of a later revision");
	l->keys++;
	l->bytes += key.len + r.value.len;
	l->hash =
	    hash128_add(l->hash, key_record_hash(key, record, &l->scratch));
	return ERR_OK;
}

static enum err
check_record(struct load *l, struct bytes name, struct bytes record)
{
	uint64_t node, epoch, seq;
	enum err rc = ERR_OK;

	l->records++;
	if (name.len < 1 || name.len > ENGINE_NAME_BYTES_MAX)
		return corrupt(l, "not a name");
	if (bytes_compare(name, bytes_of(l->last.data, l->last.len)) <= 0)
		return corrupt(l, "names are not in order");
	if (name.data[0] == (uint8_t)RECORD_KEY_PREFIX[0])
		rc = check_key(l, name, record);
	else if (name.data[0] != (uint8_t)RECORD_SESSION_PREFIX[0] ||
		 record_name_parse_session(name, &node, &epoch, &seq) != ERR_OK)
		return corrupt(l, "a record of an unknown kind");
	return rc;
}

enum err
load_chunk(struct load *l, struct bytes chunk)
{
	struct engine_write write = {.remove = false};
	struct wire w;
	size_t n = 0;

	buf_clear(&l->writes);
	wire_decode(&w, chunk);
	while (w.left > 0 && wire_err(&w) == ERR_OK) {
		wire_bytes(&w, &write.name, ENGINE_NAME_BYTES_MAX);
		wire_bytes(&w, &write.record, ENGINE_RECORD_BYTES_MAX);
		if (wire_err(&w) != ERR_OK)
			break;
		if (check_record(l, write.name, write.record) != ERR_OK)
			return ERR_CORRUPT;
		memcpy(l->last.data, write.name.data, write.name.len);
		l->last.len = write.name.len;
		buf_append(&l->writes, &write, sizeof write);
		n++;
	}
	if (wire_end(&w) != ERR_OK)
		return corrupt(l, "a chunk ends within a record");
	if (n == 0)
		return ERR_OK;
	return l->store.ops->write(
	    l->store.engine, (const struct engine_write *)l->writes.data, n);
}

/* --- the end --- */

static enum err
verify(const struct load *l)
{
	char theirs[HASH128_HEX_BYTES], ours[HASH128_HEX_BYTES];

	if (l->keys == l->head.keys && l->bytes == l->head.bytes &&
	    l->hash.lo == l->head.hash.lo && l->hash.hi == l->head.hash.hi)
		return ERR_OK;
	hash128_hex(l->head.hash, theirs);
	hash128_hex(l->hash, ours);
	log_errorx("the state to be loaded is not what it claims to be; the "
		   "present one is kept index=%" PRIu64 " hash=%s "
		   "claimed_hash=%s keys=%" PRIu64 " claimed_keys=%" PRIu64
		   " bytes=%" PRIu64 " claimed_bytes=%" PRIu64,
	    l->head.index, ours, theirs, l->keys, l->head.keys, l->bytes,
	    l->head.bytes);
	return ERR_CORRUPT;
}

/* The session records must be such that kvd can start with them. */
static enum err
verify_sessions(struct load *l)
{
	struct sessions *sessions;
	enum err rc = sessions_open(&sessions, &l->store);

	if (rc == ERR_OK)
		sessions_close(sessions);
	return rc;
}

enum err
load_finish(struct load *l)
{
	struct state *s = &l->store.state;
	enum err rc;

	if ((rc = verify(l)) != ERR_OK)
		return rc;
	s->cluster = l->head.cluster;
	s->node = l->node;
	s->incarnation = l->incarnation;
	s->applied = l->head.index;
	s->term = l->head.term;
	s->revision = l->head.revision;
	s->keys = l->keys;
	s->bytes = l->bytes;
	s->hash = l->hash;
	if ((rc = store_write(&l->store)) != ERR_OK)
		return rc;
	return verify_sessions(l);
}

/* Engines know their directory, so they are closed while it is renamed. */
static enum err
swap_durable(struct load *l, struct store *s)
{
	const struct engine_ops *ops = s->ops;
	const struct dirs_path dir = dirs_path(l->kv_dir, ops->name, "");
	enum err rc;

	l->open = false;
	rc = store_close(&l->store, marker_will_be_known());
	(void)store_close(s, true); /* is thrown away */
	if (rc != ERR_OK)
		return rc;
	if ((rc = dirs_swap(l->kv_dir, ops->name)) != ERR_OK)
		return rc;
	return store_open(s, ops, dir.text);
}

enum err
load_swap(struct load **lp, struct store *s)
{
	struct load *l = *lp;
	enum err rc = ERR_OK;

	*lp = NULL;
	assert(l->store.flushed.applied == l->head.index);
	if (s->ops->durable) {
		rc = swap_durable(l, s);
	} else {
		(void)store_close(s, true);
		*s = l->store;
	}
	load_free(l);
	return rc;
}
