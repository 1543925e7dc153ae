/* base/hash and base/mono: sums of hashes, arithmetic of time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mono.h"

#define ELEMENTS 64u

static struct hash128
element(unsigned i)
{
	return hash128(&i, sizeof i);
}

static void
assert_hash_equal(struct hash128 a, struct hash128 b)
{
	assert_true(a.lo == b.lo);
	assert_true(a.hi == b.hi);
}

/* The test vectors of XXH3 for no input, seed 0: the numbers stand in files
 * and messages, so they must never change. */
static void
hashes_of_nothing_are_those_of_xxh3(void **state)
{
	char hex[HASH128_HEX_BYTES];

	(void)state;
	assert_true(hash64(NULL, 0, 0) == UINT64_C(0x2d06800538d394c2));
	hash128_hex(hash128(NULL, 0), hex);
	assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
}

/* Above 240 bytes the library has a variant for each kind of processor.  These
 * are of the one that runs on all of them: nodes must agree. */
static void
hashes_are_the_same_on_every_processor(void **state)
{
	static const struct {
		size_t bytes;
		uint64_t plain, seeded;
		struct hash128 wide;
	} known[] = {
	    {241, 0x44dbd3180a664e27, 0xeb4bf1ab32635c1f,
		{0x44dbd3180a664e27, 0xd894c74b1b3ea28f}},
	    {4096, 0x9f544112e3e91bb5, 0x5263481d1dc41801,
		{0x9f544112e3e91bb5, 0xf3bda29489a47849}},
	    {1048576, 0xce9019edbb4fecfd, 0xae0ac64d9d39a676,
		{0xce9019edbb4fecfd, 0xc4b88a906e0ab88f}},
	};
	static uint8_t data[1048576];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16));
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		const size_t n = known[i].bytes;

		assert_true(hash64(data, n, 0) == known[i].plain);
		assert_true(hash64(data, n, 9) == known[i].seeded);
		assert_hash_equal(hash128(data, n), known[i].wide);
	}
}

static void
a_seed_changes_the_hash(void **state)
{
	(void)state;
	assert_true(hash64("abc", 3, 0) != hash64("abc", 3, 1));
}

static void
the_sum_does_not_depend_on_order(void **state)
{
	struct hash128 up = {0, 0};
	struct hash128 down = {0, 0};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS; i++) {
		up = hash128_add(up, element(i));
		down = hash128_add(down, element(ELEMENTS - 1 - i));
	}
	assert_hash_equal(up, down);
}

static void
an_element_leaves_the_sum_by_subtraction(void **state)
{
	struct hash128 all = {0, 0};
	struct hash128 without = {0, 0};

	(void)state;
	for (unsigned i = 0; i < ELEMENTS; i++) {
		all = hash128_add(all, element(i));
		if (i != 17)
			without = hash128_add(without, element(i));
	}
	assert_hash_equal(hash128_sub(all, element(17)), without);
}

static void
the_sum_carries_from_the_low_half_to_the_high_one(void **state)
{
	const struct hash128 one = {.lo = 1, .hi = 0};
	const struct hash128 full = {.lo = UINT64_MAX, .hi = 7};
	const struct hash128 carried = {.lo = 0, .hi = 8};
	const struct hash128 most = {.lo = UINT64_MAX, .hi = UINT64_MAX};
	const struct hash128 zero = {0, 0};

	(void)state;
	assert_hash_equal(hash128_add(full, one), carried);
	assert_hash_equal(hash128_sub(carried, one), full);
	assert_hash_equal(hash128_add(most, one), zero);
	assert_hash_equal(hash128_sub(zero, one), most);
}

static void
hex_has_32_digits(void **state)
{
	char hex[HASH128_HEX_BYTES];

	(void)state;
	hash128_hex((struct hash128){.lo = 0xab, .hi = 1}, hex);
	assert_string_equal(hex, "000000000000000100000000000000ab");
}

static void
time_saturates_at_never(void **state)
{
	const struct mono t = {UINT64_MAX - 10};

	(void)state;
	assert_true(mono_add_ms(t, 1).ns == MONO_NEVER.ns);
	assert_true(
	    mono_add_ms((struct mono){0}, UINT64_MAX).ns == MONO_NEVER.ns);
	assert_true(mono_add_ms((struct mono){5}, 2).ns == 2000005);
	assert_true(mono_earlier(t, MONO_NEVER).ns == t.ns);
}

static void
time_until_is_rounded_up_and_since_down(void **state)
{
	const struct mono now = {1000000};

	(void)state;
	assert_int_equal(mono_ms_until((struct mono){1000001}, now), 1);
	assert_int_equal(mono_ms_until((struct mono){2000000}, now), 1);
	assert_int_equal(mono_ms_until((struct mono){2000001}, now), 2);
	assert_int_equal(mono_ms_until((struct mono){999999}, now), 0);
	assert_int_equal(mono_ms_since((struct mono){1}, now), 0);
	assert_int_equal(mono_ms_since((struct mono){0}, now), 1);
	assert_int_equal(mono_ms_since((struct mono){1000001}, now), 0);
	assert_int_equal(mono_us_since((struct mono){0}, now), 1000);
}

static void
a_deadline_is_reached_at_its_own_time(void **state)
{
	(void)state;
	assert_true(mono_reached((struct mono){5}, (struct mono){5}));
	assert_false(mono_reached((struct mono){6}, (struct mono){5}));
	assert_false(mono_reached(MONO_NEVER, mono_now()));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hashes_of_nothing_are_those_of_xxh3),
	    cmocka_unit_test(hashes_are_the_same_on_every_processor),
	    cmocka_unit_test(a_seed_changes_the_hash),
	    cmocka_unit_test(the_sum_does_not_depend_on_order),
	    cmocka_unit_test(an_element_leaves_the_sum_by_subtraction),
	    cmocka_unit_test(the_sum_carries_from_the_low_half_to_the_high_one),
	    cmocka_unit_test(hex_has_32_digits),
	    cmocka_unit_test(time_saturates_at_never),
	    cmocka_unit_test(time_until_is_rounded_up_and_since_down),
	    cmocka_unit_test(a_deadline_is_reached_at_its_own_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
