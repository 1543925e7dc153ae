/* A snapshot on its way into kvd; see snap.h.
 *
 * The helper thread reads and checks about a megabyte of chunks at a time;
 * these are sent as far as the link is not behind, and then the next ones are
 * read.  So a slice is bounded, and so is what waits in memory. */
#include <inttypes.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/raftd.h"
#include "raftd/snap.h"

#define SLICE_BYTES (1u << 20)
#define QUEUED_BYTES (4u << 20) /* on the link; then we wait */

struct load {
	struct snapio_job job; /* first */
	struct raftd *rd;
	struct link *kvd; /* NULL: closed, freed when the job comes back */
	uint64_t id;
	uint64_t index;
	struct snap_meta meta;
	bool head_sent;
	struct mono began;
	uint64_t bytes_sent;
	uint32_t number; /* of the next chunk to be sent */

	/* The slice: the helper thread's while `reading`. */
	bool reading;
	struct snapfile_reader *reader;
	struct buf data; /* the chunks */
	size_t ends[LOAD_SLICE_CHUNKS];
	uint32_t count, sent; /* chunks */
	bool last;            /* the last of them is the file's */
	enum err err;
};

static bool
load_job_run(struct snapio_job *job)
{
	struct load *ld = (struct load *)job;

	buf_clear(&ld->data);
	ld->count = ld->sent = 0;
	if (ld->reader == NULL) {
		struct snap_meta meta;
		struct snapfile_id id;
		char name[SNAP_NAME_BYTES];

		snapfile_name(ld->index, name);
		ld->err = snapfile_open(
		    &ld->reader, &ld->rd->snap_disk, name, &meta, &id);
	}
	while (ld->err == ERR_OK && !ld->last && ld->data.len < SLICE_BYTES &&
	       ld->count < LOAD_SLICE_CHUNKS) {
		struct bytes chunk;

		ld->err = snapfile_next(ld->reader, &chunk, &ld->last);
		if (ld->err != ERR_OK)
			break;
		buf_append(&ld->data, chunk.data, chunk.len);
		ld->ends[ld->count++] = ld->data.len;
	}
	return false;
}

static void
load_free(struct load *ld)
{
	snapfile_close(ld->reader);
	buf_free(&ld->data);
	mem_free(ld);
}

static void
load_job_done(struct snapio_job *job, bool cancelled)
{
	struct load *ld = (struct load *)job;

	(void)cancelled;
	ld->reading = false;
	if (ld->kvd == NULL)
		load_free(ld);
}

static void
read_slice(struct load *ld)
{
	ld->reading = true;
	snapio_submit(ld->rd->snapio, &ld->job);
}

struct load *
load_open(struct raftd *rd, struct link *kvd, const struct snap *s)
{
	struct load *ld = mem_zalloc(1, sizeof(*ld));

	ld->job.run = load_job_run;
	ld->job.done = load_job_done;
	ld->rd = rd;
	ld->kvd = kvd;
	ld->id = daemon_random();
	ld->index = s->meta.head.index;
	ld->meta = s->meta;
	ld->began = mono_now();
	log_info("kvd gets a snapshot index=%" PRIu64 " bytes=%" PRIu64,
	    ld->index, s->id.bytes);
	read_slice(ld);
	return ld;
}

void
load_close(struct load *ld)
{
	if (ld == NULL)
		return;
	ld->kvd = NULL;
	if (!ld->reading)
		load_free(ld);
}

uint64_t
load_index(const struct load *ld)
{
	return ld->index;
}

enum err
load_error(const struct load *ld)
{
	return ld->err;
}

static bool
send_head(struct load *ld)
{
	struct msg_snap_head h = ld->meta.head;
	struct wire *w = link_begin(ld->kvd, MSG_LOAD_HEAD);

	if (w == NULL)
		return false;
	h.id = ld->id;
	(void)msg_snap_head_wire(w, &h);
	link_end(ld->kvd);
	return true;
}

static bool
send_chunk(struct load *ld)
{
	size_t from = ld->sent == 0 ? 0 : ld->ends[ld->sent - 1];
	struct msg_snap_data m = {.id = ld->id,
	    .number = ld->number,
	    .last = ld->last && ld->sent + 1 == ld->count,
	    .data = bytes_of(ld->data.data + from, ld->ends[ld->sent] - from)};
	struct wire *w = link_begin(ld->kvd, MSG_LOAD_DATA);

	if (w == NULL)
		return false;
	(void)msg_snap_data_wire(w, &m);
	link_end(ld->kvd);
	ld->bytes_sent += m.data.len;
	ld->number++;
	ld->sent++;
	return true;
}

enum load_state
load_run(struct load *ld)
{
	if (ld->reading)
		return LOAD_GOES_ON;
	/* What is wrong with it is told before anything of the slice is. */
	if (ld->err != ERR_OK)
		return LOAD_FAILED;
	if (!ld->head_sent && !(ld->head_sent = send_head(ld)))
		return LOAD_GOES_ON;
	while (ld->sent < ld->count) {
		if (link_queued_bytes(ld->kvd) >= QUEUED_BYTES ||
		    !send_chunk(ld))
			return LOAD_GOES_ON;
	}
	if (!ld->last) {
		read_slice(ld);
		return LOAD_GOES_ON;
	}
	log_info("kvd was sent a snapshot index=%" PRIu64 " bytes=%" PRIu64
		 " ms=%" PRIu64,
	    ld->index, ld->bytes_sent, mono_ms_since(ld->began, mono_now()));
	return LOAD_DONE;
}
