/* How many requests of which kind were answered, how, and how fast. */
#ifndef HTTPD_TRAFFIC_H
#define HTTPD_TRAFFIC_H

#include <stdint.h>

#include "base/metrics.h"
#include "base/mono.h"

/* Labels have few values, whatever clients send. */
#define TRAFFIC_PORTS 2u
#define TRAFFIC_METHODS 6u
#define TRAFFIC_STATUSES 24u

/* Zeroed at first. */
struct traffic {
	struct histogram seconds[TRAFFIC_PORTS][TRAFFIC_METHODS]
				[TRAFFIC_STATUSES]; /* HISTOGRAM_NET */
	uint64_t writes_failed;
};

enum traffic_port { TRAFFIC_DATA, TRAFFIC_ADMIN };

/* A method as traffic_count() wants it. */
unsigned traffic_method(const char *name);
/* A request was answered; begin is when all of it was here, 0 if that never
 * was. */
void traffic_count(struct traffic *t, enum traffic_port port, unsigned method,
    unsigned status, struct mono begin, struct mono end);
void traffic_metrics(const struct traffic *t, struct metrics *m);

#endif
