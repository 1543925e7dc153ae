/* Any bytes as a HELLO: what strangers send first. */
#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct msg_hello m;
	struct wire w;
	enum err rc;

	wire_decode(&w, bytes_of(data, len));
	rc = msg_hello_wire(&w, &m);
	if (rc != ERR_OK && rc != ERR_VERSION && rc != ERR_MALFORMED)
		abort();
	if (rc == ERR_OK &&
	    (strnlen(m.version, sizeof(m.version)) == sizeof(m.version) ||
		strnlen(m.engine, sizeof(m.engine)) == sizeof(m.engine) ||
		m.process < MSG_HTTPD || m.process > MSG_KVD))
		abort();
	return 0;
}
