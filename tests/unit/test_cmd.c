/* Batches of commands, as they stand in log entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/cmd.h"

#define COUNT 5u
static const struct cmd_batch head = {CMD_FORMAT, 1, 2, 3, 3, COUNT};

static const struct cmd cmds[] = {
    {.op = CMD_PUT,
	.key = {(const uint8_t *)"k", 1},
	.value = {(const uint8_t *)"value", 5}},
    {.op = CMD_PUT,
	.when = CMD_IF_REVISION,
	.if_revision = 77,
	.key = {(const uint8_t *)"key", 3}},
    {.op = CMD_DELETE,
	.when = CMD_IF_PRESENT,
	.key = {(const uint8_t *)"\0x", 2}},
    {.op = CMD_DELETE,
	.when = CMD_IF_REVISION,
	.if_revision = 78,
	.key = {(const uint8_t *)"b", 1}},
    {.op = CMD_CHECK, .check = {.node = 5, .index = 6, .hash = {7, 8}}},
};

static enum err
batch_wire(struct wire *w, struct cmd_batch *b, struct cmd c[COUNT])
{
	uint32_t i;

	cmd_batch_wire(w, b);
	for (i = 0; i < b->count && i < COUNT; i++)
		cmd_wire(w, &c[i]);
	return wire_end(w);
}

static void
encode(struct buf *out)
{
	struct cmd_batch b = head;
	struct cmd c[COUNT];
	struct wire w;

	memcpy(c, cmds, sizeof(c));
	buf_clear(out);
	wire_encode(&w, out);
	assert_int_equal(batch_wire(&w, &b, c), ERR_OK);
	wire_measure(&w);
	assert_int_equal(batch_wire(&w, &b, c), ERR_OK);
	assert_int_equal(w.measured, out->len);
}

static enum err
decode(struct bytes in, struct cmd_batch *b, struct cmd c[COUNT])
{
	struct wire w;

	memset(c, 0xff, COUNT * sizeof(*c));
	wire_decode(&w, in);
	return batch_wire(&w, b, c);
}

static void
a_batch_comes_back_as_it_was(void **state)
{
	struct buf out = {0};
	struct cmd_batch b;
	struct cmd c[COUNT];
	size_t i;

	(void)state;
	encode(&out);
	assert_int_equal(decode(buf_bytes(&out), &b, c), ERR_OK);
	assert_true(b.node == 1 && b.epoch == 2 && b.seq == 3);
	assert_true(b.done_below == 3 && b.count == COUNT);
	for (i = 0; i < COUNT; i++) {
		assert_int_equal(c[i].op, cmds[i].op);
		assert_int_equal(c[i].when, cmds[i].when);
		assert_int_equal(c[i].if_revision, cmds[i].if_revision);
		assert_true(bytes_equal(c[i].key, cmds[i].key));
		assert_true(bytes_equal(c[i].value, cmds[i].value));
		assert_memory_equal(
		    &c[i].check, &cmds[i].check, sizeof(c[i].check));
	}
	buf_free(&out);
}

static void
a_batch_cut_anywhere_or_longer_is_malformed(void **state)
{
	struct buf out = {0};
	struct cmd_batch b;
	struct cmd c[COUNT];
	size_t len;

	(void)state;
	encode(&out);
	for (len = 0; len < out.len; len++)
		assert_int_equal(
		    decode(bytes_of(out.data, len), &b, c), ERR_MALFORMED);
	buf_append(&out, "", 1);
	assert_int_equal(decode(buf_bytes(&out), &b, c), ERR_MALFORMED);
	buf_free(&out);
}

/* Decodes a copy in which the byte at `at` has another value. */
static enum err
with_byte(const struct buf *good, size_t at, uint8_t value)
{
	struct buf copy = {0};
	struct cmd_batch b;
	struct cmd c[COUNT];
	enum err rc;

	buf_append(&copy, good->data, good->len);
	copy.data[at] = value;
	rc = decode(buf_bytes(&copy), &b, c);
	buf_free(&copy);
	return rc;
}

static void
every_range_is_checked(void **state)
{
	struct buf out = {0};

	(void)state;
	encode(&out);
	assert_int_equal(with_byte(&out, 0, 2), ERR_MALFORMED);  /* format */
	assert_int_equal(with_byte(&out, 17, 0), ERR_MALFORMED); /* seq 0 */
	assert_int_equal(with_byte(&out, 33, 0), ERR_MALFORMED); /* count */
	assert_int_equal(with_byte(&out, 34, 9), ERR_MALFORMED); /* count */
	assert_int_equal(with_byte(&out, 37, 4), ERR_MALFORMED); /* op */
	assert_int_equal(with_byte(&out, 38, 4), ERR_MALFORMED); /* when */
	assert_int_equal(with_byte(&out, 39, 0), ERR_MALFORMED); /* no key */
	assert_int_equal(with_byte(&out, 41, 1), ERR_MALFORMED); /* key len */
	assert_int_equal(with_byte(&out, 38, 2), ERR_OK);
	buf_free(&out);
}

static void
keys_and_values_have_their_limits(void **state)
{
	static uint8_t bytes[VALUE_BYTES_MAX + 1];
	struct cmd c = {.op = CMD_PUT};
	struct buf out = {0};
	struct wire w;
	size_t k, v;

	(void)state;
	for (k = 0; k < 2; k++) {
		for (v = 0; v < 2; v++) {
			c.key = bytes_of(bytes, KEY_BYTES_MAX + k);
			c.value = bytes_of(bytes, VALUE_BYTES_MAX + v);
			buf_clear(&out);
			wire_encode(&w, &out);
			cmd_wire(&w, &c);
			assert_int_equal(
			    wire_end(&w), k + v == 0 ? ERR_OK : ERR_MALFORMED);
		}
	}
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_batch_comes_back_as_it_was),
	    cmocka_unit_test(a_batch_cut_anywhere_or_longer_is_malformed),
	    cmocka_unit_test(every_range_is_checked),
	    cmocka_unit_test(keys_and_values_have_their_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
