"""Load: client threads with persistent connections that write down what they
asked, when, and what became of it."""

import http.client
import math
import random
import threading
import time

from . import web
from .wait import wait_until

OK = "ok"            # done
FAIL = "fail"        # certainly not done: 503, or the connection was refused
UNKNOWN = "unknown"  # perhaps done: 504, or the connection broke


class Op:
    """One request.  value: what was put, or what a get found (None: no such
    key).  call, ret: monotonic seconds; ret is infinite when unknown."""

    __slots__ = ("client", "node", "kind", "key", "value", "call", "ret",
                 "outcome", "status", "revision")

    def __init__(self, client, node, kind, key, value):
        self.client = client
        self.node = node
        self.kind = kind
        self.key = key
        self.value = value
        self.call = self.ret = 0.0
        self.outcome = None
        self.status = 0
        self.revision = None

    def __repr__(self):
        return (f"{self.call:.6f}..{self.ret:.6f} c{self.client} n{self.node} "
                f"{self.kind} {self.key!r} {self.value!r} {self.outcome} "
                f"{self.status} rev={self.revision}")


def perform(session, op):
    """Carry out op on a session and fill in its outcome."""
    path = web.target(op.key)
    op.call = time.monotonic()
    try:
        session.connect()
    except OSError:
        op.outcome, op.ret = FAIL, time.monotonic()
        return
    op.call = time.monotonic()
    try:
        if op.kind == "put":
            r = session.request("PUT", path, op.value)
        elif op.kind == "delete":
            r = session.request("DELETE", path)
        else:
            r = session.request("GET", path)
    except (OSError, http.client.HTTPException):
        op.outcome, op.ret = UNKNOWN, math.inf
        return
    op.ret = time.monotonic()
    op.status = r.status
    if r.status == 503:
        op.outcome = FAIL
    elif r.status == 504:
        op.outcome, op.ret = UNKNOWN, math.inf
    elif op.kind == "get" and r.status in (200, 404):
        op.outcome = OK
        op.value = r.body if r.status == 200 else None
        op.revision = r.revision
    elif op.kind == "put" and r.status in (201, 204):
        op.outcome = OK
        op.revision = r.revision
    elif op.kind == "delete" and r.status == 204:
        op.outcome = OK
    else:
        raise AssertionError(f"an answer that is not in the contract: {r}")


def unique_puts(prefix=b"u", pad=0):
    """Every write to a key of its own: then the store's revision counts the
    writes that were applied, and the keys show which.  pad: bytes that each
    value has more."""
    padding = b"." * pad

    def choose(rng, client, count):
        key = b"%s/%d/%d" % (prefix, client, count)
        return "put", key, b"%s=%d" % (key, rng.getrandbits(64)) + padding
    return choose


def registers(keys, puts=0.45, deletes=0.05):
    """Few keys, many writers and readers; every value is written once."""
    def choose(rng, client, count):
        key = b"r/%d" % rng.randrange(keys)
        dice = rng.random()
        if dice < puts:
            return "put", key, b"%d.%d" % (client, count)
        if dice < puts + deletes:
            return "delete", key, None
        return "get", key, None
    return choose


class Load:
    """with Load(cluster, choose) as load: ...; then load.ops.

    roam: each request goes to a node by chance; else client i stays with
    node i modulo their number.  rate: requests a second of one client."""

    def __init__(self, cluster, choose, clients=6, nodes=None, roam=False,
                 rate=None, timeout=10.0, seed=1):
        self.nodes = list(nodes or cluster.nodes)
        self.choose = choose
        self.clients = clients
        self.roam = roam
        self.period = 1.0 / rate if rate else 0.0
        self.timeout = timeout
        self.seed = seed
        self.stopping = threading.Event()
        self.lists = [[] for _ in range(clients)]
        self.errors = []
        self.threads = []

    def _client(self, number):
        rng = random.Random(self.seed * 1000 + number)
        sessions = [web.Session(n.client, self.timeout) for n in self.nodes]
        done = self.lists[number]
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                at = (rng.randrange(len(sessions)) if self.roam
                      else number % len(sessions))
                kind, key, value = self.choose(rng, number, len(done))
                op = Op(number, self.nodes[at].id, kind, key, value)
                perform(sessions[at], op)
                done.append(op)
                pause = self.period - (time.monotonic() - began)
                if op.outcome == FAIL:
                    pause = max(pause, 0.01)
                if pause > 0:
                    self.stopping.wait(pause)
        except BaseException as e:  # shown by stop()
            self.errors.append(e)
        finally:
            for s in sessions:
                s.close()

    def start(self):
        for i in range(self.clients):
            t = threading.Thread(target=self._client, args=(i,), daemon=True)
            self.threads.append(t)
            t.start()
        return self

    def count(self, outcome=OK):
        return sum(op.outcome == outcome for ops in self.lists
                   for op in list(ops))

    def wait_for(self, more, seconds=20.0):
        """Until so many more requests were answered."""
        goal = self.count() + more
        wait_until(f"{more} more requests are answered",
                   lambda: self.errors or self.count() >= goal, seconds, 0.02)

    def stop(self):
        """Stop and give all operations, in the order of their calls."""
        self.stopping.set()
        for t in self.threads:
            t.join(self.timeout + 5)
        self.threads = []
        if self.errors:
            raise self.errors[0]
        return self.ops

    @property
    def ops(self):
        return sorted((op for ops in self.lists for op in ops),
                      key=lambda op: op.call)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.stopping.set()
            for t in self.threads:
                t.join(self.timeout + 5)
