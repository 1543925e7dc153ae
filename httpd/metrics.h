/* GET /metrics: what raftd and kvd say of themselves, and what httpd knows.
 * Both are asked, and the answer leaves when both have answered, or after
 * METRICS_MS without the one that did not: nothing here waits for Raft, and no
 * stale figure is shown. */
#ifndef HTTPD_METRICS_H
#define HTTPD_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "httpd/asker.h"
#include "proto/err.h"
#include "proto/link.h"
#include "proto/msg.h"

#define METRICS_MS 200u
#define METRICS_MEDIA_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct scrapes;

/* text is borrowed during the call. */
typedef void scrape_answer_fn(struct asker *a, struct bytes text);
/* Write httpd's own families; arg is the one given to scrapes_open(). */
typedef void scrape_own_fn(void *arg, struct metrics *m);

/* The links are borrowed and outlive it. */
struct scrapes *scrapes_open(struct link *raftd, struct link *kvd,
    scrape_own_fn *own, void *arg, scrape_answer_fn *answer);
void scrapes_close(struct scrapes *sc); /* NULL is allowed */

void scrapes_add(struct scrapes *sc, struct asker *a, struct mono now);
void scrapes_forget(struct scrapes *sc, struct asker *a);

/* Answer those for whom all is here or whose time is up; once per turn, after
 * links_take(). */
void scrapes_run(struct scrapes *sc, struct mono now);
void scrapes_stop(struct scrapes *sc); /* answer everybody at once */
struct mono scrapes_next(const struct scrapes *sc);

/* METRICS of raftd or kvd. */
enum err scrapes_take(
    struct scrapes *sc, enum msg_process from, struct wire *body);

#endif
