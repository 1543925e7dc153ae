/* What metcd was told: its own options, most of which it hands on. */
#ifndef CMD_METCD_CONFIG_H
#define CMD_METCD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/daemon.h"

struct config {
	uint64_t id;
	const char *cluster; /* all strings: borrowed from argv or environ */
	bool join;
	const char *peer_listen; /* NULL: not given */
	const char *listen;
	const char *admin_listen;
	const char *data_dir;
	const char *run_dir; /* NULL: not given */
	/* kvd knows which there are; NULL: not given */
	const char *engine;
	bool rebuild; /* the next kvd is started without its store */
	uint64_t heartbeat_ms;
	uint64_t election_ms;
	uint64_t max_value_bytes;
	uint64_t request_timeout_ms;
	uint64_t check_interval_ms;
	/* Handed on as they are, and judged by the child; NULL: not given. */
	const char *wal_segment_bytes;
	const char *cache_bytes;
	const char *reserve_bytes;
	const char *snapshot_log_bytes;
	const char *snapshot_count;
	const char *snapshot_rate_bytes;
	const char *log_keep_bytes;
	const char *write_back_bytes;
	const char *lmdb_map_bytes;
	const char *leveldb_cache_bytes;
	const char *leveldb_write_buffer_bytes;
	struct daemon_log log;
};

/* Fill in c from the environment and argv; sets up the log too.
 * 0, or EX_USAGE after one line; may end the process like daemon_options(). */
int config_read(struct config *c, int argc, char *argv[]);

#endif
