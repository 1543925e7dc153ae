/* Heads of keys: what a command has to know of a key besides its value, of the
 * keys that were written last.
 *
 * Every PUT needs the revisions and the hash of what it replaces.  To look that
 * up in an engine costs half a microsecond of waiting for memory, more than all
 * the rest of applying it; here it is one place, known by the key's hash, and
 * may be fetched ahead (heads_expect).
 *
 * It is a cache: a key may be missing at any time, and is then looked up in the
 * store.  What is here is as of the last command applied.  Keys longer than
 * HEADS_KEY_BYTES_MAX are never here. */
#ifndef KVD_HEADS_H
#define KVD_HEADS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"

#define HEADS_KEY_BYTES_MAX 81u
#define HEADS_BYTES_MAX ((size_t)16 << 20) /* it grows up to that */

struct key_head {
	struct hash128 hash; /* its part in the state hash */
	uint64_t create_revision;
	uint64_t mod_revision;
	uint64_t version;
	uint64_t value_bytes;
};

struct heads_set;

/* Zeroed is empty and valid. */
struct heads {
	struct heads_set *sets;
	size_t n_sets; /* 0 or a power of two */
	size_t lines;  /* of all sets, that are in use */
};

/* hash: record_hash_of_key(). */
/* That key is about to be found. */
void heads_expect(const struct heads *h, uint64_t hash);
/* False: not here. */
bool heads_find(const struct heads *h, struct bytes key, uint64_t hash,
    struct key_head *head);
/* In the place of what was known of it, or of another key. */
void heads_put(struct heads *h, struct bytes key, uint64_t hash,
    const struct key_head *head);
void heads_remove(struct heads *h, struct bytes key, uint64_t hash);
void heads_free(struct heads *h);

#endif
