/* Pending writes by name; see overlay.h.
 *
 * Bytes live in chunks that do not move, so that the writes can be handed to
 * the engine as they are. */
#include "kvd/overlay.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define CHUNK_BYTES ((size_t)256 << 10)
#define WRITES_MIN 256u

struct overlay_chunk {
	struct overlay_chunk *next;
	size_t used, cap;
	uint8_t data[];
};

/* n bytes that stay where they are until the overlay is cleared. */
static uint8_t *
take_bytes(struct overlay *o, size_t n)
{
	struct overlay_chunk *c = o->chunks;
	uint8_t *p;

	if (c == NULL || c->cap - c->used < n) {
		const size_t cap = n > CHUNK_BYTES ? n : CHUNK_BYTES;

		c = mem_alloc(sizeof *c + cap);
		c->used = 0;
		c->cap = cap;
		c->next = o->chunks;
		o->chunks = c;
	}
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
static uint32_t *
find_slot(const struct overlay *o, struct bytes name)
{
	const size_t mask = o->slots_cap - 1;
	size_t at = (size_t)hash64(name.data, name.len, 0) & mask;

	while (o->slots[at] != 0 &&
	       !bytes_equal(o->writes[o->slots[at] - 1].name, name))
		at = (at + 1) & mask;
	return &o->slots[at];
}

/* Room for one more write, slots at most half full. */
static void
grow(struct overlay *o)
{
	if (o->n < o->cap)
		return;
	o->cap = o->cap > 0 ? 2 * o->cap : WRITES_MIN;
	o->writes = mem_resize(o->writes, o->cap, sizeof o->writes[0]);
	mem_free(o->slots);
	o->slots_cap = 2 * o->cap;
	o->slots = mem_zalloc(o->slots_cap, sizeof o->slots[0]);
	for (size_t i = 0; i < o->n; i++)
		*find_slot(o, o->writes[i].name) = (uint32_t)(i + 1);
}

/* The write of that name, made if there is none. */
static struct engine_write *
find_or_add(struct overlay *o, struct bytes name)
{
	uint32_t *slot;

	grow(o);
	slot = find_slot(o, name);
	if (*slot == 0) {
		assert(o->n < UINT32_MAX);
		o->writes[o->n++].name = keep_bytes(o, name);
		*slot = (uint32_t)o->n;
	}
	return &o->writes[*slot - 1];
}

void
overlay_put(struct overlay *o, struct bytes name, struct bytes record)
{
	struct engine_write *w = find_or_add(o, name);

	w->record = keep_bytes(o, record);
	w->remove = false;
}

void
overlay_remove(struct overlay *o, struct bytes name)
{
	struct engine_write *w = find_or_add(o, name);

	w->record = bytes_of(NULL, 0);
	w->remove = true;
}

const struct engine_write *
overlay_find(const struct overlay *o, struct bytes name)
{
	const uint32_t *slot;

	if (o->n == 0)
		return NULL;
	slot = find_slot(o, name);
	return *slot == 0 ? NULL : &o->writes[*slot - 1];
}

void
overlay_clear(struct overlay *o)
{
	struct overlay_chunk *c = o->chunks, *next;

	/* Emptying single slots is cheaper than all of them as long as few
	 * are in use: one run may be large and a thousand small ones follow. */
	if (o->n < o->slots_cap / 16) {
		for (size_t i = o->n; i-- > 0;)
			*find_slot(o, o->writes[i].name) = 0;
	} else if (o->slots_cap > 0) {
		memset(o->slots, 0, o->slots_cap * sizeof o->slots[0]);
	}
	o->n = 0;
	o->bytes = 0;
	o->chunks = NULL;
	for (; c != NULL; c = next) {
		next = c->next;
		if (o->chunks == NULL && c->cap == CHUNK_BYTES) {
			c->used = 0;
			c->next = NULL;
			o->chunks = c;
		} else {
			mem_free(c);
		}
	}
}

void
overlay_free(struct overlay *o)
{
	struct overlay_chunk *c, *next;

	for (c = o->chunks; c != NULL; c = next) {
		next = c->next;
		mem_free(c);
	}
	mem_free(o->writes);
	mem_free(o->slots);
	memset(o, 0, sizeof *o);
}
