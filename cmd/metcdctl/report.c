/* Objects as lines, tables and JSON; see report.h. */
#include "cmd/metcdctl/report.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELLS 16
#define PATH_BYTES 32u
#define COLUMNS_MAX 16u

void
report_text(struct buf *out, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n > 0)
		buf_append(out, text, (size_t)n);
	if (n >= 0)
		free(text);
}

/* --- cells --- */

static const json_t *
value_at(const json_t *object, const char *path)
{
	const char *dot;
	char step[PATH_BYTES];

	while ((dot = strchr(path, '.')) != NULL) {
		(void)snprintf(
		    step, sizeof step, "%.*s", (int)(dot - path), path);
		object = json_object_get(object, step);
		path = dot + 1;
	}
	return json_object_get(object, path);
}

const char *
report_cell(const json_t *object, const char *path)
{
	static char cells[CELLS][32];
	static unsigned next;
	const json_t *v = value_at(object, path);
	char *out = cells[next++ % CELLS];

	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	if (json_is_integer(v))
		(void)snprintf(out, sizeof cells[0], "%" JSON_INTEGER_FORMAT,
		    json_integer_value(v)); /* 20 digits fit */
	else
		(void)snprintf(out, sizeof cells[0], "-");
	return out;
}

/* --- formats --- */

static size_t
width_of(const struct column *column, const json_t *rows)
{
	size_t width = strlen(column->name);

	for (size_t i = 0; i < json_array_size(rows); i++) {
		size_t len =
		    strlen(report_cell(json_array_get(rows, i), column->path));

		if (len > width)
			width = len;
	}
	return width;
}

/* The last one of a line is not padded. */
static void
add_padded(struct buf *out, const char *text, size_t width, bool last)
{
	report_text(
	    out, "%-*s%s", last ? 0 : (int)width, text, last ? "\n" : "  ");
}

static void
add_head(struct buf *out, const struct column *columns, const size_t *width)
{
	for (size_t k = 0; columns[k].name != NULL; k++) {
		char head[PATH_BYTES];
		size_t n = 0;

		for (; columns[k].name[n] != '\0' && n + 1 < sizeof head; n++)
			head[n] =
			    (char)toupper((unsigned char)columns[k].name[n]);
		head[n] = '\0';
		add_padded(out, head, width[k], columns[k + 1].name == NULL);
	}
}

void
report_table(struct buf *out, const struct column *columns, const json_t *rows)
{
	size_t width[COLUMNS_MAX];

	for (size_t k = 0; columns[k].name != NULL; k++)
		width[k] = width_of(&columns[k], rows);
	add_head(out, columns, width);
	for (size_t i = 0; i < json_array_size(rows); i++)
		for (size_t k = 0; columns[k].name != NULL; k++)
			add_padded(out,
			    report_cell(
				json_array_get(rows, i), columns[k].path),
			    width[k], columns[k + 1].name == NULL);
}

static void
add_lines(struct buf *out, const struct column *columns, const json_t *rows)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		for (size_t k = 0; columns[k].name != NULL; k++)
			report_text(out, "%s=%s%s", columns[k].name,
			    report_cell(
				json_array_get(rows, i), columns[k].path),
			    columns[k + 1].name == NULL ? "\n" : " ");
}

void
report_json(struct buf *out, const json_t *what)
{
	char *text = json_dumps(what, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (text != NULL)
		report_text(out, "%s\n", text);
	free(text);
}

/* --- printing --- */

enum ctl_exit
report_print(const struct ctl *c, const struct column *columns,
    const json_t *rows, const json_t *whole)
{
	struct buf out = {0};
	enum ctl_exit rc;

	switch (c->output) {
	case CTL_SIMPLE:
		add_lines(&out, columns, rows);
		break;
	case CTL_TABLE:
		report_table(&out, columns, rows);
		break;
	case CTL_JSON:
		report_json(&out, whole);
		break;
	}
	rc = ctl_print(out.data, out.len);
	buf_free(&out);
	return rc;
}

enum ctl_exit
report_print_one(
    const struct ctl *c, const struct column *columns, json_t *object)
{
	json_t *rows = json_pack("[O]", object);
	enum ctl_exit rc = report_print(c, columns, rows, object);

	json_decref(rows);
	return rc;
}

const json_t *
report_whole(const json_t *rows)
{
	return json_array_size(rows) == 1 ? json_array_get(rows, 0) : rows;
}
