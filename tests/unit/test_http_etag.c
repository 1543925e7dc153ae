/* Entity tags and conditions: httpd/etag.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "httpd/etag.h"

static struct etags
parsed(const char *value)
{
	struct etags e;

	memset(&e, 0, sizeof e);
	assert_true(etags_add(&e, value));
	assert_true(e.present);
	return e;
}

static void
a_revision_matches_its_own_tag_only(void **state)
{
	struct etags e = parsed("\"77\"");

	(void)state;
	assert_true(etags_match_strong(&e, 77));
	assert_true(etags_match_weak(&e, 77));
	assert_false(etags_match_strong(&e, 7));
	assert_false(etags_match_weak(&e, 777));
}

/* RFC 9110 section 8.8.3.2. */
static void
a_weak_tag_matches_weakly_only(void **state)
{
	struct etags e = parsed("W/\"5\"");

	(void)state;
	assert_true(etags_match_weak(&e, 5));
	assert_false(etags_match_strong(&e, 5));
}

static void
a_list_matches_each_of_its_tags(void **state)
{
	struct etags e = parsed(" \"1\",W/\"2\" ,, \"abc\" , \"4\",");

	(void)state;
	assert_int_equal(e.listed, 4);
	assert_int_equal(e.count, 3);
	assert_true(etags_match_weak(&e, 1));
	assert_true(etags_match_weak(&e, 2));
	assert_false(etags_match_weak(&e, 3));
	assert_true(etags_match_strong(&e, 4));
}

static void
several_fields_are_one_list(void **state)
{
	struct etags e = parsed("\"1\"");

	(void)state;
	assert_true(etags_add(&e, "\"2\""));
	assert_true(etags_match_strong(&e, 1));
	assert_true(etags_match_strong(&e, 2));
	assert_false(etags_add(&e, "*"));
}

static void
a_star_matches_everything(void **state)
{
	struct etags e = parsed(" * ");

	(void)state;
	assert_true(e.any);
	assert_true(etags_match_strong(&e, 1));
	assert_true(etags_match_weak(&e, UINT64_MAX));
}

static void
foreign_tags_are_legal_and_never_match(void **state)
{
	static const char *const foreign[] = {"\"\"", "\"abc\"", "\"007\"",
	    "\"0\"", "\"-1\"", "\"+1\"", "\" 1\"", "\"1a\"",
	    "\"18446744073709551615\"", /* no revision either */
	    "\"18446744073709551616\"", "\"99999999999999999999999\"",
	    "\"a,b\"", "W/\"x\""};

	(void)state;
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
		struct etags e = parsed(foreign[i]);

		assert_int_equal(e.listed, 1);
		assert_int_equal(e.count, 0);
	}
	assert_int_equal(
	    parsed("\"18446744073709551614\"").revision[0], UINT64_MAX - 1);
}

static void
what_is_no_list_of_tags_is_refused(void **state)
{
	static const char *const bad[] = {"", " ", ",", "77", "\"77", "77\"",
	    "\"1\" \"2\"", "\"1\"x", "W/1", "w/\"1\"", "* \"1\"", "**",
	    "\"1\",*", "W/", "\"1\";\"2\""};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct etags e;

		memset(&e, 0, sizeof e);
		assert_false(etags_add(&e, bad[i]));
	}
}

static void
a_list_is_bounded(void **state)
{
	struct etags e;

	(void)state;
	memset(&e, 0, sizeof e);
	for (unsigned i = 0; i < ETAGS_MAX; i++)
		assert_true(etags_add(&e, "\"1\""));
	assert_false(etags_add(&e, "\"1\""));
}

static void
a_tag_is_the_revision_in_quotes(void **state)
{
	char out[ETAG_BYTES_MAX];

	(void)state;
	etag_format(7, out);
	assert_string_equal(out, "\"7\"");
	etag_format(1090, out);
	assert_string_equal(out, "\"1090\"");
	etag_format(UINT64_MAX, out);
	assert_string_equal(out, "\"18446744073709551615\"");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_revision_matches_its_own_tag_only),
	    cmocka_unit_test(a_weak_tag_matches_weakly_only),
	    cmocka_unit_test(a_list_matches_each_of_its_tags),
	    cmocka_unit_test(several_fields_are_one_list),
	    cmocka_unit_test(a_star_matches_everything),
	    cmocka_unit_test(foreign_tags_are_legal_and_never_match),
	    cmocka_unit_test(what_is_no_list_of_tags_is_refused),
	    cmocka_unit_test(a_list_is_bounded),
	    cmocka_unit_test(a_tag_is_the_revision_in_quotes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
