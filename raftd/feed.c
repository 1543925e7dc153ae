/* commitC: kvd gets every committed entry in order, from its applied index on,
 * with the linearizable reads between them.
 *
 * The feed is a cursor on rlog, so a kvd that was away, or starts from nothing,
 * is brought up to date by the same code that feeds a live one.  If the log
 * begins behind what kvd has, or is much longer than a snapshot, a snapshot
 * comes first (load.c).  What was sent and is not yet acknowledged as applied
 * is bounded by FEED_WINDOW_BYTES.
 *
 * Where nobody waits for kvd, as on followers whose clients are elsewhere,
 * commits gather for GATHER_MS before it is woken for them. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/hold.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"
#include "raftd/transfer.h"

#define GATHER_MS 2u
#define GATHER_ENTRIES 64u

/* A READ that may be sent once the entries up to index are. */
struct feed_wait {
	struct feed_wait *next;
	uint64_t index;
	struct blob *body;
};

/* One COMMIT message under way. */
struct feed_sent {
	struct feed_sent *next;
	uint64_t last; /* index of its last entry */
	size_t bytes;
};

struct feed {
	struct raftd *rd;
	struct link *kvd;   /* NULL: away */
	uint64_t published; /* kvd may have entries up to here */
	uint64_t next;      /* first index not yet sent on this link */
	uint64_t applied;   /* acknowledged */
	uint64_t durable;
	bool fresh;        /* nothing was sent on this link yet */
	struct load *load; /* NULL: kvd gets entries */
	/* A snapshot was sent to the kvd with this epoch; how often it came
	 * back without it. */
	uint64_t loaded, loaded_epoch;
	unsigned load_refused;
	struct mono refused_at;
	struct feed_wait *waits, **waits_tail;
	size_t wait_bytes; /* of their bodies */
	struct feed_sent *sent, **sent_tail;
	size_t sent_bytes;
	struct mono eager_until;
	struct mono gathered_at; /* MONO_NEVER: nothing gathers */
	struct loop_timer gathered;
};

/* It makes the turn whose feed_run() does the work. */
static void
on_gathered(void *arg, struct mono now)
{
	(void)arg, (void)now;
}

struct feed *
feed_open(struct raftd *rd)
{
	struct feed *f = mem_zalloc(1, sizeof(*f));

	f->rd = rd;
	f->gathered_at = MONO_NEVER;
	loop_timer_init(rd->loop, &f->gathered, on_gathered, f);
	f->waits_tail = &f->waits;
	f->sent_tail = &f->sent;
	return f;
}

/* The oldest read; its httpd asks again, or has given up. */
static void
wait_drop(struct feed *f)
{
	struct feed_wait *w = f->waits;

	f->waits = w->next;
	if (f->waits == NULL)
		f->waits_tail = &f->waits;
	f->wait_bytes -= w->body->len;
	blob_unref(&w->body);
	mem_free(w);
}

static void
sent_drop(struct feed *f, uint64_t up_to)
{
	while (f->sent != NULL && f->sent->last <= up_to) {
		struct feed_sent *s = f->sent;

		f->sent = s->next;
		if (f->sent == NULL)
			f->sent_tail = &f->sent;
		f->sent_bytes -= s->bytes;
		mem_free(s);
	}
}

void
feed_drop_reads(struct feed *f)
{
	while (f->waits != NULL)
		wait_drop(f);
}

void
feed_close(struct feed *f)
{
	if (f == NULL)
		return;
	feed_drop_reads(f);
	sent_drop(f, UINT64_MAX);
	load_close(f->load);
	loop_timer_stop(&f->gathered);
	mem_free(f);
}

/* A store of other data than this log's is left alone, never overwritten. */
static enum err
check_kvd(const struct feed *f, struct link *l, const struct msg_hello *h)
{
	const struct wal_identity *id = &f->rd->identity;

	if ((h->cluster != 0 && h->cluster != id->cluster) ||
	    (h->node != 0 && h->node != id->node) ||
	    (h->incarnation != 0 && h->incarnation != id->incarnation)) {
		if (link_may_complain(l))
			log_errorx(
			    "kvd has the data of another log; start it with "
			    "this node's --data-dir, or remove its directory "
			    "and it is rebuilt cluster=%016" PRIx64
			    " node=%" PRIu64 " theirs=%016" PRIx64 "/%" PRIu64,
			    id->cluster, id->node, h->cluster, h->node);
		return ERR_FOREIGN;
	}
	if (h->applied > rlog_last(f->rd->rlog)) {
		if (link_may_complain(l))
			log_errorx(
			    "kvd is ahead of the log; the log was lost or is "
			    "older: remove kvd's directory and it is rebuilt "
			    "applied=%" PRIu64 " last=%" PRIu64,
			    h->applied, rlog_last(f->rd->rlog));
		return ERR_FOREIGN;
	}
	return ERR_OK;
}

/* A kvd that lives on and does not have what it was sent has refused it: the
 * state hash is wrong.  Once may be the connection's fault. */
#define LOAD_REFUSED_MAX 2u
/* It waits for a while before it takes another one, and is not asked to in
 * earnest before that. */
#define LOAD_REFUSED_MS 6000u

static void
note_refused_load(struct feed *f, const struct msg_hello *h)
{
	if (f->loaded == 0)
		return;
	if (h->applied >= f->loaded || h->epoch != f->loaded_epoch) {
		f->load_refused = 0;
	} else if (f->load_refused == 0 || mono_ms_since(f->refused_at,
					       mono_now()) >= LOAD_REFUSED_MS) {
		f->load_refused++;
		f->refused_at = mono_now();
	}
	if (f->load_refused >= LOAD_REFUSED_MAX) {
		log_errorx(
		    "kvd does not accept a snapshot index=%" PRIu64, f->loaded);
		snaps_damaged(f->rd->snaps, f->loaded);
		f->load_refused = 0;
	}
	f->loaded = 0;
}

enum err
feed_up(struct feed *f, struct link *l, const struct msg_hello *h)
{
	enum err err = check_kvd(f, l, h);

	if (err != ERR_OK)
		return err;
	if (f->kvd != NULL) /* its successor is here before its end was seen */
		link_close(f->kvd);
	sent_drop(f, UINT64_MAX);
	note_refused_load(f, h);
	f->kvd = l;
	f->fresh = true;
	f->next = h->applied + 1;
	f->applied = h->applied;
	f->durable = h->durable;
	log_info("kvd connected engine=%s applied=%" PRIu64 " durable=%" PRIu64
		 " published=%" PRIu64,
	    h->engine, h->applied, h->durable, f->published);
	return ERR_OK;
}

void
feed_down(struct feed *f, struct link *l)
{
	if (f->kvd != l)
		return;
	f->kvd = NULL;
	sent_drop(f, UINT64_MAX);
	load_close(f->load);
	f->load = NULL;
	take_abandon(f->rd->take);
	log_info("kvd disconnected applied=%" PRIu64 "; commits wait for it",
	    f->applied);
}

enum err
feed_take(struct feed *f, uint8_t type, struct wire *w)
{
	struct msg_applied m = {0};

	if (type == MSG_SNAP_HEAD || type == MSG_SNAP_DATA)
		return take_message(f->rd->take, type, w);
	if (type != MSG_APPLIED)
		return ERR_MALFORMED;
	if (msg_applied_wire(w, &m) != ERR_OK || m.applied < f->applied ||
	    m.applied >= f->next || m.durable > m.applied)
		return ERR_MALFORMED;
	f->applied = m.applied;
	f->durable = m.durable;
	if (m.applied >= f->loaded)
		f->loaded = 0;
	sent_drop(f, m.applied);
	return ERR_OK;
}

void
feed_publish(struct feed *f, uint64_t index)
{
	assert(index >= f->published);
	f->published = index;
}

void
feed_read(struct feed *f, uint64_t index, struct blob *body)
{
	struct feed_wait *w = mem_zalloc(1, sizeof(*w));

	w->index = index;
	w->body = body;
	*f->waits_tail = w;
	f->waits_tail = &w->next;
	f->wait_bytes += body->len;
	/* While kvd is away nobody takes them, and their httpd gives up. */
	while (f->wait_bytes > READS_WAITING_BYTES_MAX)
		wait_drop(f);
}

/* READ 4: what stands before a read in the pipe is applied before it. */
static void
send_reads(struct feed *f)
{
	struct feed_wait *w;

	while ((w = f->waits) != NULL && w->index < f->next) {
		struct wire *out;

		if (link_is_full(f->kvd) ||
		    (out = link_begin(f->kvd, MSG_COMMIT_READ)) == NULL)
			return;
		buf_append(out->out, w->body->data, w->body->len);
		link_end(f->kvd);
		wait_drop(f);
	}
}

/* One COMMIT with the entries from next on.  false: there was nothing. */
static bool
send_commit(struct feed *f)
{
	struct raft_entry *entries;
	struct msg_commit m;
	struct feed_sent *s;
	struct wire *w;
	size_t count, before;

	if (rlog_entries(f->rd->rlog, f->next, f->published + 1,
		COMMIT_BYTES_SOFT, &entries, &count) != RAFT_OK)
		return false;
	if ((w = link_begin(f->kvd, MSG_COMMIT)) == NULL) {
		raft_entries_free(entries, count);
		return false;
	}
	before = w->out->len;
	m = (struct msg_commit){.first = f->next, .count = (uint32_t)count};
	msg_commit_wire(w, &m);
	for (size_t i = 0; i < count; i++) {
		struct msg_commit_item item = {.term = entries[i].term,
		    .type = (uint8_t)entries[i].type,
		    .data = blob_bytes(entries[i].data)};

		msg_commit_item_wire(w, &item);
	}
	s = mem_zalloc(1, sizeof(*s));
	s->bytes = w->out->len - before;
	link_end(f->kvd);
	raft_entries_free(entries, count);
	f->next += count;
	s->last = f->next - 1;
	*f->sent_tail = s;
	f->sent_tail = &s->next;
	f->sent_bytes += s->bytes;
	return true;
}

/* ---- a snapshot instead of entries ---- */

/* The one to begin with, or NULL.  It is needed if the log begins later; and is
 * better if it is smaller than the entries that it spares. */
static const struct snap *
better_snapshot(struct feed *f)
{
	struct raftd *rd = f->rd;
	uint64_t first = rlog_first(rd->rlog), after, before;
	const struct snap *s = snaps_between(
	    rd->snaps, f->next > first - 1 ? f->next : first - 1, f->published);

	if (f->next < first || s == NULL || !f->fresh)
		return f->next < first ? s : NULL;
	before = rlog_bytes_after(rd->rlog, f->next);
	after = rlog_bytes_after(rd->rlog, s->meta.head.index);
	return before - after > 2 * s->id.bytes ? s : NULL;
}

/* Nothing here joins kvd's state and the log. */
static void
cannot_load(struct feed *f)
{
	if (link_may_complain(f->kvd))
		log_errorx("kvd needs a snapshot and none here joins the log; "
			   "other nodes are asked applied=%" PRIu64
			   " first=%" PRIu64,
		    f->applied, rlog_first(f->rd->rlog));
	transfers_ask(f->rd->transfers, rlog_first(f->rd->rlog) - 1);
}

static void
load_step(struct feed *f)
{
	uint64_t index = load_index(f->load);
	struct link *kvd = f->kvd;

	switch (load_run(f->load)) {
	case LOAD_GOES_ON:
		return;
	case LOAD_DONE:
		f->next = index + 1;
		f->loaded = index;
		f->loaded_epoch = link_peer(kvd)->epoch;
		load_close(f->load);
		f->load = NULL;
		return;
	case LOAD_FAILED:
		break;
	}
	/* kvd throws away what it has of it, comes back and gets another; the
	 * same one, if it only could not be read. */
	if (load_error(f->load) == ERR_CORRUPT)
		snaps_damaged(f->rd->snaps, index);
	link_close(kvd);
}

/* True: kvd does not get entries now. */
static bool
snapshot_first(struct feed *f)
{
	const struct snap *s;

	if (f->load == NULL && link_is_up(f->kvd) &&
	    (f->fresh || f->next < rlog_first(f->rd->rlog))) {
		s = better_snapshot(f);
		f->fresh = false;
		if (s != NULL) {
			take_abandon(f->rd->take);
			f->load = load_open(f->rd, f->kvd, s);
		} else if (f->next < rlog_first(f->rd->rlog)) {
			cannot_load(f);
			return true;
		}
	}
	if (f->load == NULL)
		return false;
	load_step(f);
	return f->load != NULL;
}

void
feed_note_clients(struct feed *f, struct mono now)
{
	f->eager_until = mono_add_ms(now, HOLD_EAGER_MS);
}

/* Shall what there is wait for more? */
static bool
gathers(struct feed *f, struct mono now)
{
	if (f->next > f->published || f->waits != NULL ||
	    !mono_reached(f->eager_until, now) ||
	    f->published - f->next >= GATHER_ENTRIES) {
		f->gathered_at = MONO_NEVER;
		return false;
	}
	if (f->gathered_at.ns == MONO_NEVER.ns) {
		f->gathered_at = mono_add_ms(now, GATHER_MS);
		loop_timer_set(&f->gathered, f->gathered_at);
	}
	if (!mono_reached(f->gathered_at, now))
		return true;
	f->gathered_at = MONO_NEVER;
	return false;
}

void
feed_run(struct feed *f, struct mono now)
{
	if (!link_is_up(f->kvd) || snapshot_first(f) || gathers(f, now))
		return;
	while (link_is_up(f->kvd)) {
		send_reads(f);
		if (f->next > f->published || link_is_full(f->kvd) ||
		    f->sent_bytes >= FEED_WINDOW_BYTES || !send_commit(f))
			break;
	}
}

struct link *
feed_link(const struct feed *f)
{
	return f->kvd;
}

bool
feed_loading(const struct feed *f)
{
	return f->load != NULL || f->next < rlog_first(f->rd->rlog);
}

bool
feed_connected(const struct feed *f)
{
	return f->kvd != NULL;
}

uint64_t
feed_applied(const struct feed *f)
{
	return f->applied;
}

uint64_t
feed_published(const struct feed *f)
{
	return f->published;
}
