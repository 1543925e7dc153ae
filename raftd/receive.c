/* Receiving a snapshot file from another node; see transfer.h.
 *
 * Pieces go to the helper thread as they come; so many may be under way as the
 * sender's window has.  When the last one is written, the whole file is checked
 * and gets its name; only then does the core hear of it.  What was received is
 * kept when the connection ends, and gone on with if the same file is offered
 * again, even after a restart.
 *
 * With each piece there must be room for all that is still to come: others use
 * the disk meanwhile, and a file that is received must not use up what the log
 * needs (space.c).  Else it is refused, and what there is of it removed; it is
 * offered again. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/rmsg.h"
#include "raftd/snap.h"
#include "raftd/snapmsg.h"
#include "raftd/transfer.h"

#define UNWRITTEN_BYTES_MAX (16u * SNAP_PIECE_BYTES)
#define CHECK_CHUNKS 8u /* read by one slice of the check */
#define ASK_MS 3000u    /* between two nodes that are asked */

enum part_step { PART_OPEN, PART_WRITE, PART_FINISH };

/* A file on its way; freed with its last job once nobody receives it. */
struct part {
	struct raftd *rd;
	struct receiving *r; /* NULL: dropped */
	atomic_bool dropped; /* as the helper thread sees it */
	struct snapfile_id id;
	unsigned jobs; /* under way */
	bool opened;
	uint64_t next;    /* offset of the next piece */
	uint64_t written; /* as told by the helper thread */
	/* The helper thread's. */
	char name[SNAP_NAME_BYTES];
	int fd; /* -1: not open */
	uint64_t size, unsynced;
	struct snapfile_reader *reader;
	struct snap_meta meta;
	enum err err;
};

struct part_job {
	struct snapio_job job; /* first */
	struct part *part;
	enum part_step step;
	uint64_t offset;
	struct buf data;
	enum err err;
};

struct receiving {
	struct raftd *rd;
	struct link *link; /* NULL: no part, or it broke */
	uint32_t number;   /* of the last offer on link */
	struct part *part; /* NULL: nothing is received */
	bool installs;     /* msg is for the core */
	bool lacks_space;  /* as was said; until a file was received */
	struct raft_msg msg;
	struct mono asked; /* when last, and whom */
	uint32_t asked_at;
};

/* ---- the helper thread ---- */

static enum err
failed(const struct part *p, const char *op)
{
	bool full = errno == ENOSPC || errno == EDQUOT;

	log_warn("snapshot: receiving failed op=%s file=%s", op, p->name);
	return full ? ERR_NO_SPACE : ERR_IO;
}

/* What is there of it is gone on with. */
static enum err
open_part(struct part *p)
{
	const struct wal_disk *d = &p->rd->snap_disk;
	int64_t size;

	p->fd = d->open(d->arg, p->name, false);
	size = p->fd == -1 ? -1 : d->size(d->arg, p->fd);
	if (size >= 0 && (uint64_t)size <= p->id.bytes) {
		p->size = (uint64_t)size;
		return ERR_OK;
	}
	if (p->fd != -1)
		d->close(d->arg, p->fd);
	p->fd = d->open(d->arg, p->name, true);
	return p->fd != -1 ? ERR_OK : failed(p, "create");
}

static enum err
write_piece(struct part *p, const struct part_job *j)
{
	const struct wal_disk *d = &p->rd->snap_disk;

	if (d->write(d->arg, p->fd, j->data.data, j->data.len,
		(off_t)j->offset) != 0)
		return failed(p, "write");
	p->unsynced += j->data.len;
	if (p->unsynced < SNAP_FLUSH_BYTES)
		return ERR_OK;
	p->unsynced = 0;
	return d->sync(d->arg, p->fd) == 0 ? ERR_OK : failed(p, "sync");
}

static enum err
give_name(struct part *p)
{
	const struct wal_disk *d = &p->rd->snap_disk;
	char name[SNAP_NAME_BYTES];

	snapfile_name(p->id.index, name);
	if (d->rename(d->arg, p->name, name) != 0)
		return failed(p, "rename");
	return d->sync_dir(d->arg) == 0 ? ERR_OK : failed(p, "sync_dir");
}

/* A slice of the check of the whole file; *again: there is more of it. */
static enum err
finish_slice(struct part *p, bool *again)
{
	const struct wal_disk *d = &p->rd->snap_disk;
	bool last = false;
	enum err e = ERR_OK;

	if (p->reader == NULL) {
		struct snapfile_id id;

		if (d->sync(d->arg, p->fd) != 0)
			return failed(p, "sync");
		e = snapfile_open(&p->reader, d, p->name, &p->meta, &id);
		if (e == ERR_OK && !snapfile_id_equal(&id, &p->id))
			e = ERR_CORRUPT;
	}
	for (unsigned i = 0; i < CHECK_CHUNKS && e == ERR_OK && !last; i++) {
		struct bytes chunk;

		e = snapfile_next(p->reader, &chunk, &last);
	}
	*again = e == ERR_OK && !last;
	return e == ERR_OK && last ? give_name(p) : e;
}

static bool
part_job_run(struct snapio_job *job)
{
	struct part_job *j = (struct part_job *)job;
	struct part *p = j->part;
	const struct wal_disk *d = &p->rd->snap_disk;
	bool again = false;

	/* The name may be that of another attempt by now. */
	if (atomic_load(&p->dropped))
		return false;
	if (p->err == ERR_OK) {
		switch (j->step) {
		case PART_OPEN:
			p->err = open_part(p);
			break;
		case PART_WRITE:
			p->err = write_piece(p, j);
			break;
		case PART_FINISH:
			p->err = finish_slice(p, &again);
			break;
		}
		/* It begins anew next time, whatever the error: what could not
		 * be synced may read well until the power goes. */
		if (p->err != ERR_OK && p->fd != -1 &&
		    d->remove(d->arg, p->name) != 0 && errno != ENOENT)
			log_warn("snapshot: cannot remove file=%s", p->name);
	}
	j->err = p->err;
	return again;
}

/* ---- the part ---- */

static void
part_free(struct part *p)
{
	const struct wal_disk *d = &p->rd->snap_disk;

	assert(p->jobs == 0);
	snapfile_close(p->reader);
	if (p->fd != -1)
		d->close(d->arg, p->fd);
	mem_free(p);
}

static void
part_drop(struct receiving *r)
{
	struct part *p = r->part;

	r->part = NULL;
	r->link = NULL;
	if (p == NULL)
		return;
	p->r = NULL;
	atomic_store(&p->dropped, true);
	if (p->jobs == 0)
		part_free(p);
}

static void part_job_done(struct snapio_job *job, bool cancelled);

static void
part_submit(
    struct part *p, enum part_step step, uint64_t offset, struct bytes data)
{
	struct part_job *j = mem_zalloc(1, sizeof(*j));

	j->job.run = part_job_run;
	j->job.done = part_job_done;
	j->part = p;
	j->step = step;
	j->offset = offset;
	buf_append(&j->data, data.data, data.len);
	p->jobs++;
	snapio_submit(p->rd->snapio, &j->job);
}

/* ---- answers ---- */

static void
want(struct link *l, enum snapmsg_what what, const struct snapfile_id *id,
    uint32_t number, uint64_t offset, enum err code)
{
	struct snapmsg_want m = {.what = (uint8_t)what,
	    .id = *id,
	    .number = number,
	    .offset = offset,
	    .code = (uint8_t)code};
	struct wire *w = link_begin(l, MSG_SNAP_WANT);

	if (w == NULL)
		return; /* it offers again */
	(void)snapmsg_want_wire(w, &m);
	link_end(l);
}

/* ---- asking ---- */

/* One node after the other, each time the next one that is connected. */
void
receiving_ask(struct receiving *r, uint64_t min)
{
	const struct wal_conf *conf = &r->rd->conf;
	const struct snapfile_id id = {.index = min};
	const struct mono now = mono_now();
	struct link *l = NULL;

	if (mono_ms_since(r->asked, now) < ASK_MS)
		return;
	r->asked = now;
	for (uint32_t i = 0; i < conf->member_count && l == NULL; i++) {
		r->asked_at = (r->asked_at + 1) % conf->member_count;
		l = peers_link(r->rd->peers, conf->members[r->asked_at].id);
	}
	if (l != NULL)
		want(l, SNAPMSG_ASK, &id, 0, 0, ERR_OK);
}

/* ---- progress ---- */

/* The file is here and checked: now the core may know. */
static void
finished(struct receiving *r, struct part *p)
{
	struct raftd *rd = r->rd;

	r->lacks_space = false;
	snaps_add(rd->snaps, &p->meta, &p->id);
	/* Meanwhile another file may have been offered, and not taken: the core
	 * hears only of what is here. */
	if (r->installs && r->msg.snapshot->index == p->id.index &&
	    r->msg.snapshot->term == p->id.term)
		(void)raft_step(rd->raft, &r->msg); /* refused: outdated */
	else
		snaps_publish(rd->snaps);
	want(r->link, SNAPMSG_DONE, &p->id, r->number, p->id.bytes, ERR_OK);
	part_drop(r);
}

/* False: too little for so many bytes.  Then what there is of a file is
 * removed: it must not be in the way of the log, nor of the next offer, which
 * may fit. */
static bool
has_space(struct receiving *r, const struct snapfile_id *id, uint64_t bytes)
{
	if (space_for(r->rd->space, bytes))
		return true;
	if (!r->lacks_space)
		log_warnx("snapshot refused: too little space on the disk, "
			  "make room; until then this node cannot catch up "
			  "index=%" PRIu64 " bytes=%" PRIu64,
		    id->index, bytes);
	r->lacks_space = true;
	part_drop(r);
	snaps_keep_part(r->rd->snaps, "");
	return false;
}

static void
progress(struct receiving *r, struct part *p, const struct part_job *j)
{
	switch (j->step) {
	case PART_OPEN:
		p->opened = true;
		p->next = p->written = p->size;
		break;
	case PART_WRITE:
		p->written += j->data.len;
		break;
	case PART_FINISH:
		finished(r, p);
		return;
	}
	want(r->link, SNAPMSG_FROM, &p->id, r->number, p->written, ERR_OK);
	if (p->written == p->id.bytes)
		part_submit(p, PART_FINISH, 0, (struct bytes){0});
}

static void
part_job_done(struct snapio_job *job, bool cancelled)
{
	struct part_job *j = (struct part_job *)job;
	struct part *p = j->part;
	struct receiving *r = cancelled ? NULL : p->r;

	if (r != NULL && j->err == ERR_OK) {
		progress(r, p, j);
	} else if (r != NULL) {
		want(r->link, SNAPMSG_REFUSED, &p->id, r->number, 0, j->err);
		part_drop(r);
	}
	buf_free(&j->data);
	mem_free(j);
	if (--p->jobs == 0 && p->r == NULL)
		part_free(p);
}

/* ---- messages ---- */

static bool
ids_equal(const struct raft_ids *a, const struct raft_ids *b)
{
	return a->count == b->count &&
	       memcmp(a->id, b->id, a->count * sizeof(a->id[0])) == 0;
}

/* Is this MsgSnap about that file, from that node, and can it be stored? */
static bool
msg_fits(const struct receiving *r, const struct link *l,
    const struct raft_msg *m, const struct snapfile_id *id)
{
	const struct raft_snapshot *s = m->snapshot;
	const struct raft_conf_state *c;
	struct snap_meta meta;

	if (m->type != RAFT_MSG_SNAP || m->to != r->rd->opt.id ||
	    m->from != link_peer(l)->node || s == NULL ||
	    s->index != id->index || s->term != id->term ||
	    s->term > m->term || /* which is so of term 0, too */
	    m->entry_count > 0 ||
	    snap_meta_decode(blob_bytes(s->data), &meta) != ERR_OK)
		return false;
	c = &meta.conf.state;
	return meta.head.index == id->index && meta.head.term == id->term &&
	       meta.identity.cluster == r->rd->identity.cluster &&
	       ids_equal(&c->voters, &s->conf.voters) &&
	       ids_equal(&c->learners, &s->conf.learners) &&
	       ids_equal(&c->voters_outgoing, &s->conf.voters_outgoing) &&
	       ids_equal(&c->learners_next, &s->conf.learners_next) &&
	       c->auto_leave == s->conf.auto_leave;
}

/* The MsgSnap of an offer becomes r->msg. */
static enum err
take_msg(struct receiving *r, const struct link *l,
    const struct snapmsg_offer *m, bool *installs)
{
	struct raft_msg msg;
	struct wire w;

	*installs = m->raft.len > 0;
	if (!*installs)
		return ERR_OK;
	wire_decode(&w, m->raft);
	if (rmsg_decode(&w, &msg) != ERR_OK)
		return ERR_MALFORMED;
	if (!msg_fits(r, l, &msg, &m->id)) {
		raft_msg_free(&msg);
		return ERR_MALFORMED;
	}
	raft_msg_free(&r->msg);
	raft_msg_move(&r->msg, &msg);
	return ERR_OK;
}

/* So much of it is still to come. */
static uint64_t
missing(const struct raftd *rd, const struct snapfile_id *id)
{
	const struct wal_disk *d = &rd->snap_disk;
	char name[SNAP_NAME_BYTES];
	int64_t size = 0;
	int fd;

	snapfile_part_name(id, name);
	fd = d->open(d->arg, name, false);
	if (fd != -1) {
		size = d->size(d->arg, fd);
		d->close(d->arg, fd);
	}
	if (size < 0 || (uint64_t)size > id->bytes)
		return id->bytes; /* it is begun anew */
	return id->bytes - (uint64_t)size;
}

/* OK: the file itself is wanted. */
static enum err
is_wanted(struct receiving *r, const struct snapfile_id *id, bool installs)
{
	struct raftd *rd = r->rd;
	const struct snap *s = snaps_find(rd->snaps, id->index);

	if (installs && raft_commit(rd->raft) >= id->index)
		return ERR_NOT_MODIFIED; /* the core says so itself */
	if (!installs && id->index + 1 < rlog_first(rd->rlog))
		return ERR_NOT_FOUND; /* would not join the log */
	if (s != NULL && (!installs || snapfile_id_equal(&s->id, id)))
		return s->checked ? ERR_NOT_MODIFIED : ERR_OVERLOADED;
	return has_space(r, id, missing(rd, id)) ? ERR_OK : ERR_NO_SPACE;
}

static void
begin(struct receiving *r, struct link *l, const struct snapmsg_offer *m)
{
	const struct snapfile_id *id = &m->id;
	struct part *p = mem_zalloc(1, sizeof(*p));

	part_drop(r);
	r->link = l;
	r->number = m->number;
	r->part = p;
	p->rd = r->rd;
	p->r = r;
	p->id = *id;
	p->fd = -1;
	snapfile_part_name(id, p->name);
	snaps_keep_part(r->rd->snaps, p->name);
	log_info("snapshot offered node=%" PRIu64 " index=%" PRIu64
		 " bytes=%" PRIu64,
	    link_peer(l)->node, id->index, id->bytes);
	part_submit(p, PART_OPEN, 0, (struct bytes){0});
}

enum err
receiving_offer(struct receiving *r, struct link *l, struct wire *w)
{
	struct part *p = r->part;
	struct snapmsg_offer m;
	bool installs;
	enum err e;

	assert(p != NULL || r->link == NULL);
	if (snapmsg_offer_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (p != NULL && r->link != NULL && r->link != l &&
	    link_peer(r->link)->node != link_peer(l)->node) {
		want(l, SNAPMSG_REFUSED, &m.id, m.number, 0, ERR_OVERLOADED);
		return ERR_OK; /* one at a time */
	}
	if ((e = take_msg(r, l, &m, &installs)) != ERR_OK)
		return e;
	r->installs = installs;
	if (p != NULL && snapfile_id_equal(&p->id, &m.id)) {
		r->link = l; /* go on */
		r->number = m.number;
		if (p->opened)
			want(
			    l, SNAPMSG_FROM, &p->id, m.number, p->next, ERR_OK);
		return ERR_OK;
	}
	e = is_wanted(r, &m.id, installs);
	if (e == ERR_OK) {
		begin(r, l, &m);
	} else if (e == ERR_NOT_MODIFIED) {
		if (installs)
			(void)raft_step(r->rd->raft, &r->msg);
		want(l, SNAPMSG_DONE, &m.id, m.number, m.id.bytes, ERR_OK);
	} else {
		want(l, SNAPMSG_REFUSED, &m.id, m.number, 0, e);
	}
	return ERR_OK;
}

enum err
receiving_piece(struct receiving *r, struct link *l, struct wire *w)
{
	struct part *p = r->part;
	struct snapfile_id id;
	struct snapmsg_piece m;

	if (snapmsg_piece_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (p == NULL || r->link != l || m.checksum != p->id.checksum)
		return ERR_OK; /* of what was dropped */
	if (!p->opened || m.offset != p->next ||
	    m.data.len > p->id.bytes - p->next ||
	    p->next - p->written > UNWRITTEN_BYTES_MAX)
		return ERR_MALFORMED;
	id = p->id;
	if (!has_space(r, &id, id.bytes - p->next)) {
		want(l, SNAPMSG_REFUSED, &id, r->number, 0, ERR_NO_SPACE);
		return ERR_OK;
	}
	p->next += m.data.len;
	part_submit(p, PART_WRITE, m.offset, m.data);
	return ERR_OK;
}

void
receiving_down(struct receiving *r, struct link *l)
{
	if (r->link == l)
		r->link = NULL;
}

struct receiving *
receiving_open(struct raftd *rd)
{
	struct receiving *r = mem_zalloc(1, sizeof(*r));

	r->rd = rd;
	return r;
}

void
receiving_close(struct receiving *r)
{
	if (r == NULL)
		return;
	part_drop(r);
	raft_msg_free(&r->msg);
	mem_free(r);
}
