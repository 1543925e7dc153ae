/* The data port: every path is a key.
 *
 *	method   path   handler     body   answers (problems: proto/err.h) */
#ifndef HTTPD_API_H
#define HTTPD_API_H

#define API_TABLE(X)                                                           \
	X(PUT, "/KEY", api_put, true,                                          \
	    "201 created, 204 replaced; 400 412 413 414 503 504 507")          \
	X(GET, "/KEY", api_get, false, "200 304; 400 404 412 414 503 504")     \
	X(HEAD, "/KEY", api_get, false, "as GET, without the value")           \
	X(DELETE, "/KEY", api_delete, false,                                   \
	    "204 whether or not it was there; 400 412 414 503 504 507")
/* What 405 says. */
#define API_ALLOW "GET, HEAD, PUT, DELETE"

/* GET and HEAD know one parameter: ?consistency=linearizable (the default) or
 * stale.  ETag is the key's mod_revision in quotes.  Conditions: PUT and DELETE
 * with If-Match: "revision" or *, PUT with If-None-Match: *, GET and HEAD with
 * lists of both kinds.  Every answer has Metcd-Node once it is known; those
 * from the store have Metcd-Revision as well.
 *
 * What we refuse is answered with a problem (problem.h).  What libmicrohttpd
 * refuses before we see it gets a short HTML page of its own instead, and the
 * connection is closed: a header over 32 KiB (431, or 414 if it is the target;
 * many fields count for more than their bytes), a Content-Length that is no
 * number or a malformed chunk (400; 413 if they are too large for it), no Host
 * (400), or what is no HTTP.
 *
 * The admin port: fixed paths.
 *
 *	method   path          handler        answers */
#define ADMIN_TABLE(X)                                                         \
	X(GET, "/livez", admin_livez, "200: this process turns")               \
	X(GET, "/readyz", admin_readyz,                                        \
	    "200 or 503: can requests be served, check by check")              \
	X(GET, "/health", admin_health, "200 or 503: the same in one word")    \
	X(GET, "/version", admin_version, "200")                               \
	X(GET, "/v1/status", admin_status,                                     \
	    "200: counters of raftd and kvd; waits for neither")               \
	X(POST, "/v1/snapshot", admin_snapshot,                                \
	    "200: a snapshot is taken, {\"index\":N}; 503 504 507")

#endif
