/* The body of a request as a JSON object with known fields (RFC 8259). */
#ifndef HTTPD_FIELDS_H
#define HTTPD_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum field_kind {
	FIELD_ID,      /* dst is uint64_t *: a whole number from 1 on */
	FIELD_FLAG,    /* dst is bool *: true or false */
	FIELD_ADDRESS, /* dst is char[ADDRESS_BYTES_MAX + 1]: "HOST:PORT" */
	FIELD_PROMOTE  /* dst is bool *: "auto" (true) or "manual" */
};

/* One field; a table of them ends with name NULL.  dst holds the default. */
struct field {
	const char *name;
	enum field_kind kind;
	void *dst;
	bool required;
};

#define FIELDS_WHY_BYTES 256u

/* Read body into the fields.  An empty one is an object without fields.  false:
 * why says what is wrong with it, by name; the fields are written in part. */
bool fields_read(
    const struct field *fields, struct bytes body, char why[FIELDS_WHY_BYTES]);

#endif
