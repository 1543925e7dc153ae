/* Inside kvd/check.c and kvd/scrub.c only. */
#ifndef KVD_CHECK_PRIVATE_H
#define KVD_CHECK_PRIVATE_H

#include "kvd/check.h"
#include "kvd/record.h"
#include "proto/limits.h"

/* What another node's last CHECK said. */
struct verdict {
	uint64_t node;
	uint64_t index;
	bool differs;
};

struct scrub {
	uint64_t interval_ms; /* 0: never */
	struct mono next;     /* slice, or beginning */
	bool running;
	struct record_name cursor; /* the last name hashed; len 0: none yet */
	struct hash128 sum;        /* of all keys up to the cursor */
	uint64_t failed_at;        /* index; 0: all is well so far */
	struct buf scratch;
};

struct check {
	struct {
		uint64_t index;
		struct hash128 hash;
	} seen[CHECK_INDEXES]; /* at index % CHECK_INDEXES */
	struct verdict verdict[NODES_MAX];
	size_t verdicts;
	struct scrub scrub;
};

void scrub_again_later(struct scrub *s, struct mono now);

#endif
