/* What a process has of its kernel, replaced: loop, clock, memory, log,
 * directories, random numbers, exit. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watchdog.h"
#include "tests/sim/sim.h"

/* Names that the build gives to what the real objects call (sim.mk). */
int sim_clock_gettime(clockid_t clock, struct timespec *ts);
_Noreturn void sim_exit(int code);
_Noreturn void sim_exit_now(int code);
_Noreturn void sim_exit_plain(int code);
_Noreturn void sim_assert_fail(
    const char *what, const char *file, unsigned line, const char *function);

/* ---- memory: each block belongs to a process and ends with it ---- */

struct mem_head {
	struct mem_head *prev, *next;
	struct proc *owner; /* NULL: the simulator's own */
	size_t bytes;
};

static void *
block_new(size_t bytes)
{
	struct mem_head *h = malloc(sizeof(*h) + bytes);

	assert(h != NULL);
	h->owner = sim.current;
	h->bytes = bytes;
	h->prev = h->next = NULL;
	if (h->owner == NULL)
		return h + 1;
	h->next = h->owner->memory;
	if (h->next != NULL)
		h->next->prev = h;
	h->owner->memory = h;
	return h + 1;
}

static void
block_free(struct mem_head *h)
{
	if (h->owner != NULL) {
		if (h->prev != NULL)
			h->prev->next = h->next;
		else
			h->owner->memory = h->next;
		if (h->next != NULL)
			h->next->prev = h->prev;
	}
	free(h);
}

void
memory_free_all(struct proc *p)
{
	struct mem_head *h;

	while ((h = p->memory) != NULL) {
		p->memory = h->next;
		free(h);
	}
}

void *
mem_alloc(size_t bytes)
{
	return block_new(bytes);
}

void *
mem_zalloc(size_t count, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, bytes, &total))
		abort();
	return memset(block_new(total), 0, total);
}

void *
mem_resize(void *p, size_t count, size_t bytes)
{
	size_t total;
	void *q;

	if (__builtin_mul_overflow(count, bytes, &total))
		abort();
	q = block_new(total);
	if (p != NULL) {
		struct mem_head *h = (struct mem_head *)p - 1;

		memcpy(q, p, h->bytes < total ? h->bytes : total);
		block_free(h);
	}
	return q;
}

char *
mem_strdup(const char *s)
{
	size_t bytes = strlen(s) + 1;

	return memcpy(block_new(bytes), s, bytes);
}

void
mem_free(void *p)
{
	if (p != NULL)
		block_free((struct mem_head *)p - 1);
}

void *
mem_zalloc_table(size_t bytes)
{
	return mem_zalloc(1, bytes);
}

void
mem_free_table(void *p, size_t bytes)
{
	(void)bytes;
	mem_free(p);
}

void
mem_trim(void)
{
}

/* ---- the clock ---- */

int
sim_clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t ns = sim.current != NULL ? proc_clock(sim.current) : sim.now;

	(void)clock;
	ts->tv_sec = (time_t)(ns / SEC);
	ts->tv_nsec = (long)(ns % SEC);
	return 0;
}

/* ---- the loop ---- */

struct loop {
	struct proc *proc;
	struct loop_timer *timers; /* earliest first */
	struct loop_timer *due;
};

struct loop *
loop_open(void)
{
	struct loop *l = mem_zalloc(1, sizeof(*l));

	l->proc = sim.current;
	l->proc->loop = l;
	return l;
}

void
loop_close(struct loop *l)
{
	if (l == NULL)
		return;
	l->proc->loop = NULL;
	mem_free(l);
}

void
loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
{
	(void)l, (void)fd, (void)events, (void)fn, (void)arg;
}

void
loop_unwatch(struct loop *l, int fd)
{
	(void)l, (void)fd;
}

void
loop_signals(struct loop *l, const int *signals, loop_signal_fn *fn, void *arg)
{
	(void)l, (void)signals, (void)fn, (void)arg;
}

static bool
timer_take(struct loop_timer **list, struct loop_timer *t)
{
	for (struct loop_timer **pos = list; *pos != NULL; pos = &(*pos)->next)
		if (*pos == t) {
			*pos = t->next;
			t->next = NULL;
			return true;
		}
	return false;
}

void
loop_timer_init(
    struct loop *l, struct loop_timer *t, loop_timer_fn *fn, void *arg)
{
	*t = (struct loop_timer){
	    .loop = l, .at = MONO_NEVER, .fn = fn, .arg = arg};
}

void
loop_timer_stop(struct loop_timer *t)
{
	if (t->loop != NULL && !timer_take(&t->loop->timers, t))
		(void)timer_take(&t->loop->due, t);
	t->at = MONO_NEVER;
}

void
loop_timer_set(struct loop_timer *t, struct mono at)
{
	struct loop_timer **pos = &t->loop->timers;

	loop_timer_stop(t);
	t->at = at;
	if (at.ns == MONO_NEVER.ns)
		return;
	while (*pos != NULL && (*pos)->at.ns <= at.ns)
		pos = &(*pos)->next;
	t->next = *pos;
	*pos = t;
}

struct mono
loop_next(const struct loop *l)
{
	return l != NULL && l->timers != NULL ? l->timers->at : MONO_NEVER;
}

struct mono
loop_wait(struct loop *l, struct mono limit)
{
	struct mono now;
	struct loop_timer *t;

	proc_yield(limit);
	now = mono_now();
	while (l->timers != NULL && mono_reached(l->timers->at, now)) {
		struct loop_timer **end = &l->due;

		while (*end != NULL)
			end = &(*end)->next;
		t = l->timers;
		l->timers = t->next;
		t->next = NULL;
		*end = t;
	}
	while ((t = l->due) != NULL) {
		l->due = t->next;
		t->next = NULL;
		t->fn(t->arg, now);
	}
	return now;
}

void
loop_poke(struct loop *l)
{
	proc_wake(l->proc);
}

void
loop_wake(struct loop *l)
{
	proc_wake(l->proc);
}

bool
loop_is_home(const struct loop *l)
{
	(void)l;
	return true;
}

bool
loop_afterwards(struct loop *l, loop_work_fn *fn, void *arg)
{
	(void)l, (void)fn, (void)arg;
	return false;
}

void
loop_share(struct loop *l, loop_turn_fn *turn, void *arg)
{
	(void)l, (void)turn, (void)arg;
}

/* ---- ends ---- */

_Noreturn void
sim_exit(int code)
{
	proc_exit(code);
}

_Noreturn void
sim_exit_now(int code)
{
	proc_exit(code);
}

_Noreturn void
sim_exit_plain(int code)
{
	proc_exit(code);
}

_Noreturn void
sim_assert_fail(
    const char *what, const char *file, unsigned line, const char *function)
{
	violate("assertion failed: %s (%s:%u, %s)", what, file, line, function);
	if (sim.current == NULL) { /* not inside a process: our own */
		fprintf(stderr, "%s\n", sim.violation);
		abort();
	}
	proc_exit(-1);
}

/* ---- daemon.h ---- */

struct option_value {
	const char *name;
	const char *value;
};

static const char *
option_of(const char *name)
{
	static char dir[ROLES][SIM_NODES_MAX + 1][16];
	const struct proc *p = sim.current;
	char *text = dir[p->role][p->node];

	if (strcmp(name, "data-dir") == 0) {
		(void)snprintf(text, 16, "/n%u", p->node);
		return text;
	}
	if (strcmp(name, "engine") == 0)
		return sim.opt.seed % 2 == p->node % 2 ? "memory" : "lmdb";
	return NULL;
}

void
daemon_options(const char *program, const char *about, const struct opt *opts,
    int argc, char *argv[], int *operands)
{
	(void)program, (void)about, (void)argc, (void)argv, (void)operands;
	for (const struct opt *o = opts; o->name != NULL; o++) {
		const char *value = option_of(o->name);

		if (value != NULL && o->kind == OPT_STRING)
			*(const char **)o->dst = value;
	}
}

int
daemon_log(const struct daemon_log *log)
{
	(void)log;
	return 0;
}

void
daemon_ready(void)
{
}

void
watchdog_start(struct loop *l)
{
	(void)l; /* no service manager here */
}

void
daemon_stopping(void)
{
}

void
daemon_status(const char *fmt, ...)
{
	(void)fmt;
}

uint64_t
daemon_random(void)
{
	uint64_t v = rng_next(&sim.rng[RNG_ENTROPY]);

	return v != 0 ? v : 1;
}

int
daemon_run_dir(
    const char *run_dir, const char *data_dir, char *out, size_t out_bytes)
{
	(void)run_dir;
	(void)snprintf(out, out_bytes, "%s/run", data_dir);
	return 0;
}

/* ---- file.h: what raftd and kvd have besides the WAL and the engine ---- */

int
file_make_dir(const char *dir, unsigned mode)
{
	(void)dir, (void)mode;
	return 0;
}

int
file_lock(const char *dir, const char *name, int *fdp)
{
	(void)dir, (void)name;
	*fdp = 3;
	return 0;
}

/* kvd's markers: only engines that say they are durable have one, and the
 * simulated ones do not. */
int
file_replace(const char *dir, const char *name, struct bytes data)
{
	(void)dir, (void)name, (void)data;
	errno = EROFS;
	return -1;
}

int
file_read(const char *dir, const char *name, size_t max, struct buf *out)
{
	(void)dir, (void)name, (void)max, (void)out;
	errno = ENOENT;
	return -1;
}

int
file_sync_dir(const char *dir)
{
	(void)dir;
	return 0;
}

/* ---- the log ---- */

static void __attribute__((format(printf, 2, 0)))
emit(const char *level, const char *fmt, va_list ap)
{
	char text[600];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	trace("%-5s %s", level, text);
	count_log(fmt, text);
}

#define EMIT(level)                                                            \
	do {                                                                   \
		va_list ap;                                                    \
		va_start(ap, fmt);                                             \
		emit(level, fmt, ap);                                          \
		va_end(ap);                                                    \
	} while (0)

void
log_open(const char *process, uint64_t node)
{
	(void)process, (void)node;
}

void
log_node(uint64_t node)
{
	(void)node;
}

void
log_error(const char *fmt, ...)
{
	EMIT("error");
}

void
log_errorx(const char *fmt, ...)
{
	EMIT("error");
}

void
log_warn(const char *fmt, ...)
{
	EMIT("warn");
}

void
log_warnx(const char *fmt, ...)
{
	EMIT("warn");
}

void
log_info(const char *fmt, ...)
{
	EMIT("info");
}

void
log_debug(const char *fmt, ...)
{
	if (trace_wanted())
		EMIT("debug");
}

/* ---- static data of a process: kvd's main() keeps its state there.  The
 * build puts it into one section (sim.mk); it is copied in before a process
 * runs and is left there until another one does. ---- */

extern uint8_t __start_sim_image[], __stop_sim_image[];

static struct proc *image_loaded;

static size_t
image_bytes(void)
{
	return (size_t)(__stop_sim_image - __start_sim_image);
}

/* Not memcpy(): a sanitizer keeps forbidden bytes around what is in there. */
__attribute__((no_sanitize("address"))) static void
copy_image(uint8_t *to, const uint8_t *from, size_t bytes)
{
	volatile uint64_t *t = (volatile uint64_t *)(void *)to;
	const uint64_t *f = (const uint64_t *)(const void *)from;
	size_t words = bytes / sizeof(*f);

	for (size_t i = 0; i < words; i++)
		t[i] = f[i];
	for (size_t i = words * sizeof(*f); i < bytes; i++)
		((volatile uint8_t *)to)[i] = from[i];
}

void
image_load(struct proc *p)
{
	if (image_loaded == p)
		return;
	if (image_loaded != NULL)
		copy_image(
		    image_loaded->image, __start_sim_image, image_bytes());
	copy_image(__start_sim_image, p->image, image_bytes());
	image_loaded = p;
}

/* Zeroes: the section is made of .bss. */
void
image_init(struct proc *p)
{
	if (image_loaded == p)
		image_loaded = NULL;
	free(p->image);
	p->image = calloc(1, image_bytes());
	assert(p->image != NULL);
}

void
image_free(struct proc *p)
{
	if (image_loaded == p)
		image_loaded = NULL;
	free(p->image);
	p->image = NULL;
}
