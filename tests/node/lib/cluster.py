"""Nodes of metcd as real processes, each with a data directory of its own,
and clusters of them."""

import glob
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import process, web
from .wait import wait_until

REPO = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
BIN = os.environ.get("METCD_BIN", os.path.join(REPO, "bin"))
DAEMONS = ("raftd", "kvd", "httpd")
ENGINES = ("memory", "lmdb", "leveldb")

# Traces of a bug of ours in a log, whatever the test was about.
BUG = re.compile(r"[Aa]ssertion|Sanitizer|runtime error:|panic|Fatal error"
                 r"|stack smashing|corrupted size|free\(\): "
                 r"|signal=(4|6|7|8|11)\b|exit=(1|70|71|74|127)\b")

_given_ports = set()
everything = []  # clusters not yet closed


def program(name):
    return os.path.join(BIN, name)


def free_port():
    """A port nobody listens on, below those that the kernel gives to
    outgoing connections, and never the same one twice."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        if port in _given_ports:
            continue
        with socket.socket() as s:
            try:
                s.bind((web.HOST, port))
            except OSError:
                continue
        _given_ports.add(port)
        return port


def read_lines(path):
    """Lines of a text file; none if there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


class Node:
    """One metcd and its three children."""

    def __init__(self, cluster, number, engine):
        self.cluster = cluster
        self.id = number
        self.engine = engine
        self.client = free_port()
        self.admin = free_port()
        self.peer = free_port()
        self.dir = os.path.join(cluster.dir, f"n{number}")
        self.log_path = os.path.join(cluster.dir, f"n{number}.log")
        self.process = None
        self.dying = []   # what was killed: pid, when it began
        self.env = {}     # of this node alone, over the cluster's
        self.inside = []  # in front of the command: where it runs
        self.stderr = None  # in place of the log file
        self.joins = False  # a cluster that there is

    def arguments(self):
        c = self.cluster
        return ["--id", str(self.id), "--cluster", c.peers(),
                "--listen", f"{web.HOST}:{self.client}",
                "--admin-listen", f"{web.HOST}:{self.admin}",
                "--data-dir", self.dir,
                *(["--engine", self.engine] if self.engine else []),
                "--heartbeat-ms", str(c.heartbeat_ms),
                "--election-ms", str(c.election_ms),
                *(["--join"] if self.joins else [])]

    def start(self, engine=None, through=()):
        """Start it, with the command `through` in front; does not wait.
        Main thread only."""
        assert self.process is None
        if engine is not None:
            self.engine = engine
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.inside, *process.DIES_WITH_US, *through,
                 program("metcd"), *self.arguments()],
                stdin=subprocess.DEVNULL, stdout=log,
                stderr=log if self.stderr is None else self.stderr,
                env={**os.environ, **self.cluster.env, **self.env})

    def is_ready(self):
        try:
            return web.request(self.admin, "GET", "/readyz",
                               timeout=5).status == 200
        except OSError:
            return False

    def wait_ready(self, seconds=15.0):
        wait_until(f"node {self.id} is ready", self.is_ready, seconds)

    def pids(self):
        """{"metcd": pid, "raftd": pid, ...} of what runs now."""
        if self.process is None:
            return {}
        found = process.children(self.process.pid)
        found["metcd"] = self.process.pid
        return found

    def kill(self, name, sig=signal.SIGKILL):
        """Kill one daemon of the node; its pid."""
        pid = self.pids()[name]
        process.kill(pid, sig)
        return pid

    def kill_all(self):
        """SIGKILL to every process of the node at once, as a power cut (but
        for the disk's cache) would."""
        self.kill_all_begin()
        self.kill_all_end()

    def kill_all_begin(self):
        self.dying = [(pid, process.begun(pid))
                      for pid in self.pids().values()]
        for pid, _ in self.dying:
            process.kill(pid)

    def kill_all_end(self):
        if self.process is not None:
            self.process.wait()
            self.process = None
        wait_until(f"processes of node {self.id} are gone", self.sweep)

    def sweep(self):
        """Kill whatever is left of the node; True when nothing was.  One that
        is dying has no command line any more."""
        self.dying = [(pid, begun) for pid, begun in self.dying
                      if process.is_alive(pid)
                      and process.begun(pid) == begun]
        left = process.mentioning(self.dir) + [p for p, _ in self.dying]
        for pid in left:
            process.kill(pid)
        return not left

    def terminate(self, seconds=10.0):
        """SIGTERM to metcd; (exit code, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        took = time.monotonic() - began
        self.process = None
        return code, took

    def status(self):
        return web.request(self.admin, "GET", "/v1/status", timeout=5).json()

    def request(self, method, key, body=None, headers=(), query="",
                timeout=10.0):
        """key: what the path's encoding is made from."""
        return web.request(self.client, method, web.target(key) + query,
                           body, headers, timeout)

    def get(self, key, **more):
        return self.request("GET", key, **more)

    def put(self, key, value, **more):
        r = self.request("PUT", key, value, **more)
        assert r.status in (201, 204), r
        return r

    def log(self):
        return read_lines(self.log_path)

    def mark(self):
        """The place in the log up to now; for logged()."""
        return len(self.log())

    def logged(self, pattern, since=0):
        """Matches of a pattern in the lines from mark() on."""
        found = (re.search(pattern, line) for line in self.log()[since:])
        return [m for m in found if m]

    def wait_logged(self, pattern, since=0, seconds=15.0):
        """The first match, once there is one."""
        return wait_until(f"node {self.id} logs {pattern!r}",
                          lambda: self.logged(pattern, since), seconds)[0]

    def path(self, *parts):
        """Of a file below the node's directory."""
        return os.path.join(self.dir, *parts)

    def snapshots(self):
        """{index: path} of the snapshot files."""
        snap = self.path("raft", "snap")
        return {int(name[:-5], 16): os.path.join(snap, name)
                for name in os.listdir(snap) if name.endswith(".snap")}

    def warnings(self, since=0):
        """Lines at warn or error from line number `since` on."""
        return [line for line in self.log()[since:]
                if re.search(r"Z (warn|error) ", line)]


class Cluster:
    """Nodes that know each other.  As a context manager it cleans up."""

    def __init__(self, engines=("lmdb",), heartbeat_ms=50, election_ms=500,
                 env=None):
        # Short: the names of sockets below it are limited to 107 bytes.
        self.dir = tempfile.mkdtemp(prefix="metcd-")
        self.heartbeat_ms = heartbeat_ms
        self.election_ms = election_ms
        self.env = dict(env or {})
        self.expected = None  # pattern of lines that bugs() lets pass
        self.nodes = [Node(self, i + 1, e) for i, e in enumerate(engines)]
        everything.append(self)

    def peers(self):
        return ",".join(f"{web.HOST}:{n.peer}" for n in self.nodes)

    def start(self, seconds=15.0):
        for n in self.nodes:
            n.start()
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=15.0):
        for n in self.nodes:
            if n.process is not None:
                n.wait_ready(seconds)

    def node(self, number):
        return next(n for n in self.nodes if n.id == number)

    def newcomer(self, number, engine="lmdb"):
        """A node that is to join; not started."""
        n = Node(self, number, engine)
        n.joins = True
        self.nodes.append(n)
        return n

    def running(self):
        return [n for n in self.nodes if n.process is not None]

    def leader(self):
        """The node that leads, as it says itself with the highest term."""
        def find():
            best = None
            for n in self.running():
                try:
                    s = n.status()
                except (OSError, ValueError):
                    continue
                if s["role"] == "leader" and (best is None or
                                              s["term"] > best[0]):
                    best = (s["term"], n)
            return best
        return wait_until("some node leads", find)[1]

    def kill_all(self):
        """Every process of every node at once."""
        for n in self.nodes:
            n.kill_all_begin()
        for n in self.nodes:
            n.kill_all_end()

    def settled(self, seconds=20.0):
        """Wait until all running nodes have applied the same index, twice in
        a row, and return their statuses."""
        before = [None]

        def equal():
            try:
                now = [n.status() for n in self.running()]
            except (OSError, ValueError):
                return None
            applied = {s["kv"]["applied"] for s in now}
            commit = {s["raft"]["commit"] for s in now}
            same = (len(applied) == 1 and applied == commit
                    and applied == before[0]
                    and all(s["kv"]["connected"] for s in now))
            before[0] = applied
            return now if same else None
        return wait_until("all nodes have applied the same index", equal,
                          seconds, poll=0.05)

    def check_same_state(self):
        """Equal applied index means equal hash, whatever the engine; the
        statuses."""
        statuses = self.settled()
        first = statuses[0]["kv"]
        for s in statuses[1:]:
            for field in ("applied", "hash", "revision", "keys", "bytes"):
                assert s["kv"][field] == first[field], \
                    f"kv.{field} differs: {[x['kv'] for x in statuses]}"
        return statuses

    def logs(self):
        """{path: lines} of what has logged something."""
        paths = sorted(glob.glob(os.path.join(self.dir, "*.log")))
        return {p: lines for p in paths if (lines := read_lines(p))}

    def bugs(self):
        """Lines in the logs that no test may cause, but for those that it
        said it would."""
        return [f"{os.path.basename(path)}: {line}"
                for path, lines in self.logs().items()
                for line in lines
                if BUG.search(line) and not (
                    self.expected and re.search(self.expected, line))]

    def close(self):
        """End everything; the data goes too unless METCD_KEEP is set."""
        if self not in everything:
            return
        everything.remove(self)
        for n in self.nodes:
            if n.process is not None:
                n.kill_all_begin()
        for n in self.nodes:
            n.kill_all_end()
        if not os.environ.get("METCD_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Run:
    """A program that is expected to end soon: its code and its lines."""

    def __init__(self, name, *args, seconds=10.0, stdin=None, **popen):
        p = subprocess.run(
            [name if "/" in name else program(name), *map(str, args)],
            input=stdin, stdin=None if stdin is not None else
            subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=seconds, check=False, **popen)
        self.code = p.returncode
        self.out = p.stdout
        self.err = p.stderr.decode("utf-8", "replace")

    def complaints(self):
        """Lines for people on standard error: all but info and debug."""
        return [line for line in self.err.splitlines()
                if not re.search(r"Z (info|debug) ", line)]

    def __repr__(self):
        return f"<exit {self.code} out={self.out[-300:]!r} err={self.err!r}>"
