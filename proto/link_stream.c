/* The bytes' way through nng.  This file and link_connect.c alone know nng, and
 * of it only the stream interface (nng_stream_*): SP sockets cost twice the
 * wake-ups, and in nng 1.5.2 one bad connection silences an SP ipc listener for
 * good.
 *
 * Threads: nng runs the callbacks here (on_*) on threads of its own; everything
 * else is called in turns of the loop.  What both touch is under the lock of
 * its stream, or handed over by an atomic.  No lock is held across a call into
 * nng, but the loop's.  A callback moves bytes, starts the next transfer and
 * pokes the loop.  The turn that the poke may do here, and what that leaves to
 * be done afterwards (raftd's log is written), may wait for a disk: nng has a
 * few more of these threads, and meanwhile who holds the loop must not wait for
 * this callback (link_stream_busy()).
 *
 * Timers are not nng's: 1.5.2 keeps them by the wall clock. */
#include "proto/link_private.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <nng/nng.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"

#define CHUNK_BYTES (128u << 10) /* of one read */
/* Unread bytes beyond which reading pauses until the loop has taken them. */
#define RX_BYTES_SOFT (8u << 20)
/* An empty buffer keeps this much memory; what a burst took is given back. */
#define KEEP_BYTES_MAX (1u << 20)

struct link_stream {
	struct loop *loop; /* borrowed: poked when there is news */
	nng_stream *nng;
	nng_aio *rx_aio;
	nng_aio *tx_aio;
	nng_aio *now_aio;      /* no callback: see send_now() */
	uint8_t *chunk;        /* of the read under way */
	atomic_size_t unsent;  /* in flight and queued */
	atomic_uint callbacks; /* under way */

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t idle;  /* tx_busy became false */
	struct buf rx;        /* arrived, not taken by the loop */
	size_t rx_bytes_soft;
	bool rx_paused;    /* no read is under way: the loop starts it */
	struct buf flight; /* being sent; the send's alone while tx_busy */
	size_t flight_sent;
	struct buf queued; /* sent next */
	bool tx_busy;
	int failed; /* nng's error number; 0 = alive */
};

/* ---- small things ---- */

void
link_nng_must(int rv)
{
	if (rv == 0)
		return;
	log_errorx("out of memory: %s", nng_strerror(rv));
	_exit(EX_TEMPFAIL);
}

static const char *
why_failed(int rv)
{
	/* nng says "closed" in several ways, none of which helps a reader. */
	if (rv == NNG_ECONNSHUT || rv == NNG_ECLOSED)
		return "connection closed by the other end";
	return nng_strerror(rv);
}

void
link_buf_recycle(struct buf *b)
{
	if (b->cap > KEEP_BYTES_MAX)
		buf_free(b);
	else
		buf_clear(b);
}

/* ---- receiving ---- */

static void
recv_start(struct link_stream *s)
{
	nng_iov iov = {.iov_buf = s->chunk, .iov_len = CHUNK_BYTES};

	link_nng_must(nng_aio_set_iov(s->rx_aio, 1, &iov));
	nng_stream_recv(s->nng, s->rx_aio);
}

static void
on_recv(void *arg)
{
	struct link_stream *s = arg;
	int rv = nng_aio_result(s->rx_aio);
	bool more = false;

	atomic_fetch_add(&s->callbacks, 1);
	pthread_mutex_lock(&s->lock);
	if (rv == 0) {
		buf_append(&s->rx, s->chunk, nng_aio_count(s->rx_aio));
		more = s->rx.len < s->rx_bytes_soft;
		s->rx_paused = !more;
	} else if (s->failed == 0) {
		s->failed = rv;
	}
	pthread_mutex_unlock(&s->lock);
	if (more)
		recv_start(s);
	loop_poke(s->loop); /* last: perhaps this thread does the turn */
	atomic_fetch_sub(&s->callbacks, 1);
}

const char *
link_stream_take(struct link_stream *s, struct buf *work)
{
	bool resume = false;
	int failed;

	pthread_mutex_lock(&s->lock);
	if (s->rx.len > 0) {
		if (work->len == 0) {
			buf_swap(&s->rx, work);
		} else {
			buf_append(work, s->rx.data, s->rx.len);
			link_buf_recycle(&s->rx);
		}
		resume = s->rx_paused;
		s->rx_paused = false;
	}
	failed = s->failed;
	pthread_mutex_unlock(&s->lock);
	if (resume)
		recv_start(s);
	return failed != 0 ? why_failed(failed) : NULL;
}

/* ---- sending ---- */

/* Send what is left of flight, which nobody else touches while tx_busy. */
static void
send_start(struct link_stream *s)
{
	nng_iov iov = {
	    .iov_buf = s->flight.data + s->flight_sent,
	    .iov_len = s->flight.len - s->flight_sent,
	};

	link_nng_must(nng_aio_set_iov(s->tx_aio, 1, &iov));
	nng_stream_send(s->nng, s->tx_aio);
}

/* n more bytes of flight are with the kernel; is there more to send? */
static bool
send_advance(struct link_stream *s, size_t n)
{
	s->flight_sent += n;
	assert(s->flight_sent <= s->flight.len);
	if (s->flight_sent < s->flight.len)
		return true; /* the kernel took a part */
	s->flight_sent = 0;
	link_buf_recycle(&s->flight);
	if (s->queued.len == 0)
		return false;
	buf_swap(&s->flight, &s->queued);
	return true;
}

static void
on_sent(void *arg)
{
	struct link_stream *s = arg;
	int rv = nng_aio_result(s->tx_aio);
	size_t n = nng_aio_count(s->tx_aio);
	size_t before;
	bool more = false, wake = true;

	atomic_fetch_add(&s->callbacks, 1);
	pthread_mutex_lock(&s->lock);
	if (rv == 0) {
		before = atomic_fetch_sub(&s->unsent, n);
		more = send_advance(s, n);
		/* link_is_full() may have turned somebody away. */
		wake = before >= LINK_QUEUE_BYTES_MAX / 2 &&
		       before - n < LINK_QUEUE_BYTES_MAX / 2;
	} else if (s->failed == 0) {
		s->failed = rv;
	}
	s->tx_busy = more;
	if (!more)
		pthread_cond_signal(&s->idle);
	pthread_mutex_unlock(&s->lock);
	if (more)
		send_start(s);
	if (wake)
		loop_poke(s->loop);
	atomic_fetch_sub(&s->callbacks, 1);
}

/* A send that the kernel takes at once needs no thread of nng's to say so: an
 * aio without a callback completes within nng_stream_send().  What it did not
 * take is cancelled (then nothing was sent) and left to send_start(). */
static void
send_now(struct link_stream *s)
{
	bool more = true;

	while (more) {
		nng_iov iov = {
		    .iov_buf = s->flight.data + s->flight_sent,
		    .iov_len = s->flight.len - s->flight_sent,
		};
		int rv;
		size_t n;

		link_nng_must(nng_aio_set_iov(s->now_aio, 1, &iov));
		nng_stream_send(s->nng, s->now_aio);
		nng_aio_cancel(s->now_aio);
		nng_aio_wait(s->now_aio);
		rv = nng_aio_result(s->now_aio);
		n = nng_aio_count(s->now_aio);
		if (rv == NNG_ECANCELED) {
			send_start(s);
			return;
		}
		pthread_mutex_lock(&s->lock);
		more = false;
		if (rv == 0) {
			atomic_fetch_sub(&s->unsent, n);
			more = send_advance(s, n);
		} else if (s->failed == 0) {
			s->failed = rv;
		}
		s->tx_busy = more;
		if (!more)
			pthread_cond_signal(&s->idle);
		pthread_mutex_unlock(&s->lock);
		if (rv != 0)
			loop_poke(s->loop);
	}
}

void
link_stream_send(struct link_stream *s, struct buf *fill)
{
	bool start = false;

	pthread_mutex_lock(&s->lock);
	if (s->failed != 0) { /* the loop will hear of it */
		pthread_mutex_unlock(&s->lock);
		link_buf_recycle(fill);
		return;
	}
	atomic_fetch_add(&s->unsent, fill->len);
	if (!s->tx_busy) {
		assert(s->flight.len == 0);
		buf_swap(&s->flight, fill);
		s->tx_busy = start = true;
	} else if (s->queued.len == 0) {
		buf_swap(&s->queued, fill);
	} else {
		buf_append(&s->queued, fill->data, fill->len);
		link_buf_recycle(fill);
	}
	pthread_mutex_unlock(&s->lock);
	if (start)
		send_now(s);
}

size_t
link_stream_unsent(const struct link_stream *s)
{
	return atomic_load(&s->unsent);
}

void
link_stream_drain(struct link_stream *s, struct mono deadline)
{
	struct timespec until = {
	    .tv_sec = (time_t)(deadline.ns / 1000000000u),
	    .tv_nsec = (long)(deadline.ns % 1000000000u),
	};

	pthread_mutex_lock(&s->lock);
	while (s->tx_busy && s->failed == 0)
		if (pthread_cond_timedwait(&s->idle, &s->lock, &until) != 0)
			break;
	pthread_mutex_unlock(&s->lock);
}

/* ---- a stream's life ---- */

struct link_stream *
link_stream_new(nng_stream *nng, bool tcp, struct loop *loop)
{
	struct link_stream *s = mem_zalloc(1, sizeof(*s));
	pthread_condattr_t attr;

	s->loop = loop;
	s->nng = nng;
	s->chunk = mem_alloc(CHUNK_BYTES);
	s->rx_bytes_soft = 1;
	s->rx_paused = true;
	atomic_init(&s->unsent, 0);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	link_nng_must(nng_aio_alloc(&s->rx_aio, on_recv, s));
	link_nng_must(nng_aio_alloc(&s->tx_aio, on_sent, s));
	link_nng_must(nng_aio_alloc(&s->now_aio, NULL, NULL));
	/* Off by default for streams; without it a round trip may take 40 ms
	 * (Nagle and delayed acknowledgement).  It fails only on a connection
	 * that is already dead, which reading will tell. */
	if (tcp)
		(void)nng_stream_set_bool(nng, NNG_OPT_TCP_NODELAY, true);
	return s;
}

void
link_stream_start(struct link_stream *s)
{
	bool start;

	pthread_mutex_lock(&s->lock);
	start = s->rx_paused;
	s->rx_paused = false;
	pthread_mutex_unlock(&s->lock);
	if (start)
		recv_start(s);
}

void
link_stream_trust(struct link_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->rx_bytes_soft = RX_BYTES_SOFT;
	pthread_mutex_unlock(&s->lock);
}

/* The order matters: after close nothing is started that does not fail, after
 * stop no callback runs. */
void
link_stream_close(struct link_stream *s)
{
	nng_stream_close(s->nng);
}

bool
link_stream_busy(const struct link_stream *s)
{
	return atomic_load(&s->callbacks) > 0;
}

void
link_stream_free(struct link_stream *s)
{
	if (s == NULL)
		return;
	nng_stream_close(s->nng);
	nng_aio_stop(s->rx_aio);
	nng_aio_stop(s->tx_aio);
	nng_aio_stop(s->now_aio);
	nng_stream_free(s->nng);
	nng_aio_free(s->rx_aio);
	nng_aio_free(s->tx_aio);
	nng_aio_free(s->now_aio);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	buf_free(&s->rx);
	buf_free(&s->flight);
	buf_free(&s->queued);
	mem_free(s->chunk);
	mem_free(s);
}

/* ---- who is there ---- */

static void
remote_tcp(int family, const void *addr, uint16_t port_be, bool with_port,
    char *out, size_t out_bytes)
{
	char host[INET6_ADDRSTRLEN];

	if (inet_ntop(family, addr, host, sizeof(host)) == NULL)
		(void)snprintf(host, sizeof(host), "?");
	if (!with_port)
		(void)snprintf(out, out_bytes, "%s", host);
	else if (family == AF_INET6)
		(void)snprintf(out, out_bytes, "[%s]:%u", host, ntohs(port_be));
	else
		(void)snprintf(out, out_bytes, "%s:%u", host, ntohs(port_be));
}

void
link_stream_remote(
    const struct link_stream *s, bool with_port, char *out, size_t out_bytes)
{
	nng_sockaddr sa;
	uint64_t pid;

	if (nng_stream_get_uint64(s->nng, NNG_OPT_IPC_PEER_PID, &pid) == 0)
		(void)snprintf(out, out_bytes, with_port ? "pid:%llu" : "ipc",
		    (unsigned long long)pid);
	else if (nng_stream_get_addr(s->nng, NNG_OPT_REMADDR, &sa) != 0)
		(void)snprintf(out, out_bytes, "?");
	else if (sa.s_family == NNG_AF_INET)
		remote_tcp(AF_INET, &sa.s_in.sa_addr, sa.s_in.sa_port,
		    with_port, out, out_bytes);
	else if (sa.s_family == NNG_AF_INET6)
		remote_tcp(AF_INET6, sa.s_in6.sa_addr, sa.s_in6.sa_port,
		    with_port, out, out_bytes);
	else
		(void)snprintf(out, out_bytes, "?");
}

bool
link_stream_user_ok(const struct link_stream *s, gid_t group)
{
	nng_sockaddr sa;
	uint64_t uid, gid;

	if (nng_stream_get_uint64(s->nng, NNG_OPT_IPC_PEER_UID, &uid) == 0 &&
	    nng_stream_get_uint64(s->nng, NNG_OPT_IPC_PEER_GID, &gid) == 0)
		return uid == 0 || uid == (uint64_t)geteuid() ||
		       (group != LINK_NO_GROUP && gid == (uint64_t)group);
	/* tcp has no users.  An ipc peer whose user is not known: no. */
	return nng_stream_get_addr(s->nng, NNG_OPT_REMADDR, &sa) == 0 &&
	       sa.s_family != NNG_AF_IPC;
}
