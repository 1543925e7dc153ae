/* The service manager's watchdog (WatchdogSec= of a unit): it restarts a
 * process that it has not heard of for a while.
 *
 * It is fed from a timer of the main loop and from nowhere else: no thread of
 * its own could tell that the loop hangs.  An idle loop turns for that timer; a
 * loop that is stuck in one of its phases never comes to it. */
#ifndef BASE_WATCHDOG_H
#define BASE_WATCHDOG_H

#include "base/loop.h"

/* Feed the watchdog for as long as l turns, twice as often as asked for; does
 * nothing if WATCHDOG_USEC is not set or meant for another process.  Called
 * once, when the process is ready; what follows may not take longer than half
 * of the unit's WatchdogSec= per turn. */
void watchdog_start(struct loop *l);

#endif
