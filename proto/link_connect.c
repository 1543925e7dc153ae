/* How connections come to be: dials and listeners.  See link_stream.c for the
 * rules on nng and threads. */
#include "proto/link_private.h"

#include <assert.h>
#include <nng/nng.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/mem.h"

static bool
is_ipc(const char *url)
{
	return strncmp(url, "ipc:", 4) == 0;
}

/* ---- dialing ---- */

/* One dialer is used for one dial: in nng 1.5.2 a second dial on a dialer whose
 * last attempt was given up runs into an assertion. */
struct link_attempt {
	struct loop *loop; /* borrowed */
	bool tcp;
	nng_stream_dialer *dialer;
	nng_aio *aio;
	int rv;           /* of making the dialer, or of the dial once done */
	atomic_bool done; /* set last, by the callback */
	atomic_uint callbacks; /* under way */
};

static void
on_dialed(void *arg)
{
	struct link_attempt *a = arg;

	atomic_fetch_add(&a->callbacks, 1);
	atomic_store(&a->done, true);
	loop_poke(a->loop);
	atomic_fetch_sub(&a->callbacks, 1);
}

struct link_attempt *
link_attempt_start(const char *url, struct loop *loop)
{
	struct link_attempt *a = mem_zalloc(1, sizeof(*a));

	a->loop = loop;
	a->tcp = !is_ipc(url);
	atomic_init(&a->done, false);
	a->rv = nng_stream_dialer_alloc(&a->dialer, url);
	if (a->rv != 0) {
		a->dialer = NULL;
		on_dialed(a);
		return a;
	}
	link_nng_must(nng_aio_alloc(&a->aio, on_dialed, a));
	nng_stream_dialer_dial(a->dialer, a->aio);
	return a;
}

enum link_poll
link_attempt_poll(
    struct link_attempt *a, struct link_stream **s, const char **why)
{
	nng_stream *nng;

	if (!atomic_load(&a->done))
		return LINK_PENDING;
	if (a->rv == 0)
		a->rv = nng_aio_result(a->aio);
	if (a->rv != 0) {
		*why = nng_strerror(a->rv);
		return LINK_FAILED;
	}
	nng = nng_aio_get_output(a->aio, 0);
	assert(nng != NULL);
	/* So that link_attempt_free() does not free it. */
	link_nng_must(nng_aio_set_output(a->aio, 0, NULL));
	*s = link_stream_new(nng, a->tcp, a->loop);
	return LINK_READY;
}

void
link_attempt_close(struct link_attempt *a)
{
	if (a->dialer != NULL)
		nng_stream_dialer_close(a->dialer);
}

bool
link_attempt_busy(const struct link_attempt *a)
{
	return atomic_load(&a->callbacks) > 0;
}

void
link_attempt_free(struct link_attempt *a)
{
	nng_stream *nng;

	if (a == NULL)
		return;
	if (a->dialer != NULL) {
		nng_stream_dialer_close(a->dialer);
		nng_aio_stop(a->aio);
		if (nng_aio_result(a->aio) == 0 &&
		    (nng = nng_aio_get_output(a->aio, 0)) != NULL) {
			nng_stream_close(nng);
			nng_stream_free(nng);
		}
		nng_stream_dialer_free(a->dialer);
		nng_aio_free(a->aio);
	}
	mem_free(a);
}

/* ---- listening ---- */

struct link_listener {
	struct loop *loop; /* borrowed */
	bool tcp;
	nng_stream_listener *nng;
	nng_aio *aio;
	atomic_bool done; /* set last, by the callback */
};

static void
on_accepted(void *arg)
{
	struct link_listener *l = arg;

	atomic_store(&l->done, true);
	loop_poke(l->loop);
}

/* url without its scheme, as the user wrote it. */
static const char *
address_of(const char *url)
{
	const char *sep = strstr(url, "://");

	return sep != NULL ? sep + 3 : url;
}

static int
listen_complain(const char *url, int rv)
{
	const char *at = address_of(url);

	if (rv == NNG_EADDRINUSE) {
		log_errorx("cannot listen on %s: address already in use; stop "
			   "the other process or choose another address",
		    at);
		return EX_UNAVAILABLE;
	}
	if (rv == NNG_EPERM) {
		log_errorx("cannot listen on %s: no permission; choose another "
			   "address or run as a user who may",
		    at);
		return EX_NOPERM;
	}
	if (is_ipc(url) && rv == NNG_ENOENT) {
		log_errorx("cannot listen on %s: its directory does not exist; "
			   "create it",
		    at);
		return EX_UNAVAILABLE;
	}
	if (is_ipc(url) && rv == NNG_EADDRINVAL) {
		log_errorx("cannot listen on %s: the path of a socket has at "
			   "most 107 bytes; choose a shorter directory",
		    at);
		return EX_USAGE;
	}
	if (rv == NNG_EADDRINVAL || rv == NNG_EINVAL || rv == NNG_ENOTSUP) {
		log_errorx("cannot listen on %s: %s; give an address of this "
			   "machine",
		    at, nng_strerror(rv));
		return EX_USAGE;
	}
	log_errorx("cannot listen on %s: %s", at, nng_strerror(rv));
	return EX_UNAVAILABLE;
}

int
link_listener_open(struct link_listener **lp, const char *url, unsigned mode,
    struct loop *loop)
{
	struct link_listener *l;
	nng_stream_listener *nng;
	int rv;

	if ((rv = nng_stream_listener_alloc(&nng, url)) != 0)
		return listen_complain(url, rv);
	if (is_ipc(url))
		rv = nng_stream_listener_set_int(
		    nng, NNG_OPT_IPC_PERMISSIONS, (int)mode);
	if (rv != 0 || (rv = nng_stream_listener_listen(nng)) != 0) {
		nng_stream_listener_free(nng);
		return listen_complain(url, rv);
	}
	l = mem_zalloc(1, sizeof(*l));
	l->loop = loop;
	l->tcp = !is_ipc(url);
	l->nng = nng;
	atomic_init(&l->done, false);
	link_nng_must(nng_aio_alloc(&l->aio, on_accepted, l));
	link_listener_accept(l);
	*lp = l;
	return 0;
}

void
link_listener_accept(struct link_listener *l)
{
	atomic_store(&l->done, false);
	nng_stream_listener_accept(l->nng, l->aio);
}

enum link_poll
link_listener_poll(
    struct link_listener *l, struct link_stream **s, const char **why)
{
	nng_stream *nng;
	int rv;

	if (!atomic_load(&l->done))
		return LINK_PENDING;
	if ((rv = nng_aio_result(l->aio)) != 0) {
		*why = nng_strerror(rv);
		return LINK_FAILED;
	}
	nng = nng_aio_get_output(l->aio, 0);
	assert(nng != NULL);
	link_nng_must(nng_aio_set_output(l->aio, 0, NULL));
	*s = link_stream_new(nng, l->tcp, l->loop);
	return LINK_READY;
}

void
link_listener_free(struct link_listener *l)
{
	nng_stream *nng;

	if (l == NULL)
		return;
	nng_stream_listener_close(l->nng);
	nng_aio_stop(l->aio);
	if (nng_aio_result(l->aio) == 0 &&
	    (nng = nng_aio_get_output(l->aio, 0)) != NULL) {
		nng_stream_close(nng);
		nng_stream_free(nng);
	}
	nng_stream_listener_free(l->nng);
	nng_aio_free(l->aio);
	mem_free(l);
}
