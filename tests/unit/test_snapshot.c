/* The state as a stream, its way into another store, and from one engine's
 * store to another's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "kvd/adopt.h"
#include "kvd/dirs.h"
#include "tests/unit/kvd_fixture.h"

#define ID 5u
#define OTHER_NODE 8u

/* --- playing raftd --- */

static void
ask(struct fixture *f, uint8_t type, uint64_t id, uint32_t window)
{
	struct msg_snap_ask m = {.id = id, .window = window};
	struct buf body = {0};
	struct wire w;

	wire_encode(&w, &body);
	assert_int_equal(msg_snap_ask_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	assert_int_equal(snapshot_take(&f->kvd, type, &w), ERR_OK);
	buf_free(&body);
}

static struct msg_snap_head
sent_head(size_t n)
{
	struct msg_snap_head head;
	struct wire w;

	assert_true(n < sent_count);
	assert_int_equal(sent[n].type, MSG_SNAP_HEAD);
	wire_decode(&w, buf_bytes(&sent[n].body));
	assert_int_equal(msg_snap_head_wire(&w, &head), ERR_OK);
	return head;
}

static struct msg_snap_data
sent_data(size_t n)
{
	struct msg_snap_data data;
	struct wire w;

	assert_true(n < sent_count);
	assert_int_equal(sent[n].type, MSG_SNAP_DATA);
	wire_decode(&w, buf_bytes(&sent[n].body));
	assert_int_equal(msg_snap_data_wire(&w, &data), ERR_OK);
	return data;
}

static enum err
load_head(struct fixture *f, struct msg_snap_head head)
{
	struct buf body = {0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &body);
	assert_int_equal(msg_snap_head_wire(&w, &head), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = loading_take(&f->kvd, MSG_LOAD_HEAD, &w);
	buf_free(&body);
	return rc;
}

static enum err
load_data(struct fixture *f, struct msg_snap_data data)
{
	struct buf body = {0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &body);
	assert_int_equal(msg_snap_data_wire(&w, &data), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = loading_take(&f->kvd, MSG_LOAD_DATA, &w);
	buf_free(&body);
	return rc;
}

/* A snapshot, as it was sent. */
struct copy {
	struct msg_snap_head head;
	struct msg_snap_data *chunks; /* data points into bytes */
	struct buf *bytes;
	size_t count;
};

static void
copy_free(struct copy *c)
{
	for (size_t i = 0; i < c->count; i++)
		buf_free(&c->bytes[i]);
	mem_free(c->bytes);
	mem_free(c->chunks);
}

/* Of what was sent: a head, then all chunks. */
static struct copy
copy_sent(void)
{
	struct copy c = {.head = sent_head(0), .count = sent_count - 1};

	c.chunks = mem_zalloc(c.count, sizeof c.chunks[0]);
	c.bytes = mem_zalloc(c.count, sizeof c.bytes[0]);
	for (size_t i = 0; i < c.count; i++) {
		c.chunks[i] = sent_data(i + 1);
		assert_int_equal(c.chunks[i].id, c.head.id);
		assert_int_equal(c.chunks[i].number, i);
		assert_int_equal(c.chunks[i].last, i + 1 == c.count);
		buf_append(
		    &c.bytes[i], c.chunks[i].data.data, c.chunks[i].data.len);
		c.chunks[i].data = buf_bytes(&c.bytes[i]);
	}
	return c;
}

static struct copy
copy_of(struct fixture *f)
{
	sent_clear();
	ask(f, MSG_SNAP_ASK, ID, UINT32_MAX);
	do
		run_snapshot(f);
	while (f->kvd.snapshot.iter != NULL);
	return copy_sent();
}

static enum err
load_copy(struct fixture *f, const struct copy *c)
{
	enum err rc = load_head(f, c->head);

	for (size_t i = 0; rc == ERR_OK && i < c->count; i++)
		rc = load_data(f, c->chunks[i]);
	return rc;
}

/* --- states --- */

/* Large values, so that there are several chunks. */
static void
put_large(struct fixture *f, uint64_t seq, unsigned n, char fill)
{
	char *value = mem_alloc(100000);
	char key[32];

	memset(value, fill, 100000);
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(key, sizeof key, "large-%u", i);
		(void)one(f, seq + i,
		    (struct cmd){.op = CMD_PUT,
			.key = bytes_of_str(key),
			.value = bytes_of(value, 100000)});
	}
	sent_clear();
	mem_free(value);
}

/* All records but the state, as one text of bytes. */
static void
records_of(struct fixture *f, struct buf *out)
{
	const struct bytes all = bytes_of(NULL, 0);
	struct engine_iter *i;
	struct bytes name, record;
	struct wire w;

	wire_encode(&w, out);
	assert_int_equal(
	    f->ops->scan(f->kvd.store.engine, all, all, &i), ERR_OK);
	while (f->ops->scan_next(i, &name, &record) == ERR_OK) {
		if (bytes_equal(name, record_name_state()))
			continue;
		wire_bytes(&w, &name, SIZE_MAX);
		wire_bytes(&w, &record, SIZE_MAX);
	}
	f->ops->scan_close(i);
}

static void
expect_same_state(struct fixture *a, struct fixture *b)
{
	const struct state *x = &a->kvd.store.state, *y = &b->kvd.store.state;
	struct buf in_a = {0}, in_b = {0};

	assert_int_equal(x->applied, y->applied);
	assert_int_equal(x->term, y->term);
	assert_int_equal(x->cluster, y->cluster);
	assert_int_equal(x->revision, y->revision);
	assert_int_equal(x->keys, y->keys);
	assert_int_equal(x->bytes, y->bytes);
	assert_memory_equal(&x->hash, &y->hash, sizeof x->hash);
	records_of(a, &in_a);
	records_of(b, &in_b);
	assert_true(bytes_equal(buf_bytes(&in_a), buf_bytes(&in_b)));
	buf_free(&in_a);
	buf_free(&in_b);
	expect_state_is_that_of_the_keys(b);
}

static void
expect_dir(struct fixture *f, const char *suffix, bool there)
{
	const struct dirs_path p = dirs_path(f->dir, f->ops->name, suffix);
	struct stat st;

	assert_int_equal(stat(p.text, &st) == 0, there);
}

static struct fixture *
other_fixture(const char *engine)
{
	void *state = (void *)(uintptr_t)engine;

	assert_int_equal(fixture_setup(&state), 0);
	return state;
}

static void
other_free(struct fixture *f)
{
	void *state = f;

	assert_int_equal(fixture_teardown(&state), 0);
}

/* --- sending --- */

static void
a_snapshot_is_of_the_state_when_it_began_and_commits_go_on(void **state)
{
	struct fixture *f = *state;
	struct test_entry *log = entries_make(400, 3);
	struct fixture *g = other_fixture("memory");
	struct copy c;

	feed(f, log, 200, 1);
	sent_clear();
	ask(f, MSG_SNAP_ASK, ID, UINT32_MAX);
	run_snapshot(f);
	assert_int_equal(sent_count, 1);
	fixture_httpd(f, 0); /* no replies between the chunks */
	feed(f, log, 400, 2);
	while (f->kvd.snapshot.iter != NULL)
		run_snapshot(f);
	c = copy_sent();
	assert_int_equal(c.head.index, 200);
	fixture_httpd(g, 0);
	assert_int_equal(load_copy(g, &c), ERR_OK);
	assert_int_equal(g->kvd.store.state.applied, 200);
	expect_state_is_that_of_the_keys(g);
	/* ... and with the rest of the log it is what the other one is. */
	feed(g, log, 400, 3);
	expect_same_state(f, g);
	copy_free(&c);
	other_free(g);
	entries_free(log, 400);
}

static void
no_more_chunks_are_sent_than_were_asked_for(void **state)
{
	struct fixture *f = *state;
	struct mono next;

	put_large(f, 1, 10, 'x');
	ask(f, MSG_SNAP_ASK, ID, 2);
	for (int i = 0; i < 10; i++)
		run_snapshot(f);
	assert_int_equal(sent_count, 3); /* a head and two chunks */
	assert_int_equal(snapshot_next(&f->kvd).ns, MONO_NEVER.ns);
	ask(f, MSG_SNAP_MORE, ID + 1, 9); /* of another stream */
	run_snapshot(f);
	assert_int_equal(sent_count, 3);
	ask(f, MSG_SNAP_MORE, ID, 3);
	next = snapshot_next(&f->kvd);
	assert_true(mono_reached(next, mono_now()));
	for (int i = 0; i < 10; i++)
		run_snapshot(f);
	assert_int_equal(sent_count, 4);
	assert_int_equal(sent_data(3).number, 2);
	assert_false(sent_data(3).last);
	snapshot_stop(&f->kvd);
}

static void
a_full_link_and_a_turn_hold_the_next_chunk_back(void **state)
{
	struct fixture *f = *state;

	put_large(f, 1, 10, 'x');
	ask(f, MSG_SNAP_ASK, ID, 100);
	run_snapshot(f);
	run_snapshot(f);
	assert_int_equal(sent_count, 2); /* one chunk in a turn */
	assert_true(sent_data(1).data.len < 2 * SNAP_CHUNK_BYTES_SOFT);
	links_are_full = true;
	run_snapshot(f);
	assert_int_equal(sent_count, 2);
	assert_false(mono_reached(snapshot_next(&f->kvd), mono_now()));
	links_are_full = false;
	run_snapshot(f);
	assert_int_equal(sent_count, 3);
	/* A new question ends the one before. */
	ask(f, MSG_SNAP_ASK, ID + 1, 100);
	run_snapshot(f);
	assert_int_equal(sent_count, 4);
	assert_int_equal(sent_head(3).id, ID + 1);
	snapshot_stop(&f->kvd);
	run_snapshot(f);
	assert_int_equal(sent_count, 4);
}

static void
an_empty_state_is_a_head_and_an_empty_chunk(void **state)
{
	struct fixture *f = *state;
	struct copy c = copy_of(f);

	assert_int_equal(c.head.index, 0);
	assert_int_equal(c.head.keys, 0);
	assert_int_equal(c.count, 1);
	assert_int_equal(c.chunks[0].data.len, 0);
	copy_free(&c);
}

/* --- loading --- */

static void
what_is_loaded_takes_the_place_of_what_was_there(void **state)
{
	struct fixture *f = *state;
	struct test_entry *log = entries_make(300, 8);
	struct fixture *g = other_fixture("lmdb");
	struct copy c;

	fixture_httpd(f, 0);
	fixture_httpd(g, 0);
	feed(f, log, 100, 1); /* a prefix, as a node has that was away */
	feed(g, log, 300, 2);
	c = copy_of(g);
	assert_int_equal(load_copy(f, &c), ERR_OK);
	expect_same_state(g, f);
	assert_int_equal(f->kvd.store.state.node, NODE);
	assert_int_equal(f->kvd.store.flushed.applied, 300);
	expect_dir(f, ".load", false);
	expect_dir(f, ".old", false);
	if (f->ops->durable) { /* it is in the store's place on the disk */
		fixture_close(f, true);
		fixture_open(f);
		assert_int_equal(f->kvd.store.state.applied, 300);
		expect_same_state(g, f);
	}
	copy_free(&c);
	other_free(g);
	entries_free(log, 300);
}

static void
sessions_come_along_and_their_results_are_told(void **state)
{
	struct fixture *f = *state;
	struct fixture *g = other_fixture("memory");
	struct copy c;
	struct test_entry e;

	/* f's own httpd's batches, as the others applied them. */
	put_large(g, 1, 5, 'x');
	c = copy_of(g);
	sent_clear();
	assert_int_equal(load_copy(f, &c), ERR_OK);
	assert_int_equal(sent_count, 5);
	for (uint64_t i = 0; i < 5; i++) {
		assert_int_equal(sent_reply(i).seq, i + 1);
		assert_int_equal(sent_reply(i).applied, 5);
		assert_int_equal(sent_item(i, 0).code, ERR_CREATED);
		assert_int_equal(sent_item(i, 0).revision, i + 1);
	}
	/* Proposed again it is answered again, not applied again. */
	sent_clear();
	entry_begin(&e, NODE, EPOCH, 2, 1, 1);
	entry_put(&e, "large-1", "again");
	assert_int_equal(take(f, 6, &e, 1), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent_item(0, 0).code, ERR_CREATED);
	assert_int_equal(f->kvd.store.state.revision, 5);
	buf_free(&e.data);
	copy_free(&c);
	other_free(g);
}

/* An empty store. */
static void
start_over(struct fixture *f)
{
	fixture_close(f, true);
	assert_int_equal(dirs_remove(f->dir, f->ops->name), ERR_OK);
	fixture_open(f);
	fixture_httpd(f, 0);
}

static void
a_damaged_state_is_refused_and_the_old_one_stays(void **state)
{
	struct fixture *f = *state;
	struct fixture *g = other_fixture("memory");
	struct test_entry *log = entries_make(60, 4);
	struct state before;
	struct copy c;

	fixture_httpd(f, 0);
	fixture_httpd(g, 0);
	feed(f, log, 20, 1);
	feed(g, log, 60, 1);
	before = f->kvd.store.state;
	c = copy_of(g);
	for (size_t at = 0; at < c.bytes[0].len; at += 1 + at / 20) {
		const uint8_t bit = (uint8_t)(1u << at % 8);

		c.bytes[0].data[at] ^= bit;
		/* The hash is over keys; of sessions, whose bytes raftd's
		 * checksums cover, only the form is looked at. */
		if (load_copy(f, &c) == ERR_OK) {
			expect_state_is_that_of_the_keys(f);
			start_over(f);
			feed(f, log, 20, 1);
		}
		c.bytes[0].data[at] ^= bit;
		assert_null(f->kvd.load);
		assert_memory_equal(
		    &f->kvd.store.state, &before, sizeof before);
	}
	expect_dir(f, ".load", false);
	expect_state_is_that_of_the_keys(f);
	copy_free(&c);
	other_free(g);
	entries_free(log, 60);
}

static void
a_head_that_lies_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fixture *g = other_fixture("memory");
	struct copy c;
	struct msg_snap_head head;

	put_large(g, 1, 3, 'x');
	put_large(f, 1, 1, 'y');
	c = copy_of(g);
	head = c.head;
	c.head.hash.lo++;
	assert_int_equal(load_copy(f, &c), ERR_CORRUPT);
	assert_true(loading_must_wait(&f->kvd));
	c.head = head;
	c.head.keys--;
	assert_int_equal(load_copy(f, &c), ERR_CORRUPT);
	c.head = head;
	c.head.bytes++;
	assert_int_equal(load_copy(f, &c), ERR_CORRUPT);
	c.head = head;
	c.head.revision = 2; /* a key has 3 */
	assert_int_equal(load_copy(f, &c), ERR_CORRUPT);
	c.head = head;
	c.head.cluster++;
	assert_int_equal(load_copy(f, &c), ERR_FOREIGN);
	c.head = head;
	c.head.index = 1; /* not ahead of us */
	assert_int_equal(load_copy(f, &c), ERR_FOREIGN);
	assert_int_equal(f->kvd.store.state.applied, 1);
	assert_int_equal(f->kvd.exit_code, 0);
	c.head = head;
	assert_int_equal(load_copy(f, &c), ERR_OK);
	assert_int_equal(f->kvd.store.state.applied, 3);
	copy_free(&c);
	other_free(g);
}

static void
chunks_have_to_follow_each_other(void **state)
{
	struct fixture *f = *state;
	struct fixture *g = other_fixture("memory");
	struct copy c;

	put_large(g, 1, 10, 'x');
	c = copy_of(g);
	assert_true(c.count >= 3);
	assert_int_equal(load_data(f, c.chunks[0]), ERR_MALFORMED);
	assert_int_equal(load_head(f, c.head), ERR_OK);
	assert_int_equal(load_data(f, c.chunks[1]), ERR_MALFORMED);
	assert_int_equal(load_data(f, c.chunks[0]), ERR_OK);
	expect_dir(f, ".load", f->ops->durable);
	loading_stop(&f->kvd); /* the link broke */
	expect_dir(f, ".load", false);
	assert_int_equal(load_data(f, c.chunks[1]), ERR_MALFORMED);
	assert_int_equal(load_copy(f, &c), ERR_OK);
	expect_same_state(g, f);
	copy_free(&c);
	other_free(g);
}

/* What fails is the new store; the old one goes on. */
static void
a_state_that_the_disk_has_no_room_for_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	struct fixture *g = other_fixture("memory");
	struct msg_snap_head head;
	struct copy c;

	put_large(g, 1, 3, 'x');
	put_large(f, 1, 1, 'y');
	c = copy_of(g);
	head = c.head;
	head.bytes = UINT64_C(1) << 60; /* more than any disk has */
	assert_int_equal(load_head(f, head), ERR_NO_SPACE);
	assert_null(f->kvd.load);
	assert_true(loading_must_wait(&f->kvd));
	assert_int_equal(f->kvd.exit_code, 0); /* it goes on as it is */
	assert_int_equal(f->kvd.store.state.applied, 1);
	assert_int_equal(load_copy(f, &c), ERR_OK);
	assert_int_equal(f->kvd.store.state.applied, 3);
	copy_free(&c);
	other_free(g);
}

static void
a_disk_that_is_full_leaves_the_old_state(void **state)
{
	struct fixture *f = *state;
	struct fixture *g = other_fixture("memory");
	struct rlimit before, small;
	struct copy c;
	enum err rc;

	put_large(g, 1, 60, 'x');
	put_large(f, 1, 2, 'y');
	c = copy_of(g);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 1 << 20;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	rc = load_copy(f, &c);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_not_equal(rc, ERR_OK);
	assert_null(f->kvd.load);
	/* It ends, for raftd must not take its file for a damaged one. */
	assert_int_equal(f->kvd.exit_code, EX_IOERR);
	expect_dir(f, ".load", false);
	assert_int_equal(f->kvd.store.state.applied, 2);
	expect_state_is_that_of_the_keys(f);
	f->kvd.exit_code = 0;
	f->kvd.quit = false;
	put_large(f, 10, 1, 'z');
	fixture_close(f, true);
	fixture_open(f);
	assert_int_equal(f->kvd.store.state.applied, 3);
	assert_int_equal(load_copy(f, &c), ERR_OK);
	expect_same_state(g, f);
	copy_free(&c);
	other_free(g);
}

/* --- killed between the steps --- */

static void
after_a_kill_there_is_the_old_store_or_the_new_one(void **state)
{
	struct fixture *f = *state;
	const char *engine = f->ops->name;
	const struct dirs_path store = dirs_path(f->dir, engine, "");
	const struct dirs_path load = dirs_path(f->dir, engine, ".load");
	const struct dirs_path old = dirs_path(f->dir, engine, ".old");
	const struct dirs_path gone = dirs_path(f->dir, engine, ".gone");

	put_large(f, 1, 3, 'x');
	fixture_close(f, true);
	/* While it was built. */
	assert_int_equal(mkdir(load.text, 0700), 0);
	assert_int_equal(dirs_recover(f->dir, engine), ERR_OK);
	expect_dir(f, ".load", false);
	/* Between the renames. */
	assert_int_equal(mkdir(load.text, 0700), 0);
	assert_int_equal(rename(store.text, old.text), 0);
	assert_int_equal(dirs_recover(f->dir, engine), ERR_OK);
	expect_dir(f, ".old", false);
	fixture_open(f);
	assert_int_equal(f->kvd.store.state.applied, 3);
	fixture_close(f, true);
	/* After them. */
	assert_int_equal(mkdir(old.text, 0700), 0);
	assert_int_equal(dirs_recover(f->dir, engine), ERR_OK);
	expect_dir(f, ".old", false);
	/* While what is old was removed. */
	assert_int_equal(mkdir(gone.text, 0700), 0);
	assert_int_equal(dirs_recover(f->dir, engine), ERR_OK);
	expect_dir(f, ".gone", false);
	fixture_open(f);
	assert_int_equal(f->kvd.store.state.applied, 3);
	/* Thrown away. */
	fixture_close(f, true);
	assert_int_equal(dirs_remove(f->dir, engine), ERR_OK);
	assert_int_equal(dirs_remove(f->dir, engine), ERR_OK);
	expect_dir(f, "", false);
	expect_dir(f, ".gone", false);
	fixture_open(f);
	assert_int_equal(f->kvd.store.state.applied, 0);
}

/* --- from one engine to another --- */

/* Close f and open it again with that engine. */
static void
change(struct fixture *f, const char *engine, struct adopt *a)
{
	const struct engine_ops *ops = engine_find(engine);
	const struct dirs_path dir = dirs_path(f->dir, engine, "");

	fixture_close(f, true); /* as after SIGKILL */
	f->ops = ops;
	memset(a, 0, sizeof *a);
	memset(&f->kvd, 0, sizeof f->kvd);
	f->kvd.kv_dir = f->dir;
	(void)mkdir(dir.text, 0700);
	assert_int_equal(store_open(&f->kvd.store, ops, dir.text), ERR_OK);
	assert_int_equal(adopt_begin(a, f->dir, &f->kvd.store), ERR_OK);
	assert_int_equal(
	    sessions_open(&f->kvd.sessions, &f->kvd.store), ERR_OK);
	f->kvd.check = check_open(0);
	check_reset(f->kvd.check, &f->kvd.store.state);
	fixture_httpd(f, EPOCH);
}

static void
another_engine_takes_over_and_the_old_store_goes_when_it_may(void **state)
{
	static const char *const engines[] = {"lmdb", "leveldb", "memory"};
	struct fixture *f = *state;
	const char *first = f->ops->name;
	struct test_entry *log = entries_make(300, 5);
	struct fixture *g = other_fixture("memory");

	fixture_httpd(f, 0);
	fixture_httpd(g, 0);
	feed(f, log, 300, 1);
	feed(g, log, 300, 2);
	for (size_t i = 0; i < 3; i++) {
		const struct dirs_path old = dirs_path(f->dir, first, "");
		struct adopt a;
		struct stat st;

		if (strcmp(engines[i], first) == 0)
			continue;
		change(f, engines[i], &a);
		assert_int_equal(f->kvd.store.state.applied, 300);
		expect_same_state(g, f);
		adopt_run(&a, &f->kvd.store, 300);
		assert_int_equal(stat(old.text, &st), 0); /* not confirmed */
		a.confirmed = true;
		adopt_run(&a, &f->kvd.store, 299);
		assert_int_equal(stat(old.text, &st) == 0, f->ops->durable);
		/* Back, while both are there: whatever is newer counts. */
		if (f->ops->durable) {
			change(f, first, &a);
			expect_same_state(g, f);
			change(f, engines[i], &a);
			a.confirmed = true;
		}
		adopt_run(&a, &f->kvd.store, 300);
		assert_int_equal(stat(old.text, &st), -1);
		if (!f->ops->durable)
			break; /* nothing is left to change back to */
		change(f, first, &a);
		expect_same_state(g, f);
		a.confirmed = true;
		adopt_run(&a, &f->kvd.store, 300);
		assert_int_equal(dirs_exists(f->dir, engines[i]), false);
	}
	other_free(g);
	entries_free(log, 300);
}

static void
a_store_of_another_node_is_left_alone(void **state)
{
	struct fixture *f = *state;
	const char *first = f->ops->name;
	const char *second = strcmp(first, "lmdb") == 0 ? "leveldb" : "lmdb";
	struct test_entry *log = entries_make(20, 6);
	struct adopt a;

	put_large(f, 1, 2, 'x');
	change(f, second, &a);
	assert_int_equal(f->kvd.store.state.applied, 2);
	f->kvd.store.state.node = OTHER_NODE;
	fixture_httpd(f, 0);
	feed(f, log, 20, 1);
	change(f, first, &a); /* older, but of another node */
	assert_int_equal(f->kvd.store.state.applied, 2);
	assert_int_equal(f->kvd.store.state.node, NODE);
	a.confirmed = true;
	adopt_run(&a, &f->kvd.store, UINT64_MAX);
	assert_true(dirs_exists(f->dir, second));
	entries_free(log, 20);
}

/* SIGKILL at random moments of a change: it gets there, and nothing is lost.
 */
static void
a_change_that_is_killed_again_and_again_succeeds(void **state)
{
	struct fixture *f = *state;
	const char *first = f->ops->name;
	const char *second = strcmp(first, "lmdb") == 0 ? "leveldb" : "lmdb";
	struct fixture *g = other_fixture("memory");
	struct adopt a;

	put_large(f, 1, 60, 'x');
	put_large(g, 1, 60, 'x');
	fixture_close(f, true);
	for (unsigned i = 0; i < 25; i++) {
		pid_t pid = fork();
		int status;

		assert_int_not_equal(pid, -1);
		if (pid == 0) {
			(void)dirs_recover(f->dir, first);
			(void)dirs_recover(f->dir, second);
			f->ops = engine_find(i % 2 == 0 ? second : first);
			fixture_open(f);
			change(f, i % 2 == 0 ? first : second, &a);
			_exit(0);
		}
		(void)usleep(500 + i * 1500);
		(void)kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	assert_int_equal(dirs_recover(f->dir, first), ERR_OK);
	assert_int_equal(dirs_recover(f->dir, second), ERR_OK);
	f->ops = engine_find(first);
	fixture_open(f);
	change(f, second, &a);
	expect_same_state(g, f);
	other_free(g);
}

#define DURABLE(test) ON_ENGINE(test, "lmdb"), ON_ENGINE(test, "leveldb")

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH_ENGINE(
		a_snapshot_is_of_the_state_when_it_began_and_commits_go_on),
	    EACH_ENGINE(no_more_chunks_are_sent_than_were_asked_for),
	    EACH_ENGINE(a_full_link_and_a_turn_hold_the_next_chunk_back),
	    EACH_ENGINE(an_empty_state_is_a_head_and_an_empty_chunk),
	    EACH_ENGINE(what_is_loaded_takes_the_place_of_what_was_there),
	    EACH_ENGINE(sessions_come_along_and_their_results_are_told),
	    EACH_ENGINE(a_damaged_state_is_refused_and_the_old_one_stays),
	    EACH_ENGINE(a_head_that_lies_is_refused),
	    EACH_ENGINE(chunks_have_to_follow_each_other),
	    DURABLE(a_state_that_the_disk_has_no_room_for_is_refused_at_once),
	    DURABLE(a_disk_that_is_full_leaves_the_old_state),
	    DURABLE(after_a_kill_there_is_the_old_store_or_the_new_one),
	    DURABLE(
		another_engine_takes_over_and_the_old_store_goes_when_it_may),
	    DURABLE(a_store_of_another_node_is_left_alone),
	    DURABLE(a_change_that_is_killed_again_and_again_succeeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
