/* Messages, entries, configurations and raft_readys as text. */
#ifndef HARNESS_PRINT_H
#define HARNESS_PRINT_H

#include "base/buf.h"
#include "raftd/raft/raft.h"
#include "tests/script/harness/script.h"

void print_entry(struct buf *out, const struct raft_entry *e);
/* Without a newline at the end; indent blanks before every line. */
void print_msg(struct buf *out, const struct raft_msg *m, int indent);
void print_ready(struct buf *out, const struct raft_ready *rd);
void print_progress(struct buf *out, const struct raft_progress_status *pr);

/* Operations as written in a proposal: "v1 l2 r3 u4".  NULL, or what is wrong
 * (borrowed until the next call). */
const char *parse_ops(const char *text, struct raft_conf_change *cc);

#endif
