/* The verb status: what nodes say about themselves. */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>

#include "base/buf.h"
#include "cmd/metcdctl/admin.h"
#include "cmd/metcdctl/compare.h"
#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/progress.h"
#include "cmd/metcdctl/report.h"

#define COMPARE_TRIES 10
#define COMPARE_PAUSE_MS 100

static const struct column columns[] = {{"node", "id"}, {"role", "role"},
    {"leader", "leader"}, {"term", "term"}, {"commit", "raft.commit"},
    {"applied", "kv.applied"}, {"revision", "kv.revision"}, {"keys", "kv.keys"},
    {"bytes", "kv.bytes"}, {"engine", "kv.engine"}, {"hash", "kv.hash"}, {0}};

/* --- formats --- */

static void
add_peer(struct buf *out, const json_t *peer)
{
	report_text(out,
	    "  peer id=%s address=%s learner=%s state=%s match=%s "
	    "connected=%s\n",
	    report_cell(peer, "id"), report_cell(peer, "address"),
	    report_cell(peer, "learner"), report_cell(peer, "state"),
	    report_cell(peer, "match"), report_cell(peer, "connected"));
}

static void
add_simple(struct buf *out, const json_t *status)
{
	const json_t *raft = json_object_get(status, "raft");
	const json_t *kv = json_object_get(status, "kv");
	const json_t *peers = json_object_get(status, "peers");

	report_text(out,
	    "node id=%s role=%s leader=%s term=%s version=%s "
	    "cluster=%s\n",
	    report_cell(status, "id"), report_cell(status, "role"),
	    report_cell(status, "leader"), report_cell(status, "term"),
	    report_cell(status, "version"), report_cell(status, "cluster_id"));
	report_text(out,
	    "  raft first=%s last=%s commit=%s applied=%s snapshot=%s\n",
	    report_cell(raft, "first"), report_cell(raft, "last"),
	    report_cell(raft, "commit"), report_cell(raft, "applied"),
	    report_cell(raft, "snapshot"));
	report_text(out,
	    "  kv connected=%s engine=%s applied=%s durable=%s "
	    "revision=%s keys=%s bytes=%s hash=%s diverged=%s\n",
	    report_cell(kv, "connected"), report_cell(kv, "engine"),
	    report_cell(kv, "applied"), report_cell(kv, "durable"),
	    report_cell(kv, "revision"), report_cell(kv, "keys"),
	    report_cell(kv, "bytes"), report_cell(kv, "hash"),
	    report_cell(kv, "diverged"));
	for (size_t i = 0; i < json_array_size(peers); i++)
		add_peer(out, json_array_get(peers, i));
}

static enum ctl_exit
print_all(const struct ctl *c, const json_t *all)
{
	struct buf out = {0};
	enum ctl_exit rc;

	if (c->output != CTL_SIMPLE)
		return report_print(c, columns, all, report_whole(all));
	for (size_t i = 0; i < json_array_size(all); i++)
		add_simple(&out, json_array_get(all, i));
	rc = ctl_print(out.data, out.len);
	buf_free(&out);
	return rc;
}

/* --- asking --- */

/* Append the status of one node to all. */
static enum ctl_exit
ask_node(const char *endpoint, struct mono deadline, json_t *all)
{
	json_t *status = NULL;
	enum ctl_exit rc = admin_get(endpoint, "/v1/status", deadline, &status);

	if (rc == CTL_OK && json_object_get(status, "raft") == NULL) {
		ctl_error("the answer of %s is not a status; is it an admin "
			  "address?",
		    endpoint);
		json_decref(status);
		rc = CTL_ERROR;
	} else if (rc == CTL_OK)
		json_array_append_new(all, status);
	return rc;
}

/* Ask all nodes; those that answer are in all. */
static enum ctl_exit
ask_all(const struct ctl *c, struct mono deadline, json_t *all)
{
	enum ctl_exit rc = CTL_OK;

	for (size_t i = 0; i < c->admin.count; i++) {
		enum ctl_exit one = ask_node(c->admin.at[i], deadline, all);

		if (one != CTL_OK)
			rc = one;
	}
	return rc;
}

/* Nodes that are written to are rarely met at the same index: ask again. */
static enum ctl_exit
ask_comparable(const struct ctl *c, struct mono deadline, json_t *all)
{
	enum ctl_exit rc = ask_all(c, deadline, all);

	for (int i = 0;
	     i < COMPARE_TRIES && rc == CTL_OK && !compare_is_possible(all) &&
	     !mono_reached(deadline, mono_now());
	     i++) {
		(void)poll(NULL, 0, COMPARE_PAUSE_MS); /* others' progress */
		json_array_clear(all);
		rc = ask_all(c, deadline, all);
	}
	return rc;
}

/* Where the verdict stands: behind the report, but not within JSON. */
static enum ctl_exit
print_verdict(const struct ctl *c, const json_t *all)
{
	struct buf out = {0};
	const bool well = compare_nodes(all, &out);
	enum ctl_exit rc = CTL_OK;

	if (c->output != CTL_JSON)
		rc = ctl_print(out.data, out.len);
	else
		(void)fwrite(out.data, 1, out.len, stderr);
	buf_free(&out);
	return rc != CTL_OK ? rc : well ? CTL_OK : CTL_ERROR;
}

static enum ctl_exit
report(const struct ctl *c, const json_t *all, enum ctl_exit rc)
{
	enum ctl_exit printed;

	if (json_array_size(all) == 0)
		return rc;
	if ((printed = print_all(c, all)) != CTL_OK)
		rc = printed;
	if (c->cluster && (printed = print_verdict(c, all)) != CTL_OK)
		rc = printed;
	return rc;
}

enum ctl_exit
verb_status(const struct ctl *c)
{
	const struct mono deadline = ctl_deadline(c, CTL_USUAL_MS);
	json_t *all = json_array();
	enum ctl_exit rc;

	progress_begin("asking the nodes");
	rc = c->cluster ? ask_comparable(c, deadline, all)
			: ask_all(c, deadline, all);
	progress_end();
	rc = report(c, all, rc);
	json_decref(all);
	return rc;
}
