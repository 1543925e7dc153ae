/* GET /metrics (httpd/metrics.h) and the figures of requests
 * (httpd/traffic.h), on links that only write down what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "httpd/metrics.h"
#include "httpd/traffic.h"
#include "tests/unit/link_fake.h"

static struct link raftd, kvd;
static struct scrapes *sc;
static struct asker one, two;
static const struct mono start = {1000000000};
static struct buf told; /* with a NUL */
static unsigned answers;

static void
on_answer(struct asker *a, struct bytes text)
{
	assert_false(a->waiting);
	buf_clear(&told);
	buf_append(&told, text.data, text.len);
	buf_append(&told, "", 1);
	answers++;
}

static void
put_own(void *arg, struct metrics *m)
{
	metrics_gauge(m, "own", "Own.", *(uint64_t *)arg);
}

static uint64_t own = 42;

static int
set_up(void **state)
{
	(void)state;
	raftd = kvd = (struct link){.up = true};
	one = two = (struct asker){0};
	answers = 0;
	sc = scrapes_open(&raftd, &kvd, put_own, &own, on_answer);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	scrapes_close(sc);
	link_fake_clear(&raftd);
	link_fake_clear(&kvd);
	buf_free(&told);
	return 0;
}

static void
say(enum msg_process from, uint64_t token, const char *text)
{
	struct msg_metrics m = {.token = token, .text = bytes_of_str(text)};
	struct buf body = {0};
	struct wire w;

	wire_encode(&w, &body);
	assert_int_equal(msg_metrics_wire(&w, &m), ERR_OK);
	wire_decode(&w, buf_bytes(&body));
	assert_int_equal(scrapes_take(sc, from, &w), ERR_OK);
	buf_free(&body);
}

static bool
has(const char *what)
{
	return strstr((const char *)told.data, what) != NULL;
}

#define RAFTD_UP "metcd_process_up{process=\"raftd\"} 1\n"
#define RAFTD_DOWN "metcd_process_up{process=\"raftd\"} 0\n"
#define KVD_UP "metcd_process_up{process=\"kvd\"} 1\n"
#define KVD_DOWN "metcd_process_up{process=\"kvd\"} 0\n"

static void
what_all_three_say_is_put_together(void **state)
{
	(void)state;
	scrapes_add(sc, &one, start);
	assert_int_equal(raftd.sent, 1);
	assert_int_equal(kvd.sent, 1);
	assert_int_equal(link_fake_last_type(&raftd), MSG_METRICS_ASK);
	assert_int_equal(link_fake_last_type(&kvd), MSG_METRICS_ASK);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 1\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 0);
	say(MSG_KVD, link_fake_last_token(&kvd), "from_kvd 2\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	assert_true(has("from_raftd 1\n"));
	assert_true(has("from_kvd 2\n"));
	assert_true(has("\nown 42\n"));
	assert_true(has(RAFTD_UP));
	assert_true(has(KVD_UP));
	assert_true(has("metcd_process_up{process=\"httpd\"} 1\n"));
	assert_true(has("metcd_build_info{version=\""));
	assert_true(scrapes_next(sc).ns == MONO_NEVER.ns);
}

static void
who_is_away_is_not_waited_for(void **state)
{
	(void)state;
	kvd.up = false;
	scrapes_add(sc, &one, start);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 1\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	assert_true(has(RAFTD_UP));
	assert_true(has(KVD_DOWN));
	assert_true(has("from_raftd 1\n"));
}

static void
who_hangs_is_waited_for_a_moment_and_no_old_text_is_shown(void **state)
{
	struct mono later = mono_add_ms(start, METRICS_MS);

	(void)state;
	scrapes_add(sc, &one, start);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 1\n");
	say(MSG_KVD, link_fake_last_token(&kvd), "from_kvd 2\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);

	scrapes_add(sc, &two, start);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 3\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	assert_true(scrapes_next(sc).ns == later.ns);
	scrapes_run(sc, later);
	assert_int_equal(answers, 2);
	assert_true(has("from_raftd 3\n"));
	assert_false(has("from_kvd"));
	assert_true(has(KVD_DOWN));
}

static void
what_comes_late_is_for_nobody(void **state)
{
	uint64_t late;

	(void)state;
	scrapes_add(sc, &one, start);
	late = link_fake_last_token(&kvd);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 1\n");
	scrapes_run(sc, mono_add_ms(start, METRICS_MS));
	assert_int_equal(answers, 1);

	scrapes_add(sc, &two, start);
	say(MSG_KVD, late, "from_kvd 2\n");
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 3\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	say(MSG_KVD, link_fake_last_token(&kvd), "from_kvd 4\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 2);
	assert_true(has("from_kvd 4\n"));
	assert_false(has("from_kvd 2\n"));
}

static void
who_dies_while_it_is_waited_for_is_down(void **state)
{
	(void)state;
	scrapes_add(sc, &one, start);
	say(MSG_KVD, link_fake_last_token(&kvd), "from_kvd 1\n");
	raftd.up = false;
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	assert_true(has(RAFTD_DOWN));
	assert_true(has(KVD_UP));
}

/* Not even what it had said already: it is gone when the answer leaves. */
static void
what_the_dead_said_is_left_out(void **state)
{
	(void)state;
	scrapes_add(sc, &one, start);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 1\n");
	raftd.up = false;
	say(MSG_KVD, link_fake_last_token(&kvd), "from_kvd 1\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	assert_true(has(RAFTD_DOWN));
	assert_false(has("from_raftd"));
}

static void
a_full_link_is_not_asked(void **state)
{
	(void)state;
	kvd.full = true;
	scrapes_add(sc, &one, start);
	assert_int_equal(kvd.sent, 0);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "from_raftd 1\n");
	scrapes_run(sc, mono_add_ms(start, METRICS_MS));
	assert_int_equal(answers, 1);
	assert_true(has(KVD_DOWN));
}

static void
whose_client_left_is_forgotten(void **state)
{
	(void)state;
	scrapes_add(sc, &one, start);
	scrapes_add(sc, &two, start);
	scrapes_forget(sc, &one);
	scrapes_forget(sc, &one);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "r 1\n");
	say(MSG_KVD, link_fake_last_token(&kvd), "k 1\n");
	scrapes_run(sc, start);
	assert_int_equal(answers, 1);
	assert_false(two.waiting);
	scrapes_forget(sc, &two);
}

/* libmicrohttpd cannot end while requests are suspended. */
static void
everybody_is_answered_at_the_end(void **state)
{
	(void)state;
	scrapes_add(sc, &one, start);
	scrapes_add(sc, &two, start);
	say(MSG_KVD, link_fake_last_token(&kvd), "from_kvd 1\n");
	scrapes_stop(sc);
	assert_int_equal(answers, 2);
	assert_true(has(RAFTD_DOWN));
	assert_true(has("from_kvd 1\n"));
}

static void
answers_nobody_asked_for_are_not_kept(void **state)
{
	(void)state;
	say(MSG_KVD, 77, "from_kvd 1\n"); /* of an httpd before this one */
	scrapes_add(sc, &one, start);
	say(MSG_RAFTD, link_fake_last_token(&raftd), "r 1\n");
	scrapes_run(sc, mono_add_ms(start, METRICS_MS));
	assert_int_equal(answers, 1);
	assert_true(has(KVD_DOWN));
	assert_false(has("from_kvd"));
}

/* --- requests --- */

static void
render_traffic(const struct traffic *t)
{
	struct metrics m = {.out = &told};

	buf_clear(&told);
	traffic_metrics(t, &m);
	buf_append(&told, "", 1);
}

#define SECONDS "metcd_http_request_duration_seconds"

static void
requests_are_counted_by_port_method_and_status(void **state)
{
	static struct traffic t;
	struct mono now = {5000000000};

	(void)state;
	memset(&t, 0, sizeof t);
	traffic_count(&t, TRAFFIC_DATA, traffic_method("PUT"), 201, start, now);
	traffic_count(&t, TRAFFIC_DATA, traffic_method("PUT"), 201, start, now);
	traffic_count(
	    &t, TRAFFIC_ADMIN, traffic_method("GET"), 200, start, now);
	render_traffic(&t);
	assert_true(has(SECONDS "_count{port=\"data\",method=\"PUT\","
				"status=\"201\"} 2\n"));
	assert_true(has(SECONDS "_sum{port=\"data\",method=\"PUT\","
				"status=\"201\"} 8\n"));
	assert_true(has(SECONDS "_count{port=\"admin\",method=\"GET\","
				"status=\"200\"} 1\n"));
	assert_false(has("status=\"204\""));
	assert_true(has("metcd_server_proposals_failed_total 0\n"));
}

/* What clients send makes no series of its own. */
static void
what_is_unknown_has_one_place(void **state)
{
	static struct traffic t;

	(void)state;
	memset(&t, 0, sizeof t);
	traffic_count(
	    &t, TRAFFIC_DATA, traffic_method("BREW"), 418, start, start);
	traffic_count(
	    &t, TRAFFIC_DATA, traffic_method("get"), 599, start, start);
	traffic_count(&t, TRAFFIC_DATA, traffic_method(""), 299, start, start);
	render_traffic(&t);
	assert_true(has("method=\"other\",status=\"400\"} 1\n"));
	assert_true(has("method=\"other\",status=\"500\"} 1\n"));
	assert_true(has("method=\"other\",status=\"200\"} 1\n"));
}

static void
writes_that_were_not_done_are_failed_proposals(void **state)
{
	static struct traffic t;

	(void)state;
	memset(&t, 0, sizeof t);
	traffic_count(&t, TRAFFIC_DATA, traffic_method("PUT"), 503,
	    (struct mono){0}, start);
	traffic_count(
	    &t, TRAFFIC_DATA, traffic_method("DELETE"), 504, start, start);
	traffic_count(
	    &t, TRAFFIC_DATA, traffic_method("GET"), 504, start, start);
	traffic_count(
	    &t, TRAFFIC_DATA, traffic_method("PUT"), 412, start, start);
	traffic_count(
	    &t, TRAFFIC_ADMIN, traffic_method("PUT"), 503, start, start);
	render_traffic(&t);
	assert_true(has("metcd_server_proposals_failed_total 2\n"));
	/* One that never was whole took no time. */
	assert_true(has(SECONDS "_sum{port=\"data\",method=\"PUT\","
				"status=\"503\"} 0\n"));
}

#define SCRAPE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    SCRAPE(what_all_three_say_is_put_together),
	    SCRAPE(who_is_away_is_not_waited_for),
	    SCRAPE(who_hangs_is_waited_for_a_moment_and_no_old_text_is_shown),
	    SCRAPE(what_comes_late_is_for_nobody),
	    SCRAPE(who_dies_while_it_is_waited_for_is_down),
	    SCRAPE(what_the_dead_said_is_left_out),
	    SCRAPE(a_full_link_is_not_asked),
	    SCRAPE(whose_client_left_is_forgotten),
	    SCRAPE(everybody_is_answered_at_the_end),
	    SCRAPE(answers_nobody_asked_for_are_not_kept),
	    SCRAPE(requests_are_counted_by_port_method_and_status),
	    SCRAPE(what_is_unknown_has_one_place),
	    SCRAPE(writes_that_were_not_done_are_failed_proposals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
