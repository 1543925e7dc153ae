/* Places of records: a cache that may forget and must not lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "kvd/places.h"

enum { NAMES = 50000 };
static char names[NAMES][16], records[2][NAMES][16];

static uint64_t
hash_of(struct bytes name)
{
	return hash64(name.data, name.len, 0);
}

static void
make_names(void)
{
	for (unsigned i = 0; i < NAMES; i++) {
		(void)snprintf(names[i], sizeof names[i], "k%u", i);
		for (unsigned view = 0; view < 2; view++)
			(void)snprintf(records[view][i],
			    sizeof records[view][i], "%u of %u", view, i);
	}
}

static unsigned
count_found(const struct places *p, unsigned view)
{
	unsigned found = 0;
	struct bytes record;

	for (unsigned i = 0; i < NAMES; i++) {
		const struct bytes name = bytes_of_str(names[i]);

		if (!places_find(p, name, hash_of(name), &record))
			continue;
		assert_true(
		    bytes_equal(record, bytes_of_str(records[view][i])));
		found++;
	}
	return found;
}

static void
put_all(struct places *p, unsigned view)
{
	for (unsigned i = 0; i < NAMES; i++) {
		const struct bytes name = bytes_of_str(names[i]);

		places_put(
		    p, name, hash_of(name), bytes_of_str(records[view][i]));
	}
}

static void
what_is_found_was_put_into_this_view(void **state)
{
	struct places p = {0};

	(void)state;
	make_names();
	places_forget(&p);
	assert_int_equal(count_found(&p, 0), 0);
	put_all(&p, 0);
	assert_true(count_found(&p, 0) > NAMES * 3 / 4);
	places_forget(&p);
	assert_int_equal(count_found(&p, 0), 0);
	put_all(&p, 1);
	assert_true(count_found(&p, 1) > NAMES * 3 / 4);
	places_free(&p);
	assert_int_equal(count_found(&p, 1), 0);
}

/* Everything else is the same: only the names differ. */
static void
names_of_one_hash_are_told_apart(void **state)
{
	const struct bytes a = bytes_of_str("ka"), ab = bytes_of_str("kab");
	struct places p = {0};
	struct bytes record;

	(void)state;
	places_put(&p, ab, 7, bytes_of_str("1"));
	assert_false(places_find(&p, a, 7, &record));
	places_put(&p, a, 7, bytes_of_str("2"));
	assert_true(places_find(&p, ab, 7, &record));
	assert_true(bytes_equal(record, bytes_of_str("1")));
	assert_true(places_find(&p, a, 7, &record));
	assert_true(bytes_equal(record, bytes_of_str("2")));
	places_free(&p);
}

static void
views_are_told_apart_when_their_numbers_begin_again(void **state)
{
	const struct bytes a = bytes_of_str("ka");
	struct places p = {0};
	struct bytes record;

	(void)state;
	places_put(&p, a, 7, bytes_of_str("1"));
	p.view = UINT32_MAX;
	places_forget(&p);
	assert_false(places_find(&p, a, 7, &record));
	places_put(&p, a, 7, bytes_of_str("2"));
	assert_true(places_find(&p, a, 7, &record));
	assert_true(bytes_equal(record, bytes_of_str("2")));
	places_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_found_was_put_into_this_view),
	    cmocka_unit_test(names_of_one_hash_are_told_apart),
	    cmocka_unit_test(
		views_are_told_apart_when_their_numbers_begin_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
