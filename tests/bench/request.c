/* See request.h. */
#include "tests/bench/request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES_MAX 256
#define KEY_BASE64_BYTES 12 /* of the 8 bytes of a key */

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
api_parse(const char *name, enum api *api)
{
	static const char *const names[] = {"plain", "v2", "v3"};

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(name, names[i]) == 0) {
			*api = (enum api)i;
			return 0;
		}
	return -1;
}

int
op_parse(const char *name, enum op *op, unsigned *get_percent)
{
	char *end;
	unsigned long n;

	*get_percent = 100;
	if (strcmp(name, "put") == 0) {
		*op = OP_PUT;
	} else if (strcmp(name, "get") == 0) {
		*op = OP_GET;
	} else if (strcmp(name, "stale") == 0) {
		*op = OP_STALE;
	} else if (strncmp(name, "mix", 3) == 0) {
		n = strtoul(name + 3, &end, 10);
		if (name[3] == '\0' || *end != '\0' || n > 100)
			return -1;
		*op = OP_MIX;
		*get_percent = (unsigned)n;
	} else {
		return -1;
	}
	return 0;
}

uint64_t
random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545F4914F6CDD1Du;
}

static void
add_base64(struct buf *out, struct bytes in)
{
	uint8_t *to = buf_extend(out, (in.len + 2) / 3 * 4);

	for (size_t i = 0; i < in.len; i += 3, to += 4) {
		uint32_t n = (uint32_t)in.data[i] << 16;

		if (i + 1 < in.len)
			n |= (uint32_t)in.data[i + 1] << 8;
		if (i + 2 < in.len)
			n |= in.data[i + 2];
		to[0] = (uint8_t)digits[n >> 18];
		to[1] = (uint8_t)digits[n >> 12 & 63];
		to[2] = i + 1 < in.len ? (uint8_t)digits[n >> 6 & 63] : '=';
		to[3] = i + 2 < in.len ? (uint8_t)digits[n & 63] : '=';
	}
}

void
maker_open(struct maker *m, enum api api, enum op op, unsigned get_percent,
    size_t value_bytes, uint64_t seed)
{
	uint8_t *value;

	memset(m, 0, sizeof *m);
	m->api = api;
	m->op = op;
	m->get_percent = get_percent;
	m->random = seed * 0x9E3779B97F4A7C15u | 1;
	value = buf_extend(&m->value, value_bytes);
	for (size_t i = 0; i < value_bytes; i++)
		value[i] = (uint8_t)digits[random_next(&m->random) >> 32 & 63];
	if (api == API_V2) /* + and / mean something in a form */
		for (size_t i = 0; i < value_bytes; i++)
			if (value[i] == '+' || value[i] == '/')
				value[i] = '_';
	if (api == API_V3)
		add_base64(&m->encoded, buf_bytes(&m->value));
}

void
maker_close(struct maker *m)
{
	buf_free(&m->value);
	buf_free(&m->encoded);
}

__attribute__((format(printf, 2, 3))) static void
add_text(struct buf *out, const char *fmt, ...)
{
	char text[HEAD_BYTES_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_append(out, text, (size_t)n);
}

/* Values differ in their first 8 bytes, so that no two are the same. */
static void
vary_value(struct maker *m)
{
	uint64_t x = random_next(&m->random);
	size_t n = m->value.len < 8 ? m->value.len : 8;

	for (size_t i = 0; i < n; i++, x >>= 6)
		m->value.data[i] = (uint8_t)digits[x % 62];
	if (m->api == API_V3) {
		buf_clear(&m->encoded);
		add_base64(&m->encoded, buf_bytes(&m->value));
	}
}

static void
add_put(struct maker *m, const char *key, struct buf *out)
{
	vary_value(m);
	switch (m->api) {
	case API_PLAIN:
		add_text(out,
		    "PUT /%s HTTP/1.1\r\nHost: bench\r\n"
		    "Content-Length: %zu\r\n\r\n",
		    key, m->value.len);
		buf_append(out, m->value.data, m->value.len);
		break;
	case API_V2:
		add_text(out,
		    "PUT /v2/keys/%s HTTP/1.1\r\nHost: bench\r\nContent-Type: "
		    "application/x-www-form-urlencoded\r\n"
		    "Content-Length: %zu\r\n\r\nvalue=",
		    key, m->value.len + 6);
		buf_append(out, m->value.data, m->value.len);
		break;
	case API_V3:
		add_text(out,
		    "POST /v3/kv/put HTTP/1.1\r\nHost: bench\r\n"
		    "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n\r\n{\"key\":\"",
		    8 + KEY_BASE64_BYTES + 11 + m->encoded.len + 2);
		add_base64(out, bytes_of_str(key));
		add_text(out, "\",\"value\":\"");
		buf_append(out, m->encoded.data, m->encoded.len);
		add_text(out, "\"}");
		break;
	}
}

static void
add_get(const struct maker *m, const char *key, bool stale, struct buf *out)
{
	static const char stale_end[] = "\",\"serializable\":true}";
	static const char end[] = "\"}";

	switch (m->api) {
	case API_PLAIN:
		add_text(out, "GET /%s%s HTTP/1.1\r\nHost: bench\r\n\r\n", key,
		    stale ? "?consistency=stale" : "");
		break;
	case API_V2:
		add_text(out,
		    "GET /v2/keys/%s%s HTTP/1.1\r\nHost: bench\r\n\r\n", key,
		    stale ? "" : "?quorum=true");
		break;
	case API_V3:
		add_text(out,
		    "POST /v3/kv/range HTTP/1.1\r\nHost: bench\r\n"
		    "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n\r\n{\"key\":\"",
		    8 + KEY_BASE64_BYTES +
			(stale ? sizeof stale_end : sizeof end) - 1);
		add_base64(out, bytes_of_str(key));
		add_text(out, "%s", stale ? stale_end : end);
		break;
	}
}

void
maker_add(struct maker *m, uint32_t key, struct buf *out)
{
	char name[16];

	(void)snprintf(name, sizeof name, "k%07" PRIu32, key);
	if (m->op == OP_PUT ||
	    (m->op == OP_MIX &&
		random_next(&m->random) % 100 >= m->get_percent))
		add_put(m, name, out);
	else
		add_get(m, name, m->op == OP_STALE, out);
}
