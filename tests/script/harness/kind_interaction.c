/* Kind interaction: commands that move a simulated cluster.
 *
 * Beside the commands of etcd's data files there are, for our own scripts:
 *   read-index ID TEXT            ask for a read index; TEXT is the context
 *   report-snapshot A B ok|fail   tell A how the snapshot to B went
 *   restart ID [torn=N]           a power cut; N: term, vote and N entries of
 *                                 the write that waits got to the disk
 *   deliver-msgs again=(ID,...)   to these, too; it stays on the network, and
 *                                 comes once more
 * and the add-nodes options max-bytes-per-msg, max-inflight-bytes,
 * max-uncommitted-bytes, disable-proposal-forwarding and heartbeat-ticks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "raftd/raft/core.h"
#include "tests/script/harness/cluster.h"
#include "tests/script/harness/kinds.h"
#include "tests/script/harness/print.h"

struct interaction {
	struct cluster cluster;
	bool silent; /* level NONE: nothing but errors */
	bool muted;  /* the same for the command that runs now */
};

/* Appends output; returns an error or NULL. */
typedef const char *(*command_fn)(
    struct interaction *x, const struct directive *d, struct buf *out);

/* ---- arguments ---- */

static struct node *
node_at(struct interaction *x, const struct directive *d, size_t at)
{
	uint64_t id;

	if (at >= d->arg_count || !parse_u64(d->args[at].key, &id))
		return NULL;
	return cluster_node(&x->cluster, id);
}

static bool
is_plain(const struct arg *a)
{
	uint64_t id;

	return a->value_count == 0 && parse_u64(a->key, &id);
}

static const char no_such_node[] = "no such node";

/* ---- adding nodes ---- */

static void
ids_from(struct raft_ids *set, const struct arg *a)
{
	for (size_t i = 0; a != NULL && i < a->value_count; i++) {
		uint64_t id;

		if (parse_u64(a->values[i], &id))
			(void)ids_add(set, id); /* small sets */
	}
}

static void
ids_as_written(struct buf *out, const char *name, const struct arg *a)
{
	text_add(out, "%s:[", name);
	for (size_t i = 0; a != NULL && i < a->value_count; i++)
		text_add(out, "%s%s", i == 0 ? "" : " ", a->values[i]);
	text_add(out, "]");
}

/* The head of a starting snapshot's data: see store.h. */
static struct blob *
head_from(const struct arg *voters, const struct arg *learners)
{
	struct buf text = {0};
	struct blob *head;

	ids_as_written(&text, "Voters", voters);
	text_add(&text, " VotersOutgoing:[]");
	ids_as_written(&text, " Learners", learners);
	text_add(&text, " LearnersNext:[] AutoLeave:false");
	buf_append(&text, "", 1);
	head = blob_new(text.data, text.len);
	buf_free(&text);
	return head;
}

static const char *
start_from(const struct directive *d, struct raft_snapshot *start)
{
	const struct arg *voters = directive_arg(d, "voters");
	const struct arg *learners = directive_arg(d, "learners");

	ids_from(&start->conf.voters, voters);
	ids_from(&start->conf.learners, learners);
	start->data = head_from(voters, learners);
	if (voters == NULL && learners == NULL &&
	    directive_arg(d, "index") == NULL)
		return NULL;
	start->index = directive_u64(d, "index", 0);
	start->term = 1;
	if (start->index <= 1)
		return "index must be specified as > 1 due to bootstrap";
	return NULL;
}

static struct raft_config
config_from(const struct directive *d)
{
	struct raft_config c = {.election_ticks = 3};

	c.heartbeat_ticks = (uint32_t)directive_u64(d, "heartbeat-ticks", 1);
	c.async_storage_writes =
	    directive_bool(d, "async-storage-writes", false);
	c.max_bytes_per_msg =
	    directive_u64(d, "max-bytes-per-msg", RAFT_NO_LIMIT);
	c.max_committed_bytes_per_ready =
	    directive_u64(d, "max-committed-size-per-ready", RAFT_NO_LIMIT);
	c.max_uncommitted_bytes = directive_u64(d, "max-uncommitted-bytes", 0);
	c.max_inflight_msgs = (uint32_t)directive_u64(d, "inflight", INT32_MAX);
	c.max_inflight_bytes = directive_u64(d, "max-inflight-bytes", 0);
	c.check_quorum = directive_bool(d, "checkquorum", false);
	c.pre_vote = directive_bool(d, "prevote", false);
	c.disable_proposal_forwarding =
	    directive_bool(d, "disable-proposal-forwarding", false);
	c.disable_conf_change_validation =
	    directive_bool(d, "disable-conf-change-validation", false);
	c.step_down_on_removal =
	    directive_bool(d, "step-down-on-removal", false);
	return c;
}

static const char *
read_mode_from(const struct directive *d, struct raft_config *c)
{
	static char wrong[128];
	const char *mode = directive_value(d, "read-only");

	if (mode == NULL || strcmp(mode, "safe") == 0) {
		c->read_mode = RAFT_READ_SAFE;
	} else if (strcmp(mode, "lease-based") == 0) {
		c->read_mode = RAFT_READ_LEASE;
	} else {
		(void)snprintf(wrong, sizeof(wrong),
		    "invalid read-only option \"%s\"", mode);
		return wrong;
	}
	return NULL;
}

static const char *
add_nodes(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct raft_config config = config_from(d);
	struct raft_snapshot start = {0};
	const char *wrong = read_mode_from(d, &config);
	uint64_t count = 0;

	(void)out;
	if (wrong == NULL)
		wrong = start_from(d, &start);
	if (d->arg_count > 0 && wrong == NULL)
		(void)parse_u64(d->args[0].key, &count); /* 0: none */
	for (uint64_t i = 0; i < count && wrong == NULL; i++)
		wrong = cluster_add_node(&x->cluster, &config, &start);
	blob_unref(&start.data);
	return wrong;
}

/* ---- time and proposals ---- */

static const char *
rc_error(enum raft_rc rc)
{
	return rc == RAFT_OK ? NULL : raft_rc_text(rc);
}

static const char *
campaign(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);

	(void)out;
	return n == NULL ? no_such_node : rc_error(raft_campaign(n->raft));
}

static const char *
tick(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	bool election = strcmp(d->command, "tick-election") == 0;

	(void)out;
	if (n == NULL)
		return no_such_node;
	for (int i = election ? 3 : 1; i > 0; i--)
		raft_tick(n->raft);
	return NULL;
}

static const char *
set_timeout(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);

	(void)out;
	if (n == NULL)
		return no_such_node;
	n->raft->election_timeout = (uint32_t)directive_u64(d, "timeout", 3);
	return NULL;
}

static const char *
propose(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	const char *text = d->arg_count > 1 ? d->args[1].key : "";
	struct blob *data = blob_new(text, strlen(text));
	enum raft_rc rc;

	(void)out;
	rc = n == NULL ? RAFT_OK : raft_propose(n->raft, data);
	blob_unref(&data);
	return n == NULL ? no_such_node : rc_error(rc);
}

static const char *
transition_from(const struct directive *d, struct raft_conf_change *cc)
{
	static char wrong[128];
	const char *word = directive_value(d, "transition");

	if (word == NULL || strcmp(word, "auto") == 0) {
		cc->transition = RAFT_CONF_AUTO;
	} else if (strcmp(word, "implicit") == 0) {
		cc->transition = RAFT_CONF_IMPLICIT;
	} else if (strcmp(word, "explicit") == 0) {
		cc->transition = RAFT_CONF_EXPLICIT;
	} else {
		(void)snprintf(
		    wrong, sizeof(wrong), "unknown transition %s", word);
		return wrong;
	}
	return NULL;
}

static const char *
unknown_key(const struct directive *d)
{
	static char wrong[128];

	for (size_t i = 1; i < d->arg_count; i++) {
		const char *key = d->args[i].key;

		if (strcmp(key, "v1") == 0 || strcmp(key, "transition") == 0)
			continue;
		(void)snprintf(wrong, sizeof(wrong), "unknown command %s", key);
		return wrong;
	}
	return NULL;
}

static const char *
propose_conf_change(
    struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	struct raft_conf_change cc = {0};
	const char *wrong = unknown_key(d);

	(void)out;
	if (wrong == NULL)
		wrong = transition_from(d, &cc);
	if (wrong == NULL)
		wrong = parse_ops(d->input, &cc);
	if (wrong != NULL)
		return wrong;
	cc.v1 = directive_bool(d, "v1", false);
	if (cc.v1 && (cc.count != 1 || cc.transition != RAFT_CONF_AUTO))
		return "v1 conf change can only have one operation and no "
		       "transition";
	if (n == NULL)
		return no_such_node;
	return rc_error(raft_propose_conf_change(n->raft, &cc));
}

/* ---- leadership, reports, reads ---- */

static const char *
transfer_leader(
    struct interaction *x, const struct directive *d, struct buf *out)
{
	uint64_t from = directive_u64(d, "from", 0);
	uint64_t to = directive_u64(d, "to", 0);
	struct node *n = cluster_node(&x->cluster, from);

	(void)out;
	if (n == NULL)
		return no_such_node;
	raft_transfer_leadership(n->raft, from, to);
	return NULL;
}

static const char *
forget_leader(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);

	(void)out;
	if (n == NULL)
		return no_such_node;
	raft_forget_leader(n->raft);
	return NULL;
}

static const char *
report_unreachable(
    struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	uint64_t about;

	(void)out;
	if (d->arg_count != 2 || n == NULL ||
	    !parse_u64(d->args[1].key, &about))
		return "must specify exactly two node indexes: node on which "
		       "to report, and reported node";
	raft_report_unreachable(n->raft, about);
	return NULL;
}

static const char *
report_snapshot(
    struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	uint64_t about;

	(void)out;
	if (n == NULL || d->arg_count != 3 ||
	    !parse_u64(d->args[1].key, &about))
		return "report-snapshot A B ok|fail";
	raft_report_snapshot(n->raft, about, strcmp(d->args[2].key, "ok") == 0);
	return NULL;
}

static const char *
restart(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	struct torn torn = {.any = directive_arg(d, "torn") != NULL,
	    .entries = directive_u64(d, "torn", 0)};

	(void)out;
	if (n == NULL)
		return no_such_node;
	return cluster_restart(&x->cluster, n, &torn);
}

static const char *
read_index(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	struct blob *context;
	enum raft_rc rc;

	(void)out;
	if (n == NULL || d->arg_count != 2)
		return "read-index ID TEXT";
	context = blob_new(d->args[1].key, strlen(d->args[1].key));
	rc = raft_read_index(n->raft, context);
	blob_unref(&context);
	return rc_error(rc);
}

static const char *
send_snapshot(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	struct raft_msg m = {.type = RAFT_MSG_SNAP};
	struct raft_msg copy;

	if (n == NULL || d->arg_count != 2 || !parse_u64(d->args[1].key, &m.to))
		return no_such_node;
	m.from = n->id;
	m.term = raft_term(n->raft);
	m.snapshot =
	    &n->store.history[n->store.history_count - 1]; /* borrowed */
	raft_msg_copy(&copy, &m);
	print_msg(out, &copy, 0);
	text_add(out, "\n");
	mailbox_push(&x->cluster.network, &copy);
	return NULL;
}

/* ---- moving things ---- */

static const char *
process(struct interaction *x, const struct directive *d, const char *what,
    const char *(*step)(struct cluster *, struct node *, struct buf *),
    struct buf *out)
{
	const char *wrong = NULL;

	for (size_t i = 0; i < d->arg_count && wrong == NULL; i++) {
		struct node *n = node_at(x, d, i);
		struct buf part = {0};

		if (n == NULL)
			return no_such_node;
		if (d->arg_count == 1)
			return step(&x->cluster, n, out);
		text_add(out, "> %" PRIu64 " %s\n", n->id, what);
		wrong = step(&x->cluster, n, &part);
		text_indent(out, &part);
		buf_free(&part);
	}
	return wrong;
}

static const char *
process_ready(struct interaction *x, const struct directive *d, struct buf *out)
{
	return process(x, d, "handling Ready", cluster_ready, out);
}

static const char *
process_append(
    struct interaction *x, const struct directive *d, struct buf *out)
{
	return process(
	    x, d, "processing append thread", cluster_append_work, out);
}

static const char *
process_apply(struct interaction *x, const struct directive *d, struct buf *out)
{
	return process(
	    x, d, "processing apply thread", cluster_apply_work, out);
}

static bool
type_from(const char *name, enum raft_msg_type *type)
{
	for (unsigned int i = 0; i <= RAFT_MSG_FORGET_LEADER; i++) {
		if (strcmp(raft_msg_type_name((enum raft_msg_type)i), name) !=
		    0)
			continue;
		*type = (enum raft_msg_type)i;
		return true;
	}
	return false;
}

static const char *
deliver(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct selection s = {.any_type = true};
	const char *type = directive_value(d, "type");
	size_t count = 0;

	if (type != NULL) {
		s.any_type = false;
		if (!type_from(type, &s.type))
			return "unknown message type";
	}
	for (size_t i = 0; i < d->arg_count; i++) {
		const struct arg *a = &d->args[i];

		s.drop = strcmp(a->key, "drop") == 0;
		s.again = strcmp(a->key, "again") == 0;
		if (is_plain(a)) {
			(void)parse_u64(a->key, &s.to); /* it is a number */
			count += cluster_deliver(&x->cluster, &s, out);
		}
		for (size_t v = 0; (s.drop || s.again) && v < a->value_count;
		     v++) {
			if (parse_u64(a->values[v], &s.to))
				count += cluster_deliver(&x->cluster, &s, out);
		}
	}
	if (count == 0)
		text_add(out, "no messages\n");
	return NULL;
}

static const char *set_level(struct interaction *x, const char *level);

static const char *
stabilize(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node **nodes = mem_zalloc(
	    x->cluster.node_count + d->arg_count + 1, sizeof(struct node *));
	const char *level = directive_value(d, "log-level");
	bool silent = x->silent;
	const char *wrong = level == NULL ? NULL : set_level(x, level);
	size_t count = 0;

	/* Of this command only. */
	x->muted = x->silent;
	x->silent = silent;
	for (size_t i = 0; i < d->arg_count && wrong == NULL; i++) {
		if (!is_plain(&d->args[i]))
			continue;
		nodes[count] = node_at(x, d, i);
		if (nodes[count++] == NULL)
			wrong = no_such_node;
	}
	if (count == 0)
		for (; count < x->cluster.node_count; count++)
			nodes[count] = x->cluster.nodes[count];
	if (wrong == NULL)
		wrong = cluster_stabilize(&x->cluster, nodes, count, out);
	mem_free(nodes);
	return wrong;
}

/* ---- looking ---- */

static const char *
show_log(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);

	if (n == NULL)
		return no_such_node;
	if (n->store.entry_count == 0)
		text_add(out,
		    "log is empty: first index=%" PRIu64 ", last index=%" PRIu64
		    "\n",
		    n->store.base_index + 1, n->store.base_index);
	for (size_t i = 0; i < n->store.entry_count; i++) {
		print_entry(out, &n->store.entries[i]);
		text_add(out, "\n");
	}
	return NULL;
}

static const char *
compact(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	const char *wrong;
	uint64_t index;

	if (n == NULL || d->arg_count != 2 ||
	    !parse_u64(d->args[1].key, &index))
		return no_such_node;
	wrong = store_compact(&n->store, index);
	return wrong != NULL ? wrong : show_log(x, d, out);
}

static const char *
status(struct interaction *x, const struct directive *d, struct buf *out)
{
	struct node *n = node_at(x, d, 0);
	struct raft_status s;

	if (n == NULL)
		return no_such_node;
	raft_status(n->raft, &s);
	for (uint32_t i = 0; i < s.progress_count; i++)
		print_progress(out, &s.progress[i]);
	return NULL;
}

static const char *
raft_state(struct interaction *x, const struct directive *d, struct buf *out)
{
	(void)d;
	for (size_t i = 0; i < x->cluster.node_count; i++) {
		struct node *n = x->cluster.nodes[i];
		struct raft_status s;
		bool voter;

		raft_status(n->raft, &s);
		voter = ids_has(&s.conf.voters, n->id) ||
			ids_has(&s.conf.voters_outgoing, n->id);
		text_add(out,
		    "%" PRIu64 ": %s (%s) Term:%" PRIu64 " Lead:%" PRIu64 "\n",
		    n->id, raft_role_name(s.soft_state.role),
		    voter ? "Voter" : "Non-Voter", s.hard_state.term,
		    s.soft_state.leader);
	}
	return NULL;
}

static const char *
set_level(struct interaction *x, const char *level)
{
	static const char *const levels[] = {
	    "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcasecmp(level, levels[i]) != 0)
			continue;
		x->silent = strcmp(levels[i], "NONE") == 0;
		return NULL;
	}
	return "log levels must be either of "
	       "[DEBUG INFO WARN ERROR FATAL NONE]";
}

static const char *
log_level(struct interaction *x, const struct directive *d, struct buf *out)
{
	(void)out;
	return set_level(x, d->arg_count > 0 ? d->args[0].key : "");
}

static const char *
breakpoint(struct interaction *x, const struct directive *d, struct buf *out)
{
	(void)x;
	(void)d;
	(void)out;
	return NULL;
}

/* ---- the table ---- */

static const struct {
	const char *name;
	command_fn run;
} commands[] = {
    {"add-nodes", add_nodes},
    {"campaign", campaign},
    {"tick-heartbeat", tick},
    {"tick-election", tick},
    {"set-randomized-election-timeout", set_timeout},
    {"propose", propose},
    {"propose-conf-change", propose_conf_change},
    {"transfer-leadership", transfer_leader},
    {"forget-leader", forget_leader},
    {"report-unreachable", report_unreachable},
    {"report-snapshot", report_snapshot},
    {"read-index", read_index},
    {"restart", restart},
    {"send-snapshot", send_snapshot},
    {"process-ready", process_ready},
    {"process-append-thread", process_append},
    {"process-apply-thread", process_apply},
    {"deliver-msgs", deliver},
    {"stabilize", stabilize},
    {"compact", compact},
    {"raft-log", show_log},
    {"status", status},
    {"raft-state", raft_state},
    {"log-level", log_level},
    {"_breakpoint", breakpoint},
};

static const char *
run(struct interaction *x, const struct directive *d, struct buf *out)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, d->command) == 0)
			return commands[i].run(x, d, out);
	return "unknown command";
}

static void
handle(void *ctx, const struct directive *d, struct buf *out)
{
	struct interaction *x = ctx;
	struct buf written = {0};
	const char *wrong;

	x->muted = x->silent;
	wrong = run(x, d, &written);
	/* An error stands alone if the level is NONE now. */
	if (!x->muted && (wrong == NULL || !x->silent))
		buf_append(out, written.data, written.len);
	buf_free(&written);
	if (wrong != NULL)
		text_add(out, "%s\n", wrong);
	if (out->len == 0)
		text_add(out, "ok\n");
}

static void *
open_interaction(void)
{
	return mem_zalloc(1, sizeof(struct interaction));
}

static void
close_interaction(void *ctx)
{
	struct interaction *x = ctx;

	cluster_free(&x->cluster);
	mem_free(x);
}

const struct kind kind_interaction = {.name = "interaction",
    .handle = handle,
    .open = open_interaction,
    .close = close_interaction};
