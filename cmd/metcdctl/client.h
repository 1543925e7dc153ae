/* A request to whichever endpoint takes it, and what its answer means. */
#ifndef CMD_METCDCTL_CLIENT_H
#define CMD_METCDCTL_CLIENT_H

#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/http.h"

/* Ask the endpoints in turn until one has an answer that is not 503 (503: not
 * executed, another may do it).  is_write: once the request was sent, no other
 * is asked.  CTL_OK: *a is the answer; else one line was printed. */
enum ctl_exit client_ask(const struct ctl *c, const struct http_request *r,
    bool is_write, struct http_answer *a);

/* The exit code that belongs to an answer; prints one line unless it is
 * CTL_OK.  what names the request for people. */
enum ctl_exit client_judge(const struct http_answer *a, const char *what);

#endif
