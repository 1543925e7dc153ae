/* Any bytes as the body of an order.  What is taken can be passed on as it is:
 * an address needs no escape in JSON and has a port. */
#include <stdlib.h>
#include <string.h>

#include "httpd/fields.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check_address(const char *s)
{
	if (strlen(s) > ADDRESS_BYTES_MAX || strrchr(s, ':') == NULL)
		abort();
	for (; *s != '\0'; s++)
		if (*s <= ' ' || *s > '~' || *s == '"' || *s == '\\')
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char peer[ADDRESS_BYTES_MAX + 1] = "", why[FIELDS_WHY_BYTES] = "";
	uint64_t id = 1;
	bool force = false, promote = false;
	const struct field fields[] = {{"peer", FIELD_ADDRESS, peer, true},
	    {"id", FIELD_ID, &id, false}, {"force", FIELD_FLAG, &force, false},
	    {"promote", FIELD_PROMOTE, &promote, false}, {0}};

	if (!fields_read(fields, bytes_of(data, len), why)) {
		if (why[0] == '\0' || memchr(why, '\0', sizeof why) == NULL)
			abort();
		return 0;
	}
	if (id < 1 || id > INT64_MAX)
		abort();
	check_address(peer);
	return 0;
}
