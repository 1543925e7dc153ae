/* Time that never steps: CLOCK_MONOTONIC in a struct, so that it cannot be
 * mixed up with wall-clock time or a duration. */
#ifndef BASE_MONO_H
#define BASE_MONO_H

#include <stdbool.h>
#include <stdint.h>

struct mono {
	uint64_t ns; /* since an arbitrary start; MONO_NEVER is beyond all */
};

#define MONO_NEVER ((struct mono){UINT64_MAX})

struct mono mono_now(void);
struct mono mono_add_ms(struct mono t, uint64_t ms); /* saturates */
struct mono mono_add_us(struct mono t, uint64_t us); /* saturates */
bool mono_reached(struct mono deadline, struct mono now);
struct mono mono_earlier(struct mono a, struct mono b);
uint64_t mono_ms_until(struct mono t, struct mono now); /* rounded up, 0 past */
uint64_t mono_ms_since(struct mono t, struct mono now); /* rounded down */
uint64_t mono_us_since(struct mono t, struct mono now);

#endif
