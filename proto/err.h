/* Every error that crosses a process or reaches a user: one table of number,
 * stable code word, HTTP status and what the user reads.  Numbers travel in
 * messages and are never reused. */
#ifndef PROTO_ERR_H
#define PROTO_ERR_H

/*	name            nr  code word (users match on it)  HTTP  title */
#define ERR_TABLE(X)                                                           \
	X(OK, 0, "ok", 200, "Done")                                            \
	X(CREATED, 1, "created", 201, "The key was created")                   \
	X(REPLACED, 2, "replaced", 204, "The value was replaced")              \
	X(DELETED, 3, "deleted", 204, "The key was deleted")                   \
	X(NOT_MODIFIED, 4, "not_modified", 304, "The value has that revision") \
	X(BAD_KEY, 16, "bad_key", 400, "The key is not valid")                 \
	X(BAD_REQUEST, 17, "bad_request", 400, "The request is not valid")     \
	X(NOT_FOUND, 18, "not_found", 404, "There is no such key")             \
	X(NO_SUCH_PATH, 19, "no_such_path", 404, "There is no such path")      \
	X(METHOD, 20, "method_not_allowed", 405, "The method is not allowed")  \
	X(PRECONDITION, 21, "precondition_failed", 412,                        \
	    "The precondition does not hold")                                  \
	X(VALUE_TOO_LARGE, 22, "value_too_large", 413,                         \
	    "The value is too large")                                          \
	X(KEY_TOO_LONG, 23, "key_too_long", 414, "The key is too long")        \
	X(NO_SUCH_MEMBER, 24, "no_such_member", 404,                           \
	    "The cluster has no such member")                                  \
	X(CONFLICT, 25, "member_conflict", 409,                                \
	    "The cluster's members do not allow that")                         \
	X(QUORUM, 26, "quorum_at_risk", 409,                                   \
	    "That would leave the cluster without a quorum")                   \
	X(NO_LEADER, 32, "no_leader", 503,                                     \
	    "The cluster has no leader; the request was not executed")         \
	X(TRANSFERRING, 33, "leader_changing", 503,                            \
	    "Leadership is moving; the request was not executed")              \
	X(OVERLOADED, 34, "overloaded", 503,                                   \
	    "Too much is waiting; the request was not executed")               \
	X(REMOVED, 35, "node_removed", 503,                                    \
	    "This node was removed from its cluster")                          \
	X(UNAVAILABLE, 36, "unavailable", 503,                                 \
	    "A process of this node is away; the request was not executed")    \
	X(STOPPING, 37, "stopping", 503,                                       \
	    "This node is stopping; the request was not executed")             \
	X(TIMEOUT, 38, "timeout", 504,                                         \
	    "The deadline passed; the outcome is unknown")                     \
	X(NO_SPACE, 39, "no_space", 507, "The disk is nearly full")            \
	X(MALFORMED, 64, "malformed", 500, "A message could not be decoded")   \
	X(VERSION, 65, "version", 500, "The protocol version differs")         \
	X(FOREIGN, 66, "foreign", 500, "It is of another cluster or node")     \
	X(IO, 67, "io", 500, "Storage failed")                                 \
	X(CORRUPT, 68, "corrupt", 500, "Stored data is damaged")

enum err {
#define ERR_ENUM(name, nr, word, http, title) ERR_##name = (nr),
	ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

const char *err_word(enum err e);  /* "no_leader"; "unknown" for others */
const char *err_title(enum err e); /* the sentence of the table */
int err_http(enum err e);          /* HTTP status; 500 for other numbers */
enum err err_from_u8(unsigned nr); /* ERR_MALFORMED for other numbers */

#endif
