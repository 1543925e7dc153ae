/* httpd's two links: to raftd (proposeC, readC, errorC) and to kvd (replyC).
 * Both are dialed, for ever: either process may come, go and come back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mono.h"
#include "httpd/httpd.h"

static void
ring_hello(void *arg, struct msg_hello *mine)
{
	const struct httpd *h = arg;

	mine->epoch = h->epoch;
	mine->cluster = h->cluster;
	mine->node = h->node;
}

/* Who we are is what raftd says; it does not change while we live. */
static enum err
learn(struct httpd *h, uint64_t node, uint64_t cluster)
{
	if ((h->node != 0 && node != 0 && node != h->node) ||
	    (h->cluster != 0 && cluster != 0 && cluster != h->cluster)) {
		log_warnx("raftd is of another node or cluster node=%" PRIu64
			  " ours=%" PRIu64 "; restart httpd if it was moved",
		    node, h->node);
		return ERR_FOREIGN;
	}
	if (h->node == 0 && node != 0) {
		h->node = node;
		pending_node(h->pending, node);
		log_node(node);
	}
	if (h->cluster == 0)
		h->cluster = cluster;
	return ERR_OK;
}

/* For `systemctl status`. */
static void
tell_manager(const struct httpd *h)
{
	const bool raftd = link_is_up(h->raftd), kvd = link_is_up(h->kvd);

	if (raftd && kvd)
		daemon_status("node %" PRIu64 ", serving", h->node);
	else
		daemon_status("waiting for %s%s%s", raftd ? "" : "raftd",
		    raftd || kvd ? "" : " and ", kvd ? "" : "kvd");
}

/* --- raftd --- */

static enum err
raftd_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct httpd *h = arg;
	enum err rc;

	(void)l;
	if ((rc = learn(h, theirs->node, theirs->cluster)) != ERR_OK)
		return rc;
	log_info("raftd connected epoch=%016" PRIx64, theirs->epoch);
	status_raftd_up(h->status, theirs);
	pending_raftd_up(h->pending, mono_now());
	tell_manager(h);
	return ERR_OK;
}

static void
raftd_down(void *arg, struct link *l)
{
	struct httpd *h = arg;

	(void)l;
	log_warnx("raftd disconnected, requests wait for it");
	tell_manager(h);
	control_raftd_down(h->control);
}

static enum err
take_raft_status(struct httpd *h, struct wire *body)
{
	struct msg_raft_status said;
	enum err rc = status_take_raft(h->status, body, &said);

	if (rc == ERR_OK) /* its HELLO may have come before it knew */
		rc = learn(h, said.node, said.cluster);
	if (rc == ERR_OK)
		pending_leader(h->pending, said.leader, said.term, mono_now());
	return rc;
}

static enum err
raftd_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct httpd *h = arg;

	(void)l;
	if (type == MSG_REFUSE)
		return pending_refuse(h->pending, body, mono_now());
	if (type == MSG_RAFT_STATUS)
		return take_raft_status(h, body);
	if (type == MSG_CONTROLLED)
		return control_take(h->control, body);
	if (type == MSG_METRICS)
		return scrapes_take(h->scrapes, MSG_RAFTD, body);
	return ERR_MALFORMED;
}

static const struct link_ops raftd_ops = {.hello = ring_hello,
    .up = raftd_up,
    .down = raftd_down,
    .take = raftd_take};

/* --- kvd --- */

/* Each end says HELLO by itself, so kvd may not have heard ours yet, while we
 * send reads and proposals around the ring: what it answers before that is
 * lost.  An answer to this says that it has. */
static void
ask_kvd_whether_it_knows_us(struct httpd *h)
{
	struct msg_status_ask m = {.token = 0};
	struct wire *w = link_begin(h->kvd, MSG_STATUS_ASK);

	h->kvd_knows_us = false;
	if (w == NULL)
		return;
	(void)msg_status_ask_wire(w, &m); /* ours: no error */
	link_end(h->kvd);
}

static enum err
kvd_up(void *arg, struct link *l, const struct msg_hello *theirs)
{
	struct httpd *h = arg;

	(void)l;
	if (h->cluster != 0 && theirs->cluster != 0 &&
	    theirs->cluster != h->cluster) {
		log_warnx("kvd holds the data of another cluster; give it "
			  "its own --data-dir");
		return ERR_FOREIGN;
	}
	log_info("kvd connected epoch=%016" PRIx64 " engine=%s", theirs->epoch,
	    theirs->engine);
	status_kvd_up(h->status, theirs);
	pending_kvd_up(h->pending, mono_now());
	ask_kvd_whether_it_knows_us(h);
	tell_manager(h);
	return ERR_OK;
}

static void
kvd_down(void *arg, struct link *l)
{
	(void)l;
	log_warnx("kvd disconnected, requests wait for it");
	tell_manager(arg);
}

static enum err
take_kv_status(struct httpd *h, struct wire *body)
{
	struct msg_kv_status m;
	enum err rc = status_take_kv(h->status, body, &m);

	if (rc != ERR_OK)
		return rc;
	if (!h->kvd_knows_us)
		pending_kvd_up(h->pending, mono_now()); /* once more */
	h->kvd_knows_us = true;
	checker_take(&h->checker, h->node, &m, mono_now());
	return ERR_OK;
}

static enum err
kvd_take(void *arg, struct link *l, uint8_t type, struct wire *body)
{
	struct httpd *h = arg;

	(void)l;
	if (type == MSG_REPLY)
		return pending_reply(h->pending, body, mono_now());
	if (type == MSG_KV_STATUS)
		return take_kv_status(h, body);
	if (type == MSG_METRICS)
		return scrapes_take(h->scrapes, MSG_KVD, body);
	return ERR_MALFORMED;
}

static const struct link_ops kvd_ops = {
    .hello = ring_hello, .up = kvd_up, .down = kvd_down, .take = kvd_take};

int
ring_open(struct httpd *h, const char *run_dir)
{
	char url[256];
	int n;

	/* "raftd.sock" is the longer one. */
	n = snprintf(url, sizeof url, "ipc://%s/raftd.sock", run_dir);
	if (n < 0 || (size_t)n >= sizeof url) {
		log_errorx("the path of the run directory is too long; "
			   "choose another --run-dir");
		return EX_USAGE;
	}
	h->raftd = links_dial(h->links, url, MSG_RAFTD, "raftd", &raftd_ops, h);
	(void)snprintf(url, sizeof url, "ipc://%s/kvd.sock", run_dir);
	h->kvd = links_dial(h->links, url, MSG_KVD, "kvd", &kvd_ops, h);
	tell_manager(h);
	return EX_OK;
}
