"""The systems written in Go: one process a node, all in one directory."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request

from . import settings
from .system import System, port_answers

from lib import process
from lib.cluster import free_port
from lib.wait import wait_until


class GoCluster(System):
    """Children start with command(node); each logs into DIR/nN.log."""

    prefix = None

    def __init__(self, nodes=3):
        self.numbers = range(1, nodes + 1)
        self.dir = tempfile.mkdtemp(prefix=self.prefix)
        self.client = {n: free_port() for n in self.numbers}
        self.peer = {n: free_port() for n in self.numbers}
        self.processes = {}

    def command(self, number):
        raise NotImplementedError

    def start_node(self, number):
        with open(os.path.join(self.dir, f"n{number}.log"), "ab") as log:
            self.processes[number] = subprocess.Popen(
                [*process.DIES_WITH_US, *self.command(number)], cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        for n in self.numbers:
            self.start_node(n)
        for n in self.numbers:
            wait_until(f"{self.name} {n} listens",
                       lambda p=self.client[n]: port_answers(p), 30)
        wait_until(f"{self.name} has a leader", self.leader, 30)

    def kill_node(self, number):
        self.processes[number].kill()
        self.processes.pop(number).wait(10)

    def terminate_node(self, number):
        self.processes[number].terminate()
        self.processes.pop(number).wait(30)

    def stop(self):
        for p in self.processes.values():
            p.kill()
        for p in self.processes.values():
            p.wait(10)
        self.processes = {}
        if not os.environ.get("METCD_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def port_of(self, operation):
        leader = self.leader()
        if operation != "put-follower":
            return self.client[leader]
        return next(p for n, p in self.client.items() if n != leader)

    def pids(self):
        return {n: {self.prefix.rstrip("-"): p.pid}
                for n, p in self.processes.items()}


class EtcdCluster(GoCluster):
    """Debian's etcd.  Its v2 and v3 stores are two systems over it: Etcd."""

    name = "etcd"
    prefix = "etcd-"

    def command(self, number):
        def url(port):
            return f"http://{settings.HOST}:{port}"
        return ["/usr/bin/etcd", "--name", f"n{number}",
                "--data-dir", os.path.join(self.dir, f"n{number}"),
                "--listen-client-urls", url(self.client[number]),
                "--advertise-client-urls", url(self.client[number]),
                "--listen-peer-urls", url(self.peer[number]),
                "--initial-advertise-peer-urls", url(self.peer[number]),
                "--initial-cluster",
                ",".join(f"n{n}={url(p)}" for n, p in self.peer.items()),
                "--initial-cluster-state", "new", "--enable-v2=true",
                "--heartbeat-interval", str(settings.HEARTBEAT_MS),
                "--election-timeout", str(settings.ELECTION_MS),
                "--quota-backend-bytes", str(8 << 30),
                "--logger", "zap", "--log-level", "warn"]

    def leader(self):
        for n in list(self.processes):
            url = f"http://{settings.HOST}:{self.client[n]}/v2/stats/self"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if json.load(answer)["state"] == "StateLeader":
                        return n
            except (OSError, ValueError, KeyError):
                continue
        return None


class Etcd(System):
    """One of the two interfaces of an EtcdCluster that several share; the
    first to start starts it."""

    def __init__(self, cluster, api):
        self.name = f"etcd {api}"
        self.api = api
        self.cluster = cluster

    def start(self):
        if not self.cluster.processes:
            self.cluster.start()

    def stop(self):
        if self.cluster.processes:
            self.cluster.stop()

    def leader(self):
        return self.cluster.leader()

    def port_of(self, operation):
        return self.cluster.port_of(operation)

    def pids(self):
        return self.cluster.pids()


class RaftExample(GoCluster):
    """contrib/raftexample of Debian's etcd source.  It answers a PUT before it
    is committed, and every GET from the node's own map."""

    name = "raftexample"
    prefix = "raftexample-"
    api = "plain"
    operations = ("put", "put-follower", "stale")

    def asked_as(self, operation):
        """The whole target is its key: no "?consistency=stale"."""
        return "get" if operation == "stale" else super().asked_as(operation)

    def command(self, number):
        peers = ",".join(f"http://{settings.HOST}:{p}"
                         for p in self.peer.values())
        return [settings.RAFTEXAMPLE, "--id", str(number), "--cluster", peers,
                "--port", str(self.client[number])]

    def leader(self):
        """Whom its log names last; the example has no other way to ask."""
        found = None
        for n in self.numbers:
            path = os.path.join(self.dir, f"n{n}.log")
            with open(path, encoding="utf-8", errors="replace") as f:
                for m in re.finditer(r"raft.node: \w+ elected leader (\w+) at "
                                     r"term (\d+)", f.read()):
                    term = int(m.group(2))
                    if found is None or term >= found[0]:
                        found = (term, int(m.group(1), 16))
        return found[1] if found else None
