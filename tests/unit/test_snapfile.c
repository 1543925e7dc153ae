/* Snapshot files: what is written is read again; anything else is refused:
 * a byte that was flipped, a file that was cut, a part put elsewhere; and every
 * operation of the disk may fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/snapfile.h"
#include "tests/crash/memdisk.h"

#define PART "taking.part"
#define CHUNKS 5u

struct fixture {
	struct memdisk *md;
	struct wal_disk disk;
	char name[SNAP_NAME_BYTES];
};

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));

	f->md = memdisk_new();
	f->disk = memdisk_disk(f->md);
	snapfile_name(42, f->name);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	memdisk_free(f->md);
	mem_free(f);
	return 0;
}

static struct snap_meta
meta_of(uint64_t index)
{
	struct snap_meta m = {.head = {.index = index,
				  .term = 3,
				  .cluster = 0x1111,
				  .revision = 40,
				  .keys = 7,
				  .bytes = 700,
				  .hash = {.lo = 0xaaaa, .hi = 0xbbbb}},
	    .identity = {.cluster = 0x1111, .node = 1, .incarnation = 0x2222},
	    .conf = {.index = 1,
		.members_index = 1,
		.id_max = 1,
		.member_count = 1}};

	m.conf.state.voters.count = 1;
	m.conf.state.voters.id[0] = 1;
	m.conf.members[0].id = 1;
	m.conf.members[0].incarnation = 0x2222;
	(void)snprintf(m.conf.members[0].address,
	    sizeof(m.conf.members[0].address), "127.0.0.1:3380");
	return m;
}

/* Chunk i of a small file: of different sizes, one of them empty. */
static struct buf
chunk_of(uint32_t i)
{
	struct buf b = {0};
	size_t n = i == 2 ? 0 : 11 + 40 * i;

	if (n > 0)
		memset(buf_extend(&b, n), (int)('a' + i), n);
	return b;
}

static enum err
write_file(struct fixture *f, struct snapfile_id *id)
{
	struct snap_meta meta = meta_of(42);
	struct snapfile_writer *w = NULL;
	enum err e = snapfile_create(&w, &f->disk, PART, &meta);

	for (uint32_t i = 0; i < CHUNKS && e == ERR_OK; i++) {
		struct buf b = chunk_of(i);

		e = snapfile_put(w, buf_bytes(&b));
		buf_free(&b);
	}
	if (e == ERR_OK)
		e = snapfile_finish(w, f->name, id);
	snapfile_drop(w);
	return e;
}

/* All of it, with every check. */
static enum err
read_file(struct fixture *f)
{
	struct snap_meta meta, want = meta_of(42);
	struct snapfile_reader *r;
	struct snapfile_id id;
	bool last = false;
	enum err e = snapfile_open(&r, &f->disk, f->name, &meta, &id);

	if (e != ERR_OK)
		return e;
	assert_memory_equal(&meta, &want, sizeof(meta));
	for (uint32_t i = 0; e == ERR_OK && !last; i++) {
		struct buf b = chunk_of(i);
		struct bytes chunk;

		e = snapfile_next(r, &chunk, &last);
		if (e == ERR_OK) {
			assert_true(bytes_equal(chunk, buf_bytes(&b)));
			assert_int_equal(last, i == CHUNKS - 1);
		}
		buf_free(&b);
	}
	snapfile_close(r);
	return e;
}

static void
what_was_written_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct snapfile_id id, other;

	assert_int_equal(write_file(f, &id), ERR_OK);
	assert_int_equal(id.index, 42);
	assert_int_equal(id.term, 3);
	assert_int_equal(id.bytes, memdisk_file(f->md, f->name)->len);
	assert_int_equal(read_file(f), ERR_OK);
	assert_null(memdisk_file(f->md, PART));
	assert_int_equal(write_file(f, &other), ERR_OK);
	assert_true(snapfile_id_equal(&id, &other));
}

static void
names_are_told_apart(void **state)
{
	struct snapfile_id id = {.index = 42, .checksum = 0xfedcba9876543210};
	char name[SNAP_NAME_BYTES];
	uint64_t index, checksum;

	(void)state;
	snapfile_name(UINT64_MAX, name);
	assert_string_equal(name, "ffffffffffffffff.snap");
	assert_true(snapfile_name_parse(name, &index));
	assert_true(index == UINT64_MAX);
	assert_false(snapfile_name_parse("0000000000000000.snap", &index));
	assert_false(snapfile_name_parse("000000000000002A.snap", &index));
	assert_false(snapfile_name_parse("000000000000002a.part", &index));
	snapfile_part_name(&id, name);
	assert_string_equal(name, "000000000000002a-fedcba9876543210.part");
	assert_true(snapfile_part_parse(name, &index, &checksum));
	assert_int_equal(index, 42);
	assert_true(checksum == id.checksum);
	assert_false(snapfile_part_parse(PART, &index, &checksum));
}

static void
a_description_survives_its_encoding(void **state)
{
	struct snap_meta meta = meta_of(42), got;
	struct buf b = {0};

	(void)state;
	snap_meta_encode(&meta, &b);
	assert_int_equal(snap_meta_decode(buf_bytes(&b), &got), ERR_OK);
	assert_memory_equal(&meta, &got, sizeof(got));
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(
		    snap_meta_decode(bytes_of(b.data, n), &got), ERR_CORRUPT);
	buf_free(&b);
}

static void
a_flip_of_any_bit_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct snapfile_id id;
	struct buf *b;

	assert_int_equal(write_file(f, &id), ERR_OK);
	b = memdisk_file(f->md, f->name);
	for (size_t i = 0; i < b->len * 8; i++) {
		b->data[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(read_file(f), ERR_CORRUPT);
		b->data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(read_file(f), ERR_OK);
}

static void
a_file_cut_at_any_byte_or_too_long_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct snapfile_id id;
	struct buf *b;
	size_t len;

	assert_int_equal(write_file(f, &id), ERR_OK);
	b = memdisk_file(f->md, f->name);
	len = b->len;
	for (b->len = 0; b->len < len; b->len++)
		assert_int_equal(read_file(f), ERR_CORRUPT);
	buf_append(b, "", 1);
	assert_int_equal(read_file(f), ERR_CORRUPT);
}

/* Offset of chunk n. */
static size_t
offset_of(const struct buf *b, uint32_t n)
{
	uint32_t length;
	size_t at;

	memcpy(&length, b->data + 12, sizeof(length));
	at = 16 + length + 8;
	while (n-- > 0) {
		memcpy(&length, b->data + at + 8, sizeof(length));
		at += 32 + length;
	}
	return at;
}

/* A chunk that is missing or stands elsewhere, with the size made right again
 * or not: each chunk is right by itself. */
static void
a_chunk_that_is_missing_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct snapfile_id id;

	for (uint32_t n = 0; n < CHUNKS; n++) {
		size_t from, to;
		struct buf *b;

		assert_int_equal(write_file(f, &id), ERR_OK);
		b = memdisk_file(f->md, f->name);
		from = offset_of(b, n);
		to = offset_of(b, n + 1);
		memmove(b->data + from, b->data + to, b->len - to);
		b->len -= to - from;
		assert_int_equal(read_file(f), ERR_CORRUPT);
	}
}

static void
a_format_that_is_not_known_is_refused_as_such(void **state)
{
	struct fixture *f = *state;
	struct snapfile_id id;
	uint32_t length;
	uint64_t sum;
	struct buf *b;

	assert_int_equal(write_file(f, &id), ERR_OK);
	b = memdisk_file(f->md, f->name);
	b->data[8] = 3;
	assert_int_equal(read_file(f), ERR_CORRUPT);
	memcpy(&length, b->data + 12, sizeof(length));
	sum = htole64(hash64(b->data, 16 + length, 0));
	memcpy(b->data + 16 + length, &sum, sizeof(sum));
	assert_int_equal(read_file(f), ERR_VERSION);
}

/* The worked example of SNAPSHOT.md. */
static void
the_example_of_the_format_document_is_what_is_written(void **state)
{
	static const uint8_t chunk[] = {0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
	    0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xaf,
	    0x2b, 0x66, 0x10, 0x02, 0xa8, 0x31, 0xc9, 0x40, 0xfd, 0xae, 0x26,
	    0x45, 0x39, 0xa7, 0xa4, 0x68, 0x65, 0x6c, 0x6c, 0x6f};
	struct fixture *f = *state;
	struct snap_meta meta = meta_of(42);
	struct snapfile_writer *w;
	struct snapfile_id id;
	struct buf *b;

	assert_int_equal(snapfile_create(&w, &f->disk, PART, &meta), ERR_OK);
	assert_int_equal(snapfile_put(w, bytes_of_str("hello")), ERR_OK);
	assert_int_equal(snapfile_finish(w, f->name, &id), ERR_OK);
	snapfile_drop(w);
	b = memdisk_file(f->md, f->name);
	assert_int_equal(b->len, 0x13d);
	assert_int_equal(offset_of(b, 0), 0xd0);
	assert_memory_equal(b->data + 0xd0, chunk, sizeof(chunk));
	assert_true(id.checksum == UINT64_C(0x4bfdc79641d129c3));
}

static void
every_write_may_fail_once(void **state)
{
	static const unsigned ops[] = {MEMDISK_CREATE, MEMDISK_WRITE,
	    MEMDISK_SYNC, MEMDISK_RENAME, MEMDISK_SYNC_DIR};
	struct fixture *f = *state;
	struct snapfile_id id;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		uint64_t nth;

		for (nth = 1;; nth++) {
			memdisk_fail(f->md, ops[i], nth);
			if (write_file(f, &id) == ERR_OK)
				break;
			assert_true(memdisk_has_failed(f->md));
			assert_null(memdisk_file(f->md, PART));
			if (ops[i] != MEMDISK_SYNC_DIR)
				assert_null(memdisk_file(f->md, f->name));
		}
		assert_true(nth > 1);
		memdisk_fail(f->md, 0, 0);
		assert_int_equal(read_file(f), ERR_OK);
		assert_int_equal(f->disk.remove(f->disk.arg, f->name), 0);
	}
}

static void
every_read_may_fail_once(void **state)
{
	struct fixture *f = *state;
	struct snapfile_id id;
	uint64_t nth;

	assert_int_equal(write_file(f, &id), ERR_OK);
	for (nth = 1;; nth++) {
		memdisk_fail(f->md, MEMDISK_READ, nth);
		if (read_file(f) == ERR_OK)
			break;
		assert_true(memdisk_has_failed(f->md));
	}
	assert_true(nth > 10);
}

/* A power cut at any moment leaves the file with its name and whole, or
 * without the name. */
static void
a_file_has_its_name_only_when_it_is_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 1, named = 0;

	for (uint64_t round = 0; round < 3000; round++) {
		struct snapfile_id id;
		bool finished;

		memdisk_power_off(f->md, 1 + memdisk_random(&seed, 9));
		finished = write_file(f, &id) == ERR_OK;
		memdisk_cut(
		    f->md, (enum memdisk_cut)memdisk_random(&seed, 4), &seed);
		if (memdisk_file(f->md, f->name) != NULL) {
			named++;
			assert_int_equal(read_file(f), ERR_OK);
			assert_int_equal(
			    f->disk.remove(f->disk.arg, f->name), 0);
		} else {
			assert_false(finished);
		}
		(void)f->disk.remove(f->disk.arg, PART);
		assert_int_equal(f->disk.sync_dir(f->disk.arg), 0);
	}
	assert_true(named > 100);
	assert_true(named < 2900);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(what_was_written_is_read_again),
	    TEST(names_are_told_apart),
	    TEST(a_description_survives_its_encoding),
	    TEST(a_flip_of_any_bit_is_noticed),
	    TEST(a_file_cut_at_any_byte_or_too_long_is_noticed),
	    TEST(a_chunk_that_is_missing_is_noticed),
	    TEST(a_format_that_is_not_known_is_refused_as_such),
	    TEST(the_example_of_the_format_document_is_what_is_written),
	    TEST(every_write_may_fail_once),
	    TEST(every_read_may_fail_once),
	    TEST(a_file_has_its_name_only_when_it_is_whole),
	};

	log_level_set(LOG_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
