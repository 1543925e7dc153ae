/* See histogram.h. */
#include "tests/bench/histogram.h"

/* 0..63 count for themselves; from 64 on the six bits behind the highest one
 * choose the step. */
static unsigned
cell_of(uint64_t ns)
{
	unsigned doubling;

	if (ns < HISTOGRAM_STEPS)
		return (unsigned)ns;
	doubling = 63u - (unsigned)__builtin_clzll(ns) - 5u; /* 1.. */
	return doubling * HISTOGRAM_STEPS +
	       (unsigned)(ns >> (doubling - 1u)) % HISTOGRAM_STEPS;
}

/* The largest time that cell_of() puts there. */
static uint64_t
top_of(unsigned cell)
{
	unsigned doubling = cell / HISTOGRAM_STEPS;

	if (doubling == 0)
		return cell;
	return (((uint64_t)HISTOGRAM_STEPS + cell % HISTOGRAM_STEPS + 1)
		   << (doubling - 1)) -
	       1;
}

void
histogram_add(struct histogram *h, uint64_t ns)
{
	h->cell[cell_of(ns)]++;
	h->count++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
}

uint64_t
histogram_at(const struct histogram *h, double part)
{
	uint64_t wanted = (uint64_t)(part * (double)h->count);
	uint64_t seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
		seen += h->cell[i];
		if (seen > wanted || (seen == h->count && seen > 0))
			return top_of(i) < h->max ? top_of(i) : h->max;
	}
	return 0;
}
