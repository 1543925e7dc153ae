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
#include "raftd/join.h"
#include "raftd/orders.h"
#include "raftd/raftd.h"
#include "raftd/rmsg.h"
#include "raftd/strangers.h"
#include "raftd/transfer.h"

/* A leader whose connections have all ended at once has most likely died: its
 * followers do not wait out their patience.  The first voter campaigns after
 * SUSPECT_MS, the next one as much later, so that votes are not split. */
#define SUSPECT_MS 40u

/* A member that was removed hears of it if it can, and then no more: its links
 * are closed this much later, and when the change is on the disk. */
#define GONE_MS 500u

struct peer {
	struct peer *next;
	struct raftd *rd;
	uint64_t id;
	char address[ADDRESS_BYTES_MAX + 1];
	struct link *out;                 /* NULL: its address is not known */
	struct link *out_next;            /* to its new address; NULL: none */
	struct link *ins[PEER_LINKS_MAX]; /* accepted of this node, up */
	unsigned in;
	uint64_t incarnation; /* of its raft directory; 0: not seen yet */
	bool missed;          /* a message was dropped since the last report */
	struct hold hold;
	uint64_t dropped; /* messages in all; the rest is of bytes */
	uint64_t sent_bytes, received_bytes;
	struct echo echo;
	enum err word; /* why it has refused this node; OK: it has not */
	bool gone;     /* removed */
	struct mono gone_at;
	uint64_t gone_index; /* of the change */
};

struct peers {
	struct raftd *rd;
	struct peer *list;
	bool some_gone, some_move;
	unsigned joining; /* accepted links of nodes that want to join */
	struct strangers strangers;
	char listens[ADDRESS_BYTES_MAX + 1];
	struct loop_timer campaign;
	struct loop_timer release; /* of what is held */
	bool release_set;
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

/* The same for those whose directories are not recorded yet. */
static enum err
check_incarnation(
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

/* ---- refused by others ---- */

static void
note_word(struct raftd *rd, struct link *l, enum err code)
{
	struct peer *p = peer_find(rd->peers, link_peer(l)->node);

	if (p == NULL || p->word == code)
		return;
	p->word = code;
	log_warnx("refused by another node node=%" PRIu64 " code=%s", p->id,
	    err_word(code));
}

enum err
peers_word(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL ? p->word : ERR_OK;
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
	const struct peer *p = arg;

	/* The way out is one-way, but who is dialed may not know who dials. */
	return join_asked(p->rd, l, type, w);
}

static void
out_refused(void *arg, struct link *l, enum err code)
{
	struct peer *p = arg;

	note_word(p->rd, l, code);
}

static const struct link_ops out_ops = {
    .hello = out_hello,
    .up = out_up,
    .down = out_down,
    .take = out_take,
    .refused = out_refused,
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
	p = peer_find(rd->peers, theirs->node);
	if (err != ERR_OK || p == NULL)
		return err != ERR_OK ? err : ERR_FOREIGN;
	if ((err = check_incarnation(p, l, theirs)) != ERR_OK)
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
	p = peer_find(rd->peers, link_peer(l)->node);
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
	note_word(arg, l, code);
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
	/* Snapshots come with their files: transfers_take(). */
	if (m.type == RAFT_MSG_SNAP || m.to != rd->opt.id ||
	    !sender_is_right(rd, l, &m)) {
		raft_msg_free(&m);
		return ERR_MALFORMED;
	}
	if (p != NULL &&
	    (m.type == RAFT_MSG_PROP || m.type == RAFT_MSG_READ_INDEX))
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
release_at(struct peers *ps, struct mono at)
{
	ps->release_set = true;
	loop_timer_set(&ps->release, at);
}

static void
on_release(void *arg, struct mono now)
{
	struct peers *ps = arg;
	struct mono next = MONO_NEVER;

	for (struct peer *p = ps->list; p != NULL; p = p->next) {
		if (!p->hold.full)
			continue;
		if (mono_reached(p->hold.due, now)) {
			send_now(p, &p->hold.msg);
			hold_drop(&p->hold);
		} else {
			next = mono_earlier(next, p->hold.due);
		}
	}
	ps->release_set = false;
	if (next.ns != MONO_NEVER.ns)
		release_at(ps, next);
}

void
peers_send(struct peers *ps, const struct raft_msg *m)
{
	struct peer *p = peer_find(ps, m->to);

	if (p == NULL || p->gone)
		return; /* removed meanwhile */
	if (m->type == RAFT_MSG_SNAP) {
		transfers_send(ps->rd->transfers, m);
		return;
	}
	if (hold_precedes(&p->hold, m)) {
		send_now(p, &p->hold.msg);
		hold_drop(&p->hold);
	}
	if (!hold_put(&p->hold, m, mono_now())) {
		hold_sent(&p->hold, m);
		send_now(p, m);
	} else if (!ps->release_set) { /* else it is set to an earlier time */
		release_at(ps, p->hold.due);
	}
}

/* ---- members ---- */

static struct link *
peer_dial(struct peer *p, const char *address)
{
	char url[ADDRESS_BYTES_MAX + 16], name[32];

	(void)snprintf(p->address, sizeof(p->address), "%s", address);
	if (!cluster_address_valid(address, strlen(address)))
		return NULL; /* the change that brought it was none of ours */
	(void)snprintf(url, sizeof(url), "tcp://%s", address);
	(void)snprintf(name, sizeof(name), "node %" PRIu64, p->id);
	return links_dial(p->rd->links, url, MSG_RAFTD, name, &out_ops, p);
}

/* The old link stays until the new one is up: over it the node hears of its new
 * address. */
static void
peer_move(struct peers *ps, struct peer *p, const char *address)
{
	log_info("node has a new address node=%" PRIu64 " address=%s", p->id,
	    address);
	link_close(p->out_next);
	p->out_next = peer_dial(p, address);
	ps->some_move = true;
}

static void
peer_add(struct peers *ps, const struct wal_member *m)
{
	struct peer *p = mem_zalloc(1, sizeof(*p));

	p->rd = ps->rd;
	p->id = m->id;
	p->next = ps->list;
	ps->list = p;
	p->out = peer_dial(p, m->address);
}

static int
listen_at(struct peers *ps, const char *address)
{
	char url[ADDRESS_BYTES_MAX + 16];

	(void)snprintf(ps->listens, sizeof(ps->listens), "%s", address);
	(void)snprintf(url, sizeof(url), "tcp://%s", address);
	return links_listen(
	    ps->rd->links, url, 1u << MSG_RAFTD, 0, &in_ops, ps->rd);
}

/* This node's own address has changed: it listens there, too. */
static void
move(struct peers *ps)
{
	const struct wal_member *mine =
	    cluster_member(&ps->rd->conf, ps->rd->opt.id);

	if (ps->rd->opt.peer_listen != NULL || mine == NULL ||
	    strcmp(mine->address, ps->listens) == 0 ||
	    !cluster_address_valid(mine->address, strlen(mine->address)))
		return;
	if (listen_at(ps, mine->address) != 0)
		log_warnx("this node's new address cannot be listened on; "
			  "restart it where it can be address=%s",
		    mine->address);
}

void
peers_update(struct peers *ps)
{
	const struct wal_conf *conf = &ps->rd->conf;

	for (struct peer *p = ps->list; p != NULL; p = p->next) {
		const struct wal_member *m = cluster_member(conf, p->id);

		bool in = m != NULL || cluster_state_has(&conf->state, p->id);

		p->gone = p->gone && !in;
		if (!in && !p->gone) {
			p->gone = ps->some_gone = true;
			p->gone_at = mono_add_ms(mono_now(), GONE_MS);
			p->gone_index = conf->index;
		} else if (m != NULL && strcmp(m->address, p->address) != 0) {
			peer_move(ps, p, m->address);
		}
	}
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (conf->members[i].id != ps->rd->opt.id &&
		    peer_find(ps, conf->members[i].id) == NULL)
			peer_add(ps, &conf->members[i]);
	move(ps);
}

/* New links that are up take the place of the old ones. */
static void
finish_moves(struct peers *ps)
{
	ps->some_move = false;
	for (struct peer *p = ps->list; p != NULL; p = p->next) {
		if (link_is_up(p->out_next)) {
			link_close(p->out);
			p->out = p->out_next;
			p->out_next = NULL;
		}
		ps->some_move |= p->out_next != NULL;
	}
}

void
peers_run(struct peers *ps, struct mono now)
{
	struct peer **pp = &ps->list;

	strangers_part(&ps->strangers, ps->rd);
	if (ps->some_move)
		finish_moves(ps);
	if (!ps->some_gone)
		return;
	ps->some_gone = false;
	while (*pp != NULL) {
		struct peer *p = *pp;

		if (!p->gone || !mono_reached(p->gone_at, now) ||
		    ps->rd->conf_durable < p->gone_index) {
			ps->some_gone |= p->gone;
			pp = &p->next;
			continue;
		}
		*pp = p->next;
		link_close(p->out);
		link_close(p->out_next);
		while (p->in > 0) /* in_down() does not find it any more */
			link_close(p->ins[--p->in]);
		hold_drop(&p->hold);
		mem_free(p);
	}
}

int
peers_open(struct raftd *rd)
{
	const struct wal_member *mine = cluster_member(&rd->conf, rd->opt.id);
	int rc;

	assert(mine != NULL); /* store_start() has checked it */
	rd->peers = mem_zalloc(1, sizeof(*rd->peers));
	rd->peers->rd = rd;
	loop_timer_init(rd->loop, &rd->peers->campaign, on_campaign, rd);
	loop_timer_init(rd->loop, &rd->peers->release, on_release, rd->peers);
	rc = listen_at(rd->peers,
	    rd->opt.peer_listen != NULL ? rd->opt.peer_listen : mine->address);
	if (rc != 0)
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

uint64_t
peers_incarnation(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL ? p->incarnation : 0;
}

bool
peers_connected(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL && link_is_up(p->out);
}
