/* Bytes: borrowed (struct bytes) and owned (struct buf).
 *
 * A struct bytes never owns what it points to; who lends it says for how long.
 * A struct buf owns its memory and grows by doubling; a zeroed one is a valid
 * empty buffer.  Growing ends the process when memory is out (base/mem.h). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	const uint8_t *data; /* may be NULL when len is 0 */
	size_t len;
};

struct buf {
	uint8_t *data; /* len bytes used, cap bytes allocated */
	size_t len;
	size_t cap;
};

struct bytes bytes_of(const void *data, size_t len);
struct bytes bytes_of_str(const char *s);
bool bytes_equal(struct bytes a, struct bytes b);
int bytes_compare(struct bytes a, struct bytes b); /* memcmp, then length */

void buf_reserve(struct buf *b, size_t extra); /* room for extra more bytes */
uint8_t *buf_extend(struct buf *b, size_t n);  /* n uninitialised more bytes */
void buf_append(struct buf *b, const void *data, size_t n);
void buf_consume(struct buf *b, size_t n); /* drop the first n bytes */
void buf_clear(struct buf *b);             /* len = 0, memory is kept */
void buf_swap(struct buf *a, struct buf *b);
struct bytes buf_bytes(const struct buf *b); /* borrowed until b changes */
void buf_free(struct buf *b);                /* b is empty and valid after */

#endif
