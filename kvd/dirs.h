/* The directories below DATA/kv, one set for each engine:
 *
 *   ENGINE        the store
 *   ENGINE.load   a new one that is being built beside it
 *   ENGINE.old    the store while it changes places with the new one
 *   ENGINE.gone   what is being removed
 *   ENGINE.damaged  a store that could not be read (damage.h)
 *
 * Only whole directories are renamed, so after SIGKILL or a power cut at any
 * point dirs_recover() finds either the old store or the new one.  The caller
 * has the lock of DATA/kv; every error is logged. */
#ifndef KVD_DIRS_H
#define KVD_DIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"

#define DIRS_PATH_BYTES 4096u

struct dirs_path {
	char text[DIRS_PATH_BYTES];
};

/* kv_dir/engine and suffix ("", ".load").  kv_dir is short enough: it was
 * checked at start. */
struct dirs_path dirs_path(
    const char *kv_dir, const char *engine, const char *suffix);

/* Finish or undo what a process that was killed had begun. */
enum err dirs_recover(const char *kv_dir, const char *engine);
bool dirs_exists(const char *kv_dir, const char *engine);
/* Make ENGINE.load, empty. */
enum err dirs_make_load(const char *kv_dir, const char *engine);
void dirs_remove_load(const char *kv_dir, const char *engine);
/* ENGINE.load becomes ENGINE, whose files are removed.  Both are closed. */
enum err dirs_swap(const char *kv_dir, const char *engine);
/* Remove the store, if there is one. */
enum err dirs_remove(const char *kv_dir, const char *engine);

/* ENGINE, which is there, becomes ENGINE.damaged; if there is one already, from
 * before, that stays and ENGINE is removed. */
enum err dirs_set_aside(const char *kv_dir, const char *engine);
/* Is there room on the disk for another one as large as ENGINE, and half as
 * much again?  True if that cannot be told. */
bool dirs_has_room(const char *kv_dir, const char *engine);
/* Bytes that may still be written there; UINT64_MAX if that cannot be told. */
uint64_t dirs_free_bytes(const char *kv_dir);
bool dirs_exists_damaged(const char *kv_dir, const char *engine);
enum err dirs_remove_damaged(const char *kv_dir, const char *engine);

/* Remove all files in dir but the one called `last`, then sync dir.  Engines
 * make no directories in theirs.  -1 and errno. */
int dirs_empty(const char *dir, const char *last);

#endif
