/* Heads of keys in a table; see heads.h.
 *
 * A key's hash names a set of four lines of the processor's caches.  An entry
 * is one line, with the key at its end, or two if the key is too long for that.
 * Entries of a set stand one behind the other, the newest first; a new one
 * moves the others back, and what does not fit any more is forgotten.  A line
 * where an entry could begin and whose key_len is 0 ends the set.
 *
 * The table is doubled when it is half full, until it is as large as it may be:
 * of 90,000 short keys 99 in a hundred are here then, once all were written
 * again (94 after the first time: what was forgotten before it had grown stays
 * so), nine in ten with half of it; of entries of two lines each, in sets of
 * two, it was six in ten. */
#include "kvd/heads.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "kvd/record.h"

#define LINE_BYTES 64u
#define SET_LINES 4u

struct heads_line {
	struct hash128 hash;
	uint64_t create_revision;
	uint64_t mod_revision;
	uint64_t version;
	uint32_t value_bytes;
	uint16_t tag;    /* of the key's hash */
	uint8_t key_len; /* 0: no entry begins here */
	uint8_t key[17]; /* and on in the next line */
};
static_assert(sizeof(struct heads_line) == LINE_BYTES, "one line");

struct heads_set {
	struct heads_line lines[SET_LINES];
};

#define KEY_OFFSET offsetof(struct heads_line, key)
static_assert(KEY_OFFSET + HEADS_KEY_BYTES_MAX == 2 * LINE_BYTES, "two lines");

#define SETS_MIN 64u
#define SETS_MAX (HEADS_BYTES_MAX / sizeof(struct heads_set))
static_assert((SETS_MAX & (SETS_MAX - 1)) == 0, "see set_of()");

static struct heads_line *
set_of(const struct heads *h, uint64_t hash)
{
	return h->sets[hash & (h->n_sets - 1)].lines;
}

static uint16_t
tag_of(uint64_t hash)
{
	return (uint16_t)(hash >> 48);
}

static size_t
lines_of(size_t key_len)
{
	return KEY_OFFSET + key_len <= LINE_BYTES ? 1 : 2;
}

/* All of its bytes, over the end of the line. */
static uint8_t *
key_of(const struct heads_line *e)
{
	return (uint8_t *)(uintptr_t)e + KEY_OFFSET;
}

void
heads_expect(const struct heads *h, uint64_t hash)
{
	const struct heads_line *set;

	if (h->sets == NULL)
		return;
	set = set_of(h, hash);
	for (size_t i = 0; i < SET_LINES; i++)
		__builtin_prefetch(&set[i]);
}

/* The place behind the entry at `at`; its place if there is none. */
static size_t
next(const struct heads_line *set, size_t at)
{
	return set[at].key_len == 0 ? at : at + lines_of(set[at].key_len);
}

static bool
is_end(const struct heads_line *set, size_t at)
{
	return at == SET_LINES || set[at].key_len == 0;
}

static size_t
lines_used(const struct heads_line *set)
{
	size_t at = 0;

	while (!is_end(set, at))
		at = next(set, at);
	return at;
}

static bool
is_of(const struct heads_line *e, struct bytes key, uint64_t hash)
{
	return e->tag == tag_of(hash) && e->key_len == key.len &&
	       memcmp(key_of(e), key.data, key.len) == 0;
}

static struct heads_line *
find(const struct heads *h, struct bytes key, uint64_t hash)
{
	struct heads_line *set;

	if (h->sets == NULL || key.len > HEADS_KEY_BYTES_MAX)
		return NULL;
	set = set_of(h, hash);
	for (size_t at = 0; !is_end(set, at); at = next(set, at))
		if (is_of(&set[at], key, hash))
			return &set[at];
	return NULL;
}

bool
heads_find(const struct heads *h, struct bytes key, uint64_t hash,
    struct key_head *head)
{
	const struct heads_line *e = find(h, key, hash);

	if (e == NULL)
		return false;
	*head = (struct key_head){.hash = e->hash,
	    .create_revision = e->create_revision,
	    .mod_revision = e->mod_revision,
	    .version = e->version,
	    .value_bytes = e->value_bytes};
	return true;
}

static void
fill(struct heads_line *e, const struct key_head *head)
{
	assert(head->value_bytes <= UINT32_MAX);
	e->hash = head->hash;
	e->create_revision = head->create_revision;
	e->mod_revision = head->mod_revision;
	e->version = head->version;
	e->value_bytes = (uint32_t)head->value_bytes;
}

/* Lines that were moved back may have lost what followed them. */
static void
forget_cut_entry(struct heads_line *set)
{
	size_t at = 0;

	while (!is_end(set, at) && next(set, at) <= SET_LINES)
		at = next(set, at);
	if (at < SET_LINES)
		set[at].key_len = 0;
}

/* The first one of its set; the caller fills the rest of it. */
static struct heads_line *
add(struct heads *h, struct bytes key, uint64_t hash)
{
	struct heads_line *set = set_of(h, hash);
	const size_t n = lines_of(key.len);

	h->lines -= lines_used(set);
	memmove(set + n, set, (SET_LINES - n) * sizeof set[0]);
	set->tag = tag_of(hash);
	set->key_len = (uint8_t)key.len;
	memcpy(key_of(set), key.data, key.len);
	forget_cut_entry(set);
	h->lines += lines_used(set);
	return set;
}

/* What a smaller table had, the oldest of a set first. */
static void
add_set(struct heads *h, const struct heads_line *set)
{
	size_t places[SET_LINES], n = 0;

	for (size_t at = 0; !is_end(set, at); at = next(set, at))
		places[n++] = at;
	while (n-- > 0) {
		const struct heads_line *e = &set[places[n]];
		const struct bytes key = bytes_of(key_of(e), e->key_len);

		memcpy(add(h, key, record_hash_of_key(key)), e,
		    offsetof(struct heads_line, tag));
	}
}

static void
free_sets(struct heads *h)
{
	mem_free_table(h->sets, h->n_sets * sizeof h->sets[0]);
}

/* Room for another key, if there may be. */
static void
grow(struct heads *h)
{
	struct heads old = *h;

	if (h->n_sets == SETS_MAX ||
	    (h->n_sets > 0 && h->lines < h->n_sets * SET_LINES / 2))
		return;
	h->n_sets = h->n_sets > 0 ? 2 * h->n_sets : SETS_MIN;
	h->sets = mem_zalloc_table(h->n_sets * sizeof h->sets[0]);
	h->lines = 0;
	for (size_t i = 0; i < old.n_sets; i++)
		add_set(h, old.sets[i].lines);
	free_sets(&old);
}

void
heads_put(struct heads *h, struct bytes key, uint64_t hash,
    const struct key_head *head)
{
	struct heads_line *e = find(h, key, hash);

	assert(key.len > 0);
	if (key.len > HEADS_KEY_BYTES_MAX)
		return;
	if (e == NULL) {
		grow(h);
		e = add(h, key, hash);
	}
	fill(e, head);
}

void
heads_remove(struct heads *h, struct bytes key, uint64_t hash)
{
	struct heads_line *e = find(h, key, hash);
	struct heads_line *set;
	size_t n, at;

	if (e == NULL)
		return;
	set = set_of(h, hash);
	at = (size_t)(e - set);
	n = lines_of(key.len);
	memmove(e, e + n, (SET_LINES - at - n) * sizeof set[0]);
	memset(set + SET_LINES - n, 0, n * sizeof set[0]);
	h->lines -= n;
}

void
heads_free(struct heads *h)
{
	free_sets(h);
	memset(h, 0, sizeof *h);
}
