/* Any bytes as a batch of commands, as a log entry may hold them.  What can be
 * decoded has one encoding only. */
#include <stdlib.h>

#include "proto/cmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf again = {0};
	struct cmd_batch b;
	struct wire in, out;
	struct cmd c;
	uint32_t i;

	wire_decode(&in, bytes_of(data, len));
	wire_encode(&out, &again);
	cmd_batch_wire(&in, &b);
	if (wire_err(&in) == ERR_OK)
		cmd_batch_wire(&out, &b);
	for (i = 0; i < b.count && wire_err(&in) == ERR_OK; i++) {
		cmd_wire(&in, &c);
		if (wire_err(&in) != ERR_OK)
			break;
		if ((c.key.len < 1) != (c.op == CMD_CHECK) ||
		    c.key.len > KEY_BYTES_MAX || c.value.len > VALUE_BYTES_MAX)
			abort();
		cmd_wire(&out, &c);
	}
	if (wire_end(&in) == ERR_OK &&
	    (wire_end(&out) != ERR_OK ||
		!bytes_equal(buf_bytes(&again), bytes_of(data, len))))
		abort();
	buf_free(&again);
	return 0;
}
