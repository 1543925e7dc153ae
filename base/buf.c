/* Borrowed and owned bytes; see buf.h. */
#include "base/buf.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define BUF_BYTES_MIN 64u

struct bytes
bytes_of(const void *data, size_t len)
{
	assert(data != NULL || len == 0);
	return (struct bytes){data, len};
}

struct bytes
bytes_of_str(const char *s)
{
	return bytes_of(s, strlen(s));
}

/* memcmp and memcpy must not be given NULL, even for no bytes. */
bool
bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int
bytes_compare(struct bytes a, struct bytes b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

void
buf_reserve(struct buf *b, size_t extra)
{
	size_t need;
	size_t cap = b->cap < BUF_BYTES_MIN ? BUF_BYTES_MIN : b->cap;

	assert(b->len <= b->cap);
	if (extra <= b->cap - b->len)
		return;
	if (__builtin_add_overflow(b->len, extra, &need))
		need = SIZE_MAX; /* mem_resize ends the process */
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	b->data = mem_resize(b->data, cap, 1);
	b->cap = cap;
}

uint8_t *
buf_extend(struct buf *b, size_t n)
{
	uint8_t *start;

	buf_reserve(b, n);
	if (n == 0)
		return b->data;
	start = b->data + b->len;
	b->len += n;
	return start;
}

void
buf_append(struct buf *b, const void *data, size_t n)
{
	if (n > 0)
		memcpy(buf_extend(b, n), data, n);
}

void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->len -= n;
	if (n > 0 && b->len > 0)
		memmove(b->data, b->data + n, b->len);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
}

void
buf_swap(struct buf *a, struct buf *b)
{
	struct buf kept = *a;

	*a = *b;
	*b = kept;
}

struct bytes
buf_bytes(const struct buf *b)
{
	return (struct bytes){b->data, b->len};
}

void
buf_free(struct buf *b)
{
	mem_free(b->data);
	*b = (struct buf){0};
}
