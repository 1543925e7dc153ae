/* The snapshot files of this node; see snap.h.
 *
 * The newest two that join the log are kept, so that one that turns out to be
 * damaged can be replaced by the other and the log, which is cut behind the
 * older one only.  A file ahead of what is published here does not count: the
 * log may have to grow up to it first.  It is there when a crash came between a
 * file from another node and its installation, and the newest of these is kept
 * as well, since it will be offered again.
 *
 * Marks, removals and cuts are made by snaps_run() from what files and log are
 * there, whenever a file came or was checked: so what a crash kept from being
 * done is done after the start.  Files are renamed and removed by the helper
 * thread. */
#include "raftd/snap.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/transfer.h"

#define FILES_KEPT 2u
#define CHECK_CHUNKS 8u /* read by one slice of a check */

struct snaps {
	struct raftd *rd;
	struct snap *newest; /* descending by index */
	uint64_t marked;     /* the log's last mark */
	uint64_t marking;    /* the last one that was given to the writer */
	unsigned checks;     /* under way */
	uint64_t due;    /* snaps_run() has work once this index is published */
	uint64_t cut_to; /* how far the log could be cut the last time, */
	uint64_t cut_at; /* and was allowed to be: others need the rest */
	char part[SNAP_NAME_BYTES];
};

/* ---- work for the helper thread ---- */

/* Rename `from` to `to`, or remove it. */
struct tidy_job {
	struct snapio_job job; /* first */
	const struct wal_disk *disk;
	char from[SNAP_NAME_BYTES];
	char to[SNAP_NAME_BYTES + 16]; /* "": remove */
};

static bool
tidy_run(struct snapio_job *job)
{
	struct tidy_job *j = (struct tidy_job *)job;
	const struct wal_disk *d = j->disk;
	int rc = j->to[0] != '\0' ? d->rename(d->arg, j->from, j->to)
				  : d->remove(d->arg, j->from);

	if (rc != 0 || d->sync_dir(d->arg) != 0)
		log_warn("snapshot: cannot %s file=%s",
		    j->to[0] != '\0' ? "rename" : "remove", j->from);
	return false;
}

static void
tidy_done(struct snapio_job *job, bool cancelled)
{
	(void)cancelled; /* found again at the next start */
	mem_free(job);
}

static void
tidy(struct raftd *rd, const char *from, const char *suffix)
{
	struct tidy_job *j = mem_zalloc(1, sizeof(*j));

	j->job.run = tidy_run;
	j->job.done = tidy_done;
	j->disk = &rd->snap_disk;
	(void)snprintf(j->from, sizeof(j->from), "%s", from);
	if (suffix != NULL)
		(void)snprintf(j->to, sizeof(j->to), "%s%s", from, suffix);
	snapio_submit(rd->snapio, &j->job);
}

struct cut_job {
	struct snapio_job job; /* first */
	struct wal_removed *removed;
};

static bool
cut_run(struct snapio_job *job)
{
	wal_remove(&((struct cut_job *)job)->removed);
	return false;
}

static void
cut_done(struct snapio_job *job, bool cancelled)
{
	struct cut_job *j = (struct cut_job *)job;

	(void)cancelled;
	if (j->removed != NULL)
		wal_remove(&j->removed); /* their descriptors at least */
	mem_free(j);
}

/* ---- checks ---- */

struct check_job {
	struct snapio_job job; /* first */
	struct raftd *rd;
	const struct wal_disk *disk;
	struct snapfile_reader *reader;
	uint64_t index;
	enum err err;
};

static bool
check_run(struct snapio_job *job)
{
	struct check_job *j = (struct check_job *)job;
	bool last = false;

	if (j->reader == NULL) {
		char name[SNAP_NAME_BYTES];
		struct snap_meta meta;
		struct snapfile_id id;

		snapfile_name(j->index, name);
		j->err = snapfile_open(&j->reader, j->disk, name, &meta, &id);
	}
	for (unsigned i = 0; i < CHECK_CHUNKS && j->err == ERR_OK && !last;
	     i++) {
		struct bytes chunk;

		j->err = snapfile_next(j->reader, &chunk, &last);
	}
	return j->err == ERR_OK && !last;
}

static struct snap *
find(const struct snaps *ss, uint64_t index)
{
	for (struct snap *s = ss->newest; s != NULL; s = s->next)
		if (s->meta.head.index == index)
			return s;
	return NULL;
}

static void
check_done(struct snapio_job *job, bool cancelled)
{
	struct check_job *j = (struct check_job *)job;
	struct snaps *ss = j->rd->snaps;
	struct snap *s;

	snapfile_close(j->reader);
	ss->checks--;
	ss->due = 0;
	if (!cancelled && (s = find(ss, j->index)) != NULL) {
		s->checking = false;
		if (j->err == ERR_CORRUPT)
			snaps_damaged(ss, j->index);
		else
			s->checked |= j->err == ERR_OK;
	}
	mem_free(j);
}

static void
check(struct snaps *ss, struct snap *s)
{
	struct check_job *j;

	if (s->checking)
		return;
	s->checking = true;
	ss->checks++;
	j = mem_zalloc(1, sizeof(*j));
	j->job.run = check_run;
	j->job.done = check_done;
	j->rd = ss->rd;
	j->disk = &ss->rd->snap_disk;
	j->index = s->meta.head.index;
	snapio_submit(ss->rd->snapio, &j->job);
}

void
snaps_check_all(struct snaps *ss)
{
	for (struct snap *s = ss->newest; s != NULL; s = s->next)
		check(ss, s);
}

void
snaps_suspect(struct snaps *ss, uint64_t index)
{
	struct snap *s = find(ss, index);

	if (s != NULL)
		check(ss, s);
}

/* ---- the list ---- */

static void
insert(struct snaps *ss, struct snap *s)
{
	struct snap **p = &ss->newest;

	while (*p != NULL && (*p)->meta.head.index > s->meta.head.index)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
}

static void
forget(struct snaps *ss, struct snap *s)
{
	struct snap **p = &ss->newest;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	mem_free(s);
}

const struct snap *
snaps_newest(const struct snaps *ss)
{
	return ss->newest;
}

const struct snap *
snaps_find(const struct snaps *ss, uint64_t index)
{
	return find(ss, index);
}

const struct snap *
snaps_between(const struct snaps *ss, uint64_t min, uint64_t max)
{
	for (const struct snap *s = ss->newest; s != NULL; s = s->next)
		if (s->meta.head.index >= min && s->meta.head.index <= max)
			return s;
	return NULL;
}

void
snaps_keep_part(struct snaps *ss, const char *name)
{
	if (ss->part[0] != '\0' && strcmp(ss->part, name) != 0)
		tidy(ss->rd, ss->part, NULL);
	(void)snprintf(ss->part, sizeof(ss->part), "%s", name);
}

void
snaps_add(struct snaps *ss, const struct snap_meta *meta,
    const struct snapfile_id *id)
{
	struct snap *s = find(ss, id->index);

	if (s == NULL) {
		s = mem_zalloc(1, sizeof(*s));
		s->meta.head.index = id->index;
		insert(ss, s);
	}
	s->meta = *meta;
	s->id = *id;
	s->checked = true;
	ss->due = 0;
	ss->part[0] = '\0';
	log_info("snapshot file index=%" PRIu64 " term=%" PRIu64
		 " keys=%" PRIu64 " bytes=%" PRIu64,
	    id->index, id->term, meta->head.keys, id->bytes);
}

void
snaps_damaged(struct snaps *ss, uint64_t index)
{
	struct snap *s = find(ss, index);
	char name[SNAP_NAME_BYTES];

	if (s == NULL)
		return;
	snapfile_name(index, name);
	forget(ss, s);
	log_errorx("snapshot: a damaged file is set aside as %s.damaged; "
		   "%s index=%" PRIu64,
	    name,
	    ss->newest != NULL ? "the one before takes its place"
			       : "a new one is taken or fetched when needed",
	    index);
	tidy(ss->rd, name, ".damaged");
	snaps_publish(ss);
}

void
snaps_publish(struct snaps *ss)
{
	struct raftd *rd = ss->rd;
	const struct snap *s = snaps_between(
	    ss, rlog_first(rd->rlog) - 1, feed_published(rd->feed));
	struct raft_snapshot rs;
	struct buf data = {0};

	if (s == NULL) {
		rlog_set_snapshot(rd->rlog, NULL);
		return;
	}
	snap_meta_encode(&s->meta, &data);
	rs = (struct raft_snapshot){.index = s->meta.head.index,
	    .term = s->meta.head.term,
	    .conf = s->meta.conf.state,
	    .data = blob_new(data.data, data.len)};
	rlog_set_snapshot(rd->rlog, &rs);
	blob_unref(&rs.data);
	buf_free(&data);
}

/* ---- what is not needed any more ---- */

/* Can it and the log make up the present state? */
static bool
joins(const struct snaps *ss, const struct snap *s)
{
	return s->meta.head.index + 1 >= rlog_first(ss->rd->rlog) &&
	       s->meta.head.index <= feed_published(ss->rd->feed);
}

/* s or the next older one that does. */
static const struct snap *
next_joining(const struct snaps *ss, const struct snap *s)
{
	while (s != NULL && !joins(ss, s))
		s = s->next;
	return s;
}

/* All but the newest two that join the log and the newest one ahead of it.  If
 * none joins, none is removed: whatever is there may still be of use. */
static void
remove_old(struct snaps *ss)
{
	uint64_t published = feed_published(ss->rd->feed);
	struct snap *s, *next;
	unsigned ahead = 0, kept = 0;
	char name[SNAP_NAME_BYTES];

	if (next_joining(ss, ss->newest) == NULL)
		return;
	for (s = ss->newest; s != NULL; s = next) {
		next = s->next;
		if (s->meta.head.index > published && ahead++ == 0)
			continue;
		if (joins(ss, s) && kept++ < FILES_KEPT)
			continue;
		snapfile_name(s->meta.head.index, name);
		log_info("snapshot removed index=%" PRIu64, s->meta.head.index);
		tidy(ss->rd, name, NULL);
		forget(ss, s);
	}
}

/* The log in front of the older of the two, but for log_keep_bytes and for what
 * other nodes need that get a snapshot, or have just got one.  Not before every
 * byte of both was looked at: what goes cannot be had again. */
static void
cut_log(struct snaps *ss)
{
	struct raftd *rd = ss->rd;
	const struct snap *newer = next_joining(ss, ss->newest);
	const struct snap *older =
	    newer == NULL ? NULL : next_joining(ss, newer->next);
	struct cut_job *j;
	uint64_t index;
	uint32_t segment;

	if (older == NULL || !newer->checked || !older->checked)
		return;
	index = older->meta.head.index;
	if (index > ss->marked)
		index = ss->marked;
	ss->cut_to = index;
	index = ss->cut_at = transfers_oldest(rd->transfers, index);
	if (index < rlog_first(rd->rlog))
		return;
	segment = wal_cut_before(rd->wal, index, rd->opt.log_keep_bytes);
	if (segment == 0)
		return;
	rlog_cut(rd->rlog, segment);
	j = mem_zalloc(1, sizeof(*j));
	j->job.run = cut_run;
	j->job.done = cut_done;
	j->removed = wal_cut(rd->wal, segment);
	log_info("log cut first=%" PRIu64 " last=%" PRIu64,
	    rlog_first(rd->rlog), rlog_last(rd->rlog));
	snapio_submit(rd->snapio, &j->job);
}

bool
snaps_marking(struct snaps *ss, uint64_t index)
{
	if (index <= ss->marking)
		return false;
	ss->marking = index;
	return true;
}

/* The log gets a mark for the newest one, if it has none. */
static void
mark(struct snaps *ss)
{
	const struct snap *s = next_joining(ss, ss->newest);
	struct writer_job *job;
	uint64_t term = 0;

	if (s == NULL || !s->checked || s->meta.head.index <= ss->marking)
		return;
	if (rlog_term(ss->rd->rlog, s->id.index, &term) != RAFT_OK ||
	    term != s->id.term) {
		log_errorx("snapshot does not fit the log, it is set aside "
			   "index=%" PRIu64 " term=%" PRIu64 " ours=%" PRIu64,
		    s->id.index, s->id.term, term);
		snaps_damaged(ss, s->id.index);
		return;
	}
	(void)snaps_marking(ss, s->id.index);
	job = mem_zalloc(1, sizeof(*job));
	job->mark = (struct wal_mark){.index = s->id.index, .term = s->id.term};
	writer_submit(ss->rd->writer, &job);
}

static void
settle(struct snaps *ss)
{
	remove_old(ss);
	cut_log(ss);
	snaps_publish(ss);
}

void
snaps_marked(struct snaps *ss, uint64_t index)
{
	assert(index >= ss->marked);
	ss->marked = index;
	settle(ss);
}

void
snaps_run(struct snaps *ss)
{
	uint64_t published = feed_published(ss->rd->feed);

	if (ss->checks > 0)
		return;
	if (published < ss->due) {
		if (transfers_oldest(ss->rd->transfers, ss->cut_to) >
		    ss->cut_at)
			cut_log(ss); /* somebody has got on */
		return;
	}
	mark(ss); /* snaps_marked() settles once more */
	settle(ss);
	/* Then once the oldest of those ahead has been reached. */
	ss->due = UINT64_MAX;
	for (const struct snap *s = ss->newest;
	     s != NULL && s->meta.head.index > published; s = s->next)
		ss->due = s->meta.head.index;
}

/* ---- start ---- */

static void
note_file(void *ctx, const char *name)
{
	struct snaps *ss = ctx;
	size_t len = strlen(name);
	uint64_t index, checksum;
	struct snap *s;

	if (snapfile_name_parse(name, &index)) {
		s = mem_zalloc(1, sizeof(*s));
		s->meta.head.index = index;
		insert(ss, s);
	} else if (len > 5 && len < SNAP_NAME_BYTES &&
		   strcmp(name + len - 5, ".part") == 0) {
		/* One at most is gone on with: the newest. */
		bool resumable = snapfile_part_parse(name, &index, &checksum);

		if (!resumable || strcmp(name, ss->part) < 0) {
			tidy(ss->rd, name, NULL);
			return;
		}
		if (ss->part[0] != '\0')
			tidy(ss->rd, ss->part, NULL);
		memcpy(ss->part, name, len + 1);
	}
}

/* Header and end of a file that was found.  False: it is not used. */
static bool
look_at(struct snaps *ss, struct snap *s)
{
	struct snapfile_reader *r;
	struct snap_meta meta;
	char name[SNAP_NAME_BYTES];
	uint64_t index = s->meta.head.index;
	uint64_t ours = ss->rd->identity.cluster; /* 0: there is no log */
	enum err e;

	snapfile_name(index, name);
	e = snapfile_open(&r, &ss->rd->snap_disk, name, &meta, &s->id);
	if (e == ERR_OK) {
		snapfile_close(r);
		s->meta = meta;
		if (ours != 0 && meta.identity.cluster != ours) {
			log_errorx("snapshot of another cluster is not used; "
				   "remove it file=%s cluster=%016" PRIx64,
			    name, meta.identity.cluster);
			return false;
		}
		if (meta.head.index == index)
			return true;
		log_errorx("snapshot: damaged (name and header differ), it is "
			   "not used file=%s",
		    name);
		e = ERR_CORRUPT;
	}
	if (e == ERR_CORRUPT) {
		log_errorx("snapshot: a damaged file is set aside as "
			   "%s.damaged index=%" PRIu64,
		    name, index);
		tidy(ss->rd, name, ".damaged");
	}
	return false;
}

int
snaps_open(struct raftd *rd, uint64_t marked)
{
	struct snaps *ss = mem_zalloc(1, sizeof(*ss));
	const struct wal_disk *d = &rd->snap_disk;
	struct snap *s, *next;

	rd->snaps = ss;
	ss->rd = rd;
	ss->marked = ss->marking = marked;
	if (d->list(d->arg, note_file, ss) != 0) {
		log_error("snapshot: cannot list the directory");
		return EX_IOERR;
	}
	for (s = ss->newest; s != NULL; s = next) {
		next = s->next;
		if (!look_at(ss, s))
			forget(ss, s);
	}
	if (ss->newest != NULL)
		log_info("snapshot found index=%" PRIu64 " term=%" PRIu64
			 " bytes=%" PRIu64,
		    ss->newest->id.index, ss->newest->id.term,
		    ss->newest->id.bytes);
	return 0;
}

void
snaps_close(struct raftd *rd)
{
	if (rd->snaps == NULL)
		return;
	while (rd->snaps->newest != NULL)
		forget(rd->snaps, rd->snaps->newest);
	mem_free(rd->snaps);
	rd->snaps = NULL;
}
