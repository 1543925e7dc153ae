/* raftd --force-new-cluster DIR: when the majority of a cluster is lost for
 * good, a survivor's data become a cluster of one node.
 *
 * The old log is only read.  A new one is written beside it, with all entries
 * that this node has, committed or not: what the lost nodes acknowledged may be
 * among them.  Changes follow that remove all others, and everything counts as
 * committed.  The cluster id stays; the incarnation is a new one, so that the
 * old members, should they come back, refuse this node and are refused by it.
 * Then the two directories change places, in one step; the old log is kept. */
#include "raftd/force.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/context.h"
#include "raftd/raftd.h"
#include "raftd/rlog.h"
#include "raftd/wal_peek.h"

#define SLICE_BYTES (4u << 20)
#define CACHE_BYTES (1u << 20)
#define CHANGES_MAX (NODES_MAX + RAFT_CONF_OPS_MAX + 2u)

struct force {
	char raft[PATH_MAX - 64]; /* the directory */
	char wal[PATH_MAX], made[PATH_MAX];
	bool dry;
	struct wal_peek peek;
	struct wal_disk old_disk, new_disk;
	struct wal *old, *new;
	struct rlog *rlog;
	struct wal_recovered rec;
	struct wal_member self;
	struct raft_ids others; /* ever members, as far as is known */
	uint64_t id_max;
	uint64_t term, last; /* of the new log */
	uint64_t incarnation;
};

/* ---- what is there ---- */

static void
on_entry(void *arg, const struct raft_entry *e, struct wal_position at)
{
	rlog_recover(arg, e, at);
}

static void
note_other(struct force *f, uint64_t id)
{
	if (id > f->id_max && id <= NODE_ID_MAX)
		f->id_max = id;
	if (id == 0 || id == f->self.id || cluster_ids_have(&f->others, id) ||
	    f->others.count == RAFT_IDS_MAX)
		return;
	f->others.id[f->others.count++] = id;
}

/* Members of changes that this node has not applied. */
static void
note_change(struct force *f, const struct raft_entry *e)
{
	struct raft_conf_change cc;

	if (e->type == RAFT_ENTRY_NORMAL || e->index <= f->rec.conf.index ||
	    raft_conf_change_decode(e->type, blob_bytes(e->data), &cc) !=
		RAFT_OK)
		return;
	for (uint32_t i = 0; i < cc.count; i++)
		note_other(f, cc.ops[i].id);
}

static int
read_old(struct force *f)
{
	const struct wal_member *mine;

	if (wal_peek_open(&f->peek, &f->old_disk, f->wal) != 0) {
		log_error("cannot open %s: give a node's --data-dir", f->wal);
		return EX_NOINPUT;
	}
	f->rlog = rlog_open(CACHE_BYTES);
	if (wal_open(&f->old, &f->old_disk, &f->rec, on_entry, f->rlog) !=
	    ERR_OK)
		return EX_IOERR; /* logged */
	if (f->rec.fresh) {
		log_errorx(
		    "%s is empty: there is nothing to go on with", f->wal);
		return EX_CONFIG;
	}
	rlog_begin(f->rlog, f->old, &f->rec);
	mine = cluster_member(&f->rec.conf, f->rec.identity.node);
	if (mine == NULL) {
		log_errorx("node %" PRIu64 " was removed from its cluster: "
			   "take a node that is a member",
		    f->rec.identity.node);
		return EX_CONFIG;
	}
	f->self = *mine;
	f->self.incarnation = f->incarnation;
	f->self.promote = false;
	f->self.replaces = 0;
	f->id_max = f->rec.conf.id_max;
	for (uint32_t i = 0; i < f->rec.conf.member_count; i++)
		note_other(f, f->rec.conf.members[i].id);
	return 0;
}

/* Each entry of the old log, in slices, to the new one; without a new one only
 * to what is noted. */
static int
copy_entries(struct force *f)
{
	uint64_t lo = f->rec.first;

	while (lo <= f->rec.last) {
		struct raft_entry *e = NULL;
		struct wal_position *at;
		struct wal_batch_item item = {0};
		enum err err = ERR_OK;
		size_t n = 0;

		if (rlog_entries(f->rlog, lo, f->rec.last + 1, SLICE_BYTES, &e,
			&n) != RAFT_OK)
			return EX_IOERR;
		for (size_t i = 0; i < n; i++)
			note_change(f, &e[i]);
		item.entries = e;
		item.entry_count = n;
		at = mem_alloc(n * sizeof(*at));
		if (f->new != NULL)
			err = wal_write(f->new, &item, 1, false, at);
		lo += n;
		raft_entries_free(e, n);
		mem_free(at);
		if (err != ERR_OK)
			return EX_IOERR;
	}
	return 0;
}

static void
print(const struct force *f)
{
	const struct wal_recovered *r = &f->rec;

	printf("cluster %016" PRIx64 ", node %" PRIu64 " at %s\n",
	    r->identity.cluster, f->self.id, f->self.address);
	printf("log: first=%" PRIu64 " last=%" PRIu64 " commit=%" PRIu64
	       " term=%" PRIu64 " snapshot=%" PRIu64 "\n",
	    r->first, r->last, r->hard_state.commit, r->hard_state.term,
	    r->mark.index);
	for (uint32_t i = 0; i < r->conf.member_count; i++)
		if (r->conf.members[i].id != f->self.id)
			printf("forgotten: node %" PRIu64 " at %s\n",
			    r->conf.members[i].id, r->conf.members[i].address);
	printf(
	    "kept: all entries, also the %" PRIu64 " that this node does "
	    "not know to be committed\n"
	    "lost: writes that others acknowledged and that never reached "
	    "this node; compare \"last\" with the other survivors', and take "
	    "the one with the highest term, then the highest last\n",
	    r->last - r->hard_state.commit);
}

/* ---- the new log ---- */

static int
clear_directory(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;

	if (d == NULL)
		return -1;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' &&
		    unlinkat(dirfd(d), e->d_name, 0) != 0)
			log_warn("cannot remove %s/%s", dir, e->d_name);
	return closedir(d);
}

static int
create_new(struct force *f)
{
	struct wal_identity id = f->rec.identity;
	struct wal_mark mark = {.index = f->rec.first - 1,
	    .term = f->rec.before_term,
	    .replaces = true};
	struct wal_batch_item item = {.mark = &mark, .conf = &f->rec.conf};
	struct wal_recovered fresh;
	int rc;

	if ((rc = file_make_dir(f->made, 0700)) != 0)
		return rc;
	if (clear_directory(f->made) != 0 ||
	    wal_disk_posix_open(&f->new_disk, f->made) != 0) {
		log_error("cannot open %s", f->made);
		return EX_NOPERM;
	}
	id.incarnation = f->incarnation;
	if (wal_open(&f->new, &f->new_disk, &fresh, NULL, NULL) != ERR_OK)
		return EX_IOERR;
	if (!fresh.fresh) {
		log_errorx("%s is not empty: remove it", f->made);
		return EX_CONFIG;
	}
	if (wal_create(f->new, &id, &f->rec.conf) != ERR_OK ||
	    (mark.index > 0 &&
		wal_write(f->new, &item, 1, false, NULL) != ERR_OK))
		return EX_IOERR;
	return 0;
}

static struct raft_entry
change_entry(struct force *f, enum raft_conf_op op, uint64_t id)
{
	struct raft_conf_change cc = {.v1 = true, .count = 1};
	struct context c = {.count = 1};
	struct raft_entry e;
	struct buf bytes = {0};

	cc.ops[0] = (struct raft_conf_step){.op = op, .id = id};
	if (op == RAFT_CONF_ADD_VOTER) {
		c.members[0] = f->self;
		context_encode(&c, &bytes);
		cc.context = buf_bytes(&bytes);
	}
	e = (struct raft_entry){.term = f->term,
	    .index = ++f->last,
	    .type = RAFT_ENTRY_CONF_CHANGE,
	    .data = raft_conf_change_encode(&cc)};
	buf_free(&bytes);
	return e;
}

/* Out of a joint configuration, if it is one; this node a voter; the others
 * out.  What is so already, changes nothing. */
static size_t
make_changes(struct force *f, struct raft_entry e[CHANGES_MAX])
{
	size_t n = 0;

	f->term = f->rec.hard_state.term + 1;
	f->last = f->rec.last + 1;
	e[n++] = (struct raft_entry){.term = f->term,
	    .index = f->last,
	    .type = RAFT_ENTRY_CONF_CHANGE_V2};
	e[n++] = change_entry(f, RAFT_CONF_ADD_VOTER, f->self.id);
	for (uint32_t i = 0; i < f->others.count; i++)
		e[n++] = change_entry(f, RAFT_CONF_REMOVE, f->others.id[i]);
	return n;
}

static int
write_changes(struct force *f)
{
	struct raft_entry e[CHANGES_MAX];
	struct wal_position at[CHANGES_MAX];
	size_t n = make_changes(f, e);
	struct raft_hard_state hs = {
	    .term = f->term, .vote = f->self.id, .commit = f->last};
	struct wal_conf conf = {.index = f->last,
	    .state.voters = {.count = 1, .id = {f->self.id}},
	    .members_index = f->last,
	    .id_max = f->id_max,
	    .member_count = 1,
	    .members = {f->self}};
	/* What is in a snapshot stays marked. */
	struct wal_mark mark = f->rec.mark;
	struct wal_batch_item item[2] = {
	    {.entries = e, .entry_count = n, .hard_state = &hs, .conf = &conf},
	    {.mark = &mark}};
	enum err err;

	mark.replaces = false;
	err = wal_write(
	    f->new, item, mark.index >= f->rec.first ? 2 : 1, true, at);
	for (size_t i = 0; i < n; i++)
		blob_unref(&e[i].data);
	return err == ERR_OK ? 0 : EX_IOERR;
}

/* Who runs this may be root, and raftd another user. */
static int
give_to_owner(const struct force *f)
{
	struct stat st;
	const struct dirent *e;
	DIR *d;

	if (stat(f->wal, &st) != 0 || chown(f->made, st.st_uid, st.st_gid) != 0)
		return -1;
	if ((d = opendir(f->made)) == NULL)
		return -1;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' &&
		    fchownat(dirfd(d), e->d_name, st.st_uid, st.st_gid, 0) != 0)
			break;
	(void)closedir(d); /* only read */
	return e == NULL ? 0 : -1;
}

/* The new log takes the place of the old one, which gets a name of its own. */
static int
change_places(const struct force *f)
{
	char kept[PATH_MAX];

	(void)snprintf(kept, sizeof(kept), "%s/wal.%016" PRIx64, f->raft,
	    f->rec.identity.incarnation);
	if (give_to_owner(f) != 0) {
		log_error("cannot give %s to the owner of %s", f->made, f->wal);
		return EX_NOPERM;
	}
	if (renameat2(AT_FDCWD, f->made, AT_FDCWD, f->wal, RENAME_EXCHANGE) !=
	    0) {
		log_error("cannot exchange %s and %s", f->made, f->wal);
		return EX_IOERR;
	}
	if (rename(f->made, kept) != 0 || file_sync_dir(f->raft) != 0) {
		log_error("cannot rename %s to %s, which is the old log",
		    f->made, kept);
		return EX_IOERR;
	}
	printf("done: a cluster of node %" PRIu64 " alone, log up to %" PRIu64
	       "; the old log is kept in %s\n"
	       "next: see that no old member runs any more; remove the node's "
	       "kv directory (it is rebuilt); start this node as before; then "
	       "add new members, with new ids, --join and empty directories; "
	       "the next free id is %" PRIu64 "\n",
	    f->self.id, f->last, kept, f->id_max + 1);
	return 0;
}

static int
run(struct force *f)
{
	int lock, rc;

	if ((rc = file_lock(f->raft, "LOCK", &lock)) != 0 ||
	    (rc = read_old(f)) != 0)
		return rc;
	if (f->dry) {
		print(f);
		return 0;
	}
	if ((rc = create_new(f)) != 0 || (rc = copy_entries(f)) != 0 ||
	    (rc = write_changes(f)) != 0)
		return rc;
	print(f);
	wal_close(f->new);
	f->new = NULL;
	return change_places(f);
}

int
force_new_cluster(const char *dir, bool dry_run)
{
	struct force *f = mem_zalloc(1, sizeof(*f));
	struct stat st;
	int rc;

	f->dry = dry_run;
	f->incarnation = daemon_random();
	/* DIR is a node's directory, or the raft directory in it. */
	(void)snprintf(f->wal, sizeof(f->wal), "%s/wal", dir);
	if (snprintf(f->raft, sizeof(f->raft), "%s%s", dir,
		stat(f->wal, &st) == 0 ? "" : "/raft") >=
	    (int)sizeof(f->raft)) {
		log_errorx("the directory's name is too long");
		mem_free(f);
		return EX_USAGE;
	}
	(void)snprintf(f->wal, sizeof(f->wal), "%s/wal", f->raft);
	(void)snprintf(f->made, sizeof(f->made), "%s/wal.new", f->raft);
	if (stat(f->wal, &st) == 0) {
		rc = run(f);
	} else {
		log_error("no log in %s: give a node's --data-dir", f->wal);
		rc = EX_NOINPUT;
	}
	wal_close(f->new);
	if (f->rlog != NULL)
		rlog_close(f->rlog);
	wal_close(f->old);
	mem_free(f);
	return rc;
}
