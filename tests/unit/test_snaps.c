/* Which snapshot files are kept, and how far the log is cut: always so that two
 * files that were looked at, byte by byte, make up the state with the log.  The
 * log, the files and the helper thread are real, on disks in memory; the writer
 * and kvd's feed are stood in for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"
#include "raftd/transfer.h"
#include "tests/crash/memdisk.h"

#define LAST 400u
#define ENTRY_BYTES 500u /* a few entries a segment */
#define TERM 3u

struct fixture {
	struct raftd rd;
	struct memdisk *log, *files;
};

static uint64_t published;
static uint64_t needed; /* the log from there on, by other nodes */
static struct fixture *running;

/* ---- stand-ins ---- */

uint64_t
feed_published(const struct feed *f)
{
	(void)f;
	return published;
}

uint64_t
transfers_oldest(const struct transfers *ts, uint64_t index)
{
	(void)ts;
	return needed < index ? needed : index;
}

static struct writer_job *staged;

void
writer_submit(struct writer *wr, struct writer_job **job)
{
	(void)wr;
	assert_null(staged);
	staged = *job;
	*job = NULL;
}

/* ---- */

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));

	f->log = memdisk_new();
	f->files = memdisk_new();
	f->rd.disk = memdisk_disk(f->log);
	f->rd.snap_disk = memdisk_disk(f->files);
	f->rd.identity = (struct wal_identity){1, 1, 5};
	f->rd.loop = loop_open();
	published = LAST;
	needed = UINT64_MAX;
	running = f;
	*state = f;
	return 0;
}

static void
stop(struct fixture *f)
{
	snapio_close(f->rd.snapio);
	snaps_close(&f->rd);
	rlog_close(f->rd.rlog);
	wal_close(f->rd.wal);
	mem_free(staged);
	staged = NULL;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	loop_close(f->rd.loop);
	memdisk_free(f->log);
	memdisk_free(f->files);
	mem_free(f);
	return 0;
}

static void
on_entry(void *arg, const struct raft_entry *e, struct wal_position at)
{
	rlog_recover(arg, e, at);
}

/* As store.c does. */
static void
start(struct fixture *f)
{
	struct raftd *rd = &f->rd;
	struct wal_recovered rec = {0};

	rd->rlog = rlog_open(10000);
	assert_int_equal(
	    wal_open(&rd->wal, &rd->disk, &rec, on_entry, rd->rlog), ERR_OK);
	rlog_begin(rd->rlog, rd->wal, &rec);
	wal_set_limits(rd->wal, 4096, 1024);
	rd->snapio = snapio_open(rd->loop);
	assert_int_equal(snaps_open(rd, rec.mark.index), 0);
	snaps_publish(rd->snaps);
	snaps_check_all(rd->snaps);
}

/* One write to the log, with a mark if it is not 0. */
static void
log_write(struct fixture *f, uint64_t first, uint64_t last, uint64_t marked)
{
	static uint8_t bytes[ENTRY_BYTES];
	struct raft_entry e[LAST];
	struct wal_position at[LAST];
	struct raft_hard_state hs = {.term = TERM, .commit = last};
	struct wal_mark m = {.index = marked, .term = TERM};
	struct wal_batch_item item = {.entries = e,
	    .hard_state = last >= first ? &hs : NULL,
	    .mark = marked != 0 ? &m : NULL};

	for (uint64_t i = first; i <= last; i++) {
		struct blob *b = blob_new(bytes, sizeof(bytes));

		e[item.entry_count++] =
		    (struct raft_entry){.term = TERM, .index = i, .data = b};
	}
	assert_int_equal(wal_write(f->rd.wal, &item, 1, true, at), ERR_OK);
	for (size_t i = 0; i < item.entry_count; i++) {
		rlog_append(f->rd.rlog, &e[i], at[i]);
		blob_unref(&e[i].data);
	}
}

/* A log of LAST entries, nothing else. */
static void
begin(struct fixture *f)
{
	const struct wal_conf conf = {.member_count = 0};

	start(f);
	assert_int_equal(wal_create(f->rd.wal, &f->rd.identity, &conf), ERR_OK);
	for (uint64_t i = 1; i <= LAST; i += 4)
		log_write(f, i, i + 3, 0);
	assert_int_equal(rlog_first(f->rd.rlog), 1);
}

/* A whole file on the disk. */
static struct snapfile_id
file(struct fixture *f, uint64_t index, struct snap_meta *meta)
{
	struct snapfile_writer *w;
	struct snapfile_id id;
	char name[SNAP_NAME_BYTES];

	memset(meta, 0, sizeof(*meta));
	meta->head.index = index;
	meta->head.term = TERM;
	meta->identity = f->rd.identity;
	snapfile_name(index, name);
	assert_int_equal(
	    snapfile_create(&w, &f->rd.snap_disk, "a.part", meta), ERR_OK);
	assert_int_equal(snapfile_put(w, bytes_of_str("state")), ERR_OK);
	assert_int_equal(snapfile_finish(w, name, &id), ERR_OK);
	snapfile_drop(w);
	return id;
}

static bool
exists(struct fixture *f, uint64_t index)
{
	char name[SNAP_NAME_BYTES];

	snapfile_name(index, name);
	return memdisk_file(f->files, name) != NULL;
}

struct barrier {
	struct snapio_job job; /* first */
	bool passed;
};

static bool
barrier_run(struct snapio_job *job)
{
	(void)job;
	return false;
}

static void
barrier_done(struct snapio_job *job, bool cancelled)
{
	(void)cancelled;
	((struct barrier *)job)->passed = true;
}

/* Turns of raftd until the helper thread has nothing to do and no mark is on
 * its way; marks are made durable if they may be. */
static void
settle(struct fixture *f, bool marks)
{
	for (int i = 0; i < 4; i++) { /* a check, a mark, a removal, a cut */
		struct barrier b = {
		    .job = {.run = barrier_run, .done = barrier_done}};

		snapio_submit(f->rd.snapio, &b.job);
		while (!b.passed) {
			(void)loop_wait(f->rd.loop, MONO_NEVER);
			snapio_take(f->rd.snapio);
		}
		snaps_run(f->rd.snaps);
		if (staged != NULL && marks) {
			uint64_t index = staged->mark.index;

			assert_false(staged->mark.replaces);
			log_write(f, 1, 0, index);
			mem_free(staged);
			staged = NULL;
			snaps_marked(f->rd.snaps, index);
		}
	}
}

static void
add(struct fixture *f, uint64_t index)
{
	struct snap_meta meta;
	struct snapfile_id id = file(f, index, &meta);

	snaps_add(f->rd.snaps, &meta, &id);
	settle(f, true);
}

/* The log begins at or shortly before this index. */
static void
assert_cut_to(struct fixture *f, uint64_t index)
{
	assert_true(rlog_first(f->rd.rlog) <= index + 1);
	assert_true(rlog_first(f->rd.rlog) + 12 > index);
}

/* ---- tests ---- */

static void
two_are_kept_and_the_log_is_cut_behind_the_older(void **state)
{
	struct fixture *f = *state;

	begin(f);
	add(f, 100);
	assert_int_equal(rlog_first(f->rd.rlog), 1);
	add(f, 200);
	assert_cut_to(f, 100);
	add(f, 300);
	assert_cut_to(f, 200);
	assert_false(exists(f, 100));
	assert_true(exists(f, 200));
	assert_true(exists(f, 300));
}

/* A node that reads on, or is not waited for any longer: there may be no other
 * snapshot for a long time, nor ever if the disk is full of what is kept. */
static void
what_nobody_needs_any_more_is_cut_without_another_snapshot(void **state)
{
	struct fixture *f = *state;

	begin(f);
	needed = 50;
	add(f, 100);
	add(f, 200);
	assert_cut_to(f, 50);
	add(f, 300);
	assert_cut_to(f, 50);
	needed = 150;
	settle(f, true);
	assert_cut_to(f, 150);
	needed = UINT64_MAX;
	settle(f, true);
	assert_cut_to(f, 200);
	assert_true(exists(f, 200));
	assert_true(exists(f, 300));
}

/* Files from another node that were not installed before a crash. */
static void
files_ahead_of_the_log_do_not_count(void **state)
{
	struct fixture *f = *state;
	const struct snap *s;

	begin(f);
	add(f, 100);
	add(f, 900);
	add(f, 950);
	assert_true(exists(f, 100)); /* it alone joins the log */
	assert_int_equal(rlog_first(f->rd.rlog), 1);
	add(f, 200);
	add(f, 300);
	assert_true(exists(f, 200));
	assert_true(exists(f, 300));
	assert_false(exists(f, 900)); /* the newest of them is enough */
	assert_true(exists(f, 950));
	assert_cut_to(f, 200);
	s = snaps_between(f->rd.snaps, rlog_first(f->rd.rlog) - 1, published);
	assert_int_equal(s->meta.head.index, 300);
}

/* The log has grown up to it: it is one like the others. */
static void
a_file_ahead_counts_once_the_log_reaches_it(void **state)
{
	struct fixture *f = *state;

	published = 250;
	begin(f);
	add(f, 100);
	add(f, 200);
	add(f, 300);
	assert_cut_to(f, 100);
	published = 299;
	settle(f, true);
	assert_true(exists(f, 100));
	published = 300;
	settle(f, true);
	assert_false(exists(f, 100));
	assert_cut_to(f, 200);
}

/* SIGKILL between the mark and the cut. */
static void
what_was_marked_is_cut_at_the_next_start(void **state)
{
	struct fixture *f = *state;
	struct snap_meta meta;

	begin(f);
	(void)file(f, 100, &meta);
	(void)file(f, 200, &meta);
	(void)file(f, 300, &meta);
	log_write(f, 1, 0, 300);
	stop(f);
	start(f);
	assert_int_equal(rlog_first(f->rd.rlog), 1);
	settle(f, true);
	assert_cut_to(f, 200);
	assert_false(exists(f, 100));
	stop(f);
	start(f); /* what is left is a log */
	assert_cut_to(f, 200);
	assert_int_equal(rlog_last(f->rd.rlog), LAST);
}

/* SIGKILL between the file's name and its mark. */
static void
what_was_not_marked_is_marked_at_the_next_start(void **state)
{
	struct fixture *f = *state;
	struct snap_meta meta;

	begin(f);
	(void)file(f, 100, &meta);
	log_write(f, 1, 0, 100);
	(void)file(f, 200, &meta);
	stop(f);
	start(f);
	settle(f, true);
	assert_cut_to(f, 100);
	add(f, 300);
	assert_cut_to(f, 200);
}

/* The older one is damaged in the middle, where nobody looks at the start: the
 * newer one alone must not be relied upon. */
static void
nothing_is_cut_behind_a_damaged_file(void **state)
{
	struct fixture *f = *state;
	struct snap_meta meta;
	char name[SNAP_NAME_BYTES];
	struct buf *bytes;

	begin(f);
	(void)file(f, 100, &meta);
	(void)file(f, 200, &meta);
	log_write(f, 1, 0, 200);
	snapfile_name(100, name);
	bytes = memdisk_file(f->files, name);
	for (size_t i = 0; i + 5 <= bytes->len; i++)
		if (memcmp(bytes->data + i, "state", 5) == 0)
			bytes->data[i] ^= 1;
	stop(f);
	start(f);
	settle(f, true);
	assert_false(exists(f, 100));
	assert_int_equal(rlog_first(f->rd.rlog), 1);
	add(f, 300);
	assert_cut_to(f, 200);
}

/* It is of this cluster, but what it says of the log is not so. */
static void
a_file_of_another_term_is_set_aside(void **state)
{
	struct fixture *f = *state;
	struct snap_meta meta;
	struct snapfile_id id;

	begin(f);
	add(f, 100);
	id = file(f, 200, &meta);
	id.term = meta.head.term = TERM + 1;
	snaps_add(f->rd.snaps, &meta, &id);
	settle(f, true);
	assert_false(exists(f, 200));
	assert_true(exists(f, 100));
	assert_int_equal(rlog_first(f->rd.rlog), 1);
}

/* A mark that is not durable yet cuts nothing. */
static void
the_log_is_not_cut_before_the_mark_is_durable(void **state)
{
	struct fixture *f = *state;
	struct snap_meta meta;

	begin(f);
	(void)file(f, 100, &meta);
	(void)file(f, 200, &meta);
	stop(f);
	start(f);
	settle(f, false);
	assert_int_equal(staged->mark.index, 200);
	assert_int_equal(rlog_first(f->rd.rlog), 1);
	settle(f, true);
	assert_cut_to(f, 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(two_are_kept_and_the_log_is_cut_behind_the_older),
	    TEST(what_nobody_needs_any_more_is_cut_without_another_snapshot),
	    TEST(files_ahead_of_the_log_do_not_count),
	    TEST(a_file_ahead_counts_once_the_log_reaches_it),
	    TEST(what_was_marked_is_cut_at_the_next_start),
	    TEST(what_was_not_marked_is_marked_at_the_next_start),
	    TEST(nothing_is_cut_behind_a_damaged_file),
	    TEST(a_file_of_another_term_is_set_aside),
	    TEST(the_log_is_not_cut_before_the_mark_is_durable),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
