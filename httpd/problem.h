/* What a client reads when something is wrong: application/problem+json
 * (RFC 9457) with a stable code word, which programs match on, and a detail
 * for people that says what to do.  Never a key or a value. */
#ifndef HTTPD_PROBLEM_H
#define HTTPD_PROBLEM_H

#include "base/buf.h"
#include "proto/err.h"

#define PROBLEM_TYPE "application/problem+json"

/* What to do about code in general; never NULL. */
const char *problem_advice(enum err code);

/* Append {"type","title","status","code","detail"} and a newline to out.
 * detail NULL: problem_advice(code).  Any bytes are allowed in detail: what is
 * not printable ASCII is shown as '?'. */
void problem_render(struct buf *out, enum err code, const char *detail);

#endif
