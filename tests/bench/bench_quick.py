#!/usr/bin/python3
"""In short: is it faster or slower than before, beside etcd and the ceiling?

    make bench-quick      ROUNDS=3 SECONDS=1 KEYS=20000 SYSTEMS="lmdb etcd
                          ceiling"

Less than 90 seconds.  PUT with 1 and 64 connections, linearizable GET with
64."""

from benchlib import lineup, results, settings
from benchlib.contest import Contest
from benchlib.system import OPERATIONS
from benchlib.table import Table

ROUNDS = settings.number("ROUNDS", 3)
SECONDS = settings.number("SECONDS", 1)
KEYS = settings.number("KEYS", 20000)
BYTES = settings.number("BYTES", 256)
SYSTEMS = settings.words("SYSTEMS", "lmdb etcd ceiling")
LOADS = (("put", 1), ("put", 64), ("get", 64))


class Quick(Contest):
    def run(self):
        for number in range(self.rounds):
            for operation, connections in LOADS:
                for s in self.systems:
                    self.once(s, operation, connections, number)


def main():
    settings.data_directory()
    table = Table("load", "connections", "system", "requests/s", "spread",
                  "p50 us", "CPU s/1000", "failed", "x etcd",
                  "less CPU, x", "x ceiling")
    with Quick(lineup.systems(SYSTEMS, BYTES), (), (), ROUNDS, SECONDS, KEYS,
               BYTES) as contest:
        contest.start()
        contest.run()
        for operation, n in LOADS:
            etcd = contest.best("etcd", operation, n)
            ceiling = contest.best("ceiling", operation, n)
            for s in contest.systems:
                c = contest.cell(s, operation, n)
                table.add(OPERATIONS[operation], n, s.name, round(c.rate),
                          f"{c.spread:.0%}",
                          round(c.median(lambda r: r.p50_us)),
                          c.median(lambda r: r.cpu_per_1000()), c.failed,
                          c.times_rate(etcd), c.less_cpu(etcd),
                          c.times_rate(ceiling))
    results.write("Quick", results.command_line("bench-quick"), str(table))


if __name__ == "__main__":
    main()
