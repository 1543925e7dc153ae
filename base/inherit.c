/* Sockets from the service manager; see inherit.h. */
#include "base/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"

#define SOCKETS_MAX 16

/* What was passed, read once: the variables are then unset, so that nothing
 * that we start could take them for its own. */
static struct {
	bool known;
	int count;
	char **names; /* as long as the process */
	bool taken[SOCKETS_MAX];
} passed;

static int
learn_passed(void)
{
	int n;

	if (passed.known)
		return EX_OK;
	n = sd_listen_fds_with_names(1, &passed.names);
	if (n < 0) {
		errno = -n;
		log_error("cannot read LISTEN_FDS, start httpd without it");
		return EX_USAGE;
	}
	if (n > SOCKETS_MAX) {
		log_errorx("too many sockets passed, pass one for each port "
			   "count=%d",
		    n);
		return EX_USAGE;
	}
	passed.count = n;
	passed.known = true;
	return EX_OK;
}

/* The server accepts until there is nothing more to accept. */
static int
check_socket(const char *name, int fd)
{
	int flags;

	if (sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) <= 0 &&
	    sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) <= 0) {
		log_errorx("the socket passed as %s does not listen on TCP; "
			   "use ListenStream= with a port",
		    name);
		return EX_USAGE;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1) {
		log_error("cannot use the socket passed as %s", name);
		return EX_OSERR;
	}
	return EX_OK;
}

int
inherit_socket(const char *name, int *fdp)
{
	int rc = learn_passed();
	int fd = -1;

	for (int i = 0; rc == EX_OK && i < passed.count; i++) {
		if (strcmp(passed.names[i], name) != 0)
			continue;
		if (fd != -1) {
			log_errorx("two sockets passed as %s; give it one "
				   "ListenStream=, [::]:PORT is for IPv4 too",
			    name);
			return EX_USAGE;
		}
		passed.taken[i] = true;
		fd = SD_LISTEN_FDS_START + i;
		rc = check_socket(name, fd);
	}
	if (rc == EX_OK)
		*fdp = fd;
	return rc;
}

int
inherit_done(void)
{
	for (int i = 0; i < passed.count; i++) {
		if (passed.taken[i])
			continue;
		log_errorx("a socket was passed as \"%.40s\"; name sockets "
			   "data or admin (FileDescriptorName=)",
		    passed.names[i]);
		return EX_USAGE;
	}
	return EX_OK;
}
