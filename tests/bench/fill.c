/* Puts every key once, as fast as the server takes them.
 *
 *	fill ADDRESS API CONNECTIONS DEPTH KEYS VALUE_BYTES [sorted]
 *
 * DEPTH requests are under way on each connection (pipelined).  The order is
 * as good as random, unless "sorted".  A put that fails ends it at once with
 * exit code 1.  Prints one line of JSON: requests, seconds, longest pause. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/client.h"
#include "tests/bench/request.h"

/* A prime that divides no number of keys below it: multiples of it, modulo
 * the number, hit every key once. */
#define STRIDE 2147483647u
#define SILENCE_S 60u

struct fill {
	struct client client;
	struct maker maker;
	uint32_t keys;
	uint32_t sent;
	uint32_t done;
	bool sorted;
	int failed; /* a status, or -1; 0: none */
	struct mono last;
	uint64_t pause_ns;
};

static void
add(struct fill *f, struct conn *c)
{
	uint64_t n = f->sent++;

	maker_add(&f->maker, (uint32_t)(f->sorted ? n : n * STRIDE % f->keys),
	    &c->out);
}

static void
on_response(void *arg, struct conn *c, int status)
{
	struct fill *f = arg;
	struct mono now = mono_now();

	if (status < 200 || status > 299) {
		f->failed = status == 0 ? -1 : status;
		return;
	}
	f->done++;
	if (now.ns - f->last.ns > f->pause_ns)
		f->pause_ns = now.ns - f->last.ns;
	f->last = now;
	if (f->sent < f->keys) {
		add(f, c);
		client_send(c, 1);
	}
}

static int
drive(struct fill *f, unsigned depth)
{
	struct mono start = f->last = mono_now();

	for (unsigned i = 0; i < f->client.conn_count; i++) {
		struct conn *c = &f->client.conn[i];
		unsigned n = 0;

		for (; n < depth && f->sent < f->keys; n++)
			add(f, c);
		client_send(c, n);
	}
	while (f->done < f->keys && f->failed == 0) {
		client_wait(
		    &f->client, mono_add_ms(mono_now(), SILENCE_S * 1000u));
		if (mono_ms_since(f->last, mono_now()) >= SILENCE_S * 1000u) {
			fprintf(
			    stderr, "fill: no answer for %u s\n", SILENCE_S);
			return 1;
		}
	}
	if (f->failed != 0) {
		fprintf(stderr, "fill: a put failed, status %d\n", f->failed);
		return 1;
	}
	printf("{\"requests\":%" PRIu32 ",\"seconds\":%.3f,\"pause_ms\":%.1f}"
	       "\n",
	    f->done, (double)(f->last.ns - start.ns) / 1e9,
	    (double)f->pause_ns / 1e6);
	return 0;
}

int
main(int argc, char *argv[])
{
	static struct fill f;
	unsigned connections, depth;
	enum api api;
	int rc;

	if (argc < 7 || argc > 8 || api_parse(argv[2], &api) == -1) {
		fprintf(stderr, "usage: fill ADDRESS plain|v2|v3 CONNECTIONS "
				"DEPTH KEYS VALUE_BYTES [sorted]\n");
		return 64;
	}
	connections = (unsigned)strtoul(argv[3], NULL, 10);
	depth = (unsigned)strtoul(argv[4], NULL, 10);
	f.keys = (uint32_t)strtoul(argv[5], NULL, 10);
	f.sorted = argc == 8 && strcmp(argv[7], "sorted") == 0;
	if (connections == 0 || depth == 0 || f.keys == 0 ||
	    f.keys > KEYS_MAX) {
		fprintf(stderr, "fill: a number is out of range\n");
		return 64;
	}
	maker_open(&f.maker, api, OP_PUT, 0, strtoul(argv[6], NULL, 10), 1);
	if (client_open(&f.client, argv[1], connections, on_response, &f) != 0)
		return 69;
	rc = drive(&f, depth);
	client_close(&f.client);
	maker_close(&f.maker);
	return rc;
}
