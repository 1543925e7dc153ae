/* The way in: the links that other nodes have dialed, and what comes on them;
 * see peer_impl.h. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "raftd/join.h"
#include "raftd/orders.h"
#include "raftd/peer_impl.h"
#include "raftd/rmsg.h"
#include "raftd/transfer.h"

/* A leader whose connections have all ended at once has most likely died: its
 * followers do not wait out their patience.  The first voter campaigns after
 * SUSPECT_MS, the next one as much later, so that votes are not split. */
#define SUSPECT_MS 40u

static void
in_hello(void *arg, struct msg_hello *mine)
{
	peers_fill_hello(arg, mine);
}

static enum err
in_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct raftd *rd = arg;
	struct peer *p;
	enum err err;

	if (theirs->cluster == 0) { /* it wants to join */
		if (rd->peers->joining == PEER_LINKS_MAX)
			return ERR_OVERLOADED;
		rd->peers->joining++;
		return ERR_OK;
	}
	if (strangers_wanted(rd, theirs))
		return strangers_add(&rd->peers->strangers, l);
	err = peers_check_hello(rd, l, theirs);
	p = peers_find(rd->peers, theirs->node);
	if (err != ERR_OK || p == NULL)
		return err != ERR_OK ? err : ERR_FOREIGN;
	if ((err = peer_check_incarnation(p, l, theirs)) != ERR_OK)
		return err;
	if (p->in == PEER_LINKS_MAX)
		return ERR_OVERLOADED; /* until old ones are seen to be dead */
	p->ins[p->in++] = l;
	return ERR_OK;
}

/* How many voters campaign before this one does. */
static uint64_t
campaign_rank(const struct raftd *rd, uint64_t dead)
{
	const struct raft_ids *voters = &rd->conf.state.voters;
	uint64_t rank = 0;

	for (uint32_t i = 0; i < voters->count; i++)
		if (voters->id[i] != dead && voters->id[i] < rd->opt.id)
			rank++;
	return rank;
}

/* Leaderless followers grant pre-votes at once (ForgetLeader of etcd/raft);
 * whoever still hears the leader goes on refusing them, so a wrong suspicion
 * changes nothing. */
static void
suspect(struct raftd *rd, uint64_t id)
{
	if (raft_leader(rd->raft) != id)
		return;
	log_info("connections of the leader have ended leader=%" PRIu64, id);
	raft_forget_leader(rd->raft);
	loop_timer_set(&rd->peers->campaign,
	    mono_add_ms(mono_now(), SUSPECT_MS * (campaign_rank(rd, id) + 1)));
}

static void
on_campaign(void *arg, struct mono now)
{
	struct raftd *rd = arg;

	(void)now;
	if (raft_leader(rd->raft) == RAFT_NONE &&
	    raft_role(rd->raft) == RAFT_FOLLOWER && !rd->stopping)
		(void)raft_campaign(rd->raft);
}

static void
in_down(void *arg, struct link *l)
{
	struct raftd *rd = arg;
	struct peer *p;

	if (link_peer(l)->cluster == 0) {
		rd->peers->joining--;
		return;
	}
	strangers_down(&rd->peers->strangers, l);
	transfers_down(rd->transfers, l);
	p = peers_find(rd->peers, link_peer(l)->node);
	for (unsigned i = 0; p != NULL && i < p->in; i++) {
		if (p->ins[i] != l)
			continue;
		p->ins[i] = p->ins[--p->in];
		if (p->in == 0)
			suspect(rd, p->id);
	}
}

static void
in_refused(void *arg, struct link *l, enum err code)
{
	peers_note_word(arg, l, code);
}

/* A node speaks for itself; only what followers forward names its origin (a
 * transfer: its target), which is a member. */
static bool
sender_is_right(
    const struct raftd *rd, const struct link *l, const struct raft_msg *m)
{
	if (m->from == link_peer(l)->node)
		return true;
	return (m->type == RAFT_MSG_PROP || m->type == RAFT_MSG_READ_INDEX ||
		   m->type == RAFT_MSG_TRANSFER_LEADER) &&
	       cluster_member(&rd->conf, m->from) != NULL;
}

/* Entries for the log: what asks for a read index has one too, of another
 * kind. */
static bool
brings_entries(const struct raft_msg *m)
{
	return (m->type == RAFT_MSG_APP || m->type == RAFT_MSG_PROP) &&
	       m->entry_count > 0;
}

/* All but the core's messages. */
static enum err
take_other(struct raftd *rd, struct peer *p, struct link *l, uint8_t type,
    struct wire *w)
{
	if (type == MSG_PING)
		return echo_answer(p->out, w);
	if (type == MSG_PONG)
		return echo_take(&p->echo, w);
	return transfers_take(rd->transfers, l, type, w);
}

static enum err
in_take(void *arg, struct link *l, uint8_t type, struct wire *w)
{
	struct raftd *rd = arg;
	struct peer *p = peers_find(rd->peers, link_peer(l)->node);
	struct raft_msg m;

	if (link_peer(l)->cluster == 0)
		return join_asked(rd, l, type, w);
	if (type == MSG_JOIN_ANSWER)
		return join_answered(rd, w);
	if (p == NULL || p->gone || strangers_have(&rd->peers->strangers, l))
		return ERR_OK; /* removed; it is told when it dials again */
	p->received_bytes += w->left;
	p->word = ERR_OK;
	if (type == MSG_ORDER || type == MSG_ORDERED)
		return orders_message(rd, p->id, type, w);
	if (type != MSG_RAFT)
		return take_other(rd, p, l, type, w);
	if (rmsg_decode(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	/* Snapshots come with their files: transfers_take().  An answer is of
	 * a term: the core takes others, as etcd's does, but who sends them? */
	if (m.type == RAFT_MSG_SNAP ||
	    (m.type == RAFT_MSG_APP_RESP && m.term == 0) ||
	    m.to != rd->opt.id || !sender_is_right(rd, l, &m)) {
		raft_msg_free(&m);
		return ERR_MALFORMED;
	}
	if (m.type == RAFT_MSG_PROP || m.type == RAFT_MSG_READ_INDEX)
		hold_note_clients(&p->hold, mono_now());
	/* A leader that gets no answers may have moved. */
	if ((m.type == RAFT_MSG_APP || m.type == RAFT_MSG_HEARTBEAT) &&
	    link_is_up(p->out))
		join_heard(rd);
	if (m.type == RAFT_MSG_PROP)
		space_note_proposal(rd->space);
	/* Refused, stale, or no place for its entries: as if lost.  What no
	 * working core sends is worth a line: this node or that one has lost a
	 * part of its log. */
	if (!(brings_entries(&m) && space_is_out(rd->space)) &&
	    raft_step(rd->raft, &m) == RAFT_STEP_MALFORMED &&
	    link_may_complain(l))
		log_errorx("message does not fit this node's log; was its raft "
			   "directory, or that of the other one, replaced? "
			   "node=%" PRIu64 " type=%s term=%" PRIu64
			   " index=%" PRIu64 " commit=%" PRIu64,
		    link_peer(l)->node, raft_msg_type_name(m.type), m.term,
		    m.index, m.commit);
	raft_msg_free(&m);
	return ERR_OK;
}

static const struct link_ops in_ops = {
    .hello = in_hello,
    .up = in_up,
    .down = in_down,
    .take = in_take,
    .refused = in_refused,
};

int
peers_listen(struct peers *ps, const char *address)
{
	char url[ADDRESS_BYTES_MAX + 16];

	(void)snprintf(ps->listens, sizeof(ps->listens), "%s", address);
	(void)snprintf(url, sizeof(url), "tcp://%s", address);
	return links_listen(
	    ps->rd->links, url, 1u << MSG_RAFTD, 0, &in_ops, ps->rd);
}

struct link *
peers_caller(const struct peers *ps, uint32_t i)
{
	if (i < ps->strangers.count)
		return ps->strangers.links[i];
	i -= ps->strangers.count;
	for (const struct peer *p = ps->list; p != NULL; p = p->next) {
		if (i < p->in)
			return p->ins[i];
		i -= p->in;
	}
	return NULL;
}

void
peers_in_init(struct peers *ps)
{
	loop_timer_init(ps->rd->loop, &ps->campaign, on_campaign, ps->rd);
}

void
peers_in_stop(struct peers *ps)
{
	loop_timer_stop(&ps->campaign);
}
