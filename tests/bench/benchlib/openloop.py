"""Load at a fixed rate, latencies counted from when a request was due
(openloop.c)."""

import json
import os
import subprocess

from . import settings


def run(system, operation, rate, connections, seconds, keys, value_bytes,
        seed=1):
    """{"requests", "failed", "late", "rate", "p50_us", ... "max_us"}"""
    done = subprocess.run(
        [os.path.join(settings.BIN, "openloop"), system.address_of(operation),
         system.api, system.asked_as(operation), f"{rate:.1f}",
         str(connections), str(seconds), str(keys), str(value_bytes),
         str(seed)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
        timeout=seconds + 60)
    return json.loads(done.stdout)
