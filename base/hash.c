/* XXH3 and sums of 128-bit hashes; see hash.h. */
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

/* With this header XXH3_64bits() and the like take the library's variant for
 * the vector instructions of the processor at hand; without it, the one that
 * runs on all of them, which takes four times as long for a large value. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

uint64_t
hash64(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

struct hash128
hash128(const void *data, size_t len)
{
	XXH128_hash_t h = XXH3_128bits(data, len);

	return (struct hash128){.lo = h.low64, .hi = h.high64};
}

struct hash128
hash128_add(struct hash128 a, struct hash128 b)
{
	struct hash128 sum = {.lo = a.lo + b.lo, .hi = a.hi + b.hi};

	sum.hi += sum.lo < a.lo; /* carry */
	return sum;
}

struct hash128
hash128_sub(struct hash128 a, struct hash128 b)
{
	struct hash128 rest = {.lo = a.lo - b.lo, .hi = a.hi - b.hi};

	rest.hi -= a.lo < b.lo; /* borrow */
	return rest;
}

void
hash128_hex(struct hash128 h, char out[HASH128_HEX_BYTES])
{
	(void)snprintf(out, HASH128_HEX_BYTES, "%016" PRIx64 "%016" PRIx64,
	    h.hi, h.lo); /* always 32 digits */
}
