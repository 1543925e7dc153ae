/* Linearizable reads wait here for their index (thesis 6.4).
 *
 * All READs that came since the last round form one round: one question to the
 * core, one exchange of heartbeats.  At most ROUNDS_MAX rounds are under way,
 * so that under load reads gather into larger rounds by themselves. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "raftd/raftd.h"

#define ROUNDS_MAX 2u

/* A READ of httpd, body as it came. */
struct read_req {
	struct read_req *next;
	struct blob *body;
	uint64_t epoch, seq;
	uint32_t attempt;
};

struct read_list {
	struct read_req *head;
	struct read_req **tail;
};

struct round {
	uint64_t number; /* the context of the question; 0: slot is free */
	struct mono asked;
	struct read_list reads;
};

struct reads {
	struct raftd *rd;
	struct read_list waiting;        /* for the next round */
	struct round rounds[ROUNDS_MAX]; /* in order of number */
	uint64_t last_number;
	size_t bytes; /* of the READs waiting and in rounds */
};

static void
list_init(struct read_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void
list_push(struct read_list *l, struct read_req *q)
{
	q->next = NULL;
	*l->tail = q;
	l->tail = &q->next;
}

static struct read_req *
list_pop(struct read_list *l)
{
	struct read_req *q = l->head;

	if (q == NULL)
		return NULL;
	l->head = q->next;
	if (l->head == NULL)
		l->tail = &l->head;
	return q;
}

/* Move all of src before all of dst. */
static void
list_prepend(struct read_list *dst, struct read_list *src)
{
	if (src->head == NULL)
		return;
	*src->tail = dst->head;
	if (dst->head != NULL)
		src->tail = dst->tail;
	dst->head = src->head;
	dst->tail = src->tail;
	list_init(src);
}

struct reads *
reads_open(struct raftd *rd)
{
	struct reads *rs = mem_zalloc(1, sizeof(*rs));

	rs->rd = rd;
	list_init(&rs->waiting);
	for (unsigned i = 0; i < ROUNDS_MAX; i++)
		list_init(&rs->rounds[i].reads);
	return rs;
}

static void
list_clear(struct reads *rs, struct read_list *l)
{
	struct read_req *q;

	while ((q = list_pop(l)) != NULL) {
		rs->bytes -= q->body->len;
		blob_unref(&q->body);
		mem_free(q);
	}
}

void
reads_drop_all(struct reads *rs)
{
	list_clear(rs, &rs->waiting);
	for (unsigned i = 0; i < ROUNDS_MAX; i++)
		list_clear(rs, &rs->rounds[i].reads);
	feed_drop_reads(rs->rd->feed);
}

void
reads_close(struct reads *rs)
{
	if (rs == NULL)
		return;
	list_clear(rs, &rs->waiting);
	for (unsigned i = 0; i < ROUNDS_MAX; i++)
		list_clear(rs, &rs->rounds[i].reads);
	mem_free(rs);
}

void
reads_add(struct reads *rs, const struct msg_read *m, struct bytes body)
{
	struct read_req *q;

	if (rs->bytes + body.len > READS_WAITING_BYTES_MAX) {
		front_refuse(rs->rd->front, MSG_REFUSED_READ, ERR_OVERLOADED,
		    m->epoch, m->seq, m->attempt);
		return;
	}
	q = mem_zalloc(1, sizeof(*q));
	q->body = blob_new(body.data, body.len);
	q->epoch = m->epoch;
	q->seq = m->seq;
	q->attempt = m->attempt;
	list_push(&rs->waiting, q);
	rs->bytes += body.len;
}

/* The context of a question: a late answer to an earlier life of this process
 * must not be taken for ours. */
struct question {
	uint64_t epoch;
	uint64_t number;
};

static uint64_t
question_number(const struct reads *rs, const struct blob *b)
{
	struct question q;

	if (b == NULL || b->len != sizeof(q))
		return 0; /* nobody's */
	memcpy(&q, b->data, sizeof(q));
	return q.epoch == rs->rd->epoch ? q.number : 0;
}

/* Lay the oldest round's reads on commitC and free its slot. */
static void
round_finish(struct reads *rs, uint64_t index)
{
	struct round *r = &rs->rounds[0];
	struct round done = *r;
	struct read_req *q;

	if (done.reads.head == NULL)
		list_init(&done.reads);
	for (unsigned i = 1; i < ROUNDS_MAX; i++) {
		struct round *to = &rs->rounds[i - 1], *from = &rs->rounds[i];

		to->number = from->number;
		to->asked = from->asked;
		list_init(&to->reads);
		list_prepend(&to->reads, &from->reads);
	}
	rs->rounds[ROUNDS_MAX - 1].number = 0;
	while ((q = list_pop(&done.reads)) != NULL) {
		rs->bytes -= q->body->len;
		feed_read(rs->rd->feed, index, q->body);
		mem_free(q);
	}
}

/* An answer to a round answers the older ones too: its index is not smaller
 * than theirs would have been. */
void
reads_known(struct reads *rs, const struct raft_read_state *state)
{
	uint64_t number = question_number(rs, state->context);

	while (rs->rounds[0].number != 0 && rs->rounds[0].number <= number)
		round_finish(rs, state->index);
}

void
reads_restart(struct reads *rs)
{
	for (unsigned i = ROUNDS_MAX; i-- > 0;) {
		list_prepend(&rs->waiting, &rs->rounds[i].reads);
		rs->rounds[i].number = 0;
	}
}

static void
refuse_waiting(struct reads *rs)
{
	struct read_req *q;

	while ((q = list_pop(&rs->waiting)) != NULL) {
		front_refuse(rs->rd->front, MSG_REFUSED_READ, ERR_NO_LEADER,
		    q->epoch, q->seq, q->attempt);
		rs->bytes -= q->body->len;
		blob_unref(&q->body);
		mem_free(q);
	}
}

void
reads_run(struct reads *rs)
{
	struct mono now = mono_now();
	struct round *r = NULL;
	struct question question;
	struct blob *context;

	/* Messages get lost: ask again rather than wait for ever. */
	if (rs->rounds[0].number != 0 &&
	    mono_ms_since(rs->rounds[0].asked, now) >= rs->rd->opt.election_ms)
		reads_restart(rs);
	if (rs->waiting.head == NULL)
		return;
	if (raft_leader(rs->rd->raft) == RAFT_NONE) {
		refuse_waiting(rs);
		return;
	}
	for (unsigned i = 0; i < ROUNDS_MAX && r == NULL; i++)
		if (rs->rounds[i].number == 0)
			r = &rs->rounds[i];
	if (r == NULL)
		return; /* they gather */
	r->number = ++rs->last_number;
	r->asked = now;
	list_prepend(&r->reads, &rs->waiting);
	question = (struct question){rs->rd->epoch, r->number};
	context = blob_new(&question, sizeof(question));
	(void)raft_read_index(rs->rd->raft, context); /* lost: asked again */
	blob_unref(&context);
}
