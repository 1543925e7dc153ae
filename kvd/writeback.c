/* When the engine is written; see writeback.h. */
#include "kvd/writeback.h"

#include <sysexits.h>

#include "base/log.h"
#include "kvd/flush.h"
#include "kvd/kvd.h"
#include "kvd/sync.h"

void
writeback_open(struct kvd *k)
{
	k->flush_at = k->shrink_at = MONO_NEVER;
	if (k->loop == NULL)
		return;
	k->syncer =
	    syncer_open(k->loop, k->store.ops, k->store.engine, SYNC_MS);
	if (engine_sizes.write_bytes != 0 &&
	    k->write_back_bytes > engine_sizes.write_bytes)
		k->write_back_bytes = engine_sizes.write_bytes;
	if (k->store.ops->concurrent && k->write_back_bytes > 0)
		k->flusher = flusher_open(k->loop, &k->store);
}

bool
writeback_close(struct kvd *k)
{
	bool synced;

	flusher_close(k->flusher);
	synced = syncer_close(k->syncer);
	k->flusher = NULL;
	k->syncer = NULL;
	return synced;
}

static void
freeze(struct kvd *k)
{
	sessions_stage(k->sessions);
	store_freeze(&k->store);
	k->flush_at = MONO_NEVER;
	k->flush_began = mono_now();
}

/* Less than that is not worth it. */
#define SHRINK_BYTES ((size_t)1 << 20)
/* Once it is time, and there is something to write or to sync. */
#define SHRINK_RETRY_MS 1000u

static void
settle(struct kvd *k)
{
	if (k->flusher != NULL && k->store.frozen.bytes >= SHRINK_BYTES)
		k->shrink_at = mono_add_ms(mono_now(), WRITE_BACK_SHRINK_MS);
	histogram_add_since(
	    &k->figures.writes, HISTOGRAM_NET_NS, k->flush_began, mono_now());
	check_written(k->check, &k->store);
	store_settle(&k->store);
}

/* Nothing is frozen: write what is staged, here and now. */
static void
write_now(struct kvd *k)
{
	enum err rc;

	if (!store_is_dirty(&k->store))
		return;
	freeze(k);
	rc = store_write_frozen(&k->store, k->store.frozen.writes);
	if (rc == ERR_OK)
		settle(k);
	else
		kvd_fail(k, rc); /* an entry is never skipped */
}

static void
take_flush(struct kvd *k, enum flush_state state, enum err why)
{
	switch (state) {
	case FLUSH_IDLE:
	case FLUSH_RUNS:
		break;
	case FLUSH_WRITTEN:
		settle(k);
		break;
	case FLUSH_FAILED:
		kvd_fail(k, why);
		break;
	}
}

static void
poll_flush(struct kvd *k)
{
	enum err why;
	enum flush_state state = flusher_poll(k->flusher, &why);

	take_flush(k, state, why);
}

static void
wait_for_flush(struct kvd *k)
{
	enum err why;
	enum flush_state state = flusher_wait(k->flusher, &why);

	take_flush(k, state, why);
}

void
writeback_collect(struct kvd *k)
{
	if (k->flusher == NULL)
		write_now(k);
	else if (store_is_frozen(&k->store))
		poll_flush(k);
}

static bool
is_full(const struct kvd *k)
{
	return k->store.active.bytes >= k->write_back_bytes;
}

/* Before the flush is done, if that takes its time. */
static bool
will_be_full(const struct kvd *k)
{
	return k->store.active.bytes >= k->write_back_bytes / 2 ||
	       snapshot_waits(k);
}

/* The syncer has nothing to do either: it hears of what is flushed at the end
 * of a turn, and says when that is durable. */
static bool
is_idle(const struct kvd *k)
{
	const struct store *s = &k->store;

	return !store_is_frozen(s) && !store_is_dirty(s) &&
	       k->durable == s->flushed.applied && k->snapshot.iter == NULL;
}

static void
shrink(struct kvd *k, struct mono now)
{
	enum err rc;

	if (!is_idle(k)) {
		k->shrink_at = mono_add_ms(now, SHRINK_RETRY_MS);
		return;
	}
	k->shrink_at = MONO_NEVER;
	log_debug("memory for writes is given back");
	if ((rc = store_shrink(&k->store)) != ERR_OK)
		kvd_fail(k, rc);
}

void
writeback_run(struct kvd *k, struct mono now)
{
	if (k->exit_code != 0 || k->flusher == NULL)
		return;
	if (mono_reached(k->shrink_at, now))
		shrink(k, now);
	if (store_is_frozen(&k->store) && will_be_full(k))
		flusher_hurry(k->flusher);
	if (!store_is_dirty(&k->store))
		return;
	k->flush_at =
	    mono_earlier(k->flush_at, mono_add_ms(now, WRITE_BACK_MS));
	if (store_is_frozen(&k->store) ||
	    !(is_full(k) || mono_reached(k->flush_at, now) ||
		snapshot_waits(k)))
		return;
	freeze(k);
	flusher_start(k->flusher);
}

struct mono
writeback_next(const struct kvd *k)
{
	return store_is_frozen(&k->store)
		   ? MONO_NEVER
		   : mono_earlier(k->flush_at, k->shrink_at);
}

uint64_t
writeback_progress(const struct kvd *k, uint64_t told)
{
	const struct store *s = &k->store;

	if (k->flusher == NULL || !store_is_frozen(s) || !is_full(k))
		return s->state.applied;
	return told > s->flushed.applied ? told : s->flushed.applied;
}

void
writeback_finish(struct kvd *k)
{
	if (k->flusher == NULL)
		return; /* each turn was written */
	if (store_is_frozen(&k->store))
		wait_for_flush(k);
	if (k->exit_code == EX_IOERR || !store_is_dirty(&k->store))
		return;
	freeze(k);
	flusher_start(k->flusher);
	wait_for_flush(k);
}
