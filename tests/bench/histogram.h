/* Counts of times in nanoseconds, at most 1.6 % apart (64 steps for each
 * doubling), so that percentiles need no list of all of them. */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64u /* for each doubling */
#define HISTOGRAM_CELLS (HISTOGRAM_STEPS * 59u)

struct histogram {
	uint64_t cell[HISTOGRAM_CELLS];
	uint64_t count;
	uint64_t max;
	uint64_t sum;
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The time that a part of all (0..1) did not exceed; 0 if there is none. */
uint64_t histogram_at(const struct histogram *h, double part);

#endif
