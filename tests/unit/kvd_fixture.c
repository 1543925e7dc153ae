/* A kvd without links, and logs for it; see kvd_fixture.h. */
#include "kvd/snapshot.h"
#include "tests/unit/kvd_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "kvd/dirs.h"

struct sent sent[SENT_MAX];
size_t sent_count;

struct link {
	bool up;
	struct wire w;
};
static struct link httpd_link = {.up = true}, raftd_link = {.up = true};
bool links_are_full;

/* --- the link module's part --- */

struct wire *
link_begin(struct link *l, enum msg_type type)
{
	if (!l->up)
		return NULL;
	assert_true(sent_count < SENT_MAX);
	sent[sent_count].type = (uint8_t)type;
	wire_encode(&l->w, &sent[sent_count].body);
	return &l->w;
}

void
link_end(struct link *l)
{
	assert_int_equal(wire_end(&l->w), ERR_OK);
	assert_true(sent[sent_count].body.len <= FRAME_BODY_BYTES_MAX);
	sent_count++;
}

size_t
link_queued_bytes(const struct link *l)
{
	(void)l;
	return 0;
}

bool
link_is_full(const struct link *l)
{
	(void)l;
	return links_are_full;
}

void
sent_clear(void)
{
	for (size_t i = 0; i < sent_count; i++)
		buf_free(&sent[i].body);
	sent_count = 0;
}

struct msg_reply
sent_reply(size_t n)
{
	struct msg_reply reply;
	struct wire w;

	assert_true(n < sent_count);
	assert_int_equal(sent[n].type, MSG_REPLY);
	wire_decode(&w, buf_bytes(&sent[n].body));
	msg_reply_wire(&w, &reply);
	assert_int_equal(wire_err(&w), ERR_OK);
	return reply;
}

struct msg_reply_item
sent_item(size_t n, uint32_t i)
{
	struct msg_reply_item item, found = {0};
	struct msg_reply reply;
	struct wire w;

	assert_true(n < sent_count);
	wire_decode(&w, buf_bytes(&sent[n].body));
	msg_reply_wire(&w, &reply);
	assert_true(i < reply.count);
	for (uint32_t at = 0; at < reply.count; at++) {
		msg_reply_item_wire(&w, &item);
		if (at == i)
			found = item;
	}
	assert_int_equal(wire_end(&w), ERR_OK);
	return found;
}

/* --- the fixture --- */

void
fixture_open(struct fixture *f)
{
	const struct dirs_path dir = dirs_path(f->dir, f->ops->name, "");

	memset(&f->kvd, 0, sizeof f->kvd);
	f->kvd.kv_dir = f->dir;
	f->kvd.raftd = &raftd_link;
	if (f->ops->durable)
		(void)mkdir(dir.text, 0700); /* if it is not there */
	assert_int_equal(store_open(&f->kvd.store, f->ops, dir.text), ERR_OK);
	assert_int_equal(
	    sessions_open(&f->kvd.sessions, &f->kvd.store), ERR_OK);
	f->kvd.check = check_open(1);
	check_reset(f->kvd.check, &f->kvd.store.state);
	f->kvd.store.state.cluster = 1;
	f->kvd.store.state.node = NODE;
}

void
fixture_close(struct fixture *f, bool failed)
{
	snapshot_stop(&f->kvd);
	load_abandon(&f->kvd.load);
	sessions_close(f->kvd.sessions);
	check_close(f->kvd.check);
	assert_int_equal(store_close(&f->kvd.store, failed), ERR_OK);
	buf_free(&f->kvd.replies);
	buf_free(&f->kvd.questions);
	buf_free(&f->kvd.scratch);
	buf_free(&f->kvd.taken);
}

int
fixture_setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof *f);

	f->ops = engine_find(*state);
	assert_non_null(f->ops);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/test_kvd.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	fixture_open(f);
	fixture_httpd(f, EPOCH);
	*state = f;
	return 0;
}

int
fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	fixture_close(f, f->kvd.exit_code != 0);
	sent_clear();
	(void)snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	mem_free(f);
	return 0;
}

void
fixture_httpd(struct fixture *f, uint64_t epoch)
{
	f->kvd.httpd = epoch == 0 ? NULL : &httpd_link;
	f->kvd.httpd_epoch = epoch;
}

/* --- entries --- */

void
entry_begin(struct test_entry *e, uint64_t node, uint64_t epoch, uint64_t seq,
    uint64_t done_below, uint32_t count)
{
	struct cmd_batch batch = {.format = CMD_FORMAT,
	    .node = node,
	    .epoch = epoch,
	    .seq = seq,
	    .done_below = done_below,
	    .count = count};
	struct wire w;

	memset(e, 0, sizeof *e);
	wire_encode(&w, &e->data);
	cmd_batch_wire(&w, &batch);
}

void
entry_cmd(struct test_entry *e, struct cmd cmd)
{
	struct wire w;

	wire_encode(&w, &e->data);
	cmd_wire(&w, &cmd);
	assert_int_equal(wire_end(&w), ERR_OK);
}

void
entry_put(struct test_entry *e, const char *key, const char *value)
{
	entry_cmd(e, (struct cmd){.op = CMD_PUT,
			 .key = bytes_of_str(key),
			 .value = bytes_of_str(value)});
}

void
entry_delete(struct test_entry *e, const char *key)
{
	entry_cmd(e, (struct cmd){.op = CMD_DELETE, .key = bytes_of_str(key)});
}

static unsigned
below(unsigned *seed, unsigned n)
{
	return (unsigned)rand_r(seed) % n;
}

static void
random_batch(struct test_entry *e, unsigned *seed, uint64_t seq)
{
	const uint32_t count = 1 + below(seed, 6);
	char key[32], value[400];

	entry_begin(e, 1 + seq % 3, 100 + seq % 2, seq,
	    seq > 20 ? seq - below(seed, 20) : 1, count);
	for (uint32_t i = 0; i < count; i++) {
		struct cmd cmd = {
		    .op = below(seed, 4) == 0 ? CMD_DELETE : CMD_PUT};

		(void)snprintf(key, sizeof key, "key-%u", below(seed, 60));
		memset(value, 'a' + (int)below(seed, 26), sizeof value);
		cmd.key = bytes_of_str(key);
		if (cmd.op == CMD_PUT)
			cmd.value = bytes_of(value, below(seed, sizeof value));
		if (below(seed, 3) == 0) {
			cmd.when = (uint8_t)(1 + below(seed, 3));
			if (cmd.when == CMD_IF_REVISION)
				cmd.if_revision = below(seed, 200);
		}
		entry_cmd(e, cmd);
	}
}

struct test_entry *
entries_make(size_t n, unsigned seed)
{
	struct test_entry *entries = mem_zalloc(n, sizeof entries[0]);
	uint64_t seq = 1;

	for (size_t i = 0; i < n; i++) {
		struct test_entry *e = &entries[i];
		const unsigned kind = below(&seed, 20);

		if (kind == 0) /* empty, as of a new leader */
			continue;
		if (kind == 1) { /* a configuration change */
			e->type = (uint8_t)(1 + below(&seed, 2));
			buf_append(&e->data, "conf", 4);
		} else if (kind == 2) { /* nonsense */
			buf_append(&e->data, "\1nonsense", 9);
		} else if (kind == 3 && i > 5) { /* proposed again */
			const struct test_entry *old =
			    &entries[i - 1 - below(&seed, 5)];

			e->type = old->type;
			buf_append(&e->data, old->data.data, old->data.len);
		} else {
			random_batch(e, &seed, seq++);
		}
	}
	return entries;
}

void
entries_free(struct test_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_free(&entries[i].data);
	mem_free(entries);
}

/* --- feeding --- */

enum err
take(struct fixture *f, uint64_t index, const struct test_entry *e, size_t n)
{
	struct msg_commit head = {.first = index, .count = (uint32_t)n};
	struct buf body = {0};
	struct wire w;
	enum err rc;

	wire_encode(&w, &body);
	msg_commit_wire(&w, &head);
	for (size_t i = 0; i < n; i++) {
		struct msg_commit_item item = {.term = 1 + (index + i) / 10,
		    .type = e[i].type,
		    .data = buf_bytes(&e[i].data)};

		msg_commit_item_wire(&w, &item);
	}
	assert_int_equal(wire_end(&w), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	rc = kvd_take_commit(&f->kvd, &w);
	buf_free(&body); /* what was staged must not point there */
	return rc;
}

void
turn(struct fixture *f)
{
	kvd_apply(&f->kvd);
	kvd_reply(&f->kvd);
	kvd_answer(&f->kvd);
}

void
feed(struct fixture *f, const struct test_entry *e, size_t n, unsigned seed)
{
	for (size_t at = f->kvd.store.state.applied; at < n;) {
		size_t run = 1 + below(&seed, 12);

		if (run > n - at)
			run = n - at;
		assert_int_equal(take(f, at + 1, e + at, run), ERR_OK);
		at += run;
		if (below(&seed, 3) == 0)
			turn(f);
	}
	turn(f);
}

struct msg_reply_item
one(struct fixture *f, uint64_t seq, struct cmd cmd)
{
	const uint64_t index = f->kvd.store.state.applied + 1;
	struct test_entry e;

	sent_clear();
	entry_begin(&e, NODE, EPOCH, seq, 1, 1);
	entry_cmd(&e, cmd);
	assert_int_equal(take(f, index, &e, 1), ERR_OK);
	assert_int_equal(sent_count, 0); /* not before it is written */
	turn(f);
	buf_free(&e.data);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent_reply(0).to, MSG_REPLY_PROPOSE);
	assert_int_equal(sent_reply(0).seq, seq);
	assert_int_equal(sent_reply(0).applied, index);
	assert_int_equal(sent_reply(0).count, 1);
	return sent_item(0, 0);
}

void
expect_state_is_that_of_the_keys(struct fixture *f)
{
	const struct bytes prefix = bytes_of_str(RECORD_KEY_PREFIX);
	const struct state *s = &f->kvd.store.state;
	struct engine_iter *i;
	struct bytes name, record;
	struct hash128 hash = {0, 0};
	struct buf scratch = {0};
	uint64_t keys = 0, bytes = 0;

	assert_int_equal(
	    f->ops->scan(f->kvd.store.engine, prefix, prefix, &i), ERR_OK);
	while (f->ops->scan_next(i, &name, &record) == ERR_OK) {
		const struct bytes key = bytes_of(name.data + 1, name.len - 1);
		struct key_record k;
		struct wire w;

		wire_decode(&w, record);
		assert_int_equal(key_record_wire(&w, &k), ERR_OK);
		assert_true(k.create_revision >= 1);
		assert_true(k.create_revision <= k.mod_revision);
		assert_true(k.mod_revision <= s->revision);
		assert_true(k.version >= 1);
		keys++;
		bytes += key.len + k.value.len;
		hash =
		    hash128_add(hash, key_record_hash(key, record, &scratch));
	}
	f->ops->scan_close(i);
	buf_free(&scratch);
	assert_int_equal(s->keys, keys);
	assert_int_equal(s->bytes, bytes);
	assert_int_equal(s->hash.lo, hash.lo);
	assert_int_equal(s->hash.hi, hash.hi);
}

void
run_snapshot(struct fixture *f)
{
	static struct mono now;

	now = mono_add_ms(now, 100);
	snapshot_run(&f->kvd, now);
}
