/* raft-harness KIND FILE: runs a data file against the Raft core and prints it
 * with the outputs that the core gives.
 *
 * Exit codes: 0 printed; 64 wrong call; 66 the file cannot be read. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "tests/script/harness/kinds.h"

static const struct kind *const kinds[] = {
    &kind_interaction, &kind_quorum, &kind_confchange};

int
main(int argc, char *argv[])
{
	const struct kind *kind = NULL;
	void *ctx = NULL;
	int rc;

	for (size_t i = 0; argc == 3 && i < 3; i++)
		if (strcmp(argv[1], kinds[i]->name) == 0)
			kind = kinds[i];
	if (kind == NULL) {
		(void)fprintf(stderr,
		    "usage: raft-harness interaction|quorum|confchange "
		    "FILE\n");
		return EX_USAGE;
	}
	if (kind->open != NULL)
		ctx = kind->open();
	rc = script_run(argv[2], kind->handle, ctx, stdout);
	if (kind->close != NULL)
		kind->close(ctx);
	if (rc != 0) {
		perror(argv[2]);
		return EX_NOINPUT;
	}
	return 0;
}
