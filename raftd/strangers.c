/* See strangers.h. */
#include "raftd/strangers.h"

#include "raftd/raftd.h"

bool
strangers_wanted(const struct raftd *rd, const struct msg_hello *theirs)
{
	/* Ids are never used again, and new ones are larger than all before. */
	return rd->refresh != NULL && theirs->node > rd->conf.id_max &&
	       theirs->cluster == rd->identity.cluster;
}

enum err
strangers_add(struct strangers *s, struct link *l)
{
	if (s->count == PEER_LINKS_MAX)
		return ERR_OVERLOADED;
	s->links[s->count++] = l;
	return ERR_OK;
}

bool
strangers_have(const struct strangers *s, const struct link *l)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->links[i] == l)
			return true;
	return false;
}

void
strangers_down(struct strangers *s, const struct link *l)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->links[i] == l)
			s->links[i] = s->links[--s->count];
}

void
strangers_part(struct strangers *s, const struct raftd *rd)
{
	for (unsigned i = s->count; i-- > 0;) /* link_close() calls `down` */
		if (!strangers_wanted(rd, link_peer(s->links[i])))
			link_close(s->links[i]);
}
