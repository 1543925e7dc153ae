/* A store that cannot be read; see damage.h. */
#include "kvd/damage.h"

#include <inttypes.h>

#include "base/log.h"
#include "kvd/dirs.h"

void
damage_open(struct damage *d, const char *kv_dir)
{
	const struct engine_ops *ops;

	*d = (struct damage){.kv_dir = kv_dir};
	for (size_t i = 0; (ops = engine_at(i)) != NULL; i++)
		d->aside |=
		    ops->durable && dirs_exists_damaged(kv_dir, ops->name);
}

enum err
damage_set_aside(struct damage *d, const struct engine_ops *ops)
{
	const struct dirs_path aside =
	    dirs_path(d->kv_dir, ops->name, ".damaged");
	enum err rc;

	if (!dirs_has_room(d->kv_dir, ops->name)) {
		log_errorx("the store is damaged: it is removed, there is no "
			   "room to keep it, and made anew from raftd; look "
			   "for the cause, a disk or memory that fails "
			   "engine=%s",
		    ops->name);
		return dirs_remove(d->kv_dir, ops->name);
	}
	if ((rc = dirs_set_aside(d->kv_dir, ops->name)) != ERR_OK)
		return rc;
	log_errorx("the store is damaged: it is set aside and made anew from "
		   "raftd; look for the cause, a disk or memory that fails "
		   "engine=%s aside=%s",
	    ops->name, aside.text);
	d->aside = true;
	return ERR_OK;
}

void
damage_met(struct damage *d, uint64_t published)
{
	if (d->met)
		return;
	d->met = true;
	d->target = published;
}

void
damage_run(struct damage *d, const struct store *s, uint64_t durable)
{
	const struct engine_ops *ops;

	if (!d->aside || !d->met || s->flushed.applied < d->target ||
	    (s->ops->durable && durable < d->target))
		return;
	d->aside = false;
	for (size_t i = 0; (ops = engine_at(i)) != NULL; i++)
		if (ops->durable && dirs_exists_damaged(d->kv_dir, ops->name) &&
		    dirs_remove_damaged(d->kv_dir, ops->name) == ERR_OK)
			log_info("removed the damaged store, there is a new "
				 "one engine=%s applied=%" PRIu64,
			    ops->name, s->flushed.applied);
}
