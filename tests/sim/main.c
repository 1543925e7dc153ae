/* metcd-sim: seeds one after the other; a failure is shrunk and told. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define STEPS_DEFAULT 30000u
#define TAIL 60u

struct command {
	struct sim_options opt;
	uint64_t first, last; /* seeds */
	unsigned jobs;
	bool nodes_given, profile_given;
	bool twice; /* run each seed two times and compare */
	bool quiet;
	bool shrink;
	bool first_only; /* end at the first failure */
	bool counts;     /* print what happened; what never did is a failure */
};

struct totals {
	uint64_t passed, failed, virtual_ns, steps;
	uint64_t operations, commits, leaders;
	uint64_t orders, joins, quorums_lost, by_log;
	uint64_t settled_percent; /* the most */
	uint64_t counts[COUNTS];
};

static void
usage(void)
{
	fputs("Usage: metcd-sim [--seed S | --seeds FIRST:LAST] [--steps N]\n"
	      "    [--nodes 3|5|7] [--profile "
	      "calm|lossy|disk|membership|all]\n"
	      "    [--without fault,fault...] [--jobs N] [--twice] "
	      "[--first] [--no-shrink] [--hunt] [--counts] [--verbose]\n"
	      "Without --nodes and --profile the seed decides.\n"
	      "faults:",
	    stderr);
	for (int i = 0; i < FAULTS; i++)
		fprintf(stderr, " %s", fault_names[i]);
	fputc('\n', stderr);
	exit(64);
}

/* What the command line leaves open follows from the seed. */
static struct sim_options
options_for(const struct command *c, uint64_t seed)
{
	static const unsigned nodes[] = {3, 3, 5, 3, 7, 3, 5};
	struct sim_options o = c->opt;

	o.seed = seed;
	if (!c->nodes_given)
		o.nodes = nodes[seed % 7];
	if (!c->profile_given)
		o.profile = (enum profile)(seed % PROFILES);
	return o;
}

static void
print_command(const struct sim_options *o)
{
	bool first = true;

	printf("  bin/metcd-sim --seed %" PRIu64 " --steps %" PRIu64
	       " --nodes %u --profile %s",
	    o->seed, o->steps, o->nodes, profile_names[o->profile]);
	if (o->hunt)
		printf(" --hunt");
	for (int i = 0; i < FAULTS; i++)
		if ((o->without >> i & 1) != 0) {
			printf("%s%s", first ? " --without " : ",",
			    fault_names[i]);
			first = false;
		}
	printf("\n");
}

/* ---- shrinking: the same seed with fewer faults and steps ---- */

static bool
fails(const struct sim_options *o)
{
	world_run(o);
	return sim.violated;
}

static void
shrink(struct sim_options *o)
{
	uint64_t lo = 1;

	for (int i = 0; i < FAULTS; i++) {
		struct sim_options less = *o;

		less.without |= 1u << i;
		if ((o->without >> i & 1) == 0 && fails(&less))
			*o = less;
	}
	if (fails(o) && sim.violation_step < o->steps)
		o->steps = sim.violation_step;
	/* What only shows after the faults may show after fewer steps. */
	while (lo + 50 < o->steps) {
		struct sim_options less = *o;

		less.steps = lo + (o->steps - lo) / 2;
		if (fails(&less))
			o->steps = less.steps;
		else
			lo = less.steps;
	}
}

static void
report(const struct command *c, struct sim_options o)
{
	printf("FAILED seed %" PRIu64 ": %s\n", o.seed, sim.violation);
	print_command(&o);
	if (c->shrink) {
		shrink(&o);
		o.keep = true;
		world_run(&o);
		printf("shrunk: %s\n", sim.violation);
		o.keep = false;
		print_command(&o);
		printf("its last lines:\n");
		trace_tail(TAIL);
	}
	(void)fflush(stdout);
}

/* ---- seeds ---- */

static void
add_up(struct totals *t)
{
	t->virtual_ns += sim.now;
	t->steps += sim.steps;
	t->operations += sim.operations;
	t->commits += sim.commits;
	t->leaders += sim.leaders;
	t->orders += sim.orders;
	t->joins += sim.joins;
	t->quorums_lost += sim.quorums_lost;
	t->by_log += sim.by_log;
	t->settled_percent = sim.settled_percent;
	for (int i = 0; i < COUNTS; i++)
		t->counts[i] += sim.counts[i];
	if (sim.violated)
		t->failed++;
	else
		t->passed++;
}

static void
run_seed(const struct command *c, uint64_t seed, struct totals *t)
{
	struct sim_options o = options_for(c, seed);
	uint64_t hash;

	world_run(&o);
	add_up(t);
	if (!c->quiet && !sim.violated)
		printf("seed %" PRIu64 " nodes=%u profile=%s steps=%" PRIu64
		       " virtual=%.1fs ops=%" PRIu64 " answered=%" PRIu64
		       " commits=%" PRIu64 " leaders=%" PRIu64
		       " trace=%016" PRIx64 "\n",
		    seed, o.nodes, profile_names[o.profile], sim.steps,
		    (double)sim.now / 1e9, sim.operations, sim.answered,
		    sim.commits, sim.leaders, sim.trace_hash);
	if (sim.violated) {
		report(c, o);
		return;
	}
	if (!c->twice)
		return;
	hash = sim.trace_hash;
	world_run(&o);
	if (sim.trace_hash != hash) {
		printf("FAILED seed %" PRIu64 ": two runs, two traces\n", seed);
		t->failed++;
		t->passed--;
	}
}

static void
run_range(const struct command *c, unsigned job, struct totals *t)
{
	for (uint64_t s = c->first + job; s <= c->last; s += c->jobs)
		run_seed(c, s, t);
}

/* ---- jobs: each a process, so that a crash is one seed's failure ---- */

struct progress { /* what a job has told */
	uint64_t seed;
	struct totals t;
};

/* A fork that ends with its parent: in an endless loop it would outlive it. */
static pid_t
fork_job(void)
{
	pid_t parent = getpid(), pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == -1) {
		perror("metcd-sim: fork");
		exit(71);
	}
	if (pid == 0 &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
		_exit(71);
	return pid;
}

static void
print_crash(uint64_t seed, int status)
{
	if (WIFSIGNALED(status))
		printf("FAILED seed %" PRIu64 ": crashed: %s\n", seed,
		    strsignal(WTERMSIG(status)));
	else
		printf("FAILED seed %" PRIu64 ": crashed: exit status %d\n",
		    seed, WEXITSTATUS(status));
}

static void
job_main(const struct command *c, uint64_t first, unsigned step, int fd)
{
	for (uint64_t s = first; s <= c->last; s += step) {
		struct progress p = {.seed = s};

		run_seed(c, s, &p.t);
		(void)fflush(stdout);
		if (write(fd, &p, sizeof(p)) != (ssize_t)sizeof(p))
			_exit(70);
		if (c->first_only && p.t.failed > 0)
			break;
	}
	_exit(0);
}

static void
totals_add(struct totals *a, const struct totals *b)
{
	a->passed += b->passed;
	a->failed += b->failed;
	a->virtual_ns += b->virtual_ns;
	a->steps += b->steps;
	a->operations += b->operations;
	a->commits += b->commits;
	a->leaders += b->leaders;
	a->orders += b->orders;
	a->joins += b->joins;
	a->quorums_lost += b->quorums_lost;
	a->by_log += b->by_log;
	if (a->settled_percent < b->settled_percent)
		a->settled_percent = b->settled_percent;
	for (int i = 0; i < COUNTS; i++)
		a->counts[i] += b->counts[i];
}

/* Run every c->jobs-th seed; one that crashes is counted and left out. */
static void
watch_job(const struct command *c, unsigned job, struct totals *t)
{
	uint64_t next = c->first + job;

	while (next <= c->last) {
		struct progress p;
		int fds[2], status;
		pid_t pid;

		if (pipe(fds) != 0) {
			perror("metcd-sim: pipe");
			exit(71);
		}
		pid = fork_job();
		if (pid == 0) {
			(void)close(fds[0]);
			job_main(c, next, c->jobs, fds[1]);
		}
		(void)close(fds[1]);
		while (read(fds[0], &p, sizeof(p)) == (ssize_t)sizeof(p)) {
			totals_add(t, &p.t);
			next = p.seed + c->jobs;
		}
		(void)close(fds[0]);
		(void)waitpid(pid, &status, 0);
		if (status == 0 || (c->first_only && t->failed > 0))
			return;
		print_crash(next, status);
		t->failed++;
		if (c->first_only)
			return;
		next += c->jobs;
	}
}

static void
run_jobs(const struct command *c, struct totals *t)
{
	int fds[64];

	for (unsigned job = 0; job < c->jobs; job++) {
		int pair[2];

		if (pipe(pair) != 0) {
			perror("metcd-sim: pipe");
			exit(71);
		}
		if (fork_job() == 0) {
			struct totals mine = {0};

			(void)close(pair[0]);
			watch_job(c, job, &mine);
			(void)fflush(stdout);
			if (write(pair[1], &mine, sizeof(mine)) == -1)
				_exit(70);
			_exit(0);
		}
		(void)close(pair[1]);
		fds[job] = pair[0];
	}
	for (unsigned job = 0; job < c->jobs; job++) {
		struct totals one;

		if (read(fds[job], &one, sizeof(one)) == (ssize_t)sizeof(one))
			totals_add(t, &one);
		else
			t->failed++;
		(void)wait(NULL);
	}
}

/* ---- the command line ---- */

static uint64_t
number(const char *text)
{
	char *end;
	uint64_t v = text != NULL ? strtoull(text, &end, 10) : 0;

	if (text == NULL || *text == '\0' || *end != '\0')
		usage();
	return v;
}

static void
parse_seeds(struct command *c, char *text)
{
	char *colon = text != NULL ? strchr(text, ':') : NULL;

	if (colon == NULL)
		usage();
	*colon = '\0';
	c->first = number(text);
	c->last = number(colon + 1);
	c->quiet = true;
}

static void
parse_profile(struct command *c, const char *text)
{
	for (int i = 0; i < PROFILES; i++)
		if (text != NULL && strcmp(text, profile_names[i]) == 0) {
			c->opt.profile = (enum profile)i;
			c->profile_given = true;
			return;
		}
	usage();
}

static void
parse_without(struct command *c, char *text)
{
	for (char *w = strtok(text, ","); w != NULL; w = strtok(NULL, ",")) {
		int i = 0;

		while (i < FAULTS && strcmp(w, fault_names[i]) != 0)
			i++;
		if (i == FAULTS)
			usage();
		c->opt.without |= 1u << i;
	}
}

static void
parse(struct command *c, int argc, char *argv[])
{
	for (int i = 1; i < argc; i++) {
		char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--verbose") == 0) {
			c->opt.verbose = true;
			continue;
		} else if (strcmp(argv[i], "--twice") == 0) {
			c->twice = true;
			continue;
		} else if (strcmp(argv[i], "--hunt") == 0) {
			c->opt.hunt = true;
			continue;
		} else if (strcmp(argv[i], "--first") == 0) {
			c->first_only = true;
			continue;
		} else if (strcmp(argv[i], "--counts") == 0) {
			c->counts = true;
			continue;
		} else if (strcmp(argv[i], "--no-shrink") == 0) {
			c->shrink = false;
			continue;
		}
		if (strcmp(argv[i], "--seed") == 0)
			c->first = c->last = number(value);
		else if (strcmp(argv[i], "--seeds") == 0)
			parse_seeds(c, value);
		else if (strcmp(argv[i], "--steps") == 0)
			c->opt.steps = number(value);
		else if (strcmp(argv[i], "--jobs") == 0)
			c->jobs = (unsigned)number(value);
		else if (strcmp(argv[i], "--profile") == 0)
			parse_profile(c, value);
		else if (strcmp(argv[i], "--without") == 0 && value != NULL)
			parse_without(c, value);
		else if (strcmp(argv[i], "--nodes") == 0) {
			c->opt.nodes = (unsigned)number(value);
			c->nodes_given = true;
		} else
			usage();
		i++;
	}
	if (c->nodes_given &&
	    (c->opt.nodes < 1 || c->opt.nodes > SIM_START_MAX))
		usage();
	if (c->jobs < 1)
		usage();
	if (c->jobs > 64) /* nproc of a large machine */
		c->jobs = 64;
}

int
main(int argc, char *argv[])
{
	struct command c = {.first = 1, .last = 1, .jobs = 1, .shrink = true};
	struct totals t = {0};
	struct timespec from, to;

	c.opt.steps = STEPS_DEFAULT;
	parse(&c, argc, argv);
	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	if (c.first == c.last)
		run_range(&c, 0, &t);
	else
		run_jobs(&c, &t);
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	if (c.quiet)
		printf("seeds=%" PRIu64 " virtual_hours=%.2f real_s=%.1f "
		       "events=%" PRIu64 " operations=%" PRIu64
		       " commits=%" PRIu64 " leaders=%" PRIu64
		       " orders=%" PRIu64 " joins=%" PRIu64
		       " quorums_lost=%" PRIu64 " by_log=%" PRIu64
		       " settled_percent=%" PRIu64 "\n",
		    t.passed + t.failed, (double)t.virtual_ns / 3.6e12,
		    (double)(to.tv_sec - from.tv_sec) +
			(double)(to.tv_nsec - from.tv_nsec) / 1e9,
		    t.steps, t.operations, t.commits, t.leaders, t.orders,
		    t.joins, t.quorums_lost, t.by_log, t.settled_percent);
	if (c.counts && count_print(t.counts) > 0) {
		printf("FAILED: what is marked NEVER did not happen\n");
		t.failed++;
	}
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", t.passed, t.failed);
	return t.failed == 0 ? 0 : 1;
}
