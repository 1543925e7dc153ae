/* The storage engines by name. */
#include "kvd/engine.h"

#include <string.h>

/* Smaller write buffers make LevelDB's writers stall. */
struct engine_sizes engine_sizes = {
    .leveldb_cache_bytes = 8u << 20,
    .leveldb_write_buffer_bytes = 32u << 20,
};

static const struct engine_ops *const engines[] = {
    &engine_memory, &engine_lmdb, &engine_leveldb};

const struct engine_ops *
engine_at(size_t i)
{
	return i < sizeof engines / sizeof engines[0] ? engines[i] : NULL;
}

const struct engine_ops *
engine_find(const char *name)
{
	for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}

const char *
engine_names(void)
{
	return "memory, lmdb, leveldb";
}
