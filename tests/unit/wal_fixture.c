/* See wal_fixture.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/wal_fixture.h"

const struct wal_identity identity = {
    .cluster = 0x1111, .node = 1, .incarnation = 0x2222};

struct wal_conf
conf_of(uint64_t index)
{
	struct wal_conf c = {.index = index,
	    .members_index = index,
	    .id_max = 1,
	    .member_count = 1};

	c.state.voters.count = 1;
	c.state.voters.id[0] = 1;
	c.members[0].id = 1;
	c.members[0].incarnation = 0x2222;
	(void)snprintf(c.members[0].address, sizeof(c.members[0].address),
	    "127.0.0.1:3380");
	return c;
}

int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));

	f->md = memdisk_new();
	f->disk = memdisk_disk(f->md);
	*state = f;
	return 0;
}

int
teardown(void **state)
{
	struct fixture *f = *state;

	wal_close(f->wal);
	memdisk_free(f->md);
	mem_free(f);
	return 0;
}

static void
on_entry(void *arg, const struct raft_entry *e, struct wal_position at)
{
	struct fixture *f = arg;

	assert_true(e->index < ENTRIES_MAX);
	assert_int_equal(at.index, e->index);
	f->terms[e->index] = e->term;
	f->at[e->index] = at;
}

enum err
reopen(struct fixture *f)
{
	enum err e;

	wal_close(f->wal);
	f->wal = NULL;
	e = wal_open(&f->wal, &f->disk, &f->rec, on_entry, f);
	if (e == ERR_OK)
		wal_set_limits(f->wal, 4096, 1024);
	return e;
}

void
create(struct fixture *f)
{
	struct wal_conf conf = conf_of(0);

	assert_int_equal(reopen(f), ERR_OK);
	assert_true(f->rec.fresh);
	assert_int_equal(wal_create(f->wal, &identity, &conf), ERR_OK);
}

/* Entries first..last of this term, each with bytes of its own. */
void
append(struct fixture *f, uint64_t first, uint64_t last, uint64_t term,
    size_t bytes)
{
	struct raft_entry *e = mem_zalloc(last - first + 1, sizeof(*e));
	struct wal_batch_item item = {
	    .entries = e, .entry_count = last - first + 1};

	for (uint64_t i = first; i <= last; i++) {
		struct blob *b = bytes == 0 ? NULL : blob_new(NULL, bytes);

		if (b != NULL)
			memset(b->data, (int)(i & 0xff), bytes);
		e[i - first] =
		    (struct raft_entry){.term = term, .index = i, .data = b};
	}
	assert_int_equal(
	    wal_write(f->wal, &item, 1, true, &f->at[first]), ERR_OK);
	for (uint64_t i = first; i <= last; i++) {
		f->terms[i] = term;
		blob_unref(&e[i - first].data);
	}
	mem_free(e);
}

void
append_change(struct fixture *f, uint64_t index)
{
	struct raft_entry e = {
	    .term = 1, .index = index, .type = RAFT_ENTRY_CONF_CHANGE_V2};
	struct wal_batch_item item = {.entries = &e, .entry_count = 1};

	assert_int_equal(
	    wal_write(f->wal, &item, 1, true, &f->at[index]), ERR_OK);
}
