/* So many bytes per second, and a quarter of a second's at once. */
#ifndef RAFTD_RATE_H
#define RAFTD_RATE_H

#include <stdint.h>

#include "base/mono.h"

struct rate {
	uint64_t saved; /* bytes that may be used now */
	struct mono at; /* as of then */
};

/* Use some; least is the largest number that is ever used at once.  0, or in
 * how many ms to try again: then none were used. */
uint64_t rate_use(struct rate *r, uint64_t bytes_per_s, uint64_t least,
    uint64_t bytes, struct mono now);

#endif
