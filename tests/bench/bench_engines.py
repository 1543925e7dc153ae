#!/usr/bin/python3
"""Which engine for which load.

    make bench-engines    ROUNDS=5 SECONDS=5 KEYS=5000000 BYTES=256
                          CONNECTIONS="64" ENGINES="memory lmdb leveldb"
                          NODES=1

One node, so that the engine weighs most and loading ends in minutes; NODES=3
for three.  The log and its snapshots are as always.  The loads take turns; all
engines are up, one is loaded at a time."""

from benchlib import results, settings
from benchlib.contest import Contest
from benchlib.metcd import Metcd
from benchlib.table import Table

ROUNDS = settings.number("ROUNDS", 5)
SECONDS = settings.number("SECONDS", 5)
KEYS = settings.number("KEYS", 5000000)
BYTES = settings.number("BYTES", 256)
CONNECTIONS = [int(n) for n in settings.words("CONNECTIONS", "64")]
ENGINES = settings.words("ENGINES", "memory lmdb leveldb")
NODES = settings.number("NODES", 1)
LOADS = {"mix95": "95 % GET, 5 % PUT", "mix5": "95 % PUT, 5 % GET",
         "get": "GET alone", "put": "PUT alone"}


class Engine(Metcd):
    operations = tuple(LOADS)


def loaded(contest):
    table = Table("engine", "keys/s at loading", "longest pause ms",
                  "kvd RSS MiB", "store on disk MiB", "of keys and values MiB")
    raw = contest.keys * (contest.value_bytes + 8) / (1 << 20)
    for s in contest.systems:
        f = contest.filled[s.name]
        leader = s.leader()
        table.add(s.engine, round(f["requests"] / f["seconds"]),
                  f["pause_ms"], s.memory_mib(leader, "kvd"),
                  s.store_mib(leader), raw)
    return f"### {contest.keys} keys, every one put once\n\n{table}"


def rates(contest, operation):
    table = Table("engine", "connections", "requests/s", "spread", "p50 us",
                  "p99 us", "CPU us, kvd", "CPU us, all", "failed")
    for n in contest.connections:
        for s in contest.systems:
            c = contest.cell(s, operation, n)
            table.add(
                s.engine, n, round(c.rate), f"{c.spread:.0%}",
                round(c.median(lambda r: r.p50_us)),
                round(c.median(lambda r: r.p99_us)),
                c.median(lambda r: sum(of["kvd"] for of in r.cpu.values())
                         / max(r.requests, 1) * 1e6),
                c.median(lambda r: r.cpu_per_1000() * 1000), c.failed)
    return f"### {LOADS[operation]}\n\n{table}"


def main():
    settings.data_directory()
    with Contest([Engine(e, NODES) for e in ENGINES], tuple(LOADS),
                 CONNECTIONS, ROUNDS, SECONDS, KEYS, BYTES) as contest:
        contest.start()
        parts = [loaded(contest)]
        contest.run()
        parts += [rates(contest, o) for o in LOADS]
    results.write("Engines", results.command_line("bench-engines"),
                  "\n\n".join(parts))


if __name__ == "__main__":
    main()
