/* Bodies of orders (httpd/fields.h) and paths with an id (httpd/route.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "httpd/fields.h"
#include "httpd/route.h"
#include "proto/limits.h"

static struct {
	char peer[ADDRESS_BYTES_MAX + 1];
	uint64_t id;
	bool force, promote;
} got;

static char why[FIELDS_WHY_BYTES];

static bool
read_bytes(const void *body, size_t len)
{
	const struct field fields[] = {{"peer", FIELD_ADDRESS, got.peer, true},
	    {"id", FIELD_ID, &got.id, false},
	    {"force", FIELD_FLAG, &got.force, false},
	    {"promote", FIELD_PROMOTE, &got.promote, false}, {0}};

	memset(&got, 0, sizeof got);
	why[0] = '\0';
	return fields_read(fields, bytes_of(body, len), why);
}

static bool
read_text(const char *body)
{
	return read_bytes(body, strlen(body));
}

static void
all_fields_are_read(void **state)
{
	(void)state;
	assert_true(read_text("{\"peer\":\"a.example:3380\",\"id\":4,"
			      "\"force\":true,\"promote\":\"auto\"}"));
	assert_string_equal(got.peer, "a.example:3380");
	assert_int_equal(got.id, 4);
	assert_true(got.force);
	assert_true(got.promote);
	assert_true(read_text(" {\"promote\":\"manual\",\n"
			      "\"peer\":\"[::1]:65535\"} "));
	assert_string_equal(got.peer, "[::1]:65535");
	assert_int_equal(got.id, 0);
	assert_false(got.force);
	assert_false(got.promote);
}

static void
an_empty_body_has_no_fields(void **state)
{
	bool force = false;
	const struct field optional[] = {
	    {"force", FIELD_FLAG, &force, false}, {0}};

	(void)state;
	assert_true(fields_read(optional, bytes_of(NULL, 0), why));
	assert_false(read_text(""));
	assert_string_equal(why, "peer is missing");
	assert_false(read_text("{\"id\":4}"));
	assert_string_equal(why, "peer is missing");
}

/* Each is refused, and the reason has this in it. */
static void
what_is_wrong_is_said_by_name(void **state)
{
	static const struct {
		const char *body, *has;
	} cases[] = {
	    {"{\"pear\":\"a:1\"}",
		"unknown field pear; known: peer, id, force and promote"},
	    {"{\"peer\":1}", "peer must be the text HOST:PORT"},
	    {"{\"peer\":\"a:1\",\"id\":\"4\"}", "id must be a whole number"},
	    {"{\"peer\":\"a:1\",\"id\":0}", "id must be"},
	    {"{\"peer\":\"a:1\",\"id\":-1}", "id must be"},
	    {"{\"peer\":\"a:1\",\"id\":1.0}", "id must be"},
	    {"{\"peer\":\"a:1\",\"id\":null}", "id must be"},
	    {"{\"peer\":\"a:1\",\"id\":99999999999999999999}", "not JSON"},
	    {"{\"peer\":\"a:1\",\"force\":1}", "force must be true or false"},
	    {"{\"peer\":\"a:1\",\"promote\":true}", "promote must be \"auto\""},
	    {"{\"peer\":\"a:1\",\"promote\":\"x\"}", "promote must be"},
	    {"{\"peer\":\"a:1\",\"peer\":\"a:2\"}", "not JSON"},
	    {"{\"peer\":\"a:1\"} x", "not JSON: line 1"},
	    {"{\"peer\":", "not JSON"},
	    {"[]", "must be a JSON object"},
	    {"\"a:1\"", "not JSON"},
	    {"null", "not JSON"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_false(read_text(cases[i].body));
		if (strstr(why, cases[i].has) == NULL)
			fail_msg("%s: %s", cases[i].body, why);
	}
}

static void
an_address_is_a_host_and_a_port(void **state)
{
	static const char *const bad[] = {"", ":", "a", "a:", ":1", "a:0",
	    "a:65536", "a:99999999", "a:1x", "a:-1", "a: 1", "a b:1", "a/b:1",
	    "a,b:1", "::1:1", "[::1:1", "http://a:1", "a\\u0000b:1",
	    "a\\u00e4:1", "a\\n:1"};
	static const char *const good[] = {
	    "a:1", "127.0.0.1:3380", "[fe80::1%eth0]:65535", "n-1.x_y:080"};
	char body[ADDRESS_BYTES_MAX + 64], host[ADDRESS_BYTES_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		(void)snprintf(body, sizeof body, "{\"peer\":\"%s\"}", bad[i]);
		if (read_text(body))
			fail_msg("%s was taken", bad[i]);
		if (strstr(bad[i], "u0000") == NULL) /* that is no JSON */
			assert_non_null(strstr(why, "peer"));
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		(void)snprintf(body, sizeof body, "{\"peer\":\"%s\"}", good[i]);
		if (!read_text(body))
			fail_msg("%s: %s", good[i], why);
		assert_string_equal(got.peer, good[i]);
	}
	for (size_t n = ADDRESS_BYTES_MAX - 1; n <= ADDRESS_BYTES_MAX + 1;
	     n++) {
		memset(host, 'h', n);
		memcpy(host + n - 3, ":99", 4);
		(void)snprintf(body, sizeof body, "{\"peer\":\"%s\"}", host);
		assert_int_equal(read_text(body), n <= ADDRESS_BYTES_MAX);
	}
}

/* Any bytes: refused, and nothing worse (run with SAN=1). */
static void
garbage_is_refused(void **state)
{
	uint64_t seed = 88172645463325252u;
	uint8_t body[64];

	(void)state;
	assert_false(read_bytes("{\"peer\":\"a:1\"}\0", 15));
	assert_false(read_bytes("{\"p\0er\":\"a:1\"}", 15));
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof body; i++) {
			seed ^= seed << 13, seed ^= seed >> 7;
			seed ^= seed << 17;
			body[i] = (uint8_t)seed;
		}
		assert_false(read_bytes(body, (size_t)round % 64));
		assert_true(why[0] != '\0');
	}
}

static void
a_path_may_have_an_id(void **state)
{
	uint64_t id = 7;

	(void)state;
	assert_true(route_matches("/v1/members", "/v1/members", &id));
	assert_false(route_matches("/v1/members", "/v1/members/", &id));
	assert_false(route_matches("/v1/members", "/v1/member", &id));
	assert_int_equal(id, 7);
	assert_true(route_matches("/v1/members/ID", "/v1/members/42", &id));
	assert_int_equal(id, 42);
	assert_true(route_matches(
	    "/v1/members/ID/promote", "/v1/members/3/promote", &id));
	assert_int_equal(id, 3);
	assert_true(
	    route_matches("/m/ID", "/m/99999999999999999999999999", &id));
	assert_int_equal(id, UINT64_MAX);
	id = 7;
	assert_false(route_matches("/m/ID", "/m/", &id));
	assert_false(route_matches("/m/ID", "/m/0", &id));
	assert_false(route_matches("/m/ID", "/m/04", &id));
	assert_false(route_matches("/m/ID", "/m/4/", &id));
	assert_false(route_matches("/m/ID", "/m/4x", &id));
	assert_false(route_matches("/m/ID", "/m/x", &id));
	assert_false(route_matches("/m/ID", "/m/+4", &id));
	assert_false(route_matches("/m/ID/promote", "/m/4", &id));
	assert_false(route_matches("/m/ID/promote", "/m/4/promot", &id));
	assert_int_equal(id, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_fields_are_read),
	    cmocka_unit_test(an_empty_body_has_no_fields),
	    cmocka_unit_test(what_is_wrong_is_said_by_name),
	    cmocka_unit_test(an_address_is_a_host_and_a_port),
	    cmocka_unit_test(garbage_is_refused),
	    cmocka_unit_test(a_path_may_have_an_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
