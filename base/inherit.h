/* Listening sockets that the service manager has made (socket activation,
 * sd_listen_fds(3)).  It keeps them when this process ends, so clients that
 * connect during a restart wait in the backlog instead of being refused. */
#ifndef BASE_INHERIT_H
#define BASE_INHERIT_H

/* The socket with this name (FileDescriptorName= of the socket unit: "data" or
 * "admin"); *fdp is the caller's, or -1 when none was passed.  0, or EX_USAGE
 * after one logged line if there are several or it is not a listening TCP
 * socket. */
int inherit_socket(const char *name, int *fdp);

/* Every socket that was passed has been taken; else EX_USAGE after a line that
 * names one: a client would connect to it and wait for ever. */
int inherit_done(void);

#endif
