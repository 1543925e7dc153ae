/* Files of a real directory for the WAL; see struct wal_disk in wal.h. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h> /* renameat */
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "raftd/wal.h"

struct posix {
	int dir;
};

static int
posix_list(void *arg, void (*name)(void *ctx, const char *name), void *ctx)
{
	struct posix *p = arg;
	int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *stream;
	int saved;

	if (fd == -1)
		return -1;
	if ((stream = fdopendir(fd)) == NULL) {
		(void)close(fd); /* opened for reading, nothing to lose */
		return -1;
	}
	while (errno = 0, (entry = readdir(stream)) != NULL)
		if (entry->d_name[0] != '.')
			name(ctx, entry->d_name);
	saved = errno;
	(void)closedir(stream);
	errno = saved;
	return saved == 0 ? 0 : -1;
}

static int
posix_open(void *arg, const char *name, bool create)
{
	struct posix *p = arg;
	int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;

	if (create)
		flags |= O_CREAT | O_TRUNC;
	return openat(p->dir, name, flags, 0600);
}

static void
posix_close(void *arg, int fd)
{
	(void)arg;
	(void)close(fd); /* what matters was synced before */
}

static int64_t
posix_size(void *arg, int fd)
{
	struct stat st;

	(void)arg;
	return fstat(fd, &st) == 0 ? (int64_t)st.st_size : -1;
}

static int
posix_write(void *arg, int fd, const void *data, size_t n, off_t at)
{
	const uint8_t *p = data;

	(void)arg;
	while (n > 0) {
		ssize_t done = pwrite(fd, p, n, at);

		if (done == -1 && errno == EINTR)
			continue;
		if (done <= 0) {
			if (done == 0)
				errno = ENOSPC;
			return -1;
		}
		p += done;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/* Fewer than n bytes only at the end of the file. */
static ssize_t
posix_read(void *arg, int fd, void *data, size_t n, off_t at)
{
	uint8_t *p = data;
	size_t got = 0;

	(void)arg;
	while (got < n) {
		ssize_t done = pread(fd, p + got, n - got, at + (off_t)got);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return -1;
		if (done == 0)
			break;
		got += (size_t)done;
	}
	return (ssize_t)got;
}

static int
posix_sync(void *arg, int fd)
{
	(void)arg;
	return fdatasync(fd);
}

static int
posix_rename(void *arg, const char *from, const char *to)
{
	struct posix *p = arg;

	return renameat(p->dir, from, p->dir, to);
}

static int
posix_remove(void *arg, const char *name)
{
	struct posix *p = arg;

	return unlinkat(p->dir, name, 0);
}

static int
posix_sync_dir(void *arg)
{
	struct posix *p = arg;

	return fsync(p->dir);
}

int
wal_disk_posix_open(struct wal_disk *d, const char *dir)
{
	struct posix *p;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		return -1;
	p = mem_zalloc(1, sizeof(*p));
	p->dir = fd;
	*d = (struct wal_disk){.arg = p,
	    .list = posix_list,
	    .open = posix_open,
	    .close = posix_close,
	    .size = posix_size,
	    .write = posix_write,
	    .read = posix_read,
	    .sync = posix_sync,
	    .rename = posix_rename,
	    .remove = posix_remove,
	    .sync_dir = posix_sync_dir};
	return 0;
}

void
wal_disk_posix_close(struct wal_disk *d)
{
	struct posix *p = d->arg;

	assert(p != NULL);
	(void)close(p->dir);
	mem_free(p);
	*d = (struct wal_disk){0};
}
