/* Hashing all keys anew, in the background; see check.h. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "kvd/check_private.h"

/* A slice, and what it may take of the loop's time: one part in PAUSE_FACTOR,
 * and no more often than PAUSE_MS. */
#define SLICE_BYTES ((size_t)256 << 10)
#define PAUSE_FACTOR 20u
#define PAUSE_MS 4u

void
scrub_again_later(struct scrub *s, struct mono now)
{
	s->next =
	    s->interval_ms == 0 ? MONO_NEVER : mono_add_ms(now, s->interval_ms);
}

void
check_written(struct check *c, const struct store *st)
{
	struct scrub *s = &c->scrub;
	const struct bytes cursor = bytes_of(s->cursor.data, s->cursor.len);
	const struct overlay *o = &st->frozen;

	for (size_t i = 0; s->running && i < o->n; i++) {
		if (bytes_compare(o->writes[i].name, cursor) > 0)
			continue; /* also all but keys: they count nothing */
		s->sum = hash128_sub(s->sum, o->notes[i].was);
		s->sum = hash128_add(s->sum, o->notes[i].is);
	}
}

void
check_found_damage(
    struct check *c, const struct store *st, struct hash128 found)
{
	char wanted[HASH128_HEX_BYTES], stored[HASH128_HEX_BYTES];

	if (c->scrub.failed_at == 0) { /* once is enough */
		hash128_hex(st->flushed.hash, wanted);
		hash128_hex(found, stored);
		log_errorx("store is damaged, what is stored is not what was "
			   "written; kvd --rebuild makes it anew from raftd "
			   "dir=%s applied=%" PRIu64 " hash=%s stored_hash=%s",
		    st->dir, st->flushed.applied, wanted, stored);
	}
	c->scrub.failed_at = st->flushed.applied;
}

bool
check_is_damaged(const struct check *c)
{
	return c->scrub.failed_at != 0;
}

static void
finish(struct check *c, const struct store *st, struct mono now)
{
	struct scrub *s = &c->scrub;

	s->running = false;
	scrub_again_later(s, now);
	if (s->sum.lo != st->flushed.hash.lo ||
	    s->sum.hi != st->flushed.hash.hi)
		check_found_damage(c, st, s->sum);
	log_debug("scrub done applied=%" PRIu64, st->flushed.applied);
}

static void
add_key(struct scrub *s, struct bytes name, struct bytes record)
{
	const struct bytes key = bytes_of(name.data + 1, name.len - 1);

	assert(name.len <= sizeof s->cursor.data);
	s->sum = hash128_add(s->sum, key_record_hash(key, record, &s->scratch));
	memcpy(s->cursor.data, name.data, name.len);
	s->cursor.len = name.len;
}

/* ERR_NOT_FOUND: that was the last one. */
static enum err
hash_slice(struct scrub *s, struct store *st)
{
	const struct bytes prefix = bytes_of_str(RECORD_KEY_PREFIX);
	const struct record_name from = s->cursor;
	const struct bytes start = bytes_of(from.data, from.len);
	struct engine_iter *i;
	struct bytes name, record;
	size_t bytes = 0;
	enum err rc = st->ops->scan(st->engine, prefix, start, &i);

	if (rc != ERR_OK)
		return rc;
	while (bytes < SLICE_BYTES &&
	       (rc = st->ops->scan_next(i, &name, &record)) == ERR_OK) {
		if (bytes_equal(name, start))
			continue; /* the end of the slice before */
		bytes += name.len + record.len;
		add_key(s, name, record);
	}
	st->ops->scan_close(i);
	return rc;
}

void
check_run(struct check *c, struct store *st, struct mono now)
{
	struct scrub *s = &c->scrub;
	uint64_t pause_ms;
	enum err rc;

	if (!mono_reached(s->next, now))
		return;
	assert(!store_is_frozen(st));
	if (!s->running) {
		s->running = true;
		s->cursor.len = 0;
		s->sum = (struct hash128){0, 0};
	}
	rc = hash_slice(s, st);
	if (rc == ERR_NOT_FOUND) {
		finish(c, st, mono_now());
		return;
	}
	if (rc != ERR_OK) {
		check_found_damage(c, st, s->sum);
		s->running = false;
		scrub_again_later(s, mono_now());
		return;
	}
	pause_ms = mono_us_since(now, mono_now()) * PAUSE_FACTOR / 1000;
	s->next =
	    mono_add_ms(mono_now(), pause_ms > PAUSE_MS ? pause_ms : PAUSE_MS);
}

struct mono
check_next(const struct check *c)
{
	return c->scrub.next;
}
