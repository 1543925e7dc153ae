/* Histograms and Prometheus's text format; see metrics.h. */
#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- histograms --- */

/* The first bucket whose bound is not below ns: the powers of two in ns divided
 * by the first bound, rounded up. */
void
histogram_add(struct histogram *h, uint64_t first_ns, uint64_t ns)
{
	uint64_t over = ns == 0 ? 0 : (ns - 1) / first_ns;
	unsigned i = over == 0 ? 0 : 64u - (unsigned)__builtin_clzll(over);

	h->count[i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS]++;
	h->sum_ns += ns;
}

void
histogram_add_since(
    struct histogram *h, uint64_t first_ns, struct mono begin, struct mono end)
{
	histogram_add(h, first_ns, end.ns > begin.ns ? end.ns - begin.ns : 0);
}

uint64_t
histogram_total(const struct histogram *h)
{
	uint64_t total = 0;

	for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
		total += h->count[i];
	return total;
}

/* --- text --- */

static void
put(struct metrics *m, const char *text)
{
	buf_append(m->out, text, strlen(text));
}

/* Help and label values: a backslash and a line feed are escaped, in label
 * values the quote as well. */
static void
put_escaped(struct metrics *m, char c, bool quoted)
{
	if (c == '\\')
		put(m, "\\\\");
	else if (c == '\n')
		put(m, "\\n");
	else if (c == '"' && quoted)
		put(m, "\\\"");
	else
		buf_append(m->out, &c, 1);
}

/* The length of the UTF-8 sequence at s (RFC 3629); 0: it is none. */
static size_t
utf8_length(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t n = p[0] < 0x80                   ? 1
		   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
		   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++) /* a NUL ends it as well */
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) ||
	    (p[0] == 0xed && p[1] > 0x9f) || /* surrogates */
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static void
put_text(struct metrics *m, const char *s, bool quoted)
{
	while (*s != '\0') {
		size_t n = utf8_length(s);

		if (n <= 1) {
			put_escaped(m, n == 1 ? *s : '?', quoted);
			s++;
		} else {
			buf_append(m->out, s, n);
			s += n;
		}
	}
}

static bool
is_name(const char *s)
{
	static const char allowed[] = "0123456789_abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *s != '\0' && strchr("0123456789", *s) == NULL &&
	       s[strspn(s, allowed)] == '\0';
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), e = strlen(end);

	return n >= e && strcmp(s + n - e, end) == 0;
}

static const char *
type_word(enum metrics_type type)
{
	switch (type) {
	case METRICS_COUNTER:
		return "counter";
	case METRICS_GAUGE:
		return "gauge";
	case METRICS_HISTOGRAM:
		return "histogram";
	}
	return "untyped";
}

void
metrics_family(struct metrics *m, const char *name, enum metrics_type type,
    const char *help)
{
	assert(is_name(name));
	assert(ends_with(name, "_total") == (type == METRICS_COUNTER));
	m->family = name;
	m->type = type;
	put(m, "# HELP ");
	put(m, name);
	put(m, " ");
	put_text(m, help, false);
	put(m, "\n# TYPE ");
	put(m, name);
	put(m, " ");
	put(m, type_word(type));
	put(m, "\n");
}

/* name{labels,le="bound"} and a space; le NULL: none. */
static void
put_series(struct metrics *m, const char *suffix,
    const struct metrics_label *labels, const char *le)
{
	const char *before = "{";

	put(m, m->family);
	put(m, suffix);
	for (; labels != NULL && labels->name != NULL; labels++) {
		assert(is_name(labels->name));
		put(m, before);
		put(m, labels->name);
		put(m, "=\"");
		put_text(m, labels->value, true);
		put(m, "\"");
		before = ",";
	}
	if (le != NULL) {
		put(m, before);
		put(m, "le=\"");
		put(m, le);
		put(m, "\"");
		before = ",";
	}
	put(m, *before == ',' ? "} " : " ");
}

static void
put_u64(struct metrics *m, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%" PRIu64 "\n", value);
	put(m, text);
}

/* Nanoseconds as seconds, exactly, without zeros at the end. */
static void
format_seconds(uint64_t ns, char *out, size_t out_bytes)
{
	size_t n;

	(void)snprintf(out, out_bytes, "%" PRIu64 ".%09" PRIu64,
	    ns / 1000000000u, ns % 1000000000u);
	n = strlen(out);
	while (out[n - 1] == '0')
		n--;
	if (out[n - 1] == '.')
		n--;
	out[n] = '\0';
}

static void
put_seconds(struct metrics *m, uint64_t ns)
{
	char text[40];

	format_seconds(ns, text, sizeof text);
	put(m, text);
	put(m, "\n");
}

void
metrics_u64(
    struct metrics *m, const struct metrics_label *labels, uint64_t value)
{
	assert(m->type != METRICS_HISTOGRAM);
	put_series(m, "", labels, NULL);
	put_u64(m, value);
}

void
metrics_seconds(
    struct metrics *m, const struct metrics_label *labels, uint64_t ns)
{
	assert(m->type != METRICS_HISTOGRAM);
	put_series(m, "", labels, NULL);
	put_seconds(m, ns);
}

void
metrics_histogram(struct metrics *m, const struct metrics_label *labels,
    uint64_t first_ns, unsigned buckets, const struct histogram *h)
{
	uint64_t sum = 0, bound = first_ns;
	char le[40];

	assert(m->type == METRICS_HISTOGRAM);
	assert(buckets <= HISTOGRAM_BUCKETS);
	for (unsigned i = 0; i < buckets; i++, bound *= 2) {
		sum += h->count[i];
		format_seconds(bound, le, sizeof le);
		put_series(m, "_bucket", labels, le);
		put_u64(m, sum);
	}
	put_series(m, "_bucket", labels, "+Inf");
	put_u64(m, histogram_total(h));
	put_series(m, "_sum", labels, NULL);
	put_seconds(m, h->sum_ns);
	put_series(m, "_count", labels, NULL);
	put_u64(m, histogram_total(h));
}

void
metrics_counter(
    struct metrics *m, const char *name, const char *help, uint64_t value)
{
	metrics_family(m, name, METRICS_COUNTER, help);
	metrics_u64(m, NULL, value);
}

void
metrics_gauge(
    struct metrics *m, const char *name, const char *help, uint64_t value)
{
	metrics_family(m, name, METRICS_GAUGE, help);
	metrics_u64(m, NULL, value);
}
