/* fork and exec of a node's programs; see spawn.h. */
#include "cmd/metcd/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"

#define ARGS_MAX 40u
#define NUMBERS_MAX 16u
#define NUMBER_BYTES 21u /* of a uint64_t, with the NUL */

/* --- where the programs are --- */

static int
program_path(const char *dir, enum child_id id, char *out, size_t out_bytes)
{
	int n = snprintf(out, out_bytes, "%s/%s", dir, child_name(id));

	return n > 0 && (size_t)n < out_bytes ? 0 : -1;
}

static bool
has_programs(const char *dir)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < CHILDREN; i++) {
		if (program_path(dir, (enum child_id)i, path, sizeof path) ==
			-1 ||
		    access(path, X_OK) == -1)
			return false;
	}
	return true;
}

/* The directory of our own program, or -1. */
static int
own_dir(char *out, size_t out_bytes)
{
	ssize_t n = readlink("/proc/self/exe", out, out_bytes);
	char *slash;

	if (n <= 0 || (size_t)n >= out_bytes)
		return -1;
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (slash == NULL)
		return -1;
	*slash = '\0';
	return 0;
}

int
spawn_find(struct spawn *s)
{
	static const char *const places[] = {"", "/../libexec/metcd"};
	char own[PATH_MAX];

	if (own_dir(own, sizeof own) == -1) {
		log_error("cannot tell where this program is; mount /proc");
		return EX_CONFIG;
	}
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		int n = snprintf(s->dir, sizeof s->dir, "%s%s", own, places[i]);

		if (n > 0 && (size_t)n < sizeof s->dir && has_programs(s->dir))
			return 0;
	}
	log_errorx("raftd, kvd and httpd are neither in %s nor in "
		   "../libexec/metcd from there; install them",
	    own);
	return EX_CONFIG;
}

/* --- the arguments of a child --- */

/* Built in the child, after fork: nothing of it is ever freed. */
struct args {
	char *argv[ARGS_MAX + 1];
	size_t count;
	char numbers[NUMBERS_MAX][NUMBER_BYTES];
	size_t numbers_count;
};

/* argv of exec wants char *, and does not write through it. */
static void
add(struct args *a, const char *text)
{
	assert(a->count < ARGS_MAX);
	a->argv[a->count++] = (char *)(uintptr_t)text;
}

static void
add_text(struct args *a, const char *option, const char *value)
{
	add(a, option);
	add(a, value);
}

static void
add_number(struct args *a, const char *option, uint64_t value)
{
	char *text = a->numbers[a->numbers_count++];

	assert(a->numbers_count <= NUMBERS_MAX);
	(void)snprintf(text, NUMBER_BYTES, "%" PRIu64, value); /* fits */
	add_text(a, option, text);
}

/* Only what the user has said something about. */
static void
add_given(struct args *a, const char *option, const char *value)
{
	if (value != NULL)
		add_text(a, option, value);
}

static void
add_raftd(struct args *a, const struct config *c)
{
	add_number(a, "--id", c->id);
	add_text(a, "--cluster", c->cluster);
	if (c->join)
		add(a, "--join");
	add_given(a, "--peer-listen", c->peer_listen);
	add_number(a, "--heartbeat-ms", c->heartbeat_ms);
	add_number(a, "--election-ms", c->election_ms);
	add_given(a, "--wal-segment-bytes", c->wal_segment_bytes);
	add_given(a, "--cache-bytes", c->cache_bytes);
	add_given(a, "--reserve-bytes", c->reserve_bytes);
	add_given(a, "--snapshot-log-bytes", c->snapshot_log_bytes);
	add_given(a, "--snapshot-count", c->snapshot_count);
	add_given(a, "--snapshot-rate-bytes", c->snapshot_rate_bytes);
	add_given(a, "--log-keep-bytes", c->log_keep_bytes);
}

static void
add_kvd(struct args *a, const struct config *c)
{
	add_text(a, "--engine", c->engine);
	if (c->rebuild)
		add(a, "--rebuild");
	add_number(a, "--check-interval-ms", c->check_interval_ms);
	add_given(a, "--write-back-bytes", c->write_back_bytes);
	add_given(a, "--lmdb-map-bytes", c->lmdb_map_bytes);
	add_given(a, "--leveldb-cache-bytes", c->leveldb_cache_bytes);
	add_given(
	    a, "--leveldb-write-buffer-bytes", c->leveldb_write_buffer_bytes);
}

static void
add_httpd(struct args *a, const struct config *c)
{
	add_text(a, "--listen", c->listen);
	add_text(a, "--admin-listen", c->admin_listen);
	add_number(a, "--max-value-bytes", c->max_value_bytes);
	add_number(a, "--request-timeout-ms", c->request_timeout_ms);
	add_number(a, "--check-interval-ms", c->check_interval_ms);
}

static void
make_args(struct args *a, const struct spawn *s, enum child_id id)
{
	add(a, child_name(id));
	switch (id) {
	case CHILD_HTTPD:
		add_httpd(a, s->config);
		break;
	case CHILD_RAFTD:
		add_raftd(a, s->config);
		break;
	case CHILD_KVD:
		add_kvd(a, s->config);
		break;
	}
	add_text(a, "--data-dir", s->config->data_dir);
	add_text(a, "--run-dir", s->run_dir);
	add_text(a, "--log-level", s->config->log.level);
	add_text(a, "--log-format", s->config->log.format);
	a->argv[a->count] = NULL;
}

/* --- fork --- */

/* Undo what this process has done to its signals; ignored and blocked ones
 * survive exec. */
static void
reset_signals(void)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
}

/* An own process group: Ctrl-C in a terminal is for the supervisor, which
 * stops its children in order. */
static _Noreturn void
run_child(const struct spawn *s, enum child_id id, pid_t parent)
{
	struct args args = {.count = 0};
	char path[PATH_MAX];
	int null_fd = open("/dev/null", O_RDONLY);

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(EX_OSERR); /* the parent went before it could matter */
	(void)setpgid(0, 0);     /* a new child: cannot fail */
	if (null_fd != -1)
		(void)dup2(null_fd, STDIN_FILENO);
	if (null_fd > STDERR_FILENO)
		(void)close(null_fd);
	if (fcntl(s->lock_fd, F_SETFD, 0) == -1 ||
	    setenv("NOTIFY_SOCKET", s->notify_address, 1) == -1) {
		log_error("cannot prepare %s", child_name(id));
		_exit(EX_OSERR);
	}
	reset_signals();
	make_args(&args, s, id);
	if (program_path(s->dir, id, path, sizeof path) == 0)
		(void)execv(path, args.argv); /* returns on failure only */
	log_error("cannot run %s", path);
	_exit(EX_OSERR);
}

pid_t
spawn_child(const struct spawn *s, enum child_id id)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0)
		run_child(s, id, parent);
	if (pid == -1)
		log_error("cannot fork for %s", child_name(id));
	return pid;
}
