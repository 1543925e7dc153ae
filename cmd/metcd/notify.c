/* Readiness of the children; see notify.h. */
#include "cmd/metcd/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define DATAGRAM_BYTES_MAX 1024u /* longer ones are cut off */

/* Bound to no more than a family, a unix socket gets an unused abstract name;
 * see unix(7), "Autobind feature". */
static int
autobind(int fd, char address[NOTIFY_ADDRESS_BYTES])
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);
	const int on = 1;
	size_t n;

	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == -1 ||
	    bind(fd, (struct sockaddr *)&name, len) == -1)
		return -1;
	len = sizeof name;
	if (getsockname(fd, (struct sockaddr *)&name, &len) == -1)
		return -1;
	n = len - offsetof(struct sockaddr_un, sun_path);
	if (n < 2 || n >= NOTIFY_ADDRESS_BYTES) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	memcpy(address, name.sun_path, n);
	address[0] = '@'; /* as sd_notify(3) wants it, for the NUL */
	address[n] = '\0';
	return 0;
}

int
notify_open(char address[NOTIFY_ADDRESS_BYTES])
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1 || autobind(fd, address) == -1) {
		log_error("cannot create notification socket");
		if (fd != -1)
			(void)close(fd);
		return -1;
	}
	return fd;
}

static pid_t
sender_of(struct msghdr *msg)
{
	struct cmsghdr *c;
	struct ucred cred;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_SOCKET &&
		    c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(c), sizeof cred);
			return cred.pid;
		}
	}
	return 0;
}

/* text is lines of NAME=VALUE. */
static bool
says_ready(const char *text)
{
	const char *line = text;

	while (*line != '\0') {
		size_t len = strcspn(line, "\n");

		if (len == 7 && memcmp(line, "READY=1", 7) == 0)
			return true;
		line += len;
		line += *line == '\n';
	}
	return false;
}

bool
notify_take(int fd, pid_t *pid, bool *ready)
{
	char text[DATAGRAM_BYTES_MAX + 1];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {.iov_base = text, .iov_len = DATAGRAM_BYTES_MAX};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof control};
	/* No room for descriptors: the kernel closes those that come along. */
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n == -1)
		return false; /* EAGAIN; anything else comes again by event */
	text[n] = '\0';
	*pid = sender_of(&msg);
	*ready = says_ready(text);
	return true;
}
