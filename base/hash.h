/* Hashes and checksums: XXH3 of libxxhash, and the sum of 128-bit hashes that
 * does not depend on order (the state hash). */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH128_HEX_BYTES 33 /* 32 digits and the NUL */

struct hash128 {
	uint64_t lo;
	uint64_t hi;
};

uint64_t hash64(const void *data, size_t len, uint64_t seed);
struct hash128 hash128(const void *data, size_t len);
/* Addition and subtraction modulo 2^128: a set's hash is the sum over its
 * elements, and an element leaves it by subtraction. */
struct hash128 hash128_add(struct hash128 a, struct hash128 b);
struct hash128 hash128_sub(struct hash128 a, struct hash128 b);
void hash128_hex(struct hash128 h, char out[HASH128_HEX_BYTES]);

#endif
