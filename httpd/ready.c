/* The handlers of /readyz and /health; see ready.h. */
#include "httpd/ready.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "httpd/admin.h"
#include "httpd/httpd.h"
#include "httpd/problem.h"
#include "httpd/request.h"
#include "httpd/response.h"

#define CHECKS 6

/* In this order: the first that is not ok is the nearest to the cause. */
struct check {
	const char *name;
	bool ok;
	const char *otherwise; /* what it means when it is not ok */
};

static void
list_checks(const struct readiness *r, struct check out[CHECKS])
{
	const bool read = r->read == ERR_OK;
	const struct check all[CHECKS] = {
	    {"raftd", r->raftd, "raftd is away or does not answer"},
	    {"kvd", r->kvd, "kvd is away or does not answer"},
	    {"leader", r->leader,
		"no leader is known; a majority of the voters has to be "
		"connected"},
	    /* Whoever reads what is newest has caught up; the other way round
	     * more may be committed than this node knows. */
	    {"applied", read || r->applied,
		"the store has not caught up with the log yet"},
	    {"state", !r->diverged,
		"the store is not what it should be; metcdctl rebuild on this "
		"node makes it anew"},
	    {"linearizable_read", read,
		"a read that asks a majority was not answered in time"},
	};

	memcpy(out, all, sizeof all);
}

static const struct check *
first_wrong(const struct check checks[CHECKS])
{
	for (size_t i = 0; i < CHECKS; i++)
		if (!checks[i].ok)
			return &checks[i];
	return NULL;
}

static json_t *
checks_json(const struct check checks[CHECKS])
{
	json_t *list = json_array();

	for (size_t i = 0; i < CHECKS; i++) {
		json_t *one = json_pack(
		    "{s:s,s:b}", "name", checks[i].name, "ok", checks[i].ok);

		if (!checks[i].ok)
			(void)json_object_set_new(
			    one, "detail", json_string(checks[i].otherwise));
		(void)json_array_append_new(list, one);
	}
	return list;
}

static enum err
code_of(const struct readiness *r)
{
	if (r->read != ERR_OK)
		return r->read;
	return r->diverged ? ERR_CORRUPT : ERR_UNAVAILABLE;
}

static void
answer_readyz(struct request *rq)
{
	const struct readiness *r = &rq->readiness;
	struct check checks[CHECKS];
	const struct check *wrong;

	list_checks(r, checks);
	if ((wrong = first_wrong(checks)) == NULL)
		admin_answer(rq, MHD_HTTP_OK,
		    json_pack("{s:b,s:o}", "ready", 1, "checks",
			checks_json(checks)));
	else
		admin_answer_problem(rq, MHD_HTTP_SERVICE_UNAVAILABLE,
		    json_pack("{s:s,s:s,s:i,s:s,s:s,s:b,s:o}", "type",
			"about:blank", "title",
			"This node cannot serve requests", "status",
			MHD_HTTP_SERVICE_UNAVAILABLE, "code",
			err_word(code_of(r)), "detail", wrong->otherwise,
			"ready", 0, "checks", checks_json(checks)));
}

/* As etcd's: "true" and "false" are strings. */
static void
answer_health(struct request *rq)
{
	struct check checks[CHECKS];
	const struct check *wrong;

	list_checks(&rq->readiness, checks);
	if ((wrong = first_wrong(checks)) == NULL)
		admin_answer(
		    rq, MHD_HTTP_OK, json_pack("{s:s}", "health", "true"));
	else
		admin_answer(rq, MHD_HTTP_SERVICE_UNAVAILABLE,
		    json_pack("{s:s,s:s}", "health", "false", "reason",
			wrong->otherwise));
}

/* --- the two questions --- */

static void
answer_if_known(struct request *rq)
{
	if (!rq->readiness.status_known || !rq->readiness.read_known)
		return;
	if (rq->handle == admin_readyz)
		answer_readyz(rq);
	else
		answer_health(rq);
}

static void
on_read(struct request *rq, const struct answer *a)
{
	rq->readiness.read_known = true;
	rq->readiness.read = a->code;
	answer_if_known(rq);
}

static void
on_status(struct request *rq, const struct status_view *v)
{
	struct readiness *r = &rq->readiness;

	r->status_known = true;
	r->raftd = v->raft_here;
	r->kvd = v->kv_here;
	r->leader = v->raft_here && v->raft->leader != 0;
	r->applied =
	    v->raft_here && v->kv_here && v->kv->applied >= v->raft->commit;
	r->diverged = v->kv->diverged;
	answer_if_known(rq);
}

static void
find_out(struct request *rq)
{
	struct httpd *h = request_httpd(rq);
	const struct mono now = mono_now();

	rq->waiter.way = WAY_READ;
	rq->waiter.patience = PATIENCE_PROBE;
	rq->waiter.probe = true;
	rq->answered = on_read;
	rq->told = on_status;
	(void)pending_add(h->pending, &rq->waiter, now); /* probes always may */
	status_add(h->status, &rq->status, now);
	request_wait(rq);
}

void
admin_readyz(struct request *rq)
{
	find_out(rq);
}

void
admin_health(struct request *rq)
{
	find_out(rq);
}
