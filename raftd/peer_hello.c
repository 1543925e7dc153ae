/* Who may be at the other end of a link between nodes, and what those have said
 * who refused this one; see peer_impl.h. */
#include <inttypes.h>

#include "base/log.h"
#include "raftd/peer_impl.h"

/* A member whose raft directory is another one than before has lost what it
 * promised: its votes and acknowledgements. */
static void
complain_replaced(struct link *l, uint64_t id)
{
	if (link_may_complain(l))
		log_errorx("peer refused, its raft directory was replaced and "
			   "has lost votes and log entries; restore the "
			   "directory, or remove the node and add it under a "
			   "new id node=%" PRIu64,
		    id);
}

void
peers_fill_hello(const struct raftd *rd, struct msg_hello *mine)
{
	mine->epoch = rd->epoch;
	mine->cluster = rd->identity.cluster;
	mine->node = rd->identity.node;
	mine->incarnation = rd->identity.incarnation;
}

/* A node that is no member.  Whether it was removed is said only by those who
 * cannot forget it any more. */
static enum err
refuse_stranger(
    const struct raftd *rd, struct link *l, const struct msg_hello *theirs)
{
	bool removed = theirs->node <= rd->conf.id_max &&
		       theirs->node != rd->identity.node;

	if (link_may_complain(l))
		log_warnx("peer refused, it is not another member of this "
			  "cluster%s node=%" PRIu64,
		    removed ? " any more" : "; check its --id", theirs->node);
	if (!removed)
		return ERR_FOREIGN;
	return rd->conf_durable >= rd->conf.index ? ERR_REMOVED
						  : ERR_UNAVAILABLE;
}

enum err
peers_check_hello(
    const struct raftd *rd, struct link *l, const struct msg_hello *theirs)
{
	const struct wal_member *m;

	if (theirs->cluster != rd->identity.cluster) {
		if (link_may_complain(l))
			log_warnx("peer of another cluster refused; a node "
				  "that shall join this one is started with "
				  "--join, else check --cluster on both nodes "
				  "node=%" PRIu64 " cluster=%016" PRIx64
				  " ours=%016" PRIx64,
			    theirs->node, theirs->cluster,
			    rd->identity.cluster);
		return ERR_FOREIGN;
	}
	m = cluster_member(&rd->conf, theirs->node);
	/* Removed, as others say: its vote may count here yet. */
	if (m == NULL && theirs->node != rd->identity.node &&
	    cluster_state_has(&rd->conf.state, theirs->node))
		return ERR_OK;
	if (m == NULL || theirs->node == rd->identity.node)
		return refuse_stranger(rd, l, theirs);
	if (m->incarnation == 0 || m->incarnation == theirs->incarnation)
		return ERR_OK;
	complain_replaced(l, theirs->node);
	return ERR_CONFLICT;
}

enum err
peer_check_incarnation(
    struct peer *p, struct link *l, const struct msg_hello *theirs)
{
	const struct wal_member *m = cluster_member(&p->rd->conf, p->id);

	/* What is recorded counts, whoever was seen here before that. */
	if (p->incarnation == 0 ||
	    (m != NULL && m->incarnation == theirs->incarnation))
		p->incarnation = theirs->incarnation;
	if (p->incarnation == theirs->incarnation)
		return ERR_OK;
	complain_replaced(l, p->id);
	return ERR_FOREIGN;
}

void
peers_note_word(struct raftd *rd, struct link *l, enum err code)
{
	struct peer *p = peers_find(rd->peers, link_peer(l)->node);

	if (p == NULL || p->word == code)
		return;
	p->word = code;
	log_warnx("refused by another node node=%" PRIu64 " code=%s", p->id,
	    err_word(code));
}

enum err
peers_word(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peers_find(ps, id);

	return p != NULL ? p->word : ERR_OK;
}

uint64_t
peers_incarnation(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peers_find(ps, id);

	return p != NULL ? p->incarnation : 0;
}
