/* Kind confchange: one configuration that lives through the file. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "raftd/raft/core.h"
#include "tests/script/harness/kinds.h"
#include "tests/script/harness/print.h"

struct confchange {
	struct tracker tracker;
	uint64_t last; /* index; raised by every directive */
};

static void
print_set(struct buf *out, const char *head, const struct raft_ids *set)
{
	text_add(out, "%s(", head);
	for (uint32_t i = 0; i < set->count; i++)
		text_add(out, "%s%" PRIx64, i == 0 ? "" : " ", set->id[i]);
	text_add(out, ")");
}

static void
print_conf(struct buf *out, const struct raft_conf_state *conf)
{
	print_set(out, "voters=", &conf->voters);
	if (conf->voters_outgoing.count > 0)
		print_set(out, "&&", &conf->voters_outgoing);
	if (conf->learners.count > 0)
		print_set(out, " learners=", &conf->learners);
	if (conf->learners_next.count > 0)
		print_set(out, " learners_next=", &conf->learners_next);
	if (conf->auto_leave)
		text_add(out, " autoleave");
	text_add(out, "\n");
}

static void
print_tracker(struct buf *out, const struct tracker *t)
{
	print_conf(out, &t->conf);
	for (uint32_t i = 0; i < t->count; i++) {
		const struct progress *pr = &t->prs[i];
		struct raft_progress_status status = {.id = pr->id,
		    .match = pr->match,
		    .next = pr->next,
		    .state = pr->state,
		    .learner = pr->learner,
		    .paused = progress_paused(pr),
		    .recent_active = pr->recent_active};

		print_progress(out, &status);
	}
}

static const char *
change(struct confchange *c, const struct directive *d)
{
	struct raft_conf_change cc = {0};
	const char *wrong = parse_ops(d->input, &cc);

	if (wrong != NULL)
		return wrong;
	if (strcmp(d->command, "simple") == 0)
		return change_simple(&c->tracker, cc.ops, cc.count, c->last);
	if (strcmp(d->command, "enter-joint") == 0)
		return change_enter_joint(&c->tracker,
		    directive_bool(d, "autoleave", false), cc.ops, cc.count,
		    c->last);
	if (strcmp(d->command, "leave-joint") != 0)
		return "unknown command";
	if (cc.count > 0)
		return "this command takes no input";
	return change_leave_joint(&c->tracker);
}

static void
handle(void *ctx, const struct directive *d, struct buf *out)
{
	struct confchange *c = ctx;
	const char *wrong = change(c, d);

	if (wrong != NULL)
		text_add(out, "%s\n", wrong);
	else
		print_tracker(out, &c->tracker);
	c->last++;
}

static void *
open_confchange(void)
{
	struct confchange *c = mem_zalloc(1, sizeof(*c));

	c->tracker.inflight_msgs_max = 10;
	return c;
}

static void
close_confchange(void *ctx)
{
	struct confchange *c = ctx;

	tracker_free(&c->tracker);
	mem_free(c);
}

const struct kind kind_confchange = {.name = "confchange",
    .handle = handle,
    .open = open_confchange,
    .close = close_confchange};
