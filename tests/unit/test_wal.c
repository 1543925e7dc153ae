/* The write-ahead log: format, reading back, recovery's refusals.  Power cuts
 * and damage at every place are in test_wal_crash.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "raftd/wal.h"
#include "tests/crash/memdisk.h"
#include "tests/unit/wal_fixture.h"

static enum err
write_hard_state(
    struct fixture *f, uint64_t term, uint64_t vote, uint64_t commit, bool sync)
{
	struct raft_hard_state hs = {
	    .term = term, .vote = vote, .commit = commit};
	struct wal_batch_item item = {.hard_state = &hs};

	return wal_write(f->wal, &item, 1, sync, NULL);
}

static void
write_conf(struct fixture *f, uint64_t index)
{
	struct wal_conf conf = conf_of(index);
	struct wal_batch_item item = {.conf = &conf};

	assert_int_equal(wal_write(f->wal, &item, 1, true, NULL), ERR_OK);
}

/* ---- the format ---- */

/* Lines "    0040  11 22 33 ...  what it is": offset and bytes.  Returns how
 * many were compared. */
static size_t
check_line(const struct buf *file, const char *line)
{
	size_t checked = 0;
	unsigned long at;
	const char *p;
	char *end;

	if (strncmp(line, "    0", 5) != 0)
		return 0;
	at = strtoul(line, &end, 16);
	for (p = end; p[0] == ' ' && (checked == 0 || p[1] != ' '); p = end) {
		unsigned long byte = strtoul(p, &end, 16);

		assert_true(at < file->len);
		assert_int_equal(file->data[at++], byte);
		checked++;
	}
	return checked;
}

/* The worked example of WAL.md, byte for byte. */
static void
the_example_of_the_document_is_what_is_written(void **state)
{
	struct fixture *f = *state;
	struct blob *b = blob_new("hello", 5);
	struct raft_entry e = {.term = 1, .index = 1, .data = b};
	struct raft_hard_state hs = {.term = 1, .vote = 1};
	struct wal_batch_item item = {
	    .entries = &e, .entry_count = 1, .hard_state = &hs};
	struct buf *file;
	FILE *doc;
	char line[256];
	size_t checked = 0;

	create(f);
	assert_int_equal(wal_write(f->wal, &item, 1, true, &f->at[1]), ERR_OK);
	blob_unref(&b);
	file = memdisk_file(f->md, "0000000000000001-0000000000000001.wal");
	assert_non_null(file);
	doc = fopen("raftd/WAL.md", "r");
	assert_non_null(doc);
	while (fgets(line, sizeof(line), doc) != NULL)
		checked += check_line(file, line);
	(void)fclose(doc);
	assert_true(checked > 350);
}

static void
a_new_log_keeps_identity_and_members(void **state)
{
	struct fixture *f = *state;

	create(f);
	assert_int_equal(reopen(f), ERR_OK);
	assert_false(f->rec.fresh);
	assert_int_equal(f->rec.identity.cluster, 0x1111);
	assert_int_equal(f->rec.identity.node, 1);
	assert_int_equal(f->rec.identity.incarnation, 0x2222);
	assert_int_equal(f->rec.conf.index, 0);
	assert_int_equal(f->rec.conf.state.voters.count, 1);
	assert_string_equal(f->rec.conf.members[0].address, "127.0.0.1:3380");
	assert_int_equal(f->rec.first, 1);
	assert_int_equal(f->rec.last, 0);
	assert_int_equal(f->rec.next_conf_change, 0);
	assert_int_equal(f->rec.cut_bytes, 0);
}

static void
all_records_come_back(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 5, 1, 100);
	assert_int_equal(write_hard_state(f, 2, 3, 4, true), ERR_OK);
	write_conf(f, 3);
	append(f, 6, 6, 2, 0);
	memset(f->terms, 0, sizeof(f->terms));
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 6);
	assert_int_equal(f->terms[5], 1);
	assert_int_equal(f->terms[6], 2);
	assert_int_equal(f->rec.hard_state.term, 2);
	assert_int_equal(f->rec.hard_state.vote, 3);
	assert_int_equal(f->rec.hard_state.commit, 4);
	assert_int_equal(f->rec.conf.index, 3);
}

static void
a_replaced_entry_is_the_newer_one(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 9, 1, 10);
	append(f, 4, 5, 2, 10);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 5);
	assert_int_equal(f->terms[3], 1);
	assert_int_equal(f->terms[4], 2);
	assert_int_equal(f->terms[5], 2);
}

static void
the_next_configuration_change_is_found(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 2, 1, 10);
	append_change(f, 3);
	append_change(f, 4);
	append(f, 5, 5, 1, 10);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.next_conf_change, 3);
	write_conf(f, 3);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.next_conf_change, 4);
	append(f, 4, 4, 2, 10); /* replaces the change */
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.next_conf_change, 0);
}

/* ---- segments ---- */

static void
a_full_segment_is_followed_by_another(void **state)
{
	struct fixture *f = *state;

	create(f);
	for (uint64_t i = 1; i <= 100; i++)
		append(f, i, i, 1, 300);
	assert_int_equal(write_hard_state(f, 1, 0, 50, true), ERR_OK);
	assert_true(memdisk_file_count(f->md) > 8);
	for (int round = 0; round < 3; round++) {
		memset(f->terms, 0, sizeof(f->terms));
		assert_int_equal(reopen(f), ERR_OK);
		assert_int_equal(f->rec.last, 100);
		assert_int_equal(f->rec.hard_state.commit, 50);
		for (uint64_t i = 1; i <= 100; i++)
			assert_int_equal(f->terms[i], 1);
	}
}

static void
one_write_may_fill_several_segments(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 200, 1, 300);
	append(f, 150, 300, 2, 300);
	assert_true(memdisk_file_count(f->md) > 20);
	memset(f->terms, 0, sizeof(f->terms));
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 300);
	assert_int_equal(f->terms[149], 1);
	assert_int_equal(f->terms[150], 2);
}

static void
an_entry_larger_than_a_segment_gets_its_own(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 1, 1, 10);
	append(f, 2, 2, 1, 9000);
	append(f, 3, 3, 1, 10);
	assert_int_equal(memdisk_file_count(f->md), 3);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 3);
}

static void
every_file_ends_with_zeros(void **state)
{
	struct fixture *f = *state;
	static const uint8_t zeros[32];

	create(f);
	for (uint64_t i = 1; i <= 60; i++) {
		struct buf *b;

		append(f, i, i, 1, (size_t)(i * 37 % 800));
		if (i % 3 == 0)
			assert_int_equal(wal_prepare(f->wal), ERR_OK);
		b = memdisk_file(f->md, memdisk_last_name(f->md));
		assert_memory_equal(b->data + b->len - 32, zeros, 32);
	}
}

/* ---- reading back ---- */

static void
read_and_check(struct fixture *f, uint64_t point, uint64_t from, size_t count,
    uint64_t max_bytes, size_t expected)
{
	struct raft_entry *out = mem_zalloc(count, sizeof(*out));
	size_t got = 0;

	assert_int_equal(
	    wal_read(f->wal, f->at[point], from, count, max_bytes, out, &got),
	    ERR_OK);
	assert_int_equal(got, expected);
	for (size_t i = 0; i < got; i++) {
		assert_int_equal(out[i].index, from + i);
		assert_int_equal(out[i].term, f->terms[from + i]);
		if (out[i].data != NULL)
			assert_int_equal(
			    out[i].data->data[0], (from + i) & 0xff);
		blob_unref(&out[i].data);
	}
	mem_free(out);
}

static void
entries_are_read_across_segments_and_other_records(void **state)
{
	struct fixture *f = *state;

	create(f);
	for (uint64_t i = 1; i <= 100; i++) {
		append(f, i, i, 1, 300);
		assert_int_equal(write_hard_state(f, 1, 0, i, false), ERR_OK);
	}
	read_and_check(f, 1, 1, 100, UINT64_MAX, 100);
	read_and_check(f, 1, 40, 20, UINT64_MAX, 20);
	read_and_check(f, 90, 99, 1, UINT64_MAX, 1);
	read_and_check(f, 50, 50, 50, 700, 2);
	read_and_check(f, 50, 50, 50, 0, 1);
	assert_int_equal(reopen(f), ERR_OK);
	read_and_check(f, 1, 1, 100, UINT64_MAX, 100);
}

static void
a_damaged_entry_is_not_read(void **state)
{
	struct fixture *f = *state;
	struct raft_entry out[4] = {0};
	struct buf *b;
	size_t got;

	create(f);
	append(f, 1, 4, 1, 50);
	b = memdisk_file(f->md, memdisk_last_name(f->md));
	b->data[f->at[3].offset + 60] ^= 1;
	assert_int_equal(
	    wal_read(f->wal, f->at[1], 1, 4, UINT64_MAX, out, &got),
	    ERR_CORRUPT);
	read_and_check(f, 1, 1, 2, UINT64_MAX, 2);
	/* A position that is not one. */
	f->at[1].offset += 8;
	assert_int_equal(
	    wal_read(f->wal, f->at[1], 1, 1, UINT64_MAX, out, &got),
	    ERR_CORRUPT);
}

/* ---- syncs ---- */

static void
what_was_not_synced_is_with_the_next_sync(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 1;

	create(f);
	append(f, 1, 3, 1, 10);
	assert_int_equal(write_hard_state(f, 1, 1, 2, false), ERR_OK);
	assert_int_equal(wal_write(f->wal, NULL, 0, true, NULL), ERR_OK);
	memdisk_cut(f->md, MEMDISK_CUT_ALL, &seed);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.hard_state.commit, 2);
	assert_int_equal(write_hard_state(f, 1, 1, 3, false), ERR_OK);
	memdisk_cut(f->md, MEMDISK_CUT_ALL, &seed);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.hard_state.commit, 2);
	assert_int_equal(f->rec.last, 3);
}

static void
any_failure_is_final(void **state)
{
	static const unsigned ops[] = {MEMDISK_WRITE, MEMDISK_SYNC};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct raft_entry e = {.term = 1, .index = 1};
		struct wal_batch_item item = {.entries = &e, .entry_count = 1};
		struct memdisk *other = memdisk_new();

		wal_close(f->wal);
		f->wal = NULL;
		memdisk_free(f->md);
		f->md = other;
		f->disk = memdisk_disk(other);
		create(f);
		memdisk_fail(f->md, ops[i], 1);
		assert_int_equal(
		    wal_write(f->wal, &item, 1, true, f->at), ERR_IO);
		assert_int_equal(
		    wal_write(f->wal, &item, 1, true, f->at), ERR_IO);
		assert_int_equal(wal_prepare(f->wal), ERR_IO);
	}
}

static void
a_failed_creation_leaves_an_empty_directory(void **state)
{
	static const unsigned ops[] = {
	    MEMDISK_CREATE, MEMDISK_WRITE, MEMDISK_SYNC, MEMDISK_RENAME};
	struct fixture *f = *state;
	struct wal_conf conf = conf_of(0);

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_int_equal(reopen(f), ERR_OK);
		memdisk_fail(f->md, ops[i], 1);
		assert_int_equal(wal_create(f->wal, &identity, &conf), ERR_IO);
		memdisk_fail(f->md, 0, 0);
		assert_int_equal(reopen(f), ERR_OK);
		assert_true(f->rec.fresh);
	}
	create(f);
	assert_int_equal(memdisk_file_count(f->md), 1);
}

/* ---- what is refused ---- */

static void
fill_segments(struct fixture *f)
{
	create(f);
	for (uint64_t i = 1; i <= 30; i++)
		append(f, i, i, 1, 300);
	assert_true(memdisk_file_count(f->md) >= 3);
	wal_close(f->wal);
	f->wal = NULL;
	memdisk_settle(f->md);
}

/* All files as they are: a refusal changes nothing. */
static void
assert_refused(struct fixture *f, enum err expected)
{
	struct memdisk *before = memdisk_clone(f->md);

	assert_int_equal(reopen(f), expected);
	assert_null(f->wal);
	assert_true(memdisk_same(before, f->md));
	memdisk_free(before);
}

static void
a_missing_segment_is_refused(void **state)
{
	static const char first[] = "0000000000000001-0000000000000001.wal";
	struct fixture *f = *state;
	char second[64] = "";

	fill_segments(f);
	for (uint64_t i = 2; i < 30 && second[0] == '\0'; i++) {
		(void)snprintf(second, sizeof(second),
		    "0000000000000002-%016llx.wal", (unsigned long long)i);
		if (memdisk_file(f->md, second) == NULL)
			second[0] = '\0';
	}
	assert_true(second[0] != '\0');
	memdisk_move(f->md, second, "kept");
	assert_refused(f, ERR_CORRUPT);
	memdisk_move(f->md, "kept", second);
	assert_int_equal(reopen(f), ERR_OK);
	wal_close(f->wal);
	f->wal = NULL;
	memdisk_move(f->md, first, NULL);
	assert_refused(f, ERR_CORRUPT);
}

static void
a_segment_of_another_log_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fixture other = {0};
	struct wal_identity id = identity;
	struct wal_conf conf = conf_of(0);
	struct buf *mine, *theirs;

	fill_segments(f);
	other.md = memdisk_new();
	other.disk = memdisk_disk(other.md);
	assert_int_equal(reopen(&other), ERR_OK);
	id.incarnation++;
	assert_int_equal(wal_create(other.wal, &id, &conf), ERR_OK);
	for (uint64_t i = 1; i <= 30; i++)
		append(&other, i, i, 1, 300);
	mine = memdisk_file(f->md, memdisk_last_name(f->md));
	theirs = memdisk_file(other.md, memdisk_last_name(f->md));
	assert_non_null(theirs);
	buf_clear(mine);
	buf_append(mine, theirs->data, theirs->len);
	assert_refused(f, ERR_CORRUPT);
	wal_close(other.wal);
	memdisk_free(other.md);
}

static void
an_older_segment_in_place_of_a_newer_one_is_refused(void **state)
{
	struct fixture *f = *state;
	struct memdisk *early;
	struct buf *now, *then;
	const char *name;

	create(f);
	append(f, 1, 3, 1, 300);
	early = memdisk_clone(f->md);
	/* What is missing then is one record, and none that is counted. */
	assert_int_equal(write_hard_state(f, 1, 1, 0, true), ERR_OK);
	append(f, 4, 4, 1, 5000);
	assert_int_equal(memdisk_file_count(f->md), 2);
	wal_close(f->wal);
	f->wal = NULL;
	name = memdisk_last_name(early);
	now = memdisk_file(f->md, name);
	then = memdisk_file(early, name);
	buf_clear(now);
	buf_append(now, then->data, then->len);
	memdisk_settle(f->md);
	assert_refused(f, ERR_CORRUPT);
	memdisk_free(early);
}

/* Records of two logs that were one, each valid in its place. */
static void
records_of_another_history_are_refused(void **state)
{
	struct fixture *f = *state;
	struct fixture other = {0};
	struct buf *mine, *theirs;
	size_t at;

	create(f);
	append(f, 1, 3, 1, 100);
	other.md = memdisk_clone(f->md);
	other.disk = memdisk_disk(other.md);
	assert_int_equal(reopen(&other), ERR_OK);
	append(f, 4, 4, 1, 100);
	append(f, 5, 5, 1, 100);
	append(&other, 4, 4, 2, 100);
	append(&other, 5, 5, 2, 100);
	at = f->at[5].offset;
	assert_int_equal(at, other.at[5].offset);
	mine = memdisk_file(f->md, memdisk_last_name(f->md));
	theirs = memdisk_file(other.md, memdisk_last_name(f->md));
	assert_int_equal(mine->len, theirs->len);
	memcpy(mine->data + at, theirs->data + at, mine->len - at);
	assert_refused(f, ERR_CORRUPT);
	wal_close(other.wal);
	memdisk_free(other.md);
}

static void
another_format_version_is_named_as_such(void **state)
{
	struct fixture *f = *state;
	struct buf *b;
	uint64_t sum;

	create(f);
	b = memdisk_file(f->md, memdisk_last_name(f->md));
	b->data[8] = 3;
	assert_refused(f, ERR_CORRUPT); /* the checksum is wrong */
	sum = htole64(hash64(b->data, 56, 0));
	memcpy(b->data + 56, &sum, sizeof(sum));
	assert_refused(f, ERR_VERSION);
}

static void
an_unfinished_segment_is_removed_and_other_files_stay(void **state)
{
	struct fixture *f = *state;
	int fd;

	create(f);
	append(f, 1, 3, 1, 10);
	fd = f->disk.open(f->disk.arg, "new.tmp", true);
	assert_int_equal(f->disk.write(f->disk.arg, fd, "abc", 3, 0), 0);
	fd = f->disk.open(f->disk.arg, "notes.txt", true);
	assert_true(fd >= 0);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 3);
	assert_null(memdisk_file(f->md, "new.tmp"));
	assert_non_null(memdisk_file(f->md, "notes.txt"));
}

static void
a_commit_index_without_its_entries_is_refused(void **state)
{
	struct fixture *f = *state;

	create(f);
	append(f, 1, 3, 1, 10);
	assert_int_equal(write_hard_state(f, 1, 0, 4, true), ERR_OK);
	assert_refused(f, ERR_CORRUPT);
}

/* ---- a real directory ---- */

static void
it_works_in_a_real_directory(void **state)
{
	struct fixture *f = *state;
	char dir[] = "/tmp/test_wal.XXXXXX";
	char command[64];

	assert_non_null(mkdtemp(dir));
	assert_int_equal(wal_disk_posix_open(&f->disk, dir), 0);
	create(f);
	for (uint64_t i = 1; i <= 100; i++)
		append(f, i, i, 1, 300);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 100);
	read_and_check(f, 1, 1, 100, UINT64_MAX, 100);
	append(f, 50, 60, 2, 300);
	assert_int_equal(reopen(f), ERR_OK);
	assert_int_equal(f->rec.last, 60);
	read_and_check(f, 50, 50, 11, UINT64_MAX, 11);
	wal_close(f->wal);
	f->wal = NULL;
	wal_disk_posix_close(&f->disk);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_example_of_the_document_is_what_is_written),
	    TEST(a_new_log_keeps_identity_and_members),
	    TEST(all_records_come_back),
	    TEST(a_replaced_entry_is_the_newer_one),
	    TEST(the_next_configuration_change_is_found),
	    TEST(a_full_segment_is_followed_by_another),
	    TEST(one_write_may_fill_several_segments),
	    TEST(an_entry_larger_than_a_segment_gets_its_own),
	    TEST(every_file_ends_with_zeros),
	    TEST(entries_are_read_across_segments_and_other_records),
	    TEST(a_damaged_entry_is_not_read),
	    TEST(what_was_not_synced_is_with_the_next_sync),
	    TEST(any_failure_is_final),
	    TEST(a_failed_creation_leaves_an_empty_directory),
	    TEST(a_missing_segment_is_refused),
	    TEST(a_segment_of_another_log_is_refused),
	    TEST(an_older_segment_in_place_of_a_newer_one_is_refused),
	    TEST(records_of_another_history_are_refused),
	    TEST(another_format_version_is_named_as_such),
	    TEST(an_unfinished_segment_is_removed_and_other_files_stay),
	    TEST(a_commit_index_without_its_entries_is_refused),
	    TEST(it_works_in_a_real_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
