/* The marker of a store that is open: the file OPEN in its directory, with the
 * kernel's boot id in it, from before the first write until all is synced and
 * the store closed.
 *
 * A marker of this boot: the process was killed, and the page cache still has
 * all that it wrote.  A marker of another boot: power was cut (or the kernel
 * crashed, or a running store was copied), and what is on the disk are the
 * pages that the kernel happened to have written.  No engine here writes so
 * that this is always a state the store once had: LMDB without syncs may be
 * damaged unnoticed, LevelDB may have lost the end of one log file but not the
 * next one.  Such a store is thrown away and rebuilt from Raft's log, which is
 * synced.
 *
 * A marker that says so: the store was found to be damaged while it was used,
 * or a sync of it failed, and must not be opened again. */
#ifndef KVD_MARKER_H
#define KVD_MARKER_H

#include <stdbool.h>

#include "proto/err.h"

/* Where the kernel tells its boot id; another file in tests. */
extern const char *marker_boot_id_path;

/* Before a store is opened.  ERR_CORRUPT: it is known to be damaged, nothing
 * was changed.  Else remove all files in dir if the marker is of
 * another boot or not readable (*discarded = true), then put ours there.
 * Errors are logged. */
enum err marker_set(const char *dir, bool *discarded);
/* The store in dir, which failed, is damaged.  An error is logged; then the
 * next one who opens it has to find that out again. */
void marker_condemn(const char *dir);
/* The same by itself when a page of a mapped file cannot be had (SIGBUS: the
 * file is shorter than it was, or the disk does not read it); then that signal
 * ends the process, and any supervisor starts it again. */
void marker_condemn_on_fault(const char *dir);
/* Will a marker that is set now be taken for one of this boot?  If not, a store
 * that is to be opened again has to be synced and closed first. */
bool marker_will_be_known(void);
/* After a store was synced and closed. */
enum err marker_remove(const char *dir);

#endif
