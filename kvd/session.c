/* Sessions of httpds; see session.h.
 *
 * sessions: sorted by (node, epoch).  A session's results: sorted by seq, in
 * results[first..end), so that dropping at the front moves nothing. */
#include "kvd/session.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

struct session {
	uint64_t node, epoch;
	struct session_record head;
	bool touched;        /* head is not staged */
	struct buf unstaged; /* seqs (uint64_t) of results that are not */
	struct session_result **results;
	size_t first, end, cap;
};

struct sessions {
	struct store *store;
	struct session **sorted;
	size_t n, cap;
	struct buf scratch;
};

/* --- one session's results --- */

/* The position of the first result whose seq is not below seq. */
static size_t
result_position(const struct session *s, uint64_t seq)
{
	size_t lo = s->first, hi = s->end;

	/* Most are new: behind all. */
	if (lo == hi || s->results[hi - 1]->seq < seq)
		return hi;
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (s->results[mid]->seq < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct session_result *
session_result(const struct session *s, uint64_t seq)
{
	const size_t at = result_position(s, seq);

	if (at == s->end || s->results[at]->seq != seq)
		return NULL;
	return s->results[at];
}

const struct session_result *
session_result_from(const struct session *s, uint64_t seq)
{
	const size_t at = result_position(s, seq);

	return at == s->end ? NULL : s->results[at];
}

static void
make_room(struct session *s)
{
	if (s->end < s->cap)
		return;
	if (s->first > s->cap / 2) {
		memmove(s->results, s->results + s->first,
		    (s->end - s->first) * sizeof s->results[0]);
		s->end -= s->first;
		s->first = 0;
		return;
	}
	s->cap = s->cap > 0 ? 2 * s->cap : 16;
	s->results = mem_resize(s->results, s->cap, sizeof s->results[0]);
}

/* A result with room for count items, in its place; the caller fills it. */
static struct session_result *
insert_result(struct session *s, uint64_t seq, uint32_t count)
{
	struct session_result *r;
	size_t at;

	make_room(s);
	at = result_position(s, seq);
	assert(at == s->end || s->results[at]->seq != seq);
	memmove(s->results + at + 1, s->results + at,
	    (s->end - at) * sizeof s->results[0]);
	s->end++;
	r = mem_alloc(sizeof *r + count * sizeof r->items[0]);
	r->seq = seq;
	r->count = count;
	r->staged = false;
	s->results[at] = r;
	return r;
}

static void
drop_first_result(struct sessions *ss, struct session *s)
{
	struct session_result *r = s->results[s->first++];
	struct record_name name;

	if (r->staged)
		store_remove(ss->store,
		    record_name_result(&name, s->node, s->epoch, r->seq));
	mem_free(r);
}

static void
raise_done_below(struct sessions *ss, struct session *s, uint64_t done_below)
{
	if (s->head.done_below >= done_below)
		return;
	s->head.done_below = done_below;
	while (s->first < s->end && s->results[s->first]->seq < done_below)
		drop_first_result(ss, s);
}

bool
session_is_done(const struct session *s, uint64_t seq)
{
	return seq < s->head.done_below;
}

static void
stage_result(
    struct sessions *ss, const struct session *s, struct session_result *r)
{
	struct result_record head = {
	    .revision = r->revision, .count = r->count};
	struct record_name name;
	struct wire w;

	buf_clear(&ss->scratch);
	wire_encode(&w, &ss->scratch);
	result_record_wire(&w, &head);
	for (uint32_t i = 0; i < r->count; i++) {
		struct result_item item = r->items[i];

		result_item_wire(&w, &item);
	}
	assert(wire_end(&w) == ERR_OK);
	store_put(ss->store,
	    record_name_result(&name, s->node, s->epoch, r->seq),
	    buf_bytes(&ss->scratch));
	r->staged = true;
}

static void
stage_results(struct sessions *ss, struct session *s)
{
	uint64_t seq;

	for (size_t at = 0; at < s->unstaged.len; at += sizeof seq) {
		size_t found;

		memcpy(&seq, s->unstaged.data + at, sizeof seq);
		found = result_position(s, seq);
		if (found < s->end && s->results[found]->seq == seq)
			stage_result(ss, s, s->results[found]);
	}
	buf_clear(&s->unstaged);
}

void
session_add(struct sessions *ss, struct session *s, uint64_t seq,
    uint64_t revision, const struct result_item *items, uint32_t count)
{
	struct session_result *r;

	assert(!session_is_done(s, seq));
	r = insert_result(s, seq, count);
	r->revision = revision;
	memcpy(r->items, items, count * sizeof items[0]);
	buf_append(&s->unstaged, &seq, sizeof seq);
	if (s->end - s->first > SESSION_BATCHES_MAX)
		raise_done_below(ss, s, s->results[s->first]->seq + 1);
}

/* --- all sessions --- */

static size_t
session_position(const struct sessions *ss, uint64_t node, uint64_t epoch)
{
	size_t lo = 0, hi = ss->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		const struct session *s = ss->sorted[mid];

		if (s->node < node || (s->node == node && s->epoch < epoch))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct session *
session_find(struct sessions *ss, uint64_t node, uint64_t epoch)
{
	const size_t at = session_position(ss, node, epoch);

	if (at == ss->n || ss->sorted[at]->node != node ||
	    ss->sorted[at]->epoch != epoch)
		return NULL;
	return ss->sorted[at];
}

static void
session_free(struct session *s)
{
	for (size_t i = s->first; i < s->end; i++)
		mem_free(s->results[i]);
	mem_free(s->results);
	buf_free(&s->unstaged);
	mem_free(s);
}

/* The one whose last entry is the oldest; no two have the same index. */
static void
evict_session(struct sessions *ss)
{
	struct record_name name;
	struct session *s;
	size_t oldest = 0;

	for (size_t i = 1; i < ss->n; i++)
		if (ss->sorted[i]->head.last_index <
		    ss->sorted[oldest]->head.last_index)
			oldest = i;
	s = ss->sorted[oldest];
	while (s->first < s->end)
		drop_first_result(ss, s);
	store_remove(ss->store, record_name_session(&name, s->node, s->epoch));
	session_free(s);
	ss->n--;
	memmove(ss->sorted + oldest, ss->sorted + oldest + 1,
	    (ss->n - oldest) * sizeof ss->sorted[0]);
}

static struct session *
session_find_or_make(struct sessions *ss, uint64_t node, uint64_t epoch)
{
	struct session *s = session_find(ss, node, epoch);
	size_t at;

	if (s != NULL)
		return s;
	if (ss->n == ss->cap) {
		ss->cap = ss->cap > 0 ? 2 * ss->cap : 16;
		ss->sorted =
		    mem_resize(ss->sorted, ss->cap, sizeof ss->sorted[0]);
	}
	s = mem_zalloc(1, sizeof *s);
	s->node = node;
	s->epoch = epoch;
	at = session_position(ss, node, epoch);
	memmove(ss->sorted + at + 1, ss->sorted + at,
	    (ss->n - at) * sizeof ss->sorted[0]);
	ss->sorted[at] = s;
	ss->n++;
	return s;
}

struct session *
session_touch(struct sessions *ss, uint64_t node, uint64_t epoch,
    uint64_t index, uint64_t done_below)
{
	struct session *s = session_find_or_make(ss, node, epoch);

	assert(s->head.last_index < index);
	s->head.last_index = index; /* before evicting: s is the newest */
	s->touched = true;
	if (ss->n > SESSIONS_MAX)
		evict_session(ss);
	raise_done_below(ss, s, done_below);
	return s;
}

void
sessions_stage(struct sessions *ss)
{
	for (size_t i = 0; i < ss->n; i++) {
		struct session *s = ss->sorted[i];
		struct record_name name;
		struct wire w;

		if (!s->touched)
			continue;
		s->touched = false;
		stage_results(ss, s);
		buf_clear(&ss->scratch);
		wire_encode(&w, &ss->scratch);
		(void)session_record_wire(&w, &s->head); /* ours: no error */
		store_put(ss->store,
		    record_name_session(&name, s->node, s->epoch),
		    buf_bytes(&ss->scratch));
	}
}

size_t
sessions_count(const struct sessions *ss)
{
	return ss->n;
}

/* --- from the store --- */

static enum err
load_result(struct session *s, uint64_t seq, struct wire *w)
{
	struct result_record head;
	struct session_result *r;

	result_record_wire(w, &head);
	if (wire_err(w) != ERR_OK || head.count > BATCH_COMMANDS_MAX ||
	    session_result(s, seq) != NULL)
		return ERR_CORRUPT;
	r = insert_result(s, seq, head.count);
	r->revision = head.revision;
	r->staged = true;
	for (uint32_t i = 0; i < head.count; i++)
		result_item_wire(w, &r->items[i]);
	return wire_end(w) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static enum err
load_record(struct sessions *ss, struct bytes name, struct bytes record)
{
	uint64_t node, epoch, seq;
	struct session *s;
	struct wire w;

	if (record_name_parse_session(name, &node, &epoch, &seq) != ERR_OK)
		return ERR_CORRUPT;
	wire_decode(&w, record);
	if (seq != 0) { /* its session's head came before it */
		s = session_find(ss, node, epoch);
		return s == NULL ? ERR_CORRUPT : load_result(s, seq, &w);
	}
	s = session_find_or_make(ss, node, epoch);
	if (session_record_wire(&w, &s->head) != ERR_OK ||
	    s->head.last_index > ss->store->state.applied)
		return ERR_CORRUPT;
	return ERR_OK;
}

static enum err
load(struct sessions *ss)
{
	const struct engine_ops *ops = ss->store->ops;
	const struct bytes prefix = bytes_of_str(RECORD_SESSION_PREFIX);
	struct engine_iter *i;
	struct bytes name, record;
	enum err rc;

	if ((rc = ops->scan(ss->store->engine, prefix, prefix, &i)) != ERR_OK)
		return rc;
	while ((rc = ops->scan_next(i, &name, &record)) == ERR_OK)
		if ((rc = load_record(ss, name, record)) != ERR_OK)
			break;
	ops->scan_close(i);
	if (rc == ERR_CORRUPT)
		log_errorx(
		    "store is damaged dir=%s record=session", ss->store->dir);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

enum err
sessions_open(struct sessions **ssp, struct store *s)
{
	struct sessions *ss = mem_zalloc(1, sizeof *ss);
	enum err rc;

	ss->store = s;
	if ((rc = load(ss)) != ERR_OK) {
		sessions_close(ss);
		return rc;
	}
	*ssp = ss;
	return ERR_OK;
}

void
sessions_close(struct sessions *ss)
{
	if (ss == NULL)
		return;
	for (size_t i = 0; i < ss->n; i++)
		session_free(ss->sorted[i]);
	mem_free(ss->sorted);
	buf_free(&ss->scratch);
	mem_free(ss);
}
