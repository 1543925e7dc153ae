/* The other nodes: those that are members are dialed, those that are none any
 * more hung up on; see peer_impl.h. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/peer_impl.h"

/* A member that was removed hears of it if it can, and then no more: its links
 * are closed this much later, and when the change is on the disk. */
#define GONE_MS 500u

struct peer *
peers_find(const struct peers *ps, uint64_t id)
{
	for (struct peer *p = ps->list; p != NULL; p = p->next)
		if (p->id == id)
			return p;
	return NULL;
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
	if (peers_listen(ps, mine->address) != 0)
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
		    peers_find(ps, conf->members[i].id) == NULL)
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
	peers_in_init(rd->peers);
	peers_out_init(rd->peers);
	rc = peers_listen(rd->peers,
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
	peers_in_stop(rd->peers);
	peers_out_stop(rd->peers);
	while ((p = rd->peers->list) != NULL) {
		rd->peers->list = p->next;
		hold_drop(&p->hold);
		mem_free(p);
	}
	mem_free(rd->peers);
	rd->peers = NULL;
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
