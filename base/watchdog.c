/* Feeding the service manager's watchdog; see watchdog.h. */
#include "base/watchdog.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"

/* One loop, one watchdog per process. */
static struct {
	struct loop_timer timer;
	uint64_t every_ms;
} dog;

static void
feed(void *arg, struct mono now)
{
	int rc = sd_notify(0, "WATCHDOG=1");

	(void)arg;
	if (rc < 0) {
		errno = -rc; /* it will restart us, if it is still there */
		log_warn("cannot feed the watchdog");
	}
	loop_timer_set(&dog.timer, mono_add_ms(now, dog.every_ms));
}

void
watchdog_start(struct loop *l)
{
	uint64_t limit_us = 0;
	/* Checks WATCHDOG_PID; 0: no watchdog. */
	int rc = sd_watchdog_enabled(0, &limit_us);

	if (rc < 0) {
		errno = -rc;
		log_warn("watchdog not fed, WATCHDOG_USEC or WATCHDOG_PID "
			 "is not a number");
	}
	if (rc <= 0)
		return;
	dog.every_ms = limit_us / 2000;
	if (dog.every_ms == 0)
		dog.every_ms = 1;
	loop_timer_init(l, &dog.timer, feed, NULL);
	feed(NULL, mono_now());
	log_debug("watchdog fed every_ms=%" PRIu64, dog.every_ms);
}
