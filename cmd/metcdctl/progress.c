/* Waiting, visibly; see progress.h. */
#include "cmd/metcdctl/progress.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"

#define QUIET_MS 1000u
#define STEP_MS 100u
#define BAR 24u
#define RUNNER 6u /* what moves in the bar */

static struct {
	const char *text; /* NULL: nothing is waited for */
	struct mono began;
	struct mono next;
	bool shown;
} progress;

void
progress_begin(const char *text)
{
	progress.text = isatty(STDERR_FILENO) ? text : NULL;
	progress.began = mono_now();
	progress.next = mono_add_ms(progress.began, QUIET_MS);
	progress.shown = false;
}

/* Nobody knows how much is left, so something moves to and fro. */
void
progress_tick(void)
{
	const struct mono now = mono_now();
	const uint64_t ms = mono_ms_since(progress.began, now);
	const size_t way = BAR - RUNNER;
	size_t at = (size_t)(ms / STEP_MS) % (2 * way);
	char bar[BAR + 1];

	if (progress.text == NULL || !mono_reached(progress.next, now))
		return;
	progress.next = mono_add_ms(now, STEP_MS);
	progress.shown = true;
	if (at > way)
		at = 2 * way - at;
	memset(bar, ' ', BAR);
	memset(bar + at, '=', RUNNER);
	bar[BAR] = '\0';
	(void)fprintf(
	    stderr, "\r%s [%s] %" PRIu64 " s", progress.text, bar, ms / 1000);
	(void)fflush(stderr);
}

void
progress_end(void)
{
	if (progress.shown)
		(void)fprintf(stderr, "\r\033[K");
	progress.text = NULL;
	progress.shown = false;
}
