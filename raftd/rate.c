/* A limit of bytes per second; see rate.h. */
#include "raftd/rate.h"

#define US_PER_S 1000000u
#define LOOK_US 1000u /* below that it is all rounding */

static void
save(struct rate *r, uint64_t bytes_per_s, uint64_t least, struct mono now)
{
	uint64_t most = bytes_per_s / 4 > least ? bytes_per_s / 4 : least;
	uint64_t us = mono_us_since(r->at, now);

	if (us < LOOK_US)
		return;
	if (us > US_PER_S)
		us = US_PER_S;
	r->saved += bytes_per_s * us / US_PER_S;
	if (r->saved > most)
		r->saved = most;
	r->at = now;
}

uint64_t
rate_use(struct rate *r, uint64_t bytes_per_s, uint64_t least, uint64_t bytes,
    struct mono now)
{
	if (bytes_per_s == 0)
		return 0;
	save(r, bytes_per_s, least, now);
	if (r->saved < bytes)
		return 1 + (bytes - r->saved) * 1000 / bytes_per_s;
	r->saved -= bytes;
	return 0;
}
