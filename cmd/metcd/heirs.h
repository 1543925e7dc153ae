/* One set of children per data directory.
 *
 * A supervisor that is killed takes its children along, but they need moments
 * to end, and hold their directories and ports until then.  All children keep
 * one lock file open; the next supervisor waits until the last one of them is
 * gone. */
#ifndef CMD_METCD_HEIRS_H
#define CMD_METCD_HEIRS_H

/* Take the lock, waiting a short while if need be; *fdp is to be left open in
 * the children.  0, or a sysexits code after one logged line. */
int heirs_lock(const char *dir, int *fdp);

#endif
