/* The cursor: bytes on the wire, limits, sticky errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/err.h"
#include "proto/wire.h"

static void
numbers_are_little_endian(void **state)
{
	static const uint8_t want[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04,
	    0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x01};
	uint8_t a = 0x01;
	uint16_t b = 0x0203;
	uint32_t c = 0x04050607;
	uint64_t d = UINT64_C(0x08090a0b0c0d0e0f);
	bool e = true;
	struct buf out = {0};
	struct wire w;

	(void)state;
	wire_encode(&w, &out);
	wire_u8(&w, &a);
	wire_u16(&w, &b);
	wire_u32(&w, &c);
	wire_u64(&w, &d);
	wire_bool(&w, &e);
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_int_equal(out.len, sizeof(want));
	assert_memory_equal(out.data, want, sizeof(want));

	a = 0, b = 0, c = 0, d = 0, e = false;
	wire_decode(&w, buf_bytes(&out));
	wire_u8(&w, &a);
	wire_u16(&w, &b);
	wire_u32(&w, &c);
	wire_u64(&w, &d);
	wire_bool(&w, &e);
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_true(a == 0x01 && b == 0x0203 && c == 0x04050607 && e);
	assert_true(d == UINT64_C(0x08090a0b0c0d0e0f));
	buf_free(&out);
}

static void
after_an_error_everything_decodes_to_zero(void **state)
{
	static const uint8_t in[] = {1, 2, 3, 4, 5};
	struct bytes bytes = {in, 5};
	char text[8] = "before";
	uint32_t count = 9;
	uint64_t big = 9;
	uint8_t small = 9;
	bool yes = true;
	struct wire w;

	(void)state;
	wire_decode(&w, bytes_of(in, sizeof(in)));
	wire_u64(&w, &big); /* only 5 bytes are left */
	assert_int_equal(wire_err(&w), ERR_MALFORMED);
	wire_u8(&w, &small);
	wire_bool(&w, &yes);
	wire_bytes(&w, &bytes, 100);
	wire_text(&w, text, sizeof(text));
	wire_count(&w, &count, 1);
	assert_true(big == 0 && small == 0 && !yes && bytes.len == 0);
	assert_true(text[0] == '\0' && count == 0);
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
}

static void
bytes_left_over_are_malformed(void **state)
{
	static const uint8_t in[] = {1, 2};
	struct wire w;
	uint8_t v;

	(void)state;
	wire_decode(&w, bytes_of(in, sizeof(in)));
	wire_u8(&w, &v);
	assert_int_equal(wire_err(&w), ERR_OK);
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
}

static void
a_bool_is_zero_or_one(void **state)
{
	static const uint8_t in[] = {2};
	struct wire w;
	bool v = true;

	(void)state;
	wire_decode(&w, bytes_of(in, sizeof(in)));
	wire_bool(&w, &v);
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
	assert_false(v);
}

static void
bytes_over_their_limit_are_refused_in_both_directions(void **state)
{
	struct bytes v = bytes_of_str("12345");
	struct buf out = {0};
	struct wire w;

	(void)state;
	wire_encode(&w, &out);
	wire_bytes(&w, &v, 4);
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
	assert_int_equal(out.len, 0);

	wire_encode(&w, &out);
	wire_bytes(&w, &v, 5);
	assert_int_equal(wire_end(&w), ERR_OK);
	wire_decode(&w, buf_bytes(&out));
	wire_bytes(&w, &v, 4);
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
	assert_int_equal(v.len, 0);
	buf_free(&out);
}

static void
a_length_beyond_the_input_is_malformed(void **state)
{
	static const uint8_t in[] = {0xff, 0xff, 0xff, 0xff, 'a'};
	struct bytes v;
	struct wire w;

	(void)state;
	wire_decode(&w, bytes_of(in, sizeof(in)));
	wire_bytes(&w, &v, SIZE_MAX);
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
	assert_int_equal(v.len, 0);
}

static void
text_fits_its_array_and_has_no_nul(void **state)
{
	static const uint8_t nul[] = {3, 0, 0, 0, 'a', 0, 'b'};
	static const uint8_t full[] = {4, 0, 0, 0, 'a', 'b', 'c', 'd'};
	char text[5] = "xxxx";
	struct wire w;

	(void)state;
	wire_decode(&w, bytes_of(nul, sizeof(nul)));
	wire_text(&w, text, sizeof(text));
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
	assert_string_equal(text, "");

	wire_decode(&w, bytes_of(full, sizeof(full)));
	wire_text(&w, text, sizeof(text));
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_string_equal(text, "abcd");

	wire_decode(&w, bytes_of(full, sizeof(full)));
	wire_text(&w, text, 4); /* no room for the NUL */
	assert_int_equal(wire_end(&w), ERR_MALFORMED);
}

static void
a_count_that_cannot_be_true_is_malformed(void **state)
{
	static const uint8_t in[] = {3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
	uint32_t count;
	struct wire w;

	(void)state;
	wire_decode(&w, bytes_of(in, sizeof(in)));
	wire_count(&w, &count, 2); /* 3 items of 2 bytes: 8 are there */
	assert_int_equal(wire_err(&w), ERR_OK);
	assert_int_equal(count, 3);
	wire_decode(&w, bytes_of(in, sizeof(in)));
	wire_count(&w, &count, 3);
	assert_int_equal(wire_err(&w), ERR_MALFORMED);
	assert_int_equal(count, 0);
}

static void
measuring_counts_what_encoding_writes(void **state)
{
	struct bytes v = bytes_of_str("hello");
	char text[8] = "abc";
	uint16_t n = 1;
	struct wire w;

	(void)state;
	wire_measure(&w);
	wire_u16(&w, &n);
	wire_bytes(&w, &v, 100);
	wire_text(&w, text, sizeof(text));
	assert_int_equal(wire_end(&w), ERR_OK);
	assert_int_equal(w.measured, 2 + 4 + 5 + 4 + 3);
}

static void
every_error_has_a_word_a_status_and_a_title(void **state)
{
	unsigned nr;

	(void)state;
	assert_string_equal(err_word(ERR_NO_LEADER), "no_leader");
	assert_int_equal(err_http(ERR_NO_LEADER), 503);
	assert_string_equal(err_title(ERR_OK), "Done");
	assert_string_equal(err_word((enum err)255), "unknown");
	assert_int_equal(err_http((enum err)255), 500);
	for (nr = 0; nr < 256; nr++) {
		enum err e = err_from_u8(nr);

		assert_true(e == (enum err)nr || e == ERR_MALFORMED);
		assert_true(strlen(err_title(e)) > 0);
	}
	assert_int_equal(err_from_u8(255), ERR_MALFORMED);
	assert_int_equal(err_from_u8(39), ERR_NO_SPACE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_little_endian),
	    cmocka_unit_test(after_an_error_everything_decodes_to_zero),
	    cmocka_unit_test(bytes_left_over_are_malformed),
	    cmocka_unit_test(a_bool_is_zero_or_one),
	    cmocka_unit_test(
		bytes_over_their_limit_are_refused_in_both_directions),
	    cmocka_unit_test(a_length_beyond_the_input_is_malformed),
	    cmocka_unit_test(text_fits_its_array_and_has_no_nul),
	    cmocka_unit_test(a_count_that_cannot_be_true_is_malformed),
	    cmocka_unit_test(measuring_counts_what_encoding_writes),
	    cmocka_unit_test(every_error_has_a_word_a_status_and_a_title),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
