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
	uint64_t done, total; /* total 0: not known */
	bool shown;
} progress;

void
progress_begin(const char *text)
{
	progress.text = isatty(STDERR_FILENO) ? text : NULL;
	progress.began = mono_now();
	progress.next = mono_add_ms(progress.began, QUIET_MS);
	progress.total = 0;
	progress.shown = false;
}

void
progress_set(uint64_t done, uint64_t total)
{
	progress.done = done < total ? done : total;
	progress.total = total;
}

/* Nobody knows how much is left, so something moves to and fro. */
static void
draw_runner(char bar[BAR + 1], uint64_t ms)
{
	const size_t way = BAR - RUNNER;
	size_t at = (size_t)(ms / STEP_MS) % (2 * way);

	if (at > way)
		at = 2 * way - at;
	memset(bar + at, '=', RUNNER);
}

void
progress_tick(void)
{
	const struct mono now = mono_now();
	const uint64_t ms = mono_ms_since(progress.began, now);
	char bar[BAR + 1], share[80] = "";

	if (progress.text == NULL || !mono_reached(progress.next, now))
		return;
	progress.next = mono_add_ms(now, STEP_MS);
	progress.shown = true;
	memset(bar, ' ', BAR);
	bar[BAR] = '\0';
	if (progress.total > 0) {
		const double part =
		    (double)progress.done / (double)progress.total;

		memset(bar, '=', (size_t)(part * BAR));
		(void)snprintf(share, sizeof share,
		    " %3u%% %" PRIu64 "/%" PRIu64, (unsigned)(part * 100),
		    progress.done, progress.total);
	} else
		draw_runner(bar, ms);
	(void)fprintf(stderr, "\r%s [%s]%s %" PRIu64 " s\033[K", progress.text,
	    bar, share, ms / 1000);
	(void)fflush(stderr);
}

void
progress_hide(void)
{
	if (progress.shown)
		(void)fprintf(stderr, "\r\033[K");
	progress.shown = false;
}

void
progress_end(void)
{
	progress_hide();
	progress.text = NULL;
}
