/* Any bytes as the body of any message: the first byte is its type.  What can
 * be decoded has one encoding only: encoding it gives the same bytes again. */
#include <stdlib.h>

#include "proto/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* One message, decoded by in and encoded again by out, part by part. */
struct again {
	struct wire in;
	struct wire out;
};

#define BOTH(a, routine, m)                                                    \
	do {                                                                   \
		routine(&(a)->in, (m));                                        \
		if (wire_err(&(a)->in) == ERR_OK)                              \
			routine(&(a)->out, (m));                               \
	} while (0)

#define WHOLE(a, routine, m)                                                   \
	do {                                                                   \
		if (routine(&(a)->in, (m)) == ERR_OK)                          \
			(void)routine(&(a)->out, (m));                         \
	} while (0)

static void
read_again(struct again *a)
{
	struct msg_read_item item;
	struct msg_read m;
	uint32_t i;

	BOTH(a, msg_read_wire, &m);
	for (i = 0; i < m.count && wire_err(&a->in) == ERR_OK; i++)
		BOTH(a, msg_read_item_wire, &item);
}

static void
commit_again(struct again *a)
{
	struct msg_commit_item item;
	struct msg_commit m;
	uint32_t i;

	BOTH(a, msg_commit_wire, &m);
	for (i = 0; i < m.count && wire_err(&a->in) == ERR_OK; i++)
		BOTH(a, msg_commit_item_wire, &item);
}

static void
reply_again(struct again *a)
{
	struct msg_reply_item item;
	struct msg_reply m;
	uint32_t i;

	BOTH(a, msg_reply_wire, &m);
	for (i = 0; i < m.count && wire_err(&a->in) == ERR_OK; i++)
		BOTH(a, msg_reply_item_wire, &item);
}

static void
ask_again(struct again *a)
{
	struct msg_ask m;
	uint64_t seq;
	uint32_t i;

	BOTH(a, msg_ask_wire, &m);
	for (i = 0; i < m.count && wire_err(&a->in) == ERR_OK; i++)
		BOTH(a, msg_ask_item_wire, &seq);
}

static void
raft_status_again(struct again *a)
{
	struct msg_raft_status m;
	struct msg_peer_item item;
	uint32_t i;

	BOTH(a, msg_raft_status_wire, &m);
	for (i = 0; i < m.count && wire_err(&a->in) == ERR_OK; i++)
		BOTH(a, msg_peer_item_wire, &item);
}

static void
whole_again(struct again *a, uint8_t type)
{
	union {
		struct msg_hello hello;
		struct msg_propose propose;
		struct msg_refuse refuse;
		struct msg_applied applied;
		struct msg_status_ask status_ask;
		struct msg_kv_status kv_status;
		struct msg_snap_ask snap_ask;
		struct msg_snap_head snap_head;
		struct msg_snap_data snap_data;
		struct msg_control control;
		struct msg_controlled controlled;
		struct msg_bye bye;
		struct msg_metrics metrics;
	} m;

	if (type == MSG_HELLO)
		WHOLE(a, msg_hello_wire, &m.hello);
	else if (type == MSG_PROPOSE)
		WHOLE(a, msg_propose_wire, &m.propose);
	else if (type == MSG_REFUSE)
		WHOLE(a, msg_refuse_wire, &m.refuse);
	else if (type == MSG_APPLIED)
		WHOLE(a, msg_applied_wire, &m.applied);
	else if (type == MSG_STATUS_ASK || type == MSG_METRICS_ASK ||
		 type == MSG_PING || type == MSG_PONG)
		WHOLE(a, msg_status_ask_wire, &m.status_ask);
	else if (type == MSG_KV_STATUS)
		WHOLE(a, msg_kv_status_wire, &m.kv_status);
	else if (type == MSG_SNAP_ASK)
		WHOLE(a, msg_snap_ask_wire, &m.snap_ask);
	else if (type == MSG_SNAP_HEAD)
		WHOLE(a, msg_snap_head_wire, &m.snap_head);
	else if (type == MSG_SNAP_DATA)
		WHOLE(a, msg_snap_data_wire, &m.snap_data);
	else if (type == MSG_CONTROL || type == MSG_ORDER)
		WHOLE(a, msg_control_wire, &m.control);
	else if (type == MSG_CONTROLLED || type == MSG_ORDERED)
		WHOLE(a, msg_controlled_wire, &m.controlled);
	else if (type == MSG_BYE)
		WHOLE(a, msg_bye_wire, &m.bye);
	else if (type == MSG_METRICS)
		WHOLE(a, msg_metrics_wire, &m.metrics);
	else
		wire_require(&a->in, false); /* a body that msg.c has not */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf again = {0};
	struct again a;

	if (len == 0)
		return 0;
	wire_decode(&a.in, bytes_of(data + 1, len - 1));
	wire_encode(&a.out, &again);
	if (data[0] == MSG_READ || data[0] == MSG_COMMIT_READ ||
	    data[0] == MSG_STALE_READ)
		read_again(&a);
	else if (data[0] == MSG_COMMIT)
		commit_again(&a);
	else if (data[0] == MSG_REPLY)
		reply_again(&a);
	else if (data[0] == MSG_ASK)
		ask_again(&a);
	else if (data[0] == MSG_RAFT_STATUS)
		raft_status_again(&a);
	else
		whole_again(&a, data[0]);
	/* A HELLO of another protocol ends early and without an error. */
	if (a.in.left == 0 && wire_end(&a.in) == ERR_OK && again.len > 0 &&
	    (wire_err(&a.out) != ERR_OK ||
		!bytes_equal(buf_bytes(&again), bytes_of(data + 1, len - 1))))
		abort();
	buf_free(&again);
	return 0;
}
