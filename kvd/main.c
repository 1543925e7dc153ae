/* kvd: the replicated state machine of a node.
 *
 * Role: applies what raftd says is committed to a storage engine, and answers
 *     httpd from it.
 * Reads: DATA/kv/ENGINE, which it owns; commits, reads and whole states from
 *     raftd; stale reads and questions from httpd.  At start, what other
 *     engines' directories in DATA/kv have.
 * Writes: DATA/kv/ENGINE; replies to httpd; its progress and, when asked, its
 *     state to raftd.
 * Trusts: the kernel, processes of its own user (or of --socket-group) that
 *     speak through the run directory (checked: user, shape of every message);
 *     no network.
 * Exit codes: 0 stopped by a signal; 64 wrong call; 69 its socket cannot be
 *     had; 74 storage failed; 75 another kvd has the directory; 77 no rights;
 *     78 the directory is of another cluster or node.
 *
 * Any of the others may be away: without raftd it answers stale reads, without
 * httpd it goes on applying. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/watchdog.h"
#include "kvd/adopt.h"
#include "kvd/damage.h"
#include "kvd/dirs.h"
#include "kvd/kvd.h"
#include "kvd/marker.h"
#include "kvd/sync.h"

/* Of what DATA/kv/ENGINE.load and a socket's URL are made. */
#define PATH_BYTES_MAX (DIRS_PATH_BYTES - 64u)
#define STOP_FLUSH_MS 100u
#define SIZE_BYTES_MAX (UINT64_C(1) << 50)
#define CHECK_MS 60000u
#define CHECK_MS_MAX 86400000u /* a day */

/* raftd hears of progress when so much of its window is used, or so long after
 * it was made: each word costs it a wake-up. */
#define TELL_BYTES (FEED_WINDOW_BYTES / 4)
#define TELL_MS 5u

/* What only main.c deals with. */
struct process {
	struct kvd kvd;
	uint64_t epoch;
	struct loop *loop;
	struct links *links;
	struct adopt adopt;
	struct damage damage;
	int lock_fd;
	struct msg_applied sent; /* what raftd knows of our progress */
	size_t untold;           /* bytes of commits since then */
	struct mono tell_at;     /* MONO_NEVER: it knows all */
	char kv_dir[PATH_BYTES_MAX];
	char run_dir[PATH_BYTES_MAX];

	const char *data_dir_option;
	const char *run_dir_option;
	const char *group_option; /* NULL: one user */
	const char *engine_option;
	struct daemon_log log_options;
	bool rebuild_option;
	uint64_t check_ms_option;
	const struct engine_ops *engine;
};

/* --- the link to raftd --- */

static void
fill_hello(const struct process *p, struct msg_hello *mine)
{
	const struct state *s = &p->kvd.store.state;

	mine->epoch = p->epoch;
	mine->cluster = s->cluster;
	mine->node = s->node;
	mine->incarnation = s->incarnation;
	mine->applied = s->applied;
	mine->durable = p->kvd.durable;
	(void)snprintf(
	    mine->engine, sizeof mine->engine, "%s", p->engine->name);
}

/* applied is with what the engine does not have yet: if that cannot be written,
 * or this process is killed, its successor says something else. */
static void
raftd_hello(void *arg, struct msg_hello *mine)
{
	struct process *p = arg;

	fill_hello(p, mine);
	p->sent = (struct msg_applied){
	    .applied = mine->applied, .durable = mine->durable};
	p->untold = 0;
	p->tell_at = MONO_NEVER;
}

static enum err
refuse_raftd(struct process *p, const struct msg_hello *theirs)
{
	const struct state *s = &p->kvd.store.state;

	if (s->cluster == theirs->cluster && s->node == theirs->node)
		log_errorx("the store was fed by another raft directory than "
			   "the one that is there now; restore that one, or "
			   "start kvd with --rebuild dir=%s "
			   "store=%016" PRIx64 " raftd=%016" PRIx64,
		    p->kvd.store.dir, s->incarnation, theirs->incarnation);
	else
		log_errorx("the store belongs to another cluster or node; "
			   "start kvd with the right --data-dir, or remove %s, "
			   "it is rebuilt from raftd store_cluster=%016" PRIx64
			   " store_node=%" PRIu64 " raftd_cluster=%016" PRIx64
			   " raftd_node=%" PRIu64,
		    p->kvd.store.dir, s->cluster, s->node, theirs->cluster,
		    theirs->node);
	p->kvd.exit_code = EX_CONFIG;
	p->kvd.quit = true;
	return ERR_FOREIGN;
}

static enum err
raftd_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct process *p = arg;
	struct state *s = &p->kvd.store.state;

	(void)l;
	if (theirs->cluster == 0 || theirs->node == 0) {
		log_warnx("raftd does not know its cluster yet");
		return ERR_UNAVAILABLE;
	}
	if (loading_must_wait(&p->kvd)) /* it has had its log line */
		return ERR_UNAVAILABLE;
	if (s->applied == 0) { /* nothing in it: stored with the first write */
		s->cluster = theirs->cluster;
		s->node = theirs->node;
		s->incarnation = theirs->incarnation;
	}
	if (s->cluster != theirs->cluster || s->node != theirs->node ||
	    s->incarnation != theirs->incarnation)
		return refuse_raftd(p, theirs);
	log_node(s->node);
	p->adopt.confirmed = true;
	damage_met(&p->damage, theirs->applied);
	daemon_status("node %" PRIu64 ", engine %s, fed by raftd", s->node,
	    p->engine->name);
	return ERR_OK;
}

/* It is dialed again; HELLO says where to go on. */
static void
raftd_down(void *arg, struct link *l)
{
	struct process *p = arg;

	(void)l;
	snapshot_stop(&p->kvd);
	loading_stop(&p->kvd);
	daemon_status("engine %s, waiting for raftd", p->engine->name);
}

static enum err
raftd_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct process *p = arg;

	(void)l;
	if (p->kvd.quit) /* what came before it made us leave */
		return ERR_STOPPING;
	switch (type) {
	case MSG_COMMIT:
		p->untold += body->left;
		return kvd_take_commit(&p->kvd, body);
	case MSG_SNAP_ASK:
	case MSG_SNAP_MORE:
		return snapshot_take(&p->kvd, type, body);
	case MSG_LOAD_HEAD:
	case MSG_LOAD_DATA:
		return loading_take(&p->kvd, type, body);
	default: /* not an enum: a byte of the message */
		return kvd_take_question(&p->kvd, type, body);
	}
}

static const struct link_ops raftd_ops = {
    .hello = raftd_hello,
    .up = raftd_up,
    .down = raftd_down,
    .take = raftd_take,
};

/* --- the link from httpd --- */

static void
httpd_hello(void *arg, struct msg_hello *mine)
{
	fill_hello(arg, mine);
}

/* One at a time: the newest is the one that runs. */
static enum err
httpd_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct process *p = arg;
	struct link *old = p->kvd.httpd;

	p->kvd.httpd = l;
	p->kvd.httpd_epoch = theirs->epoch;
	buf_clear(&p->kvd.questions); /* the old one's */
	if (old != NULL)
		link_close(old);
	return ERR_OK;
}

static void
httpd_down(void *arg, struct link *l)
{
	struct process *p = arg;

	if (p->kvd.httpd != l)
		return;
	p->kvd.httpd = NULL;
	p->kvd.httpd_epoch = 0;
	buf_clear(&p->kvd.questions);
}

static enum err
httpd_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct process *p = arg;

	if (p->kvd.quit || l != p->kvd.httpd)
		return ERR_STOPPING;
	return kvd_take_question(&p->kvd, type, body);
}

static const struct link_ops httpd_ops = {
    .hello = httpd_hello,
    .up = httpd_up,
    .down = httpd_down,
    .take = httpd_take,
};

/* --- start --- */

static int
read_options(struct process *p, int argc, char *argv[])
{
	const struct opt table[] = {
	    {"data-dir", OPT_STRING, &p->data_dir_option, 0, 0, "DIR",
		"the node's data; kvd's is below DIR/kv"},
	    {"run-dir", OPT_STRING, &p->run_dir_option, 0, 0, "DIR",
		"the node's sockets (default: data-dir/run)"},
	    {"socket-group", OPT_STRING, &p->group_option, 0, 0, "GROUP",
		"group of the node's processes, if they are several users"},
	    {"engine", OPT_STRING, &p->engine_option, 0, 0, "NAME",
		"storage engine: memory, lmdb or leveldb"},
	    {"rebuild", OPT_FLAG, &p->rebuild_option, 0, 0, NULL,
		"throw the store away; it is made anew from raftd"},
	    {"check-interval-ms", OPT_U64, &p->check_ms_option, 0, CHECK_MS_MAX,
		"MS", "pause between two readings of all keys; 0: none"},
	    {"write-back-bytes", OPT_U64, &p->kvd.write_back_bytes, 0,
		SIZE_BYTES_MAX, "BYTES",
		"changes kept in memory (twice) before lmdb or leveldb is "
		"written; 0: write every turn"},
	    {"lmdb-map-bytes", OPT_U64, &engine_sizes.lmdb_map_bytes, 0,
		SIZE_BYTES_MAX, "BYTES",
		"lmdb: the most that a store holds; 0: no limit"},
	    {"leveldb-cache-bytes", OPT_U64, &engine_sizes.leveldb_cache_bytes,
		0, SIZE_BYTES_MAX, "BYTES",
		"leveldb: memory for blocks that were read"},
	    {"leveldb-write-buffer-bytes", OPT_U64,
		&engine_sizes.leveldb_write_buffer_bytes, 1u << 16,
		SIZE_BYTES_MAX, "BYTES",
		"leveldb: memory for writes; up to twice as much"},
	    DAEMON_LOG_OPTIONS(&p->log_options),
	    {.name = NULL},
	};
	int rc;

	daemon_options("kvd", "the replicated state machine of a metcd node",
	    table, argc, argv, NULL);
	if ((rc = daemon_log(&p->log_options)) != EX_OK)
		return rc;
	p->engine = engine_find(p->engine_option);
	if (p->engine == NULL) {
		log_errorx("unknown engine \"%s\"; choose one of %s",
		    p->engine_option, engine_names());
		return EX_USAGE;
	}
	return EX_OK;
}

/* Afterwards DATA/kv is locked. */
static int
take_directories(struct process *p)
{
	int rc;

	if (snprintf(p->kv_dir, sizeof p->kv_dir, "%s/kv",
		p->data_dir_option) >= (int)sizeof p->kv_dir) {
		log_errorx("--data-dir is too long; choose another path");
		return EX_USAGE;
	}
	p->kvd.kv_dir = p->kv_dir;
	if ((rc = daemon_run_dir(p->run_dir_option, p->data_dir_option,
		 p->run_dir, sizeof p->run_dir)) != EX_OK ||
	    (rc = file_make_dir(p->run_dir, 0700)) != EX_OK ||
	    (rc = file_make_dir(p->kv_dir, 0700)) != EX_OK)
		return rc;
	return file_lock(p->kv_dir, "LOCK", &p->lock_fd);
}

/* All engines' directories are as they should be, or with --rebuild gone. */
static enum err
tidy_directories(struct process *p)
{
	const struct engine_ops *ops;
	enum err rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && (ops = engine_at(i)) != NULL; i++) {
		if (!ops->durable)
			continue;
		rc = dirs_recover(p->kv_dir, ops->name);
		if (rc != ERR_OK || !p->rebuild_option ||
		    !dirs_exists(p->kv_dir, ops->name))
			continue;
		log_info("rebuild: removing the store engine=%s", ops->name);
		rc = dirs_remove(p->kv_dir, ops->name);
	}
	return rc;
}

/* The engine in its directory, and what another one's has. */
static enum err
open_engine(struct process *p, const char *dir)
{
	struct kvd *k = &p->kvd;
	enum err rc;

	if ((rc = store_open(&k->store, p->engine, dir)) != ERR_OK ||
	    (rc = adopt_begin(&p->adopt, p->kv_dir, &k->store)) != ERR_OK ||
	    (rc = sessions_open(&k->sessions, &k->store)) != ERR_OK) {
		(void)store_close(&k->store, true); /* not synced: no error */
		p->adopt = (struct adopt){0};
	}
	return rc;
}

static int
open_store(struct process *p)
{
	const struct dirs_path dir = dirs_path(p->kv_dir, p->engine->name, "");
	struct kvd *k = &p->kvd;
	const bool durable = p->engine->durable;
	enum err rc;
	int code;

	if (tidy_directories(p) != ERR_OK)
		return EX_IOERR;
	damage_open(&p->damage, p->kv_dir);
	if (durable && (code = file_make_dir(dir.text, 0700)) != EX_OK)
		return code;
	if (durable)
		marker_condemn_on_fault(dir.text);
	rc = open_engine(p, dir.text);
	if (rc == ERR_CORRUPT && durable) {
		if (damage_set_aside(&p->damage, p->engine) != ERR_OK)
			return EX_IOERR;
		if ((code = file_make_dir(dir.text, 0700)) != EX_OK)
			return code;
		rc = open_engine(p, dir.text);
	}
	if (rc != ERR_OK)
		return EX_IOERR;
	k->check = check_open(p->check_ms_option);
	check_reset(k->check, &k->store.state);
	log_node(k->store.state.node);
	return EX_OK;
}

static int
open_links(struct process *p)
{
	char url[PATH_BYTES_MAX + 32];
	int rc;

	p->links = links_open(p->loop, MSG_KVD);
	if ((rc = links_share(p->links, p->group_option)) != EX_OK)
		return rc;
	(void)snprintf(url, sizeof url, "ipc://%s/kvd.sock", p->run_dir);
	rc = links_listen(p->links, url, 1u << MSG_HTTPD, 0600, &httpd_ops, p);
	if (rc != EX_OK)
		return rc;
	(void)snprintf(url, sizeof url, "ipc://%s/raftd.sock", p->run_dir);
	p->kvd.raftd =
	    links_dial(p->links, url, MSG_RAFTD, "raftd", &raftd_ops, p);
	return EX_OK;
}

static void
on_signal(void *arg, int signo)
{
	struct process *p = arg;

	log_info("stopping signal=%d", signo);
	p->kvd.quit = true;
}

static int
kvd_init(struct process *p, int argc, char *argv[])
{
	static const int signals[] = {SIGTERM, SIGINT, 0};
	int rc;

	memset(p, 0, sizeof *p);
	p->tell_at = MONO_NEVER;
	p->lock_fd = -1;
	p->data_dir_option = "./metcd.data";
	p->engine_option = "lmdb";
	p->log_options = (struct daemon_log)DAEMON_LOG_DEFAULT;
	p->check_ms_option = CHECK_MS;
	p->kvd.write_back_bytes = WRITE_BACK_BYTES;
	log_open("kvd", 0);
	(void)umask(0077); /* LevelDB asks for 0644 */
	if ((rc = read_options(p, argc, argv)) != EX_OK ||
	    (rc = take_directories(p)) != EX_OK)
		return rc;
	p->epoch = daemon_random();
	p->loop = p->kvd.loop = loop_open();
	loop_signals(p->loop, signals, on_signal, p);
	if ((rc = open_store(p)) != EX_OK)
		return rc;
	writeback_open(&p->kvd);
	return open_links(p);
}

static void
kvd_fini(struct process *p, int rc)
{
	bool failed = rc == EX_IOERR; /* then nothing more is written */

	links_close(p->links, failed ? 0 : STOP_FLUSH_MS);
	snapshot_stop(&p->kvd);
	load_abandon(&p->kvd.load);
	if (!failed)
		writeback_finish(&p->kvd);
	if (!writeback_close(&p->kvd))
		kvd_fail(&p->kvd, KVD_SYNC_FAILED);
	failed = failed || p->kvd.exit_code == EX_IOERR;
	sessions_close(p->kvd.sessions);
	check_close(p->kvd.check);
	if (p->kvd.damaged && p->engine->durable)
		marker_condemn(p->kvd.store.dir);
	(void)store_close(&p->kvd.store, failed); /* logged; we leave anyway */
	loop_close(p->loop);
	buf_free(&p->kvd.replies);
	buf_free(&p->kvd.questions);
	buf_free(&p->kvd.scratch);
	buf_free(&p->kvd.taken);
}

/* --- the loop --- */

/* Tell raftd how far we are. */
static void
kvd_progress(struct process *p)
{
	struct msg_applied now = {
	    .applied = writeback_progress(&p->kvd, p->sent.applied)};
	const struct mono at = mono_now();
	struct wire *w;
	bool failed;

	if (p->kvd.exit_code != 0)
		return;
	syncer_wrote(p->kvd.syncer, p->kvd.store.flushed.applied);
	p->kvd.durable = now.durable = syncer_durable(p->kvd.syncer, &failed);
	if (failed)
		kvd_fail(&p->kvd, KVD_SYNC_FAILED);
	adopt_run(&p->adopt, &p->kvd.store, now.durable);
	damage_run(&p->damage, &p->kvd.store, now.durable);
	if (now.applied == p->sent.applied && now.durable == p->sent.durable) {
		p->tell_at = MONO_NEVER; /* also of what it may not hear */
		return;
	}
	if (p->tell_at.ns == MONO_NEVER.ns)
		p->tell_at = mono_add_ms(at, TELL_MS);
	if (p->untold < TELL_BYTES && !mono_reached(p->tell_at, at))
		return;
	p->untold = 0;
	p->tell_at = MONO_NEVER;
	if ((w = link_begin(p->kvd.raftd, MSG_APPLIED)) == NULL)
		return;                  /* HELLO will say it */
	(void)msg_applied_wire(w, &now); /* ours: no error */
	link_end(p->kvd.raftd);
	p->sent = now;
}

/* When the loop has to turn though nothing happens. */
static struct mono
kvd_next(const struct kvd *k)
{
	struct mono next = mono_earlier(snapshot_next(k), writeback_next(k));

	if (store_is_frozen(&k->store)) /* its end wakes us */
		return next;
	return mono_earlier(next, check_next(k->check));
}

/* Work that nobody waits for, in bounded slices. */
static void
kvd_background(struct kvd *k)
{
	const struct mono now = mono_now();

	if (k->exit_code != 0)
		return;
	snapshot_run(k, now);
	if (!store_is_frozen(&k->store))
		check_run(k->check, &k->store, now);
	writeback_run(k, now); /* last: now views were begun */
}

/* One turn, by whoever has the loop; when the next one is due at the latest. */
static struct mono
kvd_turn(void *arg, struct mono now)
{
	struct process *p = arg;
	struct kvd *k = &p->kvd;

	(void)now;
	if (k->quit) /* a signal; nothing is unanswered here */
		return (struct mono){0};
	links_take(p->links); /* commits are applied, questions kept */
	kvd_apply(k);         /* the engine is written, or was */
	kvd_reply(k);         /* answers only what is applied */
	kvd_answer(k);        /* reads, open proposals, status */
	kvd_background(k);    /* snapshot, scrub; the next flush */
	kvd_progress(p);
	links_flush(p->links);
	return k->quit ? (struct mono){0}
		       : mono_earlier(kvd_next(k), p->tell_at);
}

int
main(int argc, char *argv[])
{
	static struct process p; /* in .bss: the simulator swaps it */
	struct kvd *k = &p.kvd;
	struct mono next = {0};
	int rc;

	if ((rc = kvd_init(&p, argc, argv)) != EX_OK) {
		kvd_fini(&p, rc);
		return rc;
	}
	log_info("ready engine=%s applied=%" PRIu64 " revision=%" PRIu64
		 " keys=%" PRIu64,
	    p.engine->name, k->store.state.applied, k->store.state.revision,
	    k->store.state.keys);
	daemon_ready();
	daemon_status("engine %s, waiting for raftd", p.engine->name);
	watchdog_start(p.loop);
	loop_share(p.loop, kvd_turn, &p);
	while (!k->quit) /* the only wait */
		next = kvd_turn(&p, loop_wait(p.loop, next));
	daemon_stopping();
	kvd_fini(&p, k->exit_code);
	return k->exit_code;
}
