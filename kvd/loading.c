/* LOAD_HEAD and LOAD_DATA: raftd makes this node's state another one, because
 * its log does not reach back to where kvd is; see load.h. */
#include <inttypes.h>

#include "base/log.h"
#include "kvd/kvd.h"

/* After a state that was damaged, or too large for the disk: time for raftd to
 * find another one, and for people to read the log line. */
#define WAIT_MS 5000u

void
loading_stop(struct kvd *k)
{
	if (k->load == NULL)
		return;
	log_warnx("loading was given up, it will begin again keys=%" PRIu64,
	    load_keys(k->load));
	load_abandon(&k->load);
}

bool
loading_must_wait(const struct kvd *k)
{
	return !mono_reached(k->load_not_before, mono_now());
}

static void
wait_before_next(struct kvd *k)
{
	k->load_not_before = mono_add_ms(mono_now(), WAIT_MS);
}

static enum err
give_up(struct kvd *k, enum err why)
{
	load_abandon(&k->load);
	wait_before_next(k);
	/* A store that cannot be written is not raftd's file's fault. */
	if (why == ERR_IO || why == ERR_NO_SPACE)
		kvd_fail(k, why);
	return why;
}

static enum err
take_head(struct kvd *k, struct wire *body)
{
	const struct state *s = &k->store.state;
	struct msg_snap_head head;
	enum err rc;

	if (msg_snap_head_wire(body, &head) != ERR_OK)
		return ERR_MALFORMED;
	if (head.cluster != s->cluster || head.index <= s->applied) {
		log_errorx("raftd offers a state that does not belong here "
			   "cluster=%016" PRIx64 " index=%" PRIu64
			   " our_cluster=%016" PRIx64 " applied=%" PRIu64,
		    head.cluster, head.index, s->cluster, s->applied);
		return give_up(k, ERR_FOREIGN);
	}
	snapshot_stop(k); /* of what is about to go */
	load_abandon(&k->load);
	if (!load_has_room(k->store.ops, k->kv_dir, &head)) {
		wait_before_next(k);
		return ERR_NO_SPACE; /* nothing has been written: go on */
	}
	log_info("loading begins index=%" PRIu64 " keys=%" PRIu64
		 " bytes=%" PRIu64 " applied=%" PRIu64,
	    head.index, head.keys, head.bytes, s->applied);
	rc = load_open(&k->load, k->store.ops, k->kv_dir, s, &head);
	if (rc != ERR_OK)
		return give_up(k, rc);
	k->load_head = head;
	k->load_number = 0;
	k->load_began = k->load_told = mono_now();
	return ERR_OK;
}

/* The results of what this node's httpd proposed may be in the new state; the
 * entries that would have brought them here are not coming. */
static void
answer_open_proposals(struct kvd *k)
{
	const struct session *session;
	const struct session_result *r;
	uint64_t seq = 0;

	if (k->httpd == NULL)
		return;
	session =
	    session_find(k->sessions, k->store.state.node, k->httpd_epoch);
	while (session != NULL && !link_is_full(k->httpd) &&
	       (r = session_result_from(session, seq)) != NULL) {
		kvd_send_results(k, r->seq, r->revision, r->items, r->count);
		seq = r->seq + 1;
	}
}

/* What was taken before is applied and answered; then nothing may refer to the
 * old store any more. */
static enum err
become(struct kvd *k)
{
	enum err rc;

	kvd_apply(k);
	kvd_reply(k);
	kvd_answer(k);
	if (k->exit_code != 0)
		return ERR_IO;
	/* What is left in the tables goes with the store, as does what could
	 * not be synced. */
	(void)writeback_close(k);
	sessions_close(k->sessions);
	k->sessions = NULL;
	k->durable = 0;
	rc = load_swap(&k->load, &k->store);
	if (rc == ERR_OK)
		rc = sessions_open(&k->sessions, &k->store);
	if (rc != ERR_OK) {
		kvd_fail(k, rc);
		return ERR_IO;
	}
	check_reset(k->check, &k->store.state);
	writeback_open(k);
	return ERR_OK;
}

static void
tell(struct kvd *k)
{
	const struct mono now = mono_now();

	if (mono_ms_since(k->load_told, now) < 1000)
		return;
	k->load_told = now;
	log_info("loading keys=%" PRIu64 " of=%" PRIu64, load_keys(k->load),
	    k->load_head.keys);
}

static enum err
finish(struct kvd *k)
{
	enum err rc;

	/* Commits that came after the head would be lost: raftd is confused. */
	if (k->load_head.index <= k->store.state.applied)
		return give_up(k, ERR_MALFORMED);
	if ((rc = load_finish(k->load)) != ERR_OK)
		return give_up(k, rc);
	if ((rc = become(k)) != ERR_OK)
		return rc;
	answer_open_proposals(k);
	histogram_add_since(
	    &k->figures.loads, HISTOGRAM_LONG_NS, k->load_began, mono_now());
	log_info("loaded index=%" PRIu64 " keys=%" PRIu64 " bytes=%" PRIu64
		 " ms=%" PRIu64,
	    k->store.state.applied, k->store.state.keys, k->store.state.bytes,
	    mono_ms_since(k->load_began, mono_now()));
	return ERR_OK;
}

static enum err
take_data(struct kvd *k, struct wire *body)
{
	struct msg_snap_data m;
	enum err rc;

	if (msg_snap_data_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (k->load == NULL || m.id != k->load_head.id ||
	    m.number != k->load_number) {
		log_warnx(
		    "a chunk does not follow the one before number=%" PRIu32
		    " expected=%" PRIu32,
		    m.number, k->load_number);
		return ERR_MALFORMED;
	}
	k->load_number++;
	if ((rc = load_chunk(k->load, m.data)) != ERR_OK)
		return give_up(k, rc);
	tell(k);
	return m.last ? finish(k) : ERR_OK;
}

enum err
loading_take(struct kvd *k, uint8_t type, struct wire *body)
{
	if (k->exit_code != 0)
		return ERR_IO;
	return type == MSG_LOAD_HEAD ? take_head(k, body) : take_data(k, body);
}
