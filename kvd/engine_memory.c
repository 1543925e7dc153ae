/* The memory engine: a B+ tree that is copied where it is written.
 *
 * Every node has a reference count: 1 for the slot in its parent (or the
 * engine's root), 1 for each frozen view that starts at it.  A writer changes
 * a node in place only if it and all above it have one reference; otherwise it
 * copies the node, whose children then have one more reference and are copied
 * in their turn.  So a frozen view is the root and one more reference.
 *
 * Beside a name and its record, a key costs 60 to 70 bytes of the process's
 * memory, all in all: measured as resident bytes with 1,000,000 keys, put in
 * random order (68) and in ascending order, as a whole state comes (62).
 *
 * Names and records are blobs of their own.  An inner node's item holds a name
 * that is not after any name below it and after all names of the item to its
 * left; the first item's name counts as smaller than everything. */
#include "kvd/engine.h"

#include <assert.h>
#include <string.h>

#include "base/blob.h"
#include "base/mem.h"

#define NODE_ITEMS_MAX 64u
#define NODE_ITEMS_MIN 16u    /* below it a node is merged with a neighbour, */
#define NODE_ITEMS_MERGED 48u /* if together they are not more than this */
#define TREE_HEIGHT_MAX 16u   /* a level more takes 32 nodes of the last */

struct item {
	uint64_t head; /* the name's first 8 bytes, big-endian, zero-filled */
	struct blob *name;
	union {
		struct blob *record; /* in a leaf */
		struct node *child;
	} u;
};

struct node {
	uint32_t refs;
	uint32_t count;
	bool leaf;
	struct item items[NODE_ITEMS_MAX];
};

struct engine {
	struct node *root;
};

struct engine_iter {
	struct node *root; /* a reference; keeps all below it as it is */
	struct buf prefix;
	unsigned depth; /* steps in use; 0: at the end */
	struct {
		const struct node *node;
		uint32_t at;
	} step[TREE_HEIGHT_MAX]; /* from the root to a leaf */
};

static uint64_t
name_head(struct bytes name)
{
	uint64_t head = 0;

	for (size_t i = 0; i < 8; i++)
		head = head << 8 | (i < name.len ? name.data[i] : 0);
	return head;
}

/* <0, 0, >0 as name is before, at or after the item's. */
static int
item_compare(uint64_t head, struct bytes name, const struct item *item)
{
	if (head != item->head)
		return head < item->head ? -1 : 1;
	return bytes_compare(name, blob_bytes(item->name));
}

/* The number of items from `from` on, counted from 0, that are before name;
 * with `equal`, an item of that name counts as before too. */
static uint32_t
node_find(const struct node *n, uint32_t from, struct bytes name, bool equal)
{
	const uint64_t head = name_head(name);
	uint32_t lo = from, hi = n->count;

	while (lo < hi) {
		const uint32_t mid = lo + (hi - lo) / 2;
		const int c = item_compare(head, name, &n->items[mid]);

		if (c > 0 || (equal && c == 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The item of an inner node below which name belongs. */
static uint32_t
node_child_at(const struct node *n, struct bytes name)
{
	return node_find(n, 1, name, true) - 1;
}

/* Is name behind all items of n? */
static bool
is_after(const struct node *n, struct bytes name)
{
	return node_find(n, 0, name, true) == n->count;
}

/* The leaf's item of that name, or NULL. */
static const struct item *
leaf_item(const struct node *n, struct bytes name, uint32_t *at)
{
	*at = node_find(n, 0, name, false);
	if (*at == n->count ||
	    item_compare(name_head(name), name, &n->items[*at]) != 0)
		return NULL;
	return &n->items[*at];
}

static struct node *
node_new(bool leaf)
{
	struct node *n = mem_alloc(sizeof *n);

	n->refs = 1;
	n->count = 0;
	n->leaf = leaf;
	return n;
}

/* Recursion: as deep as the tree is high. */
static void
node_unref(struct node *n)
{
	if (--n->refs > 0)
		return;
	for (uint32_t i = 0; i < n->count; i++) {
		blob_unref(&n->items[i].name);
		if (n->leaf)
			blob_unref(&n->items[i].u.record);
		else
			node_unref(n->items[i].u.child);
	}
	mem_free(n);
}

/* Make the node in *slot ours alone.  The caller owns what holds the slot. */
static struct node *
node_own(struct node **slot)
{
	struct node *old = *slot;
	struct node *n;

	if (old->refs == 1)
		return old;
	n = mem_alloc(sizeof *n);
	memcpy(n, old, sizeof *n);
	n->refs = 1;
	for (uint32_t i = 0; i < n->count; i++) {
		(void)blob_ref(n->items[i].name); /* the copy's reference */
		if (n->leaf)
			(void)blob_ref(n->items[i].u.record);
		else
			n->items[i].u.child->refs++;
	}
	old->refs--;
	*slot = n;
	return n;
}

static void
node_insert(struct node *n, uint32_t at, struct item item)
{
	assert(n->count < NODE_ITEMS_MAX);
	memmove(&n->items[at + 1], &n->items[at],
	    (n->count - at) * sizeof n->items[0]);
	n->items[at] = item;
	n->count++;
}

/* Take the item at `at` out; what it referred to is no longer n's. */
static void
node_take_out(struct node *n, uint32_t at)
{
	n->count--;
	memmove(&n->items[at], &n->items[at + 1],
	    (n->count - at) * sizeof n->items[0]);
}

/* Split the full child at `at`; all three nodes are ours alone.  right_count:
 * items that move to the new node. */
static void
node_split_child(struct node *n, uint32_t at, uint32_t right_count)
{
	struct node *left = n->items[at].u.child;
	struct node *right = node_new(left->leaf);
	struct item item;

	right->count = right_count;
	left->count -= right->count;
	memcpy(right->items, &left->items[left->count],
	    right->count * sizeof right->items[0]);
	item.head = right->items[0].head;
	item.name = blob_ref(right->items[0].name);
	item.u.child = right;
	node_insert(n, at + 1, item);
}

/* The leaf that name belongs to, with room for one more item, ours alone.
 * Names that come in ascending order leave full nodes behind. */
static struct node *
leaf_for_put(struct engine *e, struct bytes name)
{
	struct node *n = node_own(&e->root);
	bool last = true; /* there is nothing to the right of n */

	if (n->count == NODE_ITEMS_MAX) {
		struct node *top = node_new(false);
		struct item item = {.head = n->items[0].head,
		    .name = blob_ref(n->items[0].name)};

		item.u.child = n;
		node_insert(top, 0, item);
		e->root = top;
		n = top;
	}
	while (!n->leaf) {
		uint32_t at = node_child_at(n, name);
		struct node *child = node_own(&n->items[at].u.child);

		last = last && at + 1 == n->count;
		if (child->count == NODE_ITEMS_MAX) {
			node_split_child(n, at,
			    last && is_after(child, name) ? 1
							  : NODE_ITEMS_MAX / 2);
			at = node_child_at(n, name);
			child = n->items[at].u.child;
			last = last && at + 1 == n->count;
		}
		n = child;
	}
	return n;
}

static void
tree_put(struct engine *e, struct bytes name, struct bytes record)
{
	struct node *leaf = leaf_for_put(e, name);
	struct blob *blob = blob_new(record.data, record.len);
	uint32_t at;

	if (leaf_item(leaf, name, &at) != NULL) {
		blob_unref(&leaf->items[at].u.record);
		leaf->items[at].u.record = blob;
		return;
	}
	node_insert(leaf, at,
	    (struct item){.head = name_head(name),
		.name = blob_new(name.data, name.len),
		.u.record = blob});
}

/* Join the children at `at` and at + 1 if they are small.  n is ours alone. */
static void
node_merge_children(struct node *n, uint32_t at)
{
	struct node *left, *right;
	struct item *sep;

	if (n->items[at].u.child->count + n->items[at + 1].u.child->count >
	    NODE_ITEMS_MERGED)
		return;
	left = node_own(&n->items[at].u.child);
	right = node_own(&n->items[at + 1].u.child);
	sep = &n->items[at + 1];
	if (right->leaf) {
		blob_unref(&sep->name);
	} else { /* the first item's name was no bound so far; sep's is */
		blob_unref(&right->items[0].name);
		right->items[0].name = sep->name;
		right->items[0].head = sep->head;
	}
	memcpy(&left->items[left->count], right->items,
	    right->count * sizeof right->items[0]);
	left->count += right->count;
	right->count = 0; /* its items have moved */
	node_unref(right);
	node_take_out(n, at + 1);
}

/* Remove the name, which is there, below n, which is ours alone.  Recursion:
 * as deep as the tree is high. */
static void
node_remove(struct node *n, struct bytes name)
{
	struct node *child;
	uint32_t at;

	if (n->leaf) {
		const struct item *item = leaf_item(n, name, &at);

		assert(item != NULL);
		blob_unref(&n->items[at].name);
		blob_unref(&n->items[at].u.record);
		node_take_out(n, at);
		return;
	}
	at = node_child_at(n, name);
	child = node_own(&n->items[at].u.child);
	node_remove(child, name);
	if (child->count == 0) {
		node_unref(child);
		blob_unref(&n->items[at].name);
		node_take_out(n, at);
	} else if (child->count < NODE_ITEMS_MIN) {
		if (at + 1 < n->count)
			node_merge_children(n, at);
		else if (at > 0)
			node_merge_children(n, at - 1);
	}
}

static const struct blob *
tree_get(const struct engine *e, struct bytes name)
{
	const struct node *n = e->root;
	const struct item *item;
	uint32_t at;

	while (!n->leaf)
		n = n->items[node_child_at(n, name)].u.child;
	item = leaf_item(n, name, &at);
	return item == NULL ? NULL : item->u.record;
}

static void
tree_remove(struct engine *e, struct bytes name)
{
	struct node *root;

	if (tree_get(e, name) == NULL)
		return; /* nothing is copied for nothing */
	node_remove(node_own(&e->root), name);
	while (root = e->root, !root->leaf && root->count <= 1) {
		if (root->count == 0) {
			e->root = node_new(true);
		} else {
			e->root = root->items[0].u.child;
			blob_unref(&root->items[0].name);
			root->count = 0; /* its child has moved up */
		}
		node_unref(root);
	}
}

static enum err
memory_open(struct engine **ep, const char *dir)
{
	struct engine *e = mem_alloc(sizeof *e);

	(void)dir; /* what it holds ends with the process */
	e->root = node_new(true);
	*ep = e;
	return ERR_OK;
}

static void
memory_close(struct engine *e)
{
	if (e == NULL)
		return;
	node_unref(e->root);
	mem_free(e);
}

/* Atomic because nothing in it can fail. */
static enum err
memory_write(struct engine *e, const struct engine_write *writes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert(writes[i].name.len > 0);
		assert(writes[i].name.len <= ENGINE_NAME_BYTES_MAX);
		if (writes[i].remove)
			tree_remove(e, writes[i].name);
		else
			tree_put(e, writes[i].name, writes[i].record);
	}
	return ERR_OK;
}

static enum err
memory_sync(struct engine *e)
{
	(void)e; /* there is nothing that could last */
	return ERR_OK;
}

static enum err
memory_get(struct engine *e, struct bytes name, struct bytes *record)
{
	const struct blob *blob = tree_get(e, name);

	if (blob == NULL)
		return ERR_NOT_FOUND;
	*record = blob_bytes(blob);
	return ERR_OK;
}

/* Stand on the first name not before `from`; depth 0 if there is none. */
static void
iter_seek(struct engine_iter *i, struct bytes from)
{
	const struct node *n = i->root;

	i->depth = 0;
	for (;;) {
		const uint32_t at = n->leaf ? node_find(n, 0, from, false)
					    : node_child_at(n, from);

		assert(i->depth < TREE_HEIGHT_MAX);
		i->step[i->depth].node = n;
		i->step[i->depth++].at = at;
		if (n->leaf)
			break;
		n = n->items[at].u.child;
	}
}

/* If the leaf is used up, go on to the next one. */
static void
iter_settle(struct engine_iter *i)
{
	const struct node *n;

	while (i->depth > 0 &&
	       i->step[i->depth - 1].at == i->step[i->depth - 1].node->count)
		if (--i->depth > 0)
			i->step[i->depth - 1].at++;
	if (i->depth == 0)
		return;
	n = i->step[i->depth - 1].node;
	while (!n->leaf) {
		n = n->items[i->step[i->depth - 1].at].u.child;
		assert(i->depth < TREE_HEIGHT_MAX);
		i->step[i->depth].node = n;
		i->step[i->depth++].at = 0;
	}
}

static enum err
memory_scan(struct engine *e, struct bytes prefix, struct bytes from,
    struct engine_iter **ip)
{
	struct engine_iter *i = mem_zalloc(1, sizeof *i);

	i->root = e->root;
	i->root->refs++;
	buf_append(&i->prefix, prefix.data, prefix.len);
	iter_seek(i, bytes_compare(from, prefix) < 0 ? prefix : from);
	*ip = i;
	return ERR_OK;
}

static enum err
memory_scan_next(
    struct engine_iter *i, struct bytes *name, struct bytes *record)
{
	const struct item *item;

	iter_settle(i);
	if (i->depth == 0)
		return ERR_NOT_FOUND;
	item = &i->step[i->depth - 1].node->items[i->step[i->depth - 1].at];
	if (item->name->len < i->prefix.len ||
	    !bytes_equal(bytes_of(item->name->data, i->prefix.len),
		buf_bytes(&i->prefix))) {
		i->depth = 0; /* names with the prefix are all behind us */
		return ERR_NOT_FOUND;
	}
	i->step[i->depth - 1].at++;
	*name = blob_bytes(item->name);
	*record = blob_bytes(item->u.record);
	return ERR_OK;
}

static void
memory_scan_close(struct engine_iter *i)
{
	if (i == NULL)
		return;
	node_unref(i->root);
	buf_free(&i->prefix);
	mem_free(i);
}

const struct engine_ops engine_memory = {
    .name = "memory",
    .durable = false,
    .open = memory_open,
    .write = memory_write,
    .sync = memory_sync,
    .get = memory_get,
    .scan = memory_scan,
    .scan_next = memory_scan_next,
    .scan_close = memory_scan_close,
    .close = memory_close,
};
