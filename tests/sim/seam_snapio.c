/* In place of raftd/snapio.c: jobs run at once, on the loop's side, and are
 * done by the next snapio_take(). */
#include "base/mem.h"
#include "raftd/snapio.h"
#include "tests/sim/sim.h"

struct snapio {
	struct snapio_job *done, **tail;
};

struct snapio *
snapio_open(struct loop *loop)
{
	struct snapio *s = mem_zalloc(1, sizeof(*s));

	(void)loop;
	s->tail = &s->done;
	return s;
}

void
snapio_submit(struct snapio *s, struct snapio_job *job)
{
	while (job->run(job))
		;
	job->next = NULL;
	*s->tail = job;
	s->tail = &job->next;
	proc_wake(sim.current);
}

static void
take(struct snapio *s, bool cancelled)
{
	struct snapio_job *job = s->done, *next;

	s->done = NULL;
	s->tail = &s->done;
	for (; job != NULL; job = next) {
		next = job->next;
		job->done(job, cancelled);
	}
}

void
snapio_take(struct snapio *s)
{
	take(s, false);
}

void
snapio_close(struct snapio *s)
{
	if (s == NULL)
		return;
	while (s->done != NULL)
		take(s, true);
	mem_free(s);
}
