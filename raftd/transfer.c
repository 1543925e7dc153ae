/* Sending snapshot files to other nodes; see transfer.h.
 *
 * One file per node at a time.  The helper thread reads a few pieces ahead;
 * they are sent as far as the receiver's window, the link and the rate allow.
 * The file stays open, so it may be removed meanwhile.
 *
 * The log is not cut behind a file that is sent, nor, when it has arrived, what
 * the receiver then reads (behind.c); but the disk must not get full of it. */
#include "raftd/transfer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/behind.h"
#include "raftd/raftd.h"
#include "raftd/rate.h"
#include "raftd/rmsg.h"
#include "raftd/snap.h"
#include "raftd/snapmsg.h"

#define WINDOW_BYTES (8u * SNAP_PIECE_BYTES) /* sent, not yet written there */
#define READ_BYTES (4u * SNAP_PIECE_BYTES)   /* read at once */
#define PATIENCE_MS 30000u /* without any progress: given up */
#define OFFER_MS 3000u     /* without any: offered again */
/* A node without space for it is not offered one at each heartbeat, which is
 * when a core that heard of a failure tries again. */
#define NO_SPACE_MS 10000u

struct sending {
	struct snapio_job job; /* first: reads into data */
	struct sending *next;
	struct raftd *rd;
	uint64_t to;
	struct link *link; /* dialed, at */
	char address[ADDRESS_BYTES_MAX + 1];
	struct raft_msg msg; /* the MsgSnap; type 0 and no snapshot: asked */
	struct snapfile_id id;
	int fd;

	bool going;          /* the receiver has said where to begin */
	uint32_t offers;     /* number of the last one */
	bool over;           /* to be freed, when the core was told and the
			      * job is back */
	bool ok;             /* how it ended */
	bool told;           /* the core was */
	struct mono tell_at; /* not before */
	struct mono moved;   /* last progress */
	struct mono offered; /* last offer */
	uint64_t sent;       /* next offset to be sent */
	uint64_t written;    /* by the receiver, as far as it has told */
	struct mono began;

	bool reading;
	bool stale;       /* what is being read is not wanted any more */
	bool failed;      /* the file cannot be read */
	uint64_t data_at; /* offset of data */
	/* The helper thread's while `reading`. */
	struct buf data;
	bool read_failed;
};

struct transfers {
	struct raftd *rd;
	struct sending *list;
	struct receiving *receiving;
	struct behind *behind;
	uint64_t lost; /* bit per node: its MsgSnap has no file */
	struct rate rate;
	struct loop_timer wake; /* when it allows more */
};

/* ---- reading ahead ---- */

static bool
read_run(struct snapio_job *job)
{
	struct sending *s = (struct sending *)job;
	const struct wal_disk *d = &s->rd->snap_disk;
	uint64_t n = s->id.bytes - s->data_at;

	if (n > READ_BYTES)
		n = READ_BYTES;
	buf_clear(&s->data);
	s->read_failed = d->read(d->arg, s->fd, buf_extend(&s->data, n), n,
			     (off_t)s->data_at) != (ssize_t)n;
	return false;
}

static void
read_done(struct snapio_job *job, bool cancelled)
{
	struct sending *s = (struct sending *)job;

	s->reading = false;
	if (cancelled || s->over)
		return;
	s->failed = s->read_failed;
	if (s->failed)
		log_warnx("snapshot cannot be read node=%" PRIu64
			  " index=%" PRIu64,
		    s->to, s->id.index);
	if (s->stale || s->failed)
		buf_clear(&s->data);
	s->stale = false;
}

static void
read_ahead(struct sending *s)
{
	s->data_at = s->sent;
	s->reading = true;
	snapio_submit(s->rd->snapio, &s->job);
}

/* ---- the connection ---- */

static void
send_offer(struct sending *s)
{
	struct snapmsg_offer m = {.id = s->id, .number = ++s->offers};
	struct buf raft = {0};
	struct wire *w, enc;

	s->going = false;
	s->offered = mono_now();
	if (s->msg.snapshot != NULL) {
		wire_encode(&enc, &raft);
		rmsg_encode(&enc, &s->msg);
		m.raft = buf_bytes(&raft);
	}
	if ((w = link_begin(s->link, MSG_SNAP_OFFER)) != NULL) {
		(void)snapmsg_offer_wire(w, &m);
		link_end(s->link);
	}
	buf_free(&raft);
}

static void
out_hello(void *arg, struct msg_hello *mine)
{
	peers_fill_hello(((struct sending *)arg)->rd, mine);
}

static enum err
out_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct sending *s = arg;
	enum err e = peers_check_hello(s->rd, l, theirs);

	if (e != ERR_OK || theirs->node != s->to)
		return ERR_FOREIGN; /* the ordinary link has complained */
	send_offer(s);
	return ERR_OK;
}

static void
out_down(void *arg, struct link *l)
{
	struct sending *s = arg;

	(void)l;
	s->going = false;
	if (!s->over)
		log_info("snapshot transfer interrupted node=%" PRIu64
			 " index=%" PRIu64 " written=%" PRIu64,
		    s->to, s->id.index, s->written);
}

static void
end(struct sending *s, bool ok)
{
	s->over = true;
	s->ok = ok;
}

/* Where the receiver is.  It has not seen the last offer yet: what it says then
 * is from before, and it is about to say where to go on. */
static enum err
on_from(struct sending *s, uint32_t number, uint64_t offset)
{
	if (number > s->offers)
		return ERR_MALFORMED;
	if (number < s->offers)
		return ERR_OK;
	if (offset > s->id.bytes || (s->going && offset > s->sent))
		return ERR_MALFORMED;
	s->moved = mono_now();
	s->written = offset;
	if (s->going)
		return ERR_OK;
	s->going = true;
	s->sent = offset;
	s->stale = s->reading; /* the helper has the buffer: cleared later */
	if (!s->reading)
		buf_clear(&s->data);
	if (offset < s->id.bytes)
		log_info("snapshot transfer node=%" PRIu64 " index=%" PRIu64
			 " bytes=%" PRIu64 " from=%" PRIu64,
		    s->to, s->id.index, s->id.bytes, offset);
	return ERR_OK;
}

static enum err
out_take(void *arg, struct link *l, uint8_t type, struct wire *w)
{
	struct sending *s = arg;
	struct snapmsg_want m;

	(void)l;
	if (type == MSG_JOIN_ASK)
		return ERR_OK; /* the ordinary link answers */
	if (type != MSG_SNAP_WANT || snapmsg_want_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (s->over || !snapfile_id_equal(&m.id, &s->id))
		return ERR_OK; /* of another attempt */
	switch ((enum snapmsg_what)m.what) {
	case SNAPMSG_FROM:
		return on_from(s, m.number, m.offset);
	case SNAPMSG_DONE:
		log_info("snapshot transferred node=%" PRIu64 " index=%" PRIu64
			 " bytes=%" PRIu64 " ms=%" PRIu64,
		    s->to, s->id.index, s->id.bytes,
		    mono_ms_since(s->began, mono_now()));
		end(s, true);
		if (s->msg.snapshot != NULL) /* the core goes on with it */
			behind_add(s->rd->transfers->behind, s->to, s->id.index,
			    s->id.bytes);
		return ERR_OK;
	case SNAPMSG_REFUSED:
		log_warnx("snapshot refused node=%" PRIu64 " index=%" PRIu64
			  " code=%s",
		    s->to, s->id.index, err_word(err_from_u8(m.code)));
		if (m.code == ERR_CORRUPT)
			snaps_suspect(s->rd->snaps, s->id.index);
		if (m.code == ERR_NO_SPACE)
			s->tell_at = mono_add_ms(mono_now(), NO_SPACE_MS);
		end(s, false);
		return ERR_OK;
	case SNAPMSG_ASK:
		break;
	}
	return ERR_MALFORMED;
}

static const struct link_ops out_ops = {
    .hello = out_hello,
    .up = out_up,
    .down = out_down,
    .take = out_take,
};

/* ---- begin, end ---- */

/* The file is not needed any more, which may have been removed. */
static void
sending_close(struct sending *s)
{
	if (s->fd != -1)
		s->rd->snap_disk.close(s->rd->snap_disk.arg, s->fd);
	s->fd = -1;
	buf_free(&s->data);
}

static void
sending_free(struct sending *s)
{
	sending_close(s);
	raft_msg_free(&s->msg);
	mem_free(s);
}

static struct sending *
find(const struct transfers *ts, uint64_t to)
{
	for (struct sending *s = ts->list; s != NULL; s = s->next)
		if (s->to == to && !s->over)
			return s;
	return NULL;
}

/* Open file and connection.  NULL: that node gets nothing. */
static struct sending *
begin(struct transfers *ts, uint64_t to, const struct snap *file)
{
	struct raftd *rd = ts->rd;
	const struct wal_member *m = cluster_member(&rd->conf, to);
	char url[ADDRESS_BYTES_MAX + 16], text[32], name[SNAP_NAME_BYTES];
	struct sending *s;
	int fd;

	if (m == NULL)
		return NULL;
	snapfile_name(file->id.index, name);
	fd = rd->snap_disk.open(rd->snap_disk.arg, name, false);
	if (fd == -1) {
		log_warn("snapshot cannot be opened file=%s", name);
		return NULL;
	}
	s = mem_zalloc(1, sizeof(*s));
	s->job.run = read_run;
	s->job.done = read_done;
	s->rd = rd;
	s->to = to;
	s->id = file->id;
	s->fd = fd;
	s->moved = s->began = mono_now();
	memcpy(s->address, m->address, sizeof(s->address));
	(void)snprintf(url, sizeof(url), "tcp://%s", m->address);
	(void)snprintf(text, sizeof(text), "snapshot to %" PRIu64, to);
	s->link = links_dial(rd->links, url, MSG_RAFTD, text, &out_ops, s);
	s->next = ts->list;
	ts->list = s;
	return s;
}

/* Called while the core's Ready is carried out: what the core must hear, it
 * hears from transfers_run(). */
void
transfers_send(struct transfers *ts, const struct raft_msg *m)
{
	const struct snap *file = snaps_find(ts->rd->snaps, m->snapshot->index);
	struct sending *s = find(ts, m->to);

	if (s != NULL && file != NULL && snapfile_id_equal(&s->id, &file->id)) {
		raft_msg_free(&s->msg); /* the same again, perhaps a new term */
		raft_msg_copy(&s->msg, m);
		return;
	}
	if (s != NULL)
		end(s, false);
	/* A core takes no snapshot of a time when it was no member. */
	if (file != NULL && !cluster_state_has(&m->snapshot->conf, m->to)) {
		take_wanted(ts->rd->take);
		file = NULL;
	}
	s = file == NULL ? NULL : begin(ts, m->to, file);
	if (s != NULL)
		raft_msg_copy(&s->msg, m);
	else
		ts->lost |= UINT64_C(1) << (m->to % 64);
}

/* It had no space for one, a moment ago. */
static bool
is_spared(const struct transfers *ts, uint64_t to)
{
	const struct mono now = mono_now();

	for (const struct sending *s = ts->list; s != NULL; s = s->next)
		if (s->to == to && !mono_reached(s->tell_at, now))
			return true;
	return false;
}

/* A node asks for one as of min or later. */
static void
asked(struct transfers *ts, uint64_t to, uint64_t min)
{
	const struct snap *file =
	    snaps_between(ts->rd->snaps, min, feed_published(ts->rd->feed));

	if (find(ts, to) != NULL || is_spared(ts, to))
		return;
	if (file == NULL)
		take_wanted(ts->rd->take); /* and it asks again */
	else
		(void)begin(ts, to, file);
}

/* ---- going on ---- */

/* False: not yet, and a timer is set. */
static bool
may_send(struct transfers *ts, uint64_t bytes, struct mono now)
{
	uint64_t ms = rate_use(&ts->rate, ts->rd->opt.snapshot_rate_bytes,
	    SNAP_PIECE_BYTES, bytes, now);

	if (ms > 0)
		loop_timer_set(&ts->wake, mono_add_ms(now, ms));
	return ms == 0;
}

static bool
send_piece(struct transfers *ts, struct sending *s, struct mono now)
{
	struct snapmsg_piece m = {
	    .checksum = s->id.checksum, .offset = s->sent};
	uint64_t skip = s->sent - s->data_at;
	uint64_t left = s->data.len - skip;
	struct wire *w;

	m.data = bytes_of(s->data.data + skip,
	    left < SNAP_PIECE_BYTES ? left : SNAP_PIECE_BYTES);
	if (s->sent + m.data.len > s->written + WINDOW_BYTES ||
	    link_is_full(s->link))
		return false;
	if (!may_send(ts, m.data.len, now)) {
		s->moved = now; /* our own doing */
		return false;
	}
	if ((w = link_begin(s->link, MSG_SNAP_PIECE)) == NULL)
		return false;
	(void)snapmsg_piece_wire(w, &m);
	link_end(s->link);
	s->sent += m.data.len;
	return true;
}

static void
pump(struct transfers *ts, struct sending *s, struct mono now)
{
	while (s->going && !s->reading && s->sent < s->id.bytes) {
		if (s->sent < s->data_at ||
		    s->sent - s->data_at >= s->data.len) {
			read_ahead(s);
			return;
		}
		if (!send_piece(ts, s, now))
			return;
	}
}

/* Has it become pointless? */
static void
check(struct sending *s, struct mono now)
{
	struct raftd *rd = s->rd;
	const struct wal_member *m = cluster_member(&rd->conf, s->to);
	bool leads = raft_role(rd->raft) == RAFT_LEADER;

	if (s->failed) {
		snaps_suspect(rd->snaps, s->id.index);
		end(s, false);
	} else if ((s->msg.snapshot != NULL && !leads) || m == NULL ||
		   strcmp(m->address, s->address) != 0) {
		end(s, false); /* to nobody, or begun again where it is now */
	} else if (mono_ms_since(s->moved, now) > PATIENCE_MS) {
		log_warnx("snapshot transfer given up node=%" PRIu64
			  " index=%" PRIu64 " written=%" PRIu64,
		    s->to, s->id.index, s->written);
		end(s, false);
	} else if (link_is_up(s->link) &&
		   mono_ms_since(s->moved, now) > OFFER_MS &&
		   mono_ms_since(s->offered, now) > OFFER_MS) {
		/* Something was lost, or it still checks what it got. */
		send_offer(s);
	}
}

/* Bits are ids modulo 64; it does no harm to tell too many. */
static void
report_lost(struct transfers *ts)
{
	const struct wal_conf *conf = &ts->rd->conf;

	for (uint32_t i = 0; ts->lost != 0 && i < conf->member_count; i++)
		if ((ts->lost >> (conf->members[i].id % 64) & 1) != 0)
			raft_report_snapshot(
			    ts->rd->raft, conf->members[i].id, false);
	ts->lost = 0;
}

/* True: s, which is over, can be freed. */
static bool
finish(struct transfers *ts, struct sending *s, struct mono now)
{
	if (s->link != NULL) {
		link_close(s->link);
		s->link = NULL;
	}
	if (!s->reading)
		sending_close(s);
	if (!mono_reached(s->tell_at, now))
		return false;
	if (!s->told && s->msg.snapshot != NULL && find(ts, s->to) == NULL)
		raft_report_snapshot(ts->rd->raft, s->to, s->ok);
	s->told = true;
	return !s->reading;
}

void
transfers_run(struct transfers *ts, struct mono now)
{
	struct sending **p = &ts->list;
	struct sending *s;

	report_lost(ts);
	while ((s = *p) != NULL) {
		if (!s->over)
			check(s, now);
		if (!s->over) {
			pump(ts, s, now);
			p = &s->next;
			continue;
		}
		if (!finish(ts, s, now)) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		sending_free(s);
	}
	behind_run(ts->behind, now); /* the core has heard who got his file */
}

uint64_t
transfers_oldest(const struct transfers *ts, uint64_t index)
{
	uint64_t first = rlog_first(ts->rd->rlog);

	if (!space_is_ample(ts->rd->space))
		return index;
	for (const struct sending *s = ts->list; s != NULL; s = s->next)
		if (!s->over && s->id.index < index && s->id.index + 1 >= first)
			index = s->id.index;
	return behind_oldest(ts->behind, index);
}

/* ---- what other nodes want of us ---- */

enum err
transfers_take(
    struct transfers *ts, struct link *l, uint8_t type, struct wire *w)
{
	struct snapmsg_want m;

	if (type == MSG_SNAP_OFFER)
		return receiving_offer(ts->receiving, l, w);
	if (type == MSG_SNAP_PIECE)
		return receiving_piece(ts->receiving, l, w);
	if (type != MSG_SNAP_WANT || snapmsg_want_wire(w, &m) != ERR_OK ||
	    m.what != SNAPMSG_ASK)
		return ERR_MALFORMED;
	asked(ts, link_peer(l)->node, m.id.index);
	return ERR_OK;
}

void
transfers_ask(struct transfers *ts, uint64_t min)
{
	receiving_ask(ts->receiving, min);
}

void
transfers_down(struct transfers *ts, struct link *l)
{
	receiving_down(ts->receiving, l);
}

/* ---- open, close ---- */

static void
on_wake(void *arg, struct mono now)
{
	(void)arg, (void)now; /* the loop is awake: transfers_run() */
}

struct transfers *
transfers_open(struct raftd *rd)
{
	struct transfers *ts = mem_zalloc(1, sizeof(*ts));

	ts->rd = rd;
	ts->rate.at = mono_now();
	ts->receiving = receiving_open(rd);
	ts->behind = behind_open(rd);
	loop_timer_init(rd->loop, &ts->wake, on_wake, ts);
	return ts;
}

/* After links_close() and snapio_close(). */
void
transfers_close(struct transfers *ts)
{
	struct sending *s;

	if (ts == NULL)
		return;
	loop_timer_stop(&ts->wake);
	while ((s = ts->list) != NULL) {
		ts->list = s->next;
		sending_free(s);
	}
	receiving_close(ts->receiving);
	behind_close(ts->behind);
	mem_free(ts);
}
