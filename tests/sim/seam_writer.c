/* Under raftd's writer and snapio, which are the real ones: their threads are
 * coroutines.  And between raftd and its WAL and writer, where the
 * checkers listen.  The build renames what those objects call (sim.mk). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "raftd/writer.h"
#include "tests/sim/sim.h"

int sim_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*fn)(void *), void *arg);
int sim_pthread_join(pthread_t thread, void **result);
int sim_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int sim_cond_signal(pthread_cond_t *c);
int sim_sigmask(int how, const sigset_t *set, sigset_t *before);
enum err sim_wal_open(struct wal **wp, const struct wal_disk *d,
    struct wal_recovered *rec,
    void (*on_entry)(
	void *arg, const struct raft_entry *e, struct wal_position at),
    void *arg);
struct raft *sim_raft_new(const struct raft_config *config);
void sim_writer_submit(struct writer *wr, struct writer_job **job);
struct writer_job *sim_writer_done(struct writer *wr);

int
sim_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*fn)(void *), void *arg)
{
	(void)attr;
	*thread = thread_start(sim.current, fn, arg);
	return 0;
}

int
sim_pthread_join(pthread_t thread, void **result)
{
	(void)result;
	thread_join(sim.current, (unsigned)thread);
	return 0;
}

int
sim_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	(void)pthread_mutex_unlock(m);
	thread_wait(c);
	(void)pthread_mutex_lock(m);
	return 0;
}

int
sim_cond_signal(pthread_cond_t *c)
{
	thread_signal(sim.current, c);
	return 0;
}

int
sim_sigmask(int how, const sigset_t *set, sigset_t *before)
{
	(void)how, (void)set, (void)before;
	return 0;
}

/* ---- the checkers' ears ---- */

struct listener_of_entries {
	void (*on_entry)(
	    void *arg, const struct raft_entry *e, struct wal_position at);
	void *arg;
};

static void
entry_recovered(void *arg, const struct raft_entry *e, struct wal_position at)
{
	struct listener_of_entries *l = arg;

	check_raft_recovered_entry(sim.current->node, e);
	l->on_entry(l->arg, e, at);
}

enum err
sim_wal_open(struct wal **wp, const struct wal_disk *d,
    struct wal_recovered *rec,
    void (*on_entry)(
	void *arg, const struct raft_entry *e, struct wal_position at),
    void *arg)
{
	struct listener_of_entries l = {on_entry, arg};
	enum err e;

	check_raft_recovering(sim.current->node);
	e = wal_open(wp, d, rec, entry_recovered, &l);
	if (e != ERR_OK) {
		trace("wal does not open err=%d", (int)e);
		return e;
	}
	wal_set_limits(*wp, sim.segment_bytes, sim.prefill_bytes);
	check_raft_recovered(sim.current->node, rec);
	return ERR_OK;
}

/* The core with limits so small that all of them are reached all the time. */
struct raft *
sim_raft_new(const struct raft_config *config)
{
	struct raft_config c = *config;

	c.max_bytes_per_msg = sim.limits.bytes_per_msg;
	c.max_committed_bytes_per_ready = sim.limits.committed_bytes;
	c.max_uncommitted_bytes = sim.limits.uncommitted_bytes;
	c.max_inflight_msgs = sim.limits.inflight_msgs;
	c.max_inflight_bytes = sim.limits.inflight_bytes;
	return raft_new(&c);
}

void
sim_writer_submit(struct writer *wr, struct writer_job **job)
{
	check_raft_submitted(sim.current->node, &(*job)->append);
	writer_submit(wr, job);
}

struct writer_job *
sim_writer_done(struct writer *wr)
{
	struct writer_job *job = writer_done(wr);

	if (job == NULL)
		return NULL;
	check_raft_durable(sim.current->node, &job->append);
	if (job->conf != NULL)
		check_raft_conf_durable(sim.current->node, job->conf->index);
	return job;
}
