/* See link_fake.h. */
#include "tests/unit/link_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* NULL: a link that there is not, to another node. */
struct wire *
link_begin(struct link *l, enum msg_type type)
{
	if (l == NULL || !l->up)
		return NULL;
	assert_true(l->sent < SENT_MAX);
	l->message[l->sent].type = (uint8_t)type;
	wire_encode(&l->wire, &l->message[l->sent].body);
	return &l->wire;
}

void
link_end(struct link *l)
{
	assert_int_equal(wire_err(&l->wire), ERR_OK);
	l->sent++;
}

bool
link_is_up(const struct link *l)
{
	return l->up;
}

bool
link_is_full(const struct link *l)
{
	return l != NULL && l->full;
}

void
link_fake_clear(struct link *l)
{
	/* All: one may have been begun and not ended. */
	for (size_t i = 0; i < SENT_MAX; i++)
		buf_free(&l->message[i].body);
	l->sent = 0;
}

uint8_t
link_fake_last_type(const struct link *l)
{
	assert_true(l->sent > 0);
	return l->message[l->sent - 1].type;
}

uint64_t
link_fake_last_token(const struct link *l)
{
	struct msg_status_ask m;
	struct wire w;

	assert_true(l->sent > 0);
	wire_decode(&w, buf_bytes(&l->message[l->sent - 1].body));
	assert_int_equal(msg_status_ask_wire(&w, &m), ERR_OK);
	return m.token;
}
