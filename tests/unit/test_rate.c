/* Bytes per second (raftd/rate.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raftd/rate.h"

#define PIECE 1000u

static const struct mono start = {.ns = UINT64_C(1) << 40};

static uint64_t
use(struct rate *r, uint64_t bytes_per_s, uint64_t ms)
{
	return rate_use(r, bytes_per_s, PIECE, PIECE, mono_add_ms(start, ms));
}

static void
without_a_rate_there_is_no_limit(void **state)
{
	struct rate r = {.at = start};

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(use(&r, 0, 0), 0);
}

/* Who waits as long as he was told gets just the rate, on the whole. */
static void
all_in_all_it_is_the_rate(void **state)
{
	struct rate r = {.at = start};
	uint64_t ms = 0, used = 0, wait;

	(void)state;
	while (ms < 100000) {
		if ((wait = use(&r, 40000, ms)) == 0)
			used += PIECE;
		ms += wait;
	}
	assert_in_range(used, 3900000, 4000000);
}

static void
what_was_not_used_is_saved_for_a_quarter_of_a_second(void **state)
{
	struct rate r = {.at = start};
	unsigned n = 0;

	(void)state;
	while (use(&r, 40000, 3600000) == 0)
		n++;
	assert_int_equal(n, 10);
}

/* However low the rate: a piece is sent once there is enough for it. */
static void
one_piece_can_always_be_saved_for(void **state)
{
	struct rate r = {.at = start};

	(void)state;
	assert_int_equal(use(&r, 10, 0), 100001);
	for (uint64_t s = 1; s < 100; s++)
		assert_int_not_equal(use(&r, 10, s * 1000), 0);
	assert_int_equal(use(&r, 10, 100000), 0);
	assert_int_not_equal(use(&r, 10, 100000), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_rate_there_is_no_limit),
	    cmocka_unit_test(all_in_all_it_is_the_rate),
	    cmocka_unit_test(
		what_was_not_used_is_saved_for_a_quarter_of_a_second),
	    cmocka_unit_test(one_piece_can_always_be_saved_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
