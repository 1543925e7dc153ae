/* Frames as they stand on a stream: PROTOCOL.md, "Frame".  Pure.
 *
 *   0  u32  body length
 *   4  u8   frame version, 1
 *   5  u8   message type
 *   6  u16  0
 *   8  u64  XXH3-64 of the body, seeded with bytes 0..7 read as a u64: so it
 *           covers the header too
 *  16  body
 */
#include "proto/link_private.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "base/hash.h"

static uint64_t
get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void
put_u64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static uint64_t
checksum(uint64_t head, const uint8_t *body, size_t len)
{
	return hash64(body, len, head);
}

enum link_frame_rc
link_frame_parse(struct bytes in, size_t body_max, struct link_frame *f)
{
	const uint8_t *body;
	uint64_t head;
	size_t len;

	if (in.len < LINK_HEADER_BYTES)
		return LINK_FRAME_MORE;
	head = get_u64(in.data);
	len = (uint32_t)head;
	if ((uint8_t)(head >> 32) != LINK_FRAME_VERSION || head >> 48 != 0)
		return LINK_FRAME_BAD_VERSION;
	if (len > body_max)
		return LINK_FRAME_BAD_LENGTH;
	if (in.len - LINK_HEADER_BYTES < len)
		return LINK_FRAME_MORE;
	body = in.data + LINK_HEADER_BYTES;
	if (get_u64(in.data + 8) != checksum(head, body, len))
		return LINK_FRAME_BAD_CHECKSUM;
	*f = (struct link_frame){
	    .type = (uint8_t)(head >> 40),
	    .body = {body, len},
	    .bytes = LINK_HEADER_BYTES + len,
	};
	return LINK_FRAME_OK;
}

const char *
link_frame_complaint(enum link_frame_rc rc)
{
	switch (rc) {
	case LINK_FRAME_OK:
	case LINK_FRAME_MORE:
		break;
	case LINK_FRAME_BAD_VERSION:
		return "not a frame, or one of another version";
	case LINK_FRAME_BAD_LENGTH:
		return "frame too long";
	case LINK_FRAME_BAD_CHECKSUM:
		return "wrong checksum";
	}
	return "no complaint";
}

size_t
link_frame_begin(struct buf *out)
{
	size_t at = out->len;

	(void)buf_extend(out, LINK_HEADER_BYTES); /* filled in at the end */
	return at;
}

void
link_frame_end(struct buf *out, size_t at, uint8_t type)
{
	uint64_t head;
	size_t len;

	assert(at + LINK_HEADER_BYTES <= out->len);
	len = out->len - at - LINK_HEADER_BYTES;
	assert(len <= FRAME_BODY_BYTES_MAX);
	head = (uint64_t)len | (uint64_t)LINK_FRAME_VERSION << 32 |
	       (uint64_t)type << 40;
	put_u64(out->data + at, head);
	put_u64(out->data + at + 8,
	    checksum(head, out->data + at + LINK_HEADER_BYTES, len));
}
