/* The bytes of the WAL: segment names and headers, records and their payloads.
 * Layouts and rules are in WAL.md.  Nothing here reads or writes a file. */
#ifndef RAFTD_WAL_FORMAT_H
#define RAFTD_WAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/wire.h"
#include "raftd/wal.h"

#define WAL_VERSION 2u
#define WAL_NAME_BYTES 38u     /* 16 digits, -, 16 digits, ".wal" and the NUL */
#define WAL_NAME_NEW "new.tmp" /* a segment that is being made */

#define WAL_HEADER_BYTES 64u /* of a segment */
#define WAL_RECORD_BYTES 32u /* of a record, before its payload */
/* Zeros that follow the last record of every segment, always: so a file that
 * ends earlier was cut short. */
#define WAL_END_BYTES WAL_RECORD_BYTES
#define WAL_PAYLOAD_MAX (1u << 30)
#define WAL_ENTRY_HEAD_BYTES 17u

enum wal_type {
	WAL_ENTRY = 1,
	WAL_HARD_STATE = 2,
	WAL_CONF = 3,
	WAL_SNAPSHOT = 4, /* struct wal_mark */
	WAL_SYNC = 5      /* nothing but its flag */
};

#define WAL_FLAG_SYNCED 1u /* the last record before a sync */

struct wal_header {
	uint32_t version;
	uint32_t sequence;
	uint64_t first; /* last index when the segment was begun, + 1 */
	struct wal_identity identity;
	uint64_t chain; /* checksum of the last record of the segment before */
};

struct wal_record {
	uint32_t length; /* of the payload */
	uint8_t type;    /* enum wal_type */
	uint8_t flags;
	uint64_t batch;
	uint64_t prev;
	uint64_t checksum;
};

/* ---- segments ---- */

void wal_name(uint32_t sequence, uint64_t first, char out[WAL_NAME_BYTES]);
bool wal_name_parse(const char *name, uint32_t *sequence, uint64_t *first);
void wal_header_encode(const struct wal_header *h, struct buf *out);
/* ERR_CORRUPT, or ERR_VERSION (then h->version is set). */
enum err wal_header_decode(
    const uint8_t bytes[WAL_HEADER_BYTES], struct wal_header *h);

/* ---- records ---- */

/* A checksum holds for one place of one log only. */
uint64_t wal_place_seed(
    const struct wal_identity *id, uint32_t sequence, uint64_t offset);
uint64_t wal_record_size(uint64_t payload_bytes);
/* Append a record whose payload is head and then data; it is not valid before
 * wal_record_seal(), which returns its checksum. */
void wal_record_append(struct buf *out, enum wal_type type, uint64_t batch,
    struct bytes head, struct bytes data);
uint64_t wal_record_seal(
    uint8_t *record, uint8_t flags, uint64_t prev, uint64_t seed);
/* False if this cannot be a record's header.  Whether it is one, only
 * wal_record_valid() can tell, given wal_record_size(r->length) bytes. */
bool wal_record_parse(
    const uint8_t bytes[WAL_RECORD_BYTES], struct wal_record *r);
bool wal_record_valid(
    const uint8_t *record, const struct wal_record *r, uint64_t seed);

/* ---- payloads ---- */

void wal_entry_encode(const struct raft_entry *e, struct buf *head);
/* data is borrowed from payload; e->data stays NULL. */
enum err wal_entry_decode(
    struct bytes payload, struct raft_entry *e, struct bytes *data);
void wal_hard_state_encode(const struct raft_hard_state *hs, struct buf *out);
enum err wal_hard_state_decode(
    struct bytes payload, struct raft_hard_state *hs);
/* A member, as in a CONF record and in the context of a change. */
void wal_member_wire(struct wire *w, struct wal_member *m);
void wal_conf_encode(const struct wal_conf *conf, struct buf *out);
enum err wal_conf_decode(struct bytes payload, struct wal_conf *conf);
/* conf: only of a mark that replaces. */
void wal_mark_encode(
    const struct wal_mark *mark, const struct wal_conf *conf, struct buf *out);
enum err wal_mark_decode(
    struct bytes payload, struct wal_mark *mark, struct wal_conf *conf);

#endif
