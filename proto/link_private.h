/* Inside proto/link*.c only, what lies below a link: frames (link_frame.c,
 * pure), the bytes' way through nng (link_stream.c and link_connect.c, the only
 * files that know it), the limit on complaints (link_complaints.c). */
#ifndef PROTO_LINK_PRIVATE_H
#define PROTO_LINK_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/mono.h"
#include "proto/limits.h"

/* ---- frames: PROTOCOL.md, "Frame" ---- */

#define LINK_FRAME_VERSION 1u
#define LINK_HEADER_BYTES 16u
/* The longest body before HELLO: a stranger must not make us allocate. */
#define LINK_HELLO_BODY_MAX 256u

enum link_frame_rc {
	LINK_FRAME_OK,
	LINK_FRAME_MORE, /* not all of it is here yet */
	LINK_FRAME_BAD_VERSION,
	LINK_FRAME_BAD_LENGTH,
	LINK_FRAME_BAD_CHECKSUM
};

struct link_frame {
	uint8_t type;
	struct bytes body; /* borrowed from the input */
	size_t bytes;      /* of the whole frame */
};

/* The first frame of in.  *f is set only when the result is OK. */
enum link_frame_rc link_frame_parse(
    struct bytes in, size_t body_max, struct link_frame *f);
const char *link_frame_complaint(enum link_frame_rc rc);

/* Append a frame to out: room for its header, whose offset is returned; then
 * the caller appends the body; then the header is filled in. */
size_t link_frame_begin(struct buf *out);
void link_frame_end(struct buf *out, size_t at, uint8_t type);

/* ---- complaints ---- */

#define LINK_COMPLAINT_MS 60000u
#define LINK_COMPLAINT_KEYS 32u

/* Who was complained about in the last minute.  When all places are taken by
 * younger complaints, a new one is not made: a flood from many addresses
 * cannot fill the log either. */
struct link_complaints {
	struct {
		uint64_t key; /* hash of the address; 0 = free */
		struct mono at;
	} slot[LINK_COMPLAINT_KEYS];
};

bool link_complaints_admit(struct link_complaints *c, const char *kind,
    const char *address, struct mono now);

/* ---- streams ---- */

struct link_stream;   /* a connection */
struct link_attempt;  /* a connection in the making: one dialer, one dial */
struct link_listener; /* accepts connections */

/* Empty b; what memory a burst took is given back. */
void link_buf_recycle(struct buf *b);

struct nng_stream; /* nng's */
/* Takes nng, which may be used by nobody else from here on. */
struct link_stream *link_stream_new(
    struct nng_stream *nng, bool tcp, struct loop *loop);
/* For nng's calls that only fail when memory is out: ends the process then, as
 * base/mem.h. */
void link_nng_must(int rv);

enum link_poll { LINK_PENDING, LINK_READY, LINK_FAILED };

/* Reading starts with link_stream_start().  Until link_stream_trust() at most
 * one chunk (128 KiB) is taken from the socket ahead of link_stream_take(). */
void link_stream_start(struct link_stream *s);
void link_stream_trust(struct link_stream *s);
/* Nothing arrives or leaves any more; only link_stream_free() may follow. */
void link_stream_close(struct link_stream *s);
/* A callback is under way, perhaps the one that does this turn. */
bool link_stream_busy(const struct link_stream *s);
/* Waits for callbacks: not while it is busy, but at the end of everything. NULL
 * is allowed. */
void link_stream_free(struct link_stream *s);
/* Append what has arrived to work.  Returns NULL, or why the connection has
 * failed; what came before that is in work. */
const char *link_stream_take(struct link_stream *s, struct buf *work);
/* Take all of fill (empty after) and send it behind what is queued. */
void link_stream_send(struct link_stream *s, struct buf *fill);
size_t link_stream_unsent(const struct link_stream *s); /* bytes */
/* Wait until all is handed to the kernel, the stream has failed or deadline is
 * reached. */
void link_stream_drain(struct link_stream *s, struct mono deadline);
/* Who is at the other end.  tcp: "127.0.0.1", with_port "127.0.0.1:4711"; ipc:
 * "ipc", with_port "pid:123". */
void link_stream_remote(
    const struct link_stream *s, bool with_port, char *out, size_t out_bytes);
/* May the other end talk to us?  ipc: only our own user, root, and processes of
 * the group, unless that is LINK_NO_GROUP. */
#define LINK_NO_GROUP ((gid_t)-1)
bool link_stream_user_ok(const struct link_stream *s, gid_t group);

struct link_attempt *link_attempt_start(const char *url, struct loop *loop);
/* READY: *s is the caller's.  FAILED: *why says why, valid for ever. */
enum link_poll link_attempt_poll(
    struct link_attempt *a, struct link_stream **s, const char **why);
/* As for streams. */
void link_attempt_close(struct link_attempt *a);
bool link_attempt_busy(const struct link_attempt *a);
void link_attempt_free(struct link_attempt *a);

/* 0 and *lp, or a sysexits code after one logged line. */
int link_listener_open(struct link_listener **lp, const char *url,
    unsigned mode, struct loop *loop);
/* READY and FAILED as above; after either, link_listener_accept() asks for the
 * next connection. */
enum link_poll link_listener_poll(
    struct link_listener *l, struct link_stream **s, const char **why);
void link_listener_accept(struct link_listener *l);
void link_listener_free(struct link_listener *l); /* NULL is allowed */

#endif
