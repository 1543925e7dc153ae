/* Any bytes as the context of a change: what can be decoded has one encoding
 * only. */
#include <stdlib.h>

#include "raftd/context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf again = {0};
	struct context c;

	if (context_decode(bytes_of(data, len), &c) != ERR_OK)
		return 0;
	context_encode(&c, &again);
	if (!bytes_equal(buf_bytes(&again), bytes_of(data, len)))
		abort();
	buf_free(&again);
	return 0;
}
