/* The contract of engine.h, held by every engine. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "kvd/engine.h"

struct fixture {
	const struct engine_ops *ops;
	struct engine *engine;
	char dir[64];
};

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof *f);

	f->ops = engine_find(*state);
	assert_non_null(f->ops);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/test_engine.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(f->ops->open(&f->engine, f->dir), ERR_OK);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	f->ops->close(f->engine);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	mem_free(f);
	return 0;
}

static void
put(struct fixture *f, const char *name, const char *record)
{
	const struct engine_write w = {
	    .name = bytes_of_str(name), .record = bytes_of_str(record)};

	assert_int_equal(f->ops->write(f->engine, &w, 1), ERR_OK);
}

static void
drop(struct fixture *f, const char *name)
{
	const struct engine_write w = {
	    .name = bytes_of_str(name), .remove = true};

	assert_int_equal(f->ops->write(f->engine, &w, 1), ERR_OK);
}

/* record NULL: must not be there. */
static void
expect(struct fixture *f, const char *name, const char *record)
{
	struct bytes found;
	enum err rc = f->ops->get(f->engine, bytes_of_str(name), &found);

	if (record == NULL) {
		assert_int_equal(rc, ERR_NOT_FOUND);
		return;
	}
	assert_int_equal(rc, ERR_OK);
	assert_true(bytes_equal(found, bytes_of_str(record)));
}

static struct engine_iter *
scan(struct fixture *f, const char *prefix, const char *from)
{
	struct engine_iter *i;

	assert_int_equal(f->ops->scan(f->engine, bytes_of_str(prefix),
			     bytes_of_str(from), &i),
	    ERR_OK);
	return i;
}

/* All that is left of a scan, as "name=record ...", then closed. */
static void
expect_scan(struct fixture *f, struct engine_iter *i, const char *wanted)
{
	struct bytes name, record;
	struct buf out = {0};
	enum err rc;

	while ((rc = f->ops->scan_next(i, &name, &record)) == ERR_OK) {
		buf_append(&out, name.data, name.len);
		buf_append(&out, "=", 1);
		buf_append(&out, record.data, record.len);
		buf_append(&out, " ", 1);
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	f->ops->scan_close(i);
	buf_append(&out, "", 1);
	assert_string_equal((char *)out.data, wanted);
	buf_free(&out);
}

static void
what_is_written_is_there_and_an_absent_name_is_not_found(void **state)
{
	struct fixture *f = *state;

	expect(f, "a", NULL);
	put(f, "a", "1");
	put(f, "b", "");
	expect(f, "a", "1");
	expect(f, "b", "");
	expect(f, "ab", NULL);
	put(f, "a", "another record");
	expect(f, "a", "another record");
	drop(f, "a");
	expect(f, "a", NULL);
}

static void
removing_an_absent_name_is_no_error(void **state)
{
	struct fixture *f = *state;

	drop(f, "a");
	put(f, "b", "1");
	drop(f, "a");
	expect(f, "b", "1");
}

static void
a_batch_puts_and_removes_in_one_step(void **state)
{
	struct fixture *f = *state;
	const struct engine_write w[] = {
	    {.name = bytes_of_str("z"), .record = bytes_of_str("26")},
	    {.name = bytes_of_str("b"), .remove = true},
	    {.name = bytes_of_str("a"), .record = bytes_of_str("1")},
	    {.name = bytes_of_str("c"), .record = bytes_of_str("new")},
	};

	put(f, "b", "2");
	put(f, "c", "old");
	assert_int_equal(f->ops->write(f->engine, w, 4), ERR_OK);
	expect_scan(f, scan(f, "", ""), "a=1 c=new z=26 ");
	assert_int_equal(f->ops->write(f->engine, w, 0), ERR_OK);
}

static void
a_scan_has_the_names_of_a_prefix_in_order_of_bytes(void **state)
{
	struct fixture *f = *state;

	put(f, "k\xff", "last");
	put(f, "k", "first");
	put(f, "kb", "2");
	put(f, "kab", "1");
	put(f, "k\x01", "low");
	put(f, "j", "before");
	put(f, "l", "behind");
	expect_scan(
	    f, scan(f, "k", "k"), "k=first k\x01=low kab=1 kb=2 k\xff=last ");
	expect_scan(
	    f, scan(f, "k", ""), "k=first k\x01=low kab=1 kb=2 k\xff=last ");
	expect_scan(f, scan(f, "k", "kac"), "kb=2 k\xff=last ");
	expect_scan(f, scan(f, "k", "l"), "");
	expect_scan(f, scan(f, "m", ""), "");
	expect_scan(f, scan(f, "k\xff", ""), "k\xff=last ");
}

static void
a_scan_does_not_see_later_writes(void **state)
{
	struct fixture *f = *state;
	struct engine_iter *i, *late;
	struct bytes name, record;

	put(f, "a", "1");
	put(f, "b", "2");
	put(f, "c", "3");
	i = scan(f, "", "");
	assert_int_equal(f->ops->scan_next(i, &name, &record), ERR_OK);
	put(f, "b", "changed");
	drop(f, "c");
	put(f, "d", "4");
	late = scan(f, "", "");
	drop(f, "a");
	expect_scan(f, i, "b=2 c=3 ");
	expect_scan(f, late, "a=1 b=changed d=4 ");
}

/* A record that says its name and its generation. */
static struct bytes
numbered(unsigned n, unsigned generation, char *name, char *record)
{
	(void)snprintf(name, 16, "n%08u", n);
	(void)snprintf(record, 32, "%s/%u", name, generation);
	return bytes_of_str(name);
}

#define MANY 20000u

static void
write_many(struct fixture *f, unsigned generation, unsigned step, bool remove)
{
	struct engine_write w[100];
	char names[100][16], records[100][32];
	size_t n = 0;

	for (unsigned i = 0; i < MANY; i += step) {
		const unsigned at = (i * 7919u) % MANY; /* not in order */

		w[n].name = numbered(at, generation, names[n], records[n]);
		w[n].record = bytes_of_str(records[n]);
		w[n].remove = remove;
		if (++n == 100) {
			assert_int_equal(
			    f->ops->write(f->engine, w, n), ERR_OK);
			n = 0;
		}
	}
	assert_int_equal(f->ops->write(f->engine, w, n), ERR_OK);
}

static void
a_large_scan_stays_what_it_was_while_all_is_overwritten(void **state)
{
	struct fixture *f = *state;
	struct bytes name, record;
	struct engine_iter *i;
	char n[16], r[32];

	write_many(f, 1, 1, false);
	i = scan(f, "n", "n");
	write_many(f, 2, 1, false);
	write_many(f, 3, 2, true);
	for (unsigned at = 0; at < MANY; at++) {
		assert_int_equal(f->ops->scan_next(i, &name, &record), ERR_OK);
		assert_true(bytes_equal(name, numbered(at, 1, n, r)));
		assert_true(bytes_equal(record, bytes_of_str(r)));
		if (at == MANY / 2)
			write_many(f, 4, 3, false);
	}
	assert_int_equal(f->ops->scan_next(i, &name, &record), ERR_NOT_FOUND);
	f->ops->scan_close(i);
}

static void
what_was_written_is_there_after_memory_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct bytes record;
	char n[16], r[32];

	for (unsigned generation = 1; generation <= 3; generation++) {
		write_many(f, generation, 1, false);
		assert_int_equal(f->ops->shrink(f->engine), ERR_OK);
		for (unsigned at = 0; at < MANY; at++) {
			const struct bytes name =
			    numbered(at, generation, n, r);

			assert_int_equal(
			    f->ops->get(f->engine, name, &record), ERR_OK);
			assert_true(bytes_equal(record, bytes_of_str(r)));
		}
		assert_int_equal(f->ops->sync(f->engine), ERR_OK);
	}
}

/* As far as it can be seen: when it is opened anew. */
static void
a_store_that_was_replaced_is_not_used_on(void **state)
{
	struct fixture *f = *state;
	char command[128];

	put(f, "a", "1");
	(void)snprintf(command, sizeof command, "rm '%s'/*", f->dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(f->ops->shrink(f->engine), ERR_IO);
	f->ops->close(f->engine);
	assert_int_equal(f->ops->open(&f->engine, f->dir), ERR_OK);
	(void)snprintf(command, sizeof command, "rm -r '%s'", f->dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(f->ops->shrink(f->engine), ERR_IO);
}

/* Against a plain array; removals make nodes small and merge them. */
static void
random_writes_give_what_a_plain_array_gives(void **state)
{
	enum { NAMES = 3000, ROUNDS = 400 };
	static unsigned model[NAMES]; /* generation, 0: absent */
	struct fixture *f = *state;
	struct bytes name, record;
	struct engine_iter *i;
	unsigned seed = 12345;
	char n[16], r[32];

	memset(model, 0, sizeof model);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct engine_write w[40];
		char names[40][16], records[40][32];
		const bool shrink = (round / 60) % 2 == 1;
		const unsigned base = (unsigned)rand_r(&seed) % NAMES;

		for (unsigned j = 0; j < 40; j++) {
			const unsigned at = (base + j * 37u) % NAMES;

			w[j].name = numbered(at, round, names[j], records[j]);
			w[j].record = bytes_of_str(records[j]);
			w[j].remove =
			    (unsigned)rand_r(&seed) % 10 < (shrink ? 9u : 2u);
			model[at] = w[j].remove ? 0 : round;
		}
		assert_int_equal(f->ops->write(f->engine, w, 40), ERR_OK);
		if (round % 50 != 0)
			continue;
		i = scan(f, "n", "n");
		for (unsigned at = 0; at < NAMES; at++) {
			enum err rc;

			(void)numbered(at, model[at], n, r);
			rc = f->ops->get(f->engine, bytes_of_str(n), &record);
			assert_int_equal(
			    rc, model[at] == 0 ? ERR_NOT_FOUND : ERR_OK);
			if (model[at] == 0)
				continue;
			assert_true(bytes_equal(record, bytes_of_str(r)));
			assert_int_equal(
			    f->ops->scan_next(i, &name, &record), ERR_OK);
			assert_true(bytes_equal(name, bytes_of_str(n)));
			assert_true(bytes_equal(record, bytes_of_str(r)));
		}
		assert_int_equal(
		    f->ops->scan_next(i, &name, &record), ERR_NOT_FOUND);
		f->ops->scan_close(i);
	}
}

/* --- threads --- */

enum { GENERATION_NAMES = 500, GENERATIONS = 200 };

/* All names are of one generation, written in one step, in order of name. */
static void *
write_generations(void *arg)
{
	static char names[GENERATION_NAMES][16], records[GENERATION_NAMES][16];
	static struct engine_write w[GENERATION_NAMES];
	const struct fixture *f = arg;
	uintptr_t failed = 0;

	for (unsigned g = 1; g <= GENERATIONS; g++) {
		for (unsigned i = 0; i < GENERATION_NAMES; i++) {
			(void)snprintf(names[i], sizeof names[i], "n%08u", i);
			(void)snprintf(records[i], sizeof records[i], "%u", g);
			w[i].name = bytes_of_str(names[i]);
			w[i].record = bytes_of_str(records[i]);
		}
		failed |=
		    f->ops->write(f->engine, w, GENERATION_NAMES) != ERR_OK;
	}
	return (void *)failed;
}

/* The generation of a record; 0: there is none yet. */
static unsigned
generation(struct fixture *f, unsigned at)
{
	struct bytes found;
	char name[16];
	unsigned g = 0;
	enum err rc;

	(void)snprintf(name, sizeof name, "n%08u", at);
	rc = f->ops->get(f->engine, bytes_of_str(name), &found);
	if (rc == ERR_NOT_FOUND)
		return 0;
	assert_int_equal(rc, ERR_OK);
	for (size_t i = 0; i < found.len; i++)
		g = g * 10 + (found.data[i] - '0');
	return g;
}

static void
one_thread_reads_while_another_writes(void **state)
{
	struct fixture *f = *state;
	unsigned last = 0, seed = 1, seen = 0;
	pthread_t writer;
	void *failed;

	assert_true(f->ops->concurrent);
	assert_int_equal(
	    pthread_create(&writer, NULL, write_generations, f), 0);
	while (last < GENERATIONS) {
		struct engine_iter *i = scan(f, "n", "n");
		const unsigned at = (unsigned)rand_r(&seed) % GENERATION_NAMES;
		struct bytes name, record, first = {0};
		struct buf copy = {0};
		unsigned n = 0;

		/* A view has one generation, whatever comes meanwhile. */
		while (f->ops->scan_next(i, &name, &record) == ERR_OK) {
			if (n++ == 0)
				buf_append(&copy, record.data, record.len);
			first = buf_bytes(&copy);
			assert_true(bytes_equal(first, record));
		}
		f->ops->scan_close(i);
		buf_free(&copy);
		assert_true(n == 0 || n == GENERATION_NAMES);
		/* What get sees never goes back, and is no older than that. */
		assert_true(generation(f, at) >= last);
		seen += generation(f, at) != last;
		last = generation(f, at);
		if (rand_r(&seed) % 3 == 0 && f->ops->release != NULL)
			f->ops->release(f->engine);
	}
	assert_int_equal(pthread_join(writer, &failed), 0);
	assert_null(failed);
	assert_true(seen > 1);
}

/* One transaction gives up the pages that another one uses, if no reader was
 * left standing. */
static void
a_store_that_is_written_again_and_again_does_not_grow(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[96];
	off_t after_few = 0;

	(void)snprintf(path, sizeof path, "%s/data.mdb", f->dir);
	for (unsigned i = 0; i < 1000; i++) {
		put(f, "name", "record");
		expect(f, "name", "record"); /* the last one but this */
		f->ops->release(f->engine);
		put(f, "name", "another");
		put(f, "name", "record");
		assert_int_equal(stat(path, &st), 0);
		if (i == 20)
			after_few = st.st_size;
	}
	assert_int_equal(st.st_size, after_few);
}

static void
all_can_be_removed_and_put_again(void **state)
{
	struct fixture *f = *state;
	struct engine_iter *i;

	write_many(f, 1, 1, false);
	i = scan(f, "n00000007", "");
	write_many(f, 1, 1, true);
	expect_scan(f, scan(f, "", ""), "");
	expect_scan(f, i, "n00000007=n00000007/1 ");
	put(f, "a", "1");
	expect_scan(f, scan(f, "", ""), "a=1 ");
}

static void
records_beyond_a_mebibyte_and_names_of_511_bytes_are_accepted(void **state)
{
	struct fixture *f = *state;
	const size_t len = ((size_t)1 << 20) + 100;
	uint8_t *data = mem_alloc(len);
	uint8_t name[ENGINE_NAME_BYTES_MAX];
	struct engine_write w = {
	    .name = bytes_of(name, sizeof name), .record = bytes_of(data, len)};
	struct bytes found;

	memset(name, 0xfe, sizeof name);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 31 + i / 256);
	for (unsigned round = 0; round < 8; round++) {
		name[510] = (uint8_t)round;
		assert_int_equal(f->ops->write(f->engine, &w, 1), ERR_OK);
	}
	for (unsigned round = 0; round < 8; round++) {
		name[510] = (uint8_t)round;
		assert_int_equal(
		    f->ops->get(f->engine, w.name, &found), ERR_OK);
		assert_true(bytes_equal(found, w.record));
	}
	mem_free(data);
}

static void
a_store_that_was_closed_opens_with_all_that_was_written(void **state)
{
	struct fixture *f = *state;

	put(f, "a", "1");
	put(f, "b", "2");
	assert_int_equal(f->ops->sync(f->engine), ERR_OK);
	drop(f, "b");
	put(f, "c", "3");
	f->ops->close(f->engine);
	assert_int_equal(f->ops->open(&f->engine, f->dir), ERR_OK);
	expect_scan(f, scan(f, "", ""), f->ops->durable ? "a=1 c=3 " : "");
}

/* The length that a page of LMDB's file gives this name, everywhere in it. */
static void
forge_length(const char *dir, const char *name, uint16_t length)
{
	const size_t n = strlen(name);
	struct buf file = {0};
	unsigned found = 0;

	assert_int_equal(file_read(dir, "data.mdb", 1u << 20, &file), 0);
	for (size_t i = sizeof length; i + n <= file.len; i++) {
		if (memcmp(file.data + i, name, n) != 0)
			continue;
		memcpy(file.data + i - sizeof length, &length, sizeof length);
		found++;
	}
	assert_true(found > 0);
	assert_int_equal(file_replace(dir, "data.mdb", buf_bytes(&file)), 0);
	buf_free(&file);
}

/* Neither may end up as an assertion of those who trust a name's length. */
static void
a_page_with_a_name_of_no_possible_length_is_damage(void **state)
{
	struct fixture *f = *state;
	const uint16_t lengths[] = {0, ENGINE_NAME_BYTES_MAX + 1};
	const struct engine_write w = {
	    .name = bytes_of_str("z"), .record = bytes_of_str("1")};
	char record[1000];

	memset(record, 'r', sizeof record);
	record[sizeof record - 1] = '\0';
	put(f, "a name to be found", record);
	for (size_t i = 0; i < 2; i++) {
		struct bytes name, value;
		struct engine_iter *iter;

		f->ops->close(f->engine);
		forge_length(f->dir, "a name to be found", lengths[i]);
		assert_int_equal(f->ops->open(&f->engine, f->dir), ERR_OK);
		iter = scan(f, "", "");
		assert_int_equal(
		    f->ops->scan_next(iter, &name, &value), ERR_CORRUPT);
		f->ops->scan_close(iter);
		assert_int_equal(f->ops->write(f->engine, &w, 1), ERR_CORRUPT);
	}
}

/* Batches of one counter under many names, until killed; tells how far it
 * came through the pipe. */
static void
count_until_killed(struct fixture *f, unsigned from, int out)
{
	char names[20][16], text[32];
	struct engine_write w[20];

	for (unsigned n = from;; n++) {
		(void)snprintf(text, sizeof text, "%u", n);
		for (unsigned i = 0; i < 20; i++) {
			/* Two of three names are overwritten for ever. */
			(void)snprintf(names[i], sizeof names[i], "c%u",
			    i % 3 == 0 ? i : i + 20 * (n % 50));
			w[i].name = bytes_of_str(names[i]);
			w[i].record = bytes_of_str(text);
			w[i].remove = false;
		}
		if (f->ops->write(f->engine, w, 20) != ERR_OK)
			_exit(1);
		if (n % 64 == 0)
			(void)f->ops->sync(f->engine);
		if (write(out, &n, sizeof n) != sizeof n)
			_exit(1);
	}
}

/* All batches that were acknowledged, and each as a whole or not at all. */
static unsigned
check_count(struct fixture *f, unsigned acknowledged)
{
	unsigned last = 0;
	struct bytes found;
	char name[16];

	for (unsigned i = 0; i < 20; i += 3) {
		char text[32] = "";

		(void)snprintf(name, sizeof name, "c%u", i);
		assert_int_equal(
		    f->ops->get(f->engine, bytes_of_str(name), &found), ERR_OK);
		assert_true(found.len < sizeof text);
		memcpy(text, found.data, found.len);
		if (i == 0)
			last = (unsigned)strtoul(text, NULL, 10);
		assert_int_equal((unsigned)strtoul(text, NULL, 10), last);
	}
	for (unsigned i = 1; i < 20; i++) {
		char text[32];

		if (i % 3 == 0)
			continue;
		(void)snprintf(name, sizeof name, "c%u", i + 20 * (last % 50));
		(void)snprintf(text, sizeof text, "%u", last);
		expect(f, name, text);
	}
	assert_true(last >= acknowledged);
	return last;
}

static void
sigkill_amid_writes_loses_nothing_and_tears_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned next = 1;

	if (!f->ops->durable)
		skip();
	f->ops->close(f->engine);
	f->engine = NULL;
	for (unsigned round = 0; round < 6; round++) {
		unsigned seen = 0;
		int fds[2], status;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(fds[0]);
			if (f->ops->open(&f->engine, f->dir) != ERR_OK)
				_exit(1);
			count_until_killed(f, next, fds[1]);
		}
		close(fds[1]);
		for (unsigned i = 0; i < 100 + 77 * round; i++)
			assert_int_equal(
			    read(fds[0], &seen, sizeof seen), sizeof seen);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while (read(fds[0], &next, sizeof next) == sizeof next)
			seen = next;
		close(fds[0]);
		assert_int_equal(f->ops->open(&f->engine, f->dir), ERR_OK);
		next = check_count(f, seen) + 1;
		f->ops->close(f->engine);
		f->engine = NULL;
	}
	assert_int_equal(f->ops->open(&f->engine, f->dir), ERR_OK);
}

static void
engines_are_found_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(engine_find("lmdb"), &engine_lmdb);
	assert_ptr_equal(engine_find("memory"), &engine_memory);
	assert_null(engine_find("LMDB"));
	assert_null(engine_find(""));
	assert_string_equal(engine_names(), "memory, lmdb, leveldb");
}

#define ON(test, engine)                                                       \
	{                                                                      \
		.name = #test " [" engine "]", .test_func = test,              \
		.setup_func = setup, .teardown_func = teardown,                \
		.initial_state = (void *)(uintptr_t)engine                     \
	}
#define EACH(test) ON(test, "memory"), ON(test, "lmdb"), ON(test, "leveldb")

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    /* First: it forks, and LevelDB starts a thread. */
	    EACH(sigkill_amid_writes_loses_nothing_and_tears_nothing),
	    EACH(what_is_written_is_there_and_an_absent_name_is_not_found),
	    EACH(removing_an_absent_name_is_no_error),
	    EACH(a_batch_puts_and_removes_in_one_step),
	    EACH(a_scan_has_the_names_of_a_prefix_in_order_of_bytes),
	    EACH(a_scan_does_not_see_later_writes),
	    EACH(a_large_scan_stays_what_it_was_while_all_is_overwritten),
	    /* The others have no shrink. */
	    ON(what_was_written_is_there_after_memory_is_given_back, "lmdb"),
	    ON(a_store_that_was_replaced_is_not_used_on, "lmdb"),
	    EACH(random_writes_give_what_a_plain_array_gives),
	    ON(one_thread_reads_while_another_writes, "lmdb"),
	    ON(one_thread_reads_while_another_writes, "leveldb"),
	    ON(a_store_that_is_written_again_and_again_does_not_grow, "lmdb"),
	    EACH(all_can_be_removed_and_put_again),
	    EACH(records_beyond_a_mebibyte_and_names_of_511_bytes_are_accepted),
	    EACH(a_store_that_was_closed_opens_with_all_that_was_written),
	    ON(a_page_with_a_name_of_no_possible_length_is_damage, "lmdb"),
	    cmocka_unit_test(engines_are_found_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
