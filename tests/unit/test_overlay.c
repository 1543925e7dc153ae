/* The table of pending writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvd/overlay.h"
#include "kvd/record.h"

static const struct hash128 none;

static struct hash128
hash_of(uint64_t n)
{
	return (struct hash128){.lo = n, .hi = ~n};
}

static bool
same(struct hash128 a, struct hash128 b)
{
	return a.lo == b.lo && a.hi == b.hi;
}

/* Against a plain array; now and then it is emptied, after many or few. */
static void
the_last_write_of_each_name_is_found(void **state)
{
	enum { NAMES = 2000, STEPS = 60000 };
	static struct {
		bool there, removed;
		unsigned value;
		struct hash128 was, is;
	} model[NAMES];
	struct overlay o = {0};
	unsigned seed = 1;
	char name[32], record[64];

	(void)state;
	for (unsigned step = 1; step <= STEPS; step++) {
		/* Few names for a while, then many. */
		const unsigned at = (unsigned)rand_r(&seed) %
				    (step / 10000 % 2 == 0 ? NAMES : 50);
		const struct engine_write *w;
		struct bytes n;

		(void)snprintf(name, sizeof name, "name-%u", at);
		n = bytes_of_str(name);
		if (!model[at].there)
			model[at].was = hash_of(step);
		model[at].there = true;
		model[at].removed = rand_r(&seed) % 4 == 0;
		if (model[at].removed) {
			model[at].is = none;
			overlay_remove(&o, n, record_hash(n), hash_of(step));
		} else {
			model[at].value = (unsigned)rand_r(&seed);
			model[at].is = hash_of(model[at].value);
			(void)snprintf(record, sizeof record, "%*u",
			    (int)(model[at].value % 60), model[at].value);
			overlay_put(&o, n, record_hash(n), bytes_of_str(record),
			    hash_of(step), model[at].is);
		}
		if (step % 5000 == 0 || (step > 30000 && step % 100 == 0)) {
			overlay_clear(&o);
			assert_int_equal(o.n, 0);
			assert_int_equal(o.bytes, 0);
			memset(model, 0, sizeof model);
		}
		(void)snprintf(name, sizeof name, "name-%u",
		    (unsigned)rand_r(&seed) % NAMES);
		n = bytes_of_str(name);
		overlay_expect(&o, record_hash(n));
		w = overlay_find(&o, n, record_hash(n));
		const unsigned found = (unsigned)atoi(name + 5);

		assert_int_equal(w != NULL, model[found].there);
		if (w == NULL)
			continue;
		assert_int_equal(w->remove, model[found].removed);
		assert_true(same(o.notes[w - o.writes].was, model[found].was));
		assert_true(same(o.notes[w - o.writes].is, model[found].is));
		if (w->remove)
			continue;
		(void)snprintf(record, sizeof record, "%*u",
		    (int)(model[found].value % 60), model[found].value);
		assert_true(bytes_equal(w->record, bytes_of_str(record)));
	}
	overlay_free(&o);
}

static void
what_is_written_again_and_again_takes_no_more_room(void **state)
{
	const struct bytes a = bytes_of_str("a");
	struct overlay o = {0};
	size_t bytes;
	char record[101];

	(void)state;
	memset(record, 'x', sizeof record);
	overlay_put(&o, a, record_hash(a), bytes_of(record, 100), none, none);
	bytes = o.bytes;
	for (size_t i = 0; i < 1000; i++)
		overlay_put(&o, a, record_hash(a), bytes_of(record, i % 101),
		    none, none);
	overlay_remove(&o, a, record_hash(a), none);
	overlay_put(&o, a, record_hash(a), bytes_of(record, 99), none, none);
	assert_int_equal(o.bytes, bytes);
	assert_int_equal(o.n, 1);
	overlay_put(&o, a, record_hash(a), bytes_of(record, 101), none, none);
	assert_int_equal(o.bytes, bytes + 101);
	overlay_free(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_last_write_of_each_name_is_found),
	    cmocka_unit_test(
		what_is_written_again_and_again_takes_no_more_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
