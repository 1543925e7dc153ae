/* A disk in memory; see memdisk.h. */
#include "tests/crash/memdisk.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

#define FILES_MAX 4096u
#define NAME_BYTES 64u
#define SECTOR_BYTES 512u

struct change { /* a write since the last sync */
	uint64_t at;
	struct buf data;
	uint64_t time;
};

struct file {
	bool used;
	struct buf now, platter;
	struct change *changes;
	size_t change_count;
	char name[NAME_BYTES];         /* empty: none */
	char platter_name[NAME_BYTES]; /* likewise */
};

struct memdisk {
	pthread_mutex_t lock;
	struct file files[FILES_MAX];
	size_t used; /* of files, from the first on */
	uint64_t time;
	unsigned fail_ops;
	uint64_t fail_in; /* 0: never */
	bool failed;
	uint64_t off_in; /* 0: never */
	bool off;
	uint64_t ops[MEMDISK_READ + 1]; /* by kind */
};

uint64_t
memdisk_random(uint64_t *seed, uint64_t n)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % n;
}

/* ---- life ---- */

static void
changes_drop(struct file *f)
{
	for (size_t i = 0; i < f->change_count; i++)
		buf_free(&f->changes[i].data);
	mem_free(f->changes);
	f->changes = NULL;
	f->change_count = 0;
}

static void
file_drop(struct file *f)
{
	changes_drop(f);
	buf_free(&f->now);
	buf_free(&f->platter);
	memset(f, 0, sizeof(*f));
}

struct memdisk *
memdisk_new(void)
{
	struct memdisk *md = mem_zalloc(1, sizeof(*md));

	(void)pthread_mutex_init(&md->lock, NULL);
	return md;
}

static void
copy(struct buf *dst, const struct buf *src)
{
	buf_clear(dst);
	buf_append(dst, src->data, src->len);
}

struct memdisk *
memdisk_clone(const struct memdisk *md)
{
	struct memdisk *c = memdisk_new();

	for (size_t i = 0; i < md->used; i++) {
		const struct file *f = &md->files[i];
		struct file *g = &c->files[i];

		if (!f->used)
			continue;
		g->used = true;
		copy(&g->now, &f->now);
		copy(&g->platter, &f->platter);
		memcpy(g->name, f->name, NAME_BYTES);
		memcpy(g->platter_name, f->platter_name, NAME_BYTES);
		if (f->change_count > 0)
			g->changes =
			    mem_zalloc(f->change_count, sizeof(g->changes[0]));
		g->change_count = f->change_count;
		for (size_t k = 0; k < f->change_count; k++) {
			g->changes[k].at = f->changes[k].at;
			g->changes[k].time = f->changes[k].time;
			copy(&g->changes[k].data, &f->changes[k].data);
		}
	}
	c->time = md->time;
	c->used = md->used;
	return c;
}

void
memdisk_free(struct memdisk *md)
{
	for (size_t i = 0; i < md->used; i++)
		file_drop(&md->files[i]);
	(void)pthread_mutex_destroy(&md->lock);
	mem_free(md);
}

/* ---- faults ---- */

void
memdisk_fail(struct memdisk *md, unsigned ops, uint64_t nth)
{
	md->fail_ops = ops;
	md->fail_in = nth;
	md->failed = false;
}

bool
memdisk_has_failed(const struct memdisk *md)
{
	return md->failed;
}

uint64_t
memdisk_ops(struct memdisk *md, enum memdisk_op op)
{
	uint64_t n;

	(void)pthread_mutex_lock(&md->lock);
	n = md->ops[op];
	(void)pthread_mutex_unlock(&md->lock);
	return n;
}

void
memdisk_power_off(struct memdisk *md, uint64_t nth)
{
	md->off_in = nth;
}

static bool
fails(struct memdisk *md, enum memdisk_op op)
{
	md->ops[op]++;
	if (op != MEMDISK_READ && md->off_in > 0 && --md->off_in == 0)
		md->off = true;
	if (md->off) {
		errno = EIO;
		return true;
	}
	if ((md->fail_ops & op) == 0 || md->fail_in == 0 || --md->fail_in > 0)
		return false;
	md->failed = true;
	errno = EIO;
	return true;
}

/* ---- struct wal_disk ---- */

static struct file *
by_name(struct memdisk *md, const char *name)
{
	for (size_t i = 0; i < md->used; i++)
		if (md->files[i].used && strcmp(md->files[i].name, name) == 0)
			return &md->files[i];
	return NULL;
}

static int
disk_list(void *arg, void (*name)(void *ctx, const char *name), void *ctx)
{
	struct memdisk *md = arg;

	if (fails(md, MEMDISK_READ))
		return -1;
	for (size_t i = md->used; i > 0; i--) /* not in order */
		if (md->files[i - 1].name[0] != '\0')
			name(ctx, md->files[i - 1].name);
	return 0;
}

static void
put(struct buf *b, const void *data, size_t n, uint64_t at)
{
	if (b->len < at + n) {
		size_t more = at + n - b->len;

		memset(buf_extend(b, more), 0, more);
	}
	if (n > 0)
		memcpy(b->data + at, data, n);
}

static int
disk_open(void *arg, const char *name, bool create)
{
	struct memdisk *md = arg;
	struct file *f;
	int fd = -1;

	(void)pthread_mutex_lock(&md->lock);
	f = by_name(md, name);
	if (fails(md, create ? MEMDISK_CREATE : MEMDISK_READ))
		goto out;
	errno = ENOENT;
	if (f == NULL && !create)
		goto out;
	if (f != NULL && create) /* truncated; its old content may survive */
		f->name[0] = '\0', f = NULL;
	for (size_t i = 0; f == NULL && i < FILES_MAX; i++)
		if (!md->files[i].used)
			f = &md->files[i];
	assert(f != NULL);
	if (!f->used) {
		f->used = true;
		if ((size_t)(f - md->files) >= md->used)
			md->used = (size_t)(f - md->files) + 1;
		memcpy(f->name, name, strlen(name) + 1);
	}
	fd = (int)(f - md->files) + 1000;
out:
	(void)pthread_mutex_unlock(&md->lock);
	return fd;
}

static struct file *
by_fd(struct memdisk *md, int fd)
{
	assert(fd >= 1000);
	assert(fd < 1000 + (int)FILES_MAX);
	assert(md->files[fd - 1000].used);
	return &md->files[fd - 1000];
}

static void
disk_close(void *arg, int fd)
{
	(void)by_fd(arg, fd);
}

static int64_t
disk_size(void *arg, int fd)
{
	struct memdisk *md = arg;
	int64_t size;

	(void)pthread_mutex_lock(&md->lock);
	size = fails(md, MEMDISK_READ) ? -1 : (int64_t)by_fd(md, fd)->now.len;
	(void)pthread_mutex_unlock(&md->lock);
	return size;
}

static int
disk_write(void *arg, int fd, const void *data, size_t n, off_t at)
{
	struct memdisk *md = arg;
	struct file *f;
	struct change *c;
	bool was_off, bad;

	(void)pthread_mutex_lock(&md->lock);
	f = by_fd(md, fd);
	was_off = md->off;
	bad = fails(md, MEMDISK_WRITE);
	if (was_off)
		n = 0;
	else if (bad && !md->off)
		n /= 2;
	put(&f->now, data, n, (uint64_t)at);
	f->changes =
	    mem_resize(f->changes, f->change_count + 1, sizeof(f->changes[0]));
	c = &f->changes[f->change_count++];
	*c = (struct change){.at = (uint64_t)at, .time = md->time++};
	buf_append(&c->data, data, n);
	(void)pthread_mutex_unlock(&md->lock);
	return bad ? -1 : 0;
}

static ssize_t
disk_read(void *arg, int fd, void *data, size_t n, off_t at)
{
	struct memdisk *md = arg;
	struct file *f;

	(void)pthread_mutex_lock(&md->lock);
	f = by_fd(md, fd);
	if (fails(md, MEMDISK_READ)) {
		(void)pthread_mutex_unlock(&md->lock);
		return -1;
	}
	if ((uint64_t)at >= f->now.len)
		n = 0;
	else if (n > f->now.len - (uint64_t)at)
		n = f->now.len - (uint64_t)at;
	if (n > 0)
		memcpy(data, f->now.data + at, n);
	(void)pthread_mutex_unlock(&md->lock);
	return (ssize_t)n;
}

static int
disk_sync(void *arg, int fd)
{
	struct memdisk *md = arg;
	struct file *f;
	bool bad;

	(void)pthread_mutex_lock(&md->lock);
	f = by_fd(md, fd);
	/* As on Linux: what could not be written counts as clean, stays
	 * readable, and no later sync writes it. */
	bad = fails(md, MEMDISK_SYNC);
	for (size_t i = 0; !bad && i < f->change_count; i++)
		put(&f->platter, f->changes[i].data.data,
		    f->changes[i].data.len, f->changes[i].at);
	if (!md->off)
		changes_drop(f);
	(void)pthread_mutex_unlock(&md->lock);
	return bad ? -1 : 0;
}

static int
disk_rename(void *arg, const char *from, const char *to)
{
	struct memdisk *md = arg;
	struct file *f, *g;
	int rc = -1;

	(void)pthread_mutex_lock(&md->lock);
	f = by_name(md, from);
	g = by_name(md, to);
	if (!fails(md, MEMDISK_RENAME)) {
		assert(f != NULL);
		if (g != NULL)
			g->name[0] = '\0';
		memcpy(f->name, to, strlen(to) + 1);
		rc = 0;
	}
	(void)pthread_mutex_unlock(&md->lock);
	return rc;
}

static int
disk_remove(void *arg, const char *name)
{
	struct memdisk *md = arg;
	struct file *f = by_name(md, name);

	if (fails(md, MEMDISK_REMOVE))
		return -1;
	if (f == NULL) {
		errno = ENOENT;
		return -1;
	}
	f->name[0] = '\0';
	return 0;
}

static int
disk_sync_dir(void *arg)
{
	struct memdisk *md = arg;
	bool bad;

	(void)pthread_mutex_lock(&md->lock);
	bad = fails(md, MEMDISK_SYNC_DIR);
	for (size_t i = 0; !bad && i < md->used; i++)
		memcpy(
		    md->files[i].platter_name, md->files[i].name, NAME_BYTES);
	(void)pthread_mutex_unlock(&md->lock);
	return bad ? -1 : 0;
}

struct wal_disk
memdisk_disk(struct memdisk *md)
{
	return (struct wal_disk){.arg = md,
	    .list = disk_list,
	    .open = disk_open,
	    .close = disk_close,
	    .size = disk_size,
	    .write = disk_write,
	    .read = disk_read,
	    .sync = disk_sync,
	    .rename = disk_rename,
	    .remove = disk_remove,
	    .sync_dir = disk_sync_dir};
}

/* ---- a power cut ---- */

/* Sector s of c's file as it is with c written; what it was before is in b. */
static void
put_sector(struct buf *b, const struct change *c, uint64_t s)
{
	uint64_t from = s * SECTOR_BYTES, to = from + SECTOR_BYTES;
	uint64_t end = c->at + c->data.len;

	if (from < c->at)
		from = c->at;
	if (to > end)
		to = end;
	if (from < to)
		put(b, c->data.data + (from - c->at), to - from, from);
}

static void
cut_random(struct file *f, uint64_t *seed)
{
	uint64_t sectors = (f->now.len + SECTOR_BYTES - 1) / SECTOR_BYTES;

	/* Each write to a sector is one more state that it may have. */
	for (uint64_t s = 0; s < sectors; s++) {
		uint64_t keep = memdisk_random(seed, f->change_count + 1);

		if (memdisk_random(seed, 2) == 0)
			keep = memdisk_random(seed, 2) * f->change_count;
		for (size_t i = 0; i < keep; i++)
			put_sector(&f->platter, &f->changes[i], s);
	}
}

static void
cut_prefix(struct file *f, uint64_t moment, uint64_t *seed)
{
	for (size_t i = 0; i < f->change_count; i++) {
		const struct change *c = &f->changes[i];
		size_t n = c->data.len;

		if (c->time > moment)
			return;
		if (c->time == moment)
			n = memdisk_random(seed, n + 1);
		put(&f->platter, c->data.data, n, c->at);
	}
}

/* What the names are after it: each on its own old or new, as the file system's
 * journal is not ours to know. */
static void
cut_name(
    struct memdisk *md, struct file *f, enum memdisk_cut mode, uint64_t *seed)
{
	bool keep = mode == MEMDISK_CUT_NONE ||
		    (mode != MEMDISK_CUT_ALL && memdisk_random(seed, 2) == 0);

	if (!keep) {
		memcpy(f->name, f->platter_name, NAME_BYTES);
		for (size_t i = 0; i < md->used; i++) /* replaced it */
			if (&md->files[i] != f && f->name[0] != '\0' &&
			    strcmp(md->files[i].name, f->name) == 0)
				md->files[i].name[0] = '\0';
	}
	memcpy(f->platter_name, f->name, NAME_BYTES);
}

void
memdisk_cut(struct memdisk *md, enum memdisk_cut mode, uint64_t *seed)
{
	uint64_t moment = memdisk_random(seed, md->time + 1);

	/* Mostly near the end, where something happens. */
	if (md->time > 4 && memdisk_random(seed, 4) != 0)
		moment = md->time - memdisk_random(seed, 4);
	for (size_t i = 0; i < md->used; i++) {
		struct file *f = &md->files[i];

		if (!f->used)
			continue;
		switch (mode) {
		case MEMDISK_CUT_ALL:
			break;
		case MEMDISK_CUT_NONE: /* and what a failed sync lost stays */
			copy(&f->platter, &f->now);
			break;
		case MEMDISK_CUT_PREFIX:
			cut_prefix(f, moment, seed);
			break;
		case MEMDISK_CUT_RANDOM:
			cut_random(f, seed);
			break;
		}
		copy(&f->now, &f->platter);
		changes_drop(f);
		cut_name(md, f, mode, seed);
		if (f->name[0] == '\0')
			file_drop(f);
	}
	memdisk_fail(md, 0, 0);
	md->off = false;
	md->off_in = 0;
}

/* ---- tampering ---- */

struct buf *
memdisk_file(struct memdisk *md, const char *name)
{
	struct file *f = by_name(md, name);

	return f == NULL ? NULL : &f->now;
}

void
memdisk_settle(struct memdisk *md)
{
	uint64_t seed = 0; /* nothing is left to chance */

	memdisk_cut(md, MEMDISK_CUT_NONE, &seed);
}

const char *
memdisk_last_name(const struct memdisk *md)
{
	const char *last = NULL;

	for (size_t i = 0; i < md->used; i++)
		if (md->files[i].name[0] != '\0' &&
		    (last == NULL || strcmp(md->files[i].name, last) > 0))
			last = md->files[i].name;
	return last;
}

size_t
memdisk_file_count(const struct memdisk *md)
{
	size_t n = 0;

	for (size_t i = 0; i < md->used; i++)
		n += md->files[i].name[0] != '\0';
	return n;
}

bool
memdisk_same(struct memdisk *a, struct memdisk *b)
{
	if (memdisk_file_count(a) != memdisk_file_count(b))
		return false;
	for (size_t i = 0; i < a->used; i++) {
		const struct file *f = &a->files[i], *g;

		if (f->name[0] == '\0')
			continue;
		g = by_name(b, f->name);
		if (g == NULL ||
		    !bytes_equal(buf_bytes(&f->now), buf_bytes(&g->now)))
			return false;
	}
	return true;
}

void
memdisk_move(struct memdisk *md, const char *from, const char *to)
{
	if (to == NULL)
		(void)disk_remove(md, from);
	else
		(void)disk_rename(md, from, to);
	(void)disk_sync_dir(md);
}
