/* From one engine's store to another's; see adopt.h. */
#include "kvd/adopt.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mono.h"
#include "kvd/dirs.h"
#include "kvd/load.h"
#include "kvd/snapshot.h"

/* All records of `from` into l, in chunks. */
static enum err
copy_records(struct load *l, struct store *from)
{
	const struct bytes all = bytes_of(NULL, 0);
	struct engine_iter *i;
	struct buf chunk = {0};
	struct hash128 sum = {0, 0}; /* load.c has its own */
	struct mono told = mono_now();
	enum err rc, end = ERR_OK;

	if ((rc = from->ops->scan(from->engine, all, all, &i)) != ERR_OK)
		return rc;
	while (rc == ERR_OK && end == ERR_OK) {
		buf_clear(&chunk);
		end = snapshot_fill(from->ops, i, &chunk, &sum);
		if (end != ERR_OK && end != ERR_NOT_FOUND)
			rc = end;
		else
			rc = load_chunk(l, buf_bytes(&chunk));
		if (mono_ms_since(told, mono_now()) >= 1000) {
			told = mono_now();
			log_info("changing the engine keys=%" PRIu64
				 " of=%" PRIu64,
			    load_keys(l), from->state.keys);
		}
	}
	from->ops->scan_close(i);
	buf_free(&chunk);
	return rc;
}

/* *s becomes what `from` has.  *swapped: an error is one of *s. */
static enum err
copy_store(
    const char *kv_dir, struct store *s, struct store *from, bool *swapped)
{
	const struct msg_snap_head head = snapshot_head(&from->state, 0);
	struct load *l;
	enum err rc;

	*swapped = false;
	rc = load_open(&l, s->ops, kv_dir, &from->state, &head);
	if (rc != ERR_OK)
		return rc;
	if ((rc = copy_records(l, from)) != ERR_OK ||
	    (rc = load_finish(l)) != ERR_OK) {
		load_abandon(&l);
		return rc;
	}
	*swapped = true;
	return load_swap(&l, s);
}

static void
remove_later(struct adopt *a, const struct engine_ops *ops, uint64_t applied)
{
	assert(a->count < ADOPT_ENGINES_MAX);
	a->old[a->count].ops = ops;
	a->old[a->count++].applied = applied;
}

static bool
is_same_state(const struct state *a, const struct state *b)
{
	return a->applied == b->applied && a->keys == b->keys &&
	       a->hash.lo == b->hash.lo && a->hash.hi == b->hash.hi;
}

/* Is what the two stores have of the same node, as far as can be seen? */
static bool
is_ours(const struct store *s, const struct store *from)
{
	if (s->state.applied == 0 || from->state.applied == 0)
		return true;
	if (s->state.cluster == from->state.cluster &&
	    s->state.node == from->state.node &&
	    s->state.incarnation == from->state.incarnation)
		return true;
	log_warnx("the store of another engine is of another cluster or node; "
		  "it is left alone, remove it by hand dir=%s",
	    from->dir);
	return false;
}

static enum err
take_over(struct adopt *a, struct store *s, struct store *from)
{
	const struct mono start = mono_now();
	const uint64_t applied = from->state.applied;
	bool swapped;
	enum err rc;

	log_info("changing the engine from=%s to=%s applied=%" PRIu64
		 " keys=%" PRIu64,
	    from->ops->name, s->ops->name, applied, from->state.keys);
	rc = copy_store(a->kv_dir, s, from, &swapped);
	if (rc != ERR_OK && swapped)
		return rc;
	remove_later(a, from->ops, applied);
	if (rc != ERR_OK)
		log_warnx("the store of another engine cannot be used, this "
			  "one is filled from raftd dir=%s",
		    from->dir);
	else
		log_info("changed the engine from=%s to=%s ms=%" PRIu64,
		    from->ops->name, s->ops->name,
		    mono_ms_since(start, mono_now()));
	return ERR_OK;
}

static enum err
compare(struct adopt *a, struct store *s, struct store *from)
{
	if (!is_ours(s, from))
		return ERR_OK;
	if (from->state.applied > s->state.applied)
		return take_over(a, s, from);
	if (from->state.applied == s->state.applied &&
	    !is_same_state(&from->state, &s->state)) {
		log_errorx("two engines' stores differ at the same index; "
			   "remove the wrong one applied=%" PRIu64
			   " dir=%s other_dir=%s",
		    s->state.applied, s->dir, from->dir);
		return ERR_OK;
	}
	remove_later(a, from->ops, from->state.applied);
	return ERR_OK;
}

enum err
adopt_begin(struct adopt *a, const char *kv_dir, struct store *s)
{
	const struct engine_ops *ops;
	enum err rc = ERR_OK;

	a->kv_dir = kv_dir;
	for (size_t i = 0; rc == ERR_OK && (ops = engine_at(i)) != NULL; i++) {
		const struct dirs_path dir = dirs_path(kv_dir, ops->name, "");
		struct store from;

		if (ops == s->ops || !ops->durable ||
		    !dirs_exists(kv_dir, ops->name))
			continue;
		if (store_open(&from, ops, dir.text) != ERR_OK) {
			log_warnx("the store of another engine is left alone "
				  "dir=%s",
			    dir.text);
			continue;
		}
		rc = compare(a, s, &from);
		/* As durable as it can be, until ours is. */
		(void)store_close(&from, false); /* logged */
	}
	return rc;
}

void
adopt_run(struct adopt *a, const struct store *s, uint64_t durable)
{
	if (a->count == 0 || !a->confirmed)
		return;
	for (size_t i = 0; i < a->count;) {
		if (s->flushed.applied < a->old[i].applied ||
		    (s->ops->durable && durable < a->old[i].applied)) {
			i++;
			continue;
		}
		if (dirs_remove(a->kv_dir, a->old[i].ops->name) == ERR_OK)
			log_info("removed the store of another engine "
				 "engine=%s applied=%" PRIu64,
			    a->old[i].ops->name, a->old[i].applied);
		a->old[i] = a->old[--a->count];
	}
}
