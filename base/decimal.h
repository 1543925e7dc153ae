/* Numbers as decimal digits, where printf is too slow: in what is written for
 * each request. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_BYTES_MAX 21u /* of UINT64_MAX, with its NUL */

/* Write v and a NUL; returns the number of digits. */
size_t decimal_u64(uint64_t v, char out[DECIMAL_BYTES_MAX]);

#endif
