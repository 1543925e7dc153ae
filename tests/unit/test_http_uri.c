/* Request targets: httpd/uri.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "httpd/uri.h"
#include "proto/limits.h"

static char target[4096];

static enum err
key_of(const char *text, struct bytes *key)
{
	struct uri u;
	const char *why = NULL;
	enum err rc;

	(void)snprintf(target, sizeof target, "%s", text);
	uri_split(target, &u);
	rc = uri_key(u.path, key, &why);
	assert_true((rc == ERR_OK) == (why == NULL));
	return rc;
}

static void
assert_key(const char *text, const char *want, size_t n)
{
	struct bytes key;

	assert_int_equal(key_of(text, &key), ERR_OK);
	assert_int_equal(key.len, n);
	assert_memory_equal(key.data, want, n);
}

static void
a_key_is_the_path_without_its_first_slash(void **state)
{
	(void)state;
	assert_key("/a", "a", 1);
	assert_key("/a/b/", "a/b/", 4);
	assert_key("//a", "/a", 2);
	assert_key("//", "/", 1);
	assert_key("/a?consistency=stale", "a", 1);
	assert_key("/../a/./b", "../a/./b", 8);
}

static void
every_byte_can_be_written_with_percent(void **state)
{
	char text[1 + 3 * 256 + 1] = "/", want[256];

	(void)state;
	for (int i = 0; i < 256; i++) {
		want[i] = (char)i;
		(void)snprintf(text + 1 + 3 * i, 4, i & 1 ? "%%%02x" : "%%%02X",
		    (unsigned)i);
	}
	assert_key(text, want, 256);
	assert_key("/a+b", "a+b", 3);
	assert_key("/%2f%3F%25", "/?%", 3);
	assert_key("/\x80\xff", "\x80\xff", 2);
}

static void
malformed_percents_are_refused(void **state)
{
	static const char *const bad[] = {"/%", "/%2", "/a%", "/%zz", "/%2z",
	    "/%z2", "/a%%41", "/%-1", "/% 1"};
	struct bytes key;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(key_of(bad[i], &key), ERR_BAD_KEY);
}

static void
an_empty_key_is_refused(void **state)
{
	static const char *const bad[] = {
	    "/", "", "/?a=b", "*", "http://host", "http://host/", "host:80"};
	struct bytes key;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(key_of(bad[i], &key), ERR_BAD_KEY);
}

static void
the_limit_counts_decoded_bytes(void **state)
{
	char text[1 + 3 * 501 + 1] = "/", want[500];
	struct bytes key;

	(void)state;
	memset(want, 'A', sizeof want);
	for (size_t i = 0; i < 501; i++)
		memcpy(text + 1 + 3 * i, "%41", 4);
	assert_int_equal(key_of(text, &key), ERR_KEY_TOO_LONG);
	text[1 + 3 * 500] = '\0';
	assert_key(text, want, 500);
	memset(text + 1, 'A', 501);
	text[502] = '\0';
	assert_int_equal(key_of(text, &key), ERR_KEY_TOO_LONG);
	text[501] = '\0';
	assert_key(text, want, 500);
}

/* RFC 9112 section 3.2.2: a server must accept the absolute form. */
static void
scheme_and_authority_are_skipped(void **state)
{
	struct uri u;

	(void)state;
	assert_key("http://host:3379/a/b", "a/b", 3);
	assert_key("HTTP://host//a", "/a", 2);
	assert_key("https://h/http://x", "http://x", 8);
	assert_key("/http://x", "http://x", 8);
	(void)snprintf(target, sizeof target, "http://host?x=/y");
	uri_split(target, &u);
	assert_string_equal(u.path, "");
	assert_string_equal(u.query, "x=/y");
}

static void
a_query_is_read_parameter_by_parameter(void **state)
{
	char query[] = "&a=1&&b&c=&%64=%3d+%26&";
	const char *name, *value;
	char *at = query;
	bool malformed;

	(void)state;
	assert_true(uri_query_next(&at, &name, &value, &malformed));
	assert_string_equal(name, "a");
	assert_string_equal(value, "1");
	assert_true(uri_query_next(&at, &name, &value, &malformed));
	assert_string_equal(name, "b");
	assert_null(value);
	assert_true(uri_query_next(&at, &name, &value, &malformed));
	assert_string_equal(name, "c");
	assert_string_equal(value, "");
	assert_true(uri_query_next(&at, &name, &value, &malformed));
	assert_string_equal(name, "d");
	assert_string_equal(value, "=+&");
	assert_false(uri_query_next(&at, &name, &value, &malformed));
	assert_false(malformed);
}

static void
a_malformed_query_ends_with_an_error(void **state)
{
	static const char *const bad[] = {"a=%", "%zz=1", "a=%00", "%00"};
	const char *name, *value;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char query[16];
		char *at = query;
		bool malformed;

		(void)snprintf(query, sizeof query, "%s", bad[i]);
		assert_false(uri_query_next(&at, &name, &value, &malformed));
		assert_true(malformed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_is_the_path_without_its_first_slash),
	    cmocka_unit_test(every_byte_can_be_written_with_percent),
	    cmocka_unit_test(malformed_percents_are_refused),
	    cmocka_unit_test(an_empty_key_is_refused),
	    cmocka_unit_test(the_limit_counts_decoded_bytes),
	    cmocka_unit_test(scheme_and_authority_are_skipped),
	    cmocka_unit_test(a_query_is_read_parameter_by_parameter),
	    cmocka_unit_test(a_malformed_query_ends_with_an_error)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
