/* Responses; see response.h.  libmicrohttpd returns NULL only when memory is
 * out or a header field is not legal; ours are, so we end as base/mem does. */
#include "httpd/response.h"

#include <stdlib.h>
#include <sysexits.h>

#include "base/decimal.h"
#include "base/log.h"
#include "httpd/etag.h"
#include "httpd/problem.h"

static struct MHD_Response *
checked(struct MHD_Response *r)
{
	if (r == NULL) {
		log_errorx("out of memory for a response, ending");
		exit(EX_TEMPFAIL);
	}
	return r;
}

struct MHD_Response *
response_empty(void)
{
	return checked(
	    MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

/* MHD_RESPMEM_MUST_COPY does not write to its argument. */
static struct MHD_Response *
copied(struct bytes b)
{
	union {
		const uint8_t *from;
		void *to;
	} p = {.from = b.data};

	return checked(MHD_create_response_from_buffer(
	    b.len, b.len == 0 ? NULL : p.to, MHD_RESPMEM_MUST_COPY));
}

struct MHD_Response *
response_text(struct bytes text, const char *type)
{
	struct MHD_Response *r = copied(text);

	response_field(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return r;
}

struct MHD_Response *
response_value(struct bytes value)
{
	return response_text(value, "application/octet-stream");
}

static ssize_t
no_body(void *arg, uint64_t pos, char *out, size_t max)
{
	(void)arg;
	(void)pos;
	(void)out;
	(void)max;
	return MHD_CONTENT_READER_END_WITH_ERROR; /* never asked for */
}

struct MHD_Response *
response_without_value(uint64_t length)
{
	struct MHD_Response *r = checked(MHD_create_response_from_callback(
	    length, 1024, no_body, NULL, NULL));

	response_field(
	    r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
	return r;
}

struct MHD_Response *
response_problem(enum err code, const char *detail)
{
	struct buf text = {NULL, 0, 0};
	struct MHD_Response *r;

	problem_render(&text, code, detail);
	r = response_text(buf_bytes(&text), PROBLEM_TYPE);
	buf_free(&text);
	if (err_http(code) == MHD_HTTP_SERVICE_UNAVAILABLE)
		response_field(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	return r;
}

void
response_field(struct MHD_Response *r, const char *name, const char *value)
{
	if (MHD_add_response_header(r, name, value) != MHD_YES)
		(void)checked(NULL);
}

void
response_field_u64(struct MHD_Response *r, const char *name, uint64_t v)
{
	char text[DECIMAL_BYTES_MAX];

	(void)decimal_u64(v, text);
	response_field(r, name, text);
}

void
response_etag(struct MHD_Response *r, uint64_t revision)
{
	char tag[ETAG_BYTES_MAX];

	etag_format(revision, tag);
	response_field(r, MHD_HTTP_HEADER_ETAG, tag);
}

void
response_close(struct MHD_Response *r)
{
	response_field(r, MHD_HTTP_HEADER_CONNECTION, "close");
}
