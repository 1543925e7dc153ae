#!/usr/bin/python3
"""metcd beside etcd, the raft example it began from, and bare libmicrohttpd.

    make bench    ROUNDS=5 SECONDS=3 KEYS=90000 BYTES=256
                  CONNECTIONS="1 64 256"
                  SYSTEMS="memory lmdb leveldb etcd raftexample ceiling"
                  OPS="put put-follower get stale mix90"

All systems run, one at a time is loaded with wrk, in turns, ROUNDS times."""

import time

from benchlib import lineup, openloop, results, settings, usage
from benchlib.contest import Contest, say
from benchlib.system import OPERATIONS
from benchlib.table import Table

ROUNDS = settings.number("ROUNDS", 5)
SECONDS = settings.number("SECONDS", 3)
KEYS = settings.number("KEYS", 90000)
BYTES = settings.number("BYTES", 256)
CONNECTIONS = [int(n) for n in settings.words("CONNECTIONS", "1 64 256")]
SYSTEMS = settings.words("SYSTEMS", " ".join(lineup.NAMES))
OPS = settings.words("OPS", " ".join(OPERATIONS))
LATER_S = 30  # more than systems take until they give memory back

NOTES = """\
Medians of the rounds. *spread*: fastest less slowest round, as a part of the
median. *CPU*: seconds of all server processes for 1,000 requests; *wrk*: its
own. *failed*: not 2xx, or a broken connection, in all rounds together. *x
etcd*: rate, as a multiple of the better of etcd's two interfaces, *less CPU*:
how many times as much of it that one takes, *x ceiling*: rate, as a multiple
of bare libmicrohttpd, which answers without having done anything; each of them
the median of the rounds' ratios, not the ratio of the medians.

raftexample answers a PUT before it is committed and every GET from its own
memory: it promises less."""


def rates(contest, operation):
    table = Table("system", "connections", "requests/s", "spread", "p50 us",
                  "p99 us", "CPU s", "wrk s", "failed", "x etcd",
                  "less CPU, x", "x ceiling")
    for n in contest.connections:
        etcd = contest.best("etcd", operation, n)
        ceiling = contest.best("ceiling", operation, n)
        for s in contest.systems:
            c = contest.cell(s, operation, n)
            if c is None:
                continue
            table.add(
                s.name, n, round(c.rate), f"{c.spread:.0%}",
                round(c.median(lambda r: r.p50_us)),
                round(c.median(lambda r: r.p99_us)),
                c.median(lambda r: r.cpu_per_1000()),
                c.median(lambda r: r.wrk_cpu / max(r.requests, 1) * 1000),
                c.failed, c.times_rate(etcd), c.less_cpu(etcd),
                c.times_rate(ceiling))
    return f"### {OPERATIONS[operation]}\n\n{table}"


def of_nodes(system):
    """{number: (RSS, own) MiB of all processes of that node}"""
    nodes = {}
    for number, of in system.pids().items():
        each = [usage.memory_kib(p) for p in of.values()]
        nodes[number] = [sum(rss for rss, _, _ in each) / 1024,
                         sum(own for _, _, own in each) / 1024]
    return nodes


def mean_of_followers(sums, leader):
    followers = [m for n, m in sums.items() if n != leader]
    return [sum(x) / len(followers) for x in zip(*followers)] \
        if followers else [None] * 2


def memory(contest):
    table = Table("system", "leader, RSS MiB", "own", "follower, RSS", "own ",
                  "later: leader, RSS", "own  ", "follower, RSS ", "own   ",
                  "idle, % of a core")
    one_each = {}  # etcd's two interfaces are of the same processes
    for s in contest.systems:
        name = s.name.split()[0] if s.name.startswith("etcd") else s.name
        one_each.setdefault(name, s)
    shown = [(name, s, s.leader(), of_nodes(s))
             for name, s in one_each.items()]
    time.sleep(LATER_S)
    for name, s, leader, sums in shown:
        later = of_nodes(s)
        table.add(name, *sums[leader], *mean_of_followers(sums, leader),
                  *later[leader], *mean_of_followers(later, leader),
                  contest.idle[s.name] * 100)
    return ("### Memory after the load, and processor time before it\n\n"
            "MiB, all processes of a node together; own: without pages of\n"
            "files, which the kernel can take back; later: after another\n"
            f"{LATER_S} seconds without load.\n\n{table}")


def fixed_rates(contest):
    """At half of what each one can, and all at half of what etcd can."""
    connections = 64 if 64 in contest.connections else contest.connections[-1]
    table = Table("system", "operation", "rate", "of", "p50 us", "p99 us",
                  "p99.9 us", "max us", "failed", "late")
    for operation in ("put", "get"):
        etcd = contest.best("etcd", operation, connections)
        for s in contest.systems:
            c = contest.cell(s, operation, connections)
            if c is None or s.name == "ceiling":
                continue
            for rate, of in ((c.rate / 2, "own"),
                             (etcd and etcd.rate / 2, "etcd's")):
                if not rate or (of != "own" and (
                        s.name.startswith("etcd") or rate > 0.9 * c.rate)):
                    continue
                say(f"{s.name}: {operation} at {rate:.0f}/s")
                f = openloop.run(s, operation, rate, connections,
                                 contest.seconds * contest.rounds,
                                 contest.keys, contest.value_bytes)
                table.add(s.name, operation, round(rate), of, f["p50_us"],
                          f["p99_us"], f["p999_us"], f["max_us"],
                          f["failed"], f["late"])
    return (f"### Latency at a fixed rate, {connections} connections\n\n"
            "Requests are due at equal distances, at half of the highest rate\n"
            "above (the system's own, or the better of etcd's two);\n"
            "latency counts from when a request was due. *late*: sent more\n"
            f"than 1 ms after that.\n\n{table}")


def main():
    settings.data_directory()
    systems = lineup.systems(SYSTEMS, BYTES)
    with Contest(systems, OPS, CONNECTIONS, ROUNDS, SECONDS, KEYS,
                 BYTES) as contest:
        contest.start()
        contest.measure_idle(SECONDS * 4)
        contest.run()
        parts = [NOTES, *(rates(contest, o) for o in OPS), memory(contest),
                 fixed_rates(contest)]
    moved = sum(c.moved for c in contest.cells.values())
    if moved:
        parts.append(f"The leader changed during {moved} runs.")
    results.write("Beside etcd", results.command_line("bench"),
                  "\n\n".join(parts))


if __name__ == "__main__":
    main()
