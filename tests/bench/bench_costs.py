#!/usr/bin/python3
"""Where a request costs what: processor time, system calls and context
switches of each process, and with one connection the time from hop to hop.

    make bench-costs      ENGINES="lmdb" SECONDS=5 KEYS=90000 BYTES=256

Three nodes of metcd, the leader is loaded.  Processor time and system calls
for each request hardly depend on what else the machine does; times do."""

import os
import subprocess
import sys

from benchlib import hops, results, settings, syscalls, wrk
from benchlib.fill import fill
from benchlib.metcd import Metcd
from benchlib.system import OPERATIONS
from benchlib.table import Table

SECONDS = settings.number("SECONDS", 5)
KEYS = settings.number("KEYS", 90000)
BYTES = settings.number("BYTES", 256)
ENGINES = settings.words("ENGINES", "lmdb")
LOADS = (("put", 64), ("get", 64), ("stale", 64), ("put", 1), ("get", 1))
WAYS = (("put", "PUT", hops.PUT), ("get", "GET, linearizable", hops.GET),
        ("stale", "GET, stale", hops.STALE))
DAEMONS = ("httpd", "raftd", "kvd")


def load(system, operation, connections, seconds):
    return wrk.run(system, operation, connections, seconds, KEYS, BYTES, 1)


def roles(system):
    """{(role, program): pid}: the leader's and one follower's."""
    leader = system.leader()
    pids = system.pids()
    follower = next(n for n in pids if n != leader)
    return {(role, p): pids[n][p] for p in DAEMONS
            for role, n in (("leader", leader), ("follower", follower))}


def most(counts, requests):
    """The system calls made most often, in words."""
    each = sorted(((n / requests, name) for name, n in counts.items()
                   if name not in (syscalls.TOTAL, syscalls.SWITCHES)),
                  reverse=True)
    return ", ".join(f"{name} {n:.2f}" for n, name in each[:6] if n >= 0.01)


def usage_of(system, operation, connections, counted):
    """A row per process.  Counted and timed in two runs: counting takes
    time."""
    timed = load(system, operation, connections, SECONDS)
    who = roles(system)
    counts, requests = {}, 1
    if counted:
        with syscalls.Counting(who) as counting:
            requests = load(system, operation, connections, SECONDS).requests
        counts = counting.counts
    table = Table("process", "CPU us", "system calls", "switches",
                  "the most frequent")
    leader = system.leader()
    for role, program in who:
        cpu = [of[program] for n, of in timed.cpu.items()
               if (n == leader) == (role == "leader")]
        us = sum(cpu) / len(cpu) / timed.requests * 1e6
        found = counts.get((role, program), {})
        if us < 0.5:
            continue
        total = found.get(syscalls.TOTAL)
        table.add(f"{program}, {role}", us,
                  total / requests if total else None,
                  found.get(syscalls.SWITCHES, 0) / requests,
                  most(found, requests))
    table.add("all, wrk too", (timed.cpu_all() + timed.wrk_cpu)
              / timed.requests * 1e6, None, None, "")
    return (f"{OPERATIONS[operation]}, {connections} connections: "
            f"{timed.rate:.0f} a second, p50 {timed.p50_us} us\n\n{table}")


def way_of(system, operation, title, points):
    """Hop by hop with one connection."""
    data = os.path.join(settings.data_directory(), "hops.perf")
    node = system.pids()[system.leader()]
    pids = [node[p] for p in DAEMONS]
    with hops.Probes(points) as probes:
        client = subprocess.Popen(
            wrk.command(system, operation, 1, SECONDS + 1, KEYS, BYTES, 1),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        seen = probes.record(pids, SECONDS, data)
        client.wait(60)
    os.unlink(data)
    found = hops.ways(probes.events, seen)
    if not found:
        return f"{title}: no request was seen on its whole way"
    table = Table("from", "to", "us")
    steps = hops.medians(points, found)
    for step in steps:
        table.add(*step)
    table.add("all", "", sum(us for _, _, us in steps))
    return (f"{title}, one connection, medians of {len(found)} requests; "
            f"each probe itself takes a few us\n\n{table}")


def main():
    settings.data_directory()
    cannot = syscalls.available()
    if cannot:
        print(f"system calls are not counted: {cannot}", file=sys.stderr)
    no_probes = hops.available()
    if no_probes or cannot:
        print(f"no times from hop to hop: {no_probes or cannot}",
              file=sys.stderr)
    for engine in ENGINES:
        system = Metcd(engine)
        system.start()
        try:
            fill(system, KEYS, BYTES)
            parts = [usage_of(system, *each, not cannot) for each in LOADS]
            if not (no_probes or cannot):
                parts += [way_of(system, *each) for each in WAYS]
        finally:
            system.stop()
        results.write(f"What a request costs: {engine}",
                      results.command_line("bench-costs"), "\n\n".join(parts))


if __name__ == "__main__":
    main()
