/* metcdctl: what its files share.
 *
 * A verb is a function in the file of its group; verbs.c has the table of all
 * verbs, options.c that of all options. */
#ifndef CMD_METCDCTL_CTL_H
#define CMD_METCDCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"

/* Exit codes; scripts rely on them. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_ERROR = 1,      /* the cluster answered with an error */
	CTL_CONNECTION = 2, /* nobody reached, or no answer to a read */
	CTL_BAD_INPUT = 3,  /* options, key or value */
	CTL_NOT_FOUND = 10, /* the key, or the member */
	CTL_PRECONDITION = 11,
	CTL_UNKNOWN = 12 /* a write was sent; whether it was done is unknown */
};

enum ctl_output { CTL_SIMPLE, CTL_JSON, CTL_TABLE };

#define CTL_ENDPOINTS_MAX 64u

/* HOST:PORT each; strings borrowed from text, which the list owns. */
struct endpoints {
	char *text;
	const char *at[CTL_ENDPOINTS_MAX];
	size_t count;
};

struct ctl {
	struct endpoints data;  /* for keys: tried in turn */
	struct endpoints admin; /* for nodes: each is asked */
	enum ctl_output output;
	uint64_t timeout_ms; /* for the whole command; 0: the usual time */
	bool stale;
	bool cluster;
	bool automatic; /* promote it when it has caught up */
	bool wait;      /* until it votes */
	bool force;
	uint64_t id;          /* of the new member; 0: the next free one */
	const char *data_dir; /* of a node on this machine */
	const char *run_dir;  /* NULL: data_dir/run */
	const char *verb;     /* its name, for people */
	char **operands;      /* after the verb; borrowed from argv */
	size_t operand_count;
};

#define CTL_USUAL_MS 10000u
/* When the command has to end: --timeout-ms, or usual_ms from now on. */
struct mono ctl_deadline(const struct ctl *c, uint64_t usual_ms);

/* One line "metcdctl: ..." on standard error. */
void ctl_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Write to standard output and flush.  CTL_OK, or CTL_ERROR after one line. */
enum ctl_exit ctl_print(const void *data, size_t len);

/* kv.c */
enum ctl_exit verb_put(const struct ctl *c);
enum ctl_exit verb_get(const struct ctl *c);
enum ctl_exit verb_del(const struct ctl *c);
/* status.c */
enum ctl_exit verb_status(const struct ctl *c);
/* health.c */
enum ctl_exit verb_health(const struct ctl *c);
enum ctl_exit verb_version(const struct ctl *c);
/* member.c */
enum ctl_exit verb_member_list(const struct ctl *c);
enum ctl_exit verb_member_add(const struct ctl *c);
enum ctl_exit verb_member_promote(const struct ctl *c);
enum ctl_exit verb_member_remove(const struct ctl *c);
enum ctl_exit verb_member_replace(const struct ctl *c);
enum ctl_exit verb_member_update(const struct ctl *c);
enum ctl_exit verb_move_leader(const struct ctl *c);
/* node.c */
enum ctl_exit verb_snapshot(const struct ctl *c);
enum ctl_exit verb_engine(const struct ctl *c);
enum ctl_exit verb_rebuild(const struct ctl *c);
/* completion.c */
enum ctl_exit verb_completion(const struct ctl *c);

#endif
