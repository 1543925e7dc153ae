/* The snapshots of this node: which files there are, when one is taken, what of
 * files and log is not needed any more.
 *
 *   snap.c       the files: found, checked, added, set aside, removed
 *   snap_take.c  one that kvd sends: when, and its way into a file
 *   load.c       one on its way into kvd
 *   transfer.c, receive.c  one on its way to and from another node */
#ifndef RAFTD_SNAP_H
#define RAFTD_SNAP_H

#include "proto/link.h"
#include "raftd/snapfile.h"
#include "raftd/snapio.h"

struct raftd;
struct snaps;
struct take;

/* A file that is there: valid as far as it was looked at. */
struct snap {
	struct snap *next; /* older */
	struct snap_meta meta;
	struct snapfile_id id;
	bool checked;  /* every byte of it, in this life of the process */
	bool checking; /* under way */
};

/* ---- snap.c ---- */

/* List the directory; header and end of each file are looked at now, the rest
 * in the background.  rd->snap_disk and rd->identity.cluster are set (0 if
 * there is no log: then all are found); marked is the index of the log's last
 * mark. 0 or a sysexits code. */
int snaps_open(struct raftd *rd, uint64_t marked);
void snaps_close(struct raftd *rd);
/* Begin to check all files. */
void snaps_check_all(struct snaps *ss);
/* The newest one, or NULL; it may be ahead of what is published. */
const struct snap *snaps_newest(const struct snaps *ss);
/* The newest as of an index from min to max, or NULL. */
const struct snap *snaps_between(
    const struct snaps *ss, uint64_t min, uint64_t max);
const struct snap *snaps_find(const struct snaps *ss, uint64_t index);
/* A file has come to be, checked. */
void snaps_add(
    struct snaps *ss, const struct snap_meta *meta, const struct snapfile_id *);
/* Somebody had trouble with this file: check it again. */
void snaps_suspect(struct snaps *ss, uint64_t index);
/* It is damaged: set it aside. */
void snaps_damaged(struct snaps *ss, uint64_t index);
/* Once in a turn: files that came or were checked get their marks, and what
 * nobody needs any more goes. */
void snaps_run(struct snaps *ss);
/* The writer is about to get a mark for one from another node; false: there is
 * a newer one on its way, and marks only go up. */
bool snaps_marking(struct snaps *ss, uint64_t index);
/* The log has a mark for this one: what is older than need be may go. */
void snaps_marked(struct snaps *ss, uint64_t index);
/* Tell rlog, and so the core, which one may go to followers. */
void snaps_publish(struct snaps *ss);
/* This part is gone on with: any other one is removed. */
void snaps_keep_part(struct snaps *ss, const char *name);

/* ---- snap_take.c ---- */

struct take *take_open(struct raftd *rd);
void take_close(struct take *t);
/* httpd orders one; it is told with CONTROLLED. */
void take_order(struct take *t, uint64_t token);
/* Another node, or a follower of this one, needs one. */
void take_wanted(struct take *t);
void take_drop_orders(struct take *t); /* httpd is gone */
/* Ask for one if it is time. */
void take_run(struct take *t, struct mono now);
/* SNAP_HEAD and SNAP_DATA. */
enum err take_message(struct take *t, uint8_t type, struct wire *w);
/* kvd is gone, or is about to become something else. */
void take_abandon(struct take *t);

/* ---- load.c ---- */

struct load;
enum load_state { LOAD_GOES_ON, LOAD_DONE, LOAD_FAILED };

/* Send this file to kvd; the link is borrowed until load_close(). */
struct load *load_open(
    struct raftd *rd, struct link *kvd, const struct snap *s);
/* A slice: what the link has room for. */
enum load_state load_run(struct load *ld);
uint64_t load_index(const struct load *ld);
enum err load_error(const struct load *ld); /* after LOAD_FAILED */
void load_close(struct load *ld);           /* NULL is allowed */

#endif
