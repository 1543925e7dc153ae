/* raftd: consensus and durability.
 *
 * Role    One member of the Raft group.  Knows nothing of keys: a proposal is
 *         bytes.
 * Reads   PROPOSE and READ of httpd, APPLIED of kvd, RAFT of other nodes'
 * raftd. Writes  DATA/raft/ (log and identity), COMMIT to kvd, REFUSE to httpd,
 * RAFT. Trusts  Its own directory, as far as the checksums go.  Bytes from
 * anyone else are checked; what is wrong closes the connection they came on.
 * Exits   0 told to stop; 64 wrong call; 69 address in use; 74 storage failed
 *         (never retried: the restart reads what the disk has); 75 directory in
 *         use; 77, 78 directory cannot be used or is not this node's. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/watchdog.h"
#include "raftd/force.h"
#include "raftd/raftd.h"

static void
on_signal(void *arg, int signo)
{
	struct raftd *rd = arg;

	log_info("stopping signal=%d", signo);
	daemon_stopping();
	raftd_stop(rd);
}

static int
check_options(const struct raftd_options *o)
{
	if (o->election_ms < 3 * o->heartbeat_ms) {
		log_errorx("--election-ms %" PRIu64 " is too short; give at "
			   "least 3 x --heartbeat-ms (%" PRIu64 ")",
		    o->election_ms, 3 * o->heartbeat_ms);
		return EX_USAGE;
	}
	if (o->peer_listen != NULL &&
	    !cluster_address_valid(o->peer_listen, strlen(o->peer_listen))) {
		log_errorx("--peer-listen must be HOST:PORT");
		return EX_USAGE;
	}
	return 0;
}

static int
parse_options(struct raftd *rd, int argc, char *argv[])
{
	struct raftd_options *o = &rd->opt;
	int rc;
	const struct opt table[] = {
	    {"id", OPT_U64, &o->id, 1, NODE_ID_MAX, "N",
		"this node's id: in a new cluster, the N-th of --cluster"},
	    {"cluster", OPT_STRING, &o->cluster, 0, 0, "HOST:PORT,...",
		"peer addresses of all nodes, in the order of their ids"},
	    {"join", OPT_FLAG, &o->join, 0, 0, NULL,
		"a new node, for a cluster that there is: --cluster has "
		"members' addresses"},
	    {"peer-listen", OPT_STRING, &o->peer_listen, 0, 0, "HOST:PORT",
		"where to listen for other nodes (default: the address that "
		"they know)"},
	    {"data-dir", OPT_STRING, &o->data_dir, 0, 0, "DIR",
		"the node's directory; raftd uses DIR/raft"},
	    {"run-dir", OPT_STRING, &o->run_dir, 0, 0, "DIR",
		"directory of the sockets (default: DATA_DIR/run)"},
	    {"socket-group", OPT_STRING, &o->socket_group, 0, 0, "GROUP",
		"group of the node's processes, if they are several users"},
	    {"heartbeat-ms", OPT_U64, &o->heartbeat_ms, 5, 10000, "MS",
		"time between a leader's heartbeats"},
	    {"election-ms", OPT_U64, &o->election_ms, 20, 100000, "MS",
		"patience with a silent leader; at least 3 heartbeats"},
	    {"cache-bytes", OPT_U64, &o->cache_bytes, 1 << 20, 1ull << 40,
		"BYTES", "recent log entries kept in memory"},
	    {"wal-segment-bytes", OPT_U64, &o->segment_bytes, 4096, 1u << 30,
		"BYTES", "size of a file of the log"},
	    {"snapshot-log-bytes", OPT_U64, &o->snapshot_log_bytes, 0,
		1ull << 40, "BYTES",
		"log since the last snapshot, then one is taken; 0: never"},
	    {"snapshot-count", OPT_U64, &o->snapshot_count, 0, 1ull << 40, "N",
		"log entries since the last snapshot; 0: not counted"},
	    {"log-keep-bytes", OPT_U64, &o->log_keep_bytes, 0, 1ull << 40,
		"BYTES", "log kept for slow nodes, though in snapshots"},
	    {"snapshot-rate-bytes", OPT_U64, &o->snapshot_rate_bytes, 0,
		1ull << 40, "BYTES",
		"snapshots to other nodes, per second; 0: no limit"},
	    {"reserve-bytes", OPT_U64, &o->reserve_bytes, 0, 1ull << 40,
		"BYTES", "free disk space below which writes are refused"},
	    {"force-new-cluster", OPT_STRING, &o->force, 0, 0, "DIR",
		"make a cluster of one node of this node's data, when the "
		"majority is lost for good"},
	    {"dry-run", OPT_FLAG, &o->dry_run, 0, 0, NULL,
		"with that: only say what would be kept and lost"},
	    {"check", OPT_STRING, &o->check, 0, 0, "DIR",
		"print what is in a node's directory, change nothing"},
	    DAEMON_LOG_OPTIONS(&o->log),
	    {0},
	};

	*o = (struct raftd_options){.id = 1,
	    .cluster = "127.0.0.1:3380",
	    .data_dir = "./metcd.data",
	    .heartbeat_ms = 100,
	    .election_ms = 1000,
	    .cache_bytes = 16 << 20,
	    .segment_bytes = WAL_SEGMENT_BYTES,
	    .snapshot_log_bytes = 64 << 20,
	    .log_keep_bytes = 64 << 20,
	    .reserve_bytes = 128 << 20,
	    .log = DAEMON_LOG_DEFAULT};
	daemon_options("raftd", "Consensus and durability of a metcd node.",
	    table, argc, argv, NULL);
	if ((rc = daemon_log(&o->log)) != 0 || (rc = check_options(o)) != 0)
		return rc;
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
	if (rd->opt.check != NULL)
		exit(check_directory(rd->opt.check));
	if (rd->opt.force != NULL)
		exit(force_new_cluster(rd->opt.force, rd->opt.dry_run));
	rd->loop = loop_open();
	loop_signals(rd->loop, signals, on_signal, rd); /* before any thread */
	if ((rc = raftd_start(rd)) != 0) {
		raftd_close(rd);
		return rc;
	}
	watchdog_start(rd->loop);
	return 0;
}

/* One turn, by whoever has the loop; when the next one is due at the latest. */
static struct mono
turn(void *arg, struct mono now)
{
	struct raftd *rd = arg;

	if (!rd->quit)
		raftd_turn(rd, now);
	if (rd->quit)
		return (struct mono){0};
	return rd->stopping ? rd->stop_by : MONO_NEVER;
}

int
main(int argc, char *argv[])
{
	static struct raftd rd;
	struct mono next = MONO_NEVER;
	int rc;

	if ((rc = raftd_init(&rd, argc, argv)) != 0)
		return rc;
	loop_share(rd.loop, turn, &rd);
	while (!rd.quit) /* the only wait: messages, the disk, the tick... */
		next = turn(&rd, loop_wait(rd.loop, next));
	raftd_close(&rd);
	loop_close(rd.loop);
	log_info("stopped");
	return rd.exit_code;
}
