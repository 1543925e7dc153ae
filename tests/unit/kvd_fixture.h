/* What the tests of kvd share: a kvd without links (link_begin and link_end are
 * ours and collect what is sent), and a log to feed it with. */
#ifndef TESTS_UNIT_KVD_FIXTURE_H
#define TESTS_UNIT_KVD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kvd/kvd.h"
#include "proto/cmd.h"

#define NODE 7u
#define EPOCH 77u
#define SENT_MAX 8192u

struct fixture {
	const struct engine_ops *ops;
	char dir[64]; /* DATA/kv */
	struct kvd kvd;
};

/* cmocka's setup and teardown; *state is an engine's name, then a fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f, bool failed);
/* The kvd's httpd is there, with that epoch; 0: gone. */
void fixture_httpd(struct fixture *f, uint64_t epoch);

/* What was sent since the last call of sent_clear(). */
struct sent {
	uint8_t type;
	struct buf body;
};
extern struct sent sent[SENT_MAX];
extern size_t sent_count;
extern bool links_are_full;
void sent_clear(void);
/* The n-th is a REPLY; item i of it is copied out, value is borrowed. */
struct msg_reply sent_reply(size_t n);
struct msg_reply_item sent_item(size_t n, uint32_t i);

/* Entries as they are in COMMIT. */
struct test_entry {
	uint8_t type;
	struct buf data;
};
void entry_begin(struct test_entry *e, uint64_t node, uint64_t epoch,
    uint64_t seq, uint64_t done_below, uint32_t count);
void entry_put(struct test_entry *e, const char *key, const char *value);
void entry_delete(struct test_entry *e, const char *key);
void entry_cmd(struct test_entry *e, struct cmd cmd);
/* A log of n entries that only `seed` decides: puts, deletes, conditions, of
 * several sessions, with duplicates, empty entries and nonsense. */
struct test_entry *entries_make(size_t n, unsigned seed);
void entries_free(struct test_entry *entries, size_t n);

/* Feed one COMMIT with n entries, the first at index. */
enum err take(
    struct fixture *f, uint64_t index, const struct test_entry *e, size_t n);
void turn(struct fixture *f); /* apply, reply, answer */
/* A turn of taking a snapshot, some time after the one before. */
void run_snapshot(struct fixture *f);
/* Feed all after the applied index, in COMMITs and turns of varying size. */
void feed(
    struct fixture *f, const struct test_entry *e, size_t n, unsigned seed);
/* A batch of one, in a turn of its own. */
struct msg_reply_item one(struct fixture *f, uint64_t seq, struct cmd cmd);

/* The state's counters and hash are those of the keys that are there. */
void expect_state_is_that_of_the_keys(struct fixture *f);

/* A test with each of the engines. */
#define ON_ENGINE(test, engine)                                                \
	{                                                                      \
		.name = #test " [" engine "]", .test_func = test,              \
		.setup_func = fixture_setup,                                   \
		.teardown_func = fixture_teardown,                             \
		.initial_state = (void *)(uintptr_t)engine                     \
	}
#define EACH_ENGINE(test)                                                      \
	ON_ENGINE(test, "memory"), ON_ENGINE(test, "lmdb"),                    \
	    ON_ENGINE(test, "leveldb")

#endif
