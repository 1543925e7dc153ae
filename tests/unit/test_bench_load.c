/* The load generators: their percentiles and their requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/bench/histogram.h"
#include "tests/bench/request.h"

static struct histogram h;

static void
a_percentile_is_at_most_one_64th_above_the_time(void **state)
{
	(void)state;
	for (uint64_t ns = 1; ns < UINT64_MAX / 3; ns = ns * 3 / 2 + 1) {
		memset(&h, 0, sizeof h);
		histogram_add(&h, ns);
		histogram_add(&h, UINT64_MAX); /* the largest there is */
		assert_true(histogram_at(&h, .25) >= ns);
		assert_true(histogram_at(&h, .25) - ns <= ns / 64);
		assert_true(histogram_at(&h, 1) == UINT64_MAX);
	}
}

static void
percentiles_count_from_below(void **state)
{
	(void)state;
	memset(&h, 0, sizeof h);
	assert_int_equal(histogram_at(&h, .5), 0);
	for (uint64_t ns = 1; ns <= 60; ns++)
		histogram_add(&h, ns);
	assert_int_equal(histogram_at(&h, 0), 1);
	assert_int_equal(histogram_at(&h, .5), 31);
	assert_int_equal(histogram_at(&h, .99), 60);
	assert_int_equal(h.max, 60);
	assert_int_equal(h.count, 60);
}

/* The body is as long as its header says, in every interface. */
static void
a_request_has_the_length_that_it_names(void **state)
{
	static const char *const apis[] = {"plain", "v2", "v3"};

	(void)state;
	for (size_t i = 0; i < sizeof apis / sizeof apis[0]; i++) {
		for (size_t bytes = 0; bytes < 20; bytes++) {
			struct buf out = {NULL, 0, 0};
			struct maker m;
			enum api api;
			const char *length, *body;

			assert_int_equal(api_parse(apis[i], &api), 0);
			maker_open(&m, api, OP_PUT, 0, bytes, 1);
			maker_add(&m, 1234567, &out);
			buf_append(&out, "", 1);
			length = strstr((char *)out.data, "Content-Length: ");
			body = strstr((char *)out.data, "\r\n\r\n");
			assert_non_null(length);
			assert_non_null(body);
			assert_int_equal(
			    strlen(body + 4), strtoul(length + 16, NULL, 10));
			buf_free(&out);
			maker_close(&m);
		}
	}
}

static void
an_operation_that_is_not_known_is_refused(void **state)
{
	unsigned percent;
	enum op op;

	(void)state;
	assert_int_equal(op_parse("mix95", &op, &percent), 0);
	assert_int_equal(op, OP_MIX);
	assert_int_equal(percent, 95);
	assert_int_equal(op_parse("mix", &op, &percent), -1);
	assert_int_equal(op_parse("mix101", &op, &percent), -1);
	assert_int_equal(op_parse("mix5x", &op, &percent), -1);
	assert_int_equal(op_parse("pu", &op, &percent), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_percentile_is_at_most_one_64th_above_the_time),
	    cmocka_unit_test(percentiles_count_from_below),
	    cmocka_unit_test(a_request_has_the_length_that_it_names),
	    cmocka_unit_test(an_operation_that_is_not_known_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
