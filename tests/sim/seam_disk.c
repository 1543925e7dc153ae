/* A disk that forgets: what was written and not synced may be there after a
 * power cut, or not, sector by sector; names likewise, in the order in which
 * they were made.  Syncs take time; calls may fail. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "tests/sim/sim.h"

int sim_statvfs(const char *path, struct statvfs *st); /* see sim.mk */

#define SECTOR 512u
#define HANDLES_MAX 4096u
#define DISK_BYTES (UINT64_C(1) << 40)

struct pending { /* a write or truncation that is not durable */
	struct pending *next;
	bool truncate;
	bool forgotten; /* a sync failed: no later one will write it */
	size_t at, len; /* truncate: at is the new size */
	uint8_t *data;
};

struct bytes_owned {
	uint8_t *data;
	size_t len, cap;
};

struct inode {
	struct inode *next; /* of its disk, for freeing */
	struct bytes_owned now, durable;
	struct pending *pending, **tail;
	bool snap; /* a snapshot file, or a part of one */
};

struct name {
	char text[40];
	struct inode *inode;
};

struct names {
	struct name *v;
	size_t count, cap;
};

/* Calls that take time. */
enum call { CALL_WRITE, CALL_SYNC, CALL_SYNC_DIR, CALLS };

enum change_kind { CHANGE_CREATE, CHANGE_RENAME, CHANGE_REMOVE };

struct change { /* of the directory, not durable */
	struct change *next;
	enum change_kind kind;
	char from[40], to[40];
	struct inode *inode;
};

struct disk {
	unsigned node;
	struct inode *inodes;
	struct names now, durable;
	struct change *changes, **tail;
	struct inode *handles[HANDLES_MAX];
	unsigned handle_count;
	uint32_t error_write, error_sync, error_read,
	    error_name; /* per mille */
	bool full;
	uint64_t free; /* bytes, as it says */
	uint64_t sync_ns;
	unsigned calls[CALLS]; /* under way */
};

static struct rng *
rng(void)
{
	return &sim.rng[RNG_DISK];
}

/* ---- content ---- */

static void
content_resize(struct bytes_owned *b, size_t len)
{
	if (len > b->cap) {
		b->cap = len * 2;
		b->data = realloc(b->data, b->cap);
		assert(b->data != NULL);
	}
	if (len > b->len)
		memset(b->data + b->len, 0, len - b->len);
	b->len = len;
}

static void
content_write(struct bytes_owned *b, const uint8_t *data, size_t len, size_t at)
{
	if (len == 0)
		return;
	if (at + len > b->len)
		content_resize(b, at + len);
	memcpy(b->data + at, data, len);
}

static void
content_apply(struct bytes_owned *b, const struct pending *p)
{
	if (p->truncate)
		content_resize(b, p->at);
	else
		content_write(b, p->data, p->len, p->at);
}

static void
pending_add(
    struct inode *n, bool truncate, const void *data, size_t len, size_t at)
{
	struct pending *p = calloc(1, sizeof(*p));

	assert(p != NULL);
	p->truncate = truncate;
	p->at = at;
	p->len = len;
	if (len > 0) {
		p->data = malloc(len);
		assert(p->data != NULL);
		memcpy(p->data, data, len);
	}
	*n->tail = p;
	n->tail = &p->next;
	content_apply(&n->now, p);
}

/* Drop the first `count` of what is pending, applied to the durable bytes. */
static void
settle(struct inode *n, size_t count, bool apply)
{
	struct pending *p;

	while (count-- > 0 && (p = n->pending) != NULL) {
		if (apply && !p->forgotten)
			content_apply(&n->durable, p);
		n->pending = p->next;
		if (n->pending == NULL)
			n->tail = &n->pending;
		free(p->data);
		free(p);
	}
}

static size_t
pending_count(const struct inode *n)
{
	size_t count = 0;

	for (const struct pending *p = n->pending; p != NULL; p = p->next)
		count++;
	return count;
}

/* ---- a power cut ---- */

/* How many of n things happened: often none or all. */
static size_t
draw_cut(size_t n)
{
	switch (rng_below(rng(), 4)) {
	case 0:
		return 0;
	case 1:
		return n;
	default:
		return (size_t)rng_below(rng(), n + 1);
	}
}

/* The part of p that lies in a sector. */
static void
apply_sector(struct bytes_owned *b, const struct pending *p, size_t sector)
{
	size_t lo = sector * SECTOR, hi = lo + SECTOR;

	if (p->at > lo)
		lo = p->at;
	if (p->at + p->len < hi)
		hi = p->at + p->len;
	if (lo < hi)
		content_write(b, p->data + (lo - p->at), hi - lo, lo);
}

/* Each sector has what the first so many writes to it left there. */
static void
tear_sectors(struct inode *n, size_t count)
{
	bool whole = rng_chance(rng(), 300);
	size_t all = draw_cut(count);
	size_t lo = SIZE_MAX, hi = 0;

	for (const struct pending *p = n->pending; p != NULL; p = p->next) {
		if (p->truncate || p->len == 0)
			continue;
		if (p->at / SECTOR < lo)
			lo = p->at / SECTOR;
		if ((p->at + p->len - 1) / SECTOR > hi)
			hi = (p->at + p->len - 1) / SECTOR;
	}
	if (lo == SIZE_MAX)
		return;
	for (size_t s = lo; s <= hi; s++) {
		size_t cut = whole ? all : draw_cut(count), k = 0;

		for (const struct pending *p = n->pending; p != NULL && k < cut;
		     p = p->next, k++)
			if (!p->truncate && !p->forgotten)
				apply_sector(&n->durable, p, s);
	}
}

/* Which sectors of what was written and not synced are there now? */
static void
count_lost(const struct inode *n)
{
	for (const struct pending *p = n->pending; p != NULL; p = p->next) {
		size_t kept = 0, lost = 0;

		for (size_t at = p->at; at < p->at + p->len;) {
			size_t end = (at / SECTOR + 1) * SECTOR;

			if (end > p->at + p->len)
				end = p->at + p->len;
			if (end <= n->durable.len &&
			    memcmp(n->durable.data + at, p->data + (at - p->at),
				end - at) == 0)
				kept++;
			else
				lost++;
			at = end;
		}
		if (lost > 0)
			count(kept > 0 ? COUNT_DISK_TORN : COUNT_DISK_LOST);
	}
}

static void
inode_power_cut(struct inode *n)
{
	size_t count = pending_count(n);
	bool truncated = false;
	size_t size = 0;

	if (count > 0)
		tear_sectors(n, count);
	for (const struct pending *p = n->pending; p != NULL; p = p->next)
		if (p->truncate && rng_chance(rng(), 500)) {
			truncated = true;
			size = p->at;
		}
	if (truncated && size < n->durable.len)
		content_resize(&n->durable, size);
	count_lost(n);
	settle(n, SIZE_MAX, false);
	n->now.len = 0;
	content_write(&n->now, n->durable.data, n->durable.len, 0);
}

/* ---- names ---- */

static struct name *
names_find(struct names *ns, const char *text)
{
	for (size_t i = 0; i < ns->count; i++)
		if (strcmp(ns->v[i].text, text) == 0)
			return &ns->v[i];
	return NULL;
}

static void
names_set(struct names *ns, const char *text, struct inode *inode)
{
	struct name *n = names_find(ns, text);

	if (n == NULL) {
		if (ns->count == ns->cap) {
			ns->cap = ns->cap == 0 ? 8 : ns->cap * 2;
			ns->v = realloc(ns->v, ns->cap * sizeof(ns->v[0]));
			assert(ns->v != NULL);
		}
		n = &ns->v[ns->count++];
		assert(strlen(text) < sizeof(n->text));
		strcpy(n->text, text);
	}
	n->inode = inode;
}

static void
names_remove(struct names *ns, const char *text)
{
	struct name *n = names_find(ns, text);

	if (n == NULL)
		return;
	memmove(
	    n, n + 1, (size_t)(ns->v + ns->count - (n + 1)) * sizeof(ns->v[0]));
	ns->count--;
}

static void
names_apply(struct names *ns, const struct change *c)
{
	switch (c->kind) {
	case CHANGE_CREATE:
		names_set(ns, c->to, c->inode);
		break;
	case CHANGE_RENAME:
		names_remove(ns, c->from);
		names_set(ns, c->to, c->inode);
		break;
	case CHANGE_REMOVE:
		names_remove(ns, c->from);
		break;
	}
}

static void
change_add(struct disk *d, enum change_kind kind, const char *from,
    const char *to, struct inode *inode)
{
	struct change *c = calloc(1, sizeof(*c));

	assert(c != NULL);
	c->kind = kind;
	assert(strlen(from) < sizeof(c->from));
	assert(strlen(to) < sizeof(c->to));
	strcpy(c->from, from);
	strcpy(c->to, to);
	c->inode = inode;
	*d->tail = c;
	d->tail = &c->next;
	names_apply(&d->now, c);
}

static size_t
changes_count(const struct disk *d)
{
	size_t n = 0;

	for (const struct change *c = d->changes; c != NULL; c = c->next)
		n++;
	return n;
}

static void
changes_settle(struct disk *d, size_t count, bool apply)
{
	struct change *c;

	while (count-- > 0 && (c = d->changes) != NULL) {
		if (apply)
			names_apply(&d->durable, c);
		d->changes = c->next;
		if (d->changes == NULL)
			d->tail = &d->changes;
		free(c);
	}
}

/* ---- calls ---- */

static bool
is_snap(const char *name)
{
	return strstr(name, ".snap") != NULL || strstr(name, ".part") != NULL;
}

static bool
fails(struct disk *d, uint32_t per_mille, enum count what, bool snap)
{
	const struct proc *p = &sim.nodes[d->node].procs[ROLE_RAFTD];

	if (!rng_chance(rng(), per_mille))
		return false;
	trace("disk of node %u: %s", d->node, count_names[what]);
	count(what);
	if (snap)
		count(COUNT_DISK_ERROR_SNAP);
	if (p->rd->raft == NULL)
		count(COUNT_DISK_ERROR_START);
	errno = EIO;
	return true;
}

static int
is_full(bool snap)
{
	count(snap ? COUNT_DISK_FULL_SNAP : COUNT_DISK_FULL);
	errno = ENOSPC;
	return -1;
}

static void
take_time(struct disk *d, enum call call, uint64_t ns)
{
	d->calls[call]++;
	if (call != CALL_SYNC) /* those are short, and many */
		nemesis_ambush(sim.current, ns, sim.ambush / 40);
	proc_sleep(ns);
	d->calls[call]--;
}

static struct inode *
inode_of(struct disk *d, int fd)
{
	assert(fd >= 0);
	assert((unsigned)fd < d->handle_count);
	assert(d->handles[fd] != NULL);
	return d->handles[fd];
}

static int
sim_list(void *arg, void (*name)(void *ctx, const char *name), void *ctx)
{
	struct disk *d = arg;

	if (fails(d, d->error_read, COUNT_DISK_ERROR_LIST, false))
		return -1;
	for (size_t i = 0; i < d->now.count; i++)
		name(ctx, d->now.v[i].text);
	return 0;
}

static int
sim_open(void *arg, const char *name, bool create)
{
	struct disk *d = arg;
	struct name *n = names_find(&d->now, name);
	struct inode *inode = n != NULL ? n->inode : NULL;

	if (create && d->full)
		return is_full(is_snap(name));
	if (fails(d, create ? d->error_write : d->error_read,
		COUNT_DISK_ERROR_OPEN, is_snap(name)))
		return -1;
	if (n == NULL && !create) {
		errno = ENOENT;
		return -1;
	}
	if (n == NULL) {
		inode = calloc(1, sizeof(*inode));
		assert(inode != NULL);
		inode->tail = &inode->pending;
		inode->next = d->inodes;
		d->inodes = inode;
		inode->snap = is_snap(name);
		change_add(d, CHANGE_CREATE, "", name, inode);
	} else if (create) {
		pending_add(inode, true, NULL, 0, 0);
	}
	assert(d->handle_count < HANDLES_MAX);
	d->handles[d->handle_count] = inode;
	return (int)d->handle_count++;
}

static void
sim_close_file(void *arg, int fd)
{
	struct disk *d = arg;

	(void)inode_of(d, fd);
	d->handles[fd] = NULL;
}

static int64_t
sim_size(void *arg, int fd)
{
	return (int64_t)inode_of(arg, fd)->now.len;
}

static int
sim_write_file(void *arg, int fd, const void *data, size_t n, off_t at)
{
	struct disk *d = arg;
	struct inode *inode = inode_of(d, fd);
	size_t room =
	    inode->now.len > (size_t)at ? inode->now.len - (size_t)at : 0;

	if (d->full && n > room) {
		pending_add(inode, false, data, room, (size_t)at);
		return is_full(inode->snap);
	}
	if (fails(d, d->error_write, COUNT_DISK_ERROR_WRITE, inode->snap)) {
		pending_add(
		    inode, false, data, rng_below(rng(), n + 1), (size_t)at);
		errno = EIO;
		return -1;
	}
	/* A process that is killed in a write leaves a part of it. */
	if (n > SECTOR && rng_chance(rng(), 30)) {
		size_t half = rng_below(rng(), n);

		pending_add(inode, false, data, half, (size_t)at);
		take_time(d, CALL_WRITE, rng_between(rng(), 1, 20) * US);
		pending_add(inode, false, (const uint8_t *)data + half,
		    n - half, (size_t)at + half);
		return 0;
	}
	pending_add(inode, false, data, n, (size_t)at);
	take_time(d, CALL_WRITE, rng_between(rng(), 2, 20) * US);
	return 0;
}

static ssize_t
sim_read_file(void *arg, int fd, void *data, size_t n, off_t at)
{
	struct disk *d = arg;
	struct inode *inode = inode_of(d, fd);

	if (fails(d, d->error_read, COUNT_DISK_ERROR_READ, inode->snap))
		return -1;
	if (sim.thread != NULL) /* while a process begins it need not wait */
		proc_sleep(rng_between(rng(), 1, 20) * US);
	if ((size_t)at >= inode->now.len)
		return 0;
	if (n > inode->now.len - (size_t)at)
		n = inode->now.len - (size_t)at;
	memcpy(data, inode->now.data + at, n);
	return (ssize_t)n;
}

static uint64_t
sync_time(struct disk *d)
{
	uint64_t ns = rng_between(rng(), 50, 800) * US;

	if (sim.sync_ns > 0)
		ns += rng_below(rng(), sim.sync_ns);
	if (d->sync_ns > 0) {
		count(COUNT_DISK_SLOW);
		ns += rng_below(rng(), d->sync_ns);
	}
	return ns;
}

/* What a sync that fails could not write is forgotten (fsync(2) of Linux): it
 * can be read as long as there is power, and no later sync writes it. */
static void
forget_writes(struct inode *inode)
{
	if (inode->pending == NULL || rng_chance(rng(), 500))
		return;
	count(COUNT_DISK_FORGOT);
	for (struct pending *p = inode->pending; p != NULL; p = p->next)
		p->forgotten = !p->truncate;
}

/* What was written before it began is durable when it has ended. */
static int
sim_sync_file(void *arg, int fd)
{
	struct disk *d = arg;
	struct inode *inode = inode_of(d, fd);
	size_t writes = pending_count(inode);

	if (fails(d, d->error_sync, COUNT_DISK_ERROR_SYNC, inode->snap)) {
		forget_writes(inode);
		return -1;
	}
	take_time(d, CALL_SYNC, sync_time(d));
	settle(inode, writes, true);
	return 0;
}

static int
sim_rename(void *arg, const char *from, const char *to)
{
	struct disk *d = arg;
	struct name *n = names_find(&d->now, from);

	if (n == NULL) {
		errno = ENOENT;
		return -1;
	}
	if (fails(d, d->error_write + d->error_name, COUNT_DISK_ERROR_RENAME,
		is_snap(to)))
		return -1;
	if (strcmp(to + strlen(to) - 5, ".snap") == 0)
		count(strcmp(from, "taking.part") == 0 ? COUNT_SNAP_TAKEN
						       : COUNT_SNAP_RECEIVED);
	change_add(d, CHANGE_RENAME, from, to, n->inode);
	return 0;
}

static int
sim_remove(void *arg, const char *name)
{
	struct disk *d = arg;
	struct name *n = names_find(&d->now, name);

	if (n == NULL) {
		errno = ENOENT;
		return -1;
	}
	if (fails(d, d->error_write + d->error_name, COUNT_DISK_ERROR_REMOVE,
		is_snap(name)))
		return -1;
	if (strstr(name, ".wal") != NULL)
		count(COUNT_LOG_CUT);
	change_add(d, CHANGE_REMOVE, name, "", n->inode);
	return 0;
}

static int
sim_sync_dir(void *arg)
{
	struct disk *d = arg;
	size_t changes = changes_count(d);

	if (fails(d, d->error_sync + d->error_name, COUNT_DISK_ERROR_SYNC_DIR,
		false))
		return -1;
	take_time(d, CALL_SYNC_DIR, sync_time(d));
	changes_settle(d, changes, true);
	return 0;
}

int
wal_disk_posix_open(struct wal_disk *d, const char *dir)
{
	(void)dir;
	*d = (struct wal_disk){.arg = sim.nodes[sim.current->node].disk,
	    .list = sim_list,
	    .open = sim_open,
	    .close = sim_close_file,
	    .size = sim_size,
	    .write = sim_write_file,
	    .read = sim_read_file,
	    .sync = sim_sync_file,
	    .rename = sim_rename,
	    .remove = sim_remove,
	    .sync_dir = sim_sync_dir};
	return 0;
}

void
wal_disk_posix_close(struct wal_disk *d)
{
	*d = (struct wal_disk){0};
}

/* ---- the disk's life ---- */

struct disk *
disk_new(unsigned node)
{
	struct disk *d = calloc(1, sizeof(*d));

	assert(d != NULL);
	d->node = node;
	d->free = DISK_BYTES;
	d->tail = &d->changes;
	return d;
}

void
disk_close_all(struct disk *d)
{
	memset(d->handles, 0, d->handle_count * sizeof(d->handles[0]));
	d->handle_count = 0;
	memset(d->calls, 0, sizeof(d->calls));
}

void
disk_note_kill(const struct disk *d, bool power)
{
	static const enum count kills[CALLS] = {
	    [CALL_WRITE] = COUNT_KILL_IN_WRITE,
	    [CALL_SYNC] = COUNT_KILL_IN_SYNC,
	    [CALL_SYNC_DIR] = COUNT_KILL_IN_SYNC_DIR};
	static const enum count cuts[CALLS] = {
	    [CALL_WRITE] = COUNT_POWER_IN_WRITE,
	    [CALL_SYNC] = COUNT_POWER_IN_SYNC,
	    [CALL_SYNC_DIR] = COUNT_POWER_IN_SYNC_DIR};

	for (int i = 0; i < CALLS; i++)
		if (d->calls[i] > 0)
			count(power ? cuts[i] : kills[i]);
}

void
disk_power_cut(struct disk *d)
{
	size_t changes = changes_count(d), kept = draw_cut(changes);

	for (struct inode *n = d->inodes; n != NULL; n = n->next)
		inode_power_cut(n);
	if (kept < changes)
		count(COUNT_DISK_NAMES_LOST);
	changes_settle(d, kept, true);
	changes_settle(d, SIZE_MAX, false);
	d->now.count = 0;
	for (size_t i = 0; i < d->durable.count; i++)
		names_set(&d->now, d->durable.v[i].text, d->durable.v[i].inode);
}

void
disk_free(struct disk *d)
{
	struct inode *n;

	if (d == NULL)
		return;
	while ((n = d->inodes) != NULL) {
		d->inodes = n->next;
		settle(n, SIZE_MAX, false);
		free(n->now.data);
		free(n->durable.data);
		free(n);
	}
	changes_settle(d, SIZE_MAX, false);
	free(d->now.v);
	free(d->durable.v);
	free(d);
}

void
disk_set_errors(struct disk *d, uint32_t write, uint32_t sync, uint32_t read)
{
	d->error_write = write;
	d->error_sync = sync;
	d->error_read = read;
}

void
disk_set_name_errors(struct disk *d, uint32_t names)
{
	d->error_name = names;
}

void
disk_set_full(struct disk *d, bool full)
{
	d->full = full;
	d->free = full ? 0 : DISK_BYTES;
}

void
disk_set_free(struct disk *d, uint64_t bytes)
{
	d->free = bytes;
}

int
sim_statvfs(const char *path, struct statvfs *st)
{
	const struct disk *d = sim.nodes[sim.current->node].disk;

	(void)path;
	if (d->free < sim.reserve_bytes)
		count(COUNT_DISK_LOW);
	*st = (struct statvfs){
	    .f_frsize = 1, .f_blocks = DISK_BYTES, .f_bavail = d->free};
	return 0;
}

void
disk_set_slow(struct disk *d, uint64_t sync_ns)
{
	d->sync_ns = sync_ns;
}

bool
disk_is_well(const struct disk *d)
{
	return d->error_write == 0 && d->error_sync == 0 &&
	       d->error_read == 0 && d->error_name == 0 &&
	       d->free == DISK_BYTES && d->sync_ns == 0;
}
