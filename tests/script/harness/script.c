/* Reading data files.  The format is that of Go's cockroachdb/datadriven. */
#include "tests/script/harness/script.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SEPARATOR "----"

struct reader {
	char **lines;
	size_t count;
	size_t at;
};

/* ---- text ---- */

void
text_add(struct buf *out, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n <= 0)
		return;
	buf_reserve(out, (size_t)n + 1);
	va_start(args, format);
	(void)vsnprintf((char *)out->data + out->len, (size_t)n + 1, format,
	    args); /* measured above */
	va_end(args);
	out->len += (size_t)n;
}

void
text_indent(struct buf *out, const struct buf *text)
{
	bool at_start = true;

	for (size_t i = 0; i < text->len; i++) {
		if (at_start)
			buf_append(out, "  ", 2);
		buf_append(out, &text->data[i], 1);
		at_start = text->data[i] == '\n';
	}
}

static bool
is_blank(const char *line)
{
	while (isspace((unsigned char)*line))
		line++;
	return *line == '\0';
}

static char *
trimmed(const char *s, size_t len)
{
	char *copy;

	while (len > 0 && isspace((unsigned char)*s)) {
		s++;
		len--;
	}
	while (len > 0 && isspace((unsigned char)s[len - 1]))
		len--;
	copy = mem_alloc(len + 1);
	if (len > 0)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

bool
parse_u64(const char *s, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	*value = strtoull(s, &end, 10);
	return *end == '\0';
}

bool
next_word(const char **at, char *word, size_t word_size)
{
	size_t n = 0;

	while (isspace((unsigned char)**at))
		(*at)++;
	while (**at != '\0' && !isspace((unsigned char)**at)) {
		if (n + 1 < word_size)
			word[n++] = **at;
		(*at)++;
	}
	word[n] = '\0';
	return n > 0;
}

/* ---- lines ---- */

static int
read_lines(const char *path, struct reader *r)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (f == NULL)
		return -1;
	*r = (struct reader){0};
	while ((n = getline(&line, &cap, f)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			line[n - 1] = '\0';
		r->lines =
		    mem_resize(r->lines, r->count + 1, sizeof(*r->lines));
		r->lines[r->count++] = mem_strdup(line);
	}
	free(line);
	(void)fclose(f); /* was only read */
	return 0;
}

static void
free_lines(struct reader *r)
{
	for (size_t i = 0; i < r->count; i++)
		mem_free(r->lines[i]);
	mem_free(r->lines);
}

static const char *
peek(const struct reader *r, size_t ahead)
{
	return r->at + ahead < r->count ? r->lines[r->at + ahead] : NULL;
}

static bool
is_separator(const char *line)
{
	return line != NULL && strcmp(line, SEPARATOR) == 0;
}

/* Past the output that the file expects. */
static void
skip_output(struct reader *r)
{
	bool twofold = is_separator(peek(r, 0));

	if (twofold)
		r->at++;
	while (r->at < r->count) {
		if (twofold) {
			if (is_separator(peek(r, 0)) &&
			    is_separator(peek(r, 1))) {
				r->at += 2;
				twofold = false; /* up to the empty line */
				continue;
			}
		} else if (is_blank(peek(r, 0))) {
			r->at++;
			return;
		}
		r->at++;
	}
}

/* ---- arguments ---- */

static void
arg_value(struct arg *a, const char *s, size_t len)
{
	a->values =
	    mem_resize(a->values, a->value_count + 1, sizeof(*a->values));
	a->values[a->value_count++] = trimmed(s, len);
}

/* s stands behind "(".  Returns what is behind the matching ")". */
static const char *
arg_list(struct arg *a, const char *s)
{
	const char *start = s;
	unsigned int depth = 0;

	for (; *s != '\0'; s++) {
		if (*s == '(')
			depth++;
		if (*s == ')' && depth == 0)
			break;
		if (*s == ')')
			depth--;
		if (*s == ',' && depth == 0) {
			arg_value(a, start, (size_t)(s - start));
			start = s + 1;
		}
	}
	arg_value(a, start, (size_t)(s - start));
	return *s == '\0' ? s : s + 1;
}

static void
parse_args(struct directive *d, const char *s)
{
	for (;;) {
		struct arg a = {0};
		size_t n;

		s += strspn(s, " \t");
		if (*s == '\0')
			return;
		n = strcspn(s, " =");
		a.key = trimmed(s, n);
		s += n;
		if (*s == '=') {
			s++;
			if (*s == '(') {
				s = arg_list(&a, s + 1);
			} else {
				n = strcspn(s, " ");
				arg_value(&a, s, n);
				s += n;
			}
		}
		d->args =
		    mem_resize(d->args, d->arg_count + 1, sizeof(*d->args));
		d->args[d->arg_count++] = a;
	}
}

static void
directive_free(struct directive *d)
{
	for (size_t i = 0; i < d->arg_count; i++) {
		for (size_t v = 0; v < d->args[i].value_count; v++)
			mem_free(d->args[i].values[v]);
		mem_free(d->args[i].values);
		mem_free(d->args[i].key);
	}
	mem_free(d->args);
	mem_free(d->command);
	mem_free(d->input);
}

const struct arg *
directive_arg(const struct directive *d, const char *key)
{
	for (size_t i = 0; i < d->arg_count; i++)
		if (strcmp(d->args[i].key, key) == 0)
			return &d->args[i];
	return NULL;
}

const char *
directive_value(const struct directive *d, const char *key)
{
	const struct arg *a = directive_arg(d, key);

	return a != NULL && a->value_count == 1 ? a->values[0] : NULL;
}

bool
directive_bool(const struct directive *d, const char *key, bool fallback)
{
	const struct arg *a = directive_arg(d, key);
	char first;

	if (a == NULL)
		return fallback;
	if (a->value_count == 0)
		return true;
	first = a->values[0][0];
	return first == '1' || first == 't' || first == 'T';
}

uint64_t
directive_u64(const struct directive *d, const char *key, uint64_t fallback)
{
	const char *value = directive_value(d, key);
	uint64_t n;

	return value != NULL && parse_u64(value, &n) ? n : fallback;
}

/* ---- running ---- */

/* The directive line with its continuations; they are printed as they are. */
static void
parse_head(struct reader *r, struct directive *d, FILE *to)
{
	struct buf head = {0};
	char *line;
	size_t n;
	bool more = true;

	while (more && r->at < r->count) {
		(void)fprintf(to, "%s\n", r->lines[r->at]);
		line = trimmed(r->lines[r->at], strlen(r->lines[r->at]));
		n = strlen(line);
		more = n > 0 && line[n - 1] == '\\';
		if (head.len > 0)
			buf_append(&head, " ", 1);
		buf_append(&head, line, more ? n - 1 : n);
		mem_free(line);
		r->at++;
	}
	buf_append(&head, "", 1);
	n = strcspn((char *)head.data, " ");
	d->command = trimmed((char *)head.data, n);
	parse_args(d, (char *)head.data + n);
	buf_free(&head);
}

static void
parse_input(struct reader *r, struct directive *d, FILE *to)
{
	struct buf input = {0};

	for (; r->at < r->count && !is_separator(r->lines[r->at]); r->at++) {
		(void)fprintf(to, "%s\n", r->lines[r->at]);
		buf_append(&input, r->lines[r->at], strlen(r->lines[r->at]));
		buf_append(&input, "\n", 1);
	}
	r->at++; /* the separator */
	d->input = trimmed((char *)input.data, input.len);
	buf_free(&input);
}

static bool
has_blank_line(const struct buf *out)
{
	bool blank = true;

	for (size_t i = 0; i < out->len; i++) {
		if (out->data[i] == '\n') {
			if (blank)
				return true;
			blank = true;
		} else if (!isspace(out->data[i])) {
			blank = false;
		}
	}
	return false;
}

static void
print_output(struct buf *out, FILE *to)
{
	bool twofold;

	if (out->len > 0 && out->data[out->len - 1] != '\n')
		buf_append(out, "\n", 1);
	twofold = has_blank_line(out);
	(void)fprintf(to, "%s\n%s", SEPARATOR, twofold ? SEPARATOR "\n" : "");
	(void)fwrite(out->data, 1, out->len, to); /* ferror() is asked later */
	(void)fprintf(to, "%s\n", twofold ? SEPARATOR "\n" SEPARATOR "\n" : "");
}

static void
run_directive(struct reader *r, script_handler handler, void *ctx, FILE *to)
{
	struct directive d = {0};
	struct buf out = {0};

	parse_head(r, &d, to);
	if (strcmp(d.command, "subtest") == 0) {
		directive_free(&d);
		return;
	}
	parse_input(r, &d, to);
	skip_output(r);
	handler(ctx, &d, &out);
	print_output(&out, to);
	buf_free(&out);
	directive_free(&d);
}

int
script_run(const char *path, script_handler handler, void *ctx, FILE *to)
{
	struct reader r;

	if (read_lines(path, &r) != 0)
		return -1;
	while (r.at < r.count) {
		const char *line = r.lines[r.at];

		if (is_blank(line) || line[strspn(line, " \t")] == '#') {
			(void)fprintf(to, "%s\n", line);
			r.at++;
			continue;
		}
		run_directive(&r, handler, ctx, to);
	}
	free_lines(&r);
	return fflush(to) != 0 || ferror(to) ? -1 : 0;
}
