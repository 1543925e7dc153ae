/* Directories of stores; see dirs.h. */
#include "kvd/dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

struct dirs_path
dirs_path(const char *kv_dir, const char *engine, const char *suffix)
{
	struct dirs_path p;

	(void)snprintf(
	    p.text, sizeof p.text, "%s/%s%s", kv_dir, engine, suffix);
	return p;
}

int
dirs_empty(const char *dir, const char *last)
{
	const struct dirent *entry;
	DIR *d = opendir(dir);
	int rc = 0, cause;

	if (d == NULL)
		return -1;
	while (rc == 0 && (errno = 0, entry = readdir(d), entry != NULL))
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0 &&
		    strcmp(entry->d_name, last) != 0)
			rc = unlinkat(dirfd(d), entry->d_name, 0);
	if (errno != 0)
		rc = -1;
	if (rc == 0)
		rc = fsync(dirfd(d));
	cause = errno;
	(void)closedir(d); /* only read */
	errno = cause;
	return rc;
}

/* Of errno.  A disk that is full can be told from one that is broken. */
static enum err
fail(const char *what, const char *path)
{
	const enum err rc = errno == ENOSPC ? ERR_NO_SPACE : ERR_IO;

	log_error("cannot %s directory dir=%s", what, path);
	return rc;
}

/* Is there something of that name?  What cannot be looked at is there: the
 * next call says what is wrong with it. */
static bool
exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 || errno != ENOENT;
}

bool
dirs_exists(const char *kv_dir, const char *engine)
{
	return exists(dirs_path(kv_dir, engine, "").text);
}

/* Rename and make it last. */
static enum err
move(const char *kv_dir, const char *from, const char *to)
{
	if (rename(from, to) == -1)
		return fail("rename", from);
	if (file_sync_dir(kv_dir) == -1)
		return fail("sync", kv_dir);
	return ERR_OK;
}

static enum err
remove_gone(const char *kv_dir, const char *engine)
{
	const struct dirs_path gone = dirs_path(kv_dir, engine, ".gone");

	if (!exists(gone.text))
		return ERR_OK;
	if (dirs_empty(gone.text, "") == -1 || rmdir(gone.text) == -1)
		return fail("remove", gone.text);
	return ERR_OK;
}

/* In two steps: a directory without some of its files is never taken for a
 * store. */
static enum err
remove_dir(const char *kv_dir, const char *engine, const char *suffix)
{
	const struct dirs_path dir = dirs_path(kv_dir, engine, suffix);
	const struct dirs_path gone = dirs_path(kv_dir, engine, ".gone");
	enum err rc;

	if (!exists(dir.text))
		return ERR_OK;
	if ((rc = remove_gone(kv_dir, engine)) != ERR_OK ||
	    (rc = move(kv_dir, dir.text, gone.text)) != ERR_OK)
		return rc;
	return remove_gone(kv_dir, engine);
}

enum err
dirs_recover(const char *kv_dir, const char *engine)
{
	const struct dirs_path store = dirs_path(kv_dir, engine, "");
	const struct dirs_path old = dirs_path(kv_dir, engine, ".old");
	enum err rc;

	/* Between the two renames of dirs_swap(): as if it had not begun. */
	if (!exists(store.text) && exists(old.text) &&
	    (rc = move(kv_dir, old.text, store.text)) != ERR_OK)
		return rc;
	if ((rc = remove_gone(kv_dir, engine)) != ERR_OK ||
	    (rc = remove_dir(kv_dir, engine, ".old")) != ERR_OK)
		return rc;
	return remove_dir(kv_dir, engine, ".load");
}

enum err
dirs_make_load(const char *kv_dir, const char *engine)
{
	const struct dirs_path load = dirs_path(kv_dir, engine, ".load");
	enum err rc = remove_dir(kv_dir, engine, ".load");

	if (rc != ERR_OK)
		return rc;
	return mkdir(load.text, 0700) == -1 ? fail("make", load.text) : ERR_OK;
}

void
dirs_remove_load(const char *kv_dir, const char *engine)
{
	(void)remove_dir(kv_dir, engine, ".load"); /* else at the next start */
}

enum err
dirs_swap(const char *kv_dir, const char *engine)
{
	const struct dirs_path store = dirs_path(kv_dir, engine, "");
	const struct dirs_path load = dirs_path(kv_dir, engine, ".load");
	const struct dirs_path old = dirs_path(kv_dir, engine, ".old");
	enum err rc;

	if ((rc = move(kv_dir, store.text, old.text)) != ERR_OK ||
	    (rc = move(kv_dir, load.text, store.text)) != ERR_OK)
		return rc;
	/* The new one is in place; what is left over is removed at the next
	 * start if it cannot be now. */
	(void)remove_dir(kv_dir, engine, ".old");
	return ERR_OK;
}

enum err
dirs_remove(const char *kv_dir, const char *engine)
{
	return remove_dir(kv_dir, engine, "");
}

bool
dirs_has_room(const char *kv_dir, const char *engine)
{
	const struct dirs_path store = dirs_path(kv_dir, engine, "");
	DIR *d = opendir(store.text);
	const struct dirent *entry;
	struct statvfs fs;
	struct stat st;
	uint64_t bytes = 0;

	if (d == NULL || statvfs(kv_dir, &fs) == -1) {
		if (d != NULL)
			(void)closedir(d); /* only read */
		return true;
	}
	while ((entry = readdir(d)) != NULL)
		if (fstatat(dirfd(d), entry->d_name, &st,
			AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	(void)closedir(d); /* only read */
	return (uint64_t)fs.f_bavail * fs.f_frsize > bytes + bytes / 2;
}

uint64_t
dirs_free_bytes(const char *kv_dir)
{
	struct statvfs fs;

	if (statvfs(kv_dir, &fs) == -1)
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

bool
dirs_exists_damaged(const char *kv_dir, const char *engine)
{
	return exists(dirs_path(kv_dir, engine, ".damaged").text);
}

enum err
dirs_set_aside(const char *kv_dir, const char *engine)
{
	const struct dirs_path store = dirs_path(kv_dir, engine, "");
	const struct dirs_path aside = dirs_path(kv_dir, engine, ".damaged");

	if (exists(aside.text))
		return remove_dir(kv_dir, engine, "");
	return move(kv_dir, store.text, aside.text);
}

enum err
dirs_remove_damaged(const char *kv_dir, const char *engine)
{
	return remove_dir(kv_dir, engine, ".damaged");
}
