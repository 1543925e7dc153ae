/* Responses: bodies and header fields.  All end in request_answer(). */
#ifndef HTTPD_RESPONSE_H
#define HTTPD_RESPONSE_H

#include <microhttpd.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/err.h"

struct MHD_Response *response_empty(void);
struct MHD_Response *response_value(struct bytes value); /* is copied */
/* For HEAD and 304: says how long the value is, and has none. */
struct MHD_Response *response_without_value(uint64_t length);
/* type is a media type; text is copied. */
struct MHD_Response *response_text(struct bytes text, const char *type);
struct MHD_Response *response_problem(enum err code, const char *detail);

void response_field(
    struct MHD_Response *r, const char *name, const char *value);
void response_field_u64(struct MHD_Response *r, const char *name, uint64_t v);
void response_etag(struct MHD_Response *r, uint64_t revision);
/* The connection ends with this response. */
void response_close(struct MHD_Response *r);

#endif
