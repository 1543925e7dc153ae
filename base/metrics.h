/* Figures for Prometheus: histograms that are cheap to fill, and the text
 * exposition format 0.0.4 to show them in.
 * (https://prometheus.io/docs/instrumenting/exposition_formats/)
 *
 * A counter or a gauge is a plain number of its owner.  There is no registry:
 * a process writes its families one after the other, each whole and once, and
 * no two processes have a family of the same name.  Not thread-safe. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"

/* Durations in buckets whose upper bounds double: first, 2 first, 4 first...
 * nanoseconds.  A zeroed one is filled as it is; it has no bounds of its own,
 * so that an array of them can be in .bss. */
#define HISTOGRAM_BUCKETS 16u

struct histogram {
	uint64_t count[HISTOGRAM_BUCKETS + 1]; /* the last: beyond all bounds */
	uint64_t sum_ns;
};

/* etcd's for fdatasync: 1 ms, twice that, ... 8.192 s (14 buckets). */
#define HISTOGRAM_DISK_NS 1000000u
#define HISTOGRAM_DISK_BUCKETS 14u
/* etcd's for round trips: 0.1 ms ... 3.2768 s (16 buckets). */
#define HISTOGRAM_NET_NS 100000u
#define HISTOGRAM_NET_BUCKETS 16u
/* Long work: 10 ms ... 327.68 s (16 buckets). */
#define HISTOGRAM_LONG_NS 10000000u
#define HISTOGRAM_LONG_BUCKETS 16u

void histogram_add(struct histogram *h, uint64_t first_ns, uint64_t ns);
/* The same from one moment to a later one; 0 if it is not later. */
void histogram_add_since(
    struct histogram *h, uint64_t first_ns, struct mono begin, struct mono end);
uint64_t histogram_total(const struct histogram *h);

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* What is being written.  Zeroed but for out, which is borrowed. */
struct metrics {
	struct buf *out;
	const char *family; /* borrowed: a constant */
	enum metrics_type type;
};

/* A label; lists of them end with name NULL.  Any bytes but NUL are fine in a
 * value, what is not UTF-8 is shown as '?'. */
struct metrics_label {
	const char *name;
	const char *value;
};

/* Begin the next family; its samples follow.  Names of counters end in _total,
 * help is one line. */
void metrics_family(struct metrics *m, const char *name, enum metrics_type type,
    const char *help);
/* A sample; labels NULL: none. */
void metrics_u64(
    struct metrics *m, const struct metrics_label *labels, uint64_t value);
/* Nanoseconds, shown as seconds. */
void metrics_seconds(
    struct metrics *m, const struct metrics_label *labels, uint64_t ns);
/* All lines of one histogram; its bounds are first_ns and so on. */
void metrics_histogram(struct metrics *m, const struct metrics_label *labels,
    uint64_t first_ns, unsigned buckets, const struct histogram *h);

/* A family of one sample without labels. */
void metrics_counter(
    struct metrics *m, const char *name, const char *help, uint64_t value);
void metrics_gauge(
    struct metrics *m, const char *name, const char *help, uint64_t value);

#endif
