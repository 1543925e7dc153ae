/* metcdctl: what its files share.
 *
 * A verb is a function in the file of its group; main.c has the table of all
 * verbs and reads the options. */
#ifndef CMD_METCDCTL_CTL_H
#define CMD_METCDCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes; scripts rely on them. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_ERROR = 1,      /* the cluster answered with an error */
	CTL_CONNECTION = 2, /* nobody reached, or no answer to a read */
	CTL_BAD_INPUT = 3,  /* options, key or value */
	CTL_NOT_FOUND = 10,
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
	uint64_t timeout_ms; /* for the whole command */
	bool timeout_given;
	bool stale;
	bool cluster;
	const char *data_dir; /* of a node on this machine */
	const char *run_dir;  /* NULL: data_dir/run */
	const char *verb;
	char **operands; /* after the verb; borrowed from argv */
	size_t operand_count;
};

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
/* node.c */
enum ctl_exit verb_snapshot(const struct ctl *c);
enum ctl_exit verb_engine(const struct ctl *c);
enum ctl_exit verb_rebuild(const struct ctl *c);

#endif
