/* Every message: what is encoded is what is decoded and what is measured; cut
 * anywhere, or one byte longer, it is malformed; values out of range too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proto/cmd.h"
#include "proto/link_private.h"
#include "proto/msg.h"

#define ITEMS_MAX 3

/* All of one message, whatever its type; only the members of the type are
 * used.  all_wire() is its one layout, built from the product's routines. */
struct all {
	uint8_t type;
	union {
		struct msg_hello hello;
		struct msg_propose propose;
		struct msg_read read;
		struct msg_refuse refuse;
		struct msg_commit commit;
		struct msg_applied applied;
		struct msg_reply reply;
		struct msg_ask ask;
		struct msg_status_ask status_ask;
		struct msg_raft_status raft_status;
		struct msg_kv_status kv_status;
		struct msg_snap_ask snap_ask;
		struct msg_snap_head snap_head;
		struct msg_snap_data snap_data;
		struct msg_control control;
		struct msg_controlled controlled;
		struct msg_bye bye;
		struct msg_metrics metrics;
	} m;
	union {
		struct msg_read_item read;
		struct msg_commit_item commit;
		struct msg_reply_item reply;
		uint64_t ask;
		struct msg_peer_item peer;
	} item[ITEMS_MAX];
};

static enum err
list_wire(struct wire *w, struct all *a)
{
	uint32_t i, n = 0;

	if (a->type == MSG_READ)
		msg_read_wire(w, &a->m.read), n = a->m.read.count;
	else if (a->type == MSG_COMMIT)
		msg_commit_wire(w, &a->m.commit), n = a->m.commit.count;
	else if (a->type == MSG_REPLY)
		msg_reply_wire(w, &a->m.reply), n = a->m.reply.count;
	else if (a->type == MSG_ASK)
		msg_ask_wire(w, &a->m.ask), n = a->m.ask.count;
	else if (a->type == MSG_RAFT_STATUS)
		msg_raft_status_wire(w, &a->m.raft_status),
		    n = a->m.raft_status.count;
	for (i = 0; i < n && i < ITEMS_MAX; i++) {
		if (a->type == MSG_READ)
			msg_read_item_wire(w, &a->item[i].read);
		else if (a->type == MSG_COMMIT)
			msg_commit_item_wire(w, &a->item[i].commit);
		else if (a->type == MSG_REPLY)
			msg_reply_item_wire(w, &a->item[i].reply);
		else if (a->type == MSG_ASK)
			msg_ask_item_wire(w, &a->item[i].ask);
		else
			msg_peer_item_wire(w, &a->item[i].peer);
	}
	return wire_end(w);
}

static enum err
all_wire(struct wire *w, struct all *a)
{
	switch (a->type) {
	case MSG_HELLO:
		return msg_hello_wire(w, &a->m.hello);
	case MSG_PROPOSE:
		return msg_propose_wire(w, &a->m.propose);
	case MSG_REFUSE:
		return msg_refuse_wire(w, &a->m.refuse);
	case MSG_APPLIED:
		return msg_applied_wire(w, &a->m.applied);
	case MSG_STATUS_ASK:
		return msg_status_ask_wire(w, &a->m.status_ask);
	case MSG_KV_STATUS:
		return msg_kv_status_wire(w, &a->m.kv_status);
	case MSG_SNAP_ASK:
		return msg_snap_ask_wire(w, &a->m.snap_ask);
	case MSG_SNAP_HEAD:
		return msg_snap_head_wire(w, &a->m.snap_head);
	case MSG_SNAP_DATA:
		return msg_snap_data_wire(w, &a->m.snap_data);
	case MSG_CONTROL:
	case MSG_ORDER:
		return msg_control_wire(w, &a->m.control);
	case MSG_CONTROLLED:
	case MSG_ORDERED:
		return msg_controlled_wire(w, &a->m.controlled);
	case MSG_BYE:
		return msg_bye_wire(w, &a->m.bye);
	case MSG_METRICS_ASK:
	case MSG_PING:
	case MSG_PONG:
		return msg_status_ask_wire(w, &a->m.status_ask);
	case MSG_METRICS:
		return msg_metrics_wire(w, &a->m.metrics);
	default:
		return list_wire(w, a);
	}
}

static struct all *
sample_lists(struct all *a)
{
	switch (a->type) {
	case MSG_READ:
		a->m.read = (struct msg_read){1, 2, 3, 2};
		a->item[0].read = (struct msg_read_item){bytes_of_str("k"), 7};
		a->item[1].read = (struct msg_read_item){
		    bytes_of_str("another key"), UINT64_MAX};
		break;
	case MSG_COMMIT:
		a->m.commit = (struct msg_commit){99, 3};
		a->item[0].commit =
		    (struct msg_commit_item){3, 0, bytes_of_str("entry")};
		a->item[1].commit =
		    (struct msg_commit_item){3, 1, bytes_of_str("")};
		a->item[2].commit =
		    (struct msg_commit_item){4, 2, bytes_of_str("x")};
		break;
	case MSG_REPLY:
		a->m.reply = (struct msg_reply){MSG_REPLY_READ, 5, 6, 7, 2};
		a->item[0].reply = (struct msg_reply_item){
		    ERR_OK, 8, 5, bytes_of_str("value")};
		a->item[1].reply = (struct msg_reply_item){
		    ERR_NOT_FOUND, 0, 0, bytes_of_str("")};
		break;
	case MSG_ASK:
		a->m.ask = (struct msg_ask){1, 3};
		a->item[0].ask = 10;
		a->item[1].ask = 11;
		a->item[2].ask = UINT64_MAX;
		break;
	case MSG_RAFT_STATUS:
		a->m.raft_status = (struct msg_raft_status){1, 2, 3, 4, 5,
		    MSG_ROLE_LEADER, 6, 7, 8, 9, 10, true, 11, 2};
		a->item[0].peer = (struct msg_peer_item){2, "127.0.0.1:3380",
		    MSG_MEMBER_VOTER, false, 0, true, 5, 2};
		a->item[1].peer = (struct msg_peer_item){
		    3, "[::1]:3380", MSG_MEMBER_LEARNER, true, 1, false, 0, 0};
		break;
	default:
		fail_msg("no such message: %u", a->type);
	}
	return a;
}

static struct all *
sample_snapshot(struct all *a)
{
	switch (a->type) {
	case MSG_SNAP_ASK:
		a->m.snap_ask = (struct msg_snap_ask){1, 2};
		return a;
	case MSG_SNAP_HEAD:
		a->m.snap_head =
		    (struct msg_snap_head){1, 2, 3, 4, 5, 6, 7, {8, 9}};
		return a;
	case MSG_SNAP_DATA:
		a->m.snap_data =
		    (struct msg_snap_data){1, 2, true, bytes_of_str("chunk")};
		return a;
	case MSG_CONTROL:
		a->m.control = (struct msg_control){
		    1, MSG_ORDER_REPLACE, 4, 3, true, false, "[::1]:3383"};
		return a;
	case MSG_CONTROLLED:
		a->m.controlled = (struct msg_controlled){
		    1, ERR_QUORUM, 2, 3, "2 of 2 are away"};
		return a;
	case MSG_ORDER:
		a->m.control = (struct msg_control){
		    2, MSG_ORDER_REMOVE, 4, 0, false, true, ""};
		return a;
	case MSG_ORDERED:
		a->m.controlled = (struct msg_controlled){2, ERR_OK, 3, 4, ""};
		return a;
	case MSG_BYE:
		a->m.bye = (struct msg_bye){ERR_REMOVED};
		return a;
	case MSG_METRICS_ASK:
	case MSG_PING:
	case MSG_PONG:
		a->m.status_ask = (struct msg_status_ask){3};
		return a;
	case MSG_METRICS:
		a->m.metrics = (struct msg_metrics){3, bytes_of_str("x 1\n")};
		return a;
	default:
		return sample_lists(a);
	}
}

/* A message with all its fields set, all different where they can be. */
static struct all *
sample(struct all *a, uint8_t type)
{
	memset(a, 0, sizeof(*a));
	a->type = type;
	switch (type) {
	case MSG_HELLO:
		a->m.hello = (struct msg_hello){MSG_MAGIC, MSG_PROTOCOL,
		    MSG_KVD, 1, 2, 3, 4, 5, 6, "0.1.0", "lmdb"};
		return a;
	case MSG_PROPOSE:
		a->m.propose =
		    (struct msg_propose){77, 2, bytes_of_str("entry")};
		return a;
	case MSG_REFUSE:
		a->m.refuse = (struct msg_refuse){
		    MSG_REFUSED_READ, ERR_NO_LEADER, 1, 2, 3};
		return a;
	case MSG_APPLIED:
		a->m.applied = (struct msg_applied){20, 10};
		return a;
	case MSG_STATUS_ASK:
		a->m.status_ask = (struct msg_status_ask){9};
		return a;
	case MSG_KV_STATUS:
		a->m.kv_status = (struct msg_kv_status){
		    1, 2, 3, 4, 5, 6, {7, 8}, "leveldb", true, 9};
		return a;
	default:
		return sample_snapshot(a);
	}
}

static const uint8_t types[] = {MSG_HELLO, MSG_PROPOSE, MSG_READ, MSG_REFUSE,
    MSG_COMMIT, MSG_APPLIED, MSG_REPLY, MSG_ASK, MSG_STATUS_ASK,
    MSG_RAFT_STATUS, MSG_KV_STATUS, MSG_SNAP_ASK, MSG_SNAP_HEAD, MSG_SNAP_DATA,
    MSG_CONTROL, MSG_CONTROLLED, MSG_ORDER, MSG_ORDERED, MSG_BYE,
    MSG_METRICS_ASK, MSG_METRICS, MSG_PING, MSG_PONG};
#define TYPES (sizeof(types) / sizeof(types[0]))

static void
encode(struct all *a, struct buf *out)
{
	struct wire w;

	buf_clear(out);
	wire_encode(&w, out);
	assert_int_equal(all_wire(&w, a), ERR_OK);
}

static enum err
decode(uint8_t type, struct bytes in, struct all *a)
{
	struct wire w;

	memset(a, 0, sizeof(*a));
	a->type = type;
	wire_decode(&w, in);
	return all_wire(&w, a);
}

static void
what_is_encoded_is_decoded_and_measured(void **state)
{
	struct buf first = {0}, again = {0};
	struct all a, b;
	struct wire w;
	size_t i;

	(void)state;
	for (i = 0; i < TYPES; i++) {
		encode(sample(&a, types[i]), &first);
		wire_measure(&w);
		assert_int_equal(all_wire(&w, &a), ERR_OK);
		assert_int_equal(w.measured, first.len);
		assert_int_equal(
		    decode(types[i], buf_bytes(&first), &b), ERR_OK);
		encode(&b, &again); /* equal bytes: equal fields */
		assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&again)));
	}
	buf_free(&first);
	buf_free(&again);
}

static void
fields_come_back_as_they_were(void **state)
{
	struct buf out = {0};
	struct all a, b;

	(void)state;
	encode(sample(&a, MSG_HELLO), &out);
	assert_int_equal(decode(MSG_HELLO, buf_bytes(&out), &b), ERR_OK);
	assert_memory_equal(&a.m.hello, &b.m.hello, sizeof(a.m.hello));
	encode(sample(&a, MSG_KV_STATUS), &out);
	assert_int_equal(decode(MSG_KV_STATUS, buf_bytes(&out), &b), ERR_OK);
	assert_memory_equal(
	    &a.m.kv_status, &b.m.kv_status, sizeof(a.m.kv_status));
	encode(sample(&a, MSG_RAFT_STATUS), &out);
	assert_int_equal(decode(MSG_RAFT_STATUS, buf_bytes(&out), &b), ERR_OK);
	assert_string_equal(b.item[1].peer.address, "[::1]:3380");
	assert_true(b.item[1].peer.member == MSG_MEMBER_LEARNER &&
		    !b.item[1].peer.connected);
	assert_int_equal(b.item[0].peer.match, 5);
	assert_true(b.m.raft_status.kvd_connected);
	assert_int_equal(b.m.raft_status.applied, 9);
	assert_int_equal(b.m.raft_status.snapshot, 10);
	buf_free(&out);
}

/* Decoded from memory of exactly that size, so that a read beyond is seen. */
static enum err
decode_alone(uint8_t type, const uint8_t *data, size_t len)
{
	uint8_t *copy = mem_alloc(len + 1);
	struct all b;
	enum err rc;

	memcpy(copy + 1, data, len);
	rc = decode(type, bytes_of(copy + 1, len), &b);
	mem_free(copy);
	return rc;
}

static void
a_message_cut_anywhere_is_malformed(void **state)
{
	struct buf out = {0};
	struct all a;
	size_t i, len;

	(void)state;
	for (i = 0; i < TYPES; i++) {
		encode(sample(&a, types[i]), &out);
		for (len = 0; len < out.len; len++)
			assert_int_equal(decode_alone(types[i], out.data, len),
			    ERR_MALFORMED);
		assert_int_equal(
		    decode_alone(types[i], out.data, out.len), ERR_OK);
	}
	buf_free(&out);
}

static void
a_message_with_bytes_behind_it_is_malformed(void **state)
{
	struct buf out = {0};
	struct all a;
	size_t i;

	(void)state;
	for (i = 0; i < TYPES; i++) {
		encode(sample(&a, types[i]), &out);
		buf_append(&out, "", 1);
		assert_int_equal(
		    decode_alone(types[i], out.data, out.len), ERR_MALFORMED);
	}
	buf_free(&out);
}

/* One byte of a good message is changed, at every place, to every value: it
 * decodes or it is malformed, and what decodes can be encoded again. */
static void
a_changed_byte_never_breaks_the_decoder(void **state)
{
	struct buf out = {0}, again = {0};
	struct all a, b;
	struct wire w;
	size_t i, at;
	unsigned value;
	uint8_t old;

	(void)state;
	for (i = 0; i < TYPES; i++) {
		encode(sample(&a, types[i]), &out);
		for (at = 0; at < out.len; at++) {
			old = out.data[at];
			for (value = 0; value < 256; value++) {
				out.data[at] = (uint8_t)value;
				if (decode(types[i], buf_bytes(&out), &b) !=
				    ERR_OK)
					continue;
				buf_clear(&again);
				wire_encode(&w, &again);
				assert_int_equal(all_wire(&w, &b), ERR_OK);
			}
			out.data[at] = old;
		}
	}
	buf_free(&out);
	buf_free(&again);
}

static void
a_hello_of_another_protocol_says_so(void **state)
{
	struct buf out = {0};
	struct all a, b;

	(void)state;
	encode(sample(&a, MSG_HELLO), &out);
	out.data[8] = 2; /* the protocol, after the magic */
	assert_int_equal(decode(MSG_HELLO, buf_bytes(&out), &b), ERR_VERSION);
	assert_int_equal(b.m.hello.protocol, 2);
	out.len = 10; /* whatever such a protocol has behind it */
	assert_int_equal(decode(MSG_HELLO, buf_bytes(&out), &b), ERR_VERSION);
	out.data[0] = 'G';
	assert_int_equal(decode(MSG_HELLO, buf_bytes(&out), &b), ERR_MALFORMED);
	buf_free(&out);
}

static void
values_out_of_range_are_malformed(void **state)
{
	struct buf out = {0};
	struct all a, b;

	(void)state;
	encode(sample(&a, MSG_HELLO), &out);
	out.data[10] = 4; /* process */
	assert_int_equal(decode(MSG_HELLO, buf_bytes(&out), &b), ERR_MALFORMED);
	encode(sample(&a, MSG_REFUSE), &out);
	out.data[0] = 3; /* what */
	assert_int_equal(
	    decode(MSG_REFUSE, buf_bytes(&out), &b), ERR_MALFORMED);
	encode(sample(&a, MSG_RAFT_STATUS), &out);
	out.data[40] = 4; /* role */
	assert_int_equal(
	    decode(MSG_RAFT_STATUS, buf_bytes(&out), &b), ERR_MALFORMED);
	encode(sample(&a, MSG_PROPOSE), &out);
	memset(out.data + 12, 0, 4); /* an empty entry */
	out.len = 16;
	assert_int_equal(
	    decode(MSG_PROPOSE, buf_bytes(&out), &b), ERR_MALFORMED);
	encode(sample(&a, MSG_COMMIT), &out);
	memset(out.data + 8, 0xff, 4); /* more entries than bytes */
	assert_int_equal(
	    decode(MSG_COMMIT, buf_bytes(&out), &b), ERR_MALFORMED);
	buf_free(&out);
}

static void
only_the_legal_sender_may_send(void **state)
{
	unsigned type;

	(void)state;
	assert_true(msg_legal(MSG_PROPOSE, MSG_HTTPD, MSG_RAFTD));
	assert_false(msg_legal(MSG_PROPOSE, MSG_KVD, MSG_RAFTD));
	assert_false(msg_legal(MSG_PROPOSE, MSG_HTTPD, MSG_KVD));
	assert_true(msg_legal(MSG_STATUS_ASK, MSG_HTTPD, MSG_KVD));
	assert_true(msg_legal(MSG_STATUS_ASK, MSG_HTTPD, MSG_RAFTD));
	assert_false(msg_legal(MSG_STATUS_ASK, MSG_RAFTD, MSG_RAFTD));
	assert_true(msg_legal(MSG_RAFT, MSG_RAFTD, MSG_RAFTD));
	assert_true(msg_legal(MSG_HELLO, MSG_KVD, MSG_HTTPD));
	for (type = 0; type < 256; type++)
		if (strcmp(msg_name((uint8_t)type), "?") == 0)
			assert_false(
			    msg_legal((uint8_t)type, MSG_HTTPD, MSG_RAFTD));
	assert_string_equal(msg_name(MSG_PROPOSE), "PROPOSE");
	assert_string_equal(msg_process_name(MSG_KVD), "kvd");
	assert_string_equal(msg_process_name(77), "?");
}

/* PROTOCOL.md, "An example": node 1's httpd of epoch 0x1122334455667788
 * proposes, as its batch 7, to put "hello" = "world". */
static void
the_example_of_the_protocol_document_is_what_we_send(void **state)
{
	static const char want[] =
	    "490000000103000086d0a7429aa226bd" /* frame header */
	    "07000000000000000100000039000000" /* PROPOSE */
	    "01010000000000000088776655443322" /* batch */
	    "11070000000000000007000000000000"
	    "0001000000"
	    "01000500000068656c6c6f05000000776f726c64"; /* PUT */
	struct cmd_batch batch = {
	    CMD_FORMAT, 1, UINT64_C(0x1122334455667788), 7, 7, 1};
	struct cmd put = {.op = CMD_PUT,
	    .key = bytes_of_str("hello"),
	    .value = bytes_of_str("world")};
	struct buf entry = {0}, frame = {0};
	struct msg_propose m = {.seq = 7, .attempt = 1};
	char hex[2 * 128 + 1] = "";
	struct wire w;
	size_t at, i;

	(void)state;
	wire_encode(&w, &entry);
	cmd_batch_wire(&w, &batch);
	cmd_wire(&w, &put);
	assert_int_equal(wire_end(&w), ERR_OK);
	m.entry = buf_bytes(&entry);
	at = link_frame_begin(&frame);
	wire_encode(&w, &frame);
	assert_int_equal(msg_propose_wire(&w, &m), ERR_OK);
	link_frame_end(&frame, at, MSG_PROPOSE);
	assert_true(frame.len <= 128);
	for (i = 0; i < frame.len; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", frame.data[i]);
	assert_string_equal(hex, want);
	buf_free(&entry);
	buf_free(&frame);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_encoded_is_decoded_and_measured),
	    cmocka_unit_test(fields_come_back_as_they_were),
	    cmocka_unit_test(a_message_cut_anywhere_is_malformed),
	    cmocka_unit_test(a_message_with_bytes_behind_it_is_malformed),
	    cmocka_unit_test(a_changed_byte_never_breaks_the_decoder),
	    cmocka_unit_test(a_hello_of_another_protocol_says_so),
	    cmocka_unit_test(values_out_of_range_are_malformed),
	    cmocka_unit_test(only_the_legal_sender_may_send),
	    cmocka_unit_test(
		the_example_of_the_protocol_document_is_what_we_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
