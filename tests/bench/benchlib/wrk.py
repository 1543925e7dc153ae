"""One run of wrk against one system."""

import json
import os
import resource
import subprocess
import time

from . import settings, usage


class Run:
    """What one run gave.  rate: requests a second that were answered well;
    failed: not 2xx, or a broken socket; cpu: seconds of the servers,
    {node: {program: s}}; wrk_cpu: of wrk itself."""

    def __init__(self, said, cpu, wrk_cpu, seconds, moved):
        self.requests = said["requests"]
        self.failed = sum(said[k] for k in (
            "connect", "read", "write", "timeout", "status"))
        self.rate = (said["requests"] - said["status"]) / said["us"] * 1e6
        self.p50_us = said["p50_us"]
        self.p99_us = said["p99_us"]
        self.cpu = cpu
        self.wrk_cpu = wrk_cpu
        self.seconds = seconds
        self.moved = moved  # the leader changed meanwhile

    def cpu_all(self):
        return sum(s for node in self.cpu.values() for s in node.values())

    def cpu_per_1000(self):
        return self.cpu_all() / max(self.requests, 1) * 1000


def command(system, operation, connections, seconds, keys, value_bytes, seed):
    """One thread of wrk: two would only take from the servers here."""
    return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
            "--timeout", "10s", "-s", os.path.join(settings.HERE, "wrk.lua"),
            f"http://{system.address_of(operation)}", "--", system.api,
            system.asked_as(operation), str(keys), str(value_bytes), str(seed)]


def run(system, operation, connections, seconds, keys, value_bytes, seed):
    """Load a system that is up."""
    leader = system.leader()
    words = command(system, operation, connections, seconds, keys, value_bytes,
                    seed)
    pids = system.pids()
    before = usage.cpu_of(system.all_pids())
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(words, stdin=subprocess.DEVNULL, check=True,
                          stdout=subprocess.PIPE, timeout=seconds + 60)
    took = time.monotonic() - began
    after = usage.cpu_of(system.all_pids())
    own_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = next(line[7:] for line in done.stdout.decode().splitlines()
                if line.startswith("RESULT "))
    cpu = {node: {name: after[pid] - before[pid] for name, pid in of.items()}
           for node, of in pids.items()}
    return Run(json.loads(said), cpu,
               own_after.ru_utime + own_after.ru_stime
               - own.ru_utime - own.ru_stime, took,
               system.leader() != leader)
