/* The thread that writes what is frozen; see flush.h. */
#include "kvd/flush.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"

/* What is compared first: the kind of a record (record.h) and then, of keys,
 * bytes behind those that all keys here have in common.  Most pairs differ
 * there, so that few names have to be fetched. */
struct sort_key {
	uint64_t head; /* the first byte is the highest */
	uint32_t at;   /* position in the frozen table */
};

struct flusher {
	struct loop *loop;
	const struct store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* state or stop has changed */
	/* Below: under lock. */
	enum flush_state state;
	enum err why; /* it has failed */
	bool stop;
	atomic_bool hurry; /* without lock */
};

static void
must(int rc)
{
	assert(rc == 0); /* these calls only fail when they are misused */
	(void)rc;
}

/* --- order --- */

static bool
is_key(struct bytes name)
{
	return name.data[0] == (uint8_t)RECORD_KEY_PREFIX[0];
}

/* Bytes that all keys' names begin with, the kind included. */
static size_t
common_prefix(const struct engine_write *writes, size_t n)
{
	struct bytes first = {0};
	size_t common = 1;

	for (size_t i = 0; i < n; i++) {
		const struct bytes name = writes[i].name;
		size_t at = 0;

		if (!is_key(name))
			continue;
		if (first.data == NULL) {
			first = name;
			common = name.len;
		}
		if (common > name.len)
			common = name.len;
		while (at < common && name.data[at] == first.data[at])
			at++;
		common = at;
	}
	return common;
}

/* Bytes that a name does not have count as zero: not more than any. */
static uint64_t
head_of(struct bytes name, size_t from)
{
	uint64_t head = name.data[0];

	for (size_t i = 0; i < sizeof head - 1; i++)
		head =
		    head << 8 | (from + i < name.len ? name.data[from + i] : 0);
	return head;
}

static int
compare(const void *a, const void *b, void *arg)
{
	const struct sort_key *x = a, *y = b;
	const struct engine_write *writes = arg;

	if (x->head != y->head)
		return x->head < y->head ? -1 : 1;
	return bytes_compare(writes[x->at].name, writes[y->at].name);
}

/* The writes of a frozen table in order of name, sorted_bytes() of them.  The
 * table itself stays as it is: the loop looks names up in it. */
static size_t
sorted_bytes(const struct overlay *o)
{
	return o->n * sizeof(struct engine_write);
}

static struct engine_write *
sort(const struct overlay *o)
{
	const size_t common = common_prefix(o->writes, o->n);
	const size_t keys_bytes = o->n * sizeof(struct sort_key);
	struct sort_key *keys = mem_zalloc_table(keys_bytes);
	struct engine_write *sorted = mem_zalloc_table(sorted_bytes(o));

	for (size_t i = 0; i < o->n; i++) {
		const struct bytes name = o->writes[i].name;

		keys[i].head = head_of(name, is_key(name) ? common : 1);
		keys[i].at = (uint32_t)i;
	}
	qsort_r(keys, o->n, sizeof keys[0], compare, o->writes);
	for (size_t i = 0; i < o->n; i++)
		sorted[i] = o->writes[keys[i].at];
	mem_free_table(keys, keys_bytes);
	return sorted;
}

/* --- the thread --- */

/* A part of a write takes about half of that (engine_lmdb.c), so a flush uses a
 * third of a processor: of a table that is filled in a second, which is written
 * in 50 ms without rests, one in 150. */
#define REST_NS 500000

static void
rest(void *arg)
{
	struct flusher *f = arg;
	const struct timespec ts = {.tv_nsec = REST_NS};

	if (!atomic_load(&f->hurry))
		(void)nanosleep(&ts, NULL); /* a shorter one does too */
}

/* Called and returns with the lock held. */
static void
write_once(struct flusher *f)
{
	const struct overlay *o = &f->store->frozen;
	struct engine_write *sorted;
	enum err rc;

	must(pthread_mutex_unlock(&f->lock));
	sorted = sort(o);
	rc = store_write_frozen(f->store, sorted);
	mem_free_table(sorted, sorted_bytes(o));
	must(pthread_mutex_lock(&f->lock));
	f->state = rc == ERR_OK ? FLUSH_WRITTEN : FLUSH_FAILED;
	f->why = rc;
	must(pthread_cond_signal(&f->changed));
	loop_wake(f->loop);
}

/* The scheduler need not take the processor from others as soon as a rest is
 * over.  (LevelDB's merges would inherit that.) */
static void
give_way(const struct flusher *f)
{
	const struct sched_param none = {0};

	if (f->store->ops->set_rest != NULL &&
	    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none) != 0)
		log_debug("the flusher is scheduled as others are");
}

static void *
run(void *arg)
{
	struct flusher *f = arg;

	give_way(f);
	must(pthread_mutex_lock(&f->lock));
	while (f->state == FLUSH_RUNS || !f->stop) {
		if (f->state == FLUSH_RUNS)
			write_once(f);
		else
			must(pthread_cond_wait(&f->changed, &f->lock));
	}
	must(pthread_mutex_unlock(&f->lock));
	return NULL;
}

/* --- the loop --- */

struct flusher *
flusher_open(struct loop *loop, const struct store *s)
{
	struct flusher *f = mem_zalloc(1, sizeof *f);

	assert(s->ops->concurrent);
	f->loop = loop;
	f->store = s;
	must(pthread_cond_init(&f->changed, NULL));
	must(pthread_mutex_init(&f->lock, NULL));
	if (pthread_create(&f->thread, NULL, run, f) != 0) {
		log_errorx("cannot start the flusher; raise the limit on "
			   "threads");
		exit(EX_TEMPFAIL);
	}
	if (s->ops->set_rest != NULL)
		s->ops->set_rest(s->engine, rest, f);
	return f;
}

void
flusher_start(struct flusher *f)
{
	assert(store_is_frozen(f->store));
	must(pthread_mutex_lock(&f->lock));
	assert(f->state == FLUSH_IDLE);
	atomic_store(&f->hurry, false);
	f->state = FLUSH_RUNS;
	must(pthread_cond_signal(&f->changed));
	must(pthread_mutex_unlock(&f->lock));
}

void
flusher_hurry(struct flusher *f)
{
	atomic_store(&f->hurry, true);
}

static enum flush_state
take_state(struct flusher *f, bool wait, enum err *why)
{
	enum flush_state state;

	must(pthread_mutex_lock(&f->lock));
	while (wait && f->state == FLUSH_RUNS)
		must(pthread_cond_wait(&f->changed, &f->lock));
	state = f->state;
	*why = f->why;
	if (state == FLUSH_WRITTEN)
		f->state = FLUSH_IDLE;
	must(pthread_mutex_unlock(&f->lock));
	return state;
}

enum flush_state
flusher_poll(struct flusher *f, enum err *why)
{
	return take_state(f, false, why);
}

enum flush_state
flusher_wait(struct flusher *f, enum err *why)
{
	flusher_hurry(f);
	return take_state(f, true, why);
}

void
flusher_close(struct flusher *f)
{
	if (f == NULL)
		return;
	flusher_hurry(f);
	must(pthread_mutex_lock(&f->lock));
	f->stop = true;
	must(pthread_cond_signal(&f->changed));
	must(pthread_mutex_unlock(&f->lock));
	must(pthread_join(f->thread, NULL));
	if (f->store->ops->set_rest != NULL)
		f->store->ops->set_rest(f->store->engine, NULL, NULL);
	must(pthread_cond_destroy(&f->changed));
	must(pthread_mutex_destroy(&f->lock));
	mem_free(f);
}
