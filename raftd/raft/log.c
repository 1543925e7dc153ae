/* The log as the core sees it: entries that are not known to be durable (the
 * tail), above what is on stable storage. */
#include "raftd/raft/core.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* ---- sizes ---- */

static uint64_t
varint_size(uint64_t value)
{
	uint64_t size = 1;

	for (; value >= 0x80; value >>= 7)
		size++;
	return size;
}

uint64_t
raft_entry_size(const struct raft_entry *e)
{
	/* One byte of tag per field: term and index always, type if not the
	 * default, data if given. */
	uint64_t size = 2 + varint_size(e->term) + varint_size(e->index);

	if (e->type != RAFT_ENTRY_NORMAL)
		size += 2;
	if (e->data != NULL)
		size += 1 + varint_size(e->data->len) + e->data->len;
	return size;
}

uint64_t
entries_size(const struct raft_entry *entries, size_t count)
{
	uint64_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += raft_entry_size(&entries[i]);
	return size;
}

uint64_t
entries_payload(const struct raft_entry *entries, size_t count)
{
	uint64_t size = 0;

	for (size_t i = 0; i < count; i++)
		if (entries[i].data != NULL)
			size += entries[i].data->len;
	return size;
}

bool
entries_have_change(const struct raft_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (entries[i].type != RAFT_ENTRY_NORMAL)
			return true;
	return false;
}

/* How many of the entries fit into max_bytes; at least one. */
static size_t
entries_fitting(
    const struct raft_entry *entries, size_t count, uint64_t max_bytes)
{
	uint64_t size = 0;

	for (size_t i = 0; i < count; i++) {
		size += raft_entry_size(&entries[i]);
		if (size > max_bytes && i > 0)
			return i;
	}
	return count;
}

/* ---- the tail ---- */

static struct raft_entry *
tail_at(const struct raft_log *l, uint64_t index)
{
	assert(index >= l->offset && index - l->offset < l->tail.count);
	return &l->tail.v[l->tail.head + (size_t)(index - l->offset)];
}

static void
list_reserve(struct entry_list *t, size_t extra)
{
	size_t need = t->count + extra;

	if (t->head + need <= t->cap)
		return;
	/* Slide down if that frees much; each entry then moves once for
	 * each that was added. */
	if (t->head >= need) {
		memcpy(t->v, t->v + t->head, t->count * sizeof(*t->v));
		t->head = 0;
		return;
	}
	while (t->cap < t->head + need)
		t->cap = t->cap == 0 ? 64 : t->cap * 2;
	t->v = mem_resize(t->v, t->cap, sizeof(*t->v));
}

/* Drop the entries from index on. */
static void
tail_cut(struct raft_log *l, uint64_t index)
{
	while (l->tail.count > 0 && l->offset + l->tail.count > index) {
		l->tail.count--;
		blob_unref(&l->tail.v[l->tail.head + l->tail.count].data);
	}
	if (l->offset_in_progress > index)
		l->offset_in_progress = index;
}

/* Drop the first count entries. */
static void
tail_shift(struct raft_log *l, size_t count)
{
	struct entry_list *t = &l->tail;

	assert(count <= t->count);
	for (size_t i = 0; i < count; i++)
		blob_unref(&t->v[t->head + i].data);
	t->head += count;
	t->count -= count;
	l->offset += count;
	if (l->offset_in_progress < l->offset)
		l->offset_in_progress = l->offset;
	if (t->count == 0)
		t->head = 0;
}

static void
tail_clear(struct raft_log *l, uint64_t offset)
{
	tail_cut(l, l->offset);
	l->tail.head = 0;
	l->offset = offset;
	l->offset_in_progress = offset;
}

/* ---- open, bounds, terms ---- */

void
raft_log_open(struct raft_log *l, const struct raft_storage_ops *ops, void *arg,
    uint64_t applying_bytes_max)
{
	uint64_t first = ops->first_index(arg);

	*l = (struct raft_log){.ops = ops,
	    .arg = arg,
	    .offset = ops->last_index(arg) + 1,
	    .committed = first - 1,
	    .applying = first - 1,
	    .applied = first - 1,
	    .applying_bytes_max = applying_bytes_max};
	l->offset_in_progress = l->offset;
}

void
raft_log_close(struct raft_log *l)
{
	tail_clear(l, l->offset);
	mem_free(l->tail.v);
	snapshot_free(&l->snapshot);
}

uint64_t
raft_log_first(const struct raft_log *l)
{
	if (l->snapshot != NULL)
		return l->snapshot->index + 1;
	return l->ops->first_index(l->arg);
}

uint64_t
raft_log_last(const struct raft_log *l)
{
	if (l->tail.count > 0)
		return l->offset + l->tail.count - 1;
	if (l->snapshot != NULL)
		return l->snapshot->index;
	return l->ops->last_index(l->arg);
}

enum raft_rc
raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *term)
{
	if (index >= l->offset && index - l->offset < l->tail.count) {
		*term = tail_at(l, index)->term;
		return RAFT_OK;
	}
	if (l->snapshot != NULL && l->snapshot->index == index) {
		*term = l->snapshot->term;
		return RAFT_OK;
	}
	if (index + 1 < raft_log_first(l))
		return RAFT_COMPACTED;
	if (index > raft_log_last(l))
		return RAFT_UNAVAILABLE;
	return l->ops->term(l->arg, index, term);
}

uint64_t
raft_log_last_term(const struct raft_log *l)
{
	uint64_t term = 0;
	enum raft_rc rc = raft_log_term(l, raft_log_last(l), &term);

	assert(rc == RAFT_OK); /* storage knows the term of first - 1, too */
	return term;
}

bool
raft_log_matches(const struct raft_log *l, uint64_t index, uint64_t term)
{
	uint64_t own;

	return raft_log_term(l, index, &own) == RAFT_OK && own == term;
}

void
raft_log_find_by_term(const struct raft_log *l, uint64_t index, uint64_t term,
    uint64_t *out_index, uint64_t *out_term)
{
	uint64_t own = 0;

	for (; index > 0; index--) {
		if (raft_log_term(l, index, &own) != RAFT_OK) {
			own = 0;
			break;
		}
		if (own <= term)
			break;
	}
	*out_index = index;
	*out_term = index == 0 ? 0 : own;
}

/* ---- reading ---- */

/* Add the entries of the tail lo..hi-1 to *out as far as max_bytes, less what
 * is there already, allows. */
static void
slice_extend(const struct raft_log *l, uint64_t lo, uint64_t hi,
    uint64_t max_bytes, struct raft_entry **out, size_t *count)
{
	const struct raft_entry *from = tail_at(l, lo);
	uint64_t size = entries_size(*out, *count);
	struct raft_entry *to;
	size_t n;

	if (size >= max_bytes)
		return;
	n = entries_fitting(from, (size_t)(hi - lo), max_bytes - size);
	if (n == 1 && raft_entry_size(from) > max_bytes - size)
		return; /* *out is not empty: one more is not owed */
	to = mem_resize(*out, *count + n, sizeof(*to));
	for (size_t i = 0; i < n; i++) {
		to[*count + i] = from[i];
		(void)blob_ref(from[i].data);
	}
	*out = to;
	*count += n;
}

enum raft_rc
raft_log_slice(const struct raft_log *l, uint64_t lo, uint64_t hi,
    uint64_t max_bytes, struct raft_entry **out, size_t *count)
{
	uint64_t cut = hi < l->offset ? hi : l->offset;
	enum raft_rc rc;

	*out = NULL;
	*count = 0;
	assert(lo <= hi && hi <= raft_log_last(l) + 1);
	if (lo == hi)
		return RAFT_OK;
	if (lo < raft_log_first(l))
		return RAFT_COMPACTED;
	if (lo >= l->offset) {
		const struct raft_entry *from = tail_at(l, lo);

		*count = entries_fitting(from, (size_t)(hi - lo), max_bytes);
		*out = entries_copy(from, *count);
		return RAFT_OK;
	}
	rc = l->ops->entries(l->arg, lo, cut, max_bytes, out, count);
	if (rc != RAFT_OK)
		return rc;
	assert(*count > 0 && *count <= cut - lo);
	if (*count == cut - lo && cut < hi)
		slice_extend(l, cut, hi, max_bytes, out, count);
	return RAFT_OK;
}

/* ---- writing ---- */

void
raft_log_append(
    struct raft_log *l, const struct raft_entry *entries, size_t count)
{
	uint64_t first;

	if (count == 0)
		return;
	first = entries[0].index;
	/* What is committed is never replaced: thesis 3.6.3. */
	assert(first > l->committed && first <= raft_log_last(l) + 1);
	if (first < l->offset)
		tail_clear(l, first);
	else
		tail_cut(l, first);
	list_reserve(&l->tail, count);
	for (size_t i = 0; i < count; i++) {
		struct raft_entry *e =
		    &l->tail.v[l->tail.head + l->tail.count + i];

		assert(entries[i].index == first + i);
		*e = entries[i];
		(void)blob_ref(e->data);
	}
	l->tail.count += count;
}

void
raft_log_commit_to(struct raft_log *l, uint64_t index)
{
	if (index <= l->committed)
		return;
	assert(index <= raft_log_last(l));
	l->committed = index;
}

void
raft_log_restore(struct raft_log *l, const struct raft_snapshot *s)
{
	assert(s->index > l->committed);
	tail_clear(l, s->index + 1);
	snapshot_free(&l->snapshot);
	l->snapshot = snapshot_copy(s);
	l->snapshot_in_progress = false;
	l->committed = s->index;
}

/* ---- becoming stable ---- */

/* Storage has all up to index/term.  If the tail has another entry there, or
 * none, that is old news about entries replaced since. */
void
raft_log_stable_to(struct raft_log *l, uint64_t index, uint64_t term)
{
	if (index < l->offset || index - l->offset >= l->tail.count)
		return;
	if (tail_at(l, index)->term != term)
		return;
	tail_shift(l, (size_t)(index + 1 - l->offset));
}

void
raft_log_snapshot_stable(struct raft_log *l, uint64_t index)
{
	if (l->snapshot == NULL || l->snapshot->index != index)
		return;
	snapshot_free(&l->snapshot);
	l->snapshot_in_progress = false;
}

/* The entries that were not handed out yet. */
size_t
raft_log_next_unstable(
    const struct raft_log *l, const struct raft_entry **first)
{
	size_t known = (size_t)(l->offset_in_progress - l->offset);

	*first = NULL;
	if (l->tail.count == known)
		return 0;
	*first = &l->tail.v[l->tail.head + known];
	return l->tail.count - known;
}

void
raft_log_accept_unstable(struct raft_log *l)
{
	l->offset_in_progress = l->offset + l->tail.count;
	if (l->snapshot != NULL)
		l->snapshot_in_progress = true;
}

/* ---- committed entries ---- */

/* How far entries may be handed out.  In asynchronous mode that is what is
 * durable here: the state machine must not run ahead of the own disk. */
static uint64_t
appliable(const struct raft_log *l, bool unstable_too)
{
	if (unstable_too || l->committed < l->offset)
		return l->committed;
	return l->offset - 1;
}

bool
raft_log_has_committed(const struct raft_log *l, bool unstable_too)
{
	if (l->applying_paused || l->snapshot != NULL)
		return false;
	return l->applying < appliable(l, unstable_too);
}

void
raft_log_next_committed(const struct raft_log *l, bool unstable_too,
    struct raft_entry **out, size_t *count)
{
	enum raft_rc rc;

	*out = NULL;
	*count = 0;
	if (!raft_log_has_committed(l, unstable_too))
		return;
	assert(l->applying_bytes < l->applying_bytes_max);
	rc = raft_log_slice(l, l->applying + 1, appliable(l, unstable_too) + 1,
	    l->applying_bytes_max - l->applying_bytes, out, count);
	/* Storage keeps what is not applied. */
	assert(rc == RAFT_OK);
	assert((*out)[0].index == l->applying + 1);
}

void
raft_log_accept_applying(
    struct raft_log *l, uint64_t index, uint64_t bytes, bool unstable_too)
{
	assert(index > l->applying && index <= l->committed);
	l->applying = index;
	l->applying_bytes += bytes;
	l->applying_paused = l->applying_bytes >= l->applying_bytes_max ||
			     index < appliable(l, unstable_too);
}

void
raft_log_applied_to(struct raft_log *l, uint64_t index, uint64_t bytes)
{
	assert(index >= l->applied && index <= l->committed);
	l->applied = index;
	if (l->applying < index)
		l->applying = index;
	l->applying_bytes -=
	    bytes < l->applying_bytes ? bytes : l->applying_bytes;
	l->applying_paused = l->applying_bytes >= l->applying_bytes_max;
}
