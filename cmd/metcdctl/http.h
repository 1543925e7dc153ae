/* One HTTP request to one endpoint; the only file that knows libcurl. */
#ifndef CMD_METCDCTL_HTTP_H
#define CMD_METCDCTL_HTTP_H

#include "base/buf.h"
#include "base/mono.h"

struct http_request {
	const char *method;
	const char *target; /* path and query, percent-encoded, from '/' on */
	bool has_body;
	bool is_json;      /* the body; else it is any bytes */
	struct bytes body; /* borrowed during http_ask() */
};

struct http_answer {
	int status;
	struct buf body; /* owned */
};

enum http_result {
	HTTP_ANSWERED, /* whole, whatever the status */
	HTTP_NOT_SENT, /* nothing of the request left this machine */
	HTTP_LOST      /* sent, at least in part; no whole answer came */
};

#define HTTP_WHY_BYTES 256u

/* Ask endpoint (HOST:PORT) until deadline.  Blocks.  *a is written only when
 * answered (its body is replaced); otherwise why says what went wrong. */
enum http_result http_ask(const char *endpoint, const struct http_request *r,
    struct mono deadline, struct http_answer *a, char why[HTTP_WHY_BYTES]);

void http_answer_free(struct http_answer *a);

#endif
