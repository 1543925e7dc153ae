/* Request targets; see uri.h. */
#include "httpd/uri.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "proto/limits.h"

static_assert(KEY_BYTES_MAX == 500u, "the sentence below names the limit");
#define KEY_TOO_LONG "a key has at most 500 bytes after percent-decoding"

static char *
skip_authority(char *target)
{
	char *p;

	if (strncasecmp(target, "http://", 7) == 0)
		p = target + 7;
	else if (strncasecmp(target, "https://", 8) == 0)
		p = target + 8;
	else
		return target;
	return p + strcspn(p, "/?");
}

void
uri_split(char *target, struct uri *u)
{
	char *question;

	u->path = skip_authority(target);
	u->query = NULL;
	question = strchr(u->path, '?');
	if (question != NULL) {
		*question = '\0';
		u->query = question + 1;
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* in is followed by a NUL, so looking at two digits never leaves it. */
bool
uri_decode(char *in, size_t *len)
{
	const char *from = in;
	char *to = in;

	while (*from != '\0') {
		int hi, lo;

		if (*from != '%') {
			*to++ = *from++;
			continue;
		}
		if ((hi = hex_digit(from[1])) < 0 ||
		    (lo = hex_digit(from[2])) < 0)
			return false;
		*to++ = (char)(hi << 4 | lo);
		from += 3;
	}
	*to = '\0'; /* not behind the end: decoding never grows */
	*len = (size_t)(to - in);
	return true;
}

enum err
uri_key(char *path, struct bytes *key, const char **why)
{
	size_t len;

	if (path[0] != '/' || path[1] == '\0') {
		*why = "the key is empty; put it behind the first slash of "
		       "the path, 1 to 500 bytes";
		return ERR_BAD_KEY;
	}
	if (!uri_decode(path + 1, &len)) {
		*why = "a % in the path is not followed by two hexadecimal "
		       "digits; write a literal one as %25";
		return ERR_BAD_KEY;
	}
	if (len > KEY_BYTES_MAX) {
		*why = KEY_TOO_LONG;
		return ERR_KEY_TOO_LONG;
	}
	*key = bytes_of(path + 1, len);
	return ERR_OK;
}

bool
uri_query_next(
    char **query, const char **name, const char **value, bool *malformed)
{
	char *piece, *equals;
	size_t len;

	*malformed = false;
	do { /* "a&&b" and a trailing "&" hold no parameter */
		if ((piece = *query) == NULL)
			return false;
		*query = strchr(piece, '&');
		if (*query != NULL)
			*(*query)++ = '\0';
	} while (*piece == '\0');
	if ((equals = strchr(piece, '=')) != NULL)
		*equals++ = '\0';
	/* A decoded NUL cuts the text: then it equals no word of ours. */
	if (!uri_decode(piece, &len) || len != strlen(piece) ||
	    (equals != NULL &&
		(!uri_decode(equals, &len) || len != strlen(equals)))) {
		*malformed = true;
		return false;
	}
	*name = piece;
	*value = equals;
	return true;
}
