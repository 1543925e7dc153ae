/* raftd: consensus and durability.
 *
 * Role    One member of the Raft group.  Knows nothing of keys: a proposal is
 *         bytes.
 * Reads   PROPOSE and READ of httpd, APPLIED of kvd, RAFT of other nodes' raftd.
 * Writes  DATA/raft/ (log and identity), COMMIT to kvd, REFUSE to httpd, RAFT.
 * Trusts  Its own directory, as far as the checksums go.  Bytes from anyone
 *         else are checked; what is wrong closes the connection they came on.
 * Exits   0 told to stop; 64 wrong call; 69 address in use; 74 storage failed
 *         (never retried: the restart reads what the disk has); 75 directory in
 *         use; 77, 78 directory cannot be used or is not this node's. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "raftd/raftd.h"

#define HANDOVER_MS 400u /* for a leader that was told to stop */
#define FLUSH_MS 100u

static void
on_signal(void *arg, int signo)
{
	struct raftd *rd = arg;

	log_info("stopping signal=%d", signo);
	daemon_stopping();
	if (rd->stopping)
		rd->quit = true; /* asked twice */
	rd->stopping = true;
	rd->stop_by = mono_add_ms(mono_now(), HANDOVER_MS);
}

/* One tick of the core per heartbeat.  A late timer is not made up for: a
 * process that was paused does not fire elections in a row when it goes on. */
static void
on_tick(void *arg, struct mono now)
{
	struct raftd *rd = arg;
	struct mono next = mono_add_ms(rd->tick.at, rd->opt.heartbeat_ms);

	if (mono_reached(next, now))
		next = mono_add_ms(now, rd->opt.heartbeat_ms);
	loop_timer_set(&rd->tick, next);
	raft_tick(rd->raft);
}

static int
parse_options(struct raftd *rd, int argc, char *argv[])
{
	struct raftd_options *o = &rd->opt;
	enum log_level level;
	const struct opt table[] = {
	    {"id", OPT_U64, &o->id, 1, NODES_MAX, "N",
	        "this node's id: its address is the N-th of --cluster"},
	    {"cluster", OPT_STRING, &o->cluster, 0, 0, "HOST:PORT,...",
	        "peer addresses of all nodes, in the order of their ids"},
	    {"data-dir", OPT_STRING, &o->data_dir, 0, 0, "DIR",
	        "the node's directory; raftd uses DIR/raft"},
	    {"run-dir", OPT_STRING, &o->run_dir, 0, 0, "DIR",
	        "directory of the sockets (default: DATA_DIR/run)"},
	    {"heartbeat-ms", OPT_U64, &o->heartbeat_ms, 5, 10000, "MS",
	        "time between a leader's heartbeats"},
	    {"election-ms", OPT_U64, &o->election_ms, 20, 100000, "MS",
	        "patience with a silent leader; at least 3 heartbeats"},
	    {"cache-bytes", OPT_U64, &o->cache_bytes, 1 << 20, 1ull << 40,
	        "BYTES", "recent log entries kept in memory"},
	    {"log-level", OPT_STRING, &o->log_level, 0, 0, "LEVEL",
	        "debug, info, warn or error"},
	    {0},
	};

	*o = (struct raftd_options){.id = 1, .cluster = "127.0.0.1:3380",
	    .data_dir = "./metcd.data", .heartbeat_ms = 100,
	    .election_ms = 1000, .cache_bytes = 64 << 20, .log_level = "info"};
	daemon_options("raftd", "Consensus and durability of a metcd node.",
	    table, argc, argv, NULL);
	if (log_level_parse(o->log_level, &level) != 0) {
		log_errorx("bad --log-level \"%s\"; choose debug, info, warn "
		    "or error", o->log_level);
		return EX_USAGE;
	}
	if (o->election_ms < 3 * o->heartbeat_ms) {
		log_errorx("--election-ms %" PRIu64 " is too short; give at "
		    "least 3 x --heartbeat-ms (%" PRIu64 ")", o->election_ms,
		    3 * o->heartbeat_ms);
		return EX_USAGE;
	}
	log_level_set(level);
	log_node(o->id);
	return 0;
}

static int
raftd_init(struct raftd *rd, int argc, char *argv[])
{
	static const int signals[] = {SIGTERM, SIGINT, 0};
	int rc;

	log_open("raftd", 0);
	if ((rc = parse_options(rd, argc, argv)) != 0)
		return rc;
	rd->loop = loop_open();
	loop_signals(rd->loop, signals, on_signal, rd); /* before any thread */
	rd->epoch = daemon_random();
	if ((rc = store_open(rd)) != 0)
		return rc;
	rd->links = links_open(rd->loop, MSG_RAFTD);
	rd->reads = reads_open(rd);
	rd->feed = feed_open(rd);
	feed_publish(rd->feed, rd->applied_at_start);
	if ((rc = front_open(rd)) != 0 || (rc = peers_open(rd)) != 0)
		return rc;
	loop_timer_init(rd->loop, &rd->tick, on_tick, rd);
	loop_timer_set(&rd->tick, mono_add_ms(mono_now(),
	                              rd->opt.heartbeat_ms));
	daemon_ready();
	return 0;
}

static void
raftd_fini(struct raftd *rd)
{
	if (rd->links != NULL)
		links_close(rd->links, FLUSH_MS);
	store_close(rd);
}

/* The voter to hand leadership to: the one whose log is longest. */
static uint64_t
successor(const struct raft_status *st, const struct peers *ps)
{
	const struct raft_progress_status *best = NULL;

	for (uint32_t i = 0; i < st->progress_count; i++) {
		const struct raft_progress_status *p = &st->progress[i];

		if (p->id == st->id || p->learner ||
		    !peers_connected(ps, p->id))
			continue;
		if (best == NULL || p->match > best->match)
			best = p;
	}
	return best != NULL ? best->id : RAFT_NONE;
}

/* A leader that is told to stop hands leadership over first (thesis 3.10). */
static void
stop_step(struct raftd *rd, struct mono now)
{
	struct raft_status st;
	uint64_t to;

	if (!rd->stopping)
		return;
	raft_status(rd->raft, &st);
	if (st.soft_state.role != RAFT_LEADER || mono_reached(rd->stop_by, now)) {
		rd->quit = true;
		return;
	}
	if (st.transferee != RAFT_NONE)
		return;
	if ((to = successor(&st, rd->peers)) == RAFT_NONE) {
		rd->quit = true;
		return;
	}
	log_info("handing leadership over to=%" PRIu64, to);
	raft_transfer_leadership(rd->raft, st.id, to);
}

int
main(int argc, char *argv[])
{
	static struct raftd rd;
	int rc;

	if ((rc = raftd_init(&rd, argc, argv)) != 0)
		return rc;
	while (!rd.quit) {
		struct mono now = loop_wait(rd.loop,
		    rd.stopping ? rd.stop_by : MONO_NEVER); /* ticks too */

		links_take(rd.links);      /* proposals, reads, peers, kvd */
		ready_storage_done(&rd);   /* what the disk has now */
		stop_step(&rd, now);
		peers_report(rd.peers);
		reads_run(rd.reads);
		ready_run(&rd);            /* save, send, publish */
		front_announce(rd.front);
		feed_run(rd.feed);         /* commits and reads to kvd */
		links_flush(rd.links);     /* one send per link */
	}
	raftd_fini(&rd);
	log_info("stopped");
	return 0;
}
