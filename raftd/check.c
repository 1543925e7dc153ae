/* raftd --check DIR: what is in a node's directory, to standard output; what is
 * wrong with it, with file and offset, in log lines.  Nothing is changed: what
 * recovery would write goes nowhere.  A node that runs meanwhile may seem to
 * have an unfinished write at the end. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/snapfile.h"
#include "raftd/wal_format.h"
#include "raftd/wal_peek.h"

/* ---- names, in order ---- */

#define NAMES_MAX 65536u

struct names {
	char (*v)[SNAP_NAME_BYTES];
	size_t count;
	const char *suffix;
};

static void
note_name(void *ctx, const char *name)
{
	struct names *n = ctx;
	size_t len = strlen(name), tail = strlen(n->suffix), at;

	if (len < tail || len >= SNAP_NAME_BYTES || n->count == NAMES_MAX ||
	    strcmp(name + len - tail, n->suffix) != 0)
		return;
	n->v = mem_resize(n->v, n->count + 1, sizeof(n->v[0]));
	for (at = n->count; at > 0 && strcmp(n->v[at - 1], name) > 0; at--)
		memcpy(n->v[at], n->v[at - 1], sizeof(n->v[0]));
	memcpy(n->v[at], name, len + 1);
	n->count++;
}

/* ---- the log ---- */

static void
print_segments(const struct wal_disk *d)
{
	struct names n = {.suffix = ".wal"};

	if (d->list(d->arg, note_name, &n) != 0)
		log_warn("check: cannot list");
	for (size_t i = 0; i < n.count; i++) {
		uint32_t sequence;
		uint64_t first;
		int fd = d->open(d->arg, n.v[i], false);

		if (!wal_name_parse(n.v[i], &sequence, &first))
			continue;
		printf("segment %" PRIu32 " first=%" PRIu64 " bytes=%" PRId64
		       " file=%s\n",
		    sequence, first, fd == -1 ? -1 : d->size(d->arg, fd),
		    n.v[i]);
		if (fd != -1)
			d->close(d->arg, fd);
	}
	mem_free(n.v);
}

static int
check_log(const struct wal_disk *d, struct wal_recovered *rec)
{
	struct wal *w = NULL;
	enum err e;

	print_segments(d);
	e = wal_open(&w, d, rec, NULL, NULL);
	if (e != ERR_OK) {
		printf("log damaged code=%s last_good=%" PRIu64 "\n",
		    err_word(e), rec->last);
		return EX_IOERR;
	}
	wal_close(w);
	if (rec->fresh) {
		printf("log empty\n");
		return 0;
	}
	printf("log cluster=%016" PRIx64 " node=%" PRIu64 " first=%" PRIu64
	       " last=%" PRIu64 " term=%" PRIu64 " vote=%" PRIu64
	       " commit=%" PRIu64 " members=%" PRIu32 " conf=%" PRIu64
	       " snapshot=%" PRIu64 " unfinished_bytes=%" PRIu64 "\n",
	    rec->identity.cluster, rec->identity.node, rec->first, rec->last,
	    rec->hard_state.term, rec->hard_state.vote, rec->hard_state.commit,
	    rec->conf.member_count, rec->conf.index, rec->mark.index,
	    rec->cut_bytes);
	return 0;
}

/* ---- the snapshots ---- */

static enum err
read_all(const struct wal_disk *d, const char *name, struct snap_meta *meta,
    struct snapfile_id *id)
{
	struct snapfile_reader *r;
	struct bytes chunk;
	bool last = false;
	enum err e = snapfile_open(&r, d, name, meta, id);

	if (e != ERR_OK)
		return e;
	while (e == ERR_OK && !last)
		e = snapfile_next(r, &chunk, &last);
	snapfile_close(r);
	return e;
}

/* rec: NULL if it is not known what the log has. */
static int
check_snapshots(const struct wal_disk *d, const struct wal_recovered *rec)
{
	struct names n = {.suffix = ".snap"};
	bool joins = rec == NULL || rec->first <= 1;
	int rc = 0;

	if (d->list(d->arg, note_name, &n) != 0)
		log_warn("check: cannot list");
	for (size_t i = 0; i < n.count; i++) {
		struct snap_meta m;
		struct snapfile_id id;
		uint64_t index = 0;
		enum err e = read_all(d, n.v[i], &m, &id);

		if (e == ERR_OK &&
		    (!snapfile_name_parse(n.v[i], &index) || index != id.index))
			e = ERR_CORRUPT;
		if (e != ERR_OK) {
			printf("snapshot file=%s damaged code=%s\n", n.v[i],
			    err_word(e));
			rc = EX_IOERR;
			continue;
		}
		printf("snapshot file=%s index=%" PRIu64 " term=%" PRIu64
		       " keys=%" PRIu64 " revision=%" PRIu64 " bytes=%" PRIu64
		       " ok\n",
		    n.v[i], id.index, id.term, m.head.keys, m.head.revision,
		    id.bytes);
		joins =
		    joins || (index + 1 >= rec->first && index <= rec->last);
	}
	mem_free(n.v);
	if (!joins) {
		printf("no snapshot joins the log first=%" PRIu64 "\n",
		    rec->first);
		rc = EX_IOERR;
	}
	return rc;
}

/* DIR is a node's directory, or the raft directory in it. */
int
check_directory(const char *dir)
{
	char wal[PATH_MAX], snap[PATH_MAX];
	struct wal_peek ro_wal, ro_snap;
	struct wal_disk d_wal, d_snap;
	struct wal_recovered rec = {0};
	struct stat st;
	const char *raft = "/raft";
	int rc;

	(void)snprintf(wal, sizeof(wal), "%s/wal", dir);
	if (stat(wal, &st) == 0)
		raft = "";
	(void)snprintf(wal, sizeof(wal), "%s%s/wal", dir, raft);
	(void)snprintf(snap, sizeof(snap), "%s%s/snap", dir, raft);
	if (wal_peek_open(&ro_wal, &d_wal, wal) != 0) {
		log_error("check: cannot open %s", wal);
		return EX_NOINPUT;
	}
	rc = check_log(&d_wal, &rec);
	if (wal_peek_open(&ro_snap, &d_snap, snap) == 0 &&
	    check_snapshots(&d_snap, rc == 0 ? &rec : NULL) != 0)
		rc = EX_IOERR;
	printf("%s\n", rc == 0 ? "ok" : "damaged");
	return rc;
}
