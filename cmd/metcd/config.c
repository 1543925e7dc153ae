/* metcd's options; see config.h.
 *
 * What is wrong is told here rather than by one of three children, as far as
 * it can be seen without opening anything. */
#include "cmd/metcd/config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/daemon.h"
#include "base/log.h"
#include "proto/limits.h"

static const char about[] =
    "Runs one metcd node: starts raftd, kvd and httpd, starts again what dies\n"
    "and stops them in order.";

static const struct config defaults = {
    .id = 1,
    .cluster = "127.0.0.1:3380",
    .listen = "127.0.0.1:3379",
    .admin_listen = "127.0.0.1:3381",
    .data_dir = "./metcd.data",
    .heartbeat_ms = 100,
    .election_ms = 1000,
    .max_value_bytes = VALUE_BYTES_MAX,
    .request_timeout_ms = 5000,
    .check_interval_ms = 60000,
    .log = DAEMON_LOG_DEFAULT,
};

static void
read_options(struct config *c, int argc, char *argv[])
{
	const struct opt table[] = {
	    {"id", OPT_U64, &c->id, 1, NODE_ID_MAX, "N",
		"this node: in a new cluster, the N-th address of --cluster"},
	    {"cluster", OPT_STRING, &c->cluster, 0, 0, "HOST:PORT,...",
		"peer addresses of all nodes, the same on each"},
	    {"join", OPT_FLAG, &c->join, 0, 0, NULL,
		"a new node for a cluster that there is; --cluster has "
		"addresses of its members"},
	    {"peer-listen", OPT_STRING, &c->peer_listen, 0, 0, "HOST:PORT",
		"where other nodes are listened to; default: where they know "
		"this one"},
	    {"listen", OPT_STRING, &c->listen, 0, 0, "HOST:PORT",
		"where clients reach this node (HTTP)"},
	    {"admin-listen", OPT_STRING, &c->admin_listen, 0, 0, "HOST:PORT",
		"where administrators reach it (HTTP)"},
	    {"data-dir", OPT_STRING, &c->data_dir, 0, 0, "DIR",
		"directory of all data; made when missing"},
	    {"run-dir", OPT_STRING, &c->run_dir, 0, 0, "DIR",
		"directory of sockets; default DATA_DIR/run"},
	    {"engine", OPT_STRING, &c->engine, 0, 0, "NAME",
		"storage engine: memory, lmdb or leveldb (lmdb, or the last)"},
	    {"heartbeat-ms", OPT_U64, &c->heartbeat_ms, 5, 10000, "MS",
		"time between a leader's heartbeats"},
	    {"election-ms", OPT_U64, &c->election_ms, 20, 100000, "MS",
		"silence after which a new leader is elected"},
	    {"max-value-bytes", OPT_U64, &c->max_value_bytes, 1,
		VALUE_BYTES_MAX, "BYTES", "largest value that clients may put"},
	    {"request-timeout-ms", OPT_U64, &c->request_timeout_ms, 1, 3600000,
		"MS", "deadline of a client's request"},
	    {"check-interval-ms", OPT_U64, &c->check_interval_ms, 0, 86400000,
		"MS",
		"between checks of stored data and between nodes; 0: none"},
	    {"wal-segment-bytes", OPT_STRING, &c->wal_segment_bytes, 0, 0,
		"BYTES", "size of a file of the log; see raftd --help"},
	    {"cache-bytes", OPT_STRING, &c->cache_bytes, 0, 0, "BYTES",
		"recent log in memory; see raftd --help"},
	    {"reserve-bytes", OPT_STRING, &c->reserve_bytes, 0, 0, "BYTES",
		"free disk below which writes are refused; raftd's"},
	    {"snapshot-log-bytes", OPT_STRING, &c->snapshot_log_bytes, 0, 0,
		"BYTES", "log after which a snapshot is taken; raftd's"},
	    {"snapshot-count", OPT_STRING, &c->snapshot_count, 0, 0, "N",
		"entries after which a snapshot is taken; raftd's"},
	    {"snapshot-rate-bytes", OPT_STRING, &c->snapshot_rate_bytes, 0, 0,
		"BYTES", "of a snapshot for a node in a second; raftd's"},
	    {"log-keep-bytes", OPT_STRING, &c->log_keep_bytes, 0, 0, "BYTES",
		"log kept behind a snapshot for slow nodes; raftd's"},
	    {"write-back-bytes", OPT_STRING, &c->write_back_bytes, 0, 0,
		"BYTES",
		"changes in memory before an engine is written; kvd's"},
	    {"lmdb-map-bytes", OPT_STRING, &c->lmdb_map_bytes, 0, 0, "BYTES",
		"most that an lmdb store holds; see kvd --help"},
	    {"leveldb-cache-bytes", OPT_STRING, &c->leveldb_cache_bytes, 0, 0,
		"BYTES", "leveldb's memory for blocks read; kvd's"},
	    {"leveldb-write-buffer-bytes", OPT_STRING,
		&c->leveldb_write_buffer_bytes, 0, 0, "BYTES",
		"leveldb's memory for writes; kvd's"},
	    DAEMON_LOG_OPTIONS(&c->log),
	    {0},
	};

	*c = defaults;
	daemon_options("metcd", about, table, argc, argv, NULL);
}

/* HOST:PORT or [ADDRESS]:PORT in the first len bytes of s; to listen, :PORT is
 * enough. */
static bool
is_address(const char *s, size_t len, bool needs_host)
{
	const char *colon = memrchr(s, ':', len);
	char digits[6] = "";
	size_t n;
	long port;

	if (colon == NULL || (colon == s && needs_host) ||
	    len > ADDRESS_BYTES_MAX)
		return false;
	n = len - (size_t)(colon + 1 - s);
	if (n == 0 || n >= sizeof digits)
		return false;
	memcpy(digits, colon + 1, n);
	if (strspn(digits, "0123456789") != n)
		return false;
	port = strtol(digits, NULL, 10);
	return port >= 1 && port <= 65535;
}

static int
check_address(const char *option, const char *address)
{
	if (is_address(address, strlen(address), false))
		return 0;
	log_errorx(
	    "--%s must be HOST:PORT or :PORT, not \"%.80s\"", option, address);
	return EX_USAGE;
}

static bool
has_log(const struct config *c)
{
	char wal[PATH_MAX];
	struct stat st;

	return snprintf(wal, sizeof wal, "%s/raft/wal", c->data_dir) <
		   (int)sizeof wal &&
	       stat(wal, &st) == 0;
}

static int
check_cluster(const struct config *c)
{
	uint64_t count = 0;
	const char *p = c->cluster;

	for (;;) {
		size_t len = strcspn(p, ",");

		count++;
		if (!is_address(p, len, true)) {
			log_errorx("--cluster must be HOST:PORT,HOST:PORT,...; "
				   "address %" PRIu64 " is \"%.*s\"",
			    count, (int)(len > 80 ? 80 : len), p);
			return EX_USAGE;
		}
		if (p[len] == '\0')
			break;
		p += len + 1;
	}
	if (count > NODES_MAX) {
		log_errorx("--cluster has %" PRIu64 " addresses; at most %u "
			   "nodes make a cluster",
		    count, NODES_MAX);
		return EX_USAGE;
	}
	/* As when nothing else is said: the only address is its own. */
	if (c->join && c->id == 1 && count == 1 && !has_log(c)) {
		log_errorx("--join needs addresses of members in --cluster, "
			   "and the --id that this node is added under");
		return EX_USAGE;
	}
	/* Who has a directory knows his address from there. */
	if (c->id > count && !c->join && !has_log(c)) {
		log_errorx("--id %" PRIu64 " has no address: --cluster lists "
			   "%" PRIu64 "; give the addresses of all nodes, or "
			   "--join if it is new in a cluster that there is",
		    c->id, count);
		return EX_USAGE;
	}
	return 0;
}

int
config_read(struct config *c, int argc, char *argv[])
{
	int rc;

	read_options(c, argc, argv);
	log_node(c->id);
	if ((rc = daemon_log(&c->log)) != 0)
		return rc;
	if (check_cluster(c) != 0 || check_address("listen", c->listen) != 0 ||
	    check_address("admin-listen", c->admin_listen) != 0)
		return EX_USAGE;
	if (c->election_ms / 3 < c->heartbeat_ms) {
		log_errorx("--election-ms %" PRIu64 " is too short; give at "
			   "least three times --heartbeat-ms %" PRIu64,
		    c->election_ms, c->heartbeat_ms);
		return EX_USAGE;
	}
	return 0;
}
