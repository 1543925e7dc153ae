/* The cursor behind every layout: see wire.h. */
#include "proto/wire.h"

#include <endian.h>
#include <string.h>

void
wire_encode(struct wire *w, struct buf *out)
{
	*w = (struct wire){.mode = WIRE_ENCODE, .out = out};
}

void
wire_decode(struct wire *w, struct bytes in)
{
	*w = (struct wire){.mode = WIRE_DECODE, .pos = in.data, .left = in.len};
}

void
wire_measure(struct wire *w)
{
	*w = (struct wire){.mode = WIRE_MEASURE};
}

void
wire_require(struct wire *w, bool holds)
{
	if (!holds)
		w->err = ERR_MALFORMED;
}

/* The next n bytes of the input, or NULL and the sticky error. */
static const uint8_t *
take(struct wire *w, size_t n)
{
	const uint8_t *p = w->pos;

	wire_require(w, w->left >= n);
	if (w->err != ERR_OK)
		return NULL;
	w->left -= n;
	if (n > 0)
		w->pos += n;
	return p;
}

/* n bytes as they stand on the wire, in or out.  What cannot be decoded is
 * zero, so that no reader of a failed message sees bytes of its own stack. */
static void
fixed(struct wire *w, void *v, size_t n)
{
	const uint8_t *p;

	switch (w->mode) {
	case WIRE_ENCODE:
		if (w->err == ERR_OK)
			buf_append(w->out, v, n);
		break;
	case WIRE_DECODE:
		p = take(w, n);
		if (p != NULL)
			memcpy(v, p, n);
		else
			memset(v, 0, n);
		break;
	case WIRE_MEASURE:
		w->measured += n;
		break;
	}
}

void
wire_u8(struct wire *w, uint8_t *v)
{
	fixed(w, v, sizeof(*v));
}

void
wire_u16(struct wire *w, uint16_t *v)
{
	uint16_t le = w->mode == WIRE_DECODE ? 0 : htole16(*v);

	fixed(w, &le, sizeof(le));
	if (w->mode == WIRE_DECODE)
		*v = le16toh(le);
}

void
wire_u32(struct wire *w, uint32_t *v)
{
	uint32_t le = w->mode == WIRE_DECODE ? 0 : htole32(*v);

	fixed(w, &le, sizeof(le));
	if (w->mode == WIRE_DECODE)
		*v = le32toh(le);
}

void
wire_u64(struct wire *w, uint64_t *v)
{
	uint64_t le = w->mode == WIRE_DECODE ? 0 : htole64(*v);

	fixed(w, &le, sizeof(le));
	if (w->mode == WIRE_DECODE)
		*v = le64toh(le);
}

void
wire_bool(struct wire *w, bool *v)
{
	uint8_t byte = w->mode == WIRE_DECODE ? 0 : (uint8_t)*v;

	wire_u8(w, &byte);
	wire_require(w, byte <= 1);
	if (w->mode == WIRE_DECODE)
		*v = byte == 1;
}

void
wire_bytes(struct wire *w, struct bytes *v, size_t max)
{
	uint32_t len = 0;

	if (w->mode != WIRE_DECODE) {
		wire_require(w, v->len <= max && v->len <= UINT32_MAX);
		len = (uint32_t)v->len;
	}
	wire_u32(w, &len);
	wire_require(w, len <= max);
	switch (w->mode) {
	case WIRE_ENCODE:
		if (w->err == ERR_OK && len > 0)
			buf_append(w->out, v->data, len);
		break;
	case WIRE_DECODE:
		v->data = take(w, len);
		v->len = v->data != NULL ? len : 0;
		break;
	case WIRE_MEASURE:
		w->measured += len;
		break;
	}
}

void
wire_text(struct wire *w, char *v, size_t cap)
{
	struct bytes text = {NULL, 0};

	if (w->mode != WIRE_DECODE)
		text = (struct bytes){(const uint8_t *)v, strnlen(v, cap)};
	wire_bytes(w, &text, cap - 1);
	if (w->mode != WIRE_DECODE)
		return;
	if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
		wire_require(w, false);
		text.len = 0;
	}
	if (text.len > 0)
		memcpy(v, text.data, text.len);
	v[text.len] = '\0';
}

void
wire_count(struct wire *w, uint32_t *count, size_t item_bytes_min)
{
	wire_u32(w, count);
	if (w->mode != WIRE_DECODE)
		return;
	wire_require(w, *count <= w->left / item_bytes_min);
	if (w->err != ERR_OK)
		*count = 0;
}

enum err
wire_err(const struct wire *w)
{
	return w->err;
}

enum err
wire_end(struct wire *w)
{
	if (w->mode == WIRE_DECODE)
		wire_require(w, w->left == 0);
	return w->err;
}
