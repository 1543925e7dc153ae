/* Requests that were answered; see traffic.h. */
#include "httpd/traffic.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char *const ports[TRAFFIC_PORTS] = {
    [TRAFFIC_DATA] = "data", [TRAFFIC_ADMIN] = "admin"};

#define OTHER (TRAFFIC_METHODS - 1)
static const char *const methods[TRAFFIC_METHODS] = {
    "GET", "PUT", "DELETE", "HEAD", "POST", "other"};

/* All that we answer; another one is counted as its class's first. */
static const unsigned statuses[TRAFFIC_STATUSES] = {200, 201, 202, 204, 304,
    400, 404, 405, 409, 411, 412, 413, 414, 415, 422, 431, 500, 501, 503, 504,
    507};

unsigned
traffic_method(const char *name)
{
	unsigned i = 0;

	while (i < OTHER && strcmp(methods[i], name) != 0)
		i++;
	return i;
}

static unsigned
status_place(unsigned status)
{
	for (unsigned i = 0; i < TRAFFIC_STATUSES && statuses[i] != 0; i++)
		if (statuses[i] == status)
			return i;
	return status / 100 == 5   ? status_place(500)
	       : status / 100 == 4 ? status_place(400)
				   : status_place(200);
}

void
traffic_count(struct traffic *t, enum traffic_port port, unsigned method,
    unsigned status, struct mono begin, struct mono end)
{
	unsigned place = status_place(status);

	assert(method < TRAFFIC_METHODS);
	if (begin.ns == 0)
		begin = end;
	histogram_add_since(
	    &t->seconds[port][method][place], HISTOGRAM_NET_NS, begin, end);
	if (port == TRAFFIC_DATA && status >= 500 &&
	    (strcmp(methods[method], "PUT") == 0 ||
		strcmp(methods[method], "DELETE") == 0))
		t->writes_failed++;
}

static void
put_one(const struct traffic *t, struct metrics *m, unsigned port,
    unsigned method, unsigned place)
{
	const struct histogram *h = &t->seconds[port][method][place];
	char status[16];
	const struct metrics_label labels[] = {{"port", ports[port]},
	    {"method", methods[method]}, {"status", status}, {NULL, NULL}};

	if (histogram_total(h) == 0)
		return;
	(void)snprintf(status, sizeof status, "%u", statuses[place]);
	metrics_histogram(
	    m, labels, HISTOGRAM_NET_NS, HISTOGRAM_NET_BUCKETS, h);
}

void
traffic_metrics(const struct traffic *t, struct metrics *m)
{
	metrics_family(m, "metcd_http_request_duration_seconds",
	    METRICS_HISTOGRAM,
	    "From the end of a request to its answer, by port, method and "
	    "status; requests that were refused before their end count as 0.");
	for (unsigned p = 0; p < TRAFFIC_PORTS; p++)
		for (unsigned i = 0; i < TRAFFIC_METHODS; i++)
			for (unsigned s = 0; s < TRAFFIC_STATUSES; s++)
				if (statuses[s] != 0)
					put_one(t, m, p, i, s);
	metrics_counter(m, "metcd_server_proposals_failed_total",
	    "Writes of clients that were answered with a status of 500 or "
	    "more: refused, or of unknown outcome.",
	    t->writes_failed);
}
