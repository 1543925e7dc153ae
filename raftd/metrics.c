/* What raftd tells Prometheus, on METRICS_ASK: its families, whole and under
 * names that no other process has.  Names are etcd's, with metcd for etcd,
 * where etcd has the same thing.  All of it is at hand: nothing waits for Raft
 * or for the disk. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "base/process.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

void
figures_leader(struct raftd_figures *fg, uint64_t leader)
{
	if (leader != RAFT_NONE && leader != fg->leader)
		fg->leader_changes++;
	fg->leader = leader;
}

static bool
ids_have(const struct raft_ids *ids, uint64_t id)
{
	for (uint32_t i = 0; i < ids->count; i++)
		if (ids->id[i] == id)
			return true;
	return false;
}

static void
put_server(struct raftd *rd, const struct raft_status *st, struct metrics *m)
{
	char cluster[24], node[24];
	const struct metrics_label info[] = {
	    {"cluster", cluster}, {"node", node}, {NULL, NULL}};

	(void)snprintf(
	    cluster, sizeof cluster, "%016" PRIx64, rd->identity.cluster);
	(void)snprintf(node, sizeof node, "%" PRIu64, rd->opt.id);
	metrics_family(m, "metcd_server_info", METRICS_GAUGE,
	    "Which node of which cluster this is; always 1.");
	metrics_u64(m, info, 1);
	metrics_gauge(m, "metcd_server_has_leader",
	    "1 if this node knows a leader.",
	    st->soft_state.leader != RAFT_NONE);
	metrics_gauge(m, "metcd_server_is_leader", "1 if this node leads.",
	    st->soft_state.role == RAFT_LEADER);
	metrics_gauge(m, "metcd_server_is_learner",
	    "1 if this node is a learner: it has no vote.",
	    ids_have(&st->conf.learners, rd->opt.id));
	metrics_counter(m, "metcd_server_leader_changes_seen_total",
	    "Times that this node has seen a leader that was not there before.",
	    rd->figures.leader_changes);
	metrics_counter(m, "metcd_server_proposals_committed_total",
	    "Log entries known to be committed: the commit index.",
	    st->hard_state.commit);
	metrics_counter(m, "metcd_server_proposals_applied_total",
	    "Log entries that kvd has applied, as raftd knows.",
	    feed_applied(rd->feed));
}

static void
put_refused(const struct raftd_figures *fg, struct metrics *m)
{
	metrics_family(m, "metcd_server_proposals_refused_total",
	    METRICS_COUNTER,
	    "Proposals of this node's httpd that raftd refused, by reason; "
	    "httpd tries again until the request's deadline if that can help.");
	for (unsigned e = 0; e <= UINT8_MAX; e++) {
		struct metrics_label reason[] = {
		    {"reason", err_word((enum err)e)}, {NULL, NULL}};

		if (fg->refused[e] > 0)
			metrics_u64(m, reason, fg->refused[e]);
	}
}

static void
put_raft(struct raftd *rd, const struct raft_status *st, struct metrics *m)
{
	const struct snap *newest = snaps_newest(rd->snaps);

	metrics_gauge(
	    m, "metcd_raft_term", "Raft's term.", st->hard_state.term);
	metrics_gauge(m, "metcd_raft_leader",
	    "Id of the leader that this node knows; 0: none.",
	    st->soft_state.leader);
	metrics_gauge(m, "metcd_raft_voters",
	    "Voters of the cluster, as this node has applied.",
	    st->conf.voters.count);
	metrics_gauge(m, "metcd_raft_learners",
	    "Learners of the cluster, as this node has applied.",
	    st->conf.learners.count);
	metrics_gauge(m, "metcd_raft_commit_index", "Commit index.",
	    st->hard_state.commit);
	metrics_gauge(m, "metcd_raft_applied_index",
	    "Index of the last entry that kvd has applied, as raftd knows.",
	    feed_applied(rd->feed));
	metrics_gauge(m, "metcd_raft_first_index",
	    "Index of the first entry in this node's log.", st->first_index);
	metrics_gauge(m, "metcd_raft_last_index",
	    "Index of the last entry in this node's log.", st->last_index);
	metrics_gauge(m, "metcd_raft_snapshot_index",
	    "Index of the newest snapshot here; 0: none.",
	    newest != NULL ? newest->id.index : 0);
	metrics_gauge(m, "metcd_raft_snapshot_bytes",
	    "Size of the newest snapshot here.",
	    newest != NULL ? newest->id.bytes : 0);
	metrics_gauge(m, "metcd_raft_log_cache_bytes",
	    "Recent log entries that are kept in memory.",
	    rlog_cache_bytes(rd->rlog));
	metrics_family(m, "metcd_raft_peer_match", METRICS_GAUGE,
	    "Index up to which another node's log is known to agree with this "
	    "leader's; only the leader has it.");
	for (uint32_t i = 0; i < st->progress_count; i++) {
		char id[24];
		const struct metrics_label peer[] = {
		    {"peer", id}, {NULL, NULL}};

		(void)snprintf(id, sizeof id, "%" PRIu64, st->progress[i].id);
		if (st->progress[i].id != rd->opt.id)
			metrics_u64(m, peer, st->progress[i].match);
	}
}

static void
put_disk(struct raftd *rd, struct metrics *m)
{
	struct wal_figures *wal = mem_alloc(sizeof(*wal));
	struct statvfs fs;

	wal_figures(rd->wal, wal);
	metrics_family(m, "metcd_disk_wal_fsync_duration_seconds",
	    METRICS_HISTOGRAM, "fdatasync of the log.");
	metrics_histogram(
	    m, NULL, HISTOGRAM_DISK_NS, HISTOGRAM_DISK_BUCKETS, &wal->syncs);
	metrics_counter(m, "metcd_disk_wal_write_bytes_total",
	    "Bytes of records written to the log.", wal->write_bytes);
	mem_free(wal);
	metrics_gauge(m, "metcd_disk_wal_waiting",
	    "Writes to the log that are not durable yet.",
	    writer_waiting(rd->writer));
	metrics_gauge(m, "metcd_disk_low",
	    "1 if the disk is so full that proposals are refused.",
	    space_is_low(rd->space));
	if (statvfs(rd->opt.data_dir, &fs) == 0) {
		metrics_gauge(m, "metcd_disk_free_bytes",
		    "Free space on the disk of the log.",
		    (uint64_t)fs.f_bavail * fs.f_frsize);
		metrics_gauge(m, "metcd_disk_size_bytes",
		    "Size of the disk of the log.",
		    (uint64_t)fs.f_blocks * fs.f_frsize);
	}
	metrics_family(m, "metcd_snap_save_duration_seconds", METRICS_HISTOGRAM,
	    "From asking kvd for its state to the snapshot's file.");
	metrics_histogram(m, NULL, HISTOGRAM_LONG_NS, HISTOGRAM_LONG_BUCKETS,
	    &rd->figures.snap_saves);
}

/* ---- other nodes: a family is written whole, so each is a round ---- */

typedef void put_peer_fn(struct metrics *m, const struct metrics_label *label,
    const struct peer_figures *p);

static void
put_round_trips(struct metrics *m, const struct metrics_label *label,
    const struct peer_figures *p)
{
	metrics_histogram(
	    m, label, HISTOGRAM_NET_NS, HISTOGRAM_NET_BUCKETS, p->round_trips);
}

static void
put_connected(struct metrics *m, const struct metrics_label *label,
    const struct peer_figures *p)
{
	metrics_u64(m, label, p->connected);
}

static void
put_sent(struct metrics *m, const struct metrics_label *label,
    const struct peer_figures *p)
{
	metrics_u64(m, label, p->sent_bytes);
}

static void
put_received(struct metrics *m, const struct metrics_label *label,
    const struct peer_figures *p)
{
	metrics_u64(m, label, p->received_bytes);
}

static void
put_dropped(struct metrics *m, const struct metrics_label *label,
    const struct peer_figures *p)
{
	metrics_u64(m, label, p->dropped);
}

static const struct {
	const char *name;
	enum metrics_type type;
	const char *label;
	put_peer_fn *put;
	const char *help;
} peer_families[] = {
    {"metcd_network_peer_round_trip_time_seconds", METRICS_HISTOGRAM, "To",
	put_round_trips,
	"From a message to another node to its answer, once a second."},
    {"metcd_network_peer_connected", METRICS_GAUGE, "To", put_connected,
	"1 if messages can be sent to that node."},
    {"metcd_network_peer_sent_bytes_total", METRICS_COUNTER, "To", put_sent,
	"Bytes of Raft messages sent; files of snapshots are not counted."},
    {"metcd_network_peer_received_bytes_total", METRICS_COUNTER, "From",
	put_received, "Bytes of messages received, files included."},
    {"metcd_network_peer_sent_failures_total", METRICS_COUNTER, "To",
	put_dropped,
	"Raft messages dropped because the node could not be reached or its "
	"queue was full."},
};

static void
put_peers(const struct peers *ps, struct metrics *m)
{
	for (size_t f = 0; f < sizeof(peer_families) / sizeof(peer_families[0]);
	     f++) {
		struct peer_figures p;

		metrics_family(m, peer_families[f].name, peer_families[f].type,
		    peer_families[f].help);
		for (uint32_t i = 0; peers_figures(ps, i, &p); i++) {
			char id[24];
			const struct metrics_label label[] = {
			    {peer_families[f].label, id}, {NULL, NULL}};

			(void)snprintf(id, sizeof id, "%" PRIu64, p.id);
			peer_families[f].put(m, label, &p);
		}
	}
}

static void
put_queue(struct metrics *m, const char *name, size_t bytes)
{
	const struct metrics_label label[] = {{"link", name}, {NULL, NULL}};

	metrics_u64(m, label, bytes);
}

static void
put_queues(struct raftd *rd, struct metrics *m)
{
	struct peer_figures p;

	metrics_family(m, "metcd_raftd_link_queue_bytes", METRICS_GAUGE,
	    "What waits to be sent on raftd's links.");
	put_queue(m, "httpd", link_queued_bytes(front_link(rd->front)));
	put_queue(m, "kvd", link_queued_bytes(feed_link(rd->feed)));
	for (uint32_t i = 0; peers_figures(rd->peers, i, &p); i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "node %" PRIu64, p.id);
		put_queue(m, name, p.queued_bytes);
	}
}

static void
render(struct raftd *rd, struct buf *out)
{
	static const struct process_names names = PROCESS_NAMES("metcd_raftd");
	struct raft_status *st = mem_alloc(sizeof(*st));
	struct metrics m = {.out = out};

	raft_status(rd->raft, st);
	put_server(rd, st, &m);
	put_refused(&rd->figures, &m);
	put_raft(rd, st, &m);
	mem_free(st);
	put_disk(rd, &m);
	put_peers(rd->peers, &m);
	put_queues(rd, &m);
	process_metrics(&m, &names);
}

enum err
metrics_ask(struct raftd *rd, struct link *l, struct wire *w)
{
	struct msg_status_ask ask;
	struct msg_metrics m;
	struct buf text = {0};

	if (msg_status_ask_wire(w, &ask) != ERR_OK)
		return ERR_MALFORMED;
	render(rd, &text);
	m = (struct msg_metrics){.token = ask.token, .text = buf_bytes(&text)};
	if ((w = link_begin(l, MSG_METRICS)) != NULL) {
		(void)msg_metrics_wire(w, &m); /* some KB: no error */
		link_end(l);
	}
	buf_free(&text);
	return ERR_OK;
}
