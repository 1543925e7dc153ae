/* The effects of the core, in order.  The core runs with asynchronous storage
 * writes (raft.h), so the order is this, and stands here and nowhere else:
 *
 *   ready_run            what may leave before the disk has it (appends of a
 *                        leader, heartbeats) is sent; what must be durable is
 *                        left for the writer, with the responses and requests
 *                        for votes that may only leave afterwards; what is
 *                        committed, and durable here, is published to kvd;
 *   ready_storage_done   the disk has it: the responses leave.
 *
 * A snapshot from another node is a file, whole and synced, before the core
 * hears of it (receive.c); then the log's mark with the members is made durable
 * like an entry, then rlog begins behind it, then the responses leave. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

/* To another node, or back into the core when it is for this one. */
static void
deliver(struct raftd *rd, const struct raft_msg *m)
{
	if (m->to == rd->opt.id)
		(void)raft_step(rd->raft, m); /* a stale one is refused: fine */
	else
		peers_send(rd->peers, m);
}

/* The log now is what follows this snapshot; kvd gets it from the feed. */
static void
installed(struct raftd *rd, const struct wal_mark *mark)
{
	rlog_reset(rd->rlog, mark->index, mark->term);
	if (feed_published(rd->feed) < mark->index)
		feed_publish(rd->feed, mark->index);
	log_info("snapshot installed index=%" PRIu64 " term=%" PRIu64,
	    mark->index, mark->term);
}

void
ready_storage_done(struct raftd *rd)
{
	struct writer_job *job;

	while ((job = writer_done(rd->writer)) != NULL) {
		const struct raft_msg *m = &job->append;

		if (job->mark.replaces)
			installed(rd, &job->mark);
		if (job->conf != NULL)
			rd->conf_durable = job->conf->index;
		if (job->mark.index != 0)
			snaps_marked(rd->snaps, job->mark.index);
		for (size_t i = 0; i < m->entry_count; i++)
			rlog_append(
			    rd->rlog, &m->entries[i], job->positions[i]);
		for (size_t i = 0; i < m->response_count; i++)
			deliver(rd, &m->responses[i]);
		writer_job_free(&job);
	}
}

/* Made durable with its addresses, so that a restart need not read the whole
 * log for it. */
static void
save_conf(struct raftd *rd)
{
	struct writer_job *job = mem_zalloc(1, sizeof(*job));

	job->conf = mem_alloc(sizeof(*job->conf));
	*job->conf = rd->conf;
	writer_submit(rd->writer, &job);
}

/* A configuration change takes effect when it is published, on every node by
 * itself. */
static void
apply_conf_change(struct raftd *rd, const struct raft_entry *e)
{
	struct raft_conf_change cc;
	struct raft_conf_state state;

	if (raft_conf_change_decode(e->type, blob_bytes(e->data), &cc) !=
	    RAFT_OK) {
		log_errorx("configuration change cannot be decoded, skipped "
			   "index=%" PRIu64,
		    e->index);
		return;
	}
	if (rd->needed_by != RAFT_NONE || leave_must_stay(rd, &cc, e->index)) {
		/* Struck out: the core is to hear of every change. */
		cc = (struct raft_conf_change){.v1 = true, .count = 1};
		raft_apply_conf_change(rd->raft, &cc, &state);
		return;
	}
	raft_apply_conf_change(rd->raft, &cc, &state);
	cluster_apply(&rd->conf, e->index, &cc, &state);
	log_info("configuration changed index=%" PRIu64 " voters=%u "
		 "learners=%u",
	    e->index, state.voters.count, state.learners.count);
	save_conf(rd);
	peers_update(rd->peers);
	if (!cluster_state_has(&state, rd->opt.id) &&
	    rd->conf.members_index == e->index)
		leave_removed(rd);
}

/* FLOW 5: committed entries become visible to the feed of kvd, which sends
 * them from rlog as COMMIT on commitC, indexes without a gap (feed_run). */
static void
publish_commits(struct raftd *rd, const struct raft_msg *apply)
{
	for (size_t i = 0; i < apply->entry_count; i++)
		if (apply->entries[i].type != RAFT_ENTRY_NORMAL)
			apply_conf_change(rd, &apply->entries[i]);
	if (apply->entry_count > 0)
		feed_publish(
		    rd->feed, apply->entries[apply->entry_count - 1].index);
	for (size_t i = 0; i < apply->response_count; i++)
		deliver(rd, &apply->responses[i]);
}

/* Requests for votes wait for the disk too.  A candidate can win by the votes
 * of others before its own is durable; if it then forgot the term in a crash,
 * it could win the same term again, from the same voters, and write other
 * entries under the numbers of those that it has already sent.  (etcd/raft
 * lets them leave at once when its storage writes are asynchronous.) */
static void
hold_vote_requests(const struct raft_ready *r, struct raft_msg *append)
{
	for (size_t i = 0; i < r->message_count; i++) {
		struct raft_msg *m = &r->messages[i];

		if (m->type != RAFT_MSG_VOTE)
			continue;
		append->responses = mem_resize(append->responses,
		    append->response_count + 1, sizeof(*append->responses));
		raft_msg_move(&append->responses[append->response_count++], m);
	}
}

/* The core has taken a snapshot; its members hold from now on. */
static void
fill_install(
    struct raftd *rd, struct writer_job *job, const struct raft_snapshot *s)
{
	struct snap_meta meta;
	enum err e = snap_meta_decode(blob_bytes(s->data), &meta);

	assert(e == ERR_OK); /* receive.c has looked at it */
	(void)snaps_marking(rd->snaps, s->index); /* above all, as it must be */
	job->mark = (struct wal_mark){
	    .index = s->index, .term = s->term, .replaces = true};
	cluster_install(&rd->conf, &meta.conf);
	job->conf = mem_alloc(sizeof(*job->conf));
	*job->conf = rd->conf;
	peers_update(rd->peers);
}

static void
submit_append(struct raftd *rd, struct raft_msg *m)
{
	struct writer_job *job = mem_zalloc(1, sizeof(*job));

	if (m->snapshot != NULL)
		fill_install(rd, job, m->snapshot);
	raft_msg_move(&job->append, m);
	writer_submit(rd->writer, &job);
}

/* Role and leader, for people and for httpd. */
static void
note_soft_state(struct raftd *rd, const struct raft_soft_state *ss)
{
	log_info("%s term=%" PRIu64 " leader=%" PRIu64,
	    ss->role == RAFT_LEADER ? "became leader"
	    : ss->role == RAFT_FOLLOWER
		? (ss->leader != 0 ? "following" : "no leader")
		: "campaigning",
	    raft_term(rd->raft), ss->leader);
	figures_leader(&rd->figures, ss->leader);
	reads_restart(rd->reads);
}

/* FLOW 4: the order save, sync, dependent sends, publish. */
void
ready_run(struct raftd *rd)
{
	while (raft_has_ready(rd->raft)) {
		const struct raft_ready *r = raft_ready(rd->raft);
		struct raft_msg apply = {0};

		if (r->has_soft_state)
			note_soft_state(rd, &r->soft_state);
		for (size_t i = 0; i < r->read_state_count; i++)
			reads_known(rd->reads, &r->read_states[i]);
		for (size_t i = 0; i < r->message_count; i++) {
			struct raft_msg *m = &r->messages[i];

			if (m->to == RAFT_APPEND_THREAD) {
				hold_vote_requests(r, m);
				submit_append(rd, m); /* save, sync */
			} else if (m->to == RAFT_APPLY_THREAD) {
				raft_msg_move(&apply, m);
			} else if (m->type != RAFT_MSG_VOTE) {
				peers_send(rd->peers, m);
			}
		}
		/* Last: this steps the core, which may touch its Ready. */
		publish_commits(rd, &apply);
		raft_msg_free(&apply);
	}
}
