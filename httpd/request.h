/* One HTTP request, from its first line to its answer.
 *
 *     NEW -> READING -> (WAITING ->) ANSWERED     WAITING -> GONE
 *
 * NEW: the target is here.  READING: so is the header, the body is being read;
 * if there is one, port.check was called.  WAITING: complete, on its way
 * (pending.h, status.h): visited at first, then suspended (server.h).  GONE:
 * the client left meanwhile.  ANSWERED: the response is libmicrohttpd's
 * business, at the next visit if the request was visited.  libmicrohttpd frees
 * the request at the end, whatever the state (on_completed). */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "httpd/control.h"
#include "httpd/etag.h"
#include "httpd/leave.h"
#include "httpd/metrics.h"
#include "httpd/pending.h"
#include "httpd/ready.h"
#include "httpd/server.h"
#include "httpd/status.h"
#include "httpd/uri.h"
#include "proto/err.h"

/* Bodies of all requests together, as far as they are here. */
#define BODY_BYTES_HELD_MAX (256u << 20)
/* A body that is too large is read to its end, so that the client reads our
 * answer, but not farther than this. */
#define BODY_BYTES_SWALLOWED_MAX (8u << 20)

enum request_state {
	REQUEST_NEW,
	REQUEST_READING,
	REQUEST_WAITING,
	REQUEST_GONE,
	REQUEST_ANSWERED
};

struct request;
typedef void request_fn(struct request *rq);
typedef void request_answer_fn(struct request *rq, const struct answer *a);
typedef void request_status_fn(struct request *rq, const struct status_view *v);
typedef void request_order_fn(struct request *rq,
    const struct msg_control *order, const struct msg_controlled *m);

struct request {
	struct waiter waiter;
	struct asker status;
	struct control_waiter control;
	struct asker scrape;
	struct leaver leaver;

	struct server *server;
	struct connection *connection;
	struct MHD_Connection *mhd;
	const char *target_end; /* its NUL in libmicrohttpd's memory */
	enum request_state state;
	unsigned method;      /* traffic_method() */
	struct mono whole_at; /* when all of it was here; 0: not yet */
	bool broken;          /* close the connection without an answer */
	bool visited;         /* counted by server_visit() */
	bool suspended;
	unsigned response_status;
	struct MHD_Response *response; /* owned; for the next visit */

	request_fn *handle; /* for the complete request; set by port.check */
	request_answer_fn *answered; /* set by handle before it waits */
	request_status_fn *told;     /* the same, for a question of status */
	request_order_fn *ordered;   /* the same, for an order */
	bool wants_body;  /* set by port.check; else a body is read over */
	bool head;        /* HEAD: no body in the answer */
	struct uri uri;   /* into target */
	struct bytes key; /* data port; into target */
	uint64_t id;      /* admin port: of the path; 0: it has none */
	struct readiness readiness;
	struct etags if_match, if_none_match;
	bool bad_condition; /* one of the two could not be read */

	enum err refused; /* ERR_OK, or why the body is only swallowed */
	struct buf body;
	size_t body_seen;     /* bytes that came */
	uint64_t body_length; /* announced; UINT64_MAX: chunked, unknown */
	size_t body_held;     /* our part of httpd.body_bytes */
	char target[];        /* copy of the request target; decoded in place */
};

struct httpd *request_httpd(const struct request *rq);

/* Send resp, which is consumed. */
void request_answer(
    struct request *rq, unsigned status, struct MHD_Response *resp);
/* The same with a problem; detail NULL: the usual advice. */
void request_problem(struct request *rq, enum err code, const char *detail);
/* The request is on its way until request_answer(). */
void request_wait(struct request *rq);

/* pending_answer_fn, status_answer_fn, control_answer_fn, scrape_answer_fn,
 * leave_fn: what a request waited for. */
void request_on_answer(struct waiter *w, const struct answer *a);
void request_on_status(struct asker *a, const struct status_view *v);
void request_on_control(
    struct control_waiter *w, const struct msg_controlled *m);
void request_on_scrape(struct asker *a, struct bytes text);
void request_on_leave(struct leaver *v);

/* libmicrohttpd's callbacks; arg is the struct server. */
void *request_on_target(void *arg, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result request_on_data(void *arg, struct MHD_Connection *mhd,
    const char *url, const char *method, const char *version, const char *data,
    size_t *data_bytes, void **request);
void request_on_completed(void *arg, struct MHD_Connection *mhd, void **request,
    enum MHD_RequestTerminationCode why);

#endif
