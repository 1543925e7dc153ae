/* Numbers of what happened; see count.h.  And what the log of a process gives
 * away: the moments at which it is worth being struck. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

const char *const count_names[COUNTS] = {
#define COUNT_NAME(name, text) [COUNT_##name] = (text),
    COUNT_TABLE(COUNT_NAME)
#undef COUNT_NAME
};

void
count(enum count what)
{
	sim.counts[what]++;
}

/* What no process may have to say where no byte of a disk or of a message is
 * ever altered. */
static void
check_log(const char *fmt, const char *text)
{
	static const char *const never[] = {"wal: damaged",
	    "wal: a segment is missing", "snapshot: a damaged file",
	    "snapshot does not fit the log", "kvd does not accept a snapshot",
	    "the state to be loaded is not", "store is damaged",
	    "state differs from another", "committed entry is not a batch",
	    "configuration change cannot be decoded",
	    "kvd's state does not belong", "kvd is ahead of the log",
	    "kvd has the data of another log", "raftd offers a state",
	    "a chunk does not follow", "commits do not follow"};

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (strncmp(fmt, never[i], strlen(never[i])) == 0)
			violate("%s says: %s", sim.current->name, text);
}

void
count_log(const char *fmt, const char *text)
{
	static const struct {
		const char *begin;
		enum count what;
	} lines[] = {
	    {"snapshot transfer interrupted ", COUNT_SNAP_BROKEN},
	    {"kvd was sent a snapshot ", COUNT_SNAP_LOADED},
	    {"loading was given up", COUNT_SNAP_LOAD_LEFT},
	    {"wal: a write that was not finished", COUNT_DISK_TAIL_CUT},
	};
	struct proc *p = sim.current;
	const char *from;

	check_log(fmt, text);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strncmp(fmt, lines[i].begin, strlen(lines[i].begin)) == 0)
			count(lines[i].what);
	if (strncmp(fmt, "snapshot transfer node=", 23) == 0 &&
	    (from = strstr(text, " from=")) != NULL &&
	    strtoull(from + 6, NULL, 10) > 0)
		count(COUNT_SNAP_RESUMED);
	if (strncmp(fmt, "snapshot offered ", 17) == 0)
		nemesis_ambush(p, 2 * sim.heartbeat_ms * MS, 2 * sim.ambush);
	if (strncmp(fmt, "kvd gets a snapshot ", 20) == 0)
		nemesis_ambush(&sim.nodes[p->node]
				    .procs[rng_chance(&sim.rng[RNG_WORLD], 500)
					       ? ROLE_KVD
					       : ROLE_RAFTD],
		    300 * US, sim.ambush);
}

unsigned
count_print(const uint64_t counts[COUNTS])
{
	unsigned never = 0;

	for (int i = 0; i < COUNTS; i++) {
		printf("%-36s %12" PRIu64 "%s\n", count_names[i], counts[i],
		    counts[i] == 0 ? "  NEVER" : "");
		never += counts[i] == 0;
	}
	return never;
}
