/* See join.h. */
#include "raftd/join.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/joinmsg.h"
#include "raftd/raftd.h"
#include "raftd/wal_format.h"

#define ASK_MS 500u
#define MISSED_ELECTIONS 5u /* without a leader; then a member asks */

/* One of the addresses. */
struct door {
	struct join *join;
	struct link *link;
	struct mono asked;
};

struct join {
	struct raftd *rd;
	uint64_t incarnation; /* of the directory that will be made */
	struct door doors[NODES_MAX];
	uint32_t count;
	struct mono asked; /* those who have dialed */
	enum err told;     /* the last answer that was logged */
	bool refreshes;    /* it is a member, and asks for the others */
	bool member;
	uint64_t cluster;
	struct wal_conf conf;
};

/* ---- the new node ---- */

static void
door_hello(void *arg, struct msg_hello *mine)
{
	const struct door *d = arg;

	mine->epoch = d->join->rd->epoch;
	mine->node = d->join->rd->opt.id;
	mine->incarnation = d->join->incarnation;
}

static enum err
door_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct door *d = arg;

	(void)l;
	d->asked = (struct mono){0};
	if (d->join->refreshes)
		return theirs->cluster == d->join->rd->identity.cluster
			   ? ERR_OK
			   : ERR_FOREIGN;
	return theirs->cluster != 0 ? ERR_OK : ERR_UNAVAILABLE;
}

static void
door_down(void *arg, struct link *l)
{
	(void)arg, (void)l; /* it dials again */
}

static void
give_up(struct join *j, const char *why)
{
	log_errorx("cannot join: %s", why);
	j->rd->exit_code = EX_CONFIG;
	j->rd->quit = true;
}

static void
wait_on(struct join *j, enum err code, const char *why)
{
	if (j->told == code)
		return;
	j->told = code;
	log_info("waiting to join: %s", why);
	daemon_status("waiting to join: %s", why);
}

static enum err
become_member(struct join *j, const struct joinmsg_answer *m)
{
	const struct wal_member *mine;

	if (wal_conf_decode(m->members, &j->conf) != ERR_OK)
		return ERR_MALFORMED;
	mine = cluster_member(&j->conf, j->rd->opt.id);
	if (mine == NULL || m->cluster == 0 ||
	    !cluster_address_valid(mine->address, strlen(mine->address)))
		return ERR_MALFORMED;
	j->cluster = m->cluster;
	j->member = true;
	return ERR_OK;
}

static enum err
learn_members(struct raftd *rd, const struct joinmsg_answer *m)
{
	struct wal_conf conf;

	if (wal_conf_decode(m->members, &conf) != ERR_OK ||
	    m->cluster != rd->identity.cluster)
		return ERR_MALFORMED;
	if (conf.members_index <= rd->conf.members_index ||
	    cluster_member(&conf, rd->opt.id) == NULL || rd->removed)
		return ERR_OK;
	log_info("members learned from another node index=%" PRIu64
		 " before=%" PRIu64 " members=%" PRIu32,
	    conf.members_index, rd->conf.members_index, conf.member_count);
	conf.index = rd->conf.index;
	conf.state = rd->conf.state;
	rd->conf = conf; /* not saved: it can be asked for again */
	peers_update(rd->peers);
	return ERR_OK;
}

static enum err
door_take(void *arg, struct link *l, uint8_t type, struct wire *w)
{
	struct join *j = ((struct door *)arg)->join;
	struct joinmsg_answer m;
	enum err code;

	(void)l;
	if (type != MSG_JOIN_ANSWER || joinmsg_answer_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	code = err_from_u8(m.code);
	if (j->member || j->rd->quit)
		return ERR_OK;
	if (j->refreshes) /* it is told in other ways that it was removed */
		return code == ERR_OK ? learn_members(j->rd, &m) : ERR_OK;
	if (code == ERR_OK)
		return become_member(j, &m);
	if (code == ERR_REMOVED || code == ERR_CONFLICT)
		give_up(j, m.why);
	else
		wait_on(j, code, m.why);
	return ERR_OK;
}

static const struct link_ops door_ops = {
    .hello = door_hello,
    .up = door_up,
    .down = door_down,
    .take = door_take,
};

static struct join *
open_doors(struct raftd *rd, const struct wal_conf *conf, uint64_t besides)
{
	struct join *j = mem_zalloc(1, sizeof(*j));

	j->rd = rd;
	for (uint32_t i = 0; i < conf->member_count; i++) {
		const char *address = conf->members[i].address;
		char url[ADDRESS_BYTES_MAX + 16];
		struct door *d;

		if (conf->members[i].id == besides ||
		    !cluster_address_valid(address, strlen(address)))
			continue;
		d = &j->doors[j->count++];
		d->join = j;
		(void)snprintf(url, sizeof(url), "tcp://%s", address);
		d->link = links_dial(
		    rd->links, url, MSG_RAFTD, address, &door_ops, d);
	}
	return j;
}

static void
close_doors(struct join *j)
{
	for (uint32_t i = 0; i < j->count; i++)
		link_close(j->doors[i].link);
}

int
join_open(struct raftd *rd)
{
	struct join *j;
	struct wal_conf flags;
	int rc;

	if ((rc = cluster_parse(rd->opt.cluster, &flags)) != 0)
		return rc;
	rd->join = j = open_doors(rd, &flags, RAFT_NONE);
	j->incarnation = daemon_random();
	log_info("joining a cluster node=%" PRIu64 " addresses=%" PRIu32,
	    rd->opt.id, j->count);
	daemon_status("node %" PRIu64 " asks to join", rd->opt.id);
	return 0;
}

void
join_close(struct join *j)
{
	mem_free(j); /* its links are closed by join_run() or links_close() */
}

static void
send_ask(const struct join *j, struct link *l)
{
	struct joinmsg_ask m = {
	    .id = j->rd->opt.id, .incarnation = j->incarnation};
	struct wire *w = link_begin(l, MSG_JOIN_ASK);

	if (w == NULL)
		return;
	(void)joinmsg_ask_wire(w, &m);
	link_end(l);
}

static void
ask(struct door *d, struct mono now)
{
	if (!link_is_up(d->link) || mono_ms_since(d->asked, now) < ASK_MS)
		return;
	send_ask(d->join, d->link);
	d->asked = now;
}

static void
ask_callers(struct join *j, struct mono now)
{
	struct link *l;

	if (mono_ms_since(j->asked, now) < ASK_MS)
		return;
	for (uint32_t i = 0; (l = peers_caller(j->rd->peers, i)) != NULL; i++)
		send_ask(j, l);
	j->asked = now;
}

bool
join_run(struct join *j, struct mono now, struct wal_identity *identity,
    struct wal_conf *conf)
{
	if (!j->member) {
		for (uint32_t i = 0; i < j->count; i++)
			ask(&j->doors[i], now);
		return false;
	}
	close_doors(j);
	*identity = (struct wal_identity){.cluster = j->cluster,
	    .node = j->rd->opt.id,
	    .incarnation = j->incarnation};
	*conf = j->conf;
	return true;
}

/* ---- a member that may have missed changes ---- */

void
join_heard(struct raftd *rd)
{
	rd->heard_leader = mono_now();
}

void
join_refresh(struct raftd *rd, struct mono now)
{
	bool lost = raft_role(rd->raft) != RAFT_LEADER &&
		    mono_ms_since(rd->heard_leader, now) >=
			MISSED_ELECTIONS * rd->opt.election_ms;

	if (rd->refresh != NULL && !lost) {
		close_doors(rd->refresh);
		join_close(rd->refresh);
		rd->refresh = NULL;
	} else if (rd->refresh == NULL && lost) {
		rd->refresh = open_doors(rd, &rd->conf, rd->opt.id);
		rd->refresh->refreshes = true;
		rd->refresh->incarnation = rd->identity.incarnation;
	}
	if (rd->refresh == NULL)
		return;
	for (uint32_t i = 0; i < rd->refresh->count; i++)
		ask(&rd->refresh->doors[i], now);
	ask_callers(rd->refresh, now);
}

enum err
join_answered(struct raftd *rd, struct wire *w)
{
	struct joinmsg_answer m;

	if (joinmsg_answer_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (rd->refresh == NULL || err_from_u8(m.code) != ERR_OK)
		return ERR_OK; /* it came late, or says nothing new */
	return learn_members(rd, &m);
}

/* ---- a member ---- */

static enum err
judge(const struct raftd *rd, const struct joinmsg_ask *ask, char *why,
    size_t why_bytes)
{
	const struct wal_member *m = cluster_member(&rd->conf, ask->id);
	uint64_t seen = peers_incarnation(rd->peers, ask->id);

	if (m == NULL && ask->id > rd->conf.id_max) {
		(void)snprintf(why, why_bytes,
		    "node %" PRIu64 " is not a member yet: add it with "
		    "metcdctl member add ADDRESS, or POST /v1/members, to any "
		    "member; the next free id is %" PRIu64,
		    ask->id, rd->conf.id_max + 1);
		return ERR_NO_SUCH_MEMBER;
	}
	if (m == NULL && rd->conf_durable < rd->conf.index)
		return ERR_UNAVAILABLE; /* in a moment it is certain */
	if (m == NULL) {
		(void)snprintf(why, why_bytes,
		    "node %" PRIu64 " was removed from the cluster, or its id "
		    "was left out, and ids are not used again; add it under a "
		    "new id: the next free one is %" PRIu64,
		    ask->id, rd->conf.id_max + 1);
		return ERR_REMOVED;
	}
	if (ask->id == rd->opt.id ||
	    (m->incarnation != 0 && m->incarnation != ask->incarnation) ||
	    (seen != 0 && seen != ask->incarnation)) {
		(void)snprintf(why, why_bytes,
		    "this raft directory is new, node %" PRIu64
		    " had another one, and what was promised in that is lost: "
		    "remove node %" PRIu64 " from the cluster and add this one "
		    "under a new id: the next free one is %" PRIu64,
		    ask->id, ask->id, rd->conf.id_max + 1);
		return ERR_CONFLICT;
	}
	return ERR_OK;
}

enum err
join_asked(struct raftd *rd, struct link *l, uint8_t type, struct wire *w)
{
	struct joinmsg_answer answer = {.cluster = rd->identity.cluster};
	struct buf members = {0};
	struct joinmsg_ask m;
	struct wire *out;
	enum err code;

	if (type != MSG_JOIN_ASK || joinmsg_ask_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if ((out = link_begin(l, MSG_JOIN_ANSWER)) == NULL)
		return ERR_OK;
	code = judge(rd, &m, answer.why, sizeof(answer.why));
	answer.code = (uint8_t)code;
	if (code == ERR_OK)
		wal_conf_encode(&rd->conf, &members);
	answer.members = buf_bytes(&members);
	(void)joinmsg_answer_wire(out, &answer);
	link_end(l);
	buf_free(&members);
	return ERR_OK;
}
