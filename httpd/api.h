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
 * connection is closed: a header over 16 KiB (431, or 414 if it is the target;
 * many fields count for more than their bytes), a Content-Length that is no
 * number or a malformed chunk (400; 413 if they are too large for it), no Host
 * (400), or what is no HTTP.
 *
 * The admin port: fixed paths; ID in one stands for a member's id.  The body of
 * an order is a JSON object of at most ADMIN_BODY_BYTES_MAX; whatever can be
 * left out of it is in brackets, and an empty body is {}.
 *
 *	method   path          handler     body   answers */
#define ADMIN_BODY_BYTES_MAX 65536u
#define ADMIN_TABLE(X)                                                         \
	X(GET, "/livez", admin_livez, false, "200: this process turns")        \
	X(GET, "/readyz", admin_readyz, false,                                 \
	    "200 or 503: can requests be served, check by check")              \
	X(GET, "/health", admin_health, false,                                 \
	    "200 or 503: the same in one word")                                \
	X(GET, "/version", admin_version, false, "200")                        \
	X(GET, "/metrics", admin_metrics, false,                               \
	    "200: for Prometheus, its text format 0.0.4; waits for neither")   \
	X(GET, "/v1/status", admin_status, false,                              \
	    "200: counters of raftd and kvd; waits for neither")               \
	X(POST, "/v1/snapshot", admin_snapshot, false,                         \
	    "200: a snapshot is taken, {\"index\":N}; 503 504 507")            \
	X(GET, "/v1/members", members_list, false,                             \
	    "200: all of them, as this node's raftd knows them; 503")          \
	X(POST, "/v1/members", members_add, true,                              \
	    "{\"peer\":\"HOST:PORT\"[,\"id\":N][,\"promote\":\"auto\"]}:"      \
	    " 201 and Location: it is a learner; 400 409 503 504")             \
	X(POST, "/v1/members/replace", members_replace, true,                  \
	    "{\"old\":N,\"peer\":\"HOST:PORT\"[,\"new\":N][,\"force\":true]}:" \
	    " 202: the new one is a learner, and takes the old one's place "   \
	    "by itself when it has caught up; 400 404 409 503 504")            \
	X(GET, "/v1/members/ID", members_get, false, "200; 404 503")           \
	X(PUT, "/v1/members/ID", members_update, true,                         \
	    "{\"peer\":\"HOST:PORT\"}: 200, its new address; "                 \
	    "400 404 409 503 504")                                             \
	X(DELETE, "/v1/members/ID", members_remove, false,                     \
	    "[?force=true]: 200, it is out; 400 404 409 503 504")              \
	X(POST, "/v1/members/ID/promote", members_promote, true,               \
	    "[{\"force\":true}] or [?force=true]: 200, the learner is a "      \
	    "voter; 400 404 409 503 504")                                      \
	X(POST, "/v1/leader", members_lead, true,                              \
	    "[{\"to\":ID}]: 200 {\"leader\":ID}, it leads; "                   \
	    "400 404 409 503 504")

#endif
