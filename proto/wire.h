/* The only byte poking: a bounds-checked cursor, little-endian.
 *
 * A layout is written once, as a routine of wire_*() calls on the fields of a
 * struct; the cursor's mode decides whether it encodes, decodes or measures,
 * so the directions cannot drift apart (the idea of XDR, RFC 4506).  Errors
 * are sticky: after the first one nothing more is read or written, what is
 * decoded is zero or empty, and wire_end() tells. */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/err.h"

enum wire_mode { WIRE_ENCODE, WIRE_DECODE, WIRE_MEASURE };

struct wire {
	enum wire_mode mode;
	enum err err;       /* sticky: OK or ERR_MALFORMED */
	struct buf *out;    /* encode: appended to */
	const uint8_t *pos; /* decode: next byte */
	size_t left;        /* decode: bytes from pos on */
	size_t measured;    /* measure: bytes so far */
};

void wire_encode(struct wire *w, struct buf *out); /* out is borrowed */
void wire_decode(struct wire *w, struct bytes in); /* in is borrowed */
void wire_measure(struct wire *w);

void wire_u8(struct wire *w, uint8_t *v);
void wire_u16(struct wire *w, uint16_t *v);
void wire_u32(struct wire *w, uint32_t *v);
void wire_u64(struct wire *w, uint64_t *v);
void wire_bool(struct wire *w, bool *v); /* one byte; decoding: 0 or 1 only */
/* u32 length, then the bytes; at most max.  Decoded bytes are borrowed from
 * the input and live as long as that does. */
void wire_bytes(struct wire *w, struct bytes *v, size_t max);
/* Like wire_bytes, for a NUL-terminated array of cap bytes (1..255 used as
 * text); decoding refuses NULs inside and what does not fit. */
void wire_text(struct wire *w, char *v, size_t cap);
/* The number of items that follow, u32; decoding refuses (and makes it 0) more
 * than can stand in what is left of the message. */
void wire_count(struct wire *w, uint32_t *count, size_t item_bytes_min);
/* A range check in a layout: ERR_MALFORMED unless it holds. */
void wire_require(struct wire *w, bool holds);

/* What has happened so far: ERR_OK or ERR_MALFORMED. */
enum err wire_err(const struct wire *w);
/* The same at the end of a message; decoding, bytes that are left over are
 * ERR_MALFORMED. */
enum err wire_end(struct wire *w);

#endif
