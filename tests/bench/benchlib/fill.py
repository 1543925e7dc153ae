"""Keys that are there before a measurement (fill.c)."""

import json
import os
import subprocess

from . import settings


def fill(system, keys, value_bytes, connections=64, depth=4, sorted_=False,
         operation="put"):
    """Put every key once; {"requests", "seconds", "pause_ms"}."""
    command = [os.path.join(settings.BIN, "fill"), system.address_of(operation),
               system.api, str(connections), str(depth), str(keys),
               str(value_bytes)]
    done = subprocess.run(command + (["sorted"] if sorted_ else []),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          check=True)
    return json.loads(done.stdout)
