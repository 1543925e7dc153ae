/* Linearizability of the clients' history, key by key (it is a local property):
 * the search of Wing and Gong with Lowe's cache of configurations that were
 * already seen ("Testing for linearizability", 2017).
 *
 * Operations that were refused had no effect.  Of those whose outcome is not
 * known the ones that the log does not have are left out; the others have no
 * end: they may come anywhere after their beginning.
 *
 * The search can take for ever.  Then the order of the log is tried, alone. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define STEPS_MAX UINT64_C(2000000)

struct event {
	struct event *prev, *next;
	struct event *match; /* of a call: its return; else NULL */
	const struct op *op;
	uint64_t at;
	uint64_t zobrist;
};

struct search {
	struct event *events; /* events[0]: the head */
	size_t count;
	struct event **stack; /* calls that are linearized, in order */
	uint64_t *states;     /* before each of them */
	size_t depth;
	uint64_t *cache; /* open addressing; 0: free */
	size_t cache_cap, cached;
};

/* ---- the sequential specification ---- */

static bool
wanted(const struct op *op, enum err code)
{
	return op->state != OP_DONE || op->code == code;
}

static bool
write_if(const struct op *op, bool holds, uint64_t *state)
{
	if (!holds)
		return wanted(op, ERR_PRECONDITION);
	if (!wanted(op, *state == 0 ? ERR_CREATED : ERR_REPLACED))
		return false;
	*state = op->value;
	return true;
}

/* Could op happen in this state (a value's id; 0: no key)?  Then it does. */
static bool
happens(const struct op *op, uint64_t *state)
{
	switch (op->kind) {
	case OP_PUT:
		return write_if(op, true, state);
	case OP_PUT_ABSENT:
		return write_if(op, *state == 0, state);
	case OP_PUT_PRESENT:
		return write_if(op, *state != 0, state);
	case OP_PUT_SAME:
		return write_if(op, *state == op->expect, state);
	case OP_DELETE:
		if (!wanted(op, *state == 0 ? ERR_NOT_FOUND : ERR_DELETED))
			return false;
		*state = 0;
		return true;
	case OP_GET:
		return *state == op->value;
	case OP_STALE:
		break;
	}
	return true;
}

/* ---- the cache ---- */

static bool cache_add(struct search *s, uint64_t v);

static void
cache_grow(struct search *s)
{
	uint64_t *old = s->cache;
	size_t cap = s->cache_cap;

	s->cache_cap = cap == 0 ? 4096 : cap * 2;
	s->cache = calloc(s->cache_cap, sizeof(s->cache[0]));
	assert(s->cache != NULL);
	s->cached = 0;
	for (size_t i = 0; i < cap; i++)
		if (old[i] != 0)
			(void)cache_add(s, old[i]);
	free(old);
}

/* false: it was there. */
static bool
cache_add(struct search *s, uint64_t v)
{
	size_t i;

	if (s->cached * 2 >= s->cache_cap)
		cache_grow(s);
	if (v == 0)
		v = 1;
	i = (size_t)(v & (s->cache_cap - 1));
	while (s->cache[i] != 0) {
		if (s->cache[i] == v)
			return false;
		i = (i + 1) & (s->cache_cap - 1);
	}
	s->cache[i] = v;
	s->cached++;
	return true;
}

/* ---- the list of events ---- */

static int
compare(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static bool
takes_part(const struct op *op)
{
	switch (op->state) {
	case OP_OPEN:
	case OP_UNKNOWN:
		return op->kind != OP_GET && op->applied > 0;
	case OP_DONE:
		return op->kind != OP_GET || op->code == ERR_OK ||
		       op->code == ERR_NOT_FOUND;
	case OP_REFUSED:
		break;
	}
	return false;
}

static bool
list_build(struct search *s, uint32_t key)
{
	struct rng r = {key + 77};
	size_t n = 1;

	s->events = calloc(history.count * 2 + 1, sizeof(s->events[0]));
	assert(s->events != NULL);
	for (size_t i = 0; i < history.count; i++) {
		const struct op *op = &history.ops[i];
		bool ends = op->state == OP_DONE;

		if (op->key != key || op->kind == OP_STALE || !takes_part(op))
			continue;
		s->events[n++] = (struct event){.op = op, .at = op->invoked};
		s->events[n++] = (struct event){
		    .op = op, .at = ends ? op->completed : UINT64_MAX - i};
	}
	s->count = n - 1;
	qsort(s->events + 1, n - 1, sizeof(s->events[0]), compare);
	for (size_t i = 1; i < n; i++) {
		struct event *e = &s->events[i];

		e->prev = e - 1;
		(e - 1)->next = e;
		e->zobrist = rng_next(&r);
	}
	/* Calls find their returns. */
	for (size_t i = 1; i < n; i++) {
		struct event *e = &s->events[i];

		if (e->at != e->op->invoked)
			continue;
		for (size_t j = i + 1; j < n && e->match == NULL; j++)
			if (s->events[j].op == e->op)
				e->match = &s->events[j];
	}
	return n > 1;
}

static void
unlink_event(struct event *e)
{
	e->prev->next = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
}

static void
relink_event(struct event *e)
{
	e->prev->next = e;
	if (e->next != NULL)
		e->next->prev = e;
}

/* ---- the search ---- */

/* 1: linearizable; 0: not; -1: given up. */
static int
search(struct search *s)
{
	struct event *head = &s->events[0], *e = head->next;
	uint64_t state = 0, set = 0, steps = 0;

	while (head->next != NULL) {
		uint64_t after = state;

		if (++steps > STEPS_MAX)
			return -1;
		if (e != NULL && e->match != NULL) {
			if (happens(e->op, &after) &&
			    cache_add(
				s, (set ^ e->zobrist) +
				       after * UINT64_C(0x9e3779b97f4a7c15))) {
				s->stack[s->depth] = e;
				s->states[s->depth++] = state;
				state = after;
				set ^= e->zobrist;
				unlink_event(e);
				unlink_event(e->match);
				e = head->next;
			} else {
				e = e->next;
			}
			continue;
		}
		/* A return: nothing that began before it fits. */
		if (s->depth == 0)
			return 0;
		e = s->stack[--s->depth];
		state = s->states[s->depth];
		set ^= e->zobrist;
		relink_event(e->match);
		relink_event(e);
		e = e->next;
	}
	return 1;
}

/* ---- where the search takes too long ---- */

/* The log gives an order of the writes, and it should be one that fits.  Each
 * read is put as early as it can be: behind all that ended before it began, in
 * the first state that it may have seen.  (Any order that fits is a proof; and
 * if this one does not, the log was not the order of what users saw.) */

static int
compare_places(const void *a, const void *b)
{
	const struct op *x = *(const struct op *const *)a;
	const struct op *y = *(const struct op *const *)b;

	if (x->model_index != y->model_index)
		return x->model_index < y->model_index ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

struct log_order {
	const struct op **writes; /* in the order of the log */
	uint64_t *states;         /* before each of them, and behind the last */
	size_t count;
};

/* The place of a write, from 1. */
static size_t
place_of(const struct log_order *l, const struct op *op)
{
	const struct op *const *at =
	    bsearch(&op, l->writes, l->count, sizeof(op), compare_places);

	return at == NULL ? 0 : (size_t)(at - l->writes) + 1;
}

static bool
collect_writes(const struct search *s, struct log_order *l)
{
	uint64_t state = 0;

	for (size_t i = 1; i <= s->count; i++)
		if (s->events[i].match != NULL &&
		    s->events[i].op->kind != OP_GET)
			l->writes[l->count++] = s->events[i].op;
	if (l->count > 1)
		qsort(
		    l->writes, l->count, sizeof(l->writes[0]), compare_places);
	for (size_t i = 0; i < l->count; i++) {
		l->states[i] = state;
		if (!happens(l->writes[i], &state))
			return false;
	}
	l->states[l->count] = state;
	return true;
}

/* Nothing may come before what had ended when it began. */
static bool
times_fit(const struct search *s, const struct log_order *l, size_t *places)
{
	size_t floor = 0; /* of all that has ended */

	for (size_t i = 1; i <= s->count; i++) {
		const struct event *e = &s->events[i];
		const struct op *op = e->op;
		size_t *at = &places[op - history.ops];

		if (e->match == NULL) { /* a return */
			if (op->state == OP_DONE && *at > floor)
				floor = *at;
		} else if (op->kind != OP_GET) {
			*at = place_of(l, op);
			if (*at <= floor)
				return false;
		} else {
			*at = floor;
			while (*at <= l->count && l->states[*at] != op->value)
				++*at;
			if (*at > l->count)
				return false;
		}
	}
	return true;
}

static bool
log_order_fits(const struct search *s)
{
	struct log_order l = {0};
	size_t *places = calloc(history.count, sizeof(*places));
	bool fits;

	l.writes = calloc(s->count, sizeof(l.writes[0]));
	l.states = calloc(s->count + 1, sizeof(l.states[0]));
	assert(places != NULL && l.writes != NULL && l.states != NULL);
	fits = collect_writes(s, &l) && times_fit(s, &l, places);
	free(places);
	free(l.writes);
	free(l.states);
	return fits;
}

static void
check_key(uint32_t key)
{
	struct search s;
	int rc = 1;

	memset(&s, 0, sizeof(s));
	if (list_build(&s, key)) {
		s.stack = calloc(s.count, sizeof(s.stack[0]));
		s.states = calloc(s.count, sizeof(s.states[0]));
		assert(s.stack != NULL);
		assert(s.states != NULL);
		rc = search(&s);
	}
	if (rc == 0)
		violate("linearizability: the history of key %u has no order "
			"(%zu operations)",
		    key, s.count / 2);
	if (rc == -1) {
		sim.by_log++;
		if (!log_order_fits(&s))
			violate("linearizability: the history of key %u has "
				"not the order of the log (%zu operations)",
			    key, s.count / 2);
	}
	free(s.events);
	free(s.stack);
	free(s.states);
	free(s.cache);
}

void
check_history(void)
{
	for (uint32_t key = 0; key < sim.keys && !sim.violated; key++)
		check_key(key);
}
