/* A blob: immutable bytes with a reference count.
 *
 * Entry payloads are blobs, so that a proposal is copied once, out of the
 * message that brought it, and is then shared by the Raft log, the WAL's
 * queue and every message that carries it.  The count is not atomic: a blob
 * belongs to who has the loop (loop.h); another thread may read its bytes while
 * a reference is held for it. */
#ifndef BASE_BLOB_H
#define BASE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct blob {
	uint32_t refs;
	uint32_t len;
	uint8_t data[];
};

/* A blob with one reference; bytes are copied from data, or left
 * uninitialised for the caller to fill in when data is NULL. */
struct blob *blob_new(const void *data, size_t len);
struct blob *blob_ref(struct blob *b);         /* NULL gives NULL */
void blob_unref(struct blob **bp);             /* *bp = NULL; NULL ok */
struct bytes blob_bytes(const struct blob *b); /* NULL gives no bytes */

#endif
