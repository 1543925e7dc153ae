/* Request targets as they came, byte for byte: a key may hold any byte, so
 * the target is split first and percent-decoded after, with a length.
 *
 * '+' is a plus, "//a" is the key "/a", and there are no dot segments: nothing
 * but percent-encoding (RFC 3986 section 2.1) is undone. */
#ifndef HTTPD_URI_H
#define HTTPD_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/err.h"

/* Both parts are borrowed from the target and still encoded. */
struct uri {
	char *path;  /* with its first slash; "" or "*" when there is none */
	char *query; /* behind the first '?'; NULL when there is no '?' */
};

/* Split target in place.  Of the absolute form (RFC 9112 section 3.2.2),
 * "http://host/path", scheme and authority are skipped. */
void uri_split(char *target, struct uri *u);

/* The key of a path: without the first slash, decoded over the path itself.
 * ERR_OK; ERR_BAD_KEY or ERR_KEY_TOO_LONG with *why, a static sentence. */
enum err uri_key(char *path, struct bytes *key, const char **why);

/* Decode in over itself.  false: a '%' without two hex digits. */
bool uri_decode(char *in, size_t *len);

/* The next "name=value" of a query, decoded in place; both are text.  value is
 * NULL when there is no '='.  *query moves on, NULL at the end.  Returns false
 * at the end; *malformed says whether that is because of a bad '%'. */
bool uri_query_next(
    char **query, const char **name, const char **value, bool *malformed);

#endif
