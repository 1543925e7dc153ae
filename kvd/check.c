/* Comparing states; see check.h.  The scrub is in scrub.c. */
#include "kvd/check.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kvd/check_private.h"
#include "proto/limits.h"

struct check *
check_open(uint64_t interval_ms)
{
	struct check *c = mem_zalloc(1, sizeof *c);

	c->scrub.interval_ms = interval_ms;
	return c;
}

void
check_close(struct check *c)
{
	if (c == NULL)
		return;
	buf_free(&c->scrub.scratch);
	mem_free(c);
}

void
check_reset(struct check *c, const struct state *s)
{
	memset(c->seen, 0, sizeof c->seen);
	c->verdicts = 0;
	c->scrub.running = false;
	c->scrub.failed_at = 0;
	scrub_again_later(&c->scrub, mono_now());
	check_applied(c, s);
}

void
check_applied(struct check *c, const struct state *s)
{
	c->seen[s->applied % CHECK_INDEXES].index = s->applied;
	c->seen[s->applied % CHECK_INDEXES].hash = s->hash;
}

/* Made if there is none; NULL if there are too many. */
static struct verdict *
verdict_of(struct check *c, uint64_t node)
{
	for (size_t i = 0; i < c->verdicts; i++)
		if (c->verdict[i].node == node)
			return &c->verdict[i];
	if (c->verdicts == NODES_MAX)
		return NULL;
	c->verdict[c->verdicts] = (struct verdict){.node = node};
	return &c->verdict[c->verdicts++];
}

static void
tell(const struct cmd_check *theirs, struct hash128 ours)
{
	char our_hash[HASH128_HEX_BYTES], their_hash[HASH128_HEX_BYTES];

	hash128_hex(ours, our_hash);
	hash128_hex(theirs->hash, their_hash);
	log_errorx("state differs from another node's; metcdctl status "
		   "--cluster tells which one most others contradict, kvd "
		   "--rebuild makes that one anew index=%" PRIu64
		   " hash=%s other_node=%" PRIu64 " other_hash=%s",
	    theirs->index, our_hash, theirs->node, their_hash);
}

void
check_compare(
    struct check *c, const struct state *s, const struct cmd_check *theirs)
{
	const struct hash128 ours = c->seen[theirs->index % CHECK_INDEXES].hash;
	struct verdict *v;
	bool differs;

	/* Not known any more, or not yet after a start; or our own, which may
	 * have been made before this store was. */
	if (theirs->index == 0 || theirs->node == s->node ||
	    c->seen[theirs->index % CHECK_INDEXES].index != theirs->index ||
	    theirs->index > s->applied ||
	    (v = verdict_of(c, theirs->node)) == NULL)
		return;
	differs = ours.lo != theirs->hash.lo || ours.hi != theirs->hash.hi;
	if (differs && !v->differs)
		tell(theirs, ours);
	else if (!differs && v->differs)
		log_info(
		    "state is that of another node again other_node=%" PRIu64
		    " index=%" PRIu64,
		    theirs->node, theirs->index);
	v->differs = differs;
	v->index = theirs->index;
}

/* We are wrong when no more nodes agree with us, we included, than differ. */
bool
check_diverged(const struct check *c, uint64_t *index)
{
	size_t differ = 0, agree = 1;

	*index = c->scrub.failed_at;
	for (size_t i = 0; i < c->verdicts; i++) {
		const struct verdict *v = &c->verdict[i];

		if (v->differs)
			differ++;
		else
			agree++;
		if (v->differs && v->index > *index)
			*index = v->index;
	}
	if (c->scrub.failed_at != 0 || (differ > 0 && differ >= agree))
		return true;
	*index = 0;
	return false;
}
