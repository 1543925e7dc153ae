/* Reports: objects as lines, as a table or as JSON. */
#ifndef CMD_METCDCTL_REPORT_H
#define CMD_METCDCTL_REPORT_H

#include <jansson.h>

#include "base/buf.h"
#include "cmd/metcdctl/ctl.h"

/* What is shown of each object. */
struct column {
	const char *name; /* "id": id=1 in a line, ID over a table */
	const char *path; /* where it is in the object: "kv.applied" */
};

/* Append text. */
void report_text(struct buf *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The value at a path, as text: "-" when there is none.  Valid until the 16th
 * next call. */
const char *report_cell(const json_t *object, const char *path);
/* Append a table with its head. */
void report_table(
    struct buf *out, const struct column *columns, const json_t *rows);
void report_json(struct buf *out, const json_t *what);

/* Print rows in the format that c asks for; whole is what JSON shows.  columns
 * end with name NULL. */
enum ctl_exit report_print(const struct ctl *c, const struct column *columns,
    const json_t *rows, const json_t *whole);
/* The same for one object. */
enum ctl_exit report_print_one(
    const struct ctl *c, const struct column *columns, json_t *object);
/* One object is shown for itself, several as an array. */
const json_t *report_whole(const json_t *rows);

#endif
