/* Cores, storage and network, moved by hand. */
#include "tests/script/harness/cluster.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "tests/script/harness/print.h"

/* ---- mailboxes ---- */

void
mailbox_push(struct mailbox *b, struct raft_msg *m)
{
	if (b->count == b->cap) {
		b->cap = b->cap == 0 ? 16 : b->cap * 2;
		b->v = mem_resize(b->v, b->cap, sizeof(*b->v));
	}
	raft_msg_move(&b->v[b->count++], m);
}

/* The first; there must be one. */
static struct raft_msg
mailbox_shift(struct mailbox *b)
{
	struct raft_msg m = b->v[0];

	b->count--;
	memmove(b->v, b->v + 1, b->count * sizeof(*b->v));
	return m;
}

static void
mailbox_free(struct mailbox *b)
{
	for (size_t i = 0; i < b->count; i++)
		raft_msg_free(&b->v[i]);
	mem_free(b->v);
	*b = (struct mailbox){0};
}

/* ---- nodes ---- */

/* Always the same draw: no result may depend on it. */
static uint32_t
no_random(void *arg, uint32_t n)
{
	(void)arg;
	(void)n;
	return 0;
}

static void
trace_to_stderr(void *arg, const char *line)
{
	(void)arg;
	(void)fprintf(stderr, "%s\n", line);
}

static void
node_free(struct node *n)
{
	raft_free(n->raft);
	store_close(&n->store);
	mailbox_free(&n->append_work);
	mailbox_free(&n->apply_work);
	mem_free(n);
}

const char *
cluster_add_node(struct cluster *c, const struct raft_config *config,
    const struct raft_snapshot *start)
{
	struct node *n = mem_zalloc(1, sizeof(*n));

	n->id = c->node_count + 1;
	store_open(&n->store, start);
	n->config = *config;
	n->config.id = n->id;
	n->config.storage = &store_ops;
	n->config.storage_arg = &n->store;
	n->config.applied = start->index;
	n->config.random = no_random;
	n->config.trace = trace_to_stderr;
	n->raft = raft_new(&n->config);
	if (n->raft == NULL) {
		node_free(n);
		return "the core refuses this configuration";
	}
	c->nodes =
	    mem_resize(c->nodes, c->node_count + 1, sizeof(struct node *));
	c->nodes[c->node_count++] = n;
	return NULL;
}

struct node *
cluster_node(struct cluster *c, uint64_t id)
{
	if (id == 0 || id > c->node_count)
		return NULL;
	return c->nodes[id - 1];
}

void
cluster_free(struct cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++)
		node_free(c->nodes[i]);
	mem_free(c->nodes);
	mailbox_free(&c->network);
}

/* ---- the network ---- */

/* Of a node to itself, which the network cannot lose. */
static bool
is_inside(const struct raft_msg *m)
{
	return m->from == m->to || m->from == RAFT_APPEND_THREAD ||
	       m->from == RAFT_APPLY_THREAD;
}

static bool
selected(const struct selection *s, const struct raft_msg *m)
{
	return m->to == s->to && (s->any_type || m->type == s->type) &&
	       !(s->drop && is_inside(m));
}

size_t
cluster_count(const struct cluster *c, const struct selection *s)
{
	size_t n = 0;

	for (size_t i = 0; i < c->network.count; i++)
		n += selected(s, &c->network.v[i]);
	return n;
}

static struct mailbox
take(struct cluster *c, const struct selection *s)
{
	struct mailbox taken = {0};
	size_t left = 0;

	for (size_t i = 0; i < c->network.count; i++) {
		struct raft_msg *m = &c->network.v[i];

		if (selected(s, m))
			mailbox_push(&taken, m);
		else
			c->network.v[left++] = *m;
	}
	c->network.count = left;
	return taken;
}

size_t
cluster_deliver(struct cluster *c, const struct selection *s, struct buf *out)
{
	struct mailbox taken = take(c, s);
	struct node *to = cluster_node(c, s->to);
	size_t count = taken.count;

	for (size_t i = 0; i < taken.count; i++) {
		enum raft_rc rc;

		text_add(out, "%s", s->drop ? "dropped: " : "");
		print_msg(out, &taken.v[i], 0);
		text_add(out, "\n");
		if (s->drop || to == NULL)
			continue;
		rc = raft_step(to->raft, &taken.v[i]);
		if (rc != RAFT_OK)
			text_add(out, "%s\n", raft_rc_text(rc));
		if (s->again)
			mailbox_push(&c->network, &taken.v[i]);
	}
	mailbox_free(&taken);
	return count;
}

/* ---- work ---- */

static void
apply(struct node *n, const struct raft_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct raft_entry *e = &entries[i];
		struct raft_conf_change cc;
		struct raft_conf_state conf;
		bool changed = e->type != RAFT_ENTRY_NORMAL &&
			       raft_conf_change_decode(e->type,
				   blob_bytes(e->data), &cc) == RAFT_OK;

		if (changed)
			raft_apply_conf_change(n->raft, &cc, &conf);
		store_record(&n->store, e, changed ? &conf : NULL);
	}
}

static void
send_messages(struct cluster *c, struct node *n, const struct raft_ready *rd)
{
	for (size_t i = 0; i < rd->message_count; i++) {
		struct raft_msg *m = &rd->messages[i];

		if (m->to == RAFT_APPEND_THREAD)
			mailbox_push(&n->append_work, m);
		else if (m->to == RAFT_APPLY_THREAD)
			mailbox_push(&n->apply_work, m);
		else
			mailbox_push(&c->network, m);
	}
}

const char *
cluster_ready(struct cluster *c, struct node *n, struct buf *out)
{
	const struct raft_ready *rd = raft_ready(n->raft);
	static const struct raft_hard_state none;
	const char *wrong;

	print_ready(out, rd);
	if (!n->config.async_storage_writes) {
		wrong = store_write(&n->store,
		    rd->has_hard_state ? &rd->hard_state : &none, rd->snapshot,
		    rd->entries, rd->entry_count);
		if (wrong != NULL)
			return wrong;
		apply(n, rd->committed_entries, rd->committed_count);
	}
	send_messages(c, n, rd);
	if (!n->config.async_storage_writes)
		raft_advance(n->raft);
	return NULL;
}

static void
respond(struct cluster *c, struct raft_msg *work, struct buf *out)
{
	text_add(out, "Responses:\n");
	for (size_t i = 0; i < work->response_count; i++) {
		print_msg(out, &work->responses[i], 0);
		text_add(out, "\n");
		mailbox_push(&c->network, &work->responses[i]);
	}
}

/* Prints work without its responses. */
static void
announce(const struct raft_msg *work, struct buf *out)
{
	struct raft_msg bare = *work;

	bare.response_count = 0;
	text_add(out, "Processing:\n");
	print_msg(out, &bare, 0);
	text_add(out, "\n");
}

const char *
cluster_append_work(struct cluster *c, struct node *n, struct buf *out)
{
	struct raft_msg work;
	struct raft_hard_state hs;
	const char *wrong;

	if (n->append_work.count == 0) {
		text_add(out, "no append work to perform\n");
		return NULL;
	}
	work = mailbox_shift(&n->append_work);
	announce(&work, out);
	hs = (struct raft_hard_state){
	    .term = work.term, .vote = work.vote, .commit = work.commit};
	wrong = store_write(
	    &n->store, &hs, work.snapshot, work.entries, work.entry_count);
	if (wrong == NULL)
		respond(c, &work, out);
	raft_msg_free(&work);
	return wrong;
}

const char *
cluster_apply_work(struct cluster *c, struct node *n, struct buf *out)
{
	struct raft_msg work;

	if (n->apply_work.count == 0) {
		text_add(out, "no apply work to perform\n");
		return NULL;
	}
	work = mailbox_shift(&n->apply_work);
	announce(&work, out);
	apply(n, work.entries, work.entry_count);
	respond(c, &work, out);
	raft_msg_free(&work);
	return NULL;
}

/* ---- power cuts ---- */

/* A write goes to the disk in the order term and vote, entries, commit index
 * (raftd/wal.c), and ends somewhere. */
static const char *
write_torn(struct node *n, const struct raft_msg *work, size_t entries)
{
	struct raft_hard_state hs = n->store.hard_state;

	if (work->snapshot != NULL || entries > work->entry_count)
		return "not that many entries in the write";
	if (work->term != 0) {
		hs.term = work->term;
		hs.vote = work->vote;
	}
	return store_write(&n->store, &hs, NULL, work->entries, entries);
}

/* What the node's own threads had on the way to its core. */
static void
drop_inside(struct cluster *c, uint64_t id)
{
	size_t left = 0;

	for (size_t i = 0; i < c->network.count; i++) {
		struct raft_msg *m = &c->network.v[i];

		if (m->to == id && is_inside(m))
			raft_msg_free(m);
		else
			c->network.v[left++] = *m;
	}
	c->network.count = left;
}

const char *
cluster_restart(struct cluster *c, struct node *n, const struct torn *torn)
{
	const char *wrong = NULL;
	struct raft *raft;

	if (torn->any && n->append_work.count == 0)
		return "no write under way";
	if (torn->any)
		wrong = write_torn(n, &n->append_work.v[0], torn->entries);
	if (wrong != NULL)
		return wrong;
	mailbox_free(&n->append_work);
	mailbox_free(&n->apply_work);
	drop_inside(c, n->id);
	store_reopen(&n->store);
	n->config.applied = store_newest(&n->store)->index;
	raft = raft_new(&n->config);
	if (raft == NULL)
		return "the core refuses this state";
	raft_free(n->raft);
	n->raft = raft;
	return NULL;
}

/* ---- until nothing moves ---- */

typedef const char *(*step_fn)(
    struct cluster *c, struct node *n, struct buf *out);

/* One step of one node, indented; *done counts. */
static const char *
indented(struct cluster *c, struct node *n, step_fn step, struct buf *out)
{
	struct buf part = {0};
	const char *wrong = step(c, n, &part);

	text_indent(out, &part);
	buf_free(&part);
	return wrong;
}

static const char *
ready_round(struct cluster *c, struct node *n, struct buf *out, bool *moved)
{
	if (!raft_has_ready(n->raft))
		return NULL;
	*moved = true;
	text_add(out, "> %" PRIu64 " handling Ready\n", n->id);
	return indented(c, n, cluster_ready, out);
}

static const char *
deliver_round(struct cluster *c, struct node *n, struct buf *out, bool *moved)
{
	struct selection all = {.to = n->id, .any_type = true};
	struct buf part = {0};

	if (cluster_count(c, &all) == 0)
		return NULL;
	*moved = true;
	text_add(out, "> %" PRIu64 " receiving messages\n", n->id);
	(void)cluster_deliver(c, &all, &part); /* counted above */
	text_indent(out, &part);
	buf_free(&part);
	return NULL;
}

static const char *
append_round(struct cluster *c, struct node *n, struct buf *out, bool *moved)
{
	const char *wrong = NULL;

	if (n->append_work.count == 0)
		return NULL;
	*moved = true;
	text_add(out, "> %" PRIu64 " processing append thread\n", n->id);
	while (n->append_work.count > 0 && wrong == NULL)
		wrong = indented(c, n, cluster_append_work, out);
	return wrong;
}

static const char *
apply_round(struct cluster *c, struct node *n, struct buf *out, bool *moved)
{
	const char *wrong = NULL;

	if (n->apply_work.count == 0)
		return NULL;
	*moved = true;
	text_add(out, "> %" PRIu64 " processing apply thread\n", n->id);
	while (n->apply_work.count > 0 && wrong == NULL)
		wrong = indented(c, n, cluster_apply_work, out);
	return wrong;
}

const char *
cluster_stabilize(
    struct cluster *c, struct node *const *nodes, size_t count, struct buf *out)
{
	static const char *(*const rounds[])(struct cluster *, struct node *,
	    struct buf *,
	    bool *) = {ready_round, deliver_round, append_round, apply_round};
	const char *wrong = NULL;
	bool moved = true;

	while (moved && wrong == NULL) {
		moved = false;
		for (size_t k = 0; k < 4; k++)
			for (size_t i = 0; i < count && wrong == NULL; i++)
				wrong = rounds[k](c, nodes[i], out, &moved);
	}
	return wrong;
}
