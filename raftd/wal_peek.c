/* See wal_peek.h. */
#include "raftd/wal_peek.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

static int
ro_list(void *arg, void (*name)(void *ctx, const char *name), void *ctx)
{
	struct wal_peek *r = arg;

	return r->disk.list(r->disk.arg, name, ctx);
}

static int
ro_open(void *arg, const char *name, bool create)
{
	struct wal_peek *r = arg;
	char path[PATH_MAX + NAME_MAX];

	if (create) {
		errno = EROFS;
		return -1;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static void
ro_close(void *arg, int fd)
{
	struct wal_peek *r = arg;

	r->disk.close(r->disk.arg, fd);
}

static int64_t
ro_size(void *arg, int fd)
{
	struct wal_peek *r = arg;

	return r->disk.size(r->disk.arg, fd);
}

static ssize_t
ro_read(void *arg, int fd, void *data, size_t n, off_t at)
{
	struct wal_peek *r = arg;

	return r->disk.read(r->disk.arg, fd, data, n, at);
}

static int
ro_write(void *arg, int fd, const void *data, size_t n, off_t at)
{
	(void)arg, (void)fd, (void)data, (void)n, (void)at;
	return 0;
}

static int
ro_sync(void *arg, int fd)
{
	(void)arg, (void)fd;
	return 0;
}

static int
ro_rename(void *arg, const char *from, const char *to)
{
	(void)arg, (void)from, (void)to;
	return 0;
}

static int
ro_remove(void *arg, const char *name)
{
	(void)arg, (void)name;
	return 0;
}

static int
ro_sync_dir(void *arg)
{
	(void)arg;
	return 0;
}

int
wal_peek_open(struct wal_peek *r, struct wal_disk *d, const char *dir)
{
	r->dir = dir;
	if (wal_disk_posix_open(&r->disk, dir) != 0)
		return -1;
	*d = (struct wal_disk){.arg = r,
	    .list = ro_list,
	    .open = ro_open,
	    .close = ro_close,
	    .size = ro_size,
	    .write = ro_write,
	    .read = ro_read,
	    .sync = ro_sync,
	    .rename = ro_rename,
	    .remove = ro_remove,
	    .sync_dir = ro_sync_dir};
	return 0;
}
