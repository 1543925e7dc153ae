/* Who is in the cluster: the --cluster list, and what changes make of it. */
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/log.h"
#include "raftd/context.h"
#include "raftd/raftd.h"

/* "HOST:PORT" with a port of 1..65535; "[v6]:PORT" too. */
bool
cluster_address_valid(const char *s, size_t len)
{
	const char *colon = len > 0 ? memrchr(s, ':', len) : NULL;
	size_t digits;
	unsigned long port = 0;

	if (len > ADDRESS_BYTES_MAX || colon == NULL || colon == s)
		return false;
	digits = len - (size_t)(colon + 1 - s);
	if (digits < 1 || digits > 5)
		return false;
	for (const char *p = colon + 1; p < s + len; p++) {
		if (!isdigit((unsigned char)*p))
			return false;
		port = port * 10 + (unsigned long)(*p - '0');
	}
	for (const char *p = s; p < colon; p++)
		if (isspace((unsigned char)*p) || *p == '/' || *p == ',')
			return false;
	return port >= 1 && port <= 65535;
}

int
cluster_parse(const char *text, struct wal_conf *conf)
{
	const char *p = text;

	memset(conf, 0, sizeof(*conf));
	for (;;) {
		size_t len = strcspn(p, ",");
		struct wal_member *m;

		if (!cluster_address_valid(p, len)) {
			log_errorx(
			    "bad address in --cluster: \"%.*s\"; give "
			    "HOST:PORT,HOST:PORT,... in the order of the "
			    "nodes' ids",
			    (int)(len > 80 ? 80 : len), p);
			return EX_USAGE;
		}
		if (conf->member_count == NODES_MAX) {
			log_errorx("too many addresses in --cluster; at most "
				   "%u nodes",
			    NODES_MAX);
			return EX_USAGE;
		}
		for (uint32_t i = 0; i < conf->member_count; i++) {
			if (strlen(conf->members[i].address) == len &&
			    memcmp(conf->members[i].address, p, len) == 0) {
				log_errorx("address twice in --cluster: "
					   "%.*s; each node has its own",
				    (int)len, p);
				return EX_USAGE;
			}
		}
		m = &conf->members[conf->member_count++];
		m->id = conf->member_count;
		memcpy(m->address, p, len);
		conf->id_max = m->id;
		conf->state.voters.id[conf->state.voters.count++] = m->id;
		if (p[len] == '\0')
			return 0;
		p += len + 1;
	}
}

uint64_t
cluster_id(const struct wal_conf *conf)
{
	struct buf b = {0};
	uint64_t id;

	for (uint32_t i = 0; i < conf->member_count; i++) {
		const char *a = conf->members[i].address;

		buf_append(&b, a, strlen(a) + 1);
	}
	id = hash64(b.data, b.len, 0);
	buf_free(&b);
	return id != 0 ? id : 1; /* 0 means not known */
}

const struct wal_member *
cluster_member(const struct wal_conf *conf, uint64_t id)
{
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (conf->members[i].id == id)
			return &conf->members[i];
	return NULL;
}

const struct wal_member *
cluster_address_owner(const struct wal_conf *conf, const char *address)
{
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (strcmp(conf->members[i].address, address) == 0)
			return &conf->members[i];
	return NULL;
}

bool
cluster_ids_have(const struct raft_ids *ids, uint64_t id)
{
	for (uint32_t i = 0; i < ids->count; i++)
		if (ids->id[i] == id)
			return true;
	return false;
}

bool
cluster_state_has(const struct raft_conf_state *s, uint64_t id)
{
	return cluster_ids_have(&s->voters, id) ||
	       cluster_ids_have(&s->learners, id) ||
	       cluster_ids_have(&s->voters_outgoing, id) ||
	       cluster_ids_have(&s->learners_next, id);
}

const struct wal_order *
cluster_order(const struct wal_conf *conf, uint64_t token)
{
	for (uint32_t i = 0; i < conf->order_count; i++)
		if (conf->orders[i].token == token)
			return &conf->orders[i];
	return NULL;
}

static void
member_set(struct wal_conf *conf, const struct wal_member *now)
{
	struct wal_member *m = NULL;
	uint64_t known;

	for (uint32_t i = 0; i < conf->member_count && m == NULL; i++)
		if (conf->members[i].id == now->id)
			m = &conf->members[i];
	if (m == NULL) {
		if (conf->member_count == NODES_MAX)
			return; /* proposing checks this; the address is lost */
		m = &conf->members[conf->member_count++];
		memset(m, 0, sizeof(*m));
	}
	known = m->incarnation;
	*m = *now;
	if (m->incarnation == 0) /* what is known is never forgotten */
		m->incarnation = known;
}

static void
order_set(struct wal_conf *conf, const struct wal_order *o)
{
	if (conf->order_count == WAL_ORDERS_MAX) {
		conf->order_count--;
		memmove(&conf->orders[0], &conf->orders[1],
		    conf->order_count * sizeof(conf->orders[0]));
	}
	conf->orders[conf->order_count++] = *o;
}

static void
note_ids(struct wal_conf *conf, const struct raft_conf_change *cc)
{
	for (uint32_t i = 0; i < cc->count; i++)
		if ((cc->ops[i].op == RAFT_CONF_ADD_VOTER ||
			cc->ops[i].op == RAFT_CONF_ADD_LEARNER) &&
		    cc->ops[i].id > conf->id_max &&
		    cc->ops[i].id <= NODE_ID_MAX)
			conf->id_max = cc->ops[i].id;
}

void
cluster_apply(struct wal_conf *conf, uint64_t index,
    const struct raft_conf_change *cc, const struct raft_conf_state *state)
{
	struct context c;
	uint32_t kept = 0;

	conf->index = index;
	conf->state = *state;
	if (index <= conf->members_index)
		return; /* it was told of what became of this */
	conf->members_index = index;
	note_ids(conf, cc);
	(void)context_decode(cc->context, &c); /* else it is empty */
	for (uint32_t i = 0; i < c.count; i++)
		if (cluster_state_has(state, c.members[i].id))
			member_set(conf, &c.members[i]);
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (cluster_state_has(state, conf->members[i].id))
			conf->members[kept++] = conf->members[i];
	conf->member_count = kept;
	if (c.token != 0)
		order_set(conf, &(struct wal_order){.token = c.token,
				    .index = index,
				    .id = cc->count > 0 ? cc->ops[0].id : 0});
}

void
cluster_install(struct wal_conf *conf, const struct wal_conf *from)
{
	if (from->members_index >= conf->members_index) {
		*conf = *from;
		return;
	}
	conf->index = from->index;
	conf->state = from->state;
}
