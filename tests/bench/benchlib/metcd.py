"""metcd, any number of nodes, one engine."""

from . import settings, usage
from .system import System

from lib.cluster import Cluster


class Metcd(System):
    api = "plain"

    def __init__(self, engine, nodes=3, env=None):
        self.name = f"metcd {engine}"
        self.engine = engine
        self.count = nodes
        self.env = env or {}
        self.cluster = None

    def start(self):
        self.cluster = Cluster([self.engine] * self.count,
                               heartbeat_ms=settings.HEARTBEAT_MS,
                               election_ms=settings.ELECTION_MS, env=self.env)
        self.cluster.start(60)
        self.cluster.leader()

    def stop(self):
        self.cluster.close()

    def leader(self):
        return self.cluster.leader().id

    def node(self, operation):
        leader = self.cluster.leader()
        if operation != "put-follower":
            return leader
        return next(n for n in self.cluster.nodes if n is not leader)

    def port_of(self, operation):
        return self.node(operation).client

    def pids(self):
        return {n.id: n.pids() for n in self.cluster.nodes}

    def memory_mib(self, number, program):
        return usage.memory_kib(self.pids()[number][program])[0] / 1024

    def store_mib(self, number):
        """Of the engine's files; the log is not among them."""
        return usage.disk_bytes(self.cluster.node(number).path("kv")) \
            / (1 << 20)
