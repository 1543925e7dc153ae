/* Who may be at the other end of an ipc link.
 *
 * By default the processes of a node run as one user, and only that user and
 * root are spoken with.  A node whose processes run as different users names a
 * group that all of them are in (--socket-group): then its sockets belong to
 * that group, mode 0660, and a process whose group is that one is spoken with
 * as well, at either end.  The kernel says who it is (SO_PEERCRED: effective
 * user and group at connect() or listen()); supplementary groups do not
 * count. */
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/link_state.h"

#define SCHEME "ipc://"
#define SHARED_MODE 0660u

int
links_share(struct links *ls, const char *group)
{
	const struct group *g;

	if (group == NULL)
		return 0;
	errno = 0;
	g = getgrnam(group);
	if (g == NULL) {
		log_errorx("there is no group %s; create it (groupadd --system "
			   "%s) or name another --socket-group",
		    group, group);
		return EX_CONFIG;
	}
	ls->group = g->gr_gid;
	return 0;
}

int
links_give(const struct links *ls, const char *url)
{
	const char *path = url + sizeof SCHEME - 1;
	struct stat st;

	if (ls->group == LINK_NO_GROUP ||
	    strncmp(url, SCHEME, sizeof SCHEME - 1) != 0)
		return 0;
	/* A unit whose Group= it is need not have, and may not have, chown. */
	if (stat(path, &st) == -1 ||
	    (st.st_gid != ls->group &&
		chown(path, (uid_t)-1, ls->group) == -1) ||
	    chmod(path, SHARED_MODE) == -1) {
		log_error("cannot give the socket %s to the group of "
			  "--socket-group; run as a member of it",
		    path);
		return EX_NOPERM;
	}
	return 0;
}
