/* Load at a fixed rate, whatever the server does.
 *
 *	openloop ADDRESS API OP RATE CONNECTIONS SECONDS KEYS VALUE_BYTES SEED
 *
 * Request number i is due i / RATE seconds after the start.  It goes out on a
 * connection that has nothing under way, as soon as there is one; its latency
 * counts from when it was due, so a server that stalls is charged for all that
 * had to wait meanwhile (no coordinated omission).  The first second warms up
 * and is not counted.  What was due is always sent, up to LATE_S late; what was
 * not even sent by then counts as failed.
 *
 * Prints one line of JSON: requests, failed (no answer, or not 2xx), late
 * (sent more than 1 ms after they were due: all connections were busy, or this
 * program had no processor), rate (answered a second), percentiles in us. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/bench/client.h"
#include "tests/bench/histogram.h"
#include "tests/bench/request.h"

#define WARM_NS 1000000000u
#define LATE_S 10u
#define NEVER_MS 1000u /* of a wait for nothing but answers */

struct run {
	struct client client;
	struct maker maker;
	struct mono start;
	double period_ns;
	uint64_t total; /* requests that become due */
	uint64_t sent;
	uint64_t answered; /* well or not */
	uint64_t failed;   /* of those that count */
	uint64_t late;
	struct mono last_answer;
	uint32_t keys;
	uint64_t *due;         /* of each connection's request */
	struct conn **free_at; /* stack of idle connections */
	unsigned free_count;
	struct histogram times;
};

static uint64_t
due_ns(const struct run *r, uint64_t number)
{
	return r->start.ns + (uint64_t)((double)number * r->period_ns);
}

static void
on_response(void *arg, struct conn *c, int status)
{
	struct run *r = arg;
	struct mono now = mono_now();

	r->answered++;
	r->last_answer = now;
	r->free_at[r->free_count++] = c;
	if (r->due[c->number] < r->start.ns + WARM_NS)
		return;
	if (status < 200 || status > 299)
		r->failed++;
	else
		histogram_add(&r->times, now.ns - r->due[c->number]);
}

/* All that is due, as far as there are idle connections. */
static void
send_due(struct run *r, struct mono now)
{
	while (r->free_count > 0 && r->sent < r->total &&
	       due_ns(r, r->sent) <= now.ns) {
		struct conn *c = r->free_at[--r->free_count];
		uint64_t due = due_ns(r, r->sent++);

		r->due[c->number] = due;
		if (due >= r->start.ns + WARM_NS && now.ns - due > 1000000u)
			r->late++;
		maker_add(&r->maker,
		    (uint32_t)(random_next(&r->maker.random) % r->keys),
		    &c->out);
		client_send(c, 1);
	}
}

static void
drive(struct run *r, unsigned seconds)
{
	struct mono now = mono_now(), end;

	r->start = now;
	end = mono_add_ms(now, (seconds + LATE_S) * 1000u);
	while (r->answered < r->total && !mono_reached(end, now)) {
		struct mono until = mono_add_ms(now, NEVER_MS);

		send_due(r, now);
		if (r->free_count > 0 && r->sent < r->total)
			until.ns = due_ns(r, r->sent);
		client_wait(&r->client, mono_earlier(until, end));
		now = mono_now();
	}
	r->failed += r->total - r->answered;
}

static void
print(const struct run *r, double rate)
{
	static const struct {
		const char *name;
		double part;
	} points[] = {
	    {"p50_us", .5}, {"p90_us", .9}, {"p99_us", .99}, {"p999_us", .999}};
	uint64_t warm = (uint64_t)(rate * WARM_NS / 1e9);
	double s = (double)(r->last_answer.ns - r->start.ns - WARM_NS) / 1e9;

	printf("{\"requests\":%" PRIu64 ",\"failed\":%" PRIu64
	       ",\"late\":%" PRIu64 ",\"rate\":%.1f",
	    r->total - warm, r->failed, r->late,
	    s > 0 ? (double)r->times.count / s : 0);
	for (unsigned i = 0; i < sizeof points / sizeof points[0]; i++)
		printf(",\"%s\":%" PRIu64, points[i].name,
		    histogram_at(&r->times, points[i].part) / 1000);
	printf(",\"max_us\":%" PRIu64 "}\n", r->times.max / 1000);
}

int
main(int argc, char *argv[])
{
	static struct run r;
	unsigned connections, seconds, get_percent;
	enum api api;
	enum op op;
	double rate;

	if (argc != 10 || api_parse(argv[2], &api) == -1 ||
	    op_parse(argv[3], &op, &get_percent) == -1) {
		fprintf(stderr,
		    "usage: openloop ADDRESS plain|v2|v3 put|get|stale|mixN "
		    "RATE CONNECTIONS SECONDS KEYS VALUE_BYTES SEED\n");
		return 64;
	}
	rate = strtod(argv[4], NULL);
	connections = (unsigned)strtoul(argv[5], NULL, 10);
	seconds = (unsigned)strtoul(argv[6], NULL, 10) + 1; /* the warm one */
	r.keys = (uint32_t)strtoul(argv[7], NULL, 10);
	if (rate < 1 || connections == 0 || seconds < 2 || r.keys == 0 ||
	    r.keys > KEYS_MAX) {
		fprintf(stderr, "openloop: a number is out of range\n");
		return 64;
	}
	r.period_ns = 1e9 / rate;
	r.total = (uint64_t)(rate * seconds);
	r.due = mem_zalloc(connections, sizeof r.due[0]);
	r.free_at = mem_zalloc(connections, sizeof(struct conn *));
	maker_open(&r.maker, api, op, get_percent, strtoul(argv[8], NULL, 10),
	    strtoul(argv[9], NULL, 10));
	if (client_open(&r.client, argv[1], connections, on_response, &r) != 0)
		return 69;
	for (; r.free_count < connections; r.free_count++)
		r.free_at[r.free_count] = &r.client.conn[r.free_count];
	drive(&r, seconds);
	print(&r, rate);
	client_close(&r.client);
	maker_close(&r.maker);
	mem_free(r.due);
	mem_free(r.free_at);
	return 0;
}
