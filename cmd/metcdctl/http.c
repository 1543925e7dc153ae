/* HTTP by libcurl; see http.h. */
#include "cmd/metcdctl/http.h"

#include <curl/curl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/metcdctl/progress.h"
#include "proto/limits.h"

#define CONNECT_MS_MAX 2000
/* Far above the largest value and any status. */
#define ANSWER_BYTES_MAX (16u << 20)
/* From here on the node is asked before a body is sent: it may refuse it. */
#define EXPECT_BYTES_MIN 65536u

static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	struct buf *body = arg;
	size_t bytes = size * count; /* size is 1, says libcurl */

	if (bytes > ANSWER_BYTES_MAX - body->len)
		return 0; /* ends the transfer */
	buf_append(body, data, bytes);
	return bytes;
}

static void
set_time(CURL *curl, struct mono deadline)
{
	uint64_t left = mono_ms_until(deadline, mono_now());
	long ms = left > LONG_MAX ? LONG_MAX : (long)left;

	if (ms == 0)
		ms = 1; /* 0 would be no limit */
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
	    ms < CONNECT_MS_MAX ? ms : (long)CONNECT_MS_MAX);
}

/* Headers to add; freed by the caller.  libcurl would label a body as a form,
 * and ask before sending it at a size of its own. */
static struct curl_slist *
make_headers(const struct http_request *r)
{
	struct curl_slist *list = NULL;

	if (!r->has_body)
		return NULL;
	list = curl_slist_append(
	    list, r->is_json ? "Content-Type: application/json"
			     : "Content-Type: application/octet-stream");
	return curl_slist_append(list, r->body.len >= EXPECT_BYTES_MIN
					   ? "Expect: 100-continue"
					   : "Expect:");
}

static void
set_request(CURL *curl, const struct http_request *r, const char *url,
    struct curl_slist *headers)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (r->has_body) {
		curl_easy_setopt(
		    curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
		    r->body.len > 0 ? (const void *)r->body.data : "");
	}
	/* A key may be "." or "a/../b": the path goes out as it is. */
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	/* Nodes are reached directly, whatever http_proxy says. */
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
}

/* libcurl calls it about once a second, or more often. */
static int
on_progress(void *arg, curl_off_t to_get, curl_off_t got, curl_off_t to_send,
    curl_off_t sent)
{
	(void)arg, (void)to_get, (void)got, (void)to_send, (void)sent;
	progress_tick();
	return 0;
}

/* Bytes of the request that were handed to the connection. */
static bool
was_sent(CURL *curl)
{
	long bytes = 0;

	return curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &bytes) !=
		   CURLE_OK ||
	       bytes > 0;
}

static enum http_result
perform(CURL *curl, struct http_answer *a, struct buf *body,
    char why[HTTP_WHY_BYTES])
{
	char detail[CURL_ERROR_SIZE] = "";
	CURLcode rc;
	long status = 0;

	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	rc = curl_easy_perform(curl);
	if (rc == CURLE_OK)
		rc = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (rc != CURLE_OK) {
		(void)snprintf(why, HTTP_WHY_BYTES, "%s",
		    detail[0] != '\0' ? detail : curl_easy_strerror(rc));
		return was_sent(curl) ? HTTP_LOST : HTTP_NOT_SENT;
	}
	a->status = (int)status;
	buf_swap(&a->body, body);
	return HTTP_ANSWERED;
}

enum http_result
http_ask(const char *endpoint, const struct http_request *r,
    struct mono deadline, struct http_answer *a, char why[HTTP_WHY_BYTES])
{
	size_t bytes = strlen(endpoint) + strlen(r->target) + sizeof "http://";
	struct curl_slist *headers = make_headers(r);
	char *url = mem_alloc(bytes);
	struct buf body = {0};
	enum http_result result = HTTP_NOT_SENT;
	CURL *curl = curl_easy_init();

	(void)snprintf(url, bytes, "http://%s%s", endpoint, r->target);
	if (curl != NULL && (headers != NULL || !r->has_body)) {
		set_request(curl, r, url, headers);
		set_time(curl, deadline);
		result = perform(curl, a, &body, why);
	} else
		(void)snprintf(why, HTTP_WHY_BYTES, "libcurl cannot start");
	curl_easy_cleanup(curl); /* NULL is allowed for both */
	curl_slist_free_all(headers);
	buf_free(&body);
	mem_free(url);
	return result;
}

void
http_answer_free(struct http_answer *a)
{
	buf_free(&a->body);
}
