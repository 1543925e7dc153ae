"""Several systems loaded in turns, so that what changes on the machine
meanwhile changes for all; medians of the rounds."""

import statistics
import sys
import time

from . import usage, wrk
from .fill import fill


SETTLE_S = 5      # at most
SETTLE_STEP_S = 0.1
SETTLED = 0.1     # of a processor


class Cell:
    """The runs of one system, operation and number of connections."""

    def __init__(self):
        self.runs = []

    def median(self, of):
        return float(statistics.median(of(r) for r in self.runs))

    def _ratio(self, other, of):
        """Median of the rounds' ratios: a machine whose speed changes has
        changed it for both."""
        return statistics.median(
            of(a) / max(of(b), 1e-9) for a, b in zip(self.runs, other.runs))

    def times_rate(self, other):
        return self._ratio(other, lambda r: r.rate) if other else None

    def less_cpu(self, other):
        return other._ratio(self, lambda r: r.cpu_per_1000()) \
            if other else None

    @property
    def rate(self):
        return self.median(lambda r: r.rate)

    @property
    def spread(self):
        """Fastest and slowest round: how far apart, in parts of the
        median."""
        rates = [r.rate for r in self.runs]
        return (max(rates) - min(rates)) / max(self.rate, 1)

    @property
    def failed(self):
        return sum(r.failed for r in self.runs)

    @property
    def moved(self):
        return sum(r.moved for r in self.runs)


def settle(system):
    """Some go on for a while with what they have answered: whoever is next
    is not to pay for that."""
    end = time.monotonic() + SETTLE_S
    used = 1.0
    while used > SETTLED and time.monotonic() < end:
        before = usage.cpu_of(system.all_pids())
        time.sleep(SETTLE_STEP_S)
        after = usage.cpu_of(before)
        used = sum(after[p] - t for p, t in before.items()) / SETTLE_STEP_S


class Contest:
    def __init__(self, systems, operations, connections, rounds, seconds,
                 keys, value_bytes):
        self.systems = systems
        self.operations = operations
        self.connections = connections
        self.rounds = rounds
        self.seconds = seconds
        self.keys = keys
        self.value_bytes = value_bytes
        self.cells = {}
        self.filled = {}
        self.idle = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.systems:
            s.stop()

    def start(self):
        for s in self.systems:
            say(f"{s.name}: start")
            s.start()
            if s.needs_keys:
                self.filled[s.name] = fill(s, self.keys, self.value_bytes)

    def measure_idle(self, seconds):
        """Processor time of each system while nobody is loaded, as a part of
        one processor."""
        for s in self.systems:
            settle(s)
        before = {s.name: usage.cpu_of(s.all_pids()) for s in self.systems}
        time.sleep(seconds)
        for s in self.systems:
            after = usage.cpu_of(before[s.name])
            self.idle[s.name] = sum(
                after[p] - t for p, t in before[s.name].items()) / seconds

    def run(self):
        for number in range(self.rounds):
            turn = number % len(self.systems)
            order = self.systems[turn:] + self.systems[:turn]
            for operation in self.operations:
                for connections in self.connections:
                    for s in order:
                        self.once(s, operation, connections, number)
            say(f"round {number + 1} of {self.rounds}")

    def once(self, system, operation, connections, number):
        if operation not in system.operations:
            return
        self.cells.setdefault((system.name, operation, connections),
                              Cell()).runs.append(
            wrk.run(system, operation, connections, self.seconds, self.keys,
                    self.value_bytes, number + 1))
        settle(system)

    def cell(self, system, operation, connections):
        return self.cells.get((system.name, operation, connections))

    def best(self, start, operation, connections):
        """The cell with the highest rate among systems whose name starts so,
        or None."""
        cells = [c for (name, o, n), c in self.cells.items()
                 if name.startswith(start) and (o, n)
                 == (operation, connections)]
        return max(cells, key=lambda c: c.rate, default=None)


def say(what):
    print(what, file=sys.stderr, flush=True)
