/* base/metrics and base/process: buckets and the text for Prometheus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/process.h"

static struct buf text;

static int
tear_down(void **state)
{
	(void)state;
	buf_free(&text);
	return 0;
}

static const char *
shown(void)
{
	buf_append(&text, "", 1);
	return (const char *)text.data;
}

/* The bucket of a histogram that has one value. */
static unsigned
bucket_of(uint64_t first_ns, uint64_t ns)
{
	struct histogram h = {0};

	histogram_add(&h, first_ns, ns);
	assert_int_equal(histogram_total(&h), 1);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		if (h.count[i] == 1)
			return i;
	assert_int_equal(h.count[HISTOGRAM_BUCKETS], 1);
	return HISTOGRAM_BUCKETS;
}

/* "le" means: not more than. */
static void
a_bound_belongs_to_its_own_bucket(void **state)
{
	static const uint64_t firsts[] = {1, 3, HISTOGRAM_NET_NS,
	    HISTOGRAM_DISK_NS, HISTOGRAM_LONG_NS, UINT64_C(1) << 40};

	(void)state;
	for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
		uint64_t bound = firsts[f];

		assert_int_equal(bucket_of(bound, 0), 0);
		for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++, bound *= 2) {
			assert_int_equal(bucket_of(firsts[f], bound), i);
			assert_int_equal(
			    bucket_of(firsts[f], bound + 1), i + 1);
		}
		assert_int_equal(
		    bucket_of(firsts[f], UINT64_MAX), HISTOGRAM_BUCKETS);
	}
}

static void
time_that_went_backwards_counts_as_none(void **state)
{
	struct histogram h = {0};
	struct mono early = {1000}, late = {HISTOGRAM_NET_NS + 2000};

	(void)state;
	histogram_add_since(&h, HISTOGRAM_NET_NS, late, early);
	assert_int_equal(h.sum_ns, 0);
	histogram_add_since(&h, HISTOGRAM_NET_NS, early, late);
	assert_int_equal(h.sum_ns, HISTOGRAM_NET_NS + 1000);
	assert_int_equal(h.count[0], 1);
	assert_int_equal(h.count[1], 1);
}

static void
a_histogram_is_cumulative_and_ends_with_all(void **state)
{
	static const struct metrics_label labels[] = {
	    {"To", "2"}, {NULL, NULL}};
	struct metrics m = {.out = &text};
	struct histogram h = {0};

	(void)state;
	histogram_add(&h, 1000000, 500);
	histogram_add(&h, 1000000, 1500000);
	histogram_add(&h, 1000000, 2000000);
	histogram_add(&h, 1000000, 5000000000);
	metrics_family(&m, "x_seconds", METRICS_HISTOGRAM, "Time.");
	metrics_histogram(&m, labels, 1000000, 3, &h);
	assert_string_equal(shown(),
	    "# HELP x_seconds Time.\n"
	    "# TYPE x_seconds histogram\n"
	    "x_seconds_bucket{To=\"2\",le=\"0.001\"} 1\n"
	    "x_seconds_bucket{To=\"2\",le=\"0.002\"} 3\n"
	    "x_seconds_bucket{To=\"2\",le=\"0.004\"} 3\n"
	    "x_seconds_bucket{To=\"2\",le=\"+Inf\"} 4\n"
	    "x_seconds_sum{To=\"2\"} 5.0035005\n"
	    "x_seconds_count{To=\"2\"} 4\n");
}

static void
a_histogram_without_labels_has_le_alone(void **state)
{
	struct metrics m = {.out = &text};
	struct histogram h = {0};

	(void)state;
	metrics_family(&m, "x_seconds", METRICS_HISTOGRAM, "Time.");
	buf_clear(&text);
	metrics_histogram(&m, NULL, 8000000000, 1, &h);
	assert_string_equal(shown(), "x_seconds_bucket{le=\"8\"} 0\n"
				     "x_seconds_bucket{le=\"+Inf\"} 0\n"
				     "x_seconds_sum 0\n"
				     "x_seconds_count 0\n");
}

static void
numbers_are_whole_whatever_their_size(void **state)
{
	struct metrics m = {.out = &text};

	(void)state;
	metrics_counter(&m, "a_total", "A.", UINT64_MAX);
	metrics_gauge(&m, "b", "B.", 0);
	metrics_family(&m, "c_total", METRICS_COUNTER, "C.");
	metrics_seconds(&m, NULL, UINT64_MAX);
	assert_string_equal(shown(),
	    "# HELP a_total A.\n# TYPE a_total counter\n"
	    "a_total 18446744073709551615\n"
	    "# HELP b B.\n# TYPE b gauge\nb 0\n"
	    "# HELP c_total C.\n# TYPE c_total counter\n"
	    "c_total 18446744073.709551615\n");
}

/* "Text format details": backslash and line feed in help, and the quote in
 * values of labels. */
static void
what_would_break_a_line_is_escaped(void **state)
{
	static const struct metrics_label labels[] = {
	    {"a", "q\"b\\n\nz"}, {"b", ""}, {NULL, NULL}};
	struct metrics m = {.out = &text};

	(void)state;
	metrics_family(&m, "x", METRICS_GAUGE, "A \"b\" \\ c\nd");
	metrics_u64(&m, labels, 1);
	assert_string_equal(shown(), "# HELP x A \"b\" \\\\ c\\nd\n"
				     "# TYPE x gauge\n"
				     "x{a=\"q\\\"b\\\\n\\nz\",b=\"\"} 1\n");
}

static void
bytes_that_are_no_utf8_become_question_marks(void **state)
{
	static const struct {
		const char *value, *shown;
	} cases[] = {
	    {"\xc3\xa9", "\xc3\xa9"},
	    {"\xe2\x82\xac", "\xe2\x82\xac"},
	    {"\xf0\x9f\x90\x98", "\xf0\x9f\x90\x98"},
	    {"\xff", "?"},
	    {"a\xc3", "a?"},
	    {"\xc3z", "?z"},
	    {"\xc0\x80", "??"},           /* an overlong NUL */
	    {"\xed\xa0\x80", "???"},      /* a surrogate */
	    {"\xf4\x90\x80\x80", "????"}, /* beyond the last one */
	    {"\xe2\x82", "??"},
	};
	struct metrics m = {.out = &text};

	(void)state;
	metrics_family(&m, "x", METRICS_GAUGE, "X.");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct metrics_label labels[] = {
		    {"v", cases[i].value}, {NULL, NULL}};
		char expected[64];

		buf_clear(&text);
		metrics_u64(&m, labels, 7);
		(void)snprintf(expected, sizeof expected, "x{v=\"%s\"} 7\n",
		    cases[i].shown);
		assert_string_equal(shown(), expected);
	}
}

static void
a_process_knows_what_it_uses(void **state)
{
	static const struct process_names names = PROCESS_NAMES("t");
	static const char *const lines[] = {"\nt_process_cpu_seconds_total 0.",
	    "\nt_process_resident_memory_bytes ", "\nt_process_open_fds ",
	    "\nt_process_max_fds ", "\nt_process_start_time_seconds "};
	struct metrics m = {.out = &text};
	double began;
	const char *at;

	(void)state;
	process_metrics(&m, &names);
	at = shown();
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_non_null(strstr(at, lines[i]));
	assert_int_equal(
	    sscanf(strstr(at, lines[4]) + strlen(lines[4]), "%lf", &began), 1);
	assert_true(began > 1.7e9); /* after 2023, so it is a date */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_bound_belongs_to_its_own_bucket),
	    cmocka_unit_test(time_that_went_backwards_counts_as_none),
	    cmocka_unit_test_teardown(
		a_histogram_is_cumulative_and_ends_with_all, tear_down),
	    cmocka_unit_test_teardown(
		a_histogram_without_labels_has_le_alone, tear_down),
	    cmocka_unit_test_teardown(
		numbers_are_whole_whatever_their_size, tear_down),
	    cmocka_unit_test_teardown(
		what_would_break_a_line_is_escaped, tear_down),
	    cmocka_unit_test_teardown(
		bytes_that_are_no_utf8_become_question_marks, tear_down),
	    cmocka_unit_test_teardown(a_process_knows_what_it_uses, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
