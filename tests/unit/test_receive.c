/* Receiving a snapshot file (raftd/receive.c): whole, refused, interrupted, on
 * a disk that fills or fails meanwhile.  The files and the helper thread are
 * real, on disks in memory; the core, the list of files and the free space are
 * stood in for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <string.h>

#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"
#include "raftd/snapmsg.h"
#include "raftd/transfer.h"
#include "tests/crash/memdisk.h"
#include "tests/unit/link_fake.h"
#include "tests/unit/log_fixture.h"

#define INDEX 42u
#define CHUNK_BYTES (700u << 10)
#define CHUNKS 4u
#define PIECE SNAP_PIECE_BYTES
#define PLENTY (UINT64_C(1) << 40)

struct fixture {
	struct raftd rd;
	struct receiving *r;
	struct memdisk *theirs, *mine; /* the sender's disk, the receiver's */
	struct snapfile_id id;
	char part[SNAP_NAME_BYTES];
	uint32_t offers;
	struct link link, other;
};

static struct fixture *running;
static uint64_t room; /* on the receiver's disk */
static unsigned added;
static char kept[SNAP_NAME_BYTES]; /* the part that is gone on with */

/* ---- stand-ins ---- */

bool
space_for(struct space *sp, uint64_t bytes)
{
	(void)sp;
	return bytes < room;
}

const struct msg_hello *
link_peer(const struct link *l)
{
	static const struct msg_hello one = {.node = 1}, two = {.node = 2};

	return l == &running->link ? &one : &two;
}

const struct snap *
snaps_find(const struct snaps *ss, uint64_t index)
{
	(void)ss, (void)index;
	return NULL;
}

void
snaps_add(struct snaps *ss, const struct snap_meta *meta,
    const struct snapfile_id *id)
{
	(void)ss;
	assert_int_equal(meta->head.index, INDEX);
	assert_true(snapfile_id_equal(id, &running->id));
	added++;
}

struct link *
peers_link(const struct peers *ps, uint64_t id)
{
	(void)ps;
	return id == 1 ? &running->link : id == 2 ? &running->other : NULL;
}

void
snaps_publish(struct snaps *ss)
{
	(void)ss;
}

void
snaps_keep_part(struct snaps *ss, const char *name)
{
	(void)ss;
	(void)strcpy(kept, name);
}

uint64_t
rlog_first(const struct rlog *l)
{
	(void)l;
	return 1;
}

uint64_t
raft_commit(const struct raft *r)
{
	(void)r;
	return 0;
}

enum raft_rc
raft_step(struct raft *r, const struct raft_msg *m)
{
	(void)r, (void)m;
	fail_msg("it was asked for: the core knows nothing of it");
	return RAFT_STEP_MALFORMED;
}

/* ---- driving it ---- */

static void
make_file(struct fixture *f)
{
	struct wal_disk d = memdisk_disk(f->theirs);
	struct snap_meta meta = {.head = {.index = INDEX, .term = 3}};
	struct snapfile_writer *w = NULL;
	struct buf chunk = {0};

	memset(buf_extend(&chunk, CHUNK_BYTES), 'x', CHUNK_BYTES);
	assert_int_equal(snapfile_create(&w, &d, "part", &meta), ERR_OK);
	for (unsigned i = 0; i < CHUNKS; i++)
		assert_int_equal(snapfile_put(w, buf_bytes(&chunk)), ERR_OK);
	assert_int_equal(snapfile_finish(w, "file", &f->id), ERR_OK);
	snapfile_drop(w);
	buf_free(&chunk);
	snapfile_part_name(&f->id, f->part);
}

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));

	f->theirs = memdisk_new();
	f->mine = memdisk_new();
	make_file(f);
	f->rd.snap_disk = memdisk_disk(f->mine);
	f->rd.loop = loop_open();
	f->rd.snapio = snapio_open(f->rd.loop);
	f->r = receiving_open(&f->rd);
	f->link.up = f->other.up = true;
	room = PLENTY;
	added = 0;
	kept[0] = '\0';
	running = *state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	snapio_close(f->rd.snapio);
	receiving_close(f->r);
	loop_close(f->rd.loop);
	link_fake_clear(&f->link);
	link_fake_clear(&f->other);
	memdisk_free(f->theirs);
	memdisk_free(f->mine);
	mem_free(f);
	return 0;
}

static enum err
offer_as(struct fixture *f, struct link *l, struct bytes raft)
{
	struct snapmsg_offer m = {
	    .id = f->id, .number = ++f->offers, .raft = raft};
	struct buf body = {0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &body);
	assert_int_equal(snapmsg_offer_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = receiving_offer(f->r, l, &w);
	buf_free(&body);
	return rc;
}

static enum err
piece(struct fixture *f, uint64_t offset, uint64_t bytes)
{
	const struct buf *file = memdisk_file(f->theirs, "file");
	struct snapmsg_piece m = {.checksum = f->id.checksum, .offset = offset};
	struct buf body = {0}, data = {0};
	struct wire w;
	enum err rc;

	memset(buf_extend(&data, bytes), 0, bytes);
	if (offset + bytes <= file->len)
		memcpy(data.data, file->data + offset, bytes);
	m.data = buf_bytes(&data);
	wire_encode(&w, &body);
	assert_int_equal(snapmsg_piece_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = receiving_piece(f->r, &f->link, &w);
	buf_free(&body);
	buf_free(&data);
	return rc;
}

/* All that follows offset, in pieces. */
static void
rest(struct fixture *f, uint64_t offset)
{
	while (offset < f->id.bytes) {
		uint64_t n = f->id.bytes - offset;

		if (n > PIECE)
			n = PIECE;
		assert_int_equal(piece(f, offset, n), ERR_OK);
		offset += n;
	}
}

/* The last thing that l was told, which came after `since` others. */
static struct snapmsg_want
answer(struct fixture *f, struct link *l, size_t since)
{
	struct snapmsg_want m;
	struct wire w;

	for (unsigned i = 0; i < 10000 && l->sent <= since; i++) {
		(void)loop_wait(f->rd.loop, mono_add_ms(mono_now(), 1));
		snapio_take(f->rd.snapio);
	}
	assert_true(l->sent > since);
	assert_int_equal(link_fake_last_type(l), MSG_SNAP_WANT);
	wire_decode(&w, buf_bytes(&l->message[l->sent - 1].body));
	assert_int_equal(snapmsg_want_wire(&w, &m), ERR_OK);
	assert_true(snapfile_id_equal(&m.id, &f->id));
	assert_int_equal(m.number, f->offers);
	return m;
}

static void
assert_refused(struct fixture *f, size_t since, enum err code)
{
	struct snapmsg_want m = answer(f, &f->link, since);

	assert_int_equal(m.what, SNAPMSG_REFUSED);
	assert_int_equal(m.code, code);
}

/* It is offered, and wanted from here on. */
static uint64_t
begin(struct fixture *f)
{
	size_t since = f->link.sent;
	struct snapmsg_want m;

	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	m = answer(f, &f->link, since);
	assert_int_equal(m.what, SNAPMSG_FROM);
	assert_string_equal(kept, f->part);
	return m.offset;
}

/* So many of its bytes are written. */
static void
wait_written(struct fixture *f, uint64_t bytes)
{
	while (answer(f, &f->link, f->link.sent - 1).offset < bytes)
		(void)answer(f, &f->link, f->link.sent);
}

static void
wait_done(struct fixture *f)
{
	struct snapmsg_want m;

	do
		m = answer(f, &f->link, f->link.sent);
	while (m.what == SNAPMSG_FROM);
	assert_int_equal(m.what, SNAPMSG_DONE);
	assert_int_equal(added, 1);
}

/* ---- */

static void
a_file_is_received_checked_and_named(void **state)
{
	struct fixture *f = *state;
	char name[SNAP_NAME_BYTES];

	assert_int_equal(begin(f), 0);
	rest(f, 0);
	wait_done(f);
	snapfile_name(INDEX, name);
	assert_non_null(memdisk_file(f->mine, name));
	assert_null(memdisk_file(f->mine, f->part));
}

static void
what_is_there_is_gone_on_with(void **state)
{
	struct fixture *f = *state;

	(void)begin(f);
	assert_int_equal(piece(f, 0, PIECE), ERR_OK);
	wait_written(f, PIECE);
	receiving_down(f->r, &f->link);
	assert_int_equal(begin(f), PIECE); /* the same process */
	receiving_close(f->r);
	f->r = receiving_open(&f->rd);
	assert_int_equal(begin(f), PIECE); /* another one */
	rest(f, PIECE);
	wait_done(f);
}

static void
there_is_one_sender_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct snapmsg_want m;

	(void)begin(f);
	assert_int_equal(offer_as(f, &f->other, (struct bytes){0}), ERR_OK);
	m = answer(f, &f->other, 0);
	assert_int_equal(m.what, SNAPMSG_REFUSED);
	assert_int_equal(m.code, ERR_OVERLOADED);
}

static void
what_cannot_be_is_malformed(void **state)
{
	struct fixture *f = *state;
	const struct bytes garbage = bytes_of((const uint8_t *)"garbage", 7);
	struct wire w;

	wire_decode(&w, garbage);
	assert_int_equal(receiving_offer(f->r, &f->link, &w), ERR_MALFORMED);
	wire_decode(&w, garbage);
	assert_int_equal(receiving_piece(f->r, &f->link, &w), ERR_MALFORMED);
	assert_int_equal(offer_as(f, &f->link, garbage), ERR_MALFORMED);
	/* Nobody was told where to begin yet. */
	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	assert_int_equal(piece(f, 0, PIECE), ERR_MALFORMED);
	(void)answer(f, &f->link, 0);
	assert_int_equal(piece(f, 1, PIECE), ERR_MALFORMED);
	assert_int_equal(piece(f, 0, PIECE), ERR_OK);
	assert_int_equal(piece(f, 0, PIECE), ERR_MALFORMED);
	for (uint64_t n = 1; (n + 1) * PIECE <= f->id.bytes; n++)
		assert_int_equal(piece(f, n * PIECE, PIECE), ERR_OK);
	assert_int_equal(piece(f, f->id.bytes / PIECE * PIECE, PIECE),
	    ERR_MALFORMED); /* beyond the end */
}

static void
more_than_the_window_is_malformed(void **state)
{
	struct fixture *f = *state;

	f->id.bytes = (uint64_t)32 * PIECE;
	(void)begin(f);
	for (uint64_t n = 0; n < 17; n++)
		assert_int_equal(piece(f, n * PIECE, PIECE), ERR_OK);
	assert_int_equal(piece(f, (uint64_t)17 * PIECE, PIECE), ERR_MALFORMED);
	wait_written(f, (uint64_t)17 * PIECE);
	assert_int_equal(piece(f, (uint64_t)17 * PIECE, PIECE), ERR_OK);
}

static void
without_room_it_is_refused_before_anything_is_written(void **state)
{
	struct fixture *f = *state;

	room = f->id.bytes;
	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	assert_refused(f, 0, ERR_NO_SPACE);
	assert_null(memdisk_file(f->mine, f->part));
	room++;
	assert_int_equal(begin(f), 0);
}

static void
what_is_there_needs_no_room(void **state)
{
	struct fixture *f = *state;
	size_t since;

	(void)begin(f);
	assert_int_equal(piece(f, 0, PIECE), ERR_OK);
	wait_written(f, PIECE);
	receiving_close(f->r);
	f->r = receiving_open(&f->rd);
	since = f->link.sent;
	room = f->id.bytes - PIECE;
	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	assert_refused(f, since, ERR_NO_SPACE);
	room++;
	assert_int_equal(begin(f), PIECE);
}

/* It is offered every ten seconds. */
static void
want_of_space_is_said_once_until_a_file_was_received(void **state)
{
	struct fixture *f = *state;
	struct borrowed b = borrow_pipe();
	unsigned said[3] = {0};

	for (unsigned i = 0; i < 3; i++) {
		const char *p;

		room = i == 1 ? PLENTY : 0;
		if (i == 1) {
			assert_int_equal(begin(f), 0);
			rest(f, 0);
			wait_done(f);
		} else {
			for (unsigned n = 0; n < 3; n++)
				assert_int_equal(
				    offer_as(f, &f->link, (struct bytes){0}),
				    ERR_OK);
		}
		for (p = take(b.read_fd);
		     (p = strstr(p, "snapshot refused: too little")) != NULL;
		     p++)
			said[i]++;
	}
	give_back(b);
	assert_int_equal(said[0], 1);
	assert_int_equal(said[1], 0);
	assert_int_equal(said[2], 1);
}

static void
one_node_is_asked_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct snapmsg_want m;
	struct wire w;

	receiving_ask(f->r, 7); /* nobody is there */
	receiving_close(f->r);
	f->r = receiving_open(&f->rd);
	f->rd.conf.member_count = 3;
	for (uint64_t i = 0; i < 3; i++)
		f->rd.conf.members[i].id = 3 - i; /* 3 is not connected */
	receiving_ask(f->r, 7);
	receiving_ask(f->r, 7);
	assert_int_equal(f->other.sent, 1);
	assert_int_equal(f->link.sent, 0);
	assert_int_equal(link_fake_last_type(&f->other), MSG_SNAP_WANT);
	wire_decode(&w, buf_bytes(&f->other.message[0].body));
	assert_int_equal(snapmsg_want_wire(&w, &m), ERR_OK);
	assert_int_equal(m.what, SNAPMSG_ASK);
	assert_int_equal(m.id.index, 7);
}

/* Others write, too: the log needs what is left. */
static void
a_disk_that_fills_meanwhile_ends_it_and_it_is_tried_again(void **state)
{
	struct fixture *f = *state;
	size_t since;

	(void)begin(f);
	assert_int_equal(piece(f, 0, PIECE), ERR_OK);
	wait_written(f, PIECE);
	room = f->id.bytes - PIECE + 1; /* for the rest, just so */
	assert_int_equal(piece(f, PIECE, PIECE), ERR_OK);
	wait_written(f, (uint64_t)2 * PIECE);
	since = f->link.sent;
	room = f->id.bytes - 2 * PIECE;
	assert_int_equal(piece(f, (uint64_t)2 * PIECE, PIECE), ERR_OK);
	assert_refused(f, since, ERR_NO_SPACE);
	assert_string_equal(kept, ""); /* so it is removed */
	/* What was on its way is old, and no fault of the sender's. */
	assert_int_equal(piece(f, (uint64_t)3 * PIECE, PIECE), ERR_OK);
	assert_int_equal(f->link.sent, since + 1);
	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	assert_refused(f, since + 1, ERR_NO_SPACE);
	f->rd.snap_disk.remove(f->rd.snap_disk.arg, f->part); /* snap.c does */
	room = PLENTY;
	assert_int_equal(begin(f), 0);
	rest(f, 0);
	wait_done(f);
}

/* Holds the helper thread. */
struct gate {
	struct snapio_job job; /* first */
	sem_t open;
};

static bool
gate_run(struct snapio_job *job)
{
	assert_int_equal(sem_wait(&((struct gate *)job)->open), 0);
	return false;
}

static void
gate_done(struct snapio_job *job, bool cancelled)
{
	(void)job, (void)cancelled;
}

/* What was to be done to the first attempt's file must not be done to the
 * second's, which has the same name. */
static void
an_attempt_that_was_given_up_leaves_the_next_one_its_file(void **state)
{
	struct fixture *f = *state;
	struct gate gate = {.job = {.run = gate_run, .done = gate_done}};
	size_t since;

	assert_int_equal(sem_init(&gate.open, 0, 0), 0);
	(void)begin(f);
	rest(f, 0);
	snapio_submit(f->rd.snapio, &gate.job);
	wait_written(f, f->id.bytes); /* the check waits at the gate */
	since = f->link.sent;
	f->id.checksum++;
	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	f->id.checksum--;
	assert_int_equal(offer_as(f, &f->link, (struct bytes){0}), ERR_OK);
	assert_int_equal(f->link.sent, since);
	assert_int_equal(sem_post(&gate.open), 0);
	assert_int_equal(answer(f, &f->link, since).offset, f->id.bytes);
	wait_done(f);
	(void)sem_destroy(&gate.open);
}

/* The page cache has what the disk has not got: it would be checked there, and
 * found good. */
static void
a_file_that_could_not_be_written_or_synced_is_begun_anew(void **state)
{
	struct fixture *f = *state;
	const unsigned ops[] = {MEMDISK_WRITE, MEMDISK_SYNC};

	for (unsigned i = 0; i < 2; i++) {
		struct snapmsg_want m;

		assert_int_equal(begin(f), 0);
		memdisk_fail(f->mine, ops[i], i == 0 ? 3 : 1);
		rest(f, 0);
		do
			m = answer(f, &f->link, f->link.sent);
		while (m.what == SNAPMSG_FROM);
		assert_int_equal(m.what, SNAPMSG_REFUSED);
		assert_int_equal(m.code, ERR_IO);
		assert_true(memdisk_has_failed(f->mine));
	}
	assert_int_equal(begin(f), 0);
	rest(f, 0);
	wait_done(f);
}

/* All of it comes, and it is not what was offered. */
static void
assert_found_damaged(struct fixture *f)
{
	struct snapmsg_want m;

	assert_int_equal(begin(f), 0);
	rest(f, 0);
	do
		m = answer(f, &f->link, f->link.sent);
	while (m.what == SNAPMSG_FROM);
	assert_int_equal(m.what, SNAPMSG_REFUSED);
	assert_int_equal(m.code, ERR_CORRUPT);
	assert_int_equal(added, 0);
}

static void
a_damaged_file_or_another_one_is_refused_and_begun_anew(void **state)
{
	struct fixture *f = *state;
	struct buf *file = memdisk_file(f->theirs, "file");

	file->data[CHUNK_BYTES] ^= 1;
	assert_found_damaged(f);
	file->data[CHUNK_BYTES] ^= 1;
	f->id.term++;
	assert_found_damaged(f);
	f->id.term--;
	assert_int_equal(begin(f), 0);
	rest(f, 0);
	wait_done(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_file_is_received_checked_and_named, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_is_there_is_gone_on_with, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		there_is_one_sender_at_a_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_cannot_be_is_malformed, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		more_than_the_window_is_malformed, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		without_room_it_is_refused_before_anything_is_written, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		one_node_is_asked_at_a_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_is_there_needs_no_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		want_of_space_is_said_once_until_a_file_was_received, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		an_attempt_that_was_given_up_leaves_the_next_one_its_file,
		setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_disk_that_fills_meanwhile_ends_it_and_it_is_tried_again,
		setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_file_that_could_not_be_written_or_synced_is_begun_anew, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_damaged_file_or_another_one_is_refused_and_begun_anew, setup,
		teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
