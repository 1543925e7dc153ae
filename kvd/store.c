/* An open engine with kvd's state; see store.h. */
#include "kvd/store.h"

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
	s->written = s->state.applied;
	return ERR_OK;
}

enum err
store_get(struct store *s, struct bytes name, struct bytes *record)
{
	const struct engine_write *w = overlay_find(&s->staged, name);

	if (w == NULL)
		return s->ops->get(s->engine, name, record);
	if (w->remove)
		return ERR_NOT_FOUND;
	*record = w->record;
	return ERR_OK;
}

void
store_put(struct store *s, struct bytes name, struct bytes record)
{
	overlay_put(&s->staged, name, record);
}

void
store_remove(struct store *s, struct bytes name)
{
	overlay_remove(&s->staged, name);
}

bool
store_is_dirty(const struct store *s)
{
	return s->state.applied != s->written || s->staged.n > 0;
}

enum err
store_write(struct store *s)
{
	struct wire w;
	enum err rc;

	buf_clear(&s->scratch);
	wire_encode(&w, &s->scratch);
	(void)state_wire(&w, &s->state); /* encoding ours cannot fail */
	overlay_put(&s->staged, record_name_state(), buf_bytes(&s->scratch));
	rc = s->ops->write(s->engine, s->staged.writes, s->staged.n);
	if (rc != ERR_OK)
		return rc;
	overlay_clear(&s->staged);
	s->written = s->state.applied;
	return ERR_OK;
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
	if (!failed && rc == ERR_OK && s->ops->durable)
		rc = marker_remove(s->dir);
	overlay_free(&s->staged);
	buf_free(&s->scratch);
	mem_free(s->dir);
	memset(s, 0, sizeof *s);
	return rc;
}
