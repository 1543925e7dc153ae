/* Requests of the load generators, as the three kinds of systems want them.
 * A key is "k" and 7 digits, as in wrk.lua. */
#ifndef TESTS_BENCH_REQUEST_H
#define TESTS_BENCH_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define KEYS_MAX 10000000u /* 7 digits */

enum api {
	API_PLAIN, /* metcd, raftexample, ceiling: PUT /KEY */
	API_V2,    /* etcd: PUT /v2/keys/KEY */
	API_V3     /* etcd: POST /v3/kv/put */
};

enum op {
	OP_PUT,
	OP_GET,   /* linearizable */
	OP_STALE, /* from the node's own state */
	OP_MIX    /* OP_GET and OP_PUT */
};

int api_parse(const char *name, enum api *api); /* 0 or -1 */
/* "put", "get", "stale", "mixN": N % OP_GET.  0 or -1. */
int op_parse(const char *name, enum op *op, unsigned *get_percent);

/* What a request is made from. */
struct maker {
	enum api api;
	enum op op;
	unsigned get_percent; /* of OP_MIX */
	struct buf value;     /* owned; random letters */
	struct buf encoded;   /* owned; value in base64, for API_V3 */
	uint64_t random;      /* state of random_next() */
};

void maker_open(struct maker *m, enum api api, enum op op, unsigned get_percent,
    size_t value_bytes, uint64_t seed);
void maker_close(struct maker *m);
/* Append the next request, for key number key, to out. */
void maker_add(struct maker *m, uint32_t key, struct buf *out);

/* xorshift64*: good enough for a choice of keys. */
uint64_t random_next(uint64_t *state);

#endif
