/* A simulated cluster: cores, their storage, and one network list.  Nothing
 * moves but by the calls below.  What they do is written to out; an error is
 * returned as text, NULL is none. */
#ifndef HARNESS_CLUSTER_H
#define HARNESS_CLUSTER_H

#include "base/buf.h"
#include "raftd/raft/raft.h"
#include "tests/script/harness/store.h"

struct mailbox { /* in order */
	struct raft_msg *v;
	size_t count;
	size_t cap;
};

struct node {
	uint64_t id;
	struct raft *raft;
	struct store store;
	struct raft_config config;
	struct mailbox append_work;
	struct mailbox apply_work;
};

struct cluster {
	struct node **nodes; /* nodes[i] has id i + 1 */
	size_t node_count;
	struct mailbox network;
};

void mailbox_push(struct mailbox *b, struct raft_msg *m); /* moves *m */
void cluster_free(struct cluster *c);
/* config: all but id, storage and random; start is copied. */
const char *cluster_add_node(struct cluster *c,
    const struct raft_config *config, const struct raft_snapshot *start);
struct node *cluster_node(struct cluster *c, uint64_t id); /* or NULL */

/* What reached the disk of the write that was under way. */
struct torn {
	bool any;
	size_t entries; /* with its term and vote, without its commit index */
};
/* The node loses power and starts again from its storage. */
const char *cluster_restart(
    struct cluster *c, struct node *n, const struct torn *torn);

/* Which messages on the network are meant. */
struct selection {
	uint64_t to;
	bool any_type;
	enum raft_msg_type type;
	bool drop;  /* those; then none of a node to itself */
	bool again; /* they are delivered, and stay on the network */
};
size_t cluster_count(const struct cluster *c, const struct selection *s);
/* How many there were. */
size_t cluster_deliver(
    struct cluster *c, const struct selection *s, struct buf *out);

const char *cluster_ready(struct cluster *c, struct node *n, struct buf *out);
const char *cluster_append_work(
    struct cluster *c, struct node *n, struct buf *out);
const char *cluster_apply_work(
    struct cluster *c, struct node *n, struct buf *out);
const char *cluster_stabilize(struct cluster *c, struct node *const *nodes,
    size_t count, struct buf *out);

#endif
