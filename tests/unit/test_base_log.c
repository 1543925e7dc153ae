/* base/log: the shapes of a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "tests/unit/log_fixture.h"

/* --- logfmt --- */

static void
log_a_detail(void)
{
	log_debug("message");
}

static void
log_something_long_with_line_ends(void)
{
	static char text[9000];

	memset(text, '\n', sizeof text - 1);
	log_warnx("odd path=%s", text);
}

static void
a_line_has_time_level_process_and_node(void **state)
{
	const char *line;

	(void)state;
	log_node(2);
	line = logged(log_a_life_event);
	assert_int_equal(strspn(line, "0123456789-T:.Z"), STAMP_BYTES);
	assert_string_equal(
	    line + STAMP_BYTES, " info  raftd[2] became leader term=3\n");
	log_node(0);
	line = logged(log_a_life_event);
	assert_string_equal(
	    line + STAMP_BYTES, " info  raftd became leader term=3\n");
}

static void
an_error_names_its_cause(void **state)
{
	(void)state;
	assert_string_equal(logged(log_a_failure) + STAMP_BYTES,
	    " error raftd cannot write bytes=5: No space left on device\n");
}

static void
lines_below_the_level_are_not_written(void **state)
{
	enum log_level level = LOG_ERROR;

	(void)state;
	assert_string_equal(logged(log_a_detail), "");
	assert_int_equal(log_level_parse("debug", &level), 0);
	log_level_set(level);
	assert_string_equal(
	    logged(log_a_detail) + STAMP_BYTES, " debug raftd message\n");
	assert_int_equal(log_level_parse("verbose", &level), -1);
	assert_int_equal(level, LOG_DEBUG);
}

static void
an_event_is_one_line_whatever_it_contains(void **state)
{
	const char *line = logged(log_something_long_with_line_ends);

	(void)state;
	assert_true(strlen(line) > 1000);
	assert_true(strlen(line) <= PIPE_BUF);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

/* --- json --- */

/* The object that log_fn logged; owned by the caller. */
static json_t *
logged_object(void (*log_fn)(void))
{
	const char *line = logged(log_fn);
	size_t n = strlen(line);
	json_error_t error;
	json_t *object;

	assert_true(n > 0 && n <= PIPE_BUF);
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
	object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
	if (object == NULL)
		fail_msg("%s: %s", error.text, line);
	assert_true(json_is_object(object));
	return object;
}

static void
assert_member(const json_t *object, const char *key, const char *value)
{
	const char *found = json_string_value(json_object_get(object, key));

	if (found == NULL)
		fail_msg("there is no string \"%s\"", key);
	assert_string_equal(found, value);
}

static void
assert_number(const json_t *object, const char *key, json_int_t value)
{
	const json_t *found = json_object_get(object, key);

	if (!json_is_integer(found))
		fail_msg("there is no number \"%s\"", key);
	assert_int_equal(json_integer_value(found), value);
}

static void
json_has_a_field_for_each_part_of_a_line(void **state)
{
	json_t *o;

	(void)state;
	log_format_set(LOG_JSON);
	log_node(2);
	o = logged_object(log_a_life_event);
	assert_int_equal(strspn(json_string_value(json_object_get(o, "ts")),
			     "0123456789-T:.Z"),
	    STAMP_BYTES);
	assert_member(o, "level", "info");
	assert_member(o, "process", "raftd");
	assert_number(o, "node", 2);
	assert_member(o, "msg", "became leader");
	assert_number(o, "term", 3);
	assert_int_equal(json_object_size(o), 6);
	json_decref(o);
}

static void
json_has_the_cause_of_an_error_as_a_field(void **state)
{
	json_t *o;

	(void)state;
	log_format_set(LOG_JSON);
	o = logged_object(log_a_failure);
	assert_member(o, "level", "error");
	assert_number(o, "node", 0);
	assert_member(o, "msg", "cannot write");
	assert_number(o, "bytes", 5);
	assert_member(o, "error", "No space left on device");
	json_decref(o);
}

static void
log_all_kinds_of_pairs(void)
{
	log_info(
	    "state of %s a=%d b=%s c=%s d=%016" PRIx64 " e=%" PRIu64
	    " f=\"%s\" reason=closed by us %s=%d g=%s h=%s; it goes on i=%s",
	    "x y=1", -7, "6/42", "two words and z=9", UINT64_C(12), UINT64_MAX,
	    "quo\"ted", "exit", 64, "1.50", "007", "");
}

static void
json_tells_pairs_by_the_phrase_not_by_what_is_in_it(void **state)
{
	json_t *o;

	(void)state;
	log_format_set(LOG_JSON);
	o = logged_object(log_all_kinds_of_pairs);
	assert_member(o, "msg", "state of x y=1; it goes on");
	assert_number(o, "a", -7);
	assert_member(o, "b", "6/42");
	assert_member(o, "c", "two words and z=9");
	assert_member(o, "d", "000000000000000c");
	assert_member(o, "e", "18446744073709551615");
	assert_member(o, "f", "quo\"ted");
	assert_member(o, "reason", "closed by us");
	assert_number(o, "exit", 64);
	assert_true(json_real_value(json_object_get(o, "g")) == 1.5);
	assert_member(o, "h", "007");
	assert_member(o, "i", "");
	assert_null(json_object_get(o, "y"));
	assert_null(json_object_get(o, "z"));
	json_decref(o);
}

static void
log_pairs_named_like_fields(void)
{
	log_info("link up node=%d process=%s level=%d", 3, "kvd", 4);
}

static void
json_keeps_its_own_fields_apart_from_pairs(void **state)
{
	json_t *o;

	(void)state;
	log_format_set(LOG_JSON);
	log_node(2);
	o = logged_object(log_pairs_named_like_fields);
	assert_number(o, "node", 2);
	assert_number(o, "about_node", 3);
	assert_member(o, "process", "raftd");
	assert_member(o, "about_process", "kvd");
	assert_member(o, "level", "info");
	assert_number(o, "about_level", 4);
	json_decref(o);
}

static void
log_bytes_that_are_no_text(void)
{
	log_info("odd path=%s next=%d",
	    "\xc3\xa4 \xff\xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82"
	    " \t\x01\"\\\x7f",
	    1);
}

static void
json_repairs_what_is_no_utf8(void **state)
{
	json_t *o;

	(void)state;
	log_format_set(LOG_JSON);
	o = logged_object(log_bytes_that_are_no_text);
	assert_member(o, "path",
	    "\xc3\xa4 \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
	    "\xef\xbf\xbd\xef\xbf\xbd \t\x01\"\\\x7f");
	assert_number(o, "next", 1);
	json_decref(o);
}

static void
log_bytes_that_mark_pairs(void)
{
	log_info("odd path=%s next=%d", "x\x1clevel\x1dy\x1e", 1);
}

static void
json_lets_no_argument_make_a_field(void **state)
{
	json_t *o;

	(void)state;
	log_format_set(LOG_JSON);
	o = logged_object(log_bytes_that_mark_pairs);
	assert_member(o, "msg", "odd path=x\x1clevel\x1dy\x1e next=1");
	assert_int_equal(json_object_size(o), 5);
	json_decref(o);
}

static char random_text[6000];

static void
log_random_text(void)
{
	errno = EIO;
	log_warn("%s a=%s b=%.900s", random_text, random_text, random_text);
}

static void
json_is_valid_whatever_bytes_come(void **state)
{
	unsigned seed = 1;

	(void)state;
	log_format_set(LOG_JSON);
	for (unsigned run = 0; run < 3000; run++) {
		size_t n = (size_t)rand_r(&seed) % (sizeof random_text - 1);
		json_t *o;

		for (size_t i = 0; i < n; i++) {
			int c = 1 + rand_r(&seed) % 255;

			/* in half of the runs none that ends the dividing */
			if (run % 2 == 0 && c >= 0x1c && c <= 0x1e)
				c = '"';
			random_text[i] = (char)c;
		}
		random_text[n] = '\0';
		o = logged_object(log_random_text);
		assert_member(o, "error", "Input/output error");
		json_decref(o);
	}
}

/* --- the journal --- */

/* A socket as standard error, which $JOURNAL_STREAM names if inode_more is
 * 0. */
static struct borrowed
borrow_journal(ino_t inode_more)
{
	struct borrowed b;
	struct stat st;
	char text[64];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	b = borrow(fds[0], fds[1]);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)(st.st_ino + inode_more));
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
	return b;
}

static void
the_journal_gets_priorities_and_no_time(void **state)
{
	struct borrowed b = borrow_journal(0);
	const char *text;

	(void)state;
	log_level_set(LOG_DEBUG);
	log_a_detail();
	log_a_life_event();
	log_warnx("odd");
	log_a_failure();
	text = take(b.read_fd);
	give_back(b);
	assert_string_equal(text,
	    "<7>debug raftd message\n"
	    "<6>info  raftd became leader term=3\n"
	    "<4>warn  raftd odd\n"
	    "<3>error raftd cannot write bytes=5: No space left on device\n");
}

static void
the_journal_gets_priorities_before_json(void **state)
{
	struct borrowed b = borrow_journal(0);
	const char *text;

	(void)state;
	log_format_set(LOG_JSON);
	log_a_life_event();
	text = take(b.read_fd);
	give_back(b);
	assert_memory_equal(text, "<6>{\"ts\":\"", 10);
}

static void
another_socket_is_not_the_journal(void **state)
{
	struct borrowed b = borrow_journal(1);
	const char *text;

	(void)state;
	log_a_life_event();
	text = take(b.read_fd);
	give_back(b);
	assert_string_equal(
	    text + STAMP_BYTES, " info  raftd became leader term=3\n");
}

#define TEST(f) cmocka_unit_test_setup(f, log_fixture_begin)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_line_has_time_level_process_and_node),
	    TEST(an_error_names_its_cause),
	    TEST(lines_below_the_level_are_not_written),
	    TEST(an_event_is_one_line_whatever_it_contains),
	    TEST(json_has_a_field_for_each_part_of_a_line),
	    TEST(json_has_the_cause_of_an_error_as_a_field),
	    TEST(json_tells_pairs_by_the_phrase_not_by_what_is_in_it),
	    TEST(json_keeps_its_own_fields_apart_from_pairs),
	    TEST(json_repairs_what_is_no_utf8),
	    TEST(json_lets_no_argument_make_a_field),
	    TEST(json_is_valid_whatever_bytes_come),
	    TEST(the_journal_gets_priorities_and_no_time),
	    TEST(the_journal_gets_priorities_before_json),
	    TEST(another_socket_is_not_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
