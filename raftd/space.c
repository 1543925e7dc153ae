/* A disk that is nearly full.  A log that cannot be written ends the process;
 * so before it comes to that, proposals are refused, and go through again by
 * themselves once there is space.  What other nodes propose is stored all the
 * same, from the reserve, and a leader gives way to another node.  The last
 * quarter of the reserve is kept: then entries of other nodes are dropped, as
 * if lost on their way, and this node votes and answers without them. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"

#define LOOK_MS 1000u
#define LOOK_MS_MIN 20u /* while a file is written */
#define LOG_STEPS 16u   /* looks while the log grows by the reserve */
/* On a small disk the reserve is at most the larger one of a tenth of it and
 * LEAST_BYTES, but never more than a quarter: half of that is for kvd's engine,
 * which takes room by itself now and then (kvd/engine_leveldb.c). */
#define SMALL_DISK 10u
#define LEAST_BYTES ((uint64_t)64 << 20)
#define TINY_DISK 4u
#define LAST_PART 4u /* of the reserve is never used */
#define GIVE_WAY_MS 30000u
#define AMPLE 2u       /* reserves */
#define RESUME_PART 8u /* service resumes with so much more, of the reserve */

struct space {
	struct raftd *rd;
	char dir[PATH_MAX];
	struct mono look_at, looked;
	uint64_t looked_last; /* end of the log at the last look */
	bool known;
	bool low, out;
	bool pressed;
	struct mono press_at; /* give way again not before */
	uint64_t free, reserve;
};

static void
look(struct space *sp)
{
	struct statvfs st;
	uint64_t total, most, need;
	bool low;

	sp->looked = mono_now();
	if (statvfs(sp->dir, &st) != 0) {
		if (sp->known)
			log_warn("cannot tell how full the disk is");
		sp->known = sp->low = sp->out = false;
		return;
	}
	sp->known = true;
	sp->free = (uint64_t)st.f_bavail * st.f_frsize;
	total = (uint64_t)st.f_blocks * st.f_frsize;
	most =
	    total / SMALL_DISK > LEAST_BYTES ? total / SMALL_DISK : LEAST_BYTES;
	if (most > total / TINY_DISK)
		most = total / TINY_DISK;
	sp->reserve = sp->rd->opt.reserve_bytes;
	if (sp->reserve > most)
		sp->reserve = most;
	need = sp->reserve;
	if (sp->low)
		need += need / RESUME_PART;
	low = sp->free < need;
	if (low != sp->low)
		log_warnx("%s free=%" PRIu64 " reserve=%" PRIu64,
		    low ? "the disk is nearly full: proposals are refused, "
			  "make room"
			: "there is space on the disk again: proposals are "
			  "taken",
		    sp->free, sp->reserve);
	sp->low = low;
	if (!sp->out && sp->free < sp->reserve / LAST_PART)
		log_errorx("the disk is full: nothing is added to the log, "
			   "make room free=%" PRIu64,
		    sp->free);
	sp->out = sp->free < sp->reserve / LAST_PART;
}

struct space *
space_open(struct raftd *rd)
{
	struct space *sp = mem_zalloc(1, sizeof(*sp));

	sp->rd = rd;
	(void)snprintf(sp->dir, sizeof(sp->dir), "%s", rd->opt.data_dir);
	if (rd->opt.reserve_bytes > 0)
		look(sp);
	return sp;
}

void
space_close(struct space *sp)
{
	mem_free(sp);
}

void
space_run(struct space *sp, struct mono now)
{
	struct rlog *l = sp->rd->rlog;

	if (sp->rd->opt.reserve_bytes == 0)
		return;
	if (!mono_reached(sp->look_at, now) &&
	    (rlog_last(l) - sp->looked_last < LOG_STEPS ||
		rlog_bytes_after(l, sp->looked_last) < sp->reserve / LOG_STEPS))
		return;
	sp->look_at = mono_add_ms(now, LOOK_MS);
	sp->looked_last = rlog_last(l);
	look(sp);
}

bool
space_is_low(const struct space *sp)
{
	return sp->low;
}

bool
space_is_out(const struct space *sp)
{
	return sp->out;
}

bool
space_is_ample(const struct space *sp)
{
	return !sp->known || sp->free / AMPLE > sp->reserve;
}

void
space_note_proposal(struct space *sp)
{
	sp->pressed |= sp->low;
}

bool
space_pressed(struct space *sp, struct mono now)
{
	if (!sp->pressed || !mono_reached(sp->press_at, now))
		return false;
	sp->pressed = false;
	sp->press_at = mono_add_ms(now, GIVE_WAY_MS);
	return true;
}

/* A snapshot is what makes room, by and by: it may use half of the reserve.
 * It is also written faster than the usual looks come. */
bool
space_for(struct space *sp, uint64_t bytes)
{
	if (sp->rd->opt.reserve_bytes > 0 &&
	    mono_ms_since(sp->looked, mono_now()) >= LOOK_MS_MIN)
		look(sp);
	/* bytes may be what another node says: no sum with it. */
	return !sp->known || (sp->free > sp->reserve / 2 &&
				 sp->free - sp->reserve / 2 > bytes);
}
