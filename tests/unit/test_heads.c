/* Heads of keys: a cache that may forget and must not lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvd/heads.h"
#include "kvd/record.h"

/* Every fifth one needs two lines of a set. */
static struct bytes
key_of(unsigned n, char text[32])
{
	return bytes_of(
	    text, (size_t)snprintf(text, 32,
		      n % 5 == 0 ? "a-longer-key-%u-----" : "key-%u", n));
}

static bool
find(const struct heads *h, struct bytes key, struct key_head *head)
{
	return heads_find(h, key, record_hash_of_key(key), head);
}

static void
put(struct heads *h, struct bytes key, uint64_t version)
{
	const struct key_head head = {.hash = {version, ~version},
	    .create_revision = 1,
	    .mod_revision = version + 7,
	    .version = version,
	    .value_bytes = version % 100};

	heads_put(h, key, record_hash_of_key(key), &head);
}

/* Against a plain array, with more keys than there is room for. */
static void
what_is_found_is_what_was_put_last(void **state)
{
	enum { KEYS = 400000, STEPS = 2000000 };
	static uint64_t model[KEYS]; /* 0: no such key */
	struct heads h = {0};
	unsigned seed = 1, found = 0, wanted = 0;
	struct key_head head;
	char text[32];

	(void)state;
	for (unsigned step = 1; step <= STEPS; step++) {
		const unsigned at = (unsigned)rand_r(&seed) % KEYS;
		const struct bytes key = key_of(at, text);

		heads_expect(&h, record_hash_of_key(key));
		wanted += model[at] != 0;
		if (find(&h, key, &head)) {
			assert_int_equal(head.version, model[at]);
			assert_int_equal(head.mod_revision, model[at] + 7);
			assert_int_equal(head.hash.hi, ~model[at]);
			found++;
		}
		if (rand_r(&seed) % 4 == 0) {
			heads_remove(&h, key, record_hash_of_key(key));
			model[at] = 0;
		} else {
			put(&h, key, step);
			model[at] = step;
		}
	}
	/* 256 Ki lines; 300,000 keys, a fifth of them of two lines */
	assert_true(found > wanted * 3 / 5);
	heads_free(&h);
}

static void
few_keys_are_all_there(void **state)
{
	enum { KEYS = 3 };
	struct heads h = {0};
	struct key_head head;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < KEYS; i++)
		assert_false(find(&h, key_of(i, text), &head));
	for (unsigned i = 0; i < KEYS; i++)
		put(&h, key_of(i, text), i + 1);
	for (unsigned i = 0; i < KEYS; i++) {
		assert_true(find(&h, key_of(i, text), &head));
		assert_int_equal(head.version, i + 1);
	}
	heads_remove(&h, key_of(1, text), record_hash_of_key(key_of(1, text)));
	assert_false(find(&h, key_of(1, text), &head));
	assert_true(find(&h, key_of(2, text), &head));
	heads_free(&h);
}

static void
most_keys_stay_while_it_grows(void **state)
{
	enum { KEYS = 20000 };
	struct heads h = {0};
	struct key_head head;
	char text[32];
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < KEYS; i++)
		put(&h, key_of(i, text), i + 1);
	for (unsigned i = 0; i < KEYS; i++)
		if (find(&h, key_of(i, text), &head)) {
			assert_int_equal(head.version, i + 1);
			found++;
		}
	assert_true(found > KEYS * 3 / 4);
	assert_true(h.n_sets < KEYS); /* as large as needed */
	heads_free(&h);
}

static void
a_key_that_is_too_long_is_not_kept(void **state)
{
	static const char text[HEADS_KEY_BYTES_MAX + 1];
	const struct bytes longest = bytes_of(text, HEADS_KEY_BYTES_MAX);
	const struct bytes longer = bytes_of(text, HEADS_KEY_BYTES_MAX + 1);
	struct heads h = {0};
	struct key_head head;

	(void)state;
	put(&h, longest, 1);
	put(&h, longer, 2);
	assert_true(find(&h, longest, &head));
	assert_int_equal(head.version, 1);
	assert_false(find(&h, longer, &head));
	heads_remove(&h, longer, record_hash_of_key(longer));
	assert_true(find(&h, longest, &head));
	heads_free(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_found_is_what_was_put_last),
	    cmocka_unit_test(few_keys_are_all_there),
	    cmocka_unit_test(most_keys_stay_while_it_grows),
	    cmocka_unit_test(a_key_that_is_too_long_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
