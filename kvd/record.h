/* What kvd keeps in its engine: record names and layouts.
 *
 *   "k" key                   struct key_record
 *   "m" "state"               struct state; in every engine write
 *   "s" node epoch            struct session_record: the head of a session
 *   "s" node epoch seq        struct result_record: a batch that was applied
 *
 * node, epoch and seq are u64, little-endian as everything here.  The layouts
 * are on disk: STATE_FORMAT changes when one of them does. */
#ifndef KVD_RECORD_H
#define KVD_RECORD_H

#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "kvd/engine.h"
#include "proto/limits.h"
#include "proto/wire.h"

#define STATE_FORMAT 1u

struct record_name {
	uint8_t data[ENGINE_NAME_BYTES_MAX];
	size_t len;
};

struct bytes record_name_key(struct record_name *n, struct bytes key);
struct bytes record_name_state(void);
struct bytes record_name_session(
    struct record_name *n, uint64_t node, uint64_t epoch);
struct bytes record_name_result(
    struct record_name *n, uint64_t node, uint64_t epoch, uint64_t seq);
/* Of a name that starts with "s": *seq = 0 for a session's head.
 * ERR_MALFORMED. */
enum err record_name_parse_session(
    struct bytes name, uint64_t *node, uint64_t *epoch, uint64_t *seq);
#define RECORD_SESSION_PREFIX "s"
#define RECORD_KEY_PREFIX "k"

/* Of a name, for tables: its kind does not count, so a key has the same one as
 * its record's name. */
uint64_t record_hash(struct bytes name);
uint64_t record_hash_of_key(struct bytes key);

struct key_record {
	uint64_t create_revision; /* store revisions, from 1 */
	uint64_t mod_revision;
	uint64_t version; /* 1 for a new key, one more with each change */
	struct bytes value;
};

/* All that kvd knows besides the keys. */
struct state {
	uint8_t format;
	uint64_t cluster, node; /* 0: not known yet */
	uint64_t incarnation;   /* of the raft directory that fed it */
	uint64_t applied;       /* log index */
	uint64_t term;          /* of the entry there */
	uint64_t revision;      /* changes so far */
	uint64_t keys;
	uint64_t bytes; /* keys and values */
	/* Sum over all keys of key_record_hash(). */
	struct hash128 hash;
};

struct session_record {
	uint64_t done_below;
	uint64_t last_index; /* of the last entry of this session */
};

struct result_record {
	uint64_t revision; /* the store's after the batch */
	uint32_t count;    /* items that follow */
};
struct result_item {
	uint8_t code; /* enum err */
	uint64_t revision;
};

enum err key_record_wire(struct wire *w, struct key_record *m);
enum err state_wire(struct wire *w, struct state *m);
enum err session_record_wire(struct wire *w, struct session_record *m);
void result_record_wire(struct wire *w, struct result_record *m);
void result_item_wire(struct wire *w, struct result_item *m);

/* A key's part in the state hash: XXH3-128 over the key with its length, then
 * the key's record as stored.  Both are prefix-free, so no two different
 * (key, create, mod, version, value) have the same bytes.  scratch is used. */
struct hash128 key_record_hash(
    struct bytes key, struct bytes record, struct buf *scratch);
/* The record of a key, in scratch, and its hash; within their limits. */
struct bytes key_record_encode(struct bytes key, struct key_record *m,
    struct buf *scratch, struct hash128 *hash);

#endif
