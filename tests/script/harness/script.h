/* Data files: directives with their input and the output that is expected.
 *
 *   command arg key=value key=(a, b)
 *   input
 *   ----
 *   output, up to an empty line; or between a second ---- and ---- ----
 *
 * script_run() prints the file again with each output replaced by what the
 * command's handler gives.  Lines that are empty or begin with # stand between
 * directives and are printed as they are. */
#ifndef HARNESS_SCRIPT_H
#define HARNESS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

struct arg {
	char *key;
	char **values;
	size_t value_count;
};

struct directive {
	char *command;
	struct arg *args;
	size_t arg_count;
	char *input; /* trimmed; never NULL */
};

/* Appends the output of a directive to out. */
typedef void (*script_handler)(
    void *ctx, const struct directive *d, struct buf *out);

/* 0, or -1 when the file cannot be read or printed. */
int script_run(const char *path, script_handler handler, void *ctx, FILE *to);

const struct arg *directive_arg(const struct directive *d, const char *key);
/* The only value of an argument, or NULL. */
const char *directive_value(const struct directive *d, const char *key);
/* fallback when there is no such argument.  A key without a value is true. */
bool directive_bool(const struct directive *d, const char *key, bool fallback);
uint64_t directive_u64(
    const struct directive *d, const char *key, uint64_t fallback);
/* False: s is not a decimal number. */
bool parse_u64(const char *s, uint64_t *value);

/* Words of text separated by white space, one after the other: *at moves on.
 * The word is copied to word.  False: no more. */
bool next_word(const char **at, char *word, size_t word_size);

void text_add(struct buf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends text with every line indented by two blanks. */
void text_indent(struct buf *out, const struct buf *text);

#endif
