/* What httpd itself tells Prometheus; raftd and kvd have their own (metrics.h).
 */
#include "base/process.h"
#include "httpd/httpd.h"

static void
put_one(struct metrics *m, const char *label, const char *value, uint64_t n)
{
	const struct metrics_label labels[] = {{label, value}, {NULL, NULL}};

	metrics_u64(m, labels, n);
}

void
httpd_figures(void *arg, struct metrics *m)
{
	static const struct process_names names = PROCESS_NAMES("metcd_httpd");
	const struct httpd *h = arg;

	traffic_metrics(&h->traffic, m);
	metrics_gauge(m, "metcd_http_requests_in_flight",
	    "Requests from their first line to the end of their answer, this "
	    "one included.",
	    h->requests);
	metrics_gauge(m, "metcd_http_requests_waiting",
	    "Reads and writes on their way through raftd and kvd.",
	    pending_count(h->pending));
	metrics_gauge(m, "metcd_http_body_bytes",
	    "Bytes of request bodies in memory.", h->body_bytes);
	metrics_family(m, "metcd_http_connections", METRICS_GAUGE,
	    "Open connections of clients.");
	put_one(m, "port", "data", server_connections(h->data));
	put_one(m, "port", "admin", server_connections(h->admin));
	metrics_gauge(m, "metcd_server_proposals_pending",
	    "Proposals of this node that are not applied here yet; each has "
	    "the writes of one turn of the loop.",
	    pending_batches(h->pending, WAY_WRITE));
	metrics_family(m, "metcd_httpd_link_queue_bytes", METRICS_GAUGE,
	    "What waits to be sent on httpd's links.");
	put_one(m, "link", "raftd", link_queued_bytes(h->raftd));
	put_one(m, "link", "kvd", link_queued_bytes(h->kvd));
	process_metrics(m, &names);
}
