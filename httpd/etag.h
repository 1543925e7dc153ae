/* Entity tags and the conditions made of them (RFC 9110 sections 8.8.3, 13.1).
 *
 * The tag of a value is its mod_revision in quotes, "77", always strong.  Any
 * other tag is legal in a condition and never matches. */
#ifndef HTTPD_ETAG_H
#define HTTPD_ETAG_H

#include <stdbool.h>
#include <stdint.h>

#define ETAGS_MAX 16u
#define ETAG_BYTES_MAX 24u /* quotes, 20 digits, NUL */

struct etags {
	bool present;    /* the header field was there */
	bool any;        /* "*" */
	uint32_t listed; /* tags, ours or not */
	uint32_t count;  /* of revision[] */
	uint32_t weak;   /* bit n: revision[n]'s tag was weak */
	uint64_t revision[ETAGS_MAX];
};

/* Add one header field's value; several fields make one list.  false: it is
 * not a list of quoted tags, or too long. */
bool etags_add(struct etags *e, const char *value);

/* revision: of the value that is there.  Strong comparison is If-Match's, weak
 * is If-None-Match's. */
bool etags_match_strong(const struct etags *e, uint64_t revision);
bool etags_match_weak(const struct etags *e, uint64_t revision);

void etag_format(uint64_t revision, char out[ETAG_BYTES_MAX]);

#endif
