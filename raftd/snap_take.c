/* Taking a snapshot: kvd sends its state, which goes into a file; see snap.h.
 *
 *   idle --SNAP_ASK--> asked --SNAP_HEAD--> writing --last chunk--> ending
 *     ^                  |                     |                      |
 *     +---- abandon -----+---------------------+---- file is there ---+
 *
 * Chunks go to the helper thread as they come, and kvd may send as many more as
 * were written.  When something fails here, the rest of the stream is taken and
 * thrown away, since kvd holds on to its frozen view until it has sent all. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

#define PART_NAME "taking.part"
#define ORDERS_MAX 64u
#define LOOK_MS 100u       /* between two looks whether it is time */
#define RETRY_MS_MIN 1000u /* after a failure; doubled each time */
#define RETRY_MS_MAX 60000u
#define RECORD_BYTES 64u   /* of a key, besides key and value */
#define PATIENCE_MS 60000u /* with a kvd that sends nothing */

/* The file, on its way through the helper thread; freed with the last job. */
struct take_file {
	struct raftd *rd;
	struct take *take; /* NULL: abandoned */
	unsigned jobs;     /* under way */
	/* The helper thread's. */
	struct snap_meta meta;
	struct snapfile_writer *writer;
	struct snapfile_id id;
	enum err err;
};

struct take_job {
	struct snapio_job job; /* first */
	struct take_file *file;
	struct buf data;
	bool last;
	bool drop; /* nothing more comes */
	enum err err;
};

enum take_state { TAKE_IDLE, TAKE_ASKED, TAKE_WRITING, TAKE_ENDING };

struct take {
	struct raftd *rd;
	enum take_state state;
	uint64_t id;       /* of the stream; counts from a random start */
	uint32_t received; /* chunks */
	uint32_t written;
	uint32_t window;        /* that kvd knows of */
	struct take_file *file; /* WRITING, ENDING; NULL: being thrown away */
	enum err err;           /* why it is thrown away */
	struct mono heard;      /* kvd's last message for this stream */
	struct mono asked_at;

	bool wanted;
	struct mono look_at, retry_at;
	uint64_t retry_ms;
	uint64_t orders[ORDERS_MAX]; /* tokens; for what begins next */
	uint32_t order_count;
	uint32_t served; /* orders that the present one answers */
};

/* ---- the helper thread ---- */

static bool
take_job_run(struct snapio_job *job)
{
	struct take_job *j = (struct take_job *)job;
	struct take_file *f = j->file;

	if (f->writer == NULL && f->err == ERR_OK && !j->drop)
		f->err = snapfile_create(
		    &f->writer, &f->rd->snap_disk, PART_NAME, &f->meta);
	if (f->err == ERR_OK && !j->drop)
		f->err = snapfile_put(f->writer, buf_bytes(&j->data));
	if (f->err == ERR_OK && j->last) {
		char name[SNAP_NAME_BYTES];

		snapfile_name(f->meta.head.index, name);
		f->err = snapfile_finish(f->writer, name, &f->id);
	}
	if (f->err != ERR_OK || j->last || j->drop) {
		snapfile_drop(f->writer);
		f->writer = NULL;
	}
	j->err = f->err;
	return false;
}

/* ---- orders ---- */

/* The newest one of what is published: only that says what is new since. */
static const struct snap *
last_taken(const struct take *t)
{
	return snaps_between(t->rd->snaps, 0, feed_published(t->rd->feed));
}

static void
answer(struct take *t, uint64_t token, enum err code)
{
	const struct snap *s = last_taken(t);

	front_controlled(
	    t->rd->front, token, code, s == NULL ? 0 : s->meta.head.index);
}

/* The first n orders. */
static void
answer_orders(struct take *t, uint32_t n, enum err code)
{
	assert(n <= t->order_count);
	for (uint32_t i = 0; i < n; i++)
		answer(t, t->orders[i], code);
	t->order_count -= n;
	memmove(
	    t->orders, t->orders + n, t->order_count * sizeof(t->orders[0]));
	t->served = 0;
}

void
take_drop_orders(struct take *t)
{
	t->order_count = 0;
	t->served = 0;
}

void
take_order(struct take *t, uint64_t token)
{
	const struct feed *f = t->rd->feed;

	if (t->order_count == ORDERS_MAX) {
		answer(t, token, ERR_OVERLOADED);
	} else if (!feed_connected(f) || feed_loading(f)) {
		answer(t, token, ERR_UNAVAILABLE);
	} else {
		t->orders[t->order_count++] = token;
		t->retry_at = (struct mono){0};
		t->look_at = (struct mono){0};
	}
}

/* ---- how it ends ---- */

static void
ended(struct take *t, enum err err)
{
	t->state = TAKE_IDLE;
	t->file = NULL;
	if (err == ERR_UNAVAILABLE && feed_connected(t->rd->feed))
		t->served = 0; /* tried again soon */
	answer_orders(t, t->served, err);
	if (err == ERR_OK) {
		t->retry_ms = RETRY_MS_MIN;
		return;
	}
	t->retry_at = mono_add_ms(mono_now(), t->retry_ms);
	t->retry_ms =
	    t->retry_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : t->retry_ms * 2;
}

static void
file_there(struct take *t, const struct take_file *f)
{
	snaps_add(t->rd->snaps, &f->meta, &f->id);
	histogram_add_since(&t->rd->figures.snap_saves, HISTOGRAM_LONG_NS,
	    t->asked_at, mono_now());
	ended(t, ERR_OK);
}

static void submit(
    struct take_file *f, struct bytes data, bool last, bool drop);

/* What comes is thrown away from now on. */
static void
give_up(struct take *t, enum err err)
{
	struct take_file *f = t->file;

	log_warnx("snapshot not taken code=%s", err_word(err));
	t->err = err;
	t->file = NULL;
	if (f == NULL)
		return;
	f->take = NULL;
	submit(f, (struct bytes){0}, false, true);
}

void
take_abandon(struct take *t)
{
	if (t->state == TAKE_IDLE)
		return;
	if (t->state == TAKE_ENDING && t->file != NULL)
		return; /* all of it is here */
	give_up(t, ERR_UNAVAILABLE);
	ended(t, ERR_UNAVAILABLE);
}

/* ---- chunks ---- */

static void
send_more(struct take *t)
{
	struct msg_snap_ask m = {.id = t->id};
	uint32_t done = t->file != NULL ? t->written : t->received;
	struct wire *w;

	if (done + SNAP_WINDOW_CHUNKS < t->window + SNAP_WINDOW_CHUNKS / 2)
		return; /* not yet worth a message */
	m.window = done + SNAP_WINDOW_CHUNKS;
	if ((w = link_begin(feed_link(t->rd->feed), MSG_SNAP_MORE)) == NULL)
		return;
	(void)msg_snap_ask_wire(w, &m);
	link_end(feed_link(t->rd->feed));
	t->window = m.window;
}

static void
take_job_done(struct snapio_job *job, bool cancelled)
{
	struct take_job *j = (struct take_job *)job;
	struct take_file *f = j->file;
	struct take *t = cancelled ? NULL : f->take;

	if (t != NULL) {
		t->written++;
		if (j->err == ERR_OK && j->last) {
			file_there(t, f);
			f->take = NULL;
		} else if (j->err != ERR_OK) {
			bool all = t->state == TAKE_ENDING;

			f->take = NULL;
			t->file = NULL; /* the writer has dropped it */
			give_up(t, j->err);
			if (all)
				ended(t, j->err);
			else
				send_more(t);
		} else {
			send_more(t);
		}
	}
	buf_free(&j->data);
	mem_free(j);
	if (--f->jobs > 0 || (f->take != NULL && !cancelled))
		return;
	if (f->take != NULL)
		f->take->file = NULL;
	snapfile_drop(f->writer);
	mem_free(f);
}

static void
submit(struct take_file *f, struct bytes data, bool last, bool drop)
{
	struct take_job *j = mem_zalloc(1, sizeof(*j));

	j->job.run = take_job_run;
	j->job.done = take_job_done;
	j->file = f;
	j->last = last;
	j->drop = drop;
	buf_append(&j->data, data.data, data.len);
	f->jobs++;
	snapio_submit(f->rd->snapio, &j->job);
}

static bool
has_space(const struct take *t, uint64_t bytes)
{
	if (space_for(t->rd->space, bytes))
		return true;
	log_warnx("snapshot not taken: too little space on the disk, make room "
		  "bytes=%" PRIu64,
	    bytes);
	return false;
}

/* Does what kvd says fit the log?  Members are known as of the last change
 * that was applied: later than the snapshot is too late. */
static enum err
check_head(const struct take *t, const struct msg_snap_head *h)
{
	struct raftd *rd = t->rd;
	const struct snap *newest = last_taken(t);
	uint64_t term = 0;

	if (h->cluster != rd->identity.cluster ||
	    h->index > rlog_last(rd->rlog) ||
	    (h->index + 1 >= rlog_first(rd->rlog) &&
		(rlog_term(rd->rlog, h->index, &term) != RAFT_OK ||
		    term != h->term))) {
		log_errorx("kvd's state does not belong to this log; restart "
			   "it with --rebuild index=%" PRIu64 " term=%" PRIu64
			   " ours=%" PRIu64,
		    h->index, h->term, term);
		return ERR_FOREIGN;
	}
	/* After a start kvd may know more of what is committed than the log. */
	if (h->index > feed_published(rd->feed))
		return ERR_UNAVAILABLE;
	if (h->index < rd->conf.index || h->index + 1 < rlog_first(rd->rlog) ||
	    (newest != NULL && h->index <= newest->meta.head.index))
		return ERR_UNAVAILABLE; /* overtaken; the next one will do */
	/* What the last one took is no measure when much has been written. */
	return has_space(t, h->bytes + h->keys * RECORD_BYTES) ? ERR_OK
							       : ERR_NO_SPACE;
}

static enum err
take_head(struct take *t, struct wire *w)
{
	struct msg_snap_head h;
	struct take_file *f;
	enum err e;

	if (msg_snap_head_wire(w, &h) != ERR_OK)
		return ERR_MALFORMED;
	if (h.id != t->id || t->state == TAKE_IDLE)
		return ERR_OK; /* of one that was abandoned */
	if (t->state != TAKE_ASKED)
		return ERR_MALFORMED;
	t->state = TAKE_WRITING;
	t->heard = mono_now();
	if ((e = check_head(t, &h)) != ERR_OK) {
		give_up(t, e);
		return ERR_OK;
	}
	f = mem_zalloc(1, sizeof(*f));
	f->rd = t->rd;
	f->take = t;
	f->meta.head = h;
	f->meta.head.id = 0;
	f->meta.identity = t->rd->identity;
	f->meta.conf = t->rd->conf;
	t->file = f;
	return ERR_OK;
}

static enum err
take_data(struct take *t, struct wire *w)
{
	struct msg_snap_data m;

	if (msg_snap_data_wire(w, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (m.id != t->id || t->state == TAKE_IDLE)
		return ERR_OK;
	if (t->state != TAKE_WRITING || m.number != t->received ||
	    m.number >= t->window)
		return ERR_MALFORMED;
	t->received++;
	t->heard = mono_now();
	/* Others have used what was there when it began. */
	if (t->file != NULL && !m.last && !space_for(t->rd->space, 0))
		give_up(t, ERR_NO_SPACE);
	if (t->file != NULL) {
		if (m.last)
			t->state = TAKE_ENDING;
		submit(t->file, m.data, m.last, false);
	} else if (m.last) {
		ended(t, t->err);
	} else {
		send_more(t);
	}
	return ERR_OK;
}

enum err
take_message(struct take *t, uint8_t type, struct wire *w)
{
	return type == MSG_SNAP_HEAD ? take_head(t, w) : take_data(t, w);
}

/* ---- when ---- */

void
take_wanted(struct take *t)
{
	t->wanted = true;
}

/* Does the newest one hold all that kvd may have applied?  Not what it has said
 * to have applied: that comes after the clients were answered, and whoever then
 * orders one wants it to have what he was told is there. */
static bool
nothing_new(const struct take *t)
{
	const struct snap *s = last_taken(t);

	return feed_published(t->rd->feed) <=
	       (s != NULL ? s->meta.head.index : 0);
}

/* Taken when the log since the last one is larger than a limit and than the
 * last one: so the cost stays proportional to what is written. */
static bool
is_due(struct take *t)
{
	struct raftd *rd = t->rd;
	const struct snap *s = last_taken(t);
	uint64_t index = s != NULL ? s->meta.head.index : 0;
	uint64_t bytes = rd->opt.snapshot_log_bytes;
	uint64_t count = rd->opt.snapshot_count;

	if (nothing_new(t))
		return false;
	if (t->order_count > 0 || t->wanted)
		return true;
	if (count > 0 && feed_published(rd->feed) - index >= count)
		return true;
	if (bytes == 0)
		return false;
	if (s != NULL && s->id.bytes > bytes)
		bytes = s->id.bytes;
	return rlog_bytes_after(rd->rlog, index) > bytes;
}

static void
ask(struct take *t, struct mono now)
{
	struct link *kvd = feed_link(t->rd->feed);
	struct msg_snap_ask m = {.id = t->id + 1, .window = SNAP_WINDOW_CHUNKS};
	struct wire *w;

	if ((w = link_begin(kvd, MSG_SNAP_ASK)) == NULL)
		return;
	(void)msg_snap_ask_wire(w, &m);
	link_end(kvd);
	t->state = TAKE_ASKED;
	t->id = m.id;
	t->received = t->written = 0;
	t->window = m.window;
	t->file = NULL;
	t->heard = t->asked_at = now;
	t->served = t->order_count;
	t->wanted = false;
}

void
take_run(struct take *t, struct mono now)
{
	struct raftd *rd = t->rd;
	const struct snap *s;

	if (!mono_reached(t->look_at, now))
		return;
	t->look_at = mono_add_ms(now, LOOK_MS);
	if (rlog_snapshot_wanted(rd->rlog))
		t->wanted = true;
	if (t->state != TAKE_IDLE) {
		if (t->state != TAKE_ENDING &&
		    mono_ms_since(t->heard, now) > PATIENCE_MS)
			take_abandon(t);
		return;
	}
	if (!feed_connected(rd->feed) || feed_loading(rd->feed)) {
		answer_orders(t, t->order_count, ERR_UNAVAILABLE);
		return;
	}
	if (!mono_reached(t->retry_at, now))
		return;
	if (!is_due(t)) {
		if (nothing_new(t))
			answer_orders(t, t->order_count, ERR_OK);
		return;
	}
	s = last_taken(t);
	if (!has_space(t, s != NULL ? s->id.bytes : 0)) {
		t->served = t->order_count;
		ended(t, ERR_NO_SPACE);
		return;
	}
	ask(t, now);
}

struct take *
take_open(struct raftd *rd)
{
	struct take *t = mem_zalloc(1, sizeof(*t));

	t->rd = rd;
	t->id = rd->epoch;
	t->retry_ms = RETRY_MS_MIN;
	return t;
}

void
take_close(struct take *t)
{
	if (t == NULL)
		return;
	if (t->file != NULL && t->file->jobs == 0)
		mem_free(t->file);
	mem_free(t);
}
