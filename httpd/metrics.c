/* Answers to GET /metrics, put together; see metrics.h. */
#include "httpd/metrics.h"

#include <assert.h>

#include "base/daemon.h"
#include "base/mem.h"

/* One of the two that are asked. */
struct source {
	const char *name;
	struct link *link;
	uint64_t token;  /* the last one answered */
	struct buf text; /* then */
};

#define SOURCES 2u

struct scrapes {
	struct source source[SOURCES];
	scrape_own_fn *own;
	void *arg;
	scrape_answer_fn *answer;
	struct askers waiting;
};

struct scrapes *
scrapes_open(struct link *raftd, struct link *kvd, scrape_own_fn *own,
    void *arg, scrape_answer_fn *answer)
{
	struct scrapes *sc = mem_zalloc(1, sizeof *sc);

	sc->source[0] = (struct source){.name = "raftd", .link = raftd};
	sc->source[1] = (struct source){.name = "kvd", .link = kvd};
	sc->own = own;
	sc->arg = arg;
	sc->answer = answer;
	return sc;
}

void
scrapes_close(struct scrapes *sc)
{
	if (sc == NULL)
		return;
	assert(sc->waiting.first == NULL);
	for (unsigned i = 0; i < SOURCES; i++)
		buf_free(&sc->source[i].text);
	mem_free(sc);
}

/* --- asking --- */

static void
ask(struct link *l, uint64_t token)
{
	struct msg_status_ask m = {.token = token};
	struct wire *w;

	if (link_is_full(l) || (w = link_begin(l, MSG_METRICS_ASK)) == NULL)
		return;
	(void)msg_status_ask_wire(w, &m);
	link_end(l);
}

void
scrapes_add(struct scrapes *sc, struct asker *a, struct mono now)
{
	asker_add(&sc->waiting, a, mono_add_ms(now, METRICS_MS));
	for (unsigned i = 0; i < SOURCES; i++)
		ask(sc->source[i].link, a->token);
}

void
scrapes_forget(struct scrapes *sc, struct asker *a)
{
	asker_remove(&sc->waiting, a);
}

/* --- answering --- */

/* An answer to a later question will do as well. */
static bool
has_answered(const struct source *src, const struct asker *a)
{
	return link_is_up(src->link) && src->token >= a->token;
}

static void
put_up(struct metrics *m, const char *process, bool up)
{
	const struct metrics_label label[] = {
	    {"process", process}, {NULL, NULL}};

	metrics_u64(m, label, up);
}

static void
put_build(struct metrics *m)
{
	static const struct metrics_label version[] = {
	    {"version", METCD_VERSION}, {NULL, NULL}};

	metrics_family(m, "metcd_build_info", METRICS_GAUGE,
	    "Version of the program; always 1.");
	metrics_u64(m, version, 1);
}

static void
answer(struct scrapes *sc, struct asker *a)
{
	struct buf text = {0};
	struct metrics m = {.out = &text};

	put_build(&m);
	metrics_family(&m, "metcd_process_up", METRICS_GAUGE,
	    "1 if this process of the node answered; what one that did not "
	    "would say is left out.");
	put_up(&m, "httpd", true);
	for (unsigned i = 0; i < SOURCES; i++)
		put_up(&m, sc->source[i].name, has_answered(&sc->source[i], a));
	sc->own(sc->arg, &m);
	for (unsigned i = 0; i < SOURCES; i++)
		if (has_answered(&sc->source[i], a))
			buf_append(&text, sc->source[i].text.data,
			    sc->source[i].text.len);
	scrapes_forget(sc, a);
	sc->answer(a, buf_bytes(&text));
	buf_free(&text);
}

static bool
is_complete(const struct scrapes *sc, const struct asker *a)
{
	for (unsigned i = 0; i < SOURCES; i++)
		if (link_is_up(sc->source[i].link) &&
		    sc->source[i].token < a->token)
			return false;
	return true;
}

void
scrapes_run(struct scrapes *sc, struct mono now)
{
	struct asker *a;

	while ((a = sc->waiting.first) != NULL &&
	       (is_complete(sc, a) || mono_reached(a->deadline, now)))
		answer(sc, a);
}

void
scrapes_stop(struct scrapes *sc)
{
	while (sc->waiting.first != NULL)
		answer(sc, sc->waiting.first);
}

struct mono
scrapes_next(const struct scrapes *sc)
{
	return asker_next(&sc->waiting);
}

/* --- what comes back --- */

enum err
scrapes_take(struct scrapes *sc, enum msg_process from, struct wire *body)
{
	struct source *src = &sc->source[from == MSG_RAFTD ? 0 : 1];
	struct msg_metrics m;

	assert(from == MSG_RAFTD || from == MSG_KVD);
	if (msg_metrics_wire(body, &m) != ERR_OK)
		return ERR_MALFORMED;
	if (m.token <= src->token || m.token > sc->waiting.token)
		return ERR_OK; /* of an httpd before this one */
	src->token = m.token;
	buf_clear(&src->text);
	buf_append(&src->text, m.text.data, m.text.len);
	return ERR_OK;
}
