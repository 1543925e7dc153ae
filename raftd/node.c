/* The process as a thing that can be started, turned and stopped: everything
 * of raftd but its command line, its signals and the waiting. */
#include <inttypes.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "raftd/join.h"
#include "raftd/members.h"
#include "raftd/orders.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"
#include "raftd/transfer.h"

#define HANDOVER_MS 400u /* for a leader that was told to stop */
#define FLUSH_MS 100u

/* One tick of the core per heartbeat.  A late timer is not made up for: a
 * process that was paused does not fire elections in a row when it goes on. */
static void
on_tick(void *arg, struct mono now)
{
	struct raftd *rd = arg;

	rd->tick_at = mono_add_ms(rd->tick_at, rd->opt.heartbeat_ms);
	if (mono_reached(rd->tick_at, now))
		rd->tick_at = mono_add_ms(now, rd->opt.heartbeat_ms);
	loop_timer_set(&rd->tick, rd->tick_at);
	raft_tick(rd->raft);
	writer_press(rd->writer);
	members_tick(rd->members);
}

/* The log is open, the core is there: everything around it. */
static int
go(struct raftd *rd)
{
	int rc;

	rd->orders = orders_open(rd);
	rd->members = members_open(rd);
	rd->reads = reads_open(rd);
	rd->feed = feed_open(rd);
	rd->take = take_open(rd);
	rd->transfers = transfers_open(rd);
	feed_publish(rd->feed, rd->applied_at_start);
	snaps_publish(rd->snaps);
	snaps_check_all(rd->snaps);
	if ((rc = links_share(rd->links, rd->opt.socket_group)) != 0 ||
	    (rc = front_open(rd)) != 0 || (rc = peers_open(rd)) != 0)
		return rc;
	loop_timer_init(rd->loop, &rd->tick, on_tick, rd);
	rd->tick_at = mono_add_ms(mono_now(), rd->opt.heartbeat_ms);
	loop_timer_set(&rd->tick, rd->tick_at);
	join_heard(rd); /* or may still be */
	/* Alone there is nobody to wait for. */
	if (rd->conf.state.voters.count == 1 &&
	    rd->conf.state.voters.id[0] == rd->opt.id)
		(void)raft_campaign(rd->raft);
	daemon_ready();
	return 0;
}

int
raftd_start(struct raftd *rd)
{
	bool fresh;
	int rc;

	rd->epoch = daemon_random();
	rd->links = links_open(rd->loop, MSG_RAFTD);
	if ((rc = store_open(rd, &fresh)) != 0)
		return rc;
	if (fresh && rd->opt.join)
		return join_open(rd);
	if ((rc = store_start(rd)) != 0)
		return rc;
	return go(rd);
}

/* A turn of a node that has no place in a cluster yet. */
static void
join_turn(struct raftd *rd, struct mono now)
{
	struct wal_identity identity;
	struct wal_conf conf;

	links_take(rd->links);
	if (rd->stopping)
		rd->quit = true;
	if (!rd->quit && join_run(rd->join, now, &identity, &conf)) {
		join_close(rd->join);
		rd->join = NULL;
		rd->exit_code = store_join(rd, &identity, &conf);
		if (rd->exit_code == 0)
			rd->exit_code = store_start(rd);
		if (rd->exit_code == 0)
			rd->exit_code = go(rd);
		rd->quit = rd->exit_code != 0;
	}
	links_flush(rd->links);
}

void
raftd_stop(struct raftd *rd)
{
	if (rd->stopping)
		rd->quit = true; /* asked twice */
	rd->stopping = true;
	rd->stop_by = mono_add_ms(mono_now(), HANDOVER_MS);
}

/* The voter to hand leadership to: the one whose log is longest. */
static uint64_t
successor(const struct raft_status *st, const struct peers *ps)
{
	const struct raft_progress_status *best = NULL;

	for (uint32_t i = 0; i < st->progress_count; i++) {
		const struct raft_progress_status *p = &st->progress[i];

		if (p->id == st->id || p->learner ||
		    !peers_connected(ps, p->id))
			continue;
		if (best == NULL || p->match > best->match)
			best = p;
	}
	return best != NULL ? best->id : RAFT_NONE;
}

/* A leader that is told to stop hands leadership over first (thesis 3.10). */
static void
stop_step(struct raftd *rd, struct mono now)
{
	struct raft_status st;
	uint64_t to;

	if (!rd->stopping)
		return;
	raft_status(rd->raft, &st);
	if (st.soft_state.role != RAFT_LEADER ||
	    mono_reached(rd->stop_by, now)) {
		rd->quit = true;
		return;
	}
	if (st.transferee != RAFT_NONE)
		return;
	if ((to = successor(&st, rd->peers)) == RAFT_NONE) {
		rd->quit = true;
		return;
	}
	log_info("handing leadership over to=%" PRIu64, to);
	raft_transfer_leadership(rd->raft, st.id, to);
}

/* A leader whose disk is nearly full makes way: nodes with space go on
 * proposing. */
static void
give_way_step(struct raftd *rd, struct mono now)
{
	bool full = space_pressed(rd->space, now);
	struct raft_status st;
	uint64_t to;

	if (!full || raft_role(rd->raft) != RAFT_LEADER)
		return;
	raft_status(rd->raft, &st);
	if (st.transferee != RAFT_NONE ||
	    (to = successor(&st, rd->peers)) == RAFT_NONE)
		return;
	log_info(
	    "handing leadership over, the disk is nearly full to=%" PRIu64, to);
	raft_transfer_leadership(rd->raft, st.id, to);
}

void
raftd_turn(struct raftd *rd, struct mono now)
{
	if (rd->join != NULL) {
		join_turn(rd, now);
		return;
	}
	links_take(rd->links);  /* proposals, reads, peers, kvd */
	ready_storage_done(rd); /* what the disk has now */
	snapio_take(rd->snapio);
	snaps_run(rd->snaps);
	stop_step(rd, now);
	space_run(rd->space, now);
	give_way_step(rd, now);
	take_run(rd->take, now);
	transfers_run(rd->transfers, now);
	peers_report(rd->peers);
	peers_ping(rd->peers, now);
	peers_run(rd->peers, now);
	join_refresh(rd, now);
	leave_run(rd, now);
	orders_run(rd->orders, now);
	members_run(rd->members, now);
	reads_run(rd->reads);
	ready_run(rd);        /* save, send, publish */
	reads_run(rd->reads); /* a round that has ended makes room */
	ready_run(rd);
	/* A leader waits for this disk: before all that can be sent.  But the
	 * disks of a leader's followers are further away than its own. */
	if (raft_role(rd->raft) != RAFT_LEADER)
		writer_flush(rd->writer);
	front_announce(rd->front);
	feed_run(rd->feed, now); /* commits and reads to kvd */
	links_flush(rd->links);  /* one send per link */
	writer_flush(rd->writer);
}

void
raftd_close(struct raftd *rd)
{
	if (rd->links != NULL)
		links_close(rd->links, FLUSH_MS); /* all of them, first */
	join_close(rd->join);
	join_close(rd->refresh);
	snapio_close(rd->snapio);
	peers_close(rd);
	transfers_close(rd->transfers);
	take_close(rd->take);
	members_close(rd->members);
	orders_close(rd->orders);
	store_close(rd);
	reads_close(rd->reads);
	feed_close(rd->feed);
	front_close(rd);
}
