/* The verbs for keys: put, get, del. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cmd/metcdctl/client.h"
#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/progress.h"
#include "proto/limits.h"

#define READ_BYTES 65536u

/* --- keys --- */

static bool
is_plain(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
	       (ch >= '0' && ch <= '9') || strchr("-_.~", ch) != NULL;
}

static void
append_encoded(struct buf *out, const char *key)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *key != '\0'; key++) {
		unsigned char ch = (unsigned char)*key;
		char code[3] = {'%', hex[ch >> 4], hex[ch & 15]};

		if (is_plain(*key))
			buf_append(out, key, 1);
		else
			buf_append(out, code, sizeof code);
	}
}

/* The request target of a key, NUL-terminated in out. */
static enum ctl_exit
make_target(struct buf *out, const char *key, const char *query)
{
	size_t len = strlen(key);

	if (len < 1 || len > KEY_BYTES_MAX) {
		ctl_error(
		    "a key has 1 to %u bytes, not %zu", KEY_BYTES_MAX, len);
		return CTL_BAD_INPUT;
	}
	buf_append(out, "/", 1);
	append_encoded(out, key);
	buf_append(out, query, strlen(query) + 1);
	return CTL_OK;
}

/* Ask for the key that is the first operand, with *r completed by it. */
static enum ctl_exit
ask(const struct ctl *c, struct http_request *r, const char *query,
    bool is_write, struct http_answer *a)
{
	struct buf target = {0};
	enum ctl_exit rc = make_target(&target, c->operands[0], query);

	if (rc == CTL_OK) {
		r->target = (const char *)target.data;
		progress_begin(c->verb);
		rc = client_ask(c, r, is_write, a);
		progress_end();
	}
	if (rc == CTL_OK)
		rc = client_judge(a, c->verb);
	buf_free(&target);
	return rc;
}

/* --- put --- */

static enum ctl_exit
check_value(size_t len)
{
	if (len <= VALUE_BYTES_MAX)
		return CTL_OK;
	ctl_error("the value has more than %u bytes", VALUE_BYTES_MAX);
	return CTL_BAD_INPUT;
}

static enum ctl_exit
read_value(struct buf *out)
{
	for (;;) {
		ssize_t n;

		buf_reserve(out, READ_BYTES);
		n = read(STDIN_FILENO, out->data + out->len, READ_BYTES);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			ctl_error("cannot read the value from standard input: "
				  "%s",
			    strerror(errno));
			return CTL_BAD_INPUT;
		}
		if (n == 0)
			return CTL_OK;
		out->len += (size_t)n;
		if (check_value(out->len) != CTL_OK)
			return CTL_BAD_INPUT;
	}
}

static enum ctl_exit
put(const struct ctl *c, struct bytes value)
{
	struct http_request r = {
	    .method = "PUT", .has_body = true, .body = value};
	struct http_answer a = {0};
	enum ctl_exit rc = check_value(value.len);

	if (rc == CTL_OK)
		rc = ask(c, &r, "", true, &a);
	http_answer_free(&a);
	return rc;
}

enum ctl_exit
verb_put(const struct ctl *c)
{
	struct buf value = {0};
	enum ctl_exit rc;

	if (c->operand_count == 2 && strcmp(c->operands[1], "-") != 0)
		return put(c, bytes_of_str(c->operands[1]));
	rc = read_value(&value);
	if (rc == CTL_OK)
		rc = put(c, buf_bytes(&value));
	buf_free(&value);
	return rc;
}

/* --- get, del --- */

/* The value as it is; people get a line end, so that the prompt is not glued
 * to it. */
static enum ctl_exit
print_value(struct buf *value)
{
	if (isatty(STDOUT_FILENO) &&
	    (value->len == 0 || value->data[value->len - 1] != '\n'))
		buf_append(value, "\n", 1);
	return ctl_print(value->data, value->len);
}

enum ctl_exit
verb_get(const struct ctl *c)
{
	struct http_request r = {.method = "GET"};
	struct http_answer a = {0};
	enum ctl_exit rc =
	    ask(c, &r, c->stale ? "?consistency=stale" : "", false, &a);

	if (rc == CTL_OK)
		rc = print_value(&a.body);
	else if (rc == CTL_UNKNOWN)
		rc = CTL_ERROR; /* a read that timed out changed nothing */
	http_answer_free(&a);
	return rc;
}

enum ctl_exit
verb_del(const struct ctl *c)
{
	struct http_request r = {.method = "DELETE"};
	struct http_answer a = {0};
	enum ctl_exit rc = ask(c, &r, "", true, &a);

	http_answer_free(&a);
	return rc;
}
