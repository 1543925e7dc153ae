/* The way out: the links that this node dials, and what it sends on them; see
 * peer_impl.h.  A stream that is dead or full drops messages, and the core is
 * told; nothing waits for it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "raftd/join.h"
#include "raftd/peer_impl.h"
#include "raftd/rmsg.h"
#include "raftd/transfer.h"

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
	return err == ERR_OK ? peer_check_incarnation(p, l, theirs) : err;
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

	peers_note_word(p->rd, l, code);
}

static const struct link_ops out_ops = {
    .hello = out_hello,
    .up = out_up,
    .down = out_down,
    .take = out_take,
    .refused = out_refused,
};

struct link *
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
	struct peer *p = peers_find(ps, m->to);

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

void
peers_report(struct peers *ps)
{
	for (struct peer *p = ps->list; p != NULL; p = p->next) {
		if (p->missed)
			raft_report_unreachable(ps->rd->raft, p->id);
		p->missed = false;
	}
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

struct link *
peers_link(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peers_find(ps, id);

	return p != NULL && link_is_up(p->out) ? p->out : NULL;
}

bool
peers_connected(const struct peers *ps, uint64_t id)
{
	return peers_link(ps, id) != NULL;
}

void
peers_out_init(struct peers *ps)
{
	loop_timer_init(ps->rd->loop, &ps->release, on_release, ps);
}

void
peers_out_stop(struct peers *ps)
{
	loop_timer_stop(&ps->release);
}
