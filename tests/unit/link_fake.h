/* A link in place of proto/link that only writes down what is sent, for tests
 * of what sends. */
#ifndef TESTS_UNIT_LINK_FAKE_H
#define TESTS_UNIT_LINK_FAKE_H

#include "base/buf.h"
#include "proto/link.h"

#define SENT_MAX 256

struct link {
	bool up, full;
	size_t sent; /* messages */
	struct {
		uint8_t type;
		struct buf body;
	} message[SENT_MAX];
	struct wire wire;
};

/* Forget, and free, what was sent. */
void link_fake_clear(struct link *l);

/* Of the last message, which was sent; the token if it is a question that
 * consists of one. */
uint8_t link_fake_last_type(const struct link *l);
uint64_t link_fake_last_token(const struct link *l);

#endif
