/* base/buf and base/blob: borrowed, owned and shared bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/blob.h"
#include "base/buf.h"

static void
no_bytes_are_equal_whatever_they_point_to(void **state)
{
	(void)state;
	assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of_str("")));
	assert_int_equal(bytes_compare(bytes_of(NULL, 0), bytes_of_str("")), 0);
}

static void
bytes_are_ordered_as_unsigned_then_by_length(void **state)
{
	(void)state;
	assert_true(bytes_compare(bytes_of_str("a"), bytes_of_str("b")) < 0);
	assert_true(bytes_compare(bytes_of_str("a"), bytes_of("a\0", 2)) < 0);
	assert_true(bytes_compare(bytes_of_str("\xff"), bytes_of_str("a")) > 0);
	assert_true(bytes_compare(bytes_of(NULL, 0), bytes_of_str("a")) < 0);
	assert_int_equal(
	    bytes_compare(bytes_of("a\0b", 3), bytes_of("a\0b", 3)), 0);
	assert_false(bytes_equal(bytes_of_str("ab"), bytes_of_str("a")));
	assert_false(bytes_equal(bytes_of_str("ab"), bytes_of_str("ac")));
}

static void
a_zeroed_buf_is_empty_and_can_be_freed(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(buf_bytes(&b).len, 0);
	buf_append(&b, NULL, 0);
	buf_consume(&b, 0);
	buf_clear(&b);
	assert_null(b.data);
	buf_free(&b);
	buf_free(&b);
}

static void
a_buf_keeps_what_was_appended_while_it_grows(void **state)
{
	struct buf b = {0};

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		uint8_t byte = (uint8_t)(i * 7);

		buf_append(&b, &byte, 1);
	}
	assert_int_equal(b.len, 10000);
	assert_true(b.cap >= b.len);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(b.data[i], (uint8_t)(i * 7));
	buf_free(&b);
	assert_int_equal(b.len + b.cap, 0);
}

static void
reserved_room_is_filled_without_moving(void **state)
{
	struct buf b = {0};
	const uint8_t *data;

	(void)state;
	buf_append(&b, "head", 4);
	buf_reserve(&b, 100000);
	data = b.data;
	memset(buf_extend(&b, 100000), 'x', 100000);
	assert_ptr_equal(b.data, data);
	assert_int_equal(b.len, 100004);
	assert_memory_equal(b.data, "headx", 5);
	buf_free(&b);
}

static void
consuming_drops_the_first_bytes(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_append(&b, "abcdef", 6);
	buf_consume(&b, 2);
	assert_true(bytes_equal(buf_bytes(&b), bytes_of_str("cdef")));
	buf_consume(&b, 4);
	assert_int_equal(b.len, 0);
	buf_append(&b, "g", 1);
	assert_true(bytes_equal(buf_bytes(&b), bytes_of_str("g")));
	buf_free(&b);
}

static void
clearing_keeps_the_memory(void **state)
{
	struct buf b = {0};
	size_t cap;

	(void)state;
	buf_append(&b, "abc", 3);
	cap = b.cap;
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.cap, cap);
	buf_free(&b);
}

static void
swapping_exchanges_contents(void **state)
{
	struct buf a = {0};
	struct buf b = {0};

	(void)state;
	buf_append(&a, "abc", 3);
	buf_swap(&a, &b);
	assert_int_equal(a.len, 0);
	assert_true(bytes_equal(buf_bytes(&b), bytes_of_str("abc")));
	buf_free(&a);
	buf_free(&b);
}

static void
a_blob_holds_a_copy(void **state)
{
	char text[] = "payload";
	struct blob *b = blob_new(text, 7);

	(void)state;
	text[0] = 'X';
	assert_true(bytes_equal(blob_bytes(b), bytes_of_str("payload")));
	blob_unref(&b);
	assert_null(b);
}

static void
a_blob_lives_until_its_last_reference(void **state)
{
	struct blob *a = blob_new(NULL, 3);
	struct blob *b = blob_ref(a);

	(void)state;
	memcpy(a->data, "xyz", 3);
	assert_int_equal(a->refs, 2);
	blob_unref(&a);
	assert_null(a);
	assert_int_equal(b->refs, 1);
	assert_true(bytes_equal(blob_bytes(b), bytes_of_str("xyz")));
	blob_unref(&b);
}

static void
no_blob_is_no_bytes(void **state)
{
	struct blob *none = NULL;
	struct blob *empty = blob_new(NULL, 0);

	(void)state;
	assert_null(blob_ref(none));
	assert_int_equal(blob_bytes(none).len, 0);
	assert_int_equal(blob_bytes(empty).len, 0);
	blob_unref(&none);
	blob_unref(&empty);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_bytes_are_equal_whatever_they_point_to),
	    cmocka_unit_test(bytes_are_ordered_as_unsigned_then_by_length),
	    cmocka_unit_test(a_zeroed_buf_is_empty_and_can_be_freed),
	    cmocka_unit_test(a_buf_keeps_what_was_appended_while_it_grows),
	    cmocka_unit_test(reserved_room_is_filled_without_moving),
	    cmocka_unit_test(consuming_drops_the_first_bytes),
	    cmocka_unit_test(clearing_keeps_the_memory),
	    cmocka_unit_test(swapping_exchanges_contents),
	    cmocka_unit_test(a_blob_holds_a_copy),
	    cmocka_unit_test(a_blob_lives_until_its_last_reference),
	    cmocka_unit_test(no_blob_is_no_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
