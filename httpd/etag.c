/* Entity tags; see etag.h. */
#include "httpd/etag.h"

#include <assert.h>
#include <string.h>

#include "base/decimal.h"

static_assert(ETAG_BYTES_MAX >= DECIMAL_BYTES_MAX + 2, "two quotes more");
static_assert(ETAGS_MAX <= 32, "a bit of `weak` for each");

static const char *
skip_blank(const char *p)
{
	return p + strspn(p, " \t");
}

/* The number that the n characters at p spell, or 0: revisions start at 1, ours
 * are printed without leading zeros, and UINT64_MAX is none (in a lookup it
 * has a meaning of its own). */
static uint64_t
revision_of(const char *p, size_t n)
{
	uint64_t v = 0;

	if (n == 0 || *p == '0')
		return 0;
	for (; n > 0; n--, p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (*p < '0' || *p > '9' || v > (UINT64_MAX - digit) / 10)
			return 0;
		v = v * 10 + digit;
	}
	return v == UINT64_MAX ? 0 : v;
}

/* One tag at p: [W/]"characters".  Where it ends, or NULL. */
static const char *
add_one(struct etags *e, const char *p)
{
	bool weak = strncmp(p, "W/", 2) == 0;
	const char *end;
	uint64_t number;

	if (weak)
		p += 2;
	if (*p++ != '"' || (end = strchr(p, '"')) == NULL)
		return NULL;
	e->listed++;
	number = revision_of(p, (size_t)(end - p));
	if (number != 0) {
		if (e->count == ETAGS_MAX)
			return NULL;
		e->revision[e->count] = number;
		e->weak |= (uint32_t)weak << e->count;
		e->count++;
	}
	return end + 1;
}

bool
etags_add(struct etags *e, const char *value)
{
	const char *p = skip_blank(value);

	e->present = true;
	if (*p == '*') {
		e->any = true;
		return e->listed == 0 && *skip_blank(p + 1) == '\0';
	}
	for (;;) {
		p = p + strspn(p, ", \t"); /* empty elements */
		if (*p == '\0')
			return e->listed > 0 && !e->any;
		if ((p = add_one(e, p)) == NULL)
			return false;
		p = skip_blank(p);
		if (*p != ',' && *p != '\0')
			return false;
	}
}

bool
etags_match_strong(const struct etags *e, uint64_t revision)
{
	for (uint32_t i = 0; i < e->count; i++)
		if (e->revision[i] == revision && (e->weak >> i & 1) == 0)
			return true;
	return e->any;
}

bool
etags_match_weak(const struct etags *e, uint64_t revision)
{
	for (uint32_t i = 0; i < e->count; i++)
		if (e->revision[i] == revision)
			return true;
	return e->any;
}

void
etag_format(uint64_t revision, char out[ETAG_BYTES_MAX])
{
	size_t n = decimal_u64(revision, out + 1);

	out[0] = '"';
	out[1 + n] = '"';
	out[2 + n] = '\0';
}
