/* An open engine with kvd's state; see store.h. */
#include "kvd/store.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kvd/marker.h"

static enum err
load_state(struct store *s)
{
	struct bytes record;
	struct wire w;
	enum err rc = s->ops->get(s->engine, record_name_state(), &record);

	if (rc == ERR_NOT_FOUND) {
		s->state.format = STATE_FORMAT;
		return ERR_OK;
	}
	if (rc != ERR_OK)
		return rc;
	wire_decode(&w, record);
	if (state_wire(&w, &s->state) != ERR_OK) {
		log_errorx("store is damaged or of another version of kvd "
			   "dir=%s bytes=%zu",
		    s->dir, record.len);
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

enum err
store_open(struct store *s, const struct engine_ops *ops, const char *dir)
{
	bool discarded;
	enum err rc;

	memset(s, 0, sizeof *s);
	if (ops->durable && (rc = marker_set(dir, &discarded)) != ERR_OK)
		return rc;
	s->ops = ops;
	s->dir = mem_strdup(dir);
	if ((rc = ops->open(&s->engine, dir)) != ERR_OK) {
		log_errorx(
		    "cannot open the store engine=%s dir=%s", ops->name, dir);
	} else {
		rc = load_state(s);
	}
	if (rc != ERR_OK) {
		(void)store_close(s, true);
		return rc;
	}
	s->flushed = s->state;
	return ERR_OK;
}

enum err
store_get(struct store *s, struct bytes name, uint64_t hash,
    struct store_found *found)
{
	const struct overlay *o = &s->active;
	const struct engine_write *w = overlay_find(o, name, hash);

	if (w == NULL) {
		o = &s->frozen;
		w = overlay_find(o, name, hash);
	}
	found->hashed = w != NULL;
	if (w == NULL)
		return s->ops->get(s->engine, name, &found->record);
	if (w->remove)
		return ERR_NOT_FOUND;
	found->record = w->record;
	found->hash = o->notes[w - o->writes].is;
	return ERR_OK;
}

void
store_expect(const struct store *s, uint64_t hash)
{
	heads_expect(&s->heads, hash);
	overlay_expect(&s->active, hash);
}

void
store_put_key(struct store *s, struct bytes name, uint64_t hash,
    struct bytes record, struct hash128 was, struct hash128 is)
{
	overlay_put(&s->active, name, hash, record, was, is);
}

void
store_remove_key(
    struct store *s, struct bytes name, uint64_t hash, struct hash128 was)
{
	overlay_remove(&s->active, name, hash, was);
}

static const struct hash128 none;

void
store_put(struct store *s, struct bytes name, struct bytes record)
{
	overlay_put(&s->active, name, record_hash(name), record, none, none);
}

void
store_remove(struct store *s, struct bytes name)
{
	overlay_remove(&s->active, name, record_hash(name), none);
}

bool
store_is_dirty(const struct store *s)
{
	const uint64_t kept =
	    store_is_frozen(s) ? s->frozen_state.applied : s->flushed.applied;

	return s->state.applied != kept || s->active.n > 0;
}

size_t
store_pending_bytes(const struct store *s)
{
	return s->active.bytes + (s->is_frozen ? s->frozen.bytes : 0);
}

void
store_freeze(struct store *s)
{
	struct overlay empty;
	struct wire w;

	assert(!store_is_frozen(s));
	overlay_clear(&s->frozen);
	empty = s->frozen;
	buf_clear(&s->scratch);
	wire_encode(&w, &s->scratch);
	(void)state_wire(&w, &s->state); /* encoding ours cannot fail */
	store_put(s, record_name_state(), buf_bytes(&s->scratch));
	s->frozen = s->active;
	s->active = empty;
	s->is_frozen = true;
	s->frozen_state = s->state;
}

bool
store_is_frozen(const struct store *s)
{
	return s->is_frozen;
}

enum err
store_write_frozen(const struct store *s, const struct engine_write *writes)
{
	return s->ops->write(s->engine, writes, s->frozen.n);
}

void
store_settle(struct store *s)
{
	assert(store_is_frozen(s));
	s->is_frozen = false;
	if (!s->ops->concurrent) /* it is as quick as a table */
		overlay_clear(&s->frozen);
	s->flushed = s->frozen_state;
	if (s->ops->release != NULL)
		s->ops->release(s->engine);
}

enum err
store_shrink(struct store *s)
{
	enum err rc = ERR_OK;

	assert(!store_is_frozen(s));
	assert(s->active.n == 0);
	overlay_free(&s->active);
	overlay_free(&s->frozen);
	if (s->ops->shrink != NULL)
		rc = s->ops->shrink(s->engine);
	mem_trim();
	return rc;
}

enum err
store_write(struct store *s)
{
	enum err rc;

	store_freeze(s);
	rc = store_write_frozen(s, s->frozen.writes);
	if (rc == ERR_OK)
		store_settle(s);
	return rc;
}

enum err
store_close(struct store *s, bool failed)
{
	enum err rc = ERR_OK;

	if (s->ops == NULL)
		return ERR_OK;
	if (!failed)
		rc = s->ops->sync(s->engine);
	s->ops->close(s->engine);
	/* Pages that could not be written may be gone: see kvd_fail(). */
	if (rc != ERR_OK && s->ops->durable)
		marker_condemn(s->dir);
	if (!failed && rc == ERR_OK && s->ops->durable)
		rc = marker_remove(s->dir);
	overlay_free(&s->active);
	overlay_free(&s->frozen);
	heads_free(&s->heads);
	buf_free(&s->scratch);
	mem_free(s->dir);
	memset(s, 0, sizeof *s);
	return rc;
}
