/* Sending a snapshot file: what the receiver says late, what the helper thread
 * finds.  The link, the core and the other parts of raftd are stood in for
 * here.  Under ThreadSanitizer all of them are worth a look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "raftd/behind.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"
#include "raftd/snapmsg.h"
#include "raftd/transfer.h"

#define OFFER_AGAIN_MS 5000 /* longer than transfer.c waits */
#define FILE_BYTES (3u << 20)
#define RECEIVER 2u

/* The link of the one transfer: what was sent last, of each kind. */
static struct link_fake {
	const struct link_ops *ops;
	void *arg;
	struct msg_hello peer;
	struct buf out;
	struct wire wire;
	enum msg_type type;
	unsigned offers, pieces;
	uint32_t number; /* of the last offer */
	uint64_t next;   /* where the next piece must begin */
	bool closed;
} fake;

struct fixture {
	struct raftd rd;
	struct snap file;
	struct mono now;
};

static bool reads_fail;
static unsigned suspected;
static bool core_waits; /* else this one was asked for */
static unsigned failures, successes;
static uint64_t behind; /* the receiver has got this one; 0: none */
static unsigned runs;   /* of the list of these */
static uint64_t first;  /* of the log */
static bool ample;      /* space on the disk */
static unsigned opened; /* files, at the moment */

/* ---- stand-ins ---- */

static struct link *
fake_link(void)
{
	return (struct link *)(void *)&fake;
}

struct link *
links_dial(struct links *ls, const char *url, enum msg_process expect,
    const char *name, const struct link_ops *ops, void *arg)
{
	(void)ls, (void)url, (void)expect, (void)name;
	fake.ops = ops;
	fake.arg = arg;
	return fake_link();
}

void
link_close(struct link *l)
{
	assert_ptr_equal(l, fake_link());
	fake.closed = true;
}

struct wire *
link_begin(struct link *l, enum msg_type type)
{
	assert_ptr_equal(l, fake_link());
	fake.type = type;
	buf_clear(&fake.out);
	wire_encode(&fake.wire, &fake.out);
	return &fake.wire;
}

void
link_end(struct link *l)
{
	struct snapmsg_offer offer;
	struct snapmsg_piece piece;
	struct wire w;

	(void)l;
	wire_decode(&w, buf_bytes(&fake.out));
	if (fake.type == MSG_SNAP_OFFER) {
		assert_int_equal(snapmsg_offer_wire(&w, &offer), ERR_OK);
		assert_int_equal(offer.number, fake.number + 1);
		fake.number = offer.number;
		fake.offers++;
		return;
	}
	assert_int_equal(fake.type, MSG_SNAP_PIECE);
	assert_int_equal(snapmsg_piece_wire(&w, &piece), ERR_OK);
	assert_int_equal(piece.offset, fake.next);
	fake.next += piece.data.len;
	fake.pieces++;
}

bool
link_is_up(const struct link *l)
{
	return l != NULL;
}

bool
link_is_full(const struct link *l)
{
	(void)l;
	return false;
}

const struct msg_hello *
link_peer(const struct link *l)
{
	(void)l;
	return &fake.peer;
}

const struct wal_member *
cluster_member(const struct wal_conf *conf, uint64_t id)
{
	(void)id;
	return &conf->members[0];
}

bool
cluster_state_has(const struct raft_conf_state *s, uint64_t id)
{
	(void)s, (void)id;
	if (!core_waits)
		fail_msg("this one was asked for: no membership matters");
	return true;
}

void
peers_fill_hello(const struct raftd *rd, struct msg_hello *mine)
{
	(void)rd, (void)mine;
}

enum err
peers_check_hello(
    const struct raftd *rd, struct link *l, const struct msg_hello *theirs)
{
	(void)rd, (void)l, (void)theirs;
	return ERR_OK;
}

uint64_t
feed_published(const struct feed *f)
{
	(void)f;
	return 100;
}

enum raft_role
raft_role(const struct raft *r)
{
	(void)r;
	return RAFT_LEADER;
}

void
raft_report_snapshot(struct raft *r, uint64_t id, bool ok)
{
	(void)r;
	if (!core_waits)
		fail_msg("this one was asked for: the core knows nothing");
	assert_int_equal(id, RECEIVER);
	if (ok)
		successes++;
	else
		failures++;
}

struct behind *
behind_open(struct raftd *rd)
{
	(void)rd;
	return NULL;
}

void
behind_close(struct behind *b)
{
	(void)b;
}

void
behind_add(struct behind *b, uint64_t node, uint64_t index, uint64_t bytes)
{
	(void)b;
	if (!core_waits)
		fail_msg("this one was asked for: it reads no log");
	assert_int_equal(node, RECEIVER);
	assert_int_equal(index, 42);
	assert_int_equal(bytes, FILE_BYTES);
	behind = index;
}

/* Not before the core knows. */
void
behind_run(struct behind *b, struct mono now)
{
	(void)b, (void)now;
	assert_int_equal(successes, behind != 0);
	runs++;
}

uint64_t
behind_oldest(const struct behind *b, uint64_t index)
{
	(void)b;
	return behind != 0 && behind < index ? behind : index;
}

uint64_t
rlog_first(const struct rlog *l)
{
	(void)l;
	return first;
}

bool
space_is_ample(const struct space *sp)
{
	(void)sp;
	return ample;
}

const struct snap *
snaps_find(const struct snaps *ss, uint64_t index)
{
	(void)index;
	return (const struct snap *)(const void *)ss;
}

const struct snap *
snaps_between(const struct snaps *ss, uint64_t min, uint64_t max)
{
	(void)min, (void)max;
	return (const struct snap *)(const void *)ss;
}

void
snaps_suspect(struct snaps *ss, uint64_t index)
{
	(void)ss, (void)index;
	suspected++;
}

void
take_wanted(struct take *t)
{
	(void)t;
}

bool
snapfile_id_equal(const struct snapfile_id *a, const struct snapfile_id *b)
{
	return a->checksum == b->checksum;
}

void
snapfile_name(uint64_t index, char out[SNAP_NAME_BYTES])
{
	assert_int_equal(index, 42);
	memcpy(out, "file", 5);
}

struct receiving *
receiving_open(struct raftd *rd)
{
	(void)rd;
	return NULL;
}

void
receiving_close(struct receiving *r)
{
	(void)r;
}

enum err
receiving_offer(struct receiving *r, struct link *l, struct wire *w)
{
	(void)r, (void)l, (void)w;
	return ERR_MALFORMED;
}

void
receiving_ask(struct receiving *r, uint64_t min)
{
	(void)r, (void)min;
}

enum err
receiving_piece(struct receiving *r, struct link *l, struct wire *w)
{
	return receiving_offer(r, l, w);
}

void
receiving_down(struct receiving *r, struct link *l)
{
	(void)r, (void)l;
}

static int
disk_open(void *arg, const char *name, bool create)
{
	(void)arg, (void)name;
	assert_false(create);
	opened++;
	return 3;
}

static void
disk_close(void *arg, int fd)
{
	(void)arg;
	assert_int_equal(fd, 3);
	opened--;
}

static ssize_t
disk_read(void *arg, int fd, void *data, size_t n, off_t at)
{
	(void)arg, (void)fd, (void)at;
	if (reads_fail) {
		errno = EIO;
		return -1;
	}
	memset(data, 7, n);
	return (ssize_t)n;
}

/* ---- driving it ---- */

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));
	struct raftd *rd = &f->rd;

	fake = (struct link_fake){.peer = {.node = RECEIVER}};
	reads_fail = false;
	suspected = failures = successes = 0;
	behind = 0;
	runs = 0;
	first = 1;
	ample = true;
	opened = 0;
	core_waits = false;
	f->file.id = (struct snapfile_id){
	    .index = 42, .term = 1, .bytes = FILE_BYTES, .checksum = 9};
	rd->snaps = (struct snaps *)(void *)&f->file;
	rd->conf.member_count = 1;
	rd->snap_disk = (struct wal_disk){
	    .open = disk_open, .close = disk_close, .read = disk_read};
	rd->loop = loop_open();
	rd->snapio = snapio_open(rd->loop);
	rd->transfers = transfers_open(rd);
	f->now = mono_now();
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	snapio_close(f->rd.snapio);
	transfers_close(f->rd.transfers);
	loop_close(f->rd.loop);
	assert_int_equal(opened, 0);
	buf_free(&fake.out);
	mem_free(f);
	return 0;
}

/* The receiver says something; what the sender answers to it. */
static enum err
says_why(
    enum snapmsg_what what, uint32_t number, uint64_t offset, enum err code)
{
	struct snapmsg_want m = {.what = (uint8_t)what,
	    .id = {.index = 42, .term = 1, .bytes = FILE_BYTES, .checksum = 9},
	    .number = number,
	    .offset = offset,
	    .code = (uint8_t)code};
	struct buf body = {0};
	struct wire enc, dec;
	enum err rc;

	wire_encode(&enc, &body);
	assert_int_equal(snapmsg_want_wire(&enc, &m), ERR_OK);
	wire_decode(&dec, buf_bytes(&body));
	rc = fake.ops->take(fake.arg, fake_link(), MSG_SNAP_WANT, &dec);
	buf_free(&body);
	return rc;
}

static enum err
says(enum snapmsg_what what, uint32_t number, uint64_t offset)
{
	return says_why(what, number, offset, ERR_OK);
}

static void
asks(struct fixture *f)
{
	struct snapmsg_want m = {.what = SNAPMSG_ASK, .id = {.index = 1}};
	struct buf body = {0};
	struct wire enc, dec;

	wire_encode(&enc, &body);
	assert_int_equal(snapmsg_want_wire(&enc, &m), ERR_OK);
	wire_decode(&dec, buf_bytes(&body));
	assert_int_equal(
	    transfers_take(f->rd.transfers, fake_link(), MSG_SNAP_WANT, &dec),
	    ERR_OK);
	buf_free(&body);
}

/* Another node asks for a file, and its connection is up. */
static void
begin(struct fixture *f)
{
	asks(f);
	assert_int_equal(
	    fake.ops->up(fake.arg, fake_link(), &fake.peer), ERR_OK);
	assert_int_equal(fake.offers, 1);
}

/* Turns until so many pieces were sent. */
static void
run_until(struct fixture *f, unsigned pieces)
{
	while (fake.pieces < pieces) {
		snapio_take(f->rd.snapio);
		transfers_run(f->rd.transfers, f->now);
		if (fake.pieces < pieces)
			(void)loop_wait(f->rd.loop, mono_add_ms(mono_now(), 1));
	}
	assert_int_equal(fake.pieces, pieces);
}

/* Nothing has moved for a while. */
static void
offer_again(struct fixture *f)
{
	unsigned offers = fake.offers;

	transfers_run(f->rd.transfers, mono_add_ms(mono_now(), OFFER_AGAIN_MS));
	assert_int_equal(fake.offers, offers + 1);
}

static void
a_file_is_sent_in_windows_until_it_is_there(void **state)
{
	struct fixture *f = *state;
	const uint64_t window = (uint64_t)8 * SNAP_PIECE_BYTES;

	begin(f);
	assert_int_equal(says(SNAPMSG_FROM, 1, 0), ERR_OK);
	run_until(f, 8);
	assert_int_equal(fake.next, window);
	assert_int_equal(says(SNAPMSG_FROM, 1, window), ERR_OK);
	run_until(f, FILE_BYTES / SNAP_PIECE_BYTES);
	assert_int_equal(fake.next, FILE_BYTES);
	assert_int_equal(says(SNAPMSG_DONE, 1, FILE_BYTES), ERR_OK);
	transfers_run(f->rd.transfers, f->now);
	assert_true(fake.closed);
}

/* It was on its way when the sender lost patience; the receiver has more by
 * then and says so next.  Taken for the answer, it would have made the sender
 * repeat pieces that the receiver must refuse. */
static void
what_answers_an_older_offer_is_ignored(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_int_equal(says(SNAPMSG_FROM, 1, 0), ERR_OK);
	run_until(f, 8);
	offer_again(f);
	assert_int_equal(says(SNAPMSG_FROM, 1, SNAP_PIECE_BYTES), ERR_OK);
	assert_int_equal(
	    says(SNAPMSG_FROM, 1, (uint64_t)2 * SNAP_PIECE_BYTES), ERR_OK);
	snapio_take(f->rd.snapio);
	transfers_run(f->rd.transfers, f->now);
	assert_int_equal(fake.pieces, 8);
	/* The answer; then what is written, which may be less. */
	assert_int_equal(
	    says(SNAPMSG_FROM, 2, (uint64_t)8 * SNAP_PIECE_BYTES), ERR_OK);
	assert_int_equal(
	    says(SNAPMSG_FROM, 2, (uint64_t)4 * SNAP_PIECE_BYTES), ERR_OK);
	run_until(f, FILE_BYTES / SNAP_PIECE_BYTES);
	assert_int_equal(says(SNAPMSG_DONE, 2, FILE_BYTES), ERR_OK);
}

static void
what_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_int_equal(says(SNAPMSG_FROM, 2, 0), ERR_MALFORMED);
	assert_int_equal(says(SNAPMSG_FROM, 1, FILE_BYTES + 1), ERR_MALFORMED);
	assert_int_equal(says(SNAPMSG_FROM, 1, 0), ERR_OK);
	run_until(f, 8);
	assert_int_equal(says(SNAPMSG_FROM, 1, (uint64_t)9 * SNAP_PIECE_BYTES),
	    ERR_MALFORMED);
	assert_int_equal(says(SNAPMSG_ASK, 0, 0), ERR_MALFORMED);
}

/* The loop looks at the transfer while the helper thread fails to read: it
 * hears of it only when the job is back. */
static void
a_file_that_cannot_be_read_is_suspected_once(void **state)
{
	struct fixture *f = *state;

	begin(f);
	reads_fail = true;
	assert_int_equal(says(SNAPMSG_FROM, 1, 0), ERR_OK);
	while (!fake.closed) {
		transfers_run(f->rd.transfers, f->now);
		snapio_take(f->rd.snapio);
	}
	assert_int_equal(suspected, 1);
	assert_int_equal(fake.pieces, 0);
}

/* The core's MsgSnap, and the connection is up. */
static void
begin_for_the_core(struct fixture *f)
{
	struct raft_snapshot snapshot = {.index = 42, .term = 1};
	struct raft_msg m = {
	    .type = RAFT_MSG_SNAP, .to = RECEIVER, .snapshot = &snapshot};

	core_waits = true;
	snapshot.data = blob_new("", 0);
	transfers_send(f->rd.transfers, &m);
	blob_unref(&snapshot.data);
	assert_int_equal(
	    fake.ops->up(fake.arg, fake_link(), &fake.peer), ERR_OK);
	assert_int_equal(fake.offers, 1);
}

/* A core that hears of the failure offers the file anew with the next
 * heartbeat. */
static void
a_node_without_space_is_left_in_peace_for_a_while(void **state)
{
	struct fixture *f = *state;
	struct mono before = mono_now(), after;

	begin_for_the_core(f);
	assert_int_equal(says_why(SNAPMSG_REFUSED, 1, 0, ERR_NO_SPACE), ERR_OK);
	after = mono_now();
	transfers_run(f->rd.transfers, after);
	assert_true(fake.closed);
	assert_int_equal(opened, 0); /* what is removed takes no space */
	transfers_run(f->rd.transfers, mono_add_ms(before, 9999));
	assert_int_equal(failures, 0);
	transfers_run(f->rd.transfers, mono_add_ms(after, 10001));
	assert_int_equal(failures, 1);
	transfers_run(f->rd.transfers, mono_add_ms(after, 20002));
	assert_int_equal(failures, 1);
	assert_int_equal(behind, 0);
}

/* Neither is one that asks, although it asks again and again. */
static void
nor_is_one_that_asks_offered_another_at_once(void **state)
{
	struct fixture *f = *state;

	begin(f);
	asks(f); /* it has not seen the offer yet */
	assert_int_equal(opened, 1);
	assert_int_equal(says_why(SNAPMSG_REFUSED, 1, 0, ERR_NO_SPACE), ERR_OK);
	asks(f);
	transfers_run(f->rd.transfers, mono_now());
	asks(f);
	assert_int_equal(opened, 0);
	transfers_run(f->rd.transfers, mono_add_ms(mono_now(), 10001));
	asks(f);
	assert_int_equal(opened, 1);
}

static void
the_core_hears_of_another_refusal_at_once(void **state)
{
	struct fixture *f = *state;

	begin_for_the_core(f);
	assert_int_equal(says(SNAPMSG_FROM, 1, 0), ERR_OK);
	transfers_run(f->rd.transfers, f->now); /* the helper thread reads */
	assert_int_equal(
	    says_why(SNAPMSG_REFUSED, 1, 0, ERR_OVERLOADED), ERR_OK);
	assert_int_equal(transfers_oldest(f->rd.transfers, 90), 90);
	transfers_run(f->rd.transfers, mono_now());
	assert_int_equal(failures, 1);
	transfers_run(f->rd.transfers, mono_now());
	assert_int_equal(failures, 1);
	assert_int_equal(suspected, 0);
	assert_int_equal(behind, 0);
}

/* All of it has arrived at the receiver. */
static void
send_all(struct fixture *f)
{
	begin_for_the_core(f);
	assert_int_equal(says(SNAPMSG_FROM, 1, 0), ERR_OK);
	run_until(f, 8);
	assert_int_equal(
	    says(SNAPMSG_FROM, 1, (uint64_t)8 * SNAP_PIECE_BYTES), ERR_OK);
	run_until(f, FILE_BYTES / SNAP_PIECE_BYTES);
	assert_int_equal(transfers_oldest(f->rd.transfers, 90), 42);
	assert_int_equal(says(SNAPMSG_DONE, 1, FILE_BYTES), ERR_OK);
}

/* While it is sent, and then what is read on from there. */
static void
the_log_is_kept_for_who_gets_one(void **state)
{
	struct fixture *f = *state;
	struct transfers *ts = f->rd.transfers;

	send_all(f);
	assert_int_equal(behind, 42);
	assert_int_equal(transfers_oldest(ts, 90), 42);
	assert_int_equal(transfers_oldest(ts, 30), 30);
	runs = 0;
	transfers_run(ts, mono_now());
	assert_int_equal(runs, 1);
	assert_int_equal(successes, 1);
	assert_int_equal(transfers_oldest(ts, 90), 42);
	while (opened != 0) { /* the helper thread has read ahead */
		(void)loop_wait(f->rd.loop, mono_add_ms(mono_now(), 1));
		snapio_take(f->rd.snapio);
		transfers_run(ts, mono_now());
	}
	behind = 60;
	assert_int_equal(transfers_oldest(ts, 90), 60);
}

static void
the_log_is_not_kept_when_space_gets_scarce(void **state)
{
	struct fixture *f = *state;
	struct transfers *ts = f->rd.transfers;

	begin_for_the_core(f);
	assert_int_equal(transfers_oldest(ts, 90), 42);
	ample = false;
	assert_int_equal(transfers_oldest(ts, 90), 90);
	first = 43;
	ample = true;
	assert_int_equal(transfers_oldest(ts, 90), 42);
	first = 44; /* what it needs next is gone: the rest is of no use */
	assert_int_equal(transfers_oldest(ts, 90), 90);
	behind = 60;
	assert_int_equal(transfers_oldest(ts, 90), 60);
	ample = false;
	assert_int_equal(transfers_oldest(ts, 90), 90);
	ample = true;
	behind = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_file_is_sent_in_windows_until_it_is_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_answers_an_older_offer_is_ignored, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_cannot_be_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_file_that_cannot_be_read_is_suspected_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_node_without_space_is_left_in_peace_for_a_while, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		the_core_hears_of_another_refusal_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		nor_is_one_that_asks_offered_another_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_log_is_kept_for_who_gets_one, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_log_is_not_kept_when_space_gets_scarce, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
