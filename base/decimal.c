/* Decimal digits; see decimal.h. */
#include "base/decimal.h"

#include <string.h>

size_t
decimal_u64(uint64_t v, char out[DECIMAL_BYTES_MAX])
{
	char digits[DECIMAL_BYTES_MAX];
	char *end = digits + sizeof digits, *p = end;
	size_t n;

	do { /* the last one first */
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	n = (size_t)(end - p);
	memcpy(out, p, n);
	out[n] = '\0';
	return n;
}
