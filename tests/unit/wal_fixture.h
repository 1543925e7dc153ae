/* What the tests of the write-ahead log share: a log on a disk in memory, and
 * what its recovery told. */
#ifndef TESTS_UNIT_WAL_FIXTURE_H
#define TESTS_UNIT_WAL_FIXTURE_H

#include "raftd/wal.h"
#include "tests/crash/memdisk.h"

#define ENTRIES_MAX 4096u

struct fixture {
	struct memdisk *md;
	struct wal_disk disk;
	struct wal *wal;
	struct wal_recovered rec;
	/* What on_entry told, by index. */
	uint64_t terms[ENTRIES_MAX];
	struct wal_position at[ENTRIES_MAX];
};

extern const struct wal_identity identity;

struct wal_conf conf_of(uint64_t index);
int setup(void **state);
int teardown(void **state);
enum err reopen(struct fixture *f);
void create(struct fixture *f);
void append(struct fixture *f, uint64_t first, uint64_t last, uint64_t term,
    size_t bytes);
void append_change(struct fixture *f, uint64_t index);

#endif
