/* Files and directories as the daemons use them: created with a clear error,
 * locked by their owner, replaced atomically. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"

/* Create dir and its missing parents with mode.  0, or a sysexits code after
 * one logged line that says what and what to do (EX_NOPERM, EX_CONFIG). */
int file_make_dir(const char *dir, unsigned mode);

/* Take the lock file dir/name (created when missing) for this process's life:
 * *fdp holds it and is the caller's.  0; EX_TEMPFAIL after one logged line if
 * another process has it (its pid is in the file); EX_NOPERM and EX_IOERR. */
int file_lock(const char *dir, const char *name, int *fdp);

/* Replace dir/name by data so that after a power cut there is either the old
 * or the new content: write, fsync, rename, fsync of dir.  0, or -1 and
 * errno. */
int file_replace(const char *dir, const char *name, struct bytes data);

/* Append the whole of dir/name to out.  0, or -1 and errno (ENOENT, or EFBIG
 * when larger than max). */
int file_read(const char *dir, const char *name, size_t max, struct buf *out);

/* 0 or -1 and errno: the names created in or removed from dir survive a power
 * cut when this has returned 0. */
int file_sync_dir(const char *dir);

#endif
