"""Waiting for something to become true: bounded, never a blind sleep."""

import time

POLL_S = 0.01


class Timeout(AssertionError):
    """What was awaited did not come before the deadline."""


def wait_until(what, condition, seconds=10.0, poll=POLL_S):
    """Call condition until it gives something true, and return that.

    Raises Timeout, which names what was awaited, after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise Timeout(f"waited {seconds:g} s in vain: {what}")
        time.sleep(poll)
