/* The other end of sd_notify(3): how the children say that they are ready.
 *
 * The socket has an abstract address that the kernel picks: it needs no path
 * that could be too long and leaves nothing behind.  Anyone may send to it;
 * the kernel says who did, and only the pid of a child counts. */
#ifndef CMD_METCD_NOTIFY_H
#define CMD_METCD_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#define NOTIFY_ADDRESS_BYTES 108u

/* Create the socket (non-blocking) and write the value for NOTIFY_SOCKET.
 * The descriptor, or -1 after one logged line. */
int notify_open(char address[NOTIFY_ADDRESS_BYTES]);

/* Take one datagram: false when none is left.  *pid is its sender, 0 if that
 * is not known; *ready tells whether it says READY=1. */
bool notify_take(int fd, pid_t *pid, bool *ready);

#endif
