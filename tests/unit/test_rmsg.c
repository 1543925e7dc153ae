/* raftd/rmsg.c: messages of the core as bytes, and bytes that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "raftd/rmsg.h"

/* A message that has everything. */
static void
full_message(struct raft_msg *m)
{
	*m = (struct raft_msg){.type = RAFT_MSG_APP,
	    .to = 2,
	    .from = 1,
	    .term = 7,
	    .log_term = 6,
	    .index = 41,
	    .commit = 40,
	    .reject = true,
	    .reject_hint = 39};
	m->context = blob_new("ctx", 3);
	m->entry_count = 2;
	m->entries = mem_zalloc(2, sizeof(m->entries[0]));
	m->entries[0] =
	    (struct raft_entry){7, 42, RAFT_ENTRY_NORMAL, blob_new("hello", 5)};
	m->entries[1] =
	    (struct raft_entry){7, 43, RAFT_ENTRY_CONF_CHANGE_V2, NULL};
	m->snapshot = mem_zalloc(1, sizeof(*m->snapshot));
	m->snapshot->index = 30;
	m->snapshot->term = 5;
	m->snapshot->conf.voters = (struct raft_ids){3, {1, 2, 3}};
	m->snapshot->conf.learners = (struct raft_ids){1, {9}};
	m->snapshot->conf.auto_leave = true;
	m->snapshot->data = blob_new("snap", 4);
}

static enum err
decode(struct bytes in, struct raft_msg *m)
{
	struct wire w;

	wire_decode(&w, in);
	return rmsg_decode(&w, m);
}

static void
encode(const struct raft_msg *m, struct buf *out)
{
	struct wire w;

	wire_encode(&w, out);
	rmsg_encode(&w, m);
	assert_int_equal(wire_err(&w), ERR_OK);
}

static void
a_message_comes_out_as_it_went_in(void **state)
{
	struct raft_msg m, back;
	struct buf first = {0}, second = {0};

	(void)state;
	full_message(&m);
	encode(&m, &first);
	assert_int_equal(decode(buf_bytes(&first), &back), ERR_OK);
	assert_int_equal(back.entry_count, 2);
	assert_int_equal(back.entries[1].index, 43);
	assert_null(back.entries[1].data);
	assert_memory_equal(back.entries[0].data->data, "hello", 5);
	assert_int_equal(back.snapshot->conf.voters.id[2], 3);
	encode(&back, &second);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
	raft_msg_free(&m);
	raft_msg_free(&back);
	buf_free(&first);
	buf_free(&second);
}

static void
a_cut_or_longer_message_is_malformed(void **state)
{
	struct raft_msg m, back;
	struct buf b = {0};

	(void)state;
	full_message(&m);
	encode(&m, &b);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(
		    decode(bytes_of(b.data, n), &back), ERR_MALFORMED);
	buf_append(&b, "", 1);
	assert_int_equal(decode(buf_bytes(&b), &back), ERR_MALFORMED);
	raft_msg_free(&m);
	buf_free(&b);
}

/* Whatever a changed byte makes of it, decoding ends and leaks nothing. */
static void
a_changed_byte_is_decoded_or_refused(void **state)
{
	struct raft_msg m, back;
	struct buf b = {0};

	(void)state;
	full_message(&m);
	encode(&m, &b);
	for (size_t i = 0; i < b.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			b.data[i] ^= (uint8_t)(1u << bit);
			if (decode(buf_bytes(&b), &back) == ERR_OK)
				raft_msg_free(&back);
			b.data[i] ^= (uint8_t)(1u << bit);
		}
	}
	raft_msg_free(&m);
	buf_free(&b);
}

static void
an_entry_count_beyond_the_message_is_malformed(void **state)
{
	struct raft_msg m = {.type = RAFT_MSG_APP}, back;
	struct buf b = {0};
	/* type, 6 x u64, reject, hint, empty context */
	const size_t count_at = 1 + 6 * 8 + 1 + 8 + 4;

	(void)state;
	encode(&m, &b);
	memset(b.data + count_at, 0xff, 4);
	assert_int_equal(decode(buf_bytes(&b), &back), ERR_MALFORMED);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_message_comes_out_as_it_went_in),
	    cmocka_unit_test(a_cut_or_longer_message_is_malformed),
	    cmocka_unit_test(a_changed_byte_is_decoded_or_refused),
	    cmocka_unit_test(an_entry_count_beyond_the_message_is_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
