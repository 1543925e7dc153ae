/* What this process uses of the machine, as metrics. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include "base/metrics.h"

/* The names of one process's families: metcd_raftd_process_..., so that each
 * process of a node has names of its own. */
struct process_names {
	const char *cpu_seconds_total;
	const char *resident_memory_bytes;
	const char *open_fds;
	const char *max_fds;
	const char *start_time_seconds;
};
#define PROCESS_NAMES(prefix)                                                  \
	{                                                                      \
		prefix "_process_cpu_seconds_total",                           \
		    prefix "_process_resident_memory_bytes",                   \
		    prefix "_process_open_fds", prefix "_process_max_fds",     \
		    prefix "_process_start_time_seconds"                       \
	}

/* What /proc does not tell is left out. */
void process_metrics(struct metrics *m, const struct process_names *names);

#endif
