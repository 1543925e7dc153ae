/* A node's disk and state machine in memory. */
#ifndef HARNESS_STORE_H
#define HARNESS_STORE_H

#include "raftd/raft/raft.h"

struct store {
	struct raft_hard_state hard_state;
	/* Consecutive entries after the base, whose term is known, too. */
	uint64_t base_index;
	uint64_t base_term;
	struct raft_entry *entries;
	size_t entry_count;
	uint64_t snapshot_index; /* of the last one written; 0: none */
	/* What the state machine was after each entry applied; the last is
	 * what it is now.  Data: the head, which is a text with its NUL, then
	 * the payloads of all entries. */
	struct raft_snapshot *history;
	size_t history_count;
};

extern const struct raft_storage_ops store_ops; /* arg: struct store */

/* start->data: the head, or NULL for an empty one. */
void store_open(struct store *s, const struct raft_snapshot *start);
void store_close(struct store *s);
/* NULL, or the error. */
const char *store_write(struct store *s, const struct raft_hard_state *hs,
    const struct raft_snapshot *snapshot, const struct raft_entry *entries,
    size_t count);
const char *store_compact(struct store *s, uint64_t index);
/* After a power cut: what the state machine has applied beyond the durable
 * commit index is forgotten, and comes again. */
void store_reopen(struct store *s);
/* The head: how the configuration was written when the node was added, "" once
 * it has changed.  That keeps the order of the ids, which the core does not. */
const char *store_conf_text(const struct raft_snapshot *s);
const struct raft_snapshot *store_newest(const struct store *s);
/* The state machine has applied e; conf is what holds now, NULL: as before. */
void store_record(struct store *s, const struct raft_entry *e,
    const struct raft_conf_state *conf);

#endif
