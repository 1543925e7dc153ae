/* The end of a node's membership: it learns of it, says so, and ends with
 * EX_CONFIG, so that nobody starts it again as it is.
 *
 * Its own log may tell.  Then it stays for a moment, until another node says so
 * too, which it only does when that is on its disk: the last one that knows of
 * a change must not go before it is safe.
 *
 * If it was one of two voters, or the only one and another took its place, that
 * other one cannot be elected without it as long as it has not learned, for
 * good, that it is alone: a crash may have made it forget.  So this node stays
 * the voter that it was, does not let the change take effect here, and goes
 * when the other one says so, however long that takes.  (A change that is
 * applied later breaks nothing: all that this node may commit meanwhile, it
 * commits with the other one.)
 *
 * Or the others tell (BYE): one alone may be wrong about it, a majority of the
 * other voters is not. */
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "base/daemon.h"
#include "base/log.h"
#include "raftd/raftd.h"

#define STAY_MS 10000u

static void
leave(struct raftd *rd)
{
	rd->exit_code = EX_CONFIG;
	rd->quit = true;
}

/* The other one of the two voters of this set, if this node is in it. */
static uint64_t
other_of_two(const struct raftd *rd, const struct raft_ids *voters)
{
	if (voters->count != 2 || !cluster_ids_have(voters, rd->opt.id))
		return RAFT_NONE;
	return voters->id[voters->id[0] == rd->opt.id ? 1 : 0];
}

static void
note_removed(struct raftd *rd, uint64_t index)
{
	if (rd->removed)
		return;
	rd->removed = true;
	rd->leave_by = mono_add_ms(mono_now(), STAY_MS);
	log_warnx("removed from the cluster; to use this node again, give it "
		  "a new id, an empty --data-dir and --join node=%" PRIu64
		  " index=%" PRIu64,
	    rd->opt.id, index);
	daemon_status(
	    "node %" PRIu64 " was removed from the cluster", rd->opt.id);
}

void
leave_removed(struct raftd *rd)
{
	note_removed(rd, rd->conf.index);
}

/* This node was the only voter, and is replaced by another one. */
static bool
is_only_one(const struct raftd *rd, const struct raft_ids *voters)
{
	return voters->count == 1 && voters->id[0] == rd->opt.id;
}

bool
leave_must_stay(
    struct raftd *rd, const struct raft_conf_change *cc, uint64_t index)
{
	const struct raft_conf_state *s = &rd->conf.state;
	uint64_t me = rd->opt.id, other = RAFT_NONE;

	if (index <= rd->conf.members_index)
		return false; /* it joined later */
	if (s->voters_outgoing.count > 0) {
		if (cc->count == 0 && !cluster_ids_have(&s->voters, me) &&
		    !cluster_ids_have(&s->learners_next, me))
			other = is_only_one(rd, &s->voters_outgoing) &&
					s->voters.count == 1
				    ? s->voters.id[0]
				    : other_of_two(rd, &s->voters_outgoing);
	} else if (cc->count == 1 && cc->ops[0].op == RAFT_CONF_REMOVE &&
		   cc->ops[0].id == me && cc->transition == RAFT_CONF_AUTO) {
		other = other_of_two(rd, &s->voters);
	}
	if (other == RAFT_NONE)
		return false;
	rd->needed_by = other;
	note_removed(rd, index);
	return true;
}

/* The voters besides this one, as far as it knows; while it joins, all. */
static bool
is_other_voter(const struct raftd *rd, uint64_t id)
{
	const struct raft_conf_state *s = &rd->conf.state;

	if (id == rd->opt.id)
		return false;
	return s->voters.count == 0 || cluster_ids_have(&s->voters, id) ||
	       cluster_ids_have(&s->voters_outgoing, id);
}

/* How many say this; *of: of how many. */
static uint32_t
count_words(const struct raftd *rd, enum err word, uint32_t *of)
{
	uint32_t n = 0;

	*of = 0;
	for (uint32_t i = 0; i < rd->conf.member_count; i++) {
		uint64_t id = rd->conf.members[i].id;

		if (!is_other_voter(rd, id))
			continue;
		(*of)++;
		n += peers_word(rd->peers, id) == word;
	}
	return n;
}

/* A new directory, in which nothing has happened but that it was made: it has
 * nothing to lose, and one word is enough. */
static bool
is_new(const struct raftd *rd)
{
	return rd->bootstrapped &&
	       raft_commit(rd->raft) <= rd->conf.member_count;
}

static void
leave_replaced(struct raftd *rd)
{
	log_errorx("this raft directory is new, node %" PRIu64
		   " had another one, and what was promised in that is lost: "
		   "remove node %" PRIu64 " from the cluster, and add this one "
		   "under a new id with --join and an empty --data-dir",
	    rd->opt.id, rd->opt.id);
	leave(rd);
}

void
leave_run(struct raftd *rd, struct mono now)
{
	uint32_t of, said = count_words(rd, ERR_REMOVED, &of);

	if (rd->removed && rd->needed_by != RAFT_NONE) {
		if (peers_word(rd->peers, rd->needed_by) == ERR_REMOVED)
			leave(rd);
		return;
	}
	if (rd->removed) {
		if ((said > 0 && rd->conf_durable >= rd->conf.index) ||
		    mono_reached(rd->leave_by, now))
			leave(rd);
		return;
	}
	if (of > 0 && said > of / 2) {
		log_errorx("node %" PRIu64
			   " was removed from its cluster, say %" PRIu32
			   " of %" PRIu32 " other voters; to use this node "
			   "again, give it a new id, an empty --data-dir and "
			   "--join",
		    rd->opt.id, said, of);
		leave(rd);
		return;
	}
	said = count_words(rd, ERR_CONFLICT, &of);
	if (of > 0 && (said > of / 2 || (said > 0 && is_new(rd))))
		leave_replaced(rd);
}
