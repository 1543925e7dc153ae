/* Text that can be compared: the words and the order are those of etcd's
 * Describe functions. */
#include "tests/script/harness/print.h"

#include <inttypes.h>
#include <string.h>

#include "tests/script/harness/store.h"

static const char op_letters[] = {
    [RAFT_CONF_ADD_VOTER] = 'v',
    [RAFT_CONF_REMOVE] = 'r',
    [RAFT_CONF_UPDATE] = 'u',
    [RAFT_CONF_ADD_LEARNER] = 'l',
};

static void
print_node(struct buf *out, uint64_t id)
{
	if (id == RAFT_NONE)
		text_add(out, "None");
	else if (id == RAFT_APPEND_THREAD)
		text_add(out, "AppendThread");
	else if (id == RAFT_APPLY_THREAD)
		text_add(out, "ApplyThread");
	else
		text_add(out, "%" PRIx64, id);
}

static void
print_quoted(struct buf *out, struct bytes data)
{
	static const char plain[] = "\"\\\a\b\f\n\r\t\v";
	static const char letter[] = "\"\\abfnrtv";

	text_add(out, "\"");
	for (size_t i = 0; i < data.len; i++) {
		uint8_t c = data.data[i];
		const char *at = c == 0 ? NULL : strchr(plain, c);

		if (at != NULL)
			text_add(out, "\\%c", letter[at - plain]);
		else if (c < 0x20 || c == 0x7f)
			text_add(out, "\\x%02x", c);
		else
			text_add(out, "%c", c);
	}
	text_add(out, "\"");
}

static void
print_change(struct buf *out, const struct raft_entry *e)
{
	struct raft_conf_change cc;

	if (raft_conf_change_decode(e->type, blob_bytes(e->data), &cc) !=
	    RAFT_OK) {
		text_add(out, " (malformed)");
		return;
	}
	for (uint32_t i = 0; i < cc.count; i++)
		text_add(
		    out, " %c%" PRIu64, op_letters[cc.ops[i].op], cc.ops[i].id);
}

void
print_entry(struct buf *out, const struct raft_entry *e)
{
	text_add(out, "%" PRIu64 "/%" PRIu64 " ", e->term, e->index);
	switch (e->type) {
	case RAFT_ENTRY_NORMAL:
		text_add(out, "EntryNormal ");
		print_quoted(out, blob_bytes(e->data));
		break;
	case RAFT_ENTRY_CONF_CHANGE:
		text_add(out, "EntryConfChange");
		print_change(out, e);
		break;
	case RAFT_ENTRY_CONF_CHANGE_V2:
		text_add(out, "EntryConfChangeV2");
		print_change(out, e);
		break;
	}
}

static void
print_entry_lines(
    struct buf *out, const struct raft_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		print_entry(out, &entries[i]);
		text_add(out, "\n");
	}
}

static void
print_ids(struct buf *out, const char *name, const struct raft_ids *set)
{
	text_add(out, "%s:[", name);
	for (uint32_t i = 0; i < set->count; i++)
		text_add(out, "%s%" PRIu64, i == 0 ? "" : " ", set->id[i]);
	text_add(out, "]");
}

static void
print_snapshot(struct buf *out, const struct raft_snapshot *s)
{
	text_add(out, "Index:%" PRIu64 " Term:%" PRIu64 " ConfState:", s->index,
	    s->term);
	if (*store_conf_text(s) != '\0') {
		text_add(out, "%s", store_conf_text(s));
		return;
	}
	print_ids(out, "Voters", &s->conf.voters);
	print_ids(out, " VotersOutgoing", &s->conf.voters_outgoing);
	print_ids(out, " Learners", &s->conf.learners);
	print_ids(out, " LearnersNext", &s->conf.learners_next);
	text_add(out, " AutoLeave:%s", s->conf.auto_leave ? "true" : "false");
}

static void
print_msg_entries(struct buf *out, const struct raft_msg *m, int indent)
{
	if (m->entry_count == 0)
		return;
	text_add(out, " Entries:[");
	if (m->entry_count == 1) {
		print_entry(out, &m->entries[0]);
		text_add(out, "]");
		return;
	}
	for (size_t i = 0; i < m->entry_count; i++) {
		text_add(out, "\n%*s", indent + 2, "");
		print_entry(out, &m->entries[i]);
	}
	text_add(out, "\n%*s]", indent, "");
}

static void
print_msg_own(struct buf *out, const struct raft_msg *m, int indent)
{
	text_add(out, "%*s", indent, "");
	print_node(out, m->from);
	text_add(out, "->");
	print_node(out, m->to);
	text_add(out, " %s Term:%" PRIu64 " Log:%" PRIu64 "/%" PRIu64,
	    raft_msg_type_name(m->type), m->term, m->log_term, m->index);
	if (m->reject)
		text_add(out, " Rejected (Hint: %" PRIu64 ")", m->reject_hint);
	if (m->commit != 0)
		text_add(out, " Commit:%" PRIu64, m->commit);
	if (m->vote != 0)
		text_add(out, " Vote:%" PRIu64, m->vote);
	print_msg_entries(out, m, indent);
	if (m->snapshot != NULL && m->snapshot->index != 0) {
		text_add(out, "\n%*sSnapshot: ", indent + 2, "");
		print_snapshot(out, m->snapshot);
	}
}

void
print_msg(struct buf *out, const struct raft_msg *m, int indent)
{
	print_msg_own(out, m, indent);
	if (m->response_count == 0)
		return;
	text_add(out, " Responses:[\n");
	for (size_t i = 0; i < m->response_count; i++) {
		print_msg_own(out, &m->responses[i], indent + 2);
		text_add(out, "\n");
	}
	text_add(out, "%*s]", indent, "");
}

/* ---- a raft_ready ---- */

static void
print_read_states(struct buf *out, const struct raft_ready *rd)
{
	if (rd->read_state_count == 0)
		return;
	text_add(out, "ReadStates [");
	for (size_t i = 0; i < rd->read_state_count; i++) {
		struct bytes context = blob_bytes(rd->read_states[i].context);

		text_add(out, "%s{%" PRIu64 " [", i == 0 ? "" : " ",
		    rd->read_states[i].index);
		for (size_t b = 0; b < context.len; b++)
			text_add(
			    out, "%s%u", b == 0 ? "" : " ", context.data[b]);
		text_add(out, "]}");
	}
	text_add(out, "]\n");
}

static void
print_states(struct buf *out, const struct raft_ready *rd)
{
	if (rd->has_soft_state)
		text_add(out, "Lead:%" PRIu64 " State:%s\n",
		    rd->soft_state.leader, raft_role_name(rd->soft_state.role));
	if (rd->has_hard_state) {
		text_add(out, "HardState Term:%" PRIu64, rd->hard_state.term);
		if (rd->hard_state.vote != 0)
			text_add(out, " Vote:%" PRIu64, rd->hard_state.vote);
		text_add(out, " Commit:%" PRIu64 "\n", rd->hard_state.commit);
	}
	print_read_states(out, rd);
}

void
print_ready(struct buf *out, const struct raft_ready *rd)
{
	struct buf parts = {0};

	print_states(&parts, rd);
	if (rd->entry_count > 0)
		text_add(&parts, "Entries:\n");
	print_entry_lines(&parts, rd->entries, rd->entry_count);
	if (rd->snapshot != NULL) {
		text_add(&parts, "Snapshot ");
		print_snapshot(&parts, rd->snapshot);
		text_add(&parts, "\n");
	}
	if (rd->committed_count > 0)
		text_add(&parts, "CommittedEntries:\n");
	print_entry_lines(&parts, rd->committed_entries, rd->committed_count);
	if (rd->message_count > 0)
		text_add(&parts, "Messages:\n");
	for (size_t i = 0; i < rd->message_count; i++) {
		print_msg(&parts, &rd->messages[i], 0);
		text_add(&parts, "\n");
	}
	if (parts.len == 0)
		text_add(out, "<empty Ready>\n");
	else
		text_add(out, "Ready MustSync=%s:\n",
		    rd->must_sync ? "true" : "false");
	buf_append(out, parts.data, parts.len);
	buf_free(&parts);
}

void
print_progress(struct buf *out, const struct raft_progress_status *pr)
{
	static const char *const states[] = {
	    [RAFT_PROGRESS_PROBE] = "StateProbe",
	    [RAFT_PROGRESS_REPLICATE] = "StateReplicate",
	    [RAFT_PROGRESS_SNAPSHOT] = "StateSnapshot",
	};

	text_add(out, "%" PRIu64 ": %s match=%" PRIu64 " next=%" PRIu64, pr->id,
	    states[pr->state], pr->match, pr->next);
	if (pr->learner)
		text_add(out, " learner");
	if (pr->paused)
		text_add(out, " paused");
	if (pr->pending_snapshot > 0)
		text_add(out, " pendingSnap=%" PRIu64, pr->pending_snapshot);
	if (!pr->recent_active)
		text_add(out, " inactive");
	if (pr->inflight > 0)
		text_add(out, " inflight=%" PRIu32 "%s", pr->inflight,
		    pr->inflight_full ? "[full]" : "");
	text_add(out, "\n");
}

/* ---- the other way ---- */

const char *
parse_ops(const char *text, struct raft_conf_change *cc)
{
	static char wrong[128];
	char word[64];

	while (next_word(&text, word, sizeof(word))) {
		const char *at =
		    memchr(op_letters, word[0], sizeof(op_letters));
		uint64_t id;

		if (strlen(word) < 2) {
			(void)snprintf(
			    wrong, sizeof(wrong), "unknown token %s", word);
			return wrong;
		}
		if (at == NULL || !parse_u64(word + 1, &id) ||
		    cc->count == RAFT_CONF_OPS_MAX) {
			(void)snprintf(
			    wrong, sizeof(wrong), "unknown input: %s", word);
			return wrong;
		}
		cc->ops[cc->count++] = (struct raft_conf_step){
		    .op = (enum raft_conf_op)(at - op_letters), .id = id};
	}
	return NULL;
}
