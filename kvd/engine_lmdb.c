/* The LMDB engine: a B+ tree in a memory-mapped file, for read-mostly use.
 *
 * Commits are not synced (MDB_NOSYNC): Raft's log is the durability.  The page
 * cache survives SIGKILL, so the process may die at any time; after a power
 * cut the file can be damaged in ways that LMDB does not notice (a meta page
 * may be on disk before its pages), even if it was synced once: marker.h keeps
 * such a file from being opened.
 *
 * MDB_WRITEMAP is not used: SIGBUS on a full disk, and a stray pointer of ours
 * could damage the file.  The map is huge and sparse; it costs addresses only.
 * Readers see the last commit before they began, and neither wait for the
 * writer nor stop it; with MDB_NOTLS a reader is of no thread.  mdb_env_sync is
 * allowed beside a writer. */
#include "kvd/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"
#include "kvd/places.h"
#include "kvd/record.h"
#include "proto/limits.h"

#define MAP_BYTES_MAX ((size_t)1 << 40)
#define MAP_BYTES_MIN ((size_t)64 << 20)
#define MAP_BYTES_STEP ((size_t)1 << 20) /* a multiple of any page size */

struct engine {
	MDB_env *env;
	MDB_dbi dbi;
	/* For get.  While it is renewed it pins the pages that a write gives
	 * up, see release; and what was found stays where it is. */
	MDB_txn *reader;
	MDB_cursor *cursor; /* of reader */
	struct places places;
	bool reading;                  /* reader is renewed, */
	uint_fast64_t reading_commits; /* when there were so many */
	atomic_uint_fast64_t commits;  /* by the writing thread */
	struct mono reader_check;      /* the next one; of the syncing thread */
	void (*rest)(void *);          /* between parts of a write; or NULL */
	void *rest_arg;
	/* The file's pages as this process sees them; NULL: not known. */
	void *map;
	size_t map_bytes;
	size_t unmapped_writes; /* since unmap_pages() */
	unsigned views;         /* that are open */
};

struct engine_iter {
	struct engine *engine;
	MDB_txn *txn;
	MDB_cursor *cursor;
	struct buf prefix;
	struct buf from;
	bool started;
};

static enum err
fail(const char *what, int rc)
{
	enum err e = ERR_IO;

	if (rc == MDB_MAP_FULL || rc == ENOSPC || rc == EDQUOT)
		e = ERR_NO_SPACE;
	else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND ||
		 rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
		e = ERR_CORRUPT;
	log_errorx("lmdb failed call=%s cause=\"%s\"", what, mdb_strerror(rc));
	return e;
}

static MDB_val
val_of(struct bytes b)
{
	return (MDB_val){
	    .mv_size = b.len, .mv_data = (void *)(uintptr_t)b.data};
}

static struct bytes
bytes_of_val(MDB_val v)
{
	return (struct bytes){.data = v.mv_data, .len = v.mv_size};
}

/* Slots of readers that were killed (a tool that looked at the file) pin
 * pages, and the file grows. */
#define READER_CHECK_MS 5000u

/* Of the file, in one slice. */
#define WRITE_OUT_BYTES ((off64_t)1 << 20)

/* Half of the addresses that this process may have, at most MAP_BYTES_MAX. */
static size_t
map_bytes_wanted(void)
{
	struct rlimit limit;
	size_t bytes = MAP_BYTES_MAX;

	if (engine_sizes.lmdb_map_bytes > 0 &&
	    engine_sizes.lmdb_map_bytes < bytes)
		bytes = (size_t)engine_sizes.lmdb_map_bytes;
	if (getrlimit(RLIMIT_AS, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / 2 < bytes)
		bytes = (size_t)limit.rlim_cur / 2;
	return bytes - bytes % MAP_BYTES_STEP;
}

static int
env_open_sized(MDB_env **envp, const char *dir, size_t map_bytes)
{
	MDB_env *env;
	int rc;

	if ((rc = mdb_env_create(&env)) != 0)
		return rc;
	if ((rc = mdb_env_set_mapsize(env, map_bytes)) != 0 ||
	    (rc = mdb_env_open(env, dir, MDB_NOSYNC | MDB_NOTLS, 0600)) != 0) {
		mdb_env_close(env); /* also after a failed open */
		return rc;
	}
	*envp = env;
	return 0;
}

/* Refused addresses: try with half as many. */
static int
env_open(MDB_env **envp, const char *dir)
{
	size_t map_bytes = map_bytes_wanted();
	int rc = env_open_sized(envp, dir, map_bytes);

	while (rc == ENOMEM && map_bytes / 2 >= MAP_BYTES_MIN) {
		map_bytes /= 2;
		map_bytes -= map_bytes % MAP_BYTES_STEP;
		rc = env_open_sized(envp, dir, map_bytes);
	}
	if (rc == 0 && map_bytes < MAP_BYTES_MAX &&
	    engine_sizes.lmdb_map_bytes == 0)
		log_warnx("address space is limited, so is the store "
			  "bytes_max=%zu",
		    map_bytes);
	return rc;
}

static int
open_dbi(struct engine *e)
{
	MDB_txn *txn;
	int rc;

	if ((rc = mdb_txn_begin(e->env, NULL, 0, &txn)) != 0)
		return rc;
	if ((rc = mdb_dbi_open(txn, NULL, 0, &e->dbi)) != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* LMDB does not tell where its map is. */
static void
find_map(struct engine *e)
{
	unsigned long from, to, inode;
	unsigned major, minor;
	char line[PATH_MAX + 256];
	struct stat st;
	FILE *maps;
	int fd;

	if (mdb_env_get_fd(e->env, &fd) != 0 || fstat(fd, &st) == -1 ||
	    (maps = fopen("/proc/self/maps", "re")) == NULL)
		return;
	while (e->map == NULL && fgets(line, sizeof line, maps) != NULL) {
		if (sscanf(line, "%lx-%lx %*s %*s %x:%x %lu", &from, &to,
			&major, &minor, &inode) != 5 ||
		    inode != st.st_ino || makedev(major, minor) != st.st_dev)
			continue;
		e->map = (void *)from;
		e->map_bytes = to - from;
	}
	(void)fclose(maps); /* only read */
}

static void
close_env(struct engine *e)
{
	places_free(&e->places);
	if (e->cursor != NULL)
		mdb_cursor_close(e->cursor);
	if (e->reader != NULL)
		mdb_txn_abort(e->reader);
	e->cursor = NULL;
	e->reader = NULL;
	e->reading = false;
	mdb_env_close(e->env); /* NULL is allowed */
	e->env = NULL;
	e->map = NULL;
}

static void
lmdb_close(struct engine *e)
{
	if (e == NULL)
		return;
	close_env(e);
	mem_free(e);
}

/* On an error what is open is closed by close_env(). */
static enum err
open_env(struct engine *e, const char *dir)
{
	int dead; /* reader slots of killed processes, which pin pages */
	int rc;

	if ((rc = env_open(&e->env, dir)) != 0)
		return fail("env_open", rc);
	if ((rc = mdb_reader_check(e->env, &dead)) != 0 ||
	    (rc = open_dbi(e)) != 0 ||
	    (rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &e->reader)) != 0) {
		e->reader = NULL;
		return fail("open", rc);
	}
	if ((rc = mdb_cursor_open(e->reader, e->dbi, &e->cursor)) != 0) {
		e->cursor = NULL;
		return fail("cursor_open", rc);
	}
	e->reading = true;
	e->reading_commits = atomic_load(&e->commits);
	find_map(e);
	return ERR_OK;
}

static enum err
lmdb_open(struct engine **ep, const char *dir)
{
	struct engine *e = mem_zalloc(1, sizeof *e);
	enum err rc = open_env(e, dir);

	if (rc == ERR_OK)
		*ep = e;
	else
		lmdb_close(e);
	return rc;
}

static size_t
last_transaction(const struct engine *e)
{
	MDB_envinfo info = {0};

	(void)mdb_env_info(e->env, &info); /* it is open: no error */
	return info.me_last_txnid;
}

/* LMDB keeps every page that a transaction changed, for the next one, until it
 * is closed; and the pages of the file that were read are not mapped any more
 * then.  What is opened again must be what was closed: somebody may have moved
 * the directory. */
static enum err
lmdb_shrink(struct engine *e)
{
	const size_t last = last_transaction(e);
	const char *path;
	char *dir;
	enum err rc;

	assert(e->views == 0); /* they would look into what is closed */
	(void)mdb_env_get_path(e->env, &path); /* it is open: no error */
	dir = mem_strdup(path);
	close_env(e);
	rc = open_env(e, dir);
	if (rc == ERR_OK && last_transaction(e) != last) {
		log_errorx("the store was replaced while kvd used it; start "
			   "kvd again dir=%s",
		    dir);
		rc = ERR_IO;
	}
	mem_free(dir);
	return rc;
}

/* What is read from the file is not larger than what was written to it: else
 * the page is damaged.  (Where LMDB follows such a size beyond the file the
 * process gets SIGBUS: marker_condemn_on_fault().) */
static bool
is_whole(MDB_val name, MDB_val record)
{
	return name.mv_size >= 1 && name.mv_size <= ENGINE_NAME_BYTES_MAX &&
	       record.mv_size <= ENGINE_RECORD_BYTES_MAX;
}

/* The last name of the store, copied; len 0: there is none. */
static int
find_last(MDB_cursor *cursor, uint8_t *last, size_t *len)
{
	MDB_val key, val;
	int rc = mdb_cursor_get(cursor, &key, &val, MDB_LAST);

	*len = 0;
	if (rc == 0) {
		if (!is_whole(key, val))
			return MDB_CORRUPTED;
		memcpy(last, key.mv_data, key.mv_size);
		*len = key.mv_size;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
remove_one(MDB_cursor *cursor, MDB_val key)
{
	int rc = mdb_cursor_get(cursor, &key, NULL, MDB_SET);

	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? mdb_cursor_del(cursor, 0) : rc;
}

/* Of a transaction that replaces many pages. */
#define LARGE_WRITES 1024u

/* Of a write, between two rests: a quarter of a millisecond, about. */
#define PART_WRITES 256u
#define PART_BYTES ((size_t)128 << 10)

static void
rest_after_part(struct engine *e, const struct engine_write *w, size_t *writes,
    size_t *bytes)
{
	*writes += 1;
	*bytes += w->record.len;
	if (*writes < PART_WRITES && *bytes < PART_BYTES)
		return;
	*writes = *bytes = 0;
	if (e->rest != NULL)
		e->rest(e->rest_arg);
}

/* One cursor for all: names that come in order are mostly found on the page
 * where it stands.  What comes in order behind all others, as a whole state
 * does, is appended: full pages instead of half full ones. */
static int
put_all(struct engine *e, MDB_cursor *cursor, const struct engine_write *writes,
    size_t n)
{
	uint8_t last[ENGINE_NAME_BYTES_MAX];
	size_t last_len, part_writes = 0, part_bytes = 0;
	int rc = find_last(cursor, last, &last_len);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct bytes name = writes[i].name;
		const bool append =
		    bytes_compare(name, bytes_of(last, last_len)) > 0;
		MDB_val key = val_of(name), val = val_of(writes[i].record);

		assert(name.len > 0);
		assert(name.len <= ENGINE_NAME_BYTES_MAX);
		rest_after_part(e, &writes[i], &part_writes, &part_bytes);
		if (writes[i].remove) {
			rc = remove_one(cursor, key);
			continue;
		}
		rc =
		    mdb_cursor_put(cursor, &key, &val, append ? MDB_APPEND : 0);
		if (append) {
			memcpy(last, name.data, name.len);
			last_len = name.len;
		}
	}
	return rc;
}

static int
write_all(
    struct engine *e, MDB_txn *txn, const struct engine_write *writes, size_t n)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, e->dbi, &cursor);

	if (rc != 0)
		return rc;
	rc = put_all(e, cursor, writes, n);
	mdb_cursor_close(cursor); /* before the transaction ends */
	return rc;
}

/* One transaction; *pages: of the tree after it. */
static enum err
write_once(struct engine *e, const struct engine_write *writes, size_t n,
    size_t *pages)
{
	MDB_stat stat;
	MDB_txn *txn;
	int rc;

	if ((rc = mdb_txn_begin(e->env, NULL, 0, &txn)) != 0)
		return fail("txn_begin", rc);
	if ((rc = write_all(e, txn, writes, n)) != 0 ||
	    (rc = mdb_stat(txn, e->dbi, &stat)) != 0) {
		mdb_txn_abort(txn);
		return fail("put", rc);
	}
	*pages =
	    stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	if ((rc = mdb_txn_commit(txn)) != 0)
		return fail("txn_commit", rc);
	return ERR_OK;
}

/* Every write gives the pages that it replaces up, wherever in the file they
 * are; what was read of them stays in this process's memory though nobody will
 * read it again.  So after as many writes as the tree has pages they all leave
 * it; who reads one gets it back from the page cache. */
static void
unmap_pages(struct engine *e, size_t writes, size_t pages)
{
	e->unmapped_writes += writes;
	if (e->map == NULL || e->unmapped_writes < pages)
		return;
	e->unmapped_writes = 0;
	if (madvise(e->map, e->map_bytes, MADV_DONTNEED) == -1)
		log_debug("pages of the store stay mapped");
}

/* What a transaction gives up can be used by the next but one.  After a large
 * one comes one that changes nothing, which is that next one: so the file is
 * twice as large as what it holds, when all of it is replaced again and again,
 * and not three times. */
static enum err
lmdb_write(struct engine *e, const struct engine_write *writes, size_t n)
{
	size_t pages;
	enum err rc = write_once(e, writes, n, &pages);

	if (rc == ERR_OK && n >= LARGE_WRITES && !writes[n - 1].remove)
		rc = write_once(e, &writes[n - 1], 1, &pages);
	if (rc != ERR_OK)
		return rc;
	atomic_fetch_add(&e->commits, 1);
	unmap_pages(e, n, pages);
	return ERR_OK;
}

static void
lmdb_set_rest(struct engine *e, void (*rest)(void *), void *arg)
{
	e->rest = rest;
	e->rest_arg = arg;
}

/* An error of the file is reported once: here, and then not by the sync that
 * follows. */
static enum err
lmdb_write_out(struct engine *e, uint64_t *at)
{
	struct stat st;
	int fd;

	if (mdb_env_get_fd(e->env, &fd) != 0 || fstat(fd, &st) == -1)
		return fail("write_out", errno);
	if (sync_file_range(fd, (off64_t)*at, WRITE_OUT_BYTES,
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
		    SYNC_FILE_RANGE_WAIT_AFTER) == -1) {
		if (errno != ENOSYS && errno != EPERM && errno != EINVAL &&
		    errno != ESPIPE)
			return fail("write_out", errno);
		*at = 0; /* not on this system: the sync does it all */
		return ERR_OK;
	}
	*at += WRITE_OUT_BYTES;
	if (*at >= (uint64_t)st.st_size)
		*at = 0;
	return ERR_OK;
}

static enum err
lmdb_sync(struct engine *e)
{
	int dead, rc;

	if (mono_reached(e->reader_check, mono_now())) {
		e->reader_check = mono_add_ms(mono_now(), READER_CHECK_MS);
		if ((rc = mdb_reader_check(e->env, &dead)) != 0)
			return fail("reader_check", rc);
	}
	rc = mdb_env_sync(e->env, 1);
	return rc == 0 ? ERR_OK : fail("env_sync", rc);
}

static void
lmdb_release(struct engine *e)
{
	if (e->reading)
		mdb_txn_reset(e->reader);
	e->reading = false;
	places_forget(&e->places);
}

/* It sees every write that is complete. */
static int
renew_reader(struct engine *e)
{
	const uint_fast64_t commits = atomic_load(&e->commits);
	int rc;

	if (e->reading && e->reading_commits == commits)
		return 0;
	lmdb_release(e);
	if ((rc = mdb_txn_renew(e->reader)) != 0)
		return rc;
	e->reading = true;
	if ((rc = mdb_cursor_renew(e->reader, e->cursor)) != 0)
		return rc;
	e->reading_commits = commits;
	return 0;
}

static enum err
lmdb_get(struct engine *e, struct bytes name, struct bytes *record)
{
	const uint64_t hash = record_hash(name);
	MDB_val key = val_of(name);
	MDB_val val;
	int rc;

	if ((rc = renew_reader(e)) != 0)
		return fail("txn_renew", rc);
	if (places_find(&e->places, name, hash, record))
		return ERR_OK;
	rc = mdb_cursor_get(e->cursor, &key, &val, MDB_SET_KEY);
	if (rc == MDB_NOTFOUND)
		return ERR_NOT_FOUND;
	if (rc != 0)
		return fail("get", rc);
	places_put(&e->places, bytes_of_val(key), hash, bytes_of_val(val));
	*record = bytes_of_val(val);
	return ERR_OK;
}

static void
lmdb_scan_close(struct engine_iter *i)
{
	if (i == NULL)
		return;
	if (i->cursor != NULL)
		mdb_cursor_close(i->cursor);
	if (i->txn != NULL)
		mdb_txn_abort(i->txn);
	i->engine->views--;
	buf_free(&i->prefix);
	buf_free(&i->from);
	mem_free(i);
}

static enum err
lmdb_scan(struct engine *e, struct bytes prefix, struct bytes from,
    struct engine_iter **ip)
{
	struct engine_iter *i = mem_zalloc(1, sizeof *i);
	int rc;

	i->engine = e;
	e->views++;
	if (bytes_compare(from, prefix) < 0)
		from = prefix;
	buf_append(&i->prefix, prefix.data, prefix.len);
	buf_append(&i->from, from.data, from.len);
	if ((rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &i->txn)) != 0) {
		i->txn = NULL;
		lmdb_scan_close(i);
		return fail("txn_begin", rc);
	}
	if ((rc = mdb_cursor_open(i->txn, e->dbi, &i->cursor)) != 0) {
		i->cursor = NULL;
		lmdb_scan_close(i);
		return fail("cursor_open", rc);
	}
	*ip = i;
	return ERR_OK;
}

static enum err
lmdb_scan_next(struct engine_iter *i, struct bytes *name, struct bytes *record)
{
	const struct bytes prefix = buf_bytes(&i->prefix);
	MDB_val key = val_of(buf_bytes(&i->from));
	MDB_val val;
	MDB_cursor_op op = MDB_NEXT;
	int rc;

	if (!i->started)
		op = key.mv_size == 0 ? MDB_FIRST : MDB_SET_RANGE;
	i->started = true;
	rc = mdb_cursor_get(i->cursor, &key, &val, op);
	if (rc == MDB_NOTFOUND)
		return ERR_NOT_FOUND;
	if (rc != 0)
		return fail("cursor_get", rc);
	if (!is_whole(key, val))
		return fail("cursor_get", MDB_CORRUPTED);
	if (key.mv_size < prefix.len ||
	    !bytes_equal(bytes_of(key.mv_data, prefix.len), prefix))
		return ERR_NOT_FOUND;
	*name = bytes_of_val(key);
	*record = bytes_of_val(val);
	return ERR_OK;
}

const struct engine_ops engine_lmdb = {
    .name = "lmdb",
    .durable = true,
    .concurrent = true,
    .open = lmdb_open,
    .write = lmdb_write,
    .set_rest = lmdb_set_rest,
    .write_out = lmdb_write_out,
    .sync = lmdb_sync,
    .get = lmdb_get,
    .release = lmdb_release,
    .shrink = lmdb_shrink,
    .scan = lmdb_scan,
    .scan_next = lmdb_scan_next,
    .scan_close = lmdb_scan_close,
    .close = lmdb_close,
};
