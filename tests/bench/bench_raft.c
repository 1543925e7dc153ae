/* The speed of the Raft core alone: three cores in one process, asynchronous
 * storage writes, no I/O: storage is memory and every message arrives at once.
 *
 *   bench_raft [ENTRIES]
 *
 * For 1, 64 and 1024 proposals outstanding, each a step of its own or all of
 * them in one message, medians of ROUNDS rounds, taken in turns: proposals per
 * second (committed on the leader), nanoseconds per raft_step, allocations per
 * entry and per batch of outstanding ones (counted in base/mem and blob_new;
 * all three nodes and the storage of the test together). */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mono.h"
#include "raftd/raft/raft.h"
#include "tests/script/harness/store.h"

#define NODES 3u
#define ROUNDS 5u
#define PAYLOAD_BYTES 300u
#define MOST 1024u         /* proposals under way */
#define KEEP_ENTRIES 4096u /* of a node's storage */

/* The linker puts these around the allocator (--wrap). */
void *__real_mem_alloc(size_t bytes);
void *__real_mem_zalloc(size_t count, size_t bytes);
void *__real_mem_resize(void *p, size_t count, size_t bytes);
void *__wrap_mem_alloc(size_t bytes);
void *__wrap_mem_zalloc(size_t count, size_t bytes);
void *__wrap_mem_resize(void *p, size_t count, size_t bytes);

static uint64_t allocations;

void *
__wrap_mem_alloc(size_t bytes)
{
	allocations++;
	return __real_mem_alloc(bytes);
}

void *
__wrap_mem_zalloc(size_t count, size_t bytes)
{
	allocations++;
	return __real_mem_zalloc(count, bytes);
}

void *
__wrap_mem_resize(void *p, size_t count, size_t bytes)
{
	allocations++;
	return __real_mem_resize(p, count, bytes);
}

struct node {
	struct raft *raft;
	struct store store;
	uint64_t applied;
};

/* Messages under way, in order. */
struct net {
	struct raft_msg *queue;
	size_t first, end, cap;
};

struct cluster {
	struct node node[NODES];
	struct net net;
	uint64_t steps;
	uint64_t step_ns;
};

static void
net_push(struct net *n, struct raft_msg *m)
{
	if (n->end == n->cap) {
		n->cap = n->cap > 0 ? 2 * n->cap : 4096;
		n->queue = realloc(n->queue, n->cap * sizeof n->queue[0]);
		assert(n->queue != NULL);
	}
	raft_msg_move(&n->queue[n->end++], m);
}

static void
carry_out(struct cluster *c, struct node *n, struct raft_msg *m)
{
	if (m->to == RAFT_APPEND_THREAD) {
		struct raft_hard_state hs = {m->term, m->vote, m->commit};

		if (store_write(&n->store, &hs, NULL, m->entries,
			m->entry_count) != NULL)
			abort();
		if (n->store.entry_count > 2 * KEEP_ENTRIES)
			(void)store_compact(
			    &n->store, n->store.base_index + KEEP_ENTRIES);
	} else if (m->to == RAFT_APPLY_THREAD) {
		n->applied = m->entries[m->entry_count - 1].index;
	} else {
		net_push(&c->net, m);
		return;
	}
	for (size_t i = 0; i < m->response_count; i++)
		net_push(&c->net, &m->responses[i]);
	raft_msg_free(m);
}

/* Everything there is to do until all is quiet. */
static void
settle(struct cluster *c)
{
	bool busy = true;

	while (busy) {
		struct mono start;
		size_t delivered = c->net.end - c->net.first;

		busy = false;
		for (unsigned i = 0; i < NODES; i++) {
			struct node *n = &c->node[i];

			while (raft_has_ready(n->raft)) {
				const struct raft_ready *r =
				    raft_ready(n->raft);

				for (size_t k = 0; k < r->message_count; k++)
					carry_out(c, n, &r->messages[k]);
				busy = true;
			}
		}
		delivered = c->net.end - c->net.first;
		start = mono_now();
		for (size_t k = 0; k < delivered; k++) {
			struct raft_msg *m = &c->net.queue[c->net.first++];

			(void)raft_step(c->node[m->to - 1].raft, m);
			raft_msg_free(m);
			busy = true;
		}
		c->step_ns += mono_now().ns - start.ns;
		c->steps += delivered;
		if (c->net.first == c->net.end)
			c->net.first = c->net.end = 0;
	}
}

static uint32_t
no_chance(void *arg, uint32_t n)
{
	(void)arg;
	(void)n;
	return 0;
}

static void
cluster_open(struct cluster *c)
{
	struct raft_snapshot start = {.index = 2,
	    .term = 1,
	    .conf.voters = {.count = NODES, .id = {1, 2, 3}}};

	memset(c, 0, sizeof *c);
	for (unsigned i = 0; i < NODES; i++) {
		struct raft_config config = {.id = i + 1,
		    .election_ticks = 10,
		    .heartbeat_ticks = 1,
		    .storage = &store_ops,
		    .storage_arg = &c->node[i].store,
		    .applied = start.index,
		    .async_storage_writes = true,
		    .max_bytes_per_msg = 1 << 20,
		    .max_committed_bytes_per_ready = 16 << 20,
		    .max_inflight_msgs = 256,
		    .check_quorum = true,
		    .pre_vote = true,
		    .random = no_chance};

		store_open(&c->node[i].store, &start);
		c->node[i].raft = raft_new(&config);
		assert(c->node[i].raft != NULL);
	}
	(void)raft_campaign(c->node[0].raft);
	settle(c);
	assert(raft_role(c->node[0].raft) == RAFT_LEADER);
}

static void
cluster_close(struct cluster *c)
{
	for (unsigned i = 0; i < NODES; i++) {
		raft_free(c->node[i].raft);
		store_close(&c->node[i].store);
	}
	free(c->net.queue);
}

struct figures {
	double per_second, ns_per_step, allocations;
};

/* How many proposals are under way at a time, and how they come. */
struct load {
	uint64_t outstanding;
	bool in_one; /* message, as a follower forwards them */
};

static void
propose(struct raft *leader, const struct load *load, struct blob *data)
{
	static struct raft_entry batch[MOST];
	struct raft_msg m = {.type = RAFT_MSG_PROP,
	    .from = 2,
	    .to = 1,
	    .entries = batch,
	    .entry_count = load->outstanding};

	assert(load->outstanding <= MOST);
	for (uint64_t i = 0; i < load->outstanding; i++) {
		batch[i] = (struct raft_entry){.data = data}; /* borrowed */
		if (!load->in_one && raft_propose(leader, data) != RAFT_OK)
			abort();
	}
	if (load->in_one && raft_step(leader, &m) != RAFT_OK)
		abort();
}

/* Until all entries are committed. */
static struct figures
measure(uint64_t entries, const struct load *load)
{
	const uint64_t outstanding = load->outstanding;
	struct blob *data = blob_new(NULL, PAYLOAD_BYTES);
	struct cluster c;
	struct figures f;
	struct mono start;
	uint64_t first, ns;

	memset(data->data, 'x', PAYLOAD_BYTES);
	cluster_open(&c);
	c.steps = c.step_ns = 0;
	first = c.node[0].applied;
	allocations = 0;
	start = mono_now();
	for (uint64_t done = 0; done < entries; done += outstanding) {
		propose(c.node[0].raft, load, data);
		settle(&c);
		assert(c.node[0].applied == first + done + outstanding);
	}
	ns = mono_now().ns - start.ns;
	f.per_second = (double)entries * 1e9 / (double)ns;
	f.ns_per_step = (double)c.step_ns / (double)c.steps;
	f.allocations = (double)allocations / (double)entries;
	cluster_close(&c);
	blob_unref(&data);
	return f;
}

static int
compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double v[ROUNDS])
{
	qsort(v, ROUNDS, sizeof v[0], compare);
	return v[ROUNDS / 2];
}

int
main(int argc, char *argv[])
{
	static const struct load loads[] = {
	    {1, false}, {64, false}, {MOST, false}, {64, true}, {MOST, true}};
	enum { CASES = sizeof loads / sizeof loads[0] };
	double rate[CASES][ROUNDS], step[CASES][ROUNDS], alloc[CASES][ROUNDS];
	uint64_t entries = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < CASES; i++) {
			uint64_t batch = loads[i].outstanding;
			struct figures f =
			    measure(entries / batch * batch, &loads[i]);

			rate[i][round] = f.per_second;
			step[i][round] = f.ns_per_step;
			alloc[i][round] = f.allocations;
		}
	}
	printf("| outstanding | proposals/s | ns per step | allocations per "
	       "entry | of all outstanding |\n|---|---|---|---|---|\n");
	for (unsigned i = 0; i < CASES; i++) {
		double each = median(alloc[i]);

		printf("| %" PRIu64 "%s | %.0f | %.0f | %.3f | %.0f |\n",
		    loads[i].outstanding,
		    loads[i].in_one ? " in one message" : "", median(rate[i]),
		    median(step[i]), each, each * (double)loads[i].outstanding);
	}
	return 0;
}
