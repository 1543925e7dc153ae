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
#include "raftd/raftd.h"

/* "HOST:PORT" with a port of 1..65535; "[v6]:PORT" too. */
static bool
address_valid(const char *s, size_t len)
{
	const char *colon = memrchr(s, ':', len);
	size_t digits;
	unsigned long port = 0;

	if (colon == NULL || colon == s)
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

		if (len > ADDRESS_BYTES_MAX || !address_valid(p, len)) {
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

static bool
ids_have(const struct raft_ids *ids, uint64_t id)
{
	for (uint32_t i = 0; i < ids->count; i++)
		if (ids->id[i] == id)
			return true;
	return false;
}

static bool
state_has(const struct raft_conf_state *s, uint64_t id)
{
	return ids_have(&s->voters, id) || ids_have(&s->learners, id) ||
	       ids_have(&s->voters_outgoing, id) ||
	       ids_have(&s->learners_next, id);
}

static void
member_set(struct wal_conf *conf, uint64_t id, struct bytes address)
{
	struct wal_member *m = NULL;

	for (uint32_t i = 0; i < conf->member_count && m == NULL; i++)
		if (conf->members[i].id == id)
			m = &conf->members[i];
	if (m == NULL) {
		if (conf->member_count == NODES_MAX)
			return; /* proposing checks this; the address is lost */
		m = &conf->members[conf->member_count++];
	}
	memset(m, 0, sizeof(*m));
	m->id = id;
	memcpy(m->address, address.data, address.len);
}

void
cluster_apply(struct wal_conf *conf, uint64_t index,
    const struct raft_conf_change *cc, const struct raft_conf_state *state)
{
	uint32_t kept = 0;

	conf->index = index;
	conf->state = *state;
	/* The context of a change is the address of the node it is about. */
	if (cc->count > 0 && cc->context.len > 0 &&
	    cc->context.len <= ADDRESS_BYTES_MAX &&
	    cc->ops[0].op != RAFT_CONF_REMOVE)
		member_set(conf, cc->ops[0].id, cc->context);
	for (uint32_t i = 0; i < conf->member_count; i++)
		if (state_has(state, conf->members[i].id))
			conf->members[kept++] = conf->members[i];
	conf->member_count = kept;
}
