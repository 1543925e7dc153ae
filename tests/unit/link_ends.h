/* What the tests of links share: ends (one process's links and what became of
 * them), strangers on raw sockets, and a directory and a port to meet at.  All
 * in this process, on one loop. */
#ifndef TESTS_UNIT_LINK_ENDS_H
#define TESTS_UNIT_LINK_ENDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/loop.h"
#include "proto/link.h"

#define PATIENCE_MS 10000u /* no test waits that long unless it fails */

/* One process's links and what became of them. */
struct end {
	struct links *ls;
	uint64_t epoch;
	enum err up_answer;
	enum err take_answer;
	unsigned hellos, ups, downs, refusals;
	enum err refused;            /* the last code */
	uint64_t taken, taken_bytes; /* messages */
	uint64_t last_seq;
	bool in_order;           /* seq of PROPOSE counts up by one */
	bool reply;              /* answer each PROPOSE by a REFUSE */
	struct link *link;       /* the last that came up */
	struct link *close_this; /* in the next callback */
	struct msg_hello peer;
};

extern char ends_dir[64];
extern char ipc_url[128];
extern char tcp_url[64];

/* Makes ends_dir and the urls.  Forking is allowed until ends_loop(). */
int ends_setup(void);
void ends_loop(const char *log_name);
/* From now on other threads do turns while turn() waits; arg is the loop. */
void ends_share(loop_turn_fn *fn);
int ends_teardown(void);

extern const struct link_ops end_ops; /* arg: struct end */
void end_open(struct end *e, enum msg_process self, uint64_t epoch);
void end_listen(struct end *e, const char *url);
struct link *end_dial(struct end *e, const char *url);
void end_close(struct end *e);
/* server and client, up with each other. */
void both_up(struct end *server, struct end *client, const char *url);
void send_propose(struct link *l, uint64_t seq, const void *data, size_t len);

/* Turn the loop for ms, or until done(arg): false when that never came.  b and
 * done may be NULL. */
bool turn(
    struct end *a, struct end *b, unsigned ms, bool (*done)(void *), void *arg);
#define wait_for(a, b, cond, arg)                                              \
	assert_true(turn((a), (b), PATIENCE_MS, (cond), (arg)))
/* Conditions on a struct end. */
bool is_up(void *arg);
bool is_down(void *arg);
bool has_message(void *arg);

/* Strangers. */
int raw_connect(const char *url);
void raw_send(int fd, const void *data, size_t len);
/* Append the frame of a message with this body, or of a good HELLO. */
void raw_frame(struct buf *out, uint8_t type, struct bytes body);
void raw_hello(struct buf *out, uint8_t process);
/* The descriptor *(int *)arg is closed by the other end; what it sent before is
 * thrown away. */
bool raw_is_closed(void *arg);

#endif
