/* Who was complained about lately: so that a stranger who keeps knocking cannot
 * fill the log. */
#include "proto/link_private.h"

#include <string.h>

#include "base/hash.h"

bool
link_complaints_admit(struct link_complaints *c, const char *kind,
    const char *address, struct mono now)
{
	uint64_t key =
	    hash64(address, strlen(address), hash64(kind, strlen(kind), 0)) |
	    1; /* 0 means free */
	size_t i, oldest = 0;

	for (i = 0; i < LINK_COMPLAINT_KEYS; i++) {
		if (c->slot[i].key == key) {
			oldest = i;
			break;
		}
		if (c->slot[i].at.ns < c->slot[oldest].at.ns)
			oldest = i;
	}
	if (c->slot[oldest].key != 0 &&
	    mono_ms_since(c->slot[oldest].at, now) < LINK_COMPLAINT_MS)
		return false;
	c->slot[oldest].key = key;
	c->slot[oldest].at = now;
	return true;
}
