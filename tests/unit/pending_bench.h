/* The bench of the tests of httpd/pending.h: links that only write down what
 * was sent, a clock that is turned by hand, and what was answered. */
#ifndef TESTS_UNIT_PENDING_BENCH_H
#define TESTS_UNIT_PENDING_BENCH_H

#include "httpd/pending.h"
#include "tests/unit/link_fake.h"

#define EPOCH 77u
#define NODE 3u
#define TIMEOUT_MS 5000u

#define WAITERS 64

struct test {
	struct pending *p;
	struct link raftd, kvd;
	struct mono now;
	struct waiter w[WAITERS];
	char key[WAITERS][8];
};

/* What was answered to the waiter at that address. */
struct answered {
	struct waiter *w;
	struct answer a;
	char value[32];
};
extern struct answered answered[WAITERS];
extern size_t answers;

int setup(void **state);
int teardown(void **state);
void add(struct test *t, size_t i, enum way way);
void add_value(struct test *t, size_t i, struct bytes value);
void add_probe(struct test *t, size_t i);
void turn(struct test *t);
void pass(struct test *t, uint64_t ms);
struct msg_propose sent_propose(
    struct link *l, size_t n, struct cmd_batch *head);
struct msg_read sent_read(struct link *l, size_t n, uint8_t type);
enum err reply(struct test *t, uint8_t to, uint64_t seq, enum err code,
    uint32_t count, uint32_t left);
enum err refuse(struct test *t, uint8_t what, uint64_t seq, uint32_t attempt,
    enum err code);
void assert_answer(size_t n, struct waiter *w, enum err code);

#endif
