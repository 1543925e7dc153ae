/* HTTP requests: header checks, bodies, waiting; see request.h. */
#include "httpd/request.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "httpd/httpd.h"
#include "httpd/response.h"
#include "proto/limits.h"

/* A request is visited for so long, then suspended.  Nearly all are answered
 * before; whatever holds up the others is not a matter of microseconds. */
#define VISIT_MS 20u

/* libmicrohttpd before 1.0 leaves the header where it was received, with NULs
 * for what separates its parts.  So parts that do not lie side by side show
 * what it has let through: a NUL, which cuts a target or a value; a folded
 * line (RFC 9112 section 5.2), which it glues to the name of its field, also so
 * that the name becomes one of ours; a line that ends with LF alone. */
#define CUT_IN_PLACE (MHD_VERSION < 0x01000000)

static const char bad_line[] =
    "a header line is folded, has a NUL in it or does not end with CR LF";

/* What the header fields say about the body, and whether they can be trusted.
 * libmicrohttpd 0.9.75 accepts several Content-Length fields, one next to
 * Transfer-Encoding, and codings that it does not know: two parties that read
 * such a request differently can be made to disagree on where it ends (request
 * smuggling, RFC 9112 section 11.2). */
struct framing {
	struct request *rq;
	const char *end;    /* the NUL behind the last part so far */
	unsigned hosts;     /* Host fields */
	unsigned lengths;   /* Content-Length fields */
	unsigned encodings; /* Transfer-Encoding fields */
	uint64_t length;
	bool expects;      /* perhaps 100 Continue */
	const char *wrong; /* a sentence, or NULL */
};

struct httpd *
request_httpd(const struct request *rq)
{
	return server_httpd(rq->server);
}

/* --- answers --- */

static void
release_body(struct request *rq)
{
	struct httpd *h = request_httpd(rq);

	assert(h->body_bytes >= rq->body_held);
	h->body_bytes -= rq->body_held;
	rq->body_held = 0;
	buf_free(&rq->body);
}

static void
suspend(struct request *rq)
{
	struct httpd *h = request_httpd(rq);

	MHD_suspend_connection(rq->mhd);
	rq->suspended = true;
	leave_add(h->leave, &rq->leaver, rq->connection->fd, h->now);
}

static void
unvisit(struct request *rq)
{
	if (rq->visited)
		server_unvisit(rq->server);
	rq->visited = false;
}

/* rq waits no more: libmicrohttpd shall call request_on_data() for it. */
static void
proceed(struct request *rq)
{
	leave_remove(request_httpd(rq)->leave, &rq->leaver);
	unvisit(rq);
	if (rq->suspended)
		MHD_resume_connection(rq->mhd);
	rq->suspended = false;
	server_wake(rq->server);
}

static void
queue(struct request *rq, unsigned status, struct MHD_Response *resp)
{
	if (MHD_queue_response(rq->mhd, status, resp) != MHD_YES) {
		log_debug("response not accepted status=%u", status);
		rq->broken = true;
	}
	MHD_destroy_response(resp);
	server_wake(rq->server); /* to send it */
}

void
request_answer(struct request *rq, unsigned status, struct MHD_Response *resp)
{
	struct httpd *h = request_httpd(rq);

	assert(rq->state != REQUEST_ANSWERED);
	if (server_port(rq->server)->tells_node && h->node != 0)
		response_field_u64(resp, "Metcd-Node", h->node);
	if (h->leaving)
		response_close(resp);
	if (rq->visited) { /* only its own callback may queue it */
		rq->response_status = status;
		rq->response = resp;
	} else {
		queue(rq, status, resp);
	}
	release_body(rq);
	if (rq->state == REQUEST_WAITING)
		proceed(rq);
	rq->state = REQUEST_ANSWERED;
	traffic_count(&h->traffic, server_port(rq->server)->traffic, rq->method,
	    status, rq->whole_at, h->now);
}

void
request_problem(struct request *rq, enum err code, const char *detail)
{
	request_answer(
	    rq, (unsigned)err_http(code), response_problem(code, detail));
}

/* Before the body: libmicrohttpd closes the connection then, and we say so. */
static void
refuse(struct request *rq, enum err code, const char *detail)
{
	struct MHD_Response *r = response_problem(code, detail);

	if (!request_httpd(rq)->leaving)
		response_close(r);
	request_answer(rq, (unsigned)err_http(code), r);
}

void
request_wait(struct request *rq)
{
	assert(rq->state == REQUEST_READING);
	rq->visited = server_visit(rq->server);
	if (!rq->visited)
		suspend(rq);
	rq->state = REQUEST_WAITING;
}

/* libmicrohttpd asks whether there is a response now. */
static void
visit(struct request *rq)
{
	assert(rq->visited);
	if (mono_reached(
		mono_add_ms(rq->whole_at, VISIT_MS), request_httpd(rq)->now)) {
		unvisit(rq);
		suspend(rq);
	}
}

static void
forget(struct request *rq)
{
	pending_forget(request_httpd(rq)->pending, &rq->waiter);
	status_forget(request_httpd(rq)->status, &rq->status);
	control_forget(request_httpd(rq)->control, &rq->control);
	scrapes_forget(request_httpd(rq)->scrapes, &rq->scrape);
}

void
request_on_answer(struct waiter *w, const struct answer *a)
{
	struct request *rq =
	    (struct request *)((char *)w - offsetof(struct request, waiter));

	rq->answered(rq, a);
}

void
request_on_status(struct asker *a, const struct status_view *v)
{
	struct request *rq =
	    (struct request *)((char *)a - offsetof(struct request, status));

	rq->told(rq, v);
}

void
request_on_control(struct control_waiter *w, const struct msg_controlled *m)
{
	struct request *rq =
	    (struct request *)((char *)w - offsetof(struct request, control));

	rq->ordered(rq, w->order, m);
}

void
request_on_scrape(struct asker *a, struct bytes text)
{
	struct request *rq =
	    (struct request *)((char *)a - offsetof(struct request, scrape));

	request_answer(
	    rq, MHD_HTTP_OK, response_text(text, METRICS_MEDIA_TYPE));
}

void
request_on_leave(struct leaver *v)
{
	struct request *rq =
	    (struct request *)((char *)v - offsetof(struct request, leaver));

	assert(rq->state == REQUEST_WAITING);
	log_debug("client left while its request travelled");
	forget(rq);
	proceed(rq);
	rq->state = REQUEST_GONE;
}

/* --- the header --- */

static void
read_length(struct framing *f, const char *value)
{
	size_t n = strspn(value, "0123456789");

	f->lengths++;
	f->length = 0;
	if (n == 0 || n > 18 || value[n] != '\0') {
		f->wrong = "Content-Length is not a number";
		return;
	}
	for (; *value != '\0'; value++)
		f->length = f->length * 10 + (uint64_t)(*value - '0');
}

static void
read_encoding(struct framing *f, const char *value)
{
	f->encodings++;
	if (strcasecmp(value, "chunked") != 0)
		f->wrong = "the only Transfer-Encoding here is chunked";
}

/* Does the line "name: value" follow what was before, which ended with CR LF?
 * All three are NULs now. */
static bool
is_next_line(const struct framing *f, const char *name, const char *value)
{
	const char *colon = name + strlen(name);

	return name == f->end + 2 &&
	       value == colon + 1 + strspn(colon + 1, " \t");
}

static enum MHD_Result
on_field(
    void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct framing *f = arg;
	struct request *rq = f->rq;

	(void)kind;
	if (value == NULL)
		value = "";
	if (CUT_IN_PLACE && !is_next_line(f, name, value))
		f->wrong = bad_line;
	f->end = value + strlen(value);
	if (strchr(value, '\r') != NULL)
		f->wrong = "a header field has a CR in it";
	if (strpbrk(name, " \t") != NULL)
		f->wrong = "the name of a header field has blanks in it";
	else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
		f->hosts++;
	else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
		read_length(f, value);
	else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
		read_encoding(f, value);
	else if (strcasecmp(name, MHD_HTTP_HEADER_EXPECT) == 0)
		f->expects = true;
	else if (strcasecmp(name, MHD_HTTP_HEADER_IF_MATCH) == 0)
		rq->bad_condition |= !etags_add(&rq->if_match, value);
	else if (strcasecmp(name, MHD_HTTP_HEADER_IF_NONE_MATCH) == 0)
		rq->bad_condition |= !etags_add(&rq->if_none_match, value);
	return MHD_YES;
}

static void
read_framing(struct request *rq, const char *version, struct framing *f)
{
	*f = (struct framing){.rq = rq, .end = version + strlen(version)};
	if (CUT_IN_PLACE && version != rq->target_end + 1) {
		f->wrong = "there is a NUL in the request target; write it "
			   "as %00";
		return;
	}
	(void)MHD_get_connection_values(rq->mhd, MHD_HEADER_KIND, on_field, f);
	if (CUT_IN_PLACE && f->wrong == NULL &&
	    memcmp(f->end, "\0\0\0", 4) != 0) /* and the empty line */
		f->wrong = bad_line;
	else if (f->hosts > 1)
		f->wrong = "there is more than one Host";
	else if (f->lengths > 1)
		f->wrong = "there is more than one Content-Length";
	else if (f->encodings > 1)
		f->wrong = "there is more than one Transfer-Encoding";
	else if (f->lengths + f->encodings > 1)
		f->wrong = "Content-Length and Transfer-Encoding exclude "
			   "each other";
	else if (f->encodings > 0 && strcmp(version, "HTTP/1.1") != 0)
		f->wrong = "Transfer-Encoding needs HTTP/1.1";
}

/* --- the body --- */

/* Bytes of the largest body that this port takes. */
static uint64_t
body_bytes_max(const struct request *rq)
{
	const uint64_t max = server_port(rq->server)->body_bytes_max;

	return max != 0 ? max : request_httpd(rq)->value_bytes_max;
}

static void
refuse_too_large(struct request *rq)
{
	const bool fixed = server_port(rq->server)->body_bytes_max != 0;
	char detail[128];

	(void)snprintf(detail, sizeof detail, "a %s has at most %llu bytes%s",
	    fixed ? "body on this port" : "value",
	    (unsigned long long)body_bytes_max(rq),
	    fixed ? "" : "; the limit is set with --max-value-bytes");
	refuse(rq, ERR_VALUE_TOO_LARGE, detail);
}

/* Count n more bytes for rq.  false: all requests together hold too much. */
static bool
hold(struct request *rq, size_t n)
{
	struct httpd *h = request_httpd(rq);

	if (h->body_bytes + n > BODY_BYTES_HELD_MAX)
		return false;
	h->body_bytes += n;
	rq->body_held += n;
	return true;
}

static void
swallow(struct request *rq, enum err why)
{
	rq->refused = why;
	release_body(rq);
}

static void
take_body(struct request *rq, const char *data, size_t n)
{
	rq->body_seen += n;
	if (rq->body_seen < rq->body_length)
		server_wake(rq->server); /* to read more, if it is there */
	if (rq->body_seen > BODY_BYTES_SWALLOWED_MAX) {
		rq->broken = true;
		return;
	}
	if (rq->refused != ERR_OK)
		return;
	if (rq->body_seen > body_bytes_max(rq)) {
		swallow(rq, ERR_VALUE_TOO_LARGE);
		return;
	}
	if (!rq->wants_body)
		return;
	if (rq->body_seen > rq->body_held &&
	    !hold(rq, rq->body_seen - rq->body_held)) {
		swallow(rq, ERR_OVERLOADED);
		return;
	}
	buf_append(&rq->body, data, n);
}

/* --- libmicrohttpd's callbacks --- */

/* The first of a request: the target as it came.  What is returned becomes
 * *request of the others. */
void *
request_on_target(void *arg, const char *uri, struct MHD_Connection *mhd)
{
	size_t n = strlen(uri);
	struct request *rq = mem_zalloc(1, sizeof *rq + n + 1);

	rq->server = arg;
	rq->mhd = mhd;
	rq->connection =
	    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		->socket_context;
	memcpy(rq->target, uri, n + 1);
	rq->target_end = uri + n;
	uri_split(rq->target, &rq->uri);
	connection_expect(
	    rq->connection, PROGRESS_HEADER, request_httpd(rq)->now);
	request_httpd(rq)->requests++;
	return rq;
}

/* Find the route and what is wrong with the header.  false: it is answered. */
static bool
check(struct request *rq, const char *method)
{
	if (request_httpd(rq)->stopping) {
		request_problem(rq, ERR_STOPPING, NULL);
		return false;
	}
	server_port(rq->server)->check(rq, method);
	assert(rq->state == REQUEST_ANSWERED || rq->handle != NULL);
	return rq->state != REQUEST_ANSWERED;
}

/* A body is announced: what is wrong is said before it is read.  Whoever does
 * not want our answer to wait for the body has to lose the connection. */
static void
begin_body(struct request *rq, const char *method, const struct framing *f)
{
	const uint64_t length = f->length;
	uint64_t held;

	if (!check(rq, method))
		return;
	if (length > body_bytes_max(rq)) {
		refuse_too_large(rq);
		return;
	}
	/* Will it fit?  What is held grows as the body comes: it costs a client
	 * nothing to announce one, and must not cost the others anything. */
	held = request_httpd(rq)->body_bytes;
	if (rq->wants_body && held + length > BODY_BYTES_HELD_MAX) {
		refuse(rq, ERR_OVERLOADED, NULL);
		return;
	}
	connection_expect(
	    rq->connection, PROGRESS_BODY, request_httpd(rq)->now);
	rq->body_length = f->encodings > 0 ? UINT64_MAX : length;
	rq->state = REQUEST_READING;
	if (f->expects)
		server_wake(rq->server); /* to say 100 Continue */
}

/* The header is complete.  libmicrohttpd closes a connection whose answer is
 * there now; so without a body all the rest is left to complete(). */
static void
begin(struct request *rq, const char *method, const char *version)
{
	struct framing f;

	connection_rest(rq->connection);
	read_framing(rq, version, &f);
	rq->head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	rq->method = traffic_method(method);
	if (f.wrong != NULL)
		refuse(rq, ERR_BAD_REQUEST, f.wrong);
	else if (f.length > 0 || f.encodings > 0)
		begin_body(rq, method, &f);
	else
		rq->state = REQUEST_READING;
}

/* The whole request is here. */
static void
complete(struct request *rq, const char *method)
{
	connection_rest(rq->connection);
	rq->whole_at = request_httpd(rq)->now;
	if (rq->refused == ERR_VALUE_TOO_LARGE)
		refuse_too_large(rq);
	else if (rq->refused != ERR_OK)
		request_problem(rq, rq->refused, NULL);
	else if (rq->handle != NULL || check(rq, method))
		rq->handle(rq);
	assert(rq->state == REQUEST_WAITING || rq->state == REQUEST_ANSWERED);
}

enum MHD_Result
request_on_data(void *arg, struct MHD_Connection *mhd, const char *url,
    const char *method, const char *version, const char *data,
    size_t *data_bytes, void **request)
{
	struct request *rq = *request;

	(void)arg;
	(void)mhd;
	(void)url;
	switch (rq->state) {
	case REQUEST_NEW:
		begin(rq, method, version);
		break;
	case REQUEST_READING:
		if (*data_bytes != 0)
			take_body(rq, data, *data_bytes);
		else
			complete(rq, method);
		*data_bytes = 0;
		break;
	case REQUEST_ANSWERED:
		if (rq->response != NULL)
			queue(rq, rq->response_status, rq->response);
		rq->response = NULL;
		*data_bytes = 0;
		break;
	case REQUEST_WAITING: /* not called while suspended */
		visit(rq);
		break;
	case REQUEST_GONE:
		rq->broken = true;
		break;
	}
	return rq->broken ? MHD_NO : MHD_YES;
}

void
request_on_completed(void *arg, struct MHD_Connection *mhd, void **request,
    enum MHD_RequestTerminationCode why)
{
	struct request *rq = *request;

	(void)arg;
	(void)mhd;
	(void)why;
	if (rq == NULL)
		return;
	forget(rq);
	leave_remove(request_httpd(rq)->leave, &rq->leaver);
	unvisit(rq);
	if (rq->response != NULL)
		MHD_destroy_response(rq->response);
	release_body(rq);
	request_httpd(rq)->requests--;
	mem_free(rq);
	*request = NULL;
}
