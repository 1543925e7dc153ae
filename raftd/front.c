/* proposeC, readC and errorC: what httpd wants of this node, and the listener
 * that httpd and kvd dial (they say in HELLO who they are). */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/orders.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

struct front {
	struct raftd *rd;
	struct link *httpd; /* NULL: away */
};

static void
front_hello(void *arg, struct msg_hello *mine)
{
	struct raftd *rd = arg;

	mine->epoch = rd->epoch;
	mine->cluster = rd->identity.cluster;
	mine->node = rd->identity.node;
	mine->incarnation = rd->identity.incarnation;
	mine->applied = feed_published(rd->feed);
}

static enum err
front_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct raftd *rd = arg;

	if (theirs->process == MSG_KVD)
		return feed_up(rd->feed, l, theirs);
	if (rd->front->httpd != NULL) /* its successor is here already */
		link_close(rd->front->httpd);
	rd->front->httpd = l;
	log_info("httpd connected epoch=%016" PRIx64, theirs->epoch);
	/* It hears of the leader now, and of each change from here on. */
	rd->term_seen = 0;
	return ERR_OK;
}

static void
front_down(void *arg, struct link *l)
{
	struct raftd *rd = arg;

	feed_down(rd->feed, l);
	if (rd->front->httpd != l)
		return;
	rd->front->httpd = NULL;
	reads_drop_all(rd->reads); /* it asks again when it is back */
	take_drop_orders(rd->take);
	orders_drop(rd->orders);
	log_info("httpd disconnected");
}

void
front_refuse(struct front *f, enum msg_refused what, enum err code,
    uint64_t epoch, uint64_t seq, uint32_t attempt)
{
	struct msg_refuse m = {.what = (uint8_t)what,
	    .code = (uint8_t)code,
	    .seq = seq,
	    .attempt = attempt,
	    .leader = raft_leader(f->rd->raft)};
	struct wire *w;

	if (what == MSG_REFUSED_PROPOSE)
		f->rd->figures.refused[m.code]++;
	if (!link_is_up(f->httpd) || link_peer(f->httpd)->epoch != epoch)
		return;
	if ((w = link_begin(f->httpd, MSG_REFUSE)) == NULL)
		return;
	(void)msg_refuse_wire(w, &m);
	link_end(f->httpd);
}

void
front_answer(struct front *f, const struct msg_controlled *m)
{
	struct msg_controlled copy = *m;
	struct wire *w;

	if (f == NULL || (w = link_begin(f->httpd, MSG_CONTROLLED)) == NULL)
		return;
	(void)msg_controlled_wire(w, &copy);
	link_end(f->httpd);
}

void
front_controlled(struct front *f, uint64_t token, enum err code, uint64_t index)
{
	front_answer(
	    f, &(struct msg_controlled){
		   .token = token, .code = (uint8_t)code, .index = index});
}

static enum err
take_control(struct raftd *rd, struct wire *w)
{
	struct msg_control m;

	if (msg_control_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (m.order == MSG_ORDER_SNAPSHOT)
		take_order(rd->take, m.token);
	else
		orders_take(rd->orders, &m);
	return ERR_OK;
}

/* Why the core refused a proposal. */
static enum err
refusal(struct raftd *rd)
{
	struct raft_status st;

	if (raft_leader(rd->raft) == RAFT_NONE)
		return ERR_NO_LEADER;
	raft_status(rd->raft, &st);
	if (st.transferee != RAFT_NONE)
		return ERR_TRANSFERRING;
	return cluster_member(&rd->conf, rd->opt.id) == NULL ? ERR_REMOVED
							     : ERR_OVERLOADED;
}

/* FLOW 3: PROPOSE -> raft_propose; a follower's core forwards it. */
static enum err
take_proposal(struct raftd *rd, struct link *l, struct wire *w)
{
	struct msg_propose m;
	struct blob *data;

	if (msg_propose_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (space_is_low(rd->space)) {
		front_refuse(rd->front, MSG_REFUSED_PROPOSE, ERR_NO_SPACE,
		    link_peer(l)->epoch, m.seq, m.attempt);
		return ERR_OK;
	}
	data = blob_new(m.entry.data, m.entry.len);
	if (raft_propose(rd->raft, data) != RAFT_OK)
		front_refuse(rd->front, MSG_REFUSED_PROPOSE, refusal(rd),
		    link_peer(l)->epoch, m.seq, m.attempt);
	blob_unref(&data);
	return ERR_OK;
}

/* READ 3: the keys are kvd's business; only the head is looked at. */
static enum err
take_read(struct raftd *rd, struct wire *w)
{
	struct bytes body = {w->pos, w->left};
	struct msg_read m;

	msg_read_wire(w, &m);
	if (wire_err(w) != ERR_OK)
		return ERR_MALFORMED;
	reads_add(rd->reads, &m, body);
	return ERR_OK;
}

static uint8_t
role_number(const struct raft_status *st)
{
	for (uint32_t i = 0; i < st->conf.learners.count; i++)
		if (st->conf.learners.id[i] == st->id)
			return MSG_ROLE_LEARNER;
	switch (st->soft_state.role) {
	case RAFT_LEADER:
		return MSG_ROLE_LEADER;
	case RAFT_FOLLOWER:
		return MSG_ROLE_FOLLOWER;
	case RAFT_CANDIDATE:
	case RAFT_PRE_CANDIDATE:
		break;
	}
	return MSG_ROLE_CANDIDATE;
}

static enum msg_member
member_kind(const struct raft_conf_state *c, uint64_t id)
{
	bool in = cluster_ids_have(&c->voters, id);
	bool out = cluster_ids_have(&c->voters_outgoing, id);

	if (!in && !out)
		return MSG_MEMBER_LEARNER;
	if (c->voters_outgoing.count == 0 || (in && out))
		return MSG_MEMBER_VOTER;
	return in ? MSG_MEMBER_INCOMING : MSG_MEMBER_OUTGOING;
}

static void
peer_item(struct raftd *rd, const struct raft_status *st,
    const struct wal_member *member, struct wire *w)
{
	struct msg_peer_item item = {.node = member->id,
	    .member = (uint8_t)member_kind(&st->conf, member->id),
	    .connected = member->id == rd->opt.id ||
			 peers_connected(rd->peers, member->id)};

	memcpy(item.address, member->address, sizeof(item.address));
	item.promote = member->promote;
	item.replaces = member->replaces;
	for (uint32_t i = 0; i < st->progress_count; i++) {
		if (st->progress[i].id == member->id) {
			item.match = st->progress[i].match;
			item.state = (uint8_t)(st->progress[i].state + 1);
		}
	}
	msg_peer_item_wire(w, &item);
}

static void
send_status(struct front *f, uint64_t token)
{
	struct raftd *rd = f->rd;
	struct raft_status st;
	struct msg_raft_status m;
	struct wire *w;
	const struct snap *newest = snaps_newest(rd->snaps);

	if ((w = link_begin(f->httpd, MSG_RAFT_STATUS)) == NULL)
		return;
	raft_status(rd->raft, &st);
	m = (struct msg_raft_status){.token = token,
	    .cluster = rd->identity.cluster,
	    .node = rd->opt.id,
	    .leader = st.soft_state.leader,
	    .term = st.hard_state.term,
	    .role = role_number(&st),
	    .first = st.first_index,
	    .last = st.last_index,
	    .commit = st.hard_state.commit,
	    .applied = feed_applied(rd->feed),
	    .snapshot = newest != NULL ? newest->id.index : 0,
	    .kvd_connected = feed_connected(rd->feed),
	    .members_index = rd->conf.index,
	    .count = rd->conf.member_count};
	msg_raft_status_wire(w, &m);
	for (uint32_t i = 0; i < rd->conf.member_count; i++)
		peer_item(rd, &st, &rd->conf.members[i], w);
	link_end(f->httpd);
}

static enum err
front_take(void *arg, struct link *l, uint8_t type, struct wire *w)
{
	struct raftd *rd = arg;
	struct msg_status_ask ask;

	if (link_peer(l)->process == MSG_KVD)
		return feed_take(rd->feed, type, w);
	switch (type) {
	case MSG_PROPOSE:
		feed_note_clients(rd->feed, mono_now());
		return take_proposal(rd, l, w);
	case MSG_READ:
		feed_note_clients(rd->feed, mono_now());
		return take_read(rd, w);
	case MSG_STATUS_ASK:
		if (msg_status_ask_wire(w, &ask) != ERR_OK)
			return ERR_MALFORMED;
		send_status(rd->front, ask.token);
		return ERR_OK;
	case MSG_METRICS_ASK:
		return metrics_ask(rd, l, w);
	case MSG_CONTROL:
		return take_control(rd, w);
	default: /* a number, not an enum: whatever the table allows */
		return ERR_MALFORMED;
	}
}

static const struct link_ops front_ops = {
    .hello = front_hello,
    .up = front_up,
    .down = front_down,
    .take = front_take,
};

void
front_announce(struct front *f)
{
	struct raftd *rd = f->rd;
	uint64_t leader = raft_leader(rd->raft), term = raft_term(rd->raft);

	if (leader == rd->leader_seen && term == rd->term_seen)
		return;
	rd->leader_seen = leader;
	rd->term_seen = term;
	daemon_status("node %" PRIu64 " term %" PRIu64 " leader %" PRIu64,
	    rd->opt.id, term, leader);
	if (link_is_up(f->httpd))
		send_status(f, 0);
}

struct link *
front_link(const struct front *f)
{
	return f->httpd;
}

int
front_open(struct raftd *rd)
{
	char run[PATH_MAX], url[PATH_MAX + 32];
	int rc;

	rd->front = mem_zalloc(1, sizeof(*rd->front));
	rd->front->rd = rd;
	if ((rc = daemon_run_dir(
		 rd->opt.run_dir, rd->opt.data_dir, run, sizeof(run))) != 0 ||
	    (rc = file_make_dir(run, 0700)) != 0)
		return rc;
	(void)snprintf(url, sizeof(url), "ipc://%s/raftd.sock", run);
	return links_listen(rd->links, url, 1u << MSG_HTTPD | 1u << MSG_KVD,
	    0600, &front_ops, rd);
}

void
front_close(struct raftd *rd)
{
	mem_free(rd->front);
	rd->front = NULL;
}
