/* Open batches; see batch.h. */
#include "httpd/batch.h"

#include <assert.h>

#include "base/mem.h"

/* No answer for this long: send again; doubled each time.  A batch travels
 * the ring in milliseconds; this is for a message lost with its process. */
#define SILENCE_MS_FIRST 1000u
#define SILENCE_MS_MAX 8000u
#define REFUSE_MS_FIRST 20u

static struct batch **
bucket_of(struct batches *t, uint64_t seq)
{
	return &t->bucket[seq & (BATCH_BUCKETS - 1)];
}

struct batch *
batch_new(struct batches *t, enum way way, uint32_t slots)
{
	struct batch *b =
	    mem_zalloc(1, sizeof *b + slots * sizeof(struct waiter *));
	struct batch **bucket;

	b->way = way;
	b->slots = slots;
	b->seq = ++t->seq;
	b->nth = t->made[way]++;
	t->open[way]++;
	b->silence_ms = SILENCE_MS_FIRST;
	b->refuse_ms = REFUSE_MS_FIRST;
	b->retry_at = MONO_NEVER;
	b->prev = t->last[way];
	if (b->prev != NULL)
		b->prev->next = b;
	else
		t->first[way] = b;
	t->last[way] = b;
	bucket = bucket_of(t, b->seq);
	b->chain = *bucket;
	*bucket = b;
	return b;
}

void
batch_free(struct batches *t, struct batch *b)
{
	struct batch **pos = bucket_of(t, b->seq);

	assert(b->waiting == 0);
	while (*pos != b) {
		assert(*pos != NULL);
		pos = &(*pos)->chain;
	}
	*pos = b->chain;
	t->open[b->way]--;
	if (b->prev != NULL)
		b->prev->next = b->next;
	else
		t->first[b->way] = b->next;
	if (b->next != NULL)
		b->next->prev = b->prev;
	else
		t->last[b->way] = b->prev;
	buf_free(&b->body);
	mem_free(b);
}

struct batch *
batch_find(const struct batches *t, uint64_t seq)
{
	struct batch *b = t->bucket[seq & (BATCH_BUCKETS - 1)];

	while (b != NULL && b->seq != seq)
		b = b->chain;
	return b;
}

uint64_t
batch_oldest_write(const struct batches *t)
{
	return t->first[WAY_WRITE] != NULL ? t->first[WAY_WRITE]->seq
					   : UINT64_MAX;
}

void
batch_place(struct batch *b, uint32_t n, struct waiter *w)
{
	assert(n < b->slots);
	assert(b->slot[n] == NULL);
	assert(w->batch == NULL);
	b->slot[n] = w;
	b->waiting++;
	w->batch = b;
	w->slot = n;
}

void
batch_drop(struct waiter *w)
{
	struct batch *b = w->batch;

	assert(b->slot[w->slot] == w);
	assert(b->waiting > 0);
	b->slot[w->slot] = NULL;
	b->waiting--;
	w->batch = NULL;
}

static void
encode_propose(struct batch *b, struct wire *w)
{
	struct msg_propose m = {
	    .seq = b->seq, .attempt = b->attempt, .entry = buf_bytes(&b->body)};

	(void)msg_propose_wire(w, &m);
}

/* The keys were encoded once, by msg_read_item_wire(), when the batch was
 * made: their waiters may be gone by now, their places may not. */
static void
encode_read(struct batch *b, struct wire *w, uint64_t epoch)
{
	struct msg_read m = {.epoch = epoch,
	    .seq = b->seq,
	    .attempt = b->attempt,
	    .count = b->count};

	msg_read_wire(w, &m);
	buf_append(w->out, b->body.data, b->body.len);
}

bool
batch_send(struct batch *b, struct link *l, uint64_t epoch, struct mono now)
{
	static const enum msg_type type[WAYS] = {[WAY_WRITE] = MSG_PROPOSE,
	    [WAY_READ] = MSG_READ,
	    [WAY_STALE] = MSG_STALE_READ};
	struct wire *w = link_begin(l, type[b->way]);

	if (w == NULL)
		return false;
	b->attempt++;
	b->unknown = b->unknown || (b->unresolved >> 63) != 0;
	b->unresolved = b->unresolved << 1 | 1;
	if (b->way == WAY_WRITE)
		encode_propose(b, w);
	else
		encode_read(b, w, epoch);
	link_end(l);

	if (b->silent && b->silence_ms < SILENCE_MS_MAX)
		b->silence_ms *= 2;
	b->silent = true;
	b->retry_at = mono_add_ms(now, b->silence_ms);
	return true;
}

bool
batch_refused(struct batch *b, uint32_t attempt, enum err code)
{
	uint32_t ago = b->attempt - attempt;

	if (attempt == 0 || attempt > b->attempt)
		return false; /* not ours: raftd answers what we sent */
	b->refused = code;
	if (ago < 64)
		b->unresolved &= ~(UINT64_C(1) << ago);
	return ago == 0;
}

bool
batch_certainly_refused(const struct batch *b)
{
	return b->unresolved == 0 && !b->unknown;
}
