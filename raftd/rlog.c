/* Raft's log in memory: see rlog.h.
 *
 * Three structures, each ascending by index and cut back when an entry
 * replaces others:
 *   cache   a ring of the newest entries, last one at last, bounded by bytes;
 *   points  where some entries stand in the WAL: the first one of each run
 *           that was written one after the other, and then one for about every
 *           64 KiB, so that reading an entry back reads little more;
 *   terms   the first entry of each term: a term is known without a disk. */
#include "raftd/rlog.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define POINT_BYTES 65536u /* from one point to the next */
#define ENTRIES_MIN 16u    /* of a new array */

struct term_run {
	uint64_t index; /* first entry of the term */
	uint64_t term;
};

struct rlog {
	struct wal *wal;      /* borrowed */
	uint64_t first, last; /* last = first - 1: none */
	uint64_t before_term; /* of entry first - 1 */

	struct raft_entry *ring; /* ring_size, a power of two, or NULL */
	size_t ring_size;
	uint64_t cached; /* index of the oldest in the ring; last + 1: none */
	uint64_t cache_bytes, cache_bytes_max;

	struct wal_position *points;
	size_t point_count, point_cap;
	struct term_run *terms;
	size_t term_count, term_cap;
	struct wal_position last_at; /* of entry last, if there is one */

	struct raft_snapshot snapshot; /* index 0: none */
	bool snapshot_wanted;
	struct raft_hard_state hard_state;
	struct raft_conf_state conf;
};

struct rlog *
rlog_open(uint64_t cache_bytes)
{
	struct rlog *l = mem_zalloc(1, sizeof(*l));

	l->first = l->cached = 1;
	l->cache_bytes_max = cache_bytes;
	return l;
}

/* ---- the cache ---- */

static struct raft_entry *
slot(const struct rlog *l, uint64_t index)
{
	return &l->ring[index & (l->ring_size - 1)];
}

/* What an entry costs in memory. */
static uint64_t
cost(const struct raft_entry *e)
{
	uint64_t bytes = sizeof(*e);

	if (e->data != NULL)
		bytes += sizeof(struct blob) + e->data->len + 16; /* malloc's */
	return bytes;
}

static void
cache_drop(struct rlog *l, uint64_t index)
{
	l->cache_bytes -= cost(slot(l, index));
	blob_unref(&slot(l, index)->data);
}

static void
cache_grow(struct rlog *l)
{
	size_t size = l->ring_size == 0 ? ENTRIES_MIN : l->ring_size * 2;
	struct raft_entry *old = l->ring;
	size_t old_size = l->ring_size;

	l->ring = mem_zalloc(size, sizeof(*l->ring));
	l->ring_size = size;
	for (uint64_t i = l->cached; i <= l->last; i++)
		*slot(l, i) = old[i & (old_size - 1)];
	mem_free(old);
}

/* Entry last + 1; the oldest ones make room, though one always stays. */
static void
cache_add(struct rlog *l, const struct raft_entry *e)
{
	if (l->last + 1 - l->cached == l->ring_size)
		cache_grow(l);
	*slot(l, e->index) = *e;
	(void)blob_ref(e->data);
	l->cache_bytes += cost(e);
	l->last = e->index;
	while (l->cache_bytes > l->cache_bytes_max && l->cached < l->last)
		cache_drop(l, l->cached++);
}

void
rlog_close(struct rlog *l)
{
	if (l == NULL)
		return;
	while (l->cached <= l->last)
		cache_drop(l, l->cached++);
	mem_free(l->ring);
	mem_free(l->points);
	mem_free(l->terms);
	blob_unref(&l->snapshot.data);
	mem_free(l);
}

/* ---- appending ---- */

/* Room for one more of `bytes` each in an array that doubles. */
static void *
array_room(void *array, size_t count, size_t *cap, size_t bytes)
{
	if (count < *cap)
		return array;
	*cap = *cap == 0 ? ENTRIES_MIN : *cap * 2;
	return mem_resize(array, *cap, bytes);
}

/* Forget entries from index on. */
static void
cut(struct rlog *l, uint64_t index)
{
	assert(index >= l->first);
	for (; l->last >= index && l->last >= l->cached; l->last--)
		cache_drop(l, l->last);
	l->last = index - 1;
	if (l->cached > index)
		l->cached = index; /* the cache is empty */
	while (
	    l->point_count > 0 && l->points[l->point_count - 1].index >= index)
		l->point_count--;
	while (l->term_count > 0 && l->terms[l->term_count - 1].index >= index)
		l->term_count--;
}

static void
note_position(struct rlog *l, struct wal_position at, bool new_run)
{
	const struct wal_position *p =
	    l->point_count == 0 ? NULL : &l->points[l->point_count - 1];

	if (!new_run && p != NULL && p->segment == at.segment &&
	    at.offset - p->offset < POINT_BYTES)
		return;
	l->points = array_room(
	    l->points, l->point_count, &l->point_cap, sizeof(*l->points));
	l->points[l->point_count++] = at;
}

static void
note_term(struct rlog *l, const struct raft_entry *e)
{
	if (l->term_count > 0 && l->terms[l->term_count - 1].term == e->term)
		return;
	l->terms = array_room(
	    l->terms, l->term_count, &l->term_cap, sizeof(*l->terms));
	l->terms[l->term_count++] =
	    (struct term_run){.index = e->index, .term = e->term};
}

void
rlog_append(struct rlog *l, const struct raft_entry *e, struct wal_position at)
{
	bool replaces = e->index <= l->last;

	assert(at.index == e->index);
	assert(e->index >= l->first);
	assert(e->index <= l->last + 1);
	if (replaces)
		cut(l, e->index);
	note_position(l, at, replaces);
	note_term(l, e);
	cache_add(l, e);
	l->last_at = at;
	assert(l->last == e->index);
	assert(l->cached <= l->last);
}

/* ---- the beginning ---- */

void
rlog_reset(struct rlog *l, uint64_t index, uint64_t term)
{
	while (l->cached <= l->last)
		cache_drop(l, l->cached++);
	l->first = l->cached = index + 1;
	l->last = index;
	l->before_term = term;
	l->point_count = 0;
	l->term_count = 0;
}

void
rlog_recover(struct rlog *l, const struct raft_entry *e, struct wal_position at)
{
	/* The oldest segments are gone, or a mark replaced what was before: if
	 * so, rlog_begin() will tell. */
	if (e->index < l->first || e->index > l->last + 1)
		rlog_reset(l, e->index - 1, 0);
	rlog_append(l, e, at);
}

/* Forget what is before entry first; entry first - 1 has this term. */
static void
cut_before(struct rlog *l, uint64_t first, uint64_t term)
{
	size_t gone;

	assert(first >= l->first && first <= l->last + 1);
	while (l->cached < first && l->cached <= l->last)
		cache_drop(l, l->cached++);
	if (l->cached < first)
		l->cached = first;
	for (gone = 0; gone + 1 < l->point_count; gone++)
		if (l->points[gone + 1].index > first)
			break;
	if (gone > 0) {
		l->point_count -= gone;
		memmove(l->points, l->points + gone,
		    l->point_count * sizeof(*l->points));
	}
	for (gone = 0; gone + 1 < l->term_count; gone++)
		if (l->terms[gone + 1].index > first)
			break;
	if (gone > 0) {
		l->term_count -= gone;
		memmove(l->terms, l->terms + gone,
		    l->term_count * sizeof(*l->terms));
	}
	l->first = first;
	l->before_term = term;
}

void
rlog_begin(struct rlog *l, struct wal *w, const struct wal_recovered *rec)
{
	l->wal = w;
	if (l->last > rec->last)
		cut(l, rec->last + 1); /* replaced, and nothing came since */
	if (l->last + 1 < rec->first || l->first > rec->first ||
	    rec->last < rec->first)
		rlog_reset(l, rec->first - 1, rec->before_term);
	else
		cut_before(l, rec->first, rec->before_term);
	assert(l->first == rec->first);
	assert(l->last == rec->last);
}

void
rlog_cut(struct rlog *l, uint32_t segment)
{
	size_t i = 0;
	uint64_t term = 0;
	enum raft_rc rc;

	/* Each segment's first entry has a point. */
	while (i < l->point_count && l->points[i].segment < segment)
		i++;
	assert(i < l->point_count);
	if (l->points[i].index <= l->first)
		return; /* all of them are there */
	rc = rlog_term(l, l->points[i].index, &term);
	assert(rc == RAFT_OK);
	cut_before(l, l->points[i].index + 1, term);
}

void
rlog_set_initial(struct rlog *l, const struct raft_hard_state *hs,
    const struct raft_conf_state *conf)
{
	l->hard_state = *hs;
	l->conf = *conf;
}

/* ---- reading ---- */

/* The last point at or before index. */
static size_t
point_of(const struct rlog *l, uint64_t index)
{
	size_t low = 0, high = l->point_count;

	assert(l->point_count > 0);
	assert(l->points[0].index <= index);
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (l->points[middle].index <= index)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* An answer that grows. */
struct answer {
	struct raft_entry *entries;
	size_t count, cap;
	uint64_t bytes, bytes_max; /* raft_entry_size */
	bool full;
};

/* Takes the reference on e->data if there is room for e. */
static bool
answer_add(struct answer *a, const struct raft_entry *e)
{
	uint64_t size = raft_entry_size(e);

	if (a->count > 0 &&
	    (a->bytes > a->bytes_max || size > a->bytes_max - a->bytes))
		a->full = true;
	if (a->full)
		return false;
	a->entries =
	    array_room(a->entries, a->count, &a->cap, sizeof(*a->entries));
	a->entries[a->count++] = *e;
	a->bytes += size;
	return true;
}

/* Entries from index on that stand behind one point, below hi.  Between two
 * points there are only the entries of one run: none that was replaced. */
static void
read_back(struct rlog *l, uint64_t index, uint64_t hi, struct answer *a)
{
	size_t p = point_of(l, index);
	struct raft_entry *piece;
	size_t count, got = 0;
	enum err e;

	if (p + 1 < l->point_count && l->points[p + 1].index < hi)
		hi = l->points[p + 1].index;
	count = (size_t)(hi - index);
	piece = mem_zalloc(count, sizeof(*piece));
	assert(l->wal != NULL);
	e = wal_read(l->wal, l->points[p], index, count,
	    a->bytes_max > a->bytes ? a->bytes_max - a->bytes : 0, piece, &got);
	if (e != ERR_OK) {
		/* Not an entry to go on without, and nobody to ask. */
		log_errorx("rlog: the log cannot be read back, leaving "
			   "index=%" PRIu64,
		    index);
		_exit(EX_IOERR);
	}
	for (size_t i = 0; i < got; i++)
		if (!answer_add(a, &piece[i]))
			blob_unref(&piece[i].data);
	if (got < count)
		a->full = true;
	mem_free(piece);
}

enum raft_rc
rlog_entries(struct rlog *l, uint64_t lo, uint64_t hi, uint64_t max_bytes,
    struct raft_entry **out, size_t *count)
{
	struct answer a = {.bytes_max = max_bytes};

	assert(lo <= hi);
	if (lo < l->first)
		return RAFT_COMPACTED;
	if (hi > l->last + 1)
		return RAFT_UNAVAILABLE;
	while (!a.full && lo + a.count < hi && lo + a.count < l->cached)
		read_back(l, lo + a.count, hi < l->cached ? hi : l->cached, &a);
	while (!a.full && lo + a.count < hi) {
		const struct raft_entry *e = slot(l, lo + a.count);

		assert(e->index == lo + a.count);
		if (answer_add(&a, e))
			(void)blob_ref(e->data);
	}
	*out = a.entries;
	*count = a.count;
	return RAFT_OK;
}

enum raft_rc
rlog_term(struct rlog *l, uint64_t index, uint64_t *term)
{
	size_t low = 0, high = l->term_count;

	if (index > l->last)
		return RAFT_UNAVAILABLE;
	if (index + 1 == l->first) {
		*term = l->before_term;
		return RAFT_OK;
	}
	if (index < l->first)
		return RAFT_COMPACTED;
	assert(l->term_count > 0);
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (l->terms[middle].index <= index)
			low = middle;
		else
			high = middle;
	}
	*term = l->terms[low].term;
	return RAFT_OK;
}

uint64_t
rlog_first(const struct rlog *l)
{
	return l->first;
}

uint64_t
rlog_last(const struct rlog *l)
{
	return l->last;
}

uint64_t
rlog_cache_bytes(const struct rlog *l)
{
	return l->cache_bytes;
}

uint64_t
rlog_bytes_after(const struct rlog *l, uint64_t index)
{
	if (index < l->first)
		index = l->first;
	if (index >= l->last)
		return 0;
	return wal_distance(l->wal, l->points[point_of(l, index)], l->last_at);
}

void
rlog_set_snapshot(struct rlog *l, const struct raft_snapshot *s)
{
	blob_unref(&l->snapshot.data);
	l->snapshot = s == NULL ? (struct raft_snapshot){0} : *s;
	(void)blob_ref(l->snapshot.data);
}

bool
rlog_snapshot_wanted(struct rlog *l)
{
	bool wanted = l->snapshot_wanted;

	l->snapshot_wanted = false;
	return wanted;
}

/* ---- as the core sees it ---- */

static void
storage_initial_state(
    void *arg, struct raft_hard_state *hs, struct raft_conf_state *conf)
{
	const struct rlog *l = arg;

	*hs = l->hard_state;
	*conf = l->conf;
}

static enum raft_rc
storage_entries(void *arg, uint64_t lo, uint64_t hi, uint64_t max_bytes,
    struct raft_entry **out, size_t *count)
{
	return rlog_entries(arg, lo, hi, max_bytes, out, count);
}

static enum raft_rc
storage_term(void *arg, uint64_t index, uint64_t *term)
{
	return rlog_term(arg, index, term);
}

static uint64_t
storage_first_index(void *arg)
{
	return rlog_first(arg);
}

static uint64_t
storage_last_index(void *arg)
{
	return rlog_last(arg);
}

static enum raft_rc
storage_snapshot(void *arg, struct raft_snapshot *s)
{
	struct rlog *l = arg;

	/* It must join what follows from the log. */
	if (l->snapshot.index == 0 || l->snapshot.index + 1 < l->first) {
		l->snapshot_wanted = true;
		return RAFT_SNAP_UNAVAILABLE;
	}
	*s = l->snapshot;
	(void)blob_ref(s->data);
	return RAFT_OK;
}

const struct raft_storage_ops rlog_storage_ops = {
    .initial_state = storage_initial_state,
    .entries = storage_entries,
    .term = storage_term,
    .first_index = storage_first_index,
    .last_index = storage_last_index,
    .snapshot = storage_snapshot,
};
