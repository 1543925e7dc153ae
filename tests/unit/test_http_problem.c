/* Problem details: httpd/problem.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "httpd/problem.h"

static json_t *
rendered(enum err code, const char *detail)
{
	struct buf out = {NULL, 0, 0};
	json_t *j;

	problem_render(&out, code, detail);
	assert_int_equal(out.data[out.len - 1], '\n');
	j = json_loadb(
	    (const char *)out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	buf_free(&out);
	return j;
}

static const char *
text(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	assert_non_null(s);
	return s;
}

static void
a_problem_has_the_members_of_the_rfc_and_a_code(void **state)
{
	json_t *j = rendered(ERR_NO_LEADER, NULL);

	(void)state;
	assert_int_equal(json_object_size(j), 5);
	assert_string_equal(text(j, "type"), "about:blank");
	assert_string_equal(text(j, "title"), err_title(ERR_NO_LEADER));
	assert_int_equal(json_integer_value(json_object_get(j, "status")), 503);
	assert_string_equal(text(j, "code"), "no_leader");
	assert_string_equal(text(j, "detail"), problem_advice(ERR_NO_LEADER));
	json_decref(j);
}

static void
every_error_has_advice_and_is_valid_json(void **state)
{
	static const enum err all[] = {
#define CODE(name, nr, word, http, title) ERR_##name,
	    ERR_TABLE(CODE)
#undef CODE
	};

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		json_t *j = rendered(all[i], NULL);

		assert_true(strlen(text(j, "detail")) > 10);
		assert_string_equal(text(j, "code"), err_word(all[i]));
		json_decref(j);
	}
}

static void
any_byte_may_stand_in_a_detail(void **state)
{
	char detail[256];
	json_t *j;

	(void)state;
	for (int i = 1; i < 256; i++)
		detail[i - 1] = (char)i;
	detail[255] = '\0';
	j = rendered(ERR_BAD_REQUEST, detail);
	assert_int_equal(strlen(text(j, "detail")), 255);
	assert_non_null(strstr(text(j, "detail"), "!\"#"));
	assert_non_null(strstr(text(j, "detail"), "[\\]"));
	json_decref(j);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_problem_has_the_members_of_the_rfc_and_a_code),
	    cmocka_unit_test(every_error_has_advice_and_is_valid_json),
	    cmocka_unit_test(any_byte_may_stand_in_a_detail)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
