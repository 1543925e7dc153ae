/* Monotonic time; see mono.h. */
#include "base/mono.h"

#include <assert.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

struct mono
mono_now(void)
{
	struct timespec ts;
	int rc = clock_gettime(CLOCK_MONOTONIC, &ts);

	assert(rc == 0); /* fails for a bad clock or pointer only */
	(void)rc;
	return (struct mono){
	    (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec};
}

static struct mono
add(struct mono t, uint64_t n, uint64_t unit_ns)
{
	uint64_t ns;

	if (__builtin_mul_overflow(n, unit_ns, &ns) ||
	    __builtin_add_overflow(t.ns, ns, &t.ns))
		return MONO_NEVER;
	return t;
}

struct mono
mono_add_ms(struct mono t, uint64_t ms)
{
	return add(t, ms, NS_PER_MS);
}

struct mono
mono_add_us(struct mono t, uint64_t us)
{
	return add(t, us, NS_PER_US);
}

bool
mono_reached(struct mono deadline, struct mono now)
{
	return deadline.ns <= now.ns;
}

struct mono
mono_earlier(struct mono a, struct mono b)
{
	return a.ns <= b.ns ? a : b;
}

uint64_t
mono_ms_until(struct mono t, struct mono now)
{
	uint64_t ns = t.ns > now.ns ? t.ns - now.ns : 0;

	return ns / NS_PER_MS + (ns % NS_PER_MS != 0);
}

uint64_t
mono_ms_since(struct mono t, struct mono now)
{
	return now.ns > t.ns ? (now.ns - t.ns) / NS_PER_MS : 0;
}

uint64_t
mono_us_since(struct mono t, struct mono now)
{
	return now.ns > t.ns ? (now.ns - t.ns) / NS_PER_US : 0;
}
