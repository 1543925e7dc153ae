/* An event as one line of JSON; see log_json.h and log.h. */
#include "base/log_json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FORMAT_BYTES_MAX 1024u
#define STRING_BYTES_MAX 1500u /* of one value, so that others fit too */
#define DIGITS_MAX 15u         /* what a reader's double keeps exactly */

/* --- strings --- */

/* Of the longest end of an object: a quote, a brace, the end of the line. */
#define JSON_END_BYTES 3u

static bool
json_put(struct log_line *l, const char *text, size_t n)
{
	if (l->len + n + JSON_END_BYTES > sizeof l->text)
		return false;
	memcpy(l->text + l->len, text, n);
	l->len += n;
	return true;
}

/* Length of the well-formed UTF-8 sequence at s, at most left bytes; 0: there
 * is none.  The Unicode Standard, table 3-7. */
static size_t
utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n = s[0] < 0x80   ? 1
		   : s[0] < 0xc2 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 0;

	if (n > left)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < n; i++) {
		if (s[i] < low || s[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return n;
}

/* One character as it stands in a JSON string.  Returns how many bytes of s
 * that were, 0 when there is no more room. */
static size_t
json_put_char(struct log_line *l, const char *s, size_t left)
{
	unsigned char c = (unsigned char)*s;
	size_t n = utf8_length((const unsigned char *)s, left);
	char escape[8];

	if (n == 0) /* RFC 3629, section 3: never decode it */
		return json_put(l, "\xef\xbf\xbd", 3) ? 1 : 0;
	if (c == '"' || c == '\\') {
		escape[0] = '\\';
		escape[1] = (char)c;
		return json_put(l, escape, 2) ? 1 : 0;
	}
	if (c < ' ' || c == 0x7f) {
		(void)snprintf(escape, sizeof escape, "\\u%04x", c);
		return json_put(l, escape, 6) ? 1 : 0;
	}
	return json_put(l, s, n) ? n : 0;
}

/* n bytes within quotes that stand already; cut off at the bound. */
static void
json_put_text(struct log_line *l, const char *s, size_t n)
{
	const size_t start = l->len;
	size_t used;

	for (; n > 0; s += used, n -= used) {
		used = l->len - start < STRING_BYTES_MAX
			   ? json_put_char(l, s, n)
			   : 0;
		if (used == 0)
			return;
	}
}

static bool
json_put_string(struct log_line *l, const char *s, size_t n)
{
	if (!json_put(l, "\"", 1))
		return false;
	json_put_text(l, s, n);
	l->text[l->len++] = '"'; /* json_put left room */
	return true;
}

/* --- pairs --- */

/* Put into the format where blanks and equals signs stand, so that what an
 * argument holds is not taken for a pair.  If an argument has one of them, the
 * line is not divided at all. */
#define MARK_KEY '\x1c'   /* a key follows */
#define MARK_VALUE '\x1d' /* its value follows */
#define MARK_TEXT '\x1e'  /* the phrase goes on: "applied=3; commits wait" */
#define MARKS "\x1c\x1d\x1e"

/* Of "key=" or "%s=" at p, without the sign; 0: it is none. */
static size_t
key_length(const char *p)
{
	size_t n = 0;

	for (;;) {
		if (p[n] == '%' && p[n + 1] == 's')
			n += 2;
		else if ((p[n] >= 'a' && p[n] <= 'z') || p[n] == '_' ||
			 (p[n] >= '0' && p[n] <= '9'))
			n++;
		else
			return p[n] == '=' ? n : 0;
	}
}

/* fmt with marks; false if it is too long. */
static bool
mark_pairs(const char *fmt, char out[FORMAT_BYTES_MAX])
{
	size_t at = 0;
	bool in_value = false;

	while (*fmt != '\0') {
		size_t n = fmt[0] == ' ' ? key_length(fmt + 1) : 0;

		if (at + n + 3 > FORMAT_BYTES_MAX)
			return false;
		if (n > 0) {
			out[at++] = MARK_KEY;
			memcpy(out + at, fmt + 1, n);
			at += n;
			out[at++] = MARK_VALUE;
			in_value = true;
			fmt += n + 2;
			continue;
		}
		if (in_value && fmt[0] == ';') {
			out[at++] = MARK_TEXT;
			in_value = false;
		}
		out[at++] = *fmt++;
	}
	out[at] = '\0';
	return true;
}

/* All of the text that is in no pair. */
static void
json_put_phrase(struct log_line *l, const char *text)
{
	json_put_text(l, text, strcspn(text, MARKS));
	while ((text = strchr(text, MARK_TEXT)) != NULL) {
		text++;
		json_put_text(l, text, strcspn(text, MARKS));
	}
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)? and not too long for a double. */
static bool
is_number(const char *s, size_t n)
{
	size_t i = n > 0 && s[0] == '-' ? 1 : 0;
	size_t whole;

	if (n - i > DIGITS_MAX)
		return false;
	whole = strspn(s + i, "0123456789");
	if (whole == 0 || (s[i] == '0' && whole > 1))
		return false;
	i += whole;
	if (i < n && s[i] == '.') {
		whole = strspn(s + i + 1, "0123456789");
		i += whole > 0 ? whole + 1 : 0;
	}
	return i == n;
}

/* "about_node" for node: the log's own members are what they are. */
static bool
json_put_key(struct log_line *l, const char *key, size_t n)
{
	static const char own[] = " ts level process node msg error ";
	char padded[16] = "";

	if (!json_put(l, ",\"", 2))
		return false;
	if (n <= sizeof padded - 3) {
		(void)snprintf(padded, sizeof padded, " %.*s ", (int)n, key);
		if (strstr(own, padded) != NULL)
			(void)json_put(l, "about_", 6);
	}
	json_put_text(l, key, n);
	l->text[l->len++] = '"'; /* json_put left room */
	return json_put(l, ":", 1);
}

/* A pair that has no room is left out as a whole. */
static void
json_put_pair(struct log_line *l, const char *key, size_t key_n,
    const char *value, size_t n)
{
	const size_t before = l->len;

	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value++;
		n -= 2;
	}
	if (!json_put_key(l, key, key_n) ||
	    !(is_number(value, n) ? json_put(l, value, n)
				  : json_put_string(l, value, n)))
		l->len = before;
}

static void
json_put_pairs(struct log_line *l, const char *text)
{
	while ((text = strchr(text, MARK_KEY)) != NULL) {
		const char *key = text + 1;
		size_t key_n = strcspn(key, MARKS);
		const char *value = key + key_n;

		text = value;
		if (*value != MARK_VALUE)
			continue;
		value++;
		json_put_pair(l, key, key_n, value, strcspn(value, MARKS));
	}
}

/* --- the object --- */

/* The arguments in fmt, with marks if true is returned; cut off if too long. */
static bool __attribute__((format(printf, 2, 0)))
format_text(char text[LOG_LINE_BYTES_MAX], const char *fmt, va_list ap)
{
	char marked[FORMAT_BYTES_MAX];
	va_list again;

	va_copy(again, ap);
	(void)vsnprintf(text, LOG_LINE_BYTES_MAX, fmt, again);
	va_end(again);
	if (strpbrk(text, MARKS) != NULL || !mark_pairs(fmt, marked))
		return false;
	(void)vsnprintf(text, LOG_LINE_BYTES_MAX, marked, ap);
	return true;
}

static void __attribute__((format(printf, 2, 3)))
json_add(struct log_line *l, const char *fmt, ...)
{
	char text[160];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	assert(n > 0 && (size_t)n < sizeof text);
	(void)json_put(l, text, (size_t)n); /* the line is still short */
}

void
log_json(
    struct log_line *l, const struct log_event *e, const char *fmt, va_list ap)
{
	static char text[LOG_LINE_BYTES_MAX];
	bool divided = format_text(text, fmt, ap);

	json_add(l,
	    "{\"ts\":\"%s\",\"level\":\"%s\",\"process\":\"%s\","
	    "\"node\":%" PRIu64 ",\"msg\":\"",
	    e->time, e->level, e->process, e->node);
	if (divided)
		json_put_phrase(l, text);
	else
		json_put_text(l, text, strlen(text));
	l->text[l->len++] = '"'; /* json_put left room */
	if (e->error != NULL) {
		(void)json_put(l, ",\"error\":", 9); /* fits: texts are cut */
		(void)json_put_string(l, e->error, strlen(e->error));
	}
	if (divided)
		json_put_pairs(l, text);
	l->text[l->len++] = '}';
	l->text[l->len++] = '\n';
}
