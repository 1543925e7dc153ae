/* See majority.h. */
#include "raftd/majority.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
majority_of(struct majority *m, const struct raft_ids *voters,
    const struct raft_ids *active)
{
	memset(m, 0, sizeof(*m));
	m->voters = voters->count;
	m->needed = voters->count / 2 + 1;
	for (uint32_t i = 0; i < voters->count; i++) {
		struct raft_ids *to = &m->missing;

		for (uint32_t k = 0; k < active->count; k++)
			if (active->id[k] == voters->id[i])
				to = &m->active;
		to->id[to->count++] = voters->id[i];
	}
}

bool
majority_holds(const struct majority *m)
{
	return m->active.count >= m->needed;
}

void
majority_list(const struct raft_ids *ids, char *out, size_t out_bytes)
{
	size_t at = 0;

	(void)snprintf(out, out_bytes, "none");
	for (uint32_t i = 0; i < ids->count && at < out_bytes; i++) {
		const char *between = i == 0                ? ""
				      : i + 1 == ids->count ? " and "
							    : ", ";

		at += (size_t)snprintf(out + at, out_bytes - at, "%s%" PRIu64,
		    between, ids->id[i]);
	}
}
