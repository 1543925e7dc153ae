/* Any bytes as a stream of frames; then, because no fuzzer guesses a checksum,
 * the same bytes in a good frame, and in one with a changed byte. */
#include <stdlib.h>

#include "base/hash.h"
#include "proto/link_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
as_stream(struct bytes in)
{
	enum link_frame_rc rc;
	struct link_frame f;

	while ((rc = link_frame_parse(in, 4096, &f)) == LINK_FRAME_OK) {
		if (f.bytes > in.len || f.body.data < in.data ||
		    f.body.data + f.body.len > in.data + in.len)
			abort();
		in.data += f.bytes;
		in.len -= f.bytes;
	}
	if (rc == LINK_FRAME_MORE && in.len >= LINK_HEADER_BYTES + 4096)
		abort();
}

static void
as_frame(struct bytes in)
{
	struct link_frame f;
	struct buf out = {0};
	size_t at = link_frame_begin(&out);

	buf_append(&out, in.data + 3, in.len - 3);
	link_frame_end(&out, at, in.data[0]);
	if (link_frame_parse(buf_bytes(&out), FRAME_BODY_BYTES_MAX, &f) !=
		LINK_FRAME_OK ||
	    f.type != in.data[0] || f.bytes != out.len ||
	    !bytes_equal(f.body, bytes_of(in.data + 3, in.len - 3)))
		abort();
	at = in.data[1] % out.len;
	out.data[at] = (uint8_t)(out.data[at] ^ in.data[2]);
	if (in.data[2] != 0 && link_frame_parse(buf_bytes(&out),
				   FRAME_BODY_BYTES_MAX, &f) == LINK_FRAME_OK)
		abort();
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	as_stream(bytes_of(data, len));
	if (len >= 3)
		as_frame(bytes_of(data, len));
	return 0;
}
