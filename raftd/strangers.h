/* Links that nodes of this cluster have dialed of which this node has never
 * heard.  They are let in while it asks who the members are, for those that it
 * knows may all be gone (join.h): they are asked, and nothing but their answer
 * is taken. */
#ifndef RAFTD_STRANGERS_H
#define RAFTD_STRANGERS_H

#include <stdbool.h>

#include "proto/limits.h"
#include "proto/link.h"

struct raftd;

struct strangers {
	struct link *links[PEER_LINKS_MAX]; /* accepted, up */
	unsigned count;
};

/* May it be a member of later than this node knows, and is one wanted? */
bool strangers_wanted(const struct raftd *rd, const struct msg_hello *theirs);
/* ERR_OVERLOADED: there are enough. */
enum err strangers_add(struct strangers *s, struct link *l);
bool strangers_have(const struct strangers *s, const struct link *l);
/* It is down; it may be none of them. */
void strangers_down(struct strangers *s, const struct link *l);
/* Hang up on those who are known by now, or not wanted any more: they dial
 * again. */
void strangers_part(struct strangers *s, const struct raftd *rd);

#endif
