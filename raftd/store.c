/* The raft directory: DATA/raft with its lock, wal/ and snap/, the bootstrap of
 * a new one, and the core on top of it. */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/context.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

#define BYTES_PER_MSG (1u << 20)      /* of entries in one MsgApp */
#define COMMITTED_BYTES (16u << 20)   /* handed out, not yet published */
#define UNCOMMITTED_BYTES (64u << 20) /* beyond it proposals are refused */
#define INFLIGHT_MSGS 256u
#define INFLIGHT_BYTES (32u << 20) /* less than half of a link's queue */

#define TELL_MS 1000u  /* while the log is read */
#define TELL_LOOK 256u /* entries between two looks at the clock */

struct recovery {
	struct rlog *rlog;
	uint64_t entries;
	struct mono began, told;
};

static void
on_entry(void *arg, const struct raft_entry *e, struct wal_position at)
{
	struct recovery *r = arg;
	struct mono now;

	rlog_recover(r->rlog, e, at);
	if (++r->entries % TELL_LOOK != 0)
		return;
	now = mono_now();
	if (mono_ms_since(r->told, now) < TELL_MS)
		return;
	r->told = now;
	log_info("reading the log entries=%" PRIu64 " index=%" PRIu64
		 " segment=%" PRIu32 " ms=%" PRIu64,
	    r->entries, e->index, at.segment, mono_ms_since(r->began, now));
}

/* The first entries of every log of the cluster: one change per member, as
 * etcd's StartNode writes them; all nodes write the same, so they count as
 * committed.  They bring the addresses to nodes that join later. */
static int
bootstrap_entries(struct raftd *rd, const struct wal_conf *conf)
{
	struct raft_entry entries[NODES_MAX];
	struct wal_position at[NODES_MAX];
	struct raft_hard_state hs = {.term = 1, .commit = conf->member_count};
	struct wal_batch_item item = {.entries = entries,
	    .entry_count = conf->member_count,
	    .hard_state = &hs};
	enum err err;

	for (uint32_t i = 0; i < conf->member_count; i++) {
		struct raft_conf_change cc = {.v1 = true, .count = 1};
		struct context c = {.count = 1};
		struct buf bytes = {0};

		cc.ops[0].op = RAFT_CONF_ADD_VOTER;
		cc.ops[0].id = conf->members[i].id;
		c.members[0] = conf->members[i];
		context_encode(&c, &bytes);
		cc.context = buf_bytes(&bytes);
		entries[i] = (struct raft_entry){.term = 1,
		    .index = i + 1,
		    .type = RAFT_ENTRY_CONF_CHANGE,
		    .data = raft_conf_change_encode(&cc)};
		buf_free(&bytes);
	}
	err = wal_write(rd->wal, &item, 1, true, at);
	for (uint32_t i = 0; i < conf->member_count; i++) {
		if (err == ERR_OK)
			rlog_append(rd->rlog, &entries[i], at[i]);
		blob_unref(&entries[i].data);
	}
	return err == ERR_OK ? 0 : EX_IOERR;
}

/* A new directory: identity and members first, then the first entries.  If a
 * crash comes between the two, bootstrap_entries() is made up for. */
static int
bootstrap(struct raftd *rd, const struct wal_conf *conf)
{
	rd->identity = (struct wal_identity){.cluster = cluster_id(conf),
	    .node = rd->opt.id,
	    .incarnation = daemon_random()};
	if (wal_create(rd->wal, &rd->identity, conf) != ERR_OK)
		return EX_IOERR;
	log_info("created raft directory cluster=%016" PRIx64 " nodes=%u",
	    rd->identity.cluster, conf->member_count);
	return 0;
}

/* An existing directory must be this node's. */
static int
check_identity(struct raftd *rd, const struct wal_recovered *rec,
    const struct wal_conf *flags)
{
	const struct wal_member *mine;

	rd->identity = rec->identity;
	if (rec->identity.node != rd->opt.id) {
		log_errorx("%s/raft belongs to node %" PRIu64
			   ", not to node %" PRIu64 "; start with --id %" PRIu64
			   " or another --data-dir",
		    rd->opt.data_dir, rec->identity.node, rd->opt.id,
		    rec->identity.node);
		return EX_CONFIG;
	}
	mine = cluster_member(&rec->conf, rd->opt.id);
	if (mine == NULL) {
		log_errorx(
		    "node %" PRIu64 " was removed from its cluster; to "
		    "use it again, give it a new id, an empty --data-dir and "
		    "--join",
		    rd->opt.id);
		return EX_CONFIG;
	}
	if (cluster_id(flags) != cluster_id(&rec->conf))
		log_info("--cluster differs from the members in the log; the "
			 "log's are used members=%u address=%s",
		    rec->conf.member_count, mine->address);
	return 0;
}

static uint32_t
core_random(void *arg, uint32_t n)
{
	uint64_t *s = arg;

	/* xorshift64: spreads election time-outs, nothing else. */
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return (uint32_t)((*s >> 16) % n);
}

static void
core_trace(void *arg, const char *line)
{
	(void)arg;
	log_debug("core: %s", line);
}

static int
core_open(struct raftd *rd, uint64_t applied)
{
	struct raft_config c = {
	    .id = rd->opt.id,
	    .election_ticks =
		(uint32_t)(rd->opt.election_ms / rd->opt.heartbeat_ms),
	    .heartbeat_ticks = 1,
	    .storage = &rlog_storage_ops,
	    .storage_arg = rd->rlog,
	    .applied = applied,
	    .async_storage_writes = true,
	    .max_bytes_per_msg = BYTES_PER_MSG,
	    .max_committed_bytes_per_ready = COMMITTED_BYTES,
	    .max_uncommitted_bytes = UNCOMMITTED_BYTES,
	    .max_inflight_msgs = INFLIGHT_MSGS,
	    .max_inflight_bytes = INFLIGHT_BYTES,
	    .check_quorum = true,
	    .pre_vote = true,
	    .read_mode = RAFT_READ_SAFE,
	    .step_down_on_removal = true,
	    .random = core_random,
	    .random_arg = &rd->random_state,
	    .trace = core_trace,
	};

	rd->random_state = daemon_random();
	rd->raft = raft_new(&c);
	return rd->raft != NULL ? 0 : EX_CONFIG;
}

/* In a new cluster the N-th address is node N's. */
static int
check_id(const struct raftd *rd, const struct wal_conf *flags)
{
	if (rd->opt.id <= flags->member_count)
		return 0;
	log_errorx("--id %" PRIu64 " has no address in --cluster, which "
		   "lists %u; the N-th address is node N's; a new node for a "
		   "cluster that there is needs --join",
	    rd->opt.id, flags->member_count);
	return EX_USAGE;
}

/* Recovered state -> conf, first entries if need be, and the core. */
static int
start(struct raftd *rd, struct wal_recovered *rec, const struct wal_conf *flags)
{
	uint64_t applied;
	int rc;

	if (rec->fresh) {
		if ((rc = check_id(rd, flags)) != 0)
			return rc;
		rd->bootstrapped = true;
		rec->conf = *flags;
		rec->conf.index = flags->member_count;
		rec->conf.members_index = flags->member_count;
		if ((rc = bootstrap(rd, &rec->conf)) != 0)
			return rc;
		rec->last = 0;
	} else if ((rc = check_identity(rd, rec, flags)) != 0) {
		return rc;
	}
	rd->conf = rec->conf;
	rd->conf_durable = rec->conf.index;
	/* Members are known as of an entry that is not there: the first write
	 * was torn.  Nobody was told of it, and all nodes write the same. */
	if (rec->last < rec->conf.index) {
		if ((rc = bootstrap_entries(rd, &rec->conf)) != 0)
			return rc;
		rec->hard_state = (struct raft_hard_state){
		    .term = 1, .commit = rec->conf.member_count};
		rec->next_conf_change = 0;
	}
	/* Entries up to `applied` hold no change that conf does not have. */
	applied = rec->hard_state.commit;
	if (rec->next_conf_change != 0 && rec->next_conf_change <= applied)
		applied = rec->next_conf_change - 1;
	rd->applied_at_start = applied;
	rlog_set_initial(rd->rlog, &rec->hard_state, &rec->conf.state);
	return core_open(rd, applied);
}

/* DATA/raft and its two directories, locked. */
static int
open_directories(struct raftd *rd)
{
	char dir[PATH_MAX - 16], wal[PATH_MAX], snap[PATH_MAX];
	int lock, rc;

	if (snprintf(dir, sizeof(dir), "%s/raft", rd->opt.data_dir) >=
	    (int)sizeof(dir)) {
		log_errorx("--data-dir is too long");
		return EX_USAGE;
	}
	(void)snprintf(wal, sizeof(wal), "%s/wal", dir);
	(void)snprintf(snap, sizeof(snap), "%s/snap", dir);
	if ((rc = file_make_dir(wal, 0700)) != 0 ||
	    (rc = file_make_dir(snap, 0700)) != 0 ||
	    (rc = file_lock(dir, "LOCK", &lock)) != 0)
		return rc;
	if (wal_disk_posix_open(&rd->disk, wal) != 0) {
		log_error("cannot open %s", wal);
		return EX_NOPERM;
	}
	if (wal_disk_posix_open(&rd->snap_disk, snap) != 0) {
		log_error("cannot open %s", snap);
		return EX_NOPERM;
	}
	return 0;
}

/* The log into rd->wal and rd->rlog. */
static int
open_log(struct raftd *rd, struct wal_recovered *rec)
{
	struct recovery r = {.began = mono_now(), .told = mono_now()};

	r.rlog = rd->rlog = rlog_open(rd->opt.cache_bytes);
	memset(rec, 0, sizeof(*rec));
	if (wal_open(&rd->wal, &rd->disk, rec, on_entry, &r) != ERR_OK)
		return EX_IOERR; /* logged by the wal */
	rlog_begin(rd->rlog, rd->wal, rec);
	if (rd->opt.segment_bytes != 0)
		wal_set_limits(rd->wal, rd->opt.segment_bytes,
		    rd->opt.segment_bytes < WAL_PREFILL_BYTES
			? rd->opt.segment_bytes
			: WAL_PREFILL_BYTES);
	return 0;
}

/* The files; do they and the log belong together? */
static int
open_snapshots(struct raftd *rd, const struct wal_recovered *rec)
{
	uint64_t first = rlog_first(rd->rlog);
	int rc;

	rd->identity = rec->identity;
	rd->snapio = snapio_open(rd->loop);
	if ((rc = snaps_open(rd, rec->mark.index)) != 0)
		return rc;
	if (rec->fresh && snaps_newest(rd->snaps) != NULL) {
		log_errorx("%s/raft/wal is empty but snap is not: the log was "
			   "lost, and with it what this node has promised; "
			   "remove this node from the cluster and add it again "
			   "with an empty directory",
		    rd->opt.data_dir);
		return EX_CONFIG;
	}
	if (first > 1 &&
	    snaps_between(rd->snaps, first - 1, rlog_last(rd->rlog)) == NULL)
		log_warnx("no snapshot here joins the log; one is fetched from "
			  "another node if kvd needs it first=%" PRIu64
			  " last=%" PRIu64,
		    first, rlog_last(rd->rlog));
	return 0;
}

/* Before anything is written: is there something already? */
static bool
is_new(const struct raftd *rd)
{
	char wal[PATH_MAX];
	struct stat st;

	return snprintf(wal, sizeof(wal), "%s/raft/wal", rd->opt.data_dir) <
		   (int)sizeof(wal) &&
	       stat(wal, &st) != 0;
}

int
store_open(struct raftd *rd, bool *fresh)
{
	struct wal_conf flags;
	int rc;

	if ((rc = cluster_parse(rd->opt.cluster, &flags)) != 0)
		return rc;
	if (is_new(rd) && rd->opt.join && rd->opt.id == 1 &&
	    flags.member_count == 1) {
		log_errorx("--join needs addresses of members in --cluster, "
			   "and the --id that this node is added under");
		return EX_USAGE;
	}
	if (is_new(rd) && !rd->opt.join && (rc = check_id(rd, &flags)) != 0)
		return rc;
	rd->recovered = mem_zalloc(1, sizeof(*rd->recovered));
	if ((rc = open_directories(rd)) != 0 ||
	    (rc = open_log(rd, rd->recovered)) != 0 ||
	    (rc = open_snapshots(rd, rd->recovered)) != 0)
		return rc;
	*fresh = rd->recovered->fresh;
	return 0;
}

int
store_join(struct raftd *rd, const struct wal_identity *identity,
    const struct wal_conf *conf)
{
	struct wal_recovered *rec = rd->recovered;

	assert(rec->fresh);
	rec->fresh = false;
	rec->identity = *identity;
	rec->conf = *conf;
	/* Of the log nothing is here; of the members everything. */
	rec->conf.index = 0;
	rec->conf.state = (struct raft_conf_state){0};
	if (wal_create(rd->wal, &rec->identity, &rec->conf) != ERR_OK)
		return EX_IOERR;
	log_info("joined cluster=%016" PRIx64 " members=%" PRIu32
		 " members_index=%" PRIu64,
	    identity->cluster, conf->member_count, conf->members_index);
	return 0;
}

int
store_start(struct raftd *rd)
{
	struct wal_conf flags;
	int rc;

	if ((rc = cluster_parse(rd->opt.cluster, &flags)) != 0 ||
	    (rc = start(rd, rd->recovered, &flags)) != 0)
		return rc;
	mem_free(rd->recovered);
	rd->recovered = NULL;
	log_info("log open first=%" PRIu64 " last=%" PRIu64 " term=%" PRIu64
		 " commit=%" PRIu64,
	    rlog_first(rd->rlog), rlog_last(rd->rlog), raft_term(rd->raft),
	    raft_commit(rd->raft));
	rd->writer = writer_open(rd->loop, rd->wal);
	rd->space = space_open(rd);
	return 0;
}

void
store_close(struct raftd *rd)
{
	if (rd->writer != NULL)
		writer_close(rd->writer); /* waits for the disk */
	mem_free(rd->recovered);
	snaps_close(rd);
	space_close(rd->space);
	raft_free(rd->raft);
	if (rd->rlog != NULL)
		rlog_close(rd->rlog);
	wal_close(rd->wal);
	if (rd->disk.arg != NULL)
		wal_disk_posix_close(&rd->disk);
}
