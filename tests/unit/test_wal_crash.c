/* The write-ahead log after power cuts, failed operations and damage: what is
 * read is a state that the log has been in, never older than what was synced,
 * or the log is refused.
 *
 * A model notes the state after every single record.  WAL_CRASH_SEED=n starts
 * the random tests elsewhere, WAL_CRASH_ROUNDS=n makes them longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal.h"
#include "tests/crash/memdisk.h"

#define INDEX_MAX 4000u
#define ITEMS_MAX 3u
#define ENTRIES_MAX 8u /* of an item */

struct state {
	uint64_t mark;
	uint64_t last;
	uint64_t entries; /* hash of terms and payloads */
	struct raft_hard_state hs;
	uint64_t conf;
};

struct model {
	uint64_t entry[INDEX_MAX + 1]; /* hash of term and payload */
	/* The same before the last mark that replaced them. */
	uint64_t replaced[INDEX_MAX + 1];
	uint64_t cut; /* entries before this one need not be there */
	struct state now;
	struct state *history; /* after each record */
	size_t count, cap;
	size_t durable;        /* history[durable] was synced */
	size_t durable_before; /* likewise, by the sync before that */
};

struct rig {
	struct memdisk *md;
	struct wal_disk disk;
	struct wal *wal;
	struct wal_recovered rec;
	struct model m;
	uint64_t found[INDEX_MAX + 1]; /* entries that recovery told of */
	uint64_t segment_bytes, prefill_bytes;
	uint64_t seed;
};

static const struct wal_identity identity = {
    .cluster = 7, .node = 2, .incarnation = 0x123456789abcdef};

static uint64_t
number(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v == NULL ? otherwise : strtoull(v, NULL, 10);
}

/* ---- the model ---- */

static uint64_t
entry_hash(const struct raft_entry *e)
{
	struct bytes b = blob_bytes(e->data);

	return hash64(b.data, b.len, e->term) ^ (uint64_t)e->type;
}

/* A record was put: what the log now holds is one more possible outcome. */
static void
note(struct model *m)
{
	m->now.entries =
	    hash64(&m->entry[1], m->now.last * sizeof(uint64_t), 0);
	if (m->count == m->cap) {
		m->cap = m->cap == 0 ? 64 : m->cap * 2;
		m->history =
		    mem_resize(m->history, m->cap, sizeof(m->history[0]));
	}
	m->history[m->count++] = m->now;
}

static bool
same_hard_state(
    const struct raft_hard_state *a, const struct raft_hard_state *b)
{
	return a->term == b->term && a->vote == b->vote &&
	       a->commit == b->commit;
}

static void
note_mark(struct model *m, const struct wal_batch_item *item)
{
	m->now.mark = item->mark->index;
	if (item->mark->replaces) {
		memcpy(m->replaced, m->entry, sizeof(m->entry));
		memset(m->entry, 0, sizeof(m->entry));
		m->now.last = item->mark->index;
		m->now.conf = item->conf->index;
		m->cut = item->mark->index;
	}
	if (m->now.hs.commit < item->mark->index)
		m->now.hs.commit = item->mark->index;
	note(m);
}

static void
note_item(struct model *m, const struct wal_batch_item *item)
{
	bool replaces = item->mark != NULL && item->mark->replaces;

	if (item->hard_state != NULL && (item->entry_count > 0 || replaces)) {
		m->now.hs.term = item->hard_state->term;
		m->now.hs.vote = item->hard_state->vote;
		note(m);
	}
	if (item->mark != NULL)
		note_mark(m, item);
	for (size_t i = 0; i < item->entry_count; i++) {
		m->now.last = item->entries[i].index;
		m->entry[m->now.last] = entry_hash(&item->entries[i]);
		note(m);
	}
	if (item->hard_state != NULL) {
		m->now.hs = *item->hard_state;
		note(m);
	}
	if (item->conf != NULL && !replaces) {
		m->now.conf = item->conf->index;
		note(m);
	}
}

/* The oldest outcome from `from` on that s is, or SIZE_MAX. */
static size_t
find(const struct model *m, const struct state *s, size_t from)
{
	for (size_t i = from; i < m->count; i++) {
		const struct state *h = &m->history[i];

		if (h->mark == s->mark && h->last == s->last &&
		    h->entries == s->entries &&
		    same_hard_state(&h->hs, &s->hs) && h->conf == s->conf)
			return i;
	}
	return SIZE_MAX;
}

/* ---- the rig ---- */

static void
rig_init(struct rig *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->seed = seed;
	r->md = memdisk_new();
	r->disk = memdisk_disk(r->md);
	r->segment_bytes = 1024 + 512 * memdisk_random(&r->seed, 16);
	r->prefill_bytes = 64 + 64 * memdisk_random(&r->seed, 40);
}

static void
rig_free(struct rig *r)
{
	wal_close(r->wal);
	memdisk_free(r->md);
	mem_free(r->m.history);
}

static void
on_entry(void *arg, const struct raft_entry *e, struct wal_position at)
{
	struct rig *r = arg;

	assert_true(e->index <= INDEX_MAX);
	assert_int_equal(at.index, e->index);
	r->found[e->index] = entry_hash(e);
}

/* Open; *s is what was found. */
static enum err
rig_open(struct rig *r, struct state *s)
{
	enum err e;

	wal_close(r->wal);
	r->wal = NULL;
	memset(r->found, 0, sizeof(r->found));
	e = wal_open(&r->wal, &r->disk, &r->rec, on_entry, r);
	if (e != ERR_OK)
		return e;
	wal_set_limits(r->wal, r->segment_bytes, r->prefill_bytes);
	*s = (struct state){.mark = r->rec.mark.index,
	    .last = r->rec.last,
	    .hs = r->rec.hard_state,
	    .conf = r->rec.conf.index};
	return ERR_OK;
}

/* The oldest outcome from `from` on that r has found, or SIZE_MAX.  Entries
 * that were cut are as m knows them: none of them was replaced since. */
static size_t
outcome(struct rig *r, const struct model *m, struct state *s, size_t from)
{
	const uint64_t *fills[] = {m->entry, m->replaced};
	size_t k = SIZE_MAX;

	assert_true(r->rec.first > 0);
	assert_true(r->rec.first <= s->last + 1);
	assert_true(r->rec.first - 1 <= s->mark);
	for (int i = 0; i < 2 && k == SIZE_MAX; i++) {
		memcpy(&r->found[1], &fills[i][1],
		    (r->rec.first - 1) * sizeof(uint64_t));
		s->entries =
		    hash64(&r->found[1], s->last * sizeof(uint64_t), 0);
		k = find(m, s, from);
	}
	return k;
}

static struct wal_conf
conf_of(uint64_t index)
{
	struct wal_conf c = {.index = index,
	    .members_index = index,
	    .id_max = 2,
	    .member_count = 1};

	c.state.voters.count = 1;
	c.state.voters.id[0] = 2;
	c.members[0].id = 2;
	c.members[0].incarnation = 0x4444;
	(void)snprintf(c.members[0].address, sizeof(c.members[0].address),
	    "10.0.0.%u:3380", (unsigned)(index % 250));
	c.members[0].promote = index % 2 == 1;
	c.order_count = (uint32_t)(index % WAL_ORDERS_MAX);
	for (uint32_t i = 0; i < c.order_count; i++)
		c.orders[i] = (struct wal_order){
		    .token = index + i, .index = index, .id = 2};
	return c;
}

static enum err
rig_create(struct rig *r)
{
	struct wal_conf conf = conf_of(0);
	struct state s;
	enum err e = rig_open(r, &s);

	if (e != ERR_OK)
		return e;
	if (r->rec.fresh &&
	    (e = wal_create(r->wal, &identity, &conf)) != ERR_OK)
		return e;
	note(&r->m);
	return ERR_OK;
}

/* ---- random writes ---- */

struct work { /* memory of one wal_write() */
	struct wal_batch_item items[ITEMS_MAX];
	struct raft_entry entries[ITEMS_MAX][ENTRIES_MAX];
	struct raft_hard_state hs[ITEMS_MAX];
	struct wal_conf conf[ITEMS_MAX];
	struct wal_mark mark;
	struct wal_position at[ITEMS_MAX * ENTRIES_MAX];
};

/* Payloads with many zeros and with none, short and long. */
static struct blob *
payload(uint64_t *seed)
{
	uint64_t limit = memdisk_random(seed, 8) == 0 ? 1500 : 90;
	size_t n = memdisk_random(seed, limit);
	bool sparse = memdisk_random(seed, 3) == 0;
	struct blob *b;

	if (n == 0)
		return NULL;
	b = blob_new(NULL, n);
	for (size_t i = 0; i < n; i++)
		b->data[i] = sparse && i % 7 != 0
				 ? 0
				 : (uint8_t)memdisk_random(seed, 256);
	return b;
}

static void
plan_entries(struct rig *r, struct work *k, size_t i)
{
	struct model *m = &r->m;
	uint64_t index = m->now.last + 1;
	uint64_t n = 1 + memdisk_random(&r->seed, ENTRIES_MAX);

	/* Some replace the tail, above the commit index. */
	if (memdisk_random(&r->seed, 4) == 0 && m->now.last > m->now.hs.commit)
		index -= memdisk_random(
		    &r->seed, m->now.last - m->now.hs.commit + 1);
	for (uint64_t e = 0; e < n; e++)
		k->entries[i][e] = (struct raft_entry){.term = k->hs[i].term,
		    .index = index + e,
		    .data = payload(&r->seed)};
	k->items[i].entries = k->entries[i];
	k->items[i].entry_count = n;
}

static void
plan_item(struct rig *r, struct work *k, size_t i, bool promises)
{
	struct raft_hard_state *hs = &k->hs[i];
	struct wal_batch_item *item = &k->items[i];
	uint64_t last;

	*hs = r->m.now.hs;
	if (promises && memdisk_random(&r->seed, 4) == 0) {
		hs->term += 1 + memdisk_random(&r->seed, 2);
		hs->vote = memdisk_random(&r->seed, 4);
	}
	if (promises && memdisk_random(&r->seed, 5) != 0)
		plan_entries(r, k, i);
	last = item->entry_count > 0
		   ? item->entries[item->entry_count - 1].index
		   : r->m.now.last;
	if (last > hs->commit && memdisk_random(&r->seed, 2) == 0)
		hs->commit += memdisk_random(&r->seed, last - hs->commit + 1);
	if (memdisk_random(&r->seed, 6) != 0)
		item->hard_state = hs;
	if (promises && memdisk_random(&r->seed, 10) == 0) {
		k->conf[i] = conf_of(hs->commit);
		item->conf = &k->conf[i];
	}
}

/* A snapshot was taken, of entries that are durable, or another node's takes
 * the place of all that is not committed. */
static void
plan_mark(struct rig *r, struct work *k)
{
	const struct model *m = &r->m;
	const struct state *d = &m->history[m->durable];
	struct raft_hard_state *hs = &k->hs[0];

	if (memdisk_random(&r->seed, 3) == 0 && m->now.last < INDEX_MAX - 200) {
		k->mark = (struct wal_mark){.replaces = true,
		    .term = m->now.hs.term + 1,
		    .index = m->now.hs.commit + 1 +
			     memdisk_random(&r->seed,
				 m->now.last + 20 - m->now.hs.commit)};
		*hs = (struct raft_hard_state){
		    .term = k->mark.term, .commit = k->mark.index};
		k->conf[0] = conf_of(k->mark.index);
		k->items[0].conf = &k->conf[0];
		k->items[0].hard_state = hs;
	} else if (d->hs.commit > m->now.mark) {
		k->mark = (struct wal_mark){.term = 1,
		    .index =
			m->now.mark + 1 +
			memdisk_random(&r->seed, d->hs.commit - m->now.mark)};
	} else {
		return;
	}
	k->items[0].mark = &k->mark;
}

/* Segments that the mark has made superfluous go. */
static void
cut_log(struct rig *r)
{
	struct model *m = &r->m;
	uint64_t mark = m->history[m->durable].mark;
	uint64_t index = mark - memdisk_random(&r->seed, mark / 2 + 1);
	uint32_t segment = index == 0 ? 0
				      : wal_cut_before(r->wal, index,
					    memdisk_random(&r->seed, 3) * 2000);
	struct wal_removed *removed;

	if (segment == 0)
		return;
	if (index > m->cut)
		m->cut = index;
	removed = wal_cut(r->wal, segment);
	wal_remove(&removed);
}

/* One wal_write(). */
static enum err
work_once(struct rig *r)
{
	struct work *k = mem_zalloc(1, sizeof(*k));
	bool sync = memdisk_random(&r->seed, 3) != 0;
	size_t n = 1 + memdisk_random(&r->seed, ITEMS_MAX);
	enum err e;

	for (size_t i = 0; i < n; i++) {
		if (i == 0 && sync && memdisk_random(&r->seed, 6) == 0)
			plan_mark(r, k);
		if (k->items[i].mark == NULL)
			plan_item(
			    r, k, i, sync || memdisk_random(&r->seed, 4) == 0);
		note_item(&r->m, &k->items[i]);
	}
	e = wal_write(r->wal, k->items, n, sync, k->at);
	if (e == ERR_OK && sync) {
		r->m.durable_before = r->m.durable;
		r->m.durable = r->m.count - 1;
	}
	if (e == ERR_OK && memdisk_random(&r->seed, 3) == 0)
		e = wal_prepare(r->wal);
	if (e == ERR_OK && sync && memdisk_random(&r->seed, 4) == 0)
		cut_log(r);
	for (size_t i = 0; i < n; i++)
		for (size_t x = 0; x < k->items[i].entry_count; x++)
			blob_unref(&k->entries[i][x].data);
	mem_free(k);
	return e;
}

/* Steps until one fails or the log is long enough. */
static enum err
work(struct rig *r, uint64_t steps)
{
	enum err e = ERR_OK;

	while (steps-- > 0 && e == ERR_OK && r->m.now.last < INDEX_MAX - 100)
		e = work_once(r);
	return e;
}

/* Open, and hold what is found against the model, which goes on from there. */
static void
recover(struct rig *r)
{
	struct state s = {0};
	size_t k;

	assert_int_equal(rig_open(r, &s), ERR_OK);
	assert_false(r->rec.fresh);
	k = outcome(r, &r->m, &s, r->m.durable);
	assert_true(k != SIZE_MAX);
	assert_true(r->rec.first <= r->m.cut + 1);
	r->m.now = s;
	memcpy(r->m.entry, r->found, sizeof(r->found));
	r->m.count = 0;
	r->m.durable = 0;
	note(&r->m);
}

/* ---- power cuts ---- */

/* Power goes again while the log is being opened. */
static void
cut_recovery(struct rig *r, enum memdisk_cut mode)
{
	struct state s;

	memdisk_power_off(r->md, 1 + memdisk_random(&r->seed, 4));
	(void)rig_open(r, &s);
	wal_close(r->wal);
	r->wal = NULL;
	memdisk_cut(r->md, mode, &r->seed);
}

static void
nothing_synced_is_lost_in_power_cuts(void **state)
{
	static const enum memdisk_cut modes[] = {MEMDISK_CUT_ALL,
	    MEMDISK_CUT_NONE, MEMDISK_CUT_PREFIX, MEMDISK_CUT_PREFIX,
	    MEMDISK_CUT_RANDOM, MEMDISK_CUT_RANDOM};
	uint64_t first = number("WAL_CRASH_SEED", 1);
	uint64_t rounds = number("WAL_CRASH_ROUNDS", 2000), cuts = 0, torn = 0;

	(void)state;
	for (uint64_t seed = first; seed < first + rounds; seed++) {
		struct rig *r = mem_zalloc(1, sizeof(*r));

		rig_init(r, seed);
		assert_int_equal(rig_create(r), ERR_OK);
		for (int i = 0; i < 6; i++) {
			size_t mode = memdisk_random(&r->seed, 7);

			if (mode < 6)
				memdisk_power_off(
				    r->md, 1 + memdisk_random(&r->seed, 50));
			(void)work(r, memdisk_random(&r->seed, 20));
			wal_close(r->wal);
			r->wal = NULL;
			if (mode < 6) /* else the process alone ends */
				memdisk_cut(r->md, modes[mode], &r->seed);
			if (memdisk_random(&r->seed, 3) == 0)
				cut_recovery(r, modes[mode % 6]);
			recover(r);
			torn += r->rec.cut_bytes > 0;
			cuts++;
			if (memdisk_random(&r->seed, 2) == 0)
				continue;
			/* What recovery has told of is durable. */
			memdisk_cut(r->md, MEMDISK_CUT_ALL, &r->seed);
			recover(r);
		}
		rig_free(r);
		mem_free(r);
	}
	print_message("%" PRIu64 " cuts, %" PRIu64 " torn tails\n", cuts, torn);
	assert_true(torn > rounds / 4);
}

/* ---- failed operations ---- */

/* The nth operation of this kind fails; false if there are fewer. */
static bool
fail_at(unsigned op, uint64_t seed, uint64_t nth)
{
	struct rig *r = mem_zalloc(1, sizeof(*r));
	struct state before, after;
	bool failed;
	enum err e;

	rig_init(r, seed);
	memdisk_fail(r->md, op, nth);
	e = rig_create(r);
	if (e == ERR_OK)
		e = work(r, 40);
	failed = memdisk_has_failed(r->md);
	/* A segment that cannot be removed is no failure of the log. */
	if (e != ERR_OK || !failed ||
	    (op != MEMDISK_REMOVE && op != MEMDISK_SYNC_DIR))
		assert_int_equal(e, failed ? ERR_IO : ERR_OK);
	memdisk_fail(r->md, 0, 0);
	if (failed && r->m.count > 0) {
		/* A new process on the running machine ... */
		recover(r);
		before = r->m.now;
		/* ... promises what it found, so it must survive. */
		memdisk_cut(r->md, MEMDISK_CUT_ALL, &r->seed);
		assert_int_equal(rig_open(r, &after), ERR_OK);
		(void)outcome(r, &r->m, &after, 0);
		assert_int_equal(before.mark, after.mark);
		assert_int_equal(before.last, after.last);
		assert_int_equal(before.entries, after.entries);
		assert_true(same_hard_state(&before.hs, &after.hs));
		assert_int_equal(before.conf, after.conf);
	} else if (failed) { /* in wal_create() */
		assert_int_equal(rig_create(r), ERR_OK);
		assert_int_equal(work(r, 5), ERR_OK);
		memdisk_cut(r->md, MEMDISK_CUT_ALL, &r->seed);
		recover(r);
	}
	rig_free(r);
	mem_free(r);
	return failed;
}

static void
every_operation_may_fail_once(void **state)
{
	static const unsigned ops[] = {MEMDISK_CREATE, MEMDISK_WRITE,
	    MEMDISK_SYNC, MEMDISK_RENAME, MEMDISK_SYNC_DIR, MEMDISK_REMOVE};

	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
			uint64_t nth = 1;

			while (fail_at(ops[i], seed, nth))
				nth++;
			assert_true(nth > 1);
		}
	}
}

static void
every_read_and_write_of_recovery_may_fail_once(void **state)
{
	static const unsigned any = MEMDISK_READ | MEMDISK_WRITE |
				    MEMDISK_SYNC | MEMDISK_SYNC_DIR |
				    MEMDISK_REMOVE;
	struct rig *r = mem_zalloc(1, sizeof(*r));
	struct state s;
	uint64_t nth;

	(void)state;
	rig_init(r, 5);
	assert_int_equal(rig_create(r), ERR_OK);
	assert_int_equal(work(r, 40), ERR_OK);
	memdisk_cut(r->md, MEMDISK_CUT_PREFIX, &r->seed);
	for (nth = 1;; nth++) {
		memdisk_fail(r->md, any, nth);
		if (rig_open(r, &s) == ERR_OK)
			break;
		assert_true(memdisk_has_failed(r->md));
	}
	assert_false(memdisk_has_failed(r->md));
	assert_true(nth > 8);
	memdisk_fail(r->md, 0, 0);
	recover(r);
	rig_free(r);
	mem_free(r);
}

/* ---- damage to what was synced ---- */

struct tally {
	uint64_t whole, refused;
	uint64_t torn; /* taken for a write that was not finished */
};

/* Open a copy that was tampered with: it holds everything, or is refused as it
 * is, or, the one thing that cannot be told apart, lacks records at its end,
 * behind what was the outcome `least`. */
static void
try_copy(
    const struct rig *r, struct memdisk *copy, size_t least, struct tally *t)
{
	struct memdisk *before = memdisk_clone(copy);
	struct rig *c = mem_zalloc(1, sizeof(*c));
	struct state s;
	enum err e;
	size_t k;

	c->md = copy;
	c->disk = memdisk_disk(copy);
	e = rig_open(c, &s);
	if (e == ERR_CORRUPT) {
		t->refused++;
		assert_true(memdisk_same(before, copy));
	} else {
		assert_int_equal(e, ERR_OK);
		k = outcome(c, &r->m, &s, r->m.durable);
		if (k == SIZE_MAX) {
			t->torn++;
			assert_true(least == 0 || c->rec.cut_bytes > 0);
			k = outcome(c, &r->m, &s, least);
		} else {
			t->whole++;
		}
		assert_true(k != SIZE_MAX);
	}
	rig_free(c);
	mem_free(c);
	memdisk_free(before);
}

/* A log of a few segments, all of it synced. */
static struct rig *
synced_log(uint64_t seed)
{
	struct rig *r = mem_zalloc(1, sizeof(*r));
	struct raft_hard_state hs;
	struct wal_batch_item item = {.hard_state = &hs};

	rig_init(r, seed);
	r->segment_bytes = 2048;
	r->prefill_bytes = 512;
	assert_int_equal(rig_create(r), ERR_OK);
	assert_int_equal(work(r, 12), ERR_OK);
	hs = r->m.now.hs;
	hs.term++;
	note_item(&r->m, &item);
	assert_int_equal(wal_write(r->wal, &item, 1, true, NULL), ERR_OK);
	r->m.durable_before = r->m.durable;
	r->m.durable = r->m.count - 1;
	wal_close(r->wal);
	r->wal = NULL;
	memdisk_settle(r->md);
	return r;
}

static void
a_flip_of_any_byte_is_noticed(void **state)
{
	struct tally t = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct rig *r = synced_log(seed);
		uint64_t rnd = seed;
		const char *names[2] = {memdisk_last_name(r->md),
		    "0000000000000001-0000000000000001.wal"};

		for (size_t n = 0; n < 2; n++) {
			size_t len = memdisk_file(r->md, names[n])->len;

			for (size_t i = 0; i < len; i++) {
				struct memdisk *c = memdisk_clone(r->md);

				memdisk_file(c, names[n])->data[i] ^=
				    (uint8_t)(1u << memdisk_random(&rnd, 8));
				try_copy(r, c, r->m.durable_before, &t);
			}
		}
		rig_free(r);
		mem_free(r);
	}
	print_message("flips: %" PRIu64 " whole, %" PRIu64 " refused, %" PRIu64
		      " taken for torn\n",
	    t.whole, t.refused, t.torn);
	assert_true(t.refused > 1000);
	assert_true(t.torn < 20);
}

static void
a_file_cut_at_any_byte_is_noticed(void **state)
{
	struct tally t = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct rig *r = synced_log(seed);
		const char *name = memdisk_last_name(r->md);
		size_t len = memdisk_file(r->md, name)->len;

		for (size_t i = 0; i < len; i++) {
			struct memdisk *c = memdisk_clone(r->md);

			memdisk_file(c, name)->len = i;
			try_copy(r, c, r->m.durable, &t);
		}
		rig_free(r);
		mem_free(r);
	}
	print_message("cuts: %" PRIu64 " whole, %" PRIu64 " refused, %" PRIu64
		      " taken for torn\n",
	    t.whole, t.refused, t.torn);
	assert_int_equal(t.torn, 0);
	assert_true(t.refused > 500);
}

/* Sectors that read as zeros or as something else.  If everything from some
 * place on is zeros, that is what a shorter log looks like. */
static void
lost_and_foreign_sectors_are_noticed(void **state)
{
	struct tally t = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rig *r = synced_log(seed % 8);
		uint64_t rnd = seed;
		struct memdisk *c = memdisk_clone(r->md);
		struct buf *b = memdisk_file(c, memdisk_last_name(c));
		size_t at = memdisk_random(&rnd, b->len / 512) * 512;
		bool zeros = memdisk_random(&rnd, 2) == 0;

		for (size_t i = at; i < at + 512 && i < b->len; i++)
			b->data[i] =
			    zeros ? 0 : (uint8_t)memdisk_random(&rnd, 256);
		try_copy(r, c, 0, &t);
		rig_free(r);
		mem_free(r);
	}
	print_message("sectors: %" PRIu64 " whole, %" PRIu64
		      " refused, %" PRIu64 " taken for torn\n",
	    t.whole, t.refused, t.torn);
	assert_true(t.refused > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_synced_is_lost_in_power_cuts),
	    cmocka_unit_test(every_operation_may_fail_once),
	    cmocka_unit_test(every_read_and_write_of_recovery_may_fail_once),
	    cmocka_unit_test(a_flip_of_any_byte_is_noticed),
	    cmocka_unit_test(a_file_cut_at_any_byte_is_noticed),
	    cmocka_unit_test(lost_and_foreign_sectors_are_noticed),
	};

	log_level_set(LOG_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
