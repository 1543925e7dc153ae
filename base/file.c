/* Directories, lock files and atomically replaced files; see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define READ_BYTES 65536u
#define PID_BYTES_MAX 16u

/* --- directories --- */

/* The exit code for a directory that cannot be made or written, and the line
 * that says so.  A path that can never be a directory is a matter of
 * configuration; all else is one of rights. */
static int
refuse_dir(const char *dir, int cause)
{
	errno = cause;
	switch (cause) {
	case ENOTDIR:
	case ENAMETOOLONG:
	case ELOOP:
		log_error("cannot create directory %s; choose another path, "
			  "parts of this one are not directories or too long",
		    dir);
		return EX_CONFIG;
	case EROFS:
		log_error("cannot write directory %s; choose one on a "
			  "file system that is mounted for writing",
		    dir);
		return EX_NOPERM;
	default:
		log_error("cannot create or write directory %s; give this "
			  "user the rights to it or choose another one",
		    dir);
		return EX_NOPERM;
	}
}

/* Create one directory unless it is there, so that it survives a power cut:
 * what is later synced in it would be lost with its name.  0 or errno. */
static int
make_one(const char *dir, unsigned mode)
{
	struct stat st;
	char *parent;
	char *slash;
	int rc = 0;

	if (mkdir(dir, (mode_t)mode) == -1) {
		if (errno != EEXIST)
			return errno;
		if (stat(dir, &st) == -1)
			return errno;
		return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	}
	parent = mem_strdup(dir);
	slash = strrchr(parent, '/');
	if (slash == NULL)
		rc = file_sync_dir(".");
	else {
		slash[slash == parent ? 1 : 0] = '\0';
		rc = file_sync_dir(parent);
	}
	/* A directory that we may write into but not read cannot be synced by
	 * us; the data is as safe as its owner wants it. */
	rc = rc == -1 && errno != EACCES ? errno : 0;
	mem_free(parent);
	return rc;
}

int
file_make_dir(const char *dir, unsigned mode)
{
	char *path = mem_strdup(dir);
	char *p = path;
	int rc = 0;

	while (rc == 0 && *p != '\0') {
		p += strspn(p, "/");
		p += strcspn(p, "/");
		if (p[strspn(p, "/")] == '\0')
			break; /* the last part: made below */
		*p = '\0';
		rc = make_one(path, mode);
		*p = '/';
	}
	if (rc == 0) {
		*p = '\0'; /* without slashes at the end */
		rc = make_one(path[0] != '\0' ? path : dir, mode);
	}
	if (rc == 0 &&
	    faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK, AT_EACCESS) == -1)
		rc = errno;
	mem_free(path);
	return rc == 0 ? 0 : refuse_dir(dir, rc);
}

int
file_sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;
	int cause;

	if (fd == -1)
		return -1;
	rc = fsync(fd);
	cause = errno;
	(void)close(fd); /* nothing was written through it */
	errno = cause;
	return rc;
}

/* DIR/NAME; owned by the caller. */
static char *
join(const char *dir, const char *name)
{
	size_t bytes = strlen(dir) + 1 + strlen(name) + 1;
	char *path = mem_alloc(bytes);

	(void)snprintf(path, bytes, "%s/%s", dir, name); /* fits */
	return path;
}

/* --- lock files --- */

/* The pid that the holder wrote, or 0 when it has not come to that yet. */
static long
lock_holder(int fd)
{
	char text[PID_BYTES_MAX] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	return pid > 0 ? pid : 0;
}

static int
refuse_lock(const char *dir, int fd)
{
	long pid = lock_holder(fd);

	if (pid != 0)
		log_errorx("%s is in use by process %ld; stop it or choose "
			   "another --data-dir",
		    dir, pid);
	else
		log_errorx("%s is in use by another process; stop it or "
			   "choose another --data-dir",
		    dir);
	return EX_TEMPFAIL;
}

/* The pid in the file is for people: the lock holds without it, so a full
 * disk is no reason to fail. */
static void
write_pid(int fd)
{
	char text[PID_BYTES_MAX];
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) == -1)
		log_warn("cannot write process id into lock file");
}

int
file_lock(const char *dir, const char *name, int *fdp)
{
	char *path = join(dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd == -1) {
		if (errno == EIO || errno == ENOSPC) {
			log_error("cannot create lock file %s", path);
			rc = EX_IOERR;
		} else
			rc = refuse_dir(dir, errno);
		goto out;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno == EWOULDBLOCK)
			rc = refuse_lock(dir, fd);
		else {
			log_error("cannot lock %s; its file system must know "
				  "locks",
			    path);
			rc = EX_IOERR;
		}
		(void)close(fd); /* nothing was written */
		goto out;
	}
	write_pid(fd);
	*fdp = fd;
out:
	mem_free(path);
	return rc;
}

/* --- small files --- */

/* The whole of data, synced.  0 or -1 and errno. */
static int
write_whole(int fd, struct bytes data)
{
	size_t done = 0;

	while (done < data.len) {
		ssize_t n = write(fd, data.data + done, data.len - done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		done += (size_t)n;
	}
	return fsync(fd);
}

/* 0 or -1 and errno. */
static int
write_file(const char *path, struct bytes data)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc;
	int cause;

	if (fd == -1)
		return -1;
	rc = write_whole(fd, data);
	cause = errno;
	if (close(fd) == -1 && rc == 0)
		return -1;
	errno = cause;
	return rc;
}

int
file_replace(const char *dir, const char *name, struct bytes data)
{
	char *path = join(dir, name);
	size_t bytes = strlen(path) + sizeof ".new";
	char *fresh = mem_alloc(bytes);
	int rc;
	int cause;

	(void)snprintf(fresh, bytes, "%s.new", path); /* fits */
	rc = write_file(fresh, data);
	if (rc == 0)
		rc = rename(fresh, path);
	if (rc == -1) {
		cause = errno;
		(void)unlink(fresh); /* it may not even be there */
		errno = cause;
	} else
		rc = file_sync_dir(dir);
	cause = errno;
	mem_free(fresh);
	mem_free(path);
	errno = cause;
	return rc;
}

/* Append what is left of fd.  0 or -1 and errno. */
static int
read_whole(int fd, size_t max, struct buf *out)
{
	size_t total = 0;

	for (;;) {
		ssize_t n;

		buf_reserve(out, READ_BYTES);
		n = read(fd, out->data + out->len, READ_BYTES);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		total += (size_t)n;
		if (total > max) {
			errno = EFBIG;
			return -1;
		}
		out->len += (size_t)n;
	}
}

int
file_read(const char *dir, const char *name, size_t max, struct buf *out)
{
	char *path = join(dir, name);
	size_t len_before = out->len;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = -1;
	int cause = errno;

	if (fd != -1) {
		rc = read_whole(fd, max, out);
		cause = errno;
		if (rc == -1)
			out->len = len_before;
		(void)close(fd); /* nothing was written */
	}
	mem_free(path);
	errno = cause;
	return rc;
}
