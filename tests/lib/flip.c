/* flip ENGINE DIR KEY: change one bit of a stored value below kvd, as a broken
 * disk or memory would, for tests of what notices it.  DIR is DATA/kv/ENGINE
 * of a kvd that is not running.
 *
 * The record is written through the engine, so that its own checksums are
 * right: LMDB has none, LevelDB would refuse the block. */
#include <stdio.h>

#include "base/log.h"
#include "kvd/engine.h"
#include "kvd/record.h"

static enum err
flip(const struct engine_ops *ops, struct engine *e, const char *key)
{
	struct record_name name;
	struct engine_write w = {
	    .name = record_name_key(&name, bytes_of_str(key))};
	struct buf copy = {0};
	struct bytes record;
	enum err rc = ops->get(e, w.name, &record);

	if (rc != ERR_OK)
		return rc;
	buf_append(&copy, record.data, record.len);
	copy.data[copy.len - 1] ^= 1;
	w.record = buf_bytes(&copy);
	if ((rc = ops->write(e, &w, 1)) == ERR_OK)
		rc = ops->sync(e);
	buf_free(&copy);
	return rc;
}

int
main(int argc, char *argv[])
{
	const struct engine_ops *ops = argc == 4 ? engine_find(argv[1]) : NULL;
	struct engine *e;
	enum err rc;

	log_open("flip", 0);
	if (ops == NULL || !ops->durable) {
		(void)fprintf(stderr, "usage: flip lmdb|leveldb DIR KEY\n");
		return 64;
	}
	if (ops->open(&e, argv[2]) != ERR_OK)
		return 74;
	rc = flip(ops, e, argv[3]);
	if (rc == ERR_NOT_FOUND)
		(void)fprintf(stderr, "flip: there is no such key\n");
	ops->close(e);
	return rc == ERR_OK ? 0 : 1;
}
