/* Problem details; see problem.h. */
#include "httpd/problem.h"

#include <stdio.h>
#include <string.h>

const char *
problem_advice(enum err code)
{
	switch (code) {
	case ERR_NO_LEADER:
		return "retry, a leader is elected as soon as a majority of "
		       "the nodes can talk to each other; use "
		       "?consistency=stale to read the local state";
	case ERR_TRANSFERRING:
		return "retry in a moment; use ?consistency=stale to read the "
		       "local state";
	case ERR_OVERLOADED:
		return "retry with a growing delay, or send fewer requests at "
		       "a time";
	case ERR_REMOVED:
		return "send the request to a node that is a member of the "
		       "cluster";
	case ERR_UNAVAILABLE:
		return "retry; if it persists, see that raftd and kvd run on "
		       "this node";
	case ERR_STOPPING:
		return "retry, on another node if there is one";
	case ERR_TIMEOUT:
		return "retry a read at will; before a write is retried, read "
		       "the key, or make the write conditional with If-Match "
		       "or If-None-Match";
	case ERR_NO_SPACE:
		return "free space on the disk of the data directory; reads "
		       "still work";
	case ERR_PRECONDITION:
		return "read the key for its present ETag, then decide again";
	case ERR_NO_SUCH_MEMBER:
		return "GET /v1/members lists them";
	case ERR_CONFLICT:
	case ERR_QUORUM:
		return "see how the members are with GET /v1/members";
	case ERR_NOT_FOUND:
		return "the key was never put, or was deleted";
	case ERR_OK:
	case ERR_CREATED:
	case ERR_REPLACED:
	case ERR_DELETED:
	case ERR_NOT_MODIFIED:
	case ERR_BAD_KEY:
	case ERR_BAD_REQUEST:
	case ERR_NO_SUCH_PATH:
	case ERR_METHOD:
	case ERR_VALUE_TOO_LARGE:
	case ERR_KEY_TOO_LONG:
		break;
	case ERR_MALFORMED:
	case ERR_VERSION:
	case ERR_FOREIGN:
	case ERR_IO:
	case ERR_CORRUPT:
		return "this is a fault of this node: see its logs";
	}
	return "correct the request";
}

static void
append_text(struct buf *out, const char *s)
{
	buf_append(out, s, strlen(s));
}

/* JSON's two special characters are escaped; the rest of the printable ASCII
 * characters stand for themselves. */
static void
append_escaped(struct buf *out, const char *s)
{
	for (; *s != '\0'; s++) {
		char c = *s;

		if (c < 0x20 || c > 0x7e)
			c = '?';
		if (c == '"' || c == '\\')
			buf_append(out, "\\", 1);
		buf_append(out, &c, 1);
	}
}

void
problem_render(struct buf *out, enum err code, const char *detail)
{
	char status[16];

	append_text(out, "{\"type\":\"about:blank\",\"title\":\"");
	append_escaped(out, err_title(code));
	(void)snprintf(status, sizeof status, "%d", err_http(code));
	append_text(out, "\",\"status\":");
	append_text(out, status);
	append_text(out, ",\"code\":\"");
	append_text(out, err_word(code));
	append_text(out, "\",\"detail\":\"");
	append_escaped(out, detail != NULL ? detail : problem_advice(code));
	append_text(out, "\"}\n");
}
