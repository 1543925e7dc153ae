/* Pending writes by name; see overlay.h.
 *
 * Bytes live in chunks that do not move, so that the writes can be handed to
 * the engine as they are.  A record that fits where the one before it was takes
 * its place: what is written again and again takes no more room. */
#include "kvd/overlay.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kvd/record.h"

#define CHUNK_BYTES ((size_t)256 << 10) /* its head included */
#define WRITES_MIN 256u
/* Chunks that a table keeps while it is empty (store_shrink() frees them). */
#define SPARE_BYTES_MAX ((size_t)16 << 20)

/* Of a write, besides its bytes: slots are between a quarter and half full. */
#define WRITE_BYTES                                                            \
	(sizeof(struct engine_write) + sizeof(struct overlay_note) +           \
	    3 * sizeof(struct overlay_slot))

struct overlay_chunk {
	struct overlay_chunk *next;
	size_t used, cap; /* of data */
	uint8_t data[];
};
#define CHUNK_CAP (CHUNK_BYTES - sizeof(struct overlay_chunk))

static struct overlay_chunk *
take_chunk(struct overlay *o, size_t n)
{
	const size_t cap = n > CHUNK_CAP ? n : CHUNK_CAP;
	struct overlay_chunk *c = o->spare;

	if (cap > CHUNK_CAP)
		c = mem_alloc(sizeof *c + cap); /* malloc keeps it warm */
	else if (c != NULL)
		o->spare = c->next;
	else
		c = mem_zalloc_table(CHUNK_BYTES);
	c->cap = cap;
	c->used = 0;
	c->next = o->chunks;
	o->chunks = c;
	return c;
}

/* n bytes that stay where they are until the overlay is cleared. */
static uint8_t *
take_bytes(struct overlay *o, size_t n)
{
	struct overlay_chunk *c = o->chunks;
	uint8_t *p;

	if (c == NULL || c->cap - c->used < n)
		c = take_chunk(o, n);
	p = c->data + c->used;
	c->used += n;
	o->bytes += n;
	return p;
}

static struct bytes
keep_bytes(struct overlay *o, struct bytes b)
{
	uint8_t *p = take_bytes(o, b.len);

	if (b.len > 0)
		memcpy(p, b.data, b.len);
	return bytes_of(p, b.len);
}

/* The slot of that name, or the empty one where it belongs. */
static struct overlay_slot *
find_slot(const struct overlay *o, struct bytes name, uint32_t hash)
{
	const size_t mask = o->slots_cap - 1;
	size_t at = hash & mask;

	while (o->slots[at].at != 0 &&
	       (o->slots[at].hash != hash ||
		   !bytes_equal(o->writes[o->slots[at].at - 1].name, name)))
		at = (at + 1) & mask;
	return &o->slots[at];
}

static void
free_tables(struct overlay *o)
{
	mem_free_table(o->writes, o->cap * sizeof o->writes[0]);
	mem_free_table(o->notes, o->cap * sizeof o->notes[0]);
	mem_free_table(o->slots, o->slots_cap * sizeof o->slots[0]);
}

/* Room for one more write, slots at most half full. */
static void
grow(struct overlay *o)
{
	struct overlay old = *o;

	if (o->n < o->cap)
		return;
	o->cap = o->cap > 0 ? 2 * o->cap : WRITES_MIN;
	o->slots_cap = 2 * o->cap;
	o->writes = mem_zalloc_table(o->cap * sizeof o->writes[0]);
	o->notes = mem_zalloc_table(o->cap * sizeof o->notes[0]);
	o->slots = mem_zalloc_table(o->slots_cap * sizeof o->slots[0]);
	/* In the order in which they came, see clear_slots(). */
	for (size_t i = 0; i < o->n; i++) {
		const struct bytes name = old.writes[i].name;
		const uint32_t hash = (uint32_t)record_hash(name);

		o->writes[i] = old.writes[i];
		o->notes[i] = old.notes[i];
		*find_slot(o, name, hash) =
		    (struct overlay_slot){hash, (uint32_t)(i + 1)};
	}
	free_tables(&old);
}

/* The position of the write of that name, made if there is none. */
static size_t
find_or_add(
    struct overlay *o, struct bytes name, uint32_t hash, struct hash128 was)
{
	struct overlay_slot *slot;

	grow(o);
	slot = find_slot(o, name, hash);
	if (slot->at == 0) {
		assert(o->n < UINT32_MAX);
		o->writes[o->n] =
		    (struct engine_write){.name = keep_bytes(o, name)};
		o->notes[o->n] = (struct overlay_note){.was = was};
		o->n++;
		o->bytes += WRITE_BYTES;
		*slot = (struct overlay_slot){hash, (uint32_t)o->n};
	}
	return slot->at - 1;
}

void
overlay_put(struct overlay *o, struct bytes name, uint64_t hash,
    struct bytes record, struct hash128 was, struct hash128 is)
{
	const size_t at = find_or_add(o, name, (uint32_t)hash, was);
	struct engine_write *w = &o->writes[at];
	struct overlay_note *note = &o->notes[at];

	if (note->room >= record.len) {
		uint8_t *p = (uint8_t *)(uintptr_t)w->record.data;

		if (record.len > 0)
			memcpy(p, record.data, record.len);
		w->record = bytes_of(p, record.len);
	} else {
		w->record = keep_bytes(o, record);
		note->room = record.len;
	}
	w->remove = false;
	note->is = is;
}

void
overlay_remove(
    struct overlay *o, struct bytes name, uint64_t hash, struct hash128 was)
{
	const size_t at = find_or_add(o, name, (uint32_t)hash, was);

	o->writes[at].remove = true; /* the record's room is kept */
	o->notes[at].is = (struct hash128){0, 0};
}

void
overlay_expect(const struct overlay *o, uint64_t hash)
{
	if (o->slots_cap > 0)
		__builtin_prefetch(
		    &o->slots[(uint32_t)hash & (o->slots_cap - 1)]);
}

const struct engine_write *
overlay_find(const struct overlay *o, struct bytes name, uint64_t hash)
{
	const struct overlay_slot *slot;

	if (o->n == 0)
		return NULL;
	slot = find_slot(o, name, (uint32_t)hash);
	return slot->at == 0 ? NULL : &o->writes[slot->at - 1];
}

/* Emptying single slots is cheaper than all of them as long as few are in use:
 * one run may be large and a thousand small ones follow.  The newest first:
 * then what is still there is found. */
static void
clear_slots(struct overlay *o)
{
	if (o->slots_cap == 0)
		return;
	if (o->n >= o->slots_cap / 16) {
		memset(o->slots, 0, o->slots_cap * sizeof o->slots[0]);
		return;
	}
	for (size_t i = o->n; i-- > 0;) {
		const struct bytes name = o->writes[i].name;

		find_slot(o, name, (uint32_t)record_hash(name))->at = 0;
	}
}

static void
free_chunk(struct overlay_chunk *c)
{
	if (c->cap > CHUNK_CAP)
		mem_free(c);
	else
		mem_free_table(c, CHUNK_BYTES);
}

static void
free_chunks(struct overlay_chunk *c)
{
	struct overlay_chunk *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free_chunk(c);
	}
}

void
overlay_clear(struct overlay *o)
{
	struct overlay_chunk *c = o->chunks, *next;
	size_t spare = 0;

	clear_slots(o);
	o->n = 0;
	o->bytes = 0;
	o->chunks = NULL;
	/* The table before this one is no measure for those that follow. */
	free_chunks(o->spare);
	o->spare = NULL;
	for (; c != NULL; c = next) {
		next = c->next;
		if (c->cap == CHUNK_CAP && spare < SPARE_BYTES_MAX) {
			spare += CHUNK_BYTES;
			c->next = o->spare;
			o->spare = c;
		} else {
			free_chunk(c);
		}
	}
}

void
overlay_free(struct overlay *o)
{
	free_chunks(o->chunks);
	free_chunks(o->spare);
	free_tables(o);
	memset(o, 0, sizeof *o);
}
