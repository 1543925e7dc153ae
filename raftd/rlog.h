/* Raft's log as raftd holds it: the storage that the core and the feed of kvd
 * read from.  Recent entries are in a cache bounded by bytes; older ones are
 * read back from the WAL's segments, found by a sparse index of positions.
 * In turns of the loop only. */
#ifndef RAFTD_RLOG_H
#define RAFTD_RLOG_H

#include "raftd/raft/raft.h"
#include "raftd/wal.h"

struct rlog;

/* The log is filled by wal_open() through rlog_recover(), then rlog_begin()
 * says which of that counts.  w is borrowed. */
struct rlog *rlog_open(uint64_t cache_bytes);
void rlog_recover(
    struct rlog *l, const struct raft_entry *e, struct wal_position at);
void rlog_begin(struct rlog *l, struct wal *w, const struct wal_recovered *rec);
void rlog_close(struct rlog *l);
/* An entry that has become durable replaces all with its index or larger. */
void rlog_append(
    struct rlog *l, const struct raft_entry *e, struct wal_position at);
/* What is not in this segment (of wal_cut_before) or a later one goes; the
 * oldest entry there only tells its term.  Before wal_cut(). */
void rlog_cut(struct rlog *l, uint32_t segment);
/* A snapshot from another node takes the place of all entries. */
void rlog_reset(struct rlog *l, uint64_t index, uint64_t term);
/* What initial_state gives to the core. */
void rlog_set_initial(struct rlog *l, const struct raft_hard_state *hs,
    const struct raft_conf_state *conf);
/* Entries lo..hi-1 as in raft_storage_ops.entries; the process ends with
 * EX_IOERR when the disk gives wrong bytes. */
enum raft_rc rlog_entries(struct rlog *l, uint64_t lo, uint64_t hi,
    uint64_t max_bytes, struct raft_entry **out, size_t *count);
enum raft_rc rlog_term(struct rlog *l, uint64_t index, uint64_t *term);
uint64_t rlog_first(const struct rlog *l);
uint64_t rlog_last(const struct rlog *l);
uint64_t rlog_cache_bytes(const struct rlog *l);
/* About how many bytes of the WAL the entries behind index take. */
uint64_t rlog_bytes_after(const struct rlog *l, uint64_t index);

/* What the core sends to a follower that is behind the log; *s is copied, with
 * a reference on its data.  NULL: there is none. */
void rlog_set_snapshot(struct rlog *l, const struct raft_snapshot *s);
/* Has the core asked for a snapshot in vain since the last call? */
bool rlog_snapshot_wanted(struct rlog *l);

extern const struct raft_storage_ops rlog_storage_ops; /* arg: struct rlog */

#endif
