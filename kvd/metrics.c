/* What kvd tells Prometheus, on METRICS_ASK: its families, whole and under
 * names that no other process has. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/process.h"
#include "kvd/kvd.h"
#include "kvd/sync.h"

static void
put_state(const struct kvd *k, struct metrics *m)
{
	const struct state *s = &k->store.state;
	const struct metrics_label engine[] = {
	    {"engine", k->store.ops->name}, {NULL, NULL}};
	uint64_t diverged_index;

	metrics_family(m, "metcd_kv_engine_info", METRICS_GAUGE,
	    "Which storage engine this node has; always 1.");
	metrics_u64(m, engine, 1);
	metrics_gauge(m, "metcd_kv_keys", "Keys in the store.", s->keys);
	metrics_gauge(m, "metcd_kv_bytes",
	    "Bytes of all keys and values in the store.", s->bytes);
	metrics_gauge(m, "metcd_kv_revision",
	    "Revision of the store: changes in its life.", s->revision);
	metrics_gauge(m, "metcd_kv_applied_index",
	    "Index of the last log entry applied.", k->store.state.applied);
	metrics_gauge(m, "metcd_kv_written_index",
	    "Index up to which the engine has been written.",
	    k->store.flushed.applied);
	metrics_gauge(m, "metcd_kv_durable_index",
	    "Index up to which the store survives a power cut.", k->durable);
	metrics_gauge(m, "metcd_kv_write_back_bytes",
	    "Memory of changes that the engine does not have yet.",
	    store_pending_bytes(&k->store));
	metrics_gauge(m, "metcd_kv_diverged",
	    "1 if this store was found to differ from what it should be.",
	    check_diverged(k->check, &diverged_index));
	metrics_gauge(m, "metcd_kv_loading",
	    "1 while a snapshot is loaded into the store.", k->load != NULL);
}

static void
put_reads(const struct kvd_figures *fg, struct metrics *m)
{
	static const struct metrics_label linearizable[] = {
	    {"consistency", "linearizable"}, {NULL, NULL}};
	static const struct metrics_label stale[] = {
	    {"consistency", "stale"}, {NULL, NULL}};

	metrics_family(
	    m, "metcd_kv_reads_total", METRICS_COUNTER, "Keys looked up.");
	metrics_u64(m, linearizable, fg->reads);
	metrics_u64(m, stale, fg->stale_reads);
}

static void
put_work(struct kvd *k, struct metrics *m)
{
	struct histogram syncs;

	metrics_counter(m, "metcd_kv_entries_applied_total",
	    "Log entries applied by this process.", k->figures.entries);
	metrics_counter(m, "metcd_kv_commands_applied_total",
	    "Commands of clients in those entries.", k->figures.commands);
	put_reads(&k->figures, m);
	metrics_family(m, "metcd_kv_apply_duration_seconds", METRICS_HISTOGRAM,
	    "Applying the entries of a message from raftd.");
	metrics_histogram(m, NULL, HISTOGRAM_NET_NS, HISTOGRAM_NET_BUCKETS,
	    &k->figures.applies);
	metrics_family(m, "metcd_kv_write_duration_seconds", METRICS_HISTOGRAM,
	    "Writing what was applied to the engine, in one transaction; "
	    "with write-back nobody waits for it.");
	metrics_histogram(m, NULL, HISTOGRAM_NET_NS, HISTOGRAM_NET_BUCKETS,
	    &k->figures.writes);
	if (k->syncer != NULL && syncer_figures(k->syncer, &syncs)) {
		metrics_family(m, "metcd_kv_sync_duration_seconds",
		    METRICS_HISTOGRAM,
		    "Making what the engine has durable, in the background.");
		metrics_histogram(
		    m, NULL, HISTOGRAM_DISK_NS, HISTOGRAM_DISK_BUCKETS, &syncs);
	}
	metrics_family(m, "metcd_snap_apply_duration_seconds",
	    METRICS_HISTOGRAM, "Loading a snapshot into the store.");
	metrics_histogram(m, NULL, HISTOGRAM_LONG_NS, HISTOGRAM_LONG_BUCKETS,
	    &k->figures.loads);
}

/* What the files of dir take on the disk; false: it cannot be read. */
static bool
disk_usage(const char *dir, uint64_t *bytes)
{
	struct dirent *entry;
	struct stat st;
	DIR *d = opendir(dir);

	if (d == NULL)
		return false;
	*bytes = 0;
	while ((entry = readdir(d)) != NULL)
		if (fstatat(dirfd(d), entry->d_name, &st,
			AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			*bytes += (uint64_t)st.st_blocks * 512u;
	(void)closedir(d);
	return true;
}

static void
put_disk(const struct kvd *k, struct metrics *m)
{
	struct statvfs fs;
	uint64_t bytes;

	if (!k->store.ops->durable)
		return;
	if (disk_usage(k->store.dir, &bytes))
		metrics_gauge(m, "metcd_kv_engine_disk_bytes",
		    "Disk space that the engine's files take.", bytes);
	if (statvfs(k->store.dir, &fs) == 0)
		metrics_gauge(m, "metcd_kv_disk_free_bytes",
		    "Free space on the disk of the store.",
		    (uint64_t)fs.f_bavail * fs.f_frsize);
}

static void
put_queues(const struct kvd *k, struct metrics *m)
{
	static const struct metrics_label raftd[] = {
	    {"link", "raftd"}, {NULL, NULL}};
	static const struct metrics_label httpd[] = {
	    {"link", "httpd"}, {NULL, NULL}};

	metrics_family(m, "metcd_kvd_link_queue_bytes", METRICS_GAUGE,
	    "What waits to be sent on kvd's links.");
	metrics_u64(m, raftd, link_queued_bytes(k->raftd));
	metrics_u64(m, httpd, link_queued_bytes(k->httpd));
}

void
kvd_answer_metrics(struct kvd *k, struct wire *body)
{
	static const struct process_names names = PROCESS_NAMES("metcd_kvd");
	struct buf text = {0};
	struct metrics m = {.out = &text};
	struct msg_metrics answer;
	struct msg_status_ask ask;
	struct wire *w;

	(void)msg_status_ask_wire(body, &ask); /* was checked when taken */
	put_state(k, &m);
	put_work(k, &m);
	put_disk(k, &m);
	put_queues(k, &m);
	process_metrics(&m, &names);
	answer =
	    (struct msg_metrics){.token = ask.token, .text = buf_bytes(&text)};
	if ((w = link_begin(k->httpd, MSG_METRICS)) != NULL) {
		(void)msg_metrics_wire(w, &answer); /* some KB: no error */
		link_end(k->httpd);
	}
	buf_free(&text);
}
