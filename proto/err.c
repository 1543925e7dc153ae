/* The error table as functions. */
#include "proto/err.h"

#include <stddef.h>

struct err_row {
	enum err nr;
	int http;
	const char *word;
	const char *title;
};

static const struct err_row rows[] = {
#define ERR_ROW(name, nr, word, http, title) {ERR_##name, (http), word, title},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static const struct err_row *
find(unsigned nr)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((unsigned)rows[i].nr == nr)
			return &rows[i];
	return NULL;
}

const char *
err_word(enum err e)
{
	const struct err_row *row = find((unsigned)e);

	return row != NULL ? row->word : "unknown";
}

const char *
err_title(enum err e)
{
	const struct err_row *row = find((unsigned)e);

	return row != NULL ? row->title : "Unknown error";
}

int
err_http(enum err e)
{
	const struct err_row *row = find((unsigned)e);

	return row != NULL ? row->http : 500;
}

enum err
err_from_u8(unsigned nr)
{
	const struct err_row *row = find(nr);

	return row != NULL ? row->nr : ERR_MALFORMED;
}
