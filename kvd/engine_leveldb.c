/* The LevelDB engine: a log-structured merge tree, for write-mostly use.
 *
 * Writes go to LevelDB's log unsynced.  SIGKILL loses nothing (each record
 * reaches the page cache before the call returns).  sync does not use
 * LevelDB's own synced write, for two reasons: LevelDB starts a new log file
 * now and then and never syncs the old one, so a synced write to the new one
 * says nothing about what is still in the old one only; and it would make the
 * loop's writes queue behind the disk.  Instead all log files are
 * synced, older ones first; tables and the manifest LevelDB syncs itself
 * before it removes the log they were made from.
 *
 * A merge of tables writes what it makes before it removes what it was made
 * from.  Of table files of T bytes and a write buffer of W it takes, for a
 * moment, up to 25 T (kExpandedCompaction in db/version_set.cc), or for the
 * youngest level 12 W and about 16 MiB (kL0_StopWritesTrigger files, and level
 * 1); logs and tables of the buffers are up to 6 W more.  So that a nearly full
 * disk is not filled by it, both sizes follow the size of the disk: all that
 * stays below a 20th of it (but for disks under 800 MiB, where 1 MiB, the
 * smallest T, is the bound).  raftd keeps twice as much free (space.c).
 *
 * leveldb_create_snapshot is never called: with a snapshot 1.23 may split the
 * versions of a key over two files and bring old ones back (fixed upstream in
 * 13e3c4e, not in Debian 12).  A plain iterator is a frozen view too. */
#include "kvd/engine.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define TABLE_BYTES_MIN ((uint64_t)1 << 20) /* LevelDB's own limit */
#define TABLE_BYTES_MAX ((uint64_t)8 << 20)
#define BUFFER_BYTES_MIN ((uint64_t)256 << 10)
#define DISK_PART 20u    /* of the disk a merge may take for a moment */
#define MERGE_TABLES 32u /* 25, and some that are being made */
#define MERGE_BUFFERS 18u
#define LEVEL1_BYTES ((uint64_t)16 << 20)
#define OPEN_FILES_MAX 512
#define BLOOM_BITS_PER_NAME 10

struct engine {
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_filterpolicy_t *bloom;
	leveldb_cache_t *cache;
	leveldb_readoptions_t *get_options;
	leveldb_readoptions_t *scan_options;
	leveldb_writeoptions_t *write_options;
	leveldb_writebatch_t *batch; /* empty between writes */
	char *record; /* leveldb_get's last; lent to the caller */
	char *dir;
};

struct engine_iter {
	leveldb_iterator_t *it;
	struct buf prefix;
	bool started;
};

/* Takes error, one of LevelDB's texts. */
static enum err
fail(const char *what, char *error)
{
	enum err e = ERR_IO;

	if (strstr(error, strerrordesc_np(ENOSPC)) != NULL)
		e = ERR_NO_SPACE;
	else if (strncmp(error, "Corruption", strlen("Corruption")) == 0)
		e = ERR_CORRUPT;
	log_errorx("leveldb failed call=%s cause=\"%s\"", what, error);
	leveldb_free(error);
	return e;
}

static void
leveldb_engine_close(struct engine *e)
{
	if (e == NULL)
		return;
	if (e->db != NULL)
		leveldb_close(e->db);
	leveldb_writebatch_destroy(e->batch);
	leveldb_writeoptions_destroy(e->write_options);
	leveldb_readoptions_destroy(e->scan_options);
	leveldb_readoptions_destroy(e->get_options);
	leveldb_options_destroy(e->options);
	leveldb_filterpolicy_destroy(e->bloom); /* after the database */
	leveldb_cache_destroy(e->cache);
	leveldb_free(e->record);
	mem_free(e->dir);
	mem_free(e);
}

/* More at once gains nothing, as a buffer takes several of them, and takes
 * memory here, as a batch and in the buffer. */
#define WRITE_BYTES (UINT64_C(8) << 20)

static uint64_t
within(uint64_t min, uint64_t x, uint64_t max)
{
	return x < min ? min : x > max ? max : x;
}

/* What the disk below dir allows, see above; on one of 12 GiB that is what the
 * options say. */
static void
choose_sizes(const char *dir, uint64_t *table, uint64_t *buffer)
{
	const uint64_t wanted = engine_sizes.leveldb_write_buffer_bytes;
	struct statvfs st;
	uint64_t part;

	*table = TABLE_BYTES_MAX;
	*buffer = wanted;
	engine_sizes.write_bytes = WRITE_BYTES;
	if (statvfs(dir, &st) != 0)
		return; /* opening it says what is wrong */
	part = (uint64_t)st.f_blocks * st.f_frsize / DISK_PART;
	*table = within(TABLE_BYTES_MIN, part / MERGE_TABLES, TABLE_BYTES_MAX);
	part = part > LEVEL1_BYTES ? (part - LEVEL1_BYTES) / MERGE_BUFFERS : 0;
	*buffer = part < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : part;
	if (*buffer > wanted)
		*buffer = wanted;
	/* What is written at once becomes one table of the youngest level. */
	if (*buffer < wanted) {
		if (engine_sizes.write_bytes > *buffer)
			engine_sizes.write_bytes = *buffer;
		log_info(
		    "leveldb: a small disk, so smaller files table=%" PRIu64
		    " write_buffer=%" PRIu64 " instead_of=%" PRIu64,
		    *table, *buffer, wanted);
	}
}

static leveldb_options_t *
options_new(
    const char *dir, leveldb_filterpolicy_t *bloom, leveldb_cache_t *cache)
{
	leveldb_options_t *o = leveldb_options_create();
	uint64_t table, buffer;

	choose_sizes(dir, &table, &buffer);

	leveldb_options_set_create_if_missing(o, 1);
	/* Without it damaged log records are skipped in silence. */
	leveldb_options_set_paranoid_checks(o, 1);
	leveldb_options_set_compression(o, leveldb_no_compression);
	leveldb_options_set_write_buffer_size(o, (size_t)buffer);
	leveldb_options_set_cache(o, cache);
	leveldb_options_set_max_file_size(o, (size_t)table);
	leveldb_options_set_max_open_files(o, OPEN_FILES_MAX);
	leveldb_options_set_filter_policy(o, bloom);
	return o;
}

static enum err
leveldb_engine_open(struct engine **ep, const char *dir)
{
	struct engine *e = mem_zalloc(1, sizeof *e);
	char *error = NULL;

	e->dir = mem_strdup(dir);
	e->bloom = leveldb_filterpolicy_create_bloom(BLOOM_BITS_PER_NAME);
	e->cache =
	    leveldb_cache_create_lru((size_t)engine_sizes.leveldb_cache_bytes);
	e->options = options_new(dir, e->bloom, e->cache);
	e->get_options = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(e->get_options, 1);
	e->scan_options = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(e->scan_options, 1);
	leveldb_readoptions_set_fill_cache(e->scan_options, 0);
	e->write_options = leveldb_writeoptions_create(); /* unsynced */
	e->batch = leveldb_writebatch_create();
	e->db = leveldb_open(e->options, dir, &error);
	if (error != NULL) {
		leveldb_engine_close(e);
		return fail("open", error);
	}
	*ep = e;
	return ERR_OK;
}

static enum err
leveldb_engine_write(
    struct engine *e, const struct engine_write *writes, size_t n)
{
	char *error = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct bytes name = writes[i].name;
		const struct bytes record = writes[i].record;

		assert(name.len > 0);
		assert(name.len <= ENGINE_NAME_BYTES_MAX);
		if (writes[i].remove)
			leveldb_writebatch_delete(
			    e->batch, (const char *)name.data, name.len);
		else
			leveldb_writebatch_put(e->batch,
			    (const char *)name.data, name.len,
			    record.len > 0 ? (const char *)record.data : "",
			    record.len);
	}
	leveldb_write(e->db, e->write_options, e->batch, &error);
	leveldb_writebatch_clear(e->batch);
	return error == NULL ? ERR_OK : fail("write", error);
}

/* --- sync --- */

/* The number of a log file ("000123.log"), or 0. */
static uint64_t
log_file_number(const char *name)
{
	char *end;
	uint64_t number;

	if (name[0] < '0' || name[0] > '9')
		return 0;
	errno = 0;
	number = strtoull(name, &end, 10);
	return errno == 0 && strcmp(end, ".log") == 0 ? number : 0;
}

static int
number_compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* -1 and errno.  Files that are gone meanwhile are tables by now. */
static int
sync_log_file(int dir, uint64_t number)
{
	char name[32];
	int fd, rc, cause;

	(void)snprintf(name, sizeof name, "%06" PRIu64 ".log", number);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	rc = fdatasync(fd);
	cause = errno;
	(void)close(fd); /* nothing was written through it */
	errno = cause;
	return rc;
}

/* The numbers of all log files, appended to out as uint64_t.  -1 and errno. */
static int
find_log_files(DIR *d, struct buf *out)
{
	const struct dirent *entry;

	while (errno = 0, entry = readdir(d), entry != NULL) {
		const uint64_t number = log_file_number(entry->d_name);

		if (number != 0)
			buf_append(out, &number, sizeof number);
	}
	return errno == 0 ? 0 : -1;
}

static int
sync_log_files(DIR *d, struct buf *numbers)
{
	const size_t size = sizeof(uint64_t);

	if (find_log_files(d, numbers) == -1)
		return -1;
	if (numbers->len > 0)
		qsort(numbers->data, numbers->len / size, size, number_compare);
	for (size_t at = 0; at < numbers->len; at += size) {
		uint64_t number;

		memcpy(&number, numbers->data + at, size);
		if (sync_log_file(dirfd(d), number) == -1)
			return -1;
	}
	return fsync(dirfd(d)); /* a new log's name */
}

static enum err
leveldb_engine_sync(struct engine *e)
{
	DIR *d = opendir(e->dir);
	struct buf numbers = {0};
	enum err rc = ERR_OK;

	if (d == NULL || sync_log_files(d, &numbers) == -1) {
		rc = errno == ENOSPC ? ERR_NO_SPACE : ERR_IO;
		log_error("cannot sync leveldb's log dir=%s", e->dir);
	}
	if (d != NULL)
		(void)closedir(d); /* only read */
	buf_free(&numbers);
	return rc;
}

/* --- reading --- */

static enum err
leveldb_engine_get(struct engine *e, struct bytes name, struct bytes *record)
{
	char *error = NULL;
	size_t len;

	leveldb_free(e->record);
	e->record = leveldb_get(e->db, e->get_options, (const char *)name.data,
	    name.len, &len, &error);
	if (error != NULL)
		return fail("get", error);
	if (e->record == NULL)
		return ERR_NOT_FOUND;
	*record = bytes_of(e->record, len);
	return ERR_OK;
}

static enum err
leveldb_engine_scan(struct engine *e, struct bytes prefix, struct bytes from,
    struct engine_iter **ip)
{
	struct engine_iter *i = mem_zalloc(1, sizeof *i);

	if (bytes_compare(from, prefix) < 0)
		from = prefix;
	buf_append(&i->prefix, prefix.data, prefix.len);
	i->it = leveldb_create_iterator(e->db, e->scan_options);
	leveldb_iter_seek(
	    i->it, from.len > 0 ? (const char *)from.data : "", from.len);
	*ip = i;
	return ERR_OK;
}

static enum err
leveldb_engine_scan_next(
    struct engine_iter *i, struct bytes *name, struct bytes *record)
{
	const struct bytes prefix = buf_bytes(&i->prefix);
	const char *data;
	char *error = NULL;
	size_t len;

	if (i->started && leveldb_iter_valid(i->it))
		leveldb_iter_next(i->it);
	i->started = true;
	if (!leveldb_iter_valid(i->it)) {
		leveldb_iter_get_error(i->it, &error);
		return error == NULL ? ERR_NOT_FOUND : fail("scan", error);
	}
	data = leveldb_iter_key(i->it, &len);
	if (len < prefix.len ||
	    !bytes_equal(bytes_of(data, prefix.len), prefix))
		return ERR_NOT_FOUND;
	*name = bytes_of(data, len);
	data = leveldb_iter_value(i->it, &len);
	*record = bytes_of(data, len);
	return ERR_OK;
}

static void
leveldb_engine_scan_close(struct engine_iter *i)
{
	if (i == NULL)
		return;
	leveldb_iter_destroy(i->it);
	buf_free(&i->prefix);
	mem_free(i);
}

const struct engine_ops engine_leveldb = {
    .name = "leveldb",
    .durable = true,
    .concurrent = true,
    .open = leveldb_engine_open,
    .write = leveldb_engine_write,
    .sync = leveldb_engine_sync,
    .get = leveldb_engine_get,
    .scan = leveldb_engine_scan,
    .scan_next = leveldb_engine_scan_next,
    .scan_close = leveldb_engine_scan_close,
    .close = leveldb_engine_close,
};
