/* Places of records; see places.h.
 *
 * A hash names two places that share a line of the processor's caches; a new
 * one is the first of them, and what was there the second. */
#include "kvd/places.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

struct place {
	const uint8_t *name;
	const uint8_t *record;
	uint32_t name_len;
	uint32_t record_len;
	uint32_t hash; /* the upper half */
	uint32_t view;
};
static_assert(sizeof(struct place) == 32, "two to a line");

#define PAIRS (PLACES_BYTES / sizeof(struct place) / 2)
static_assert((PAIRS & (PAIRS - 1)) == 0, "see pair_of()");

static struct place *
pair_of(const struct places *p, uint64_t hash)
{
	return &p->table[2 * (hash & (PAIRS - 1))];
}

static bool
is_of(const struct places *p, const struct place *at, struct bytes name,
    uint64_t hash)
{
	return at->view == p->view && at->hash == (uint32_t)(hash >> 32) &&
	       bytes_equal(bytes_of(at->name, at->name_len), name);
}

bool
places_find(const struct places *p, struct bytes name, uint64_t hash,
    struct bytes *record)
{
	const struct place *at;

	if (p->table == NULL)
		return false;
	at = pair_of(p, hash);
	if (!is_of(p, at, name, hash) && !is_of(p, ++at, name, hash))
		return false;
	*record = bytes_of(at->record, at->record_len);
	return true;
}

void
places_put(
    struct places *p, struct bytes name, uint64_t hash, struct bytes record)
{
	struct place *pair;

	assert(name.len > 0);
	if (record.len > UINT32_MAX)
		return;
	if (p->table == NULL) {
		p->table = mem_zalloc_table(PLACES_BYTES);
		p->view = 1; /* a zeroed place is of none */
	}
	pair = pair_of(p, hash);
	pair[1] = pair[0];
	pair[0] = (struct place){.name = name.data,
	    .record = record.data,
	    .name_len = (uint32_t)name.len,
	    .record_len = (uint32_t)record.len,
	    .hash = (uint32_t)(hash >> 32),
	    .view = p->view};
}

void
places_forget(struct places *p)
{
	if (p->view == UINT32_MAX)
		places_free(p);
	else if (p->table != NULL)
		p->view++;
}

void
places_free(struct places *p)
{
	mem_free_table(p->table, PLACES_BYTES);
	memset(p, 0, sizeof *p);
}
