/* The engine's name on disk; see engine.h. */
#include "cmd/metcd/engine.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"

#define FILE_NAME "engine"
#define FILE_BYTES_MAX 64u

static const char *const names[] = {"memory", "lmdb", "leveldb"};

const char *
engine_find_name(const char *name)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], name) == 0)
			return names[i];
	return NULL;
}

bool
engine_is_known(const char *name)
{
	return engine_find_name(name) != NULL;
}

const char *
engine_list(void)
{
	return "memory, lmdb, leveldb";
}

const char *
engine_recall(const char *data_dir)
{
	struct buf text = {0};
	const char *name = NULL;

	if (file_read(data_dir, FILE_NAME, FILE_BYTES_MAX, &text) == 0) {
		buf_append(&text, "", 1);
		((char *)text.data)[strcspn((char *)text.data, "\n")] = '\0';
		name = engine_find_name((char *)text.data);
		if (name == NULL)
			log_warnx("%s/" FILE_NAME " names no engine, it is "
				  "not used",
			    data_dir);
	} else if (errno != ENOENT) {
		log_warn("cannot read %s/" FILE_NAME, data_dir);
	}
	buf_free(&text);
	return name;
}

int
engine_remember(const char *data_dir, const char *name)
{
	struct buf text = {0};
	int rc, cause;

	buf_append(&text, name, strlen(name));
	buf_append(&text, "\n", 1);
	rc = file_replace(data_dir, FILE_NAME, buf_bytes(&text));
	cause = errno;
	buf_free(&text);
	errno = cause;
	return rc;
}
