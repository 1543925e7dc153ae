/* The write-ahead log: what this node has promised, on disk.
 *
 * Format, validity rules and recovery are in WAL.md.  All file access goes
 * through struct wal_disk, so that tests and the simulator can stand in for
 * the disk.  Nothing here starts a thread: wal_write() blocks until the disk
 * has it; in raftd it is called by one thread at a time, the writer (writer.h),
 * everything else in turns of the loop.  What they share is handed over in
 * struct wal_position. */
#ifndef RAFTD_WAL_H
#define RAFTD_WAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/metrics.h"
#include "proto/err.h"
#include "proto/limits.h"
#include "raftd/raft/raft.h"

#define WAL_SEGMENT_BYTES (64u << 20)
#define WAL_PREFILL_BYTES (1u << 20) /* zero-filled ahead of use */

/* Files as the WAL needs them; the real one is wal_disk_posix.  Each returns
 * -1 and errno on failure.  Names are relative to the directory opened. */
struct wal_disk {
	void *arg;
	int (*list)(
	    void *arg, void (*name)(void *ctx, const char *name), void *ctx);
	int (*open)(void *arg, const char *name, bool create); /* a handle */
	void (*close)(void *arg, int fd);
	int64_t (*size)(void *arg, int fd);
	/* All n bytes, or -1. */
	int (*write)(void *arg, int fd, const void *data, size_t n, off_t at);
	ssize_t (*read)(void *arg, int fd, void *data, size_t n, off_t at);
	int (*sync)(void *arg, int fd); /* fdatasync */
	int (*rename)(void *arg, const char *from, const char *to);
	int (*remove)(void *arg, const char *name);
	int (*sync_dir)(void *arg);
};
/* dir is created by the caller.  0 or -1 and errno. */
int wal_disk_posix_open(struct wal_disk *d, const char *dir);
void wal_disk_posix_close(struct wal_disk *d);

/* Who a log belongs to: in every segment's header. */
struct wal_identity {
	uint64_t cluster;
	uint64_t node;
	uint64_t incarnation;
};

struct wal_member {
	uint64_t id;          /* 1..NODE_ID_MAX, never used again */
	uint64_t incarnation; /* of its raft directory; 0: not known yet */
	bool promote;         /* a learner, a voter once it has caught up */
	uint64_t replaces;    /* and then in the place of this one; 0: nobody */
	char address[ADDRESS_BYTES_MAX + 1];
};
/* An order that was carried out: it is not done a second time.  As many are
 * remembered as can wait at a leader at once; who has read them from a disk or
 * was told them by another node knows the last ones. */
struct wal_order {
	uint64_t token;
	uint64_t index; /* of the change */
	uint64_t id;    /* of the member it was about */
};
#define WAL_ORDERS_MAX 64u    /* in memory */
#define WAL_ORDERS_WRITTEN 8u /* in a record, a snapshot, a message */

/* The configuration, and the members with their addresses.  state is as of
 * index.  All that follows it is as of members_index, which is the same but on
 * a node that was told of its members when it joined, and has yet to apply the
 * changes that made them what they are. */
struct wal_conf {
	uint64_t index; /* of the change; 0: none applied */
	struct raft_conf_state state;
	uint64_t members_index;
	uint64_t id_max; /* the largest id ever given to a member */
	uint32_t member_count;
	struct wal_member members[NODES_MAX];
	uint32_t order_count;
	struct wal_order orders[WAL_ORDERS_MAX]; /* oldest first */
};

/* "There is a snapshot as of this entry."  Entries up to it need not be in the
 * log any more.  replaces: the snapshot came from another node, and no entry
 * that was written before is part of the log, which goes on behind index. */
struct wal_mark {
	uint64_t index; /* 0: none */
	uint64_t term;
	bool replaces;
};

/* Where an entry stands. */
struct wal_position {
	uint64_t index;
	uint32_t segment; /* sequence number of the segment */
	uint32_t offset;  /* of its record in the segment */
};

struct wal;

/* Counted since wal_open(). */
struct wal_figures {
	struct histogram syncs; /* of wal_write(); HISTOGRAM_DISK */
	uint64_t write_bytes;   /* records, without the zeros ahead of them */
};

/* What recovery found. */
struct wal_recovered {
	bool fresh; /* the directory was empty */
	struct wal_identity identity;
	struct raft_hard_state hard_state;
	struct wal_conf conf; /* the last one written */
	uint64_t first, last; /* entries; last = first - 1: none */
	uint64_t before_term; /* of entry first - 1 */
	struct wal_mark mark; /* the last one */
	/* The first entry after conf.index that is a configuration change;
	 * 0: none.  Everything before it may count as applied. */
	uint64_t next_conf_change;
	/* Torn tail that was cut off: bytes, 0 = none. */
	uint64_t cut_bytes;
};

/* Open the log in d (borrowed for its life).  on_entry, if not NULL, is called
 * once per entry in the order of the file (an entry replaces all with its index
 * or larger); e is borrowed for the call, who keeps it references its data.
 * A torn tail is cut off and logged; what remains is durable when this returns.
 * An empty directory gives fresh = true and needs wal_create().
 * ERR_CORRUPT: damage before the tail, one line logged with file, offset and
 * what would be lost, nothing changed on disk.  ERR_VERSION: of another
 * program version, logged.  ERR_IO, logged. */
enum err wal_open(struct wal **wp, const struct wal_disk *d,
    struct wal_recovered *rec,
    void (*on_entry)(
	void *arg, const struct raft_entry *e, struct wal_position at),
    void *arg);
/* Start an empty log: identity and conf are durable when it returns OK. */
enum err wal_create(
    struct wal *w, const struct wal_identity *id, const struct wal_conf *conf);
void wal_close(struct wal *w); /* NULL is allowed */
/* Other sizes than WAL_SEGMENT_BYTES and WAL_PREFILL_BYTES for segments begun
 * and zeros written from now on: crash tests want small ones. */
void wal_set_limits(
    struct wal *w, uint64_t segment_bytes, uint64_t prefill_bytes);

/* What goes into one write; everything in it is durable when wal_write()
 * returns OK (unless sync is false: then with the next one that syncs). */
struct wal_batch_item {
	const struct raft_entry *entries;
	size_t entry_count;
	const struct raft_hard_state *hard_state; /* NULL: unchanged */
	const struct wal_conf *conf;              /* NULL: unchanged */
	/* NULL: none.  One that replaces needs conf, the members as of it, and
	 * goes before the item's entries. */
	const struct wal_mark *mark;
};
/* Group commit: n items, one write, one fdatasync.  positions gets the place
 * of each entry, in order (room for all).  Any error is logged and final: the
 * process must end with EX_IOERR (a failed fsync is never retried). */
enum err wal_write(struct wal *w, const struct wal_batch_item *items, size_t n,
    bool sync, struct wal_position *positions);
/* The log may lose what is before entry index.  Finds the segment from which on
 * it is kept: one that was begun before entry index was written, so that this
 * entry stays, and with at least keep_bytes from there on.  0: all are kept.
 * Any thread. */
uint32_t wal_cut_before(struct wal *w, uint64_t index, uint64_t keep_bytes);
/* Forget the segments before `segment`, which are not to be read any more, in a
 * turn of the loop; remove their files, oldest first, on any.  If one
 * cannot be removed that is logged, and it and all that would go later stay
 * until the next start.  A mark with at least
 * their last index must be durable by then. */
struct wal_removed;
struct wal_removed *wal_cut(struct wal *w, uint32_t segment);
void wal_remove(struct wal_removed **rp);
void wal_figures(struct wal *w, struct wal_figures *out); /* any thread */
/* Bytes from one position to another, later one. */
uint64_t wal_distance(
    struct wal *w, struct wal_position from, struct wal_position to);

/* Zero-fill ahead if little is left, so that the next wal_write() need not: for
 * the writer when nothing waits for it.  ERR_IO as above.  Neither while
 * somebody else is in wal_write(). */
bool wal_prepare_due(const struct wal *w);
enum err wal_prepare(struct wal *w);

/* Read entries from index `from` on, up to count and at least one, ending
 * before their size (raft_entry_size) exceeds max_bytes.  The entries at.index
 * to from + count - 1 must be written, not replaced or cut since, and stand in
 * the log one after the other from `at` on.  Callable in a turn of
 * the loop while wal_write() runs on another thread.  out has room for count
 * and each of the *got entries a reference on its data.  ERR_CORRUPT, ERR_IO,
 * both logged. */
enum err wal_read(struct wal *w, struct wal_position at, uint64_t from,
    size_t count, uint64_t max_bytes, struct raft_entry *out, size_t *got);

#endif
