/* The writer thread: order, group commit, what is synced, how it ends.  Under
 * ThreadSanitizer the last two tests are those to look at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/rlog.h"
#include "raftd/writer.h"
#include "tests/crash/memdisk.h"

struct fixture {
	struct loop *loop;
	struct memdisk *md;
	struct wal_disk disk;
	struct wal *wal;
	struct writer *writer;
	struct rlog *rlog;
	uint64_t last, term;
};

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(1, sizeof(*f));
	struct wal_identity id = {.cluster = 1, .node = 1, .incarnation = 5};
	struct wal_conf conf = {.member_count = 0};
	struct wal_recovered rec;

	f->md = memdisk_new();
	f->disk = memdisk_disk(f->md);
	assert_int_equal(wal_open(&f->wal, &f->disk, &rec, NULL, NULL), ERR_OK);
	wal_set_limits(f->wal, 1 << 16, 1 << 15);
	assert_int_equal(wal_create(f->wal, &id, &conf), ERR_OK);
	f->rlog = rlog_open(10000);
	rlog_begin(f->rlog, f->wal, &rec);
	f->loop = loop_open();
	f->writer = writer_open(f->loop, f->wal);
	f->term = 1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	writer_close(f->writer);
	loop_close(f->loop);
	rlog_close(f->rlog);
	wal_close(f->wal);
	memdisk_free(f->md);
	mem_free(f);
	return 0;
}

/* n entries of the current term, and a commit index if not 0. */
static struct writer_job *
job_of(struct fixture *f, size_t n, uint64_t commit)
{
	struct writer_job *job = mem_zalloc(1, sizeof(*job));
	struct raft_msg *m = &job->append;

	m->type = RAFT_MSG_STORAGE_APPEND;
	if (commit != 0) {
		m->term = f->term;
		m->commit = commit;
	}
	m->entry_count = n;
	if (n > 0)
		m->entries = mem_zalloc(n, sizeof(*m->entries));
	for (size_t i = 0; i < n; i++) {
		struct blob *b = blob_new(NULL, 100);

		memset(b->data, (int)(++f->last & 0xff), 100);
		m->entries[i] = (struct raft_entry){
		    .term = f->term, .index = f->last, .data = b};
	}
	return job;
}

static void
submit(struct fixture *f, size_t n, uint64_t commit)
{
	struct writer_job *job = job_of(f, n, commit);

	writer_submit(f->writer, &job);
	assert_null(job);
}

/* Take what is done; rlog gets it. */
static size_t
take(struct fixture *f)
{
	struct writer_job *job;
	size_t jobs = 0;

	while ((job = writer_done(f->writer)) != NULL) {
		const struct raft_msg *m = &job->append;

		for (size_t i = 0; i < m->entry_count; i++) {
			assert_int_equal(
			    job->positions[i].index, m->entries[i].index);
			assert_int_equal(
			    m->entries[i].index, rlog_last(f->rlog) + 1);
			rlog_append(f->rlog, &m->entries[i], job->positions[i]);
		}
		writer_job_free(&job);
		assert_null(job);
		jobs++;
	}
	return jobs;
}

static void
wait_for(struct fixture *f, size_t jobs)
{
	while (jobs > 0) {
		(void)loop_wait(f->loop, MONO_NEVER);
		jobs -= take(f);
	}
	assert_int_equal(writer_waiting(f->writer), 0);
}

static void
jobs_of_one_flush_are_one_write_and_one_sync(void **state)
{
	struct fixture *f = *state;
	uint64_t syncs = memdisk_ops(f->md, MEMDISK_SYNC);
	uint64_t writes = memdisk_ops(f->md, MEMDISK_WRITE);

	for (int i = 0; i < 10; i++)
		submit(f, 3, 0);
	assert_int_equal(writer_waiting(f->writer), 10);
	assert_null(writer_done(f->writer));
	assert_int_equal(memdisk_ops(f->md, MEMDISK_WRITE), writes);
	writer_flush(f->writer);
	wait_for(f, 10);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_WRITE), writes + 1);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_SYNC), syncs + 1);
	assert_int_equal(rlog_last(f->rlog), 30);
}

static void
a_commit_index_alone_waits_for_the_next_job(void **state)
{
	struct fixture *f = *state;
	uint64_t syncs, writes;

	submit(f, 3, 1);
	writer_flush(f->writer);
	wait_for(f, 1);
	syncs = memdisk_ops(f->md, MEMDISK_SYNC);
	writes = memdisk_ops(f->md, MEMDISK_WRITE);
	submit(f, 0, 2);
	writer_flush(f->writer);
	assert_int_equal(writer_waiting(f->writer), 1);
	f->term = 2; /* that is a promise */
	submit(f, 0, 2);
	writer_flush(f->writer);
	wait_for(f, 2);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_WRITE), writes + 1);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_SYNC), syncs + 1);
}

static void
a_commit_index_that_is_pressed_for_is_written_and_not_synced(void **state)
{
	struct fixture *f = *state;
	uint64_t syncs, writes;

	submit(f, 3, 1);
	writer_flush(f->writer);
	wait_for(f, 1);
	syncs = memdisk_ops(f->md, MEMDISK_SYNC);
	writes = memdisk_ops(f->md, MEMDISK_WRITE);
	submit(f, 0, 2);
	writer_press(f->writer);
	writer_flush(f->writer);
	wait_for(f, 1);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_WRITE), writes + 1);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_SYNC), syncs);
}

/* Who waits for it is told, without a sync: nothing is promised. */
static void
responses_alone_do_not_wait_and_are_not_synced(void **state)
{
	struct fixture *f = *state;
	struct writer_job *job = job_of(f, 0, 0);
	uint64_t syncs = memdisk_ops(f->md, MEMDISK_SYNC);

	job->append.responses = mem_zalloc(1, sizeof(struct raft_msg));
	job->append.response_count = 1;
	writer_submit(f->writer, &job);
	writer_flush(f->writer);
	wait_for(f, 1);
	assert_int_equal(memdisk_ops(f->md, MEMDISK_SYNC), syncs);
}

static void
what_is_done_survives_a_power_cut(void **state)
{
	struct fixture *f = *state;
	struct wal_recovered rec;
	struct memdisk *copy;
	struct wal_disk disk;
	struct wal *w;
	uint64_t seed = 3;

	for (int i = 0; i < 20; i++) {
		struct writer_job *job = job_of(f, 2, 0);

		job->conf = mem_zalloc(1, sizeof(*job->conf));
		job->conf->index = (uint64_t)i;
		writer_submit(f->writer, &job);
		writer_flush(f->writer);
	}
	wait_for(f, 20);
	/* The thread may be zero-filling: a cut at that moment. */
	writer_close(f->writer);
	copy = memdisk_clone(f->md);
	f->writer = writer_open(f->loop, f->wal);
	memdisk_cut(copy, MEMDISK_CUT_ALL, &seed);
	disk = memdisk_disk(copy);
	assert_int_equal(wal_open(&w, &disk, &rec, NULL, NULL), ERR_OK);
	assert_int_equal(rec.last, 40);
	assert_int_equal(rec.conf.index, 19);
	wal_close(w);
	memdisk_free(copy);
}

static void
closing_waits_for_what_was_submitted(void **state)
{
	struct fixture *f = *state;
	struct wal_recovered rec;

	submit(f, 5, 0);
	submit(f, 5, 1);
	writer_flush(f->writer);
	wait_for(f, 2);
	submit(f, 5, 0);
	submit(f, 0, 7);
	writer_close(f->writer);
	f->writer = NULL;
	wal_close(f->wal);
	f->wal = NULL;
	assert_int_equal(wal_open(&f->wal, &f->disk, &rec, NULL, NULL), ERR_OK);
	assert_int_equal(rec.last, 15);
	assert_int_equal(rec.hard_state.commit, 7);
}

static void
a_failed_write_ends_the_process(void **state)
{
	static const unsigned ops[] = {MEMDISK_WRITE, MEMDISK_SYNC};
	struct fixture *f = *state;
	int status;
	pid_t pid;

	writer_close(f->writer); /* a child has no threads but its own */
	for (size_t i = 0; i < 2; i++) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			f->writer = writer_open(f->loop, f->wal);
			memdisk_fail(f->md, ops[i], 1);
			submit(f, 1, 0);
			writer_flush(f->writer);
			wait_for(f, 1);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), EX_IOERR);
	}
	f->writer = writer_open(f->loop, f->wal);
}

/* The loop reads old entries back all the time while the thread writes, rolls
 * and zero-fills. */
static void
reading_goes_on_while_writing(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 11, read_back = 0;
	size_t submitted = 0, done = 0;

	while (done < 600) {
		if (submitted < 600 && writer_waiting(f->writer) < 8) {
			submit(f, 1 + memdisk_random(&seed, 12), 1);
			writer_flush(f->writer);
			submitted++;
		}
		(void)loop_wait(f->loop, mono_now());
		done += take(f);
		if (rlog_last(f->rlog) > 0) {
			uint64_t last = rlog_last(f->rlog);
			uint64_t lo = 1 + memdisk_random(&seed, last);
			uint64_t hi = lo + 50 < last + 1 ? lo + 50 : last + 1;
			struct raft_entry *out;
			size_t count;

			assert_int_equal(rlog_entries(f->rlog, lo, hi,
					     RAFT_NO_LIMIT, &out, &count),
			    RAFT_OK);
			assert_int_equal(count, hi - lo);
			for (size_t i = 0; i < count; i++) {
				assert_int_equal(out[i].index, lo + i);
				assert_int_equal(
				    out[i].data->data[99], (lo + i) & 0xff);
			}
			raft_entries_free(out, count);
			read_back += count;
		}
	}
	assert_true(read_back > 600);
	assert_true(memdisk_file_count(f->md) > 3);
}

/* ---- turns of other threads ---- */

#define POKERS 3u
#define ENTRIES 3000u

struct shared {
	struct fixture *f;
	unsigned foreign; /* turns */
	atomic_bool done;
};

/* Keeps up to four jobs under way; take() sees that they end in order. */
static struct mono
submitting_turn(void *arg, struct mono now)
{
	struct shared *s = arg;
	struct fixture *f = s->f;

	(void)now;
	if (!loop_is_home(f->loop))
		s->foreign++;
	(void)take(f);
	while (f->last < ENTRIES && writer_waiting(f->writer) < 4)
		submit(f, 1, 0);
	writer_flush(f->writer);
	if (f->last < ENTRIES || writer_waiting(f->writer) > 0)
		return MONO_NEVER;
	atomic_store(&s->done, true);
	return (struct mono){0};
}

static void *
poke(void *arg)
{
	struct shared *s = arg;

	while (!atomic_load(&s->done))
		loop_poke(s->f->loop);
	return NULL;
}

static void
whoever_does_the_turn_may_write(void **state)
{
	struct fixture *f = *state;
	struct shared s = {.f = f};
	pthread_t t[POKERS];

	loop_share(f->loop, submitting_turn, &s);
	for (unsigned i = 0; i < POKERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, poke, &s), 0);
	while (!atomic_load(&s.done)) {
		(void)loop_wait(f->loop, MONO_NEVER);
		(void)submitting_turn(&s, mono_now());
	}
	for (unsigned i = 0; i < POKERS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(rlog_last(f->rlog), ENTRIES);
	assert_int_not_equal(s.foreign, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(jobs_of_one_flush_are_one_write_and_one_sync),
	    TEST(a_commit_index_alone_waits_for_the_next_job),
	    TEST(a_commit_index_that_is_pressed_for_is_written_and_not_synced),
	    TEST(responses_alone_do_not_wait_and_are_not_synced),
	    TEST(what_is_done_survives_a_power_cut),
	    TEST(closing_waits_for_what_was_submitted),
	    TEST(a_failed_write_ends_the_process),
	    TEST(reading_goes_on_while_writing),
	    TEST(whoever_does_the_turn_may_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
