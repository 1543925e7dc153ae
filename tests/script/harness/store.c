/* Stable storage that is an array.  It gives as its snapshot the newest state
 * of the state machine, whatever has been compacted or written. */
#include "tests/script/harness/store.h"

#include <string.h>

#include "base/mem.h"

static uint64_t
first_index(void *arg)
{
	const struct store *s = arg;

	return s->base_index + 1;
}

static uint64_t
last_index(void *arg)
{
	const struct store *s = arg;

	return s->base_index + s->entry_count;
}

static void
initial_state(
    void *arg, struct raft_hard_state *hs, struct raft_conf_state *conf)
{
	const struct store *s = arg;

	*hs = s->hard_state;
	*conf = store_newest(s)->conf;
}

static enum raft_rc
entries(void *arg, uint64_t lo, uint64_t hi, uint64_t max_bytes,
    struct raft_entry **out, size_t *count)
{
	struct store *s = arg;
	struct raft_entry *from;
	uint64_t size = 0;
	size_t n = 0;

	if (lo <= s->base_index)
		return RAFT_COMPACTED;
	if (hi > last_index(s) + 1)
		return RAFT_UNAVAILABLE;
	from = &s->entries[lo - s->base_index - 1];
	while (n < hi - lo) {
		size += raft_entry_size(&from[n]);
		if (n > 0 && size > max_bytes)
			break;
		n++;
	}
	*out = mem_zalloc(n, sizeof(**out));
	*count = n;
	for (size_t i = 0; i < n; i++) {
		(*out)[i] = from[i];
		(void)blob_ref(from[i].data);
	}
	return RAFT_OK;
}

static enum raft_rc
term(void *arg, uint64_t index, uint64_t *out)
{
	const struct store *s = arg;

	if (index < s->base_index)
		return RAFT_COMPACTED;
	if (index > s->base_index + s->entry_count)
		return RAFT_UNAVAILABLE;
	*out = index == s->base_index
		   ? s->base_term
		   : s->entries[index - s->base_index - 1].term;
	return RAFT_OK;
}

static enum raft_rc
snapshot(void *arg, struct raft_snapshot *out)
{
	*out = *store_newest(arg);
	(void)blob_ref(out->data);
	return RAFT_OK;
}

const struct raft_storage_ops store_ops = {
    .initial_state = initial_state,
    .entries = entries,
    .term = term,
    .first_index = first_index,
    .last_index = last_index,
    .snapshot = snapshot,
};

void
store_open(struct store *s, const struct raft_snapshot *start)
{
	*s = (struct store){.base_index = start->index,
	    .base_term = start->term,
	    .snapshot_index = start->index};
	s->history = mem_zalloc(1, sizeof(*s->history));
	s->history[0] = *start;
	s->history[0].data =
	    start->data == NULL ? blob_new("", 1) : blob_ref(start->data);
	s->history_count = 1;
}

/* Drop the entries from index on. */
static void
cut(struct store *s, uint64_t index)
{
	while (s->entry_count > 0 && s->base_index + s->entry_count >= index)
		blob_unref(&s->entries[--s->entry_count].data);
}

void
store_close(struct store *s)
{
	cut(s, 0);
	mem_free(s->entries);
	for (size_t i = 0; i < s->history_count; i++)
		blob_unref(&s->history[i].data);
	mem_free(s->history);
}

const struct raft_snapshot *
store_newest(const struct store *s)
{
	return &s->history[s->history_count - 1];
}

const char *
store_conf_text(const struct raft_snapshot *s)
{
	return s->data == NULL ? "" : (const char *)s->data->data;
}

static const char *
write_snapshot(struct store *s, const struct raft_snapshot *snap)
{
	if (s->snapshot_index >= snap->index)
		return raft_rc_text(RAFT_SNAP_OUT_OF_DATE);
	cut(s, 0);
	s->base_index = snap->index;
	s->base_term = snap->term;
	s->snapshot_index = snap->index;
	return NULL;
}

static const char *
write_entries(struct store *s, const struct raft_entry *from, size_t count)
{
	while (count > 0 && from->index <= s->base_index) {
		from++;
		count--;
	}
	if (count == 0)
		return NULL;
	if (from->index > last_index(s) + 1)
		return "missing log entry";
	cut(s, from->index);
	s->entries =
	    mem_resize(s->entries, s->entry_count + count, sizeof(*s->entries));
	for (size_t i = 0; i < count; i++) {
		s->entries[s->entry_count] = from[i];
		(void)blob_ref(from[i].data);
		s->entry_count++;
	}
	return NULL;
}

const char *
store_write(struct store *s, const struct raft_hard_state *hs,
    const struct raft_snapshot *snap, const struct raft_entry *from,
    size_t count)
{
	if (hs->term != 0 || hs->vote != 0 || hs->commit != 0)
		s->hard_state = *hs;
	if (snap != NULL && count > 0)
		return "can't apply snapshot and entries at the same time";
	if (snap != NULL)
		return write_snapshot(s, snap);
	return write_entries(s, from, count);
}

const char *
store_compact(struct store *s, uint64_t index)
{
	size_t n;

	if (index <= s->base_index)
		return raft_rc_text(RAFT_COMPACTED);
	if (index > last_index(s))
		return raft_rc_text(RAFT_UNAVAILABLE);
	n = (size_t)(index - s->base_index);
	s->base_term = s->entries[n - 1].term;
	s->base_index = index;
	for (size_t i = 0; i < n; i++)
		blob_unref(&s->entries[i].data);
	s->entry_count -= n;
	memmove(
	    s->entries, s->entries + n, s->entry_count * sizeof(*s->entries));
	return NULL;
}

void
store_reopen(struct store *s)
{
	while (s->history_count > 1 &&
	       store_newest(s)->index > s->hard_state.commit)
		blob_unref(&s->history[--s->history_count].data);
}

void
store_record(struct store *s, const struct raft_entry *e,
    const struct raft_conf_state *conf)
{
	struct raft_snapshot record = *store_newest(s);
	struct bytes before = blob_bytes(record.data);
	struct bytes payload = blob_bytes(e->data);
	struct blob *data;

	if (conf != NULL) { /* nothing is left of the head but its end */
		size_t head = strlen(store_conf_text(&record));

		before = bytes_of(before.data + head, before.len - head);
	}
	data = blob_new(NULL, before.len + payload.len);
	memcpy(data->data, before.data, before.len);
	if (payload.len > 0)
		memcpy(data->data + before.len, payload.data, payload.len);
	record.index = e->index;
	record.term = e->term;
	record.data = data;
	if (conf != NULL)
		record.conf = *conf;
	s->history =
	    mem_resize(s->history, s->history_count + 1, sizeof(*s->history));
	s->history[s->history_count++] = record;
}
