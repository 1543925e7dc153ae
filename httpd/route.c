/* Paths with an id in them; see route.h. */
#include "httpd/route.h"

#include <stdlib.h>
#include <string.h>

#define ID "ID"

bool
route_matches(const char *pattern, const char *path, uint64_t *id)
{
	const char *gap = strstr(pattern, ID);
	size_t before, digits;

	if (gap == NULL)
		return strcmp(pattern, path) == 0;
	before = (size_t)(gap - pattern);
	if (strncmp(pattern, path, before) != 0)
		return false;
	path += before;
	digits = strspn(path, "0123456789");
	if (digits == 0 || path[0] == '0' ||
	    strcmp(gap + strlen(ID), path + digits) != 0)
		return false;
	*id = strtoull(path, NULL, 10); /* UINT64_MAX if it is too large */
	return true;
}
