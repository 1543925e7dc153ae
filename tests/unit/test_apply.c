/* kvd's state machine on every engine: what committed entries do. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/unit/kvd_fixture.h"

static struct cmd
put_cmd(const char *key, const char *value)
{
	return (struct cmd){.op = CMD_PUT,
	    .key = bytes_of_str(key),
	    .value = bytes_of_str(value)};
}

static struct cmd
delete_cmd(const char *key)
{
	return (struct cmd){.op = CMD_DELETE, .key = bytes_of_str(key)};
}

/* A key's record must be that; version 0: no such key. */
static void
expect_key(struct fixture *f, const char *key, const char *value,
    uint64_t create, uint64_t mod, uint64_t version)
{
	struct record_name name;
	struct key_record k;
	struct store_found found;
	struct wire w;
	const struct bytes n = record_name_key(&name, bytes_of_str(key));
	enum err rc = store_get(&f->kvd.store, n, record_hash(n), &found);

	assert_int_equal(rc, version == 0 ? ERR_NOT_FOUND : ERR_OK);
	if (version == 0)
		return;
	wire_decode(&w, found.record);
	assert_int_equal(key_record_wire(&w, &k), ERR_OK);
	assert_true(bytes_equal(k.value, bytes_of_str(value)));
	assert_int_equal(k.create_revision, create);
	assert_int_equal(k.mod_revision, mod);
	assert_int_equal(k.version, version);
}

static void
a_put_creates_then_replaces_and_counts_revision_and_version(void **state)
{
	struct fixture *f = *state;
	struct msg_reply_item item = one(f, 1, put_cmd("a", "one"));

	assert_int_equal(item.code, ERR_CREATED);
	assert_int_equal(item.revision, 1);
	item = one(f, 2, put_cmd("b", ""));
	assert_int_equal(item.revision, 2);
	item = one(f, 3, put_cmd("a", "two"));
	assert_int_equal(item.code, ERR_REPLACED);
	assert_int_equal(item.revision, 3);
	expect_key(f, "a", "two", 1, 3, 2);
	expect_key(f, "b", "", 2, 2, 1);
	assert_int_equal(f->kvd.store.state.keys, 2);
	assert_int_equal(f->kvd.store.state.bytes, 1 + 3 + 1);
	expect_state_is_that_of_the_keys(f);
}

static void
a_delete_counts_a_revision_only_if_the_key_was_there(void **state)
{
	struct fixture *f = *state;
	struct msg_reply_item item = one(f, 1, delete_cmd("a"));

	assert_int_equal(item.code, ERR_NOT_FOUND);
	assert_int_equal(item.revision, 0);
	(void)one(f, 2, put_cmd("a", "one"));
	item = one(f, 3, delete_cmd("a"));
	assert_int_equal(item.code, ERR_DELETED);
	assert_int_equal(item.revision, 2);
	expect_key(f, "a", NULL, 0, 0, 0);
	assert_int_equal(f->kvd.store.state.hash.lo, 0);
	assert_int_equal(f->kvd.store.state.hash.hi, 0);
	assert_int_equal(f->kvd.store.state.bytes, 0);
	item = one(f, 4, put_cmd("a", "again"));
	assert_int_equal(item.code, ERR_CREATED);
	expect_key(f, "a", "again", 3, 3, 1);
}

static void
a_condition_that_does_not_hold_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct cmd cmd = put_cmd("a", "x");
	struct msg_reply_item item;

	cmd.when = CMD_IF_PRESENT;
	item = one(f, 1, cmd);
	assert_int_equal(item.code, ERR_PRECONDITION);
	assert_int_equal(item.revision, 0);
	cmd.when = CMD_IF_ABSENT;
	assert_int_equal(one(f, 2, cmd).code, ERR_CREATED);
	item = one(f, 3, cmd);
	assert_int_equal(item.code, ERR_PRECONDITION);
	assert_int_equal(item.revision, 1);
	cmd.when = CMD_IF_REVISION;
	cmd.if_revision = 1;
	assert_int_equal(one(f, 4, cmd).code, ERR_REPLACED);
	item = one(f, 5, cmd);
	assert_int_equal(item.code, ERR_PRECONDITION);
	assert_int_equal(item.revision, 2);
	cmd = delete_cmd("a");
	cmd.when = CMD_IF_REVISION;
	cmd.if_revision = 1;
	assert_int_equal(one(f, 6, cmd).code, ERR_PRECONDITION);
	cmd.if_revision = 2;
	assert_int_equal(one(f, 7, cmd).code, ERR_DELETED);
	assert_int_equal(one(f, 8, cmd).code, ERR_PRECONDITION);
	assert_int_equal(f->kvd.store.state.revision, 3);
}

static void
commands_of_a_run_see_what_earlier_ones_did(void **state)
{
	struct fixture *f = *state;
	struct test_entry e[2];

	entry_begin(&e[0], NODE, EPOCH, 1, 1, 3);
	entry_put(&e[0], "a", "1");
	entry_put(&e[0], "a", "2");
	entry_delete(&e[0], "a");
	entry_begin(&e[1], NODE, EPOCH, 2, 1, 2);
	entry_delete(&e[1], "a");
	entry_put(&e[1], "a", "3");
	assert_int_equal(take(f, 1, e, 2), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent_item(0, 0).code, ERR_CREATED);
	assert_int_equal(sent_item(0, 1).code, ERR_REPLACED);
	assert_int_equal(sent_item(0, 2).code, ERR_DELETED);
	assert_int_equal(sent_item(1, 0).code, ERR_NOT_FOUND);
	assert_int_equal(sent_item(1, 1).code, ERR_CREATED);
	assert_int_equal(sent_reply(0).revision, 3);
	assert_int_equal(sent_reply(1).revision, 4);
	expect_key(f, "a", "3", 4, 4, 1);
	buf_free(&e[0].data);
	buf_free(&e[1].data);
}

static void
a_batch_proposed_twice_is_applied_once_and_answered_twice(void **state)
{
	struct fixture *f = *state;
	struct test_entry e;

	entry_begin(&e, NODE, EPOCH, 1, 1, 1);
	entry_put(&e, "a", "1");
	for (uint64_t index = 1; index <= 3; index++) {
		assert_int_equal(take(f, index, &e, 1), ERR_OK);
		turn(f);
		if (index == 2) { /* known after a restart too */
			if (!f->ops->durable)
				break;
			fixture_close(f, false);
			fixture_open(f);
			fixture_httpd(f, EPOCH);
		}
	}
	for (size_t i = 0; i < sent_count; i++) {
		assert_int_equal(sent_reply(i).seq, 1);
		assert_int_equal(sent_reply(i).revision, 1);
		assert_int_equal(sent_reply(i).applied, i + 1);
		assert_int_equal(sent_item(i, 0).code, ERR_CREATED);
	}
	assert_int_equal(sent_count, f->ops->durable ? 3 : 2);
	expect_key(f, "a", "1", 1, 1, 1);
	buf_free(&e.data);
}

static void
a_batch_below_done_below_is_never_applied(void **state)
{
	struct fixture *f = *state;
	struct test_entry e[3];

	entry_begin(&e[0], NODE, EPOCH, 5, 1, 1);
	entry_put(&e[0], "a", "1");
	entry_begin(&e[1], NODE, EPOCH, 9, 6, 1);
	entry_put(&e[1], "b", "1");
	entry_begin(&e[2], NODE, EPOCH, 4, 1, 1); /* was given up */
	entry_put(&e[2], "c", "1");
	assert_int_equal(take(f, 1, e, 3), ERR_OK);
	turn(f);
	sent_clear();
	assert_int_equal(take(f, 4, e, 1), ERR_OK); /* a late twin of 5 */
	turn(f);
	assert_int_equal(sent_count, 0);
	expect_key(f, "a", "1", 1, 1, 1);
	expect_key(f, "b", "1", 2, 2, 1);
	expect_key(f, "c", NULL, 0, 0, 0);
	assert_int_equal(f->kvd.store.state.applied, 4);
	for (size_t i = 0; i < 3; i++)
		buf_free(&e[i].data);
}

static void
only_the_httpd_that_is_connected_is_answered(void **state)
{
	struct fixture *f = *state;
	struct test_entry e[3];

	entry_begin(&e[0], NODE + 1, EPOCH, 1, 1, 1);
	entry_begin(&e[1], NODE, EPOCH + 1, 1, 1, 1);
	entry_begin(&e[2], NODE, EPOCH, 1, 1, 1);
	for (size_t i = 0; i < 3; i++)
		entry_put(&e[i], "a", "1");
	assert_int_equal(take(f, 1, e, 3), ERR_OK);
	fixture_httpd(f, EPOCH + 1); /* another one before the write */
	turn(f);
	assert_int_equal(sent_count, 0);
	assert_int_equal(take(f, 4, e, 3), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 1);
	assert_int_equal(f->kvd.store.state.revision, 3);
	sent_clear();
	fixture_httpd(f, 0);
	assert_int_equal(take(f, 7, e, 3), ERR_OK);
	turn(f);
	assert_int_equal(sent_count, 0);
	for (size_t i = 0; i < 3; i++)
		buf_free(&e[i].data);
}

static void
entries_that_are_no_batch_only_move_the_applied_index(void **state)
{
	struct fixture *f = *state;
	struct test_entry e, cut;

	entry_begin(&e, NODE, EPOCH, 1, 1, 2);
	entry_put(&e, "a", "1");
	entry_delete(&e, "b");
	/* Cut at every byte: never half of it. */
	for (size_t len = 0; len < e.data.len; len++) {
		memset(&cut, 0, sizeof cut);
		buf_append(&cut.data, e.data.data, len);
		assert_int_equal(take(f, len + 1, &cut, 1), ERR_OK);
		if (len % 3 == 0)
			turn(f);
		buf_free(&cut.data);
	}
	turn(f);
	assert_int_equal(f->kvd.store.state.applied, e.data.len);
	assert_int_equal(f->kvd.store.state.revision, 0);
	assert_int_equal(sessions_count(f->kvd.sessions), 0);
	cut = e;
	cut.type = 2; /* Raft's own, whatever is in it */
	assert_int_equal(take(f, e.data.len + 1, &cut, 1), ERR_OK);
	turn(f);
	assert_int_equal(f->kvd.store.state.revision, 0);
	assert_int_equal(sent_count, 0);
	buf_append(&e.data, "", 1); /* a byte too many */
	assert_int_equal(take(f, e.data.len + 1, &e, 1), ERR_OK);
	turn(f);
	assert_int_equal(f->kvd.store.state.revision, 0);
	buf_free(&e.data);
}

static void
commits_that_do_not_follow_are_refused(void **state)
{
	struct fixture *f = *state;
	struct test_entry e;

	entry_begin(&e, NODE, EPOCH, 1, 1, 1);
	entry_put(&e, "a", "1");
	assert_int_equal(take(f, 2, &e, 1), ERR_MALFORMED);
	assert_int_equal(take(f, 0, &e, 1), ERR_MALFORMED);
	assert_int_equal(take(f, 1, &e, 1), ERR_OK);
	assert_int_equal(take(f, 1, &e, 1), ERR_MALFORMED);
	turn(f);
	assert_int_equal(f->kvd.store.state.applied, 1);
	assert_int_equal(f->kvd.store.state.revision, 1);
	buf_free(&e.data);
}

#define LOG_ENTRIES 500u

static void
the_same_log_gives_the_same_state_however_it_arrives(void **state)
{
	/* Of the first engine: all must agree. */
	static struct state agreed[3];
	struct fixture *f = *state;

	for (unsigned seed = 1; seed <= 3; seed++) {
		struct test_entry *e = entries_make(LOG_ENTRIES, seed);
		struct fixture other = {.ops = &engine_memory};

		fixture_open(&other);
		feed(&other, e, LOG_ENTRIES, 1000 + seed);
		if (seed == 1) {
			feed(f, e, LOG_ENTRIES, seed);
			assert_memory_equal(&f->kvd.store.state,
			    &other.kvd.store.state, sizeof(struct state));
			expect_state_is_that_of_the_keys(f);
			assert_true(f->kvd.store.state.revision > 500);
		}
		if (agreed[seed - 1].applied == 0)
			agreed[seed - 1] = other.kvd.store.state;
		assert_memory_equal(&agreed[seed - 1], &other.kvd.store.state,
		    sizeof(struct state));
		fixture_close(&other, false);
		entries_free(e, LOG_ENTRIES);
	}
}

static void
replay_after_any_applied_index_gives_the_same_state(void **state)
{
	enum { N = 60 };
	struct fixture *f = *state;
	struct test_entry *e = entries_make(N, 42);
	struct fixture whole = {.ops = &engine_memory};

	if (!f->ops->durable) {
		entries_free(e, N);
		skip();
	}
	fixture_open(&whole);
	feed(&whole, e, N, 1);
	for (size_t stop = 0; stop <= N; stop++) {
		struct fixture part = {.ops = f->ops};
		char command[128];

		(void)snprintf(part.dir, sizeof part.dir, "%s", f->dir);
		fixture_close(f, false);
		(void)snprintf(
		    command, sizeof command, "rm -rf '%s'/*", f->dir);
		assert_int_equal(system(command), 0);
		fixture_open(&part);
		feed(&part, e, stop, (unsigned)stop);
		fixture_close(&part, stop % 2 == 1); /* killed, or stopped */
		fixture_open(f);
		assert_int_equal(f->kvd.store.state.applied, stop);
		expect_state_is_that_of_the_keys(f);
		feed(f, e, N, 7);
		assert_memory_equal(&f->kvd.store.state, &whole.kvd.store.state,
		    sizeof(struct state));
		assert_int_equal(sessions_count(f->kvd.sessions),
		    sessions_count(whole.kvd.sessions));
	}
	fixture_close(&whole, false);
	entries_free(e, N);
}

static void
a_run_larger_than_the_bound_is_written_in_between(void **state)
{
	struct fixture *f = *state;
	static uint8_t value[VALUE_BYTES_MAX];
	struct test_entry e[9];

	for (unsigned i = 0; i < 9; i++) {
		char key[8];

		(void)snprintf(key, sizeof key, "k%u", i);
		memset(value, (int)i, sizeof value);
		entry_begin(&e[i], NODE, EPOCH, 1 + i, 1, 1);
		entry_cmd(&e[i], (struct cmd){.op = CMD_PUT,
				     .key = bytes_of_str(key),
				     .value = bytes_of(value, sizeof value)});
	}
	assert_int_equal(take(f, 1, e, 9), ERR_OK);
	assert_true(f->kvd.store.flushed.applied > 0);
	assert_true(f->kvd.store.active.bytes <=
		    KVD_STAGED_BYTES_SOFT + ENTRY_BYTES_MAX);
	turn(f);
	assert_int_equal(sent_count, 9);
	expect_state_is_that_of_the_keys(f);
	for (unsigned i = 0; i < 9; i++)
		buf_free(&e[i].data);
}

static void
the_session_whose_last_entry_is_oldest_makes_room(void **state)
{
	struct fixture *f = *state;
	const uint64_t n = SESSIONS_MAX;
	struct test_entry e;

	for (uint64_t i = 0; i < n + 10; i++) {
		const uint64_t index = f->kvd.store.state.applied + 1;

		entry_begin(&e, 1, 1000 + i, 1, 1, 1);
		entry_put(&e, "a", "1");
		assert_int_equal(take(f, index, &e, 1), ERR_OK);
		if (i == n - 1) /* the first one is seen again */
			e.data.len = 0;
		buf_free(&e.data);
		if (i == n - 1) {
			entry_begin(&e, 1, 1000, 2, 1, 1);
			entry_put(&e, "a", "1");
			assert_int_equal(take(f, index + 1, &e, 1), ERR_OK);
			buf_free(&e.data);
		}
		if (i % 100 == 0)
			turn(f);
	}
	turn(f);
	for (unsigned round = 0; round < 2; round++) {
		struct sessions *ss = f->kvd.sessions;

		assert_int_equal(sessions_count(ss), n);
		assert_non_null(session_find(ss, 1, 1000));
		assert_non_null(session_result(session_find(ss, 1, 1000), 2));
		for (uint64_t i = 1; i <= 10; i++)
			assert_null(session_find(ss, 1, 1000 + i));
		assert_non_null(session_find(ss, 1, 1011));
		if (!f->ops->durable)
			return;
		fixture_close(f, false);
		fixture_open(f);
	}
}

static void
a_session_forgets_its_oldest_results_but_never_reapplies_them(void **state)
{
	struct fixture *f = *state;
	const uint64_t n = SESSION_BATCHES_MAX;
	const struct session *s;
	struct test_entry e;

	fixture_httpd(f, 0);
	for (uint64_t seq = 1; seq <= n + 5; seq++) {
		entry_begin(&e, NODE, EPOCH, seq, 1, 1);
		entry_put(&e, "a", "1");
		assert_int_equal(take(f, seq, &e, 1), ERR_OK);
		buf_free(&e.data);
		if (seq % 500 == 0)
			turn(f);
	}
	turn(f);
	if (f->ops->durable) {
		fixture_close(f, false);
		fixture_open(f);
	}
	s = session_find(f->kvd.sessions, NODE, EPOCH);
	assert_non_null(s);
	assert_true(session_is_done(s, 5));
	assert_false(session_is_done(s, 6));
	assert_null(session_result(s, 5));
	assert_non_null(session_result(s, 6));
	assert_non_null(session_result(s, n + 5));
	entry_begin(&e, NODE, EPOCH, 3, 1, 1);
	entry_put(&e, "a", "1");
	assert_int_equal(take(f, n + 6, &e, 1), ERR_OK);
	turn(f);
	assert_int_equal(f->kvd.store.state.revision, n + 5);
	buf_free(&e.data);
}

static enum err
write_that_fails(struct engine *e, const struct engine_write *writes, size_t n)
{
	(void)e;
	(void)writes;
	(void)n;
	return ERR_NO_SPACE;
}

static void
an_engine_that_fails_ends_kvd_and_nothing_is_answered(void **state)
{
	struct fixture *f = *state;
	struct engine_ops broken = *f->ops;
	struct test_entry e;

	broken.write = write_that_fails;
	f->kvd.store.ops = &broken;
	entry_begin(&e, NODE, EPOCH, 1, 1, 1);
	entry_put(&e, "a", "1");
	assert_int_equal(take(f, 1, &e, 1), ERR_OK);
	turn(f);
	assert_true(f->kvd.quit);
	assert_int_equal(f->kvd.exit_code, EX_IOERR);
	assert_int_equal(f->kvd.store.flushed.applied, 0);
	assert_int_equal(sent_count, 0);
	assert_int_equal(take(f, 2, &e, 1), ERR_IO);
	f->kvd.store.ops = f->ops;
	buf_free(&e.data);
}

static void
after_sigkill_the_state_fits_the_keys_and_replay_goes_on(void **state)
{
	enum { N = 3000 };
	struct fixture *f = *state;
	struct test_entry *e = entries_make(N, 5);
	struct fixture whole = {.ops = &engine_memory};

	if (!f->ops->durable) {
		entries_free(e, N);
		skip();
	}
	fixture_open(&whole);
	feed(&whole, e, N, 1);
	fixture_close(f, false);
	for (unsigned round = 1; round <= 8; round++) {
		int fds[2], status;
		char byte;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			fixture_open(f);
			for (size_t n = f->kvd.store.state.applied; n < N;) {
				n = n + 20 < N ? n + 20 : N;
				feed(f, e, n, (unsigned)n);
				if (write(fds[1], "", 1) != 1)
					_exit(1);
			}
			_exit(0);
		}
		close(fds[1]);
		for (unsigned i = 0; i < 5 + round; i++)
			if (read(fds[0], &byte, 1) != 1)
				break;
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		close(fds[0]);
		fixture_open(f);
		assert_true(f->kvd.store.state.applied >= 20);
		expect_state_is_that_of_the_keys(f);
		fixture_close(f, true);
	}
	fixture_open(f);
	feed(f, e, N, 3);
	assert_memory_equal(
	    &f->kvd.store.state, &whole.kvd.store.state, sizeof(struct state));
	fixture_close(&whole, false);
	entries_free(e, N);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH_ENGINE(
		after_sigkill_the_state_fits_the_keys_and_replay_goes_on),
	    EACH_ENGINE(
		a_put_creates_then_replaces_and_counts_revision_and_version),
	    EACH_ENGINE(a_delete_counts_a_revision_only_if_the_key_was_there),
	    EACH_ENGINE(a_condition_that_does_not_hold_changes_nothing),
	    EACH_ENGINE(commands_of_a_run_see_what_earlier_ones_did),
	    EACH_ENGINE(
		a_batch_proposed_twice_is_applied_once_and_answered_twice),
	    EACH_ENGINE(a_batch_below_done_below_is_never_applied),
	    EACH_ENGINE(only_the_httpd_that_is_connected_is_answered),
	    EACH_ENGINE(entries_that_are_no_batch_only_move_the_applied_index),
	    EACH_ENGINE(commits_that_do_not_follow_are_refused),
	    EACH_ENGINE(the_same_log_gives_the_same_state_however_it_arrives),
	    EACH_ENGINE(replay_after_any_applied_index_gives_the_same_state),
	    EACH_ENGINE(a_run_larger_than_the_bound_is_written_in_between),
	    EACH_ENGINE(the_session_whose_last_entry_is_oldest_makes_room),
	    EACH_ENGINE(
		a_session_forgets_its_oldest_results_but_never_reapplies_them),
	    EACH_ENGINE(an_engine_that_fails_ends_kvd_and_nothing_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
