/* Heads of keys in a table; see heads.h.
 *
 * A key's hash names a pair of entries.  A new key takes the first of them, and
 * what was there the second, so the one that came earlier is forgotten.  The
 * table is doubled when it is half full, until it is as large as it may be. */
#include "kvd/heads.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define LINE_BYTES 64u /* of the processor's caches */

struct heads_entry {
	struct key_head head;
	uint32_t tag;    /* of the key's hash */
	uint8_t key_len; /* 0: no key is here */
	uint8_t key[HEADS_KEY_BYTES_MAX];
};
static_assert(sizeof(struct heads_entry) == 2 * LINE_BYTES, "no line in vain");

#define PAIRS_MIN 64u
#define PAIRS_MAX (HEADS_BYTES_MAX / sizeof(struct heads_entry) / 2)
static_assert((PAIRS_MAX & (PAIRS_MAX - 1)) == 0, "see pair_of()");

uint64_t
heads_hash(struct bytes key)
{
	return hash64(key.data, key.len, 0);
}

static struct heads_entry *
pair_of(const struct heads *h, uint64_t hash)
{
	return &h->entries[2 * (hash & (h->pairs - 1))];
}

static uint32_t
tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

void
heads_expect(const struct heads *h, uint64_t hash)
{
	const struct heads_entry *pair;

	if (h->entries == NULL)
		return;
	pair = pair_of(h, hash);
	__builtin_prefetch(&pair[0].head);
	__builtin_prefetch(&pair[0].key_len);
	__builtin_prefetch(&pair[1].tag);
}

static bool
is_of(const struct heads_entry *e, struct bytes key, uint64_t hash)
{
	return e->tag == tag_of(hash) && e->key_len == key.len &&
	       memcmp(e->key, key.data, key.len) == 0;
}

static struct heads_entry *
find(const struct heads *h, struct bytes key, uint64_t hash)
{
	struct heads_entry *pair;

	if (h->entries == NULL || key.len > HEADS_KEY_BYTES_MAX)
		return NULL;
	pair = pair_of(h, hash);
	if (is_of(&pair[0], key, hash))
		return &pair[0];
	return is_of(&pair[1], key, hash) ? &pair[1] : NULL;
}

bool
heads_find(const struct heads *h, struct bytes key, uint64_t hash,
    struct key_head *head)
{
	const struct heads_entry *e = find(h, key, hash);

	if (e != NULL)
		*head = e->head;
	return e != NULL;
}

static void
make_entries(struct heads *h, size_t pairs)
{
	const size_t bytes = 2 * sizeof(struct heads_entry);
	uintptr_t at;

	h->memory = mem_zalloc(pairs + 1, bytes);
	at = (uintptr_t)h->memory + LINE_BYTES - 1;
	h->entries = (struct heads_entry *)(at - at % LINE_BYTES);
	h->pairs = pairs;
	h->n = 0;
}

/* The first of its pair, where the other one's key was. */
static struct heads_entry *
add(struct heads *h, struct bytes key, uint64_t hash)
{
	struct heads_entry *pair = pair_of(h, hash);

	if (pair[0].key_len == 0 || pair[1].key_len == 0)
		h->n++;
	if (pair[0].key_len > 0)
		pair[1] = pair[0];
	pair[0].tag = tag_of(hash);
	pair[0].key_len = (uint8_t)key.len;
	memcpy(pair[0].key, key.data, key.len);
	return &pair[0];
}

/* Room for another key, if there may be. */
static void
grow(struct heads *h)
{
	const struct heads old = *h;

	if (h->pairs == PAIRS_MAX || (h->pairs > 0 && h->n < h->pairs))
		return;
	make_entries(h, h->pairs > 0 ? 2 * h->pairs : PAIRS_MIN);
	/* Backwards: the later of a pair is older. */
	for (size_t i = 2 * old.pairs; i-- > 0;) {
		const struct heads_entry *e = &old.entries[i];
		const struct bytes key = bytes_of(e->key, e->key_len);

		if (key.len > 0)
			add(h, key, heads_hash(key))->head = e->head;
	}
	mem_free(old.memory);
}

void
heads_put(struct heads *h, struct bytes key, uint64_t hash,
    const struct key_head *head)
{
	struct heads_entry *e = find(h, key, hash);

	assert(key.len > 0);
	if (key.len > HEADS_KEY_BYTES_MAX)
		return;
	if (e == NULL) {
		grow(h);
		e = add(h, key, hash);
	}
	e->head = *head;
}

void
heads_remove(struct heads *h, struct bytes key, uint64_t hash)
{
	struct heads_entry *e = find(h, key, hash);

	if (e == NULL)
		return;
	e->key_len = 0;
	h->n--;
}

void
heads_free(struct heads *h)
{
	mem_free(h->memory);
	memset(h, 0, sizeof *h);
}
