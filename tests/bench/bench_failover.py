#!/usr/bin/python3
"""How long nobody can write when the leader goes.

    make bench-failover    ROUNDS=30 FREEZE_ROUNDS=10 STOP_ROUNDS=10
                           SYSTEMS="lmdb etcd"

Killed: SIGKILL to every process of the leader's node; until the next write is
acknowledged, by whichever node.  A PUT goes to every node each millisecond,
whatever became of those before; one without answer for 100 ms is given up.
Frozen: the same with SIGSTOP, which leaves its connections open, as a power cut
or a pulled cable does.
Stopped: SIGTERM, under 12 clients that write without pause, 4 to each node.
Both systems have the same time-outs: heartbeat 100 ms, election 1,000 ms."""

import signal
import statistics
import time
import urllib.request

from benchlib import results, settings
from benchlib.contest import say
from benchlib.golang import EtcdCluster
from benchlib.metcd import Metcd
from benchlib.probe import Prober
from benchlib.table import Table
from benchlib.writers import Writers

from lib import process
from lib.wait import wait_until

ROUNDS = settings.number("ROUNDS", 30)
FREEZE_ROUNDS = settings.number("FREEZE_ROUNDS", 10)
STOP_ROUNDS = settings.number("STOP_ROUNDS", 10)
SYSTEMS = settings.words("SYSTEMS", "lmdb etcd")
WRITERS = 12
STEADY_S = 0.3   # of writing before a leader goes
AFTER_S = 1.5    # of writing after it was stopped
LONGEST_S = 30


class MetcdNodes(Metcd):
    """With nodes that go and come back."""

    def ports(self):
        return {n.id: n.client for n in self.cluster.nodes}

    def signal(self, number, sig):
        """To every process of the node at once."""
        for pid in self.cluster.node(number).pids().values():
            process.kill(pid, sig)

    def end(self, number):
        self.cluster.node(number).kill_all()

    def terminate(self, number):
        self.cluster.node(number).terminate(30)

    def come_back(self, number):
        self.cluster.node(number).start()
        self.cluster.wait_ready(30)
        self.cluster.settled(60)


class EtcdNodes(EtcdCluster):
    api = "v2"

    def ports(self):
        return self.client

    def signal(self, number, sig):
        self.processes[number].send_signal(sig)

    def end(self, number):
        self.kill_node(number)

    def terminate(self, number):
        self.terminate_node(number)

    def come_back(self, number):
        self.start_node(number)
        wait_until("etcd is healthy", self.is_healthy, 60)

    def is_healthy(self):
        """All nodes: each has a leader and can write."""
        try:
            for port in self.client.values():
                with urllib.request.urlopen(
                        f"http://{settings.HOST}:{port}/health",
                        timeout=5) as answer:
                    if b'"true"' not in answer.read():
                        return False
        except OSError:
            return False
        return True


def make(name):
    return EtcdNodes() if name == "etcd" else MetcdNodes(name)


def one_kill(system, sig):
    """Seconds from the signal to the next acknowledged write."""
    prober = Prober(system.api, system.ports())
    try:
        leader = system.leader()
        end = time.monotonic() + STEADY_S
        while time.monotonic() < end:
            prober.turn()
        at = time.monotonic()
        system.signal(leader, sig)
        prober.forget(leader)
        # Only what was sent afterwards shows that writing is possible.
        answer = prober.until(lambda a: 200 <= a[0] <= 299 and a[2] > at,
                              LONGEST_S)
    finally:
        prober.close()
        system.end(leader)
    system.come_back(leader)
    return answer[3] - at


def one_stop(system):
    """(refused, broken, longest pause of all, of one client)"""
    with Writers(system.api, list(system.ports().values()),
                 WRITERS) as writers:
        time.sleep(STEADY_S)
        leader = system.leader()
        since = time.monotonic()
        system.terminate(leader)
        time.sleep(AFTER_S)
    system.come_back(leader)
    return (writers.refused(), writers.broken(),
            *writers.longest_pause(since))


def kills(systems, title, sig, rounds):
    times = {name: [] for name in systems}
    for number in range(rounds):
        for name, system in systems.items():
            times[name].append(one_kill(system, sig) * 1000)
            say(f"{title} {number + 1}: {name} {times[name][-1]:.0f} ms")
    table = Table("system", "rounds", "median ms", "p90 ms", "least ms",
                  "most ms")
    for name, ms in times.items():
        ms.sort()
        table.add(name, len(ms), round(statistics.median(ms)),
                  round(ms[min(len(ms) - 1, int(len(ms) * 0.9))]),
                  round(ms[0]), round(ms[-1]))
    return f"### {title}\n\n{table}"


def stops(systems):
    table = Table("system", "rounds", "refused requests", "statuses",
                  "broken requests", "longest pause: median ms", "most ms",
                  "of one client: median ms", "most ms ")
    seen = {name: [] for name in systems}
    for number in range(STOP_ROUNDS):
        for name, system in systems.items():
            seen[name].append(one_stop(system))
            say(f"stop {number + 1}: {name} {seen[name][-1]}")
    for name, rounds in seen.items():
        refused = [s for r in rounds for s in r[0]]
        pauses = [r[2] * 1000 for r in rounds]
        alone = [r[3] * 1000 for r in rounds]
        table.add(name, len(rounds), len(refused),
                  " ".join(map(str, sorted(set(refused)))) or "-",
                  sum(r[1] for r in rounds),
                  round(statistics.median(pauses)), round(max(pauses)),
                  round(statistics.median(alone)), round(max(alone)))
    return ("### Stopped\n\nrefused: answered, but not with 2xx; broken: sent, "
            "and the connection\nended without an answer. Both were sent "
            f"again.\n\n{table}")


def main():
    settings.data_directory()
    systems = {name: make(name) for name in SYSTEMS}
    try:
        for s in systems.values():
            s.start()
        parts = []
        if ROUNDS:
            parts.append(kills(systems, "Killed", signal.SIGKILL, ROUNDS))
        if FREEZE_ROUNDS:
            parts.append(kills(systems, "Frozen", signal.SIGSTOP,
                               FREEZE_ROUNDS))
        if STOP_ROUNDS:
            parts.append(stops(systems))
    finally:
        for s in systems.values():
            s.stop()
    results.write("When the leader goes", results.command_line(
        "bench-failover"), "\n\n".join(parts))


if __name__ == "__main__":
    main()
