/* Other nodes: the same links over TCP, one stream per direction.  Each node
 * dials every other one and sends on that link; what comes in on an accepted
 * link are their messages to us (only BEATs go back on it).  A stream that is
 * dead or full drops messages, and the core is told; nothing waits for it. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/echo.h"
#include "raftd/hold.h"
#include "raftd/raftd.h"
#include "raftd/rmsg.h"
#include "raftd/transfer.h"

/* A leader whose connections have all ended at once has most likely died: its
 * followers do not wait out their patience.  The first voter campaigns after
 * SUSPECT_MS, the next one as much later, so that votes are not split. */
#define SUSPECT_MS 40u

struct peer {
	struct peer *next;
	struct raftd *rd;
	uint64_t id;
	char address[ADDRESS_BYTES_MAX + 1];
	struct link *out;
	unsigned in;          /* accepted links of this node that are up */
	uint64_t incarnation; /* of its raft directory; 0: not seen yet */
	bool missed;          /* a message was dropped since the last report */
	struct hold hold;
	uint64_t dropped; /* messages in all; the rest is of bytes */
	uint64_t sent_bytes, received_bytes;
	struct echo echo;
};

struct peers {
	struct raftd *rd;
	struct peer *list;
	struct loop_timer campaign;
	struct loop_timer release; /* of what is held */
	bool release_due;
	struct mono ping_at;
};

static struct peer *
peer_find(const struct peers *ps, uint64_t id)
{
	for (struct peer *p = ps->list; p != NULL; p = p->next)
		if (p->id == id)
			return p;
	return NULL;
}

void
peers_fill_hello(const struct raftd *rd, struct msg_hello *mine)
{
	mine->epoch = rd->epoch;
	mine->cluster = rd->identity.cluster;
	mine->node = rd->identity.node;
	mine->incarnation = rd->identity.incarnation;
}

enum err
peers_check_hello(
    const struct raftd *rd, struct link *l, const struct msg_hello *theirs)
{
	if (theirs->cluster != rd->identity.cluster) {
		if (link_may_complain(l))
			log_warnx("peer of another cluster refused; check "
				  "--cluster on "
				  "both nodes node=%" PRIu64
				  " cluster=%016" PRIx64 " ours=%016" PRIx64,
			    theirs->node, theirs->cluster,
			    rd->identity.cluster);
		return ERR_FOREIGN;
	}
	if (theirs->node == rd->identity.node ||
	    cluster_member(&rd->conf, theirs->node) == NULL) {
		if (link_may_complain(l))
			log_warnx(
			    "peer refused, it is not another member of this "
			    "cluster; check its --id node=%" PRIu64,
			    theirs->node);
		return ERR_FOREIGN;
	}
	return ERR_OK;
}

/* A member whose raft directory is another one than before has lost what it
 * promised: its votes and acknowledgements. */
static enum err
check_incarnation(
    struct peer *p, struct link *l, const struct msg_hello *theirs)
{
	if (p->incarnation == 0)
		p->incarnation = theirs->incarnation;
	if (p->incarnation == theirs->incarnation)
		return ERR_OK;
	if (link_may_complain(l))
		log_errorx("peer refused, its raft directory was replaced and "
			   "has lost votes and log entries; restore the "
			   "directory, or remove the node and add it under a "
			   "new id node=%" PRIu64,
		    p->id);
	return ERR_FOREIGN;
}

/* ---- the way out ---- */

static void
out_hello(void *arg, struct msg_hello *mine)
{
	const struct peer *p = arg;

	peers_fill_hello(p->rd, mine);
}

static enum err
out_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct peer *p = arg;
	enum err err = peers_check_hello(p->rd, l, theirs);

	if (err == ERR_OK && theirs->node != p->id) {
		if (link_may_complain(l))
			log_warnx("another node answers at this address; check "
				  "--cluster address=%s node=%" PRIu64
				  " expected=%" PRIu64,
			    p->address, theirs->node, p->id);
		err = ERR_FOREIGN;
	}
	return err == ERR_OK ? check_incarnation(p, l, theirs) : err;
}

static void
out_down(void *arg, struct link *l)
{
	struct peer *p = arg;

	(void)l;
	p->missed = true;
}

static enum err
out_take(void *arg, struct link *l, uint8_t type, struct wire *w)
{
	(void)arg;
	(void)l;
	(void)type;
	(void)w;
	return ERR_MALFORMED; /* the way out is one-way */
}

static const struct link_ops out_ops = {
    .hello = out_hello,
    .up = out_up,
    .down = out_down,
    .take = out_take,
};

/* ---- the way in ---- */

static void
in_hello(void *arg, struct msg_hello *mine)
{
	peers_fill_hello(arg, mine);
}

static enum err
in_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct raftd *rd = arg;
	enum err err = peers_check_hello(rd, l, theirs);
	struct peer *p = peer_find(rd->peers, theirs->node);

	if (err != ERR_OK || p == NULL)
		return err != ERR_OK ? err : ERR_FOREIGN;
	if ((err = check_incarnation(p, l, theirs)) != ERR_OK)
		return err;
	if (p->in == PEER_LINKS_MAX)
		return ERR_OVERLOADED; /* until old ones are seen to be dead */
	p->in++;
	link_set_user(l, (void *)(uintptr_t)p->id);
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
	struct peer *p =
	    peer_find(rd->peers, (uint64_t)(uintptr_t)link_user(l));

	transfers_down(rd->transfers, l);
	/* A member that was removed meanwhile has no struct peer. */
	if (p == NULL || p->in == 0)
		return;
	if (--p->in == 0)
		suspect(rd, p->id);
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
		return echo_answer(p == NULL ? NULL : p->out, w);
	if (type == MSG_PONG)
		return p == NULL ? ERR_OK : echo_take(&p->echo, w);
	return transfers_take(rd->transfers, l, type, w);
}

static enum err
in_take(void *arg, struct link *l, uint8_t type, struct wire *w)
{
	struct raftd *rd = arg;
	struct peer *p = peer_find(rd->peers, link_peer(l)->node);
	struct raft_msg m;

	if (p != NULL) /* else it was removed meanwhile */
		p->received_bytes += w->left;
	if (type != MSG_RAFT)
		return take_other(rd, p, l, type, w);
	if (rmsg_decode(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	/* Snapshots come with their files: transfers_take(). */
	if (m.type == RAFT_MSG_SNAP || m.to != rd->opt.id ||
	    !sender_is_right(rd, l, &m)) {
		raft_msg_free(&m);
		return ERR_MALFORMED;
	}
	if (p != NULL &&
	    (m.type == RAFT_MSG_PROP || m.type == RAFT_MSG_READ_INDEX))
		hold_note_clients(&p->hold, mono_now());
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
};

/* ---- sending ---- */

static void
send_now(struct peer *p, const struct raft_msg *m)
{
	struct wire *w;
	size_t before;

	if (link_is_full(p->out) ||
	    (w = link_begin(p->out, MSG_RAFT)) == NULL) {
		p->missed = true;
		p->dropped++;
		return;
	}
	before = w->out->len;
	rmsg_encode(w, m);
	p->sent_bytes += w->out->len - before;
	link_end(p->out);
}

static void
on_release(void *arg, struct mono now)
{
	struct peers *ps = arg;

	(void)now;
	ps->release_due = false;
	for (struct peer *p = ps->list; p != NULL; p = p->next) {
		if (p->hold.full)
			send_now(p, &p->hold.msg);
		hold_drop(&p->hold);
	}
}

void
peers_send(struct peers *ps, const struct raft_msg *m)
{
	struct peer *p = peer_find(ps, m->to);
	struct mono now = mono_now();

	if (p == NULL)
		return; /* removed meanwhile */
	if (m->type == RAFT_MSG_SNAP) {
		transfers_send(ps->rd->transfers, m);
		return;
	}
	if (hold_precedes(&p->hold, m))
		send_now(p, &p->hold.msg);
	hold_drop(&p->hold);
	if (!hold_put(&p->hold, m, now)) {
		send_now(p, m);
	} else if (!ps->release_due) {
		ps->release_due = true;
		loop_timer_set(&ps->release, mono_add_ms(now, HOLD_MS));
	}
}

/* ---- members ---- */

static void
peer_add(struct peers *ps, const struct wal_member *m)
{
	struct peer *p = mem_zalloc(1, sizeof(*p));
	char url[ADDRESS_BYTES_MAX + 16], name[32];

	p->rd = ps->rd;
	p->id = m->id;
	memcpy(p->address, m->address, sizeof(p->address));
	(void)snprintf(url, sizeof(url), "tcp://%s", m->address);
	(void)snprintf(name, sizeof(name), "node %" PRIu64, m->id);
	p->out = links_dial(ps->rd->links, url, MSG_RAFTD, name, &out_ops, p);
	p->next = ps->list;
	ps->list = p;
}

void
peers_update(struct peers *ps)
{
	const struct wal_conf *conf = &ps->rd->conf;
	struct peer **pp = &ps->list;

	while (*pp != NULL) {
		struct peer *p = *pp;
		const struct wal_member *m = cluster_member(conf, p->id);

		if (m != NULL && strcmp(m->address, p->address) == 0) {
			pp = &p->next;
			continue;
		}
		*pp = p->next;
		link_close(p->out);
		hold_drop(&p->hold);
		mem_free(p);
	}
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (conf->members[i].id != ps->rd->opt.id &&
		    peer_find(ps, conf->members[i].id) == NULL)
			peer_add(ps, &conf->members[i]);
}

int
peers_open(struct raftd *rd)
{
	const struct wal_member *mine = cluster_member(&rd->conf, rd->opt.id);
	char url[ADDRESS_BYTES_MAX + 16];
	int rc;

	assert(mine != NULL); /* store_open() has checked it */
	rd->peers = mem_zalloc(1, sizeof(*rd->peers));
	rd->peers->rd = rd;
	loop_timer_init(rd->loop, &rd->peers->campaign, on_campaign, rd);
	loop_timer_init(rd->loop, &rd->peers->release, on_release, rd->peers);
	(void)snprintf(url, sizeof(url), "tcp://%s", mine->address);
	if ((rc = links_listen(
		 rd->links, url, 1u << MSG_RAFTD, 0, &in_ops, rd)) != 0)
		return rc;
	peers_update(rd->peers);
	return 0;
}

void
peers_close(struct raftd *rd)
{
	struct peer *p;

	if (rd->peers == NULL)
		return;
	loop_timer_stop(&rd->peers->campaign);
	loop_timer_stop(&rd->peers->release);
	while ((p = rd->peers->list) != NULL) {
		rd->peers->list = p->next;
		hold_drop(&p->hold);
		mem_free(p);
	}
	mem_free(rd->peers);
	rd->peers = NULL;
}

void
peers_ping(struct peers *ps, struct mono now)
{
	if (!mono_reached(ps->ping_at, now))
		return;
	ps->ping_at = mono_add_ms(now, ECHO_MS);
	for (struct peer *p = ps->list; p != NULL; p = p->next)
		echo_ask(&p->echo, p->out);
}

bool
peers_figures(const struct peers *ps, uint32_t i, struct peer_figures *figures)
{
	const struct peer *p = ps->list;

	while (p != NULL && i-- > 0)
		p = p->next;
	if (p == NULL)
		return false;
	*figures = (struct peer_figures){.id = p->id,
	    .connected = link_is_up(p->out),
	    .queued_bytes = link_queued_bytes(p->out),
	    .sent_bytes = p->sent_bytes,
	    .received_bytes = p->received_bytes,
	    .dropped = p->dropped,
	    .round_trips = &p->echo.round_trips};
	return true;
}

void
peers_report(struct peers *ps)
{
	for (struct peer *p = ps->list; p != NULL; p = p->next) {
		if (p->missed)
			raft_report_unreachable(ps->rd->raft, p->id);
		p->missed = false;
	}
}

struct link *
peers_link(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL && link_is_up(p->out) ? p->out : NULL;
}

bool
peers_connected(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL && link_is_up(p->out);
}
