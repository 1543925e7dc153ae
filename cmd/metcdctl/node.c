/* The verbs for one node: snapshot (its admin port), engine and rebuild (the
 * socket of its supervisor, on the same machine; cmd/metcd/control.h). */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/daemon.h"
#include "cmd/metcdctl/client.h"
#include "cmd/metcdctl/ctl.h"
#include "cmd/metcdctl/progress.h"
#include "cmd/metcdctl/report.h"

#define ANSWER_BYTES_MAX 512u
#define WAIT_SLICE_MS 100
/* Unless --timeout-ms says something: a large store takes its time. */
#define SNAPSHOT_MS 65000u
#define ORDER_MS 600000u
#define RUN_DIR_BYTES 256u

/* --- snapshot --- */

static const struct column snapshot_line[] = {{"index", "index"}, {0}};
static const struct column snapshot_row[] = {
    {"endpoint", "endpoint"}, {"index", "index"}, {0}};

/* Each node has its own: append its index to all. */
static enum ctl_exit
take_snapshot(const struct ctl *c, const char *endpoint, json_t *all)
{
	const struct http_request r = {
	    .method = "POST", .target = "/v1/snapshot", .has_body = true};
	struct http_answer a = {0};
	char why[HTTP_WHY_BYTES];
	enum http_result result;
	enum ctl_exit rc;
	json_t *j;

	progress_begin("taking a snapshot");
	result = http_ask(endpoint, &r, ctl_deadline(c, SNAPSHOT_MS), &a, why);
	progress_end();
	if (result != HTTP_ANSWERED) {
		ctl_error("no answer from %s: %s", endpoint, why);
		rc = result == HTTP_LOST ? CTL_UNKNOWN : CTL_CONNECTION;
	} else if ((rc = client_judge(&a, endpoint)) == CTL_OK) {
		j = json_loadb((const char *)a.body.data, a.body.len, 0, NULL);
		if (json_is_integer(json_object_get(j, "index"))) {
			(void)json_array_append_new(
			    all, json_pack("{s:s,s:O}", "endpoint", endpoint,
				     "index", json_object_get(j, "index")));
		} else {
			ctl_error("the answer of %s is not a snapshot's index; "
				  "is it an admin address?",
			    endpoint);
			rc = CTL_ERROR;
		}
		json_decref(j);
	}
	http_answer_free(&a);
	return rc;
}

enum ctl_exit
verb_snapshot(const struct ctl *c)
{
	enum ctl_exit rc = CTL_OK, one;
	json_t *all = json_array();

	for (size_t i = 0; i < c->admin.count; i++) {
		one = take_snapshot(c, c->admin.at[i], all);
		if (one != CTL_OK)
			rc = one;
	}
	if (json_array_size(all) > 0 &&
	    (one = report_print(c,
		 c->output == CTL_TABLE ? snapshot_row : snapshot_line, all,
		 report_whole(all))) != CTL_OK)
		rc = one;
	json_decref(all);
	return rc;
}

/* --- orders to the supervisor --- */

static int
connect_to(const char *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof name.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(name.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd != -1 &&
	    connect(fd, (struct sockaddr *)&name, sizeof name) == -1) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* The one answer, NUL-terminated.  -1 and errno; ETIMEDOUT at deadline. */
static int
wait_for_answer(int fd, struct mono deadline, char answer[ANSWER_BYTES_MAX])
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	while (!mono_reached(deadline, mono_now())) {
		int rc = poll(&p, 1, WAIT_SLICE_MS);

		progress_tick();
		if (rc == -1 && errno != EINTR)
			return -1;
		if (rc <= 0)
			continue;
		n = recv(fd, answer, ANSWER_BYTES_MAX - 1, 0);
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return -1;
		answer[n] = '\0';
		return 0;
	}
	errno = ETIMEDOUT;
	return -1;
}

/* "ok engine=NAME" or "error TEXT". */
static enum ctl_exit
judge(const struct ctl *c, const char *answer)
{
	static const struct column columns[] = {{"engine", "engine"}, {0}};
	const char *name = answer + strlen("ok engine=");
	enum ctl_exit rc;
	json_t *j;

	if (strncmp(answer, "ok engine=", (size_t)(name - answer)) != 0) {
		ctl_error("%s",
		    strncmp(answer, "error ", 6) == 0 ? answer + 6 : answer);
		return CTL_ERROR;
	}
	j = json_pack("{s:s}", "engine", name);
	rc = report_print_one(c, columns, j);
	json_decref(j);
	return rc;
}

static enum ctl_exit
give_order(const struct ctl *c, int fd, const char *order, const char *text)
{
	char answer[ANSWER_BYTES_MAX];
	int rc;

	if (send(fd, order, strlen(order), MSG_NOSIGNAL) == -1) {
		ctl_error("metcd does not listen: %s", strerror(errno));
		return CTL_CONNECTION;
	}
	progress_begin(text);
	rc = wait_for_answer(fd, ctl_deadline(c, ORDER_MS), answer);
	progress_end();
	if (rc == -1) {
		ctl_error("no answer from metcd: %s; see metcdctl status and "
			  "metcd's log for what became of it",
		    strerror(errno));
		return CTL_UNKNOWN;
	}
	return judge(c, answer);
}

static enum ctl_exit
order_supervisor(const struct ctl *c, const char *order, const char *text)
{
	char run_dir[RUN_DIR_BYTES], path[RUN_DIR_BYTES + 16];
	enum ctl_exit rc;
	int fd;

	if (daemon_run_dir(c->run_dir, c->data_dir, run_dir, sizeof run_dir) !=
	    0)
		return CTL_BAD_INPUT; /* it has said why */
	(void)snprintf(path, sizeof path, "%s/metcd.sock", run_dir);
	if ((fd = connect_to(path)) == -1) {
		ctl_error("cannot reach metcd at %s: %s; give the node's "
			  "--data-dir or --run-dir, or, where systemd runs the "
			  "node, change METCD_ENGINE and restart its kvd",
		    path, strerror(errno));
		return CTL_CONNECTION;
	}
	rc = give_order(c, fd, order, text);
	(void)close(fd); /* all was said */
	return rc;
}

enum ctl_exit
verb_engine(const struct ctl *c)
{
	char order[64];
	int n = snprintf(order, sizeof order, "engine %s", c->operands[0]);

	if (n < 0 || (size_t)n >= sizeof order) {
		ctl_error("an engine's name is memory, lmdb or leveldb");
		return CTL_BAD_INPUT;
	}
	return order_supervisor(c, order, "changing the engine");
}

enum ctl_exit
verb_rebuild(const struct ctl *c)
{
	return order_supervisor(c, "rebuild", "restarting kvd");
}
