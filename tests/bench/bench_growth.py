#!/usr/bin/python3
"""What becomes slower when there is more of it.

    make bench-growth    PARTS="keys values nodes connections" ROUNDS=3
                         SECONDS=3 ENGINES="lmdb leveldb" BYTES=256
                         KEYS="10000 1000000 10000000" (of part keys)
                         SIZES="1024 65536 1048576"    (of part values)
                         NODES="1 3 5 7"               (of part nodes)
                         IDLE="1 100 1000 5000"        (of part connections)

Part keys has one node, so that loading ends in minutes; the others three.
SECONDS * ROUNDS is how long each figure is measured."""

import os

from benchlib import machine, results, settings, wrk
from benchlib.contest import say
from benchlib.fill import fill
from benchlib.idle import Idle
from benchlib.metcd import Metcd
from benchlib.table import Table

PARTS = settings.words("PARTS", "keys values nodes connections")
SECONDS = settings.number("SECONDS", 3) * settings.number("ROUNDS", 3)
ENGINES = settings.words("ENGINES", "lmdb leveldb")
BYTES = settings.number("BYTES", 256)
KEYS = [int(n) for n in settings.words("KEYS", "10000 1000000 10000000")]
SIZES = [int(n) for n in settings.words("SIZES", "1024 65536 1048576")]
NODES = [int(n) for n in settings.words("NODES", "1 3 5 7")]
IDLE = [int(n) for n in settings.words("IDLE", "1 100 1000 5000")]
FEW_KEYS = 10000
VALUES_TOTAL = 256 << 20  # bytes that part values puts before its GETs
CONNECTIONS = 64
CONNECTIONS_BIG = 16  # of values in part values


class Up:
    """with Up(engine, ...) as system"""

    def __init__(self, engine, nodes=3, env=None):
        self.system = Metcd(engine, nodes, env)

    def __enter__(self):
        self.system.start()
        return self.system

    def __exit__(self, *_):
        self.system.stop()


def us(seconds, requests):
    return seconds / max(requests, 1) * 1e6


def keys_part():
    table = Table("engine", "keys", "load: keys/s", "longest pause ms",
                  "PUT/s", "p99 us", "CPU us", "GET/s", "p99 us ", "CPU us ",
                  "kvd RSS MiB", "store MiB", "failed")
    for engine in ENGINES:
        for keys in KEYS:
            say(f"keys: {engine} {keys}")
            with Up(engine, 1) as s:
                f = fill(s, keys, BYTES)
                put, get = (wrk.run(s, o, CONNECTIONS, SECONDS, keys, BYTES, 1)
                            for o in ("put", "get"))
                table.add(engine, keys, round(f["requests"] / f["seconds"]),
                          f["pause_ms"], round(put.rate), put.p99_us,
                          us(put.cpu_all(), put.requests), round(get.rate),
                          get.p99_us, us(get.cpu_all(), get.requests),
                          s.memory_mib(1, "kvd"), s.store_mib(1),
                          put.failed + get.failed)
    return (f"One node, values of {BYTES} bytes, {CONNECTIONS} "
            "connections; GET is linearizable.\n\n" + str(table))


def values_part():
    disk = machine.sequential_mb_s()
    table = Table("engine", "bytes", "PUT/s", "PUT MB/s", "of the disk",
                  "p99 us", "GET/s", "GET MB/s", "p99 us ", "failed")
    for engine in ENGINES:
        for size in SIZES:
            say(f"values: {engine} {size}")
            keys = max(16, min(FEW_KEYS, VALUES_TOTAL // size))
            with Up(engine) as s:
                fill(s, keys, size, CONNECTIONS_BIG, 1)
                put, get = (wrk.run(s, o, CONNECTIONS_BIG, SECONDS, keys, size,
                                    1) for o in ("put", "get"))
                put_mb, get_mb = (r.rate * size / 1e6 for r in (put, get))
                table.add(engine, size, round(put.rate), put_mb, put_mb / disk,
                          put.p99_us, round(get.rate), get_mb, get.p99_us,
                          put.failed + get.failed)
    return ("Three nodes on one disk: a value is written to "
            f"three logs and three stores.\n{CONNECTIONS_BIG} connections. "
            f"The disk alone writes one file at {disk:.0f} MB/s.\n\n{table}")


def nodes_part():
    table = Table("engine", "nodes", "PUT/s", "p50 us", "p99 us", "CPU us",
                  "GET/s", "p50 us ", "p99 us ", "CPU us ", "stale GET/s",
                  "failed")
    for engine in ENGINES[:1]:
        for nodes in NODES:
            say(f"nodes: {engine} {nodes}")
            with Up(engine, nodes) as s:
                fill(s, FEW_KEYS, BYTES)
                put, get, stale = (
                    wrk.run(s, o, CONNECTIONS, SECONDS, FEW_KEYS, BYTES, 1)
                    for o in ("put", "get", "stale"))
                table.add(engine, nodes, round(put.rate), put.p50_us,
                          put.p99_us, us(put.cpu_all(), put.requests),
                          round(get.rate), get.p50_us, get.p99_us,
                          us(get.cpu_all(), get.requests), round(stale.rate),
                          put.failed + get.failed + stale.failed)
    return (f"{CONNECTIONS} connections to the leader; all nodes "
            f"share {os.cpu_count()} cores and one disk.\n\n{table}")


def connections_part():
    table = Table("idle connections", "httpd RSS MiB", "KiB each", "PUT/s",
                  "p99 us", "GET/s", "p99 us ", "failed")
    limit = str(max(IDLE) + 2 * CONNECTIONS)
    with Up(ENGINES[0], env={"METCD_MAX_CONNECTIONS": limit}) as s:
        fill(s, FEW_KEYS, BYTES)
        leader = s.leader()
        bare = s.memory_mib(leader, "httpd")
        for count in IDLE:
            say(f"connections: {count}")
            with Idle(s.port_of("get"), count):
                rss = s.memory_mib(leader, "httpd")
                put, get = (wrk.run(s, o, CONNECTIONS, SECONDS, FEW_KEYS,
                                    BYTES, 1) for o in ("put", "get"))
            table.add(count, rss, (rss - bare) * 1024 / count, round(put.rate),
                      put.p99_us, round(get.rate), get.p99_us,
                      put.failed + get.failed)
    return ("To the leader, each has asked once; beside "
            f"them {CONNECTIONS} that are loaded.\n\n{table}")


def main():
    settings.data_directory()
    known = {"keys": keys_part, "values": values_part, "nodes": nodes_part,
             "connections": connections_part}
    for part in PARTS:
        if part not in known:
            raise SystemExit(f"PARTS: there is no {part}; choose from "
                             + " ".join(known))
    for part in PARTS:
        results.write(f"Growth: {part}", results.command_line("bench-growth"),
                      known[part]())


if __name__ == "__main__":
    main()
