/* commitC: kvd gets every committed entry in order, from its applied index on,
 * with the linearizable reads between them.
 *
 * The feed is a cursor on rlog, so a kvd that was away, or starts from nothing,
 * is brought up to date by the same code that feeds a live one.  What was sent
 * and is not yet acknowledged as applied is bounded by FEED_WINDOW_BYTES. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"

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
	struct feed_wait *waits, **waits_tail;
	size_t wait_bytes; /* of their bodies */
	struct feed_sent *sent, **sent_tail;
	size_t sent_bytes;
};

struct feed *
feed_open(struct raftd *rd)
{
	struct feed *f = mem_zalloc(1, sizeof(*f));

	f->rd = rd;
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

enum err
feed_up(struct feed *f, struct link *l, const struct msg_hello *h)
{
	enum err err = check_kvd(f, l, h);

	if (err != ERR_OK)
		return err;
	if (f->kvd != NULL) /* its successor is here before its end was seen */
		link_close(f->kvd);
	sent_drop(f, UINT64_MAX);
	f->kvd = l;
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
	log_info("kvd disconnected applied=%" PRIu64 "; commits wait for it",
	    f->applied);
}

enum err
feed_take(struct feed *f, uint8_t type, struct wire *w)
{
	struct msg_applied m = {0};

	if (type != MSG_APPLIED)
		return ERR_MALFORMED;
	if (msg_applied_wire(w, &m) != ERR_OK || m.applied < f->applied ||
	    m.applied >= f->next || m.durable > m.applied)
		return ERR_MALFORMED;
	f->applied = m.applied;
	f->durable = m.durable;
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

void
feed_run(struct feed *f)
{
	while (link_is_up(f->kvd)) {
		send_reads(f);
		if (f->next > f->published || link_is_full(f->kvd) ||
		    f->sent_bytes >= FEED_WINDOW_BYTES || !send_commit(f))
			break;
	}
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
