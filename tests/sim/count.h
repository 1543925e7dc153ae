/* What happened in a run, in numbers: so that a fault which silently stopped
 * happening is noticed.  Counted where it takes effect, not where it is drawn:
 * a partition counts by the frames that it stopped. */
#ifndef TESTS_SIM_COUNT_H
#define TESTS_SIM_COUNT_H

#include <stdint.h>

#define COUNT_TABLE(X)                                                         \
	X(NET_LOST, "net lost")                                                \
	X(NET_DOUBLED, "net doubled")                                          \
	X(NET_REORDERED, "net reordered")                                      \
	X(NET_LATE, "net late") /* by more than a millisecond */               \
	X(NET_SLOW, "net slow link")                                           \
	X(NET_STOPPED, "net stopped by a partition")                           \
	X(NET_HELD, "net held by a partition")                                 \
	X(NET_ONE_WAY, "net stopped one way")   /* of those, the way back */   \
	X(NET_PARTIAL, "net stopped partially") /* ... by way of a third */    \
	X(NET_FULL, "net full link")                                           \
	X(NET_BROKEN, "net connections broken")                                \
	X(DISK_LOST, "disk writes lost")                                       \
	X(DISK_TORN, "disk writes torn")                                       \
	X(DISK_NAMES_LOST, "disk names lost")                                  \
	X(DISK_SLOW, "disk slow syncs")                                        \
	X(DISK_ERROR_LIST, "disk error list")                                  \
	X(DISK_ERROR_OPEN, "disk error open")                                  \
	X(DISK_ERROR_READ, "disk error read")                                  \
	X(DISK_ERROR_WRITE, "disk error write")                                \
	X(DISK_ERROR_SYNC, "disk error sync")                                  \
	X(DISK_ERROR_RENAME, "disk error rename")                              \
	X(DISK_ERROR_REMOVE, "disk error remove")                              \
	X(DISK_ERROR_SYNC_DIR, "disk error sync_dir")                          \
	X(DISK_ERROR_START, "disk error at start")                             \
	X(DISK_ERROR_SNAP, "disk error snapshot file")                         \
	X(DISK_FORGOT, "disk sync failed, writes forgotten")                   \
	X(DISK_FULL, "disk full")                                              \
	X(DISK_FULL_SNAP, "disk full snapshot file")                           \
	X(DISK_LOW, "disk nearly full")                                        \
	X(DISK_TAIL_CUT, "disk torn tail cut at start")                        \
	X(KILL_RAFTD, "kill raftd")                                            \
	X(KILL_KVD, "kill kvd")                                                \
	X(KILL_HTTPD, "kill httpd")                                            \
	X(KILL_IN_WRITE, "kill in a write")                                    \
	X(KILL_IN_SYNC, "kill in a sync")                                      \
	X(KILL_IN_SYNC_DIR, "kill in a rename")                                \
	X(KILL_AT_START, "kill at start")                                      \
	X(POWER, "power cut")                                                  \
	X(POWER_ALL, "power cut all")                                          \
	X(POWER_IN_WRITE, "power cut in a write")                              \
	X(POWER_IN_SYNC, "power cut in a sync")                                \
	X(POWER_IN_SYNC_DIR, "power cut in a rename")                          \
	X(POWER_AT_START, "power cut at start")                                \
	X(WIPED, "disk lost")                                                  \
	X(STOPPED, "raftd told to stop")                                       \
	X(PAUSED, "pause")                                                     \
	X(CLOCKS, "clock speed")                                               \
	X(CAMPAIGNS, "campaign for no reason")                                 \
	X(TRANSFERS, "transfer asked")                                         \
	X(TRANSFERS_DONE, "transfer done")                                     \
	X(CHANGE_ADD, "member added")                                          \
	X(CHANGE_PROMOTE, "member promoted")                                   \
	X(CHANGE_REMOVE, "member removed")                                     \
	X(CHANGE_REPLACE, "member replaced")                                   \
	X(CHANGE_MOVE, "member updated") /* moved, or its directory known */   \
	X(CHANGE_JOINT, "joint state")                                         \
	X(CHANGE_IN_FAULT, "member change during a fault")                     \
	X(JOINT_IN_FAULT, "joint state during a fault")                        \
	X(SNAP_TAKEN, "snapshot taken")                                        \
	X(SNAP_RECEIVED, "snapshot received")                                  \
	X(SNAP_INSTALLED, "snapshot installed")                                \
	X(SNAP_BROKEN, "snapshot transfer interrupted")                        \
	X(SNAP_RESUMED, "snapshot transfer resumed")                           \
	X(SNAP_LOADED, "snapshot loaded by kvd")                               \
	X(SNAP_LOAD_LEFT, "snapshot load given up")                            \
	X(LOG_CUT, "log segments cut")                                         \
	X(CLIENT_REFUSED, "client refused")                                    \
	X(CLIENT_NO_SPACE, "client refused, no space")                         \
	X(CLIENT_UNKNOWN, "client does not know")                              \
	X(CLIENT_TWICE, "client batch twice in the log")                       \
	X(STATE_SEEN, "state seen")                                            \
	X(STATE_COMPARED, "state compared with another kvd")

enum count {
#define COUNT_ENUM(name, text) COUNT_##name,
	COUNT_TABLE(COUNT_ENUM)
#undef COUNT_ENUM
	    COUNTS
};

extern const char *const count_names[COUNTS];

void count(enum count what);
/* Lines of the log that say what cannot be seen from outside. */
void count_log(const char *fmt, const char *text);
/* Prints all of them; how many are zero. */
unsigned count_print(const uint64_t counts[COUNTS]);

#endif
