/* Any bytes as JOIN_ASK, JOIN_ANSWER and the members in it: the first byte says
 * which.  What can be decoded has one encoding only. */
#include <stdlib.h>

#include "raftd/joinmsg.h"
#include "raftd/wal_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
compare(const struct buf *again, struct bytes in)
{
	if (!bytes_equal(buf_bytes(again), in))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf again = {0};
	struct joinmsg_ask ask;
	struct joinmsg_answer answer;
	struct wal_conf conf;
	struct wire in, out;
	struct bytes body;

	if (len == 0)
		return 0;
	body = bytes_of(data + 1, len - 1);
	wire_decode(&in, body);
	wire_encode(&out, &again);
	if (data[0] == 0) {
		if (joinmsg_ask_wire(&in, &ask) == ERR_OK) {
			(void)joinmsg_ask_wire(&out, &ask);
			compare(&again, body);
		}
	} else if (data[0] == 1) {
		if (joinmsg_answer_wire(&in, &answer) == ERR_OK) {
			(void)joinmsg_answer_wire(&out, &answer);
			compare(&again, body);
		}
	} else if (wal_conf_decode(body, &conf) == ERR_OK) {
		wal_conf_encode(&conf, &again);
		compare(&again, body);
	}
	buf_free(&again);
	return 0;
}
