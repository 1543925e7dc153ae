"""Everything at once: processes die and freeze, nodes lose power, engines
change, stores are wiped and made anew, snapshots are damaged, while the log is
cut all the time.  What was acknowledged stays, once, on all nodes."""

import os
import random
import shutil
import signal
import time

from lib import process, web
from lib.cluster import DAEMONS, ENGINES
from lib.faults import CUT_MODES, Disks, flip
from lib.load import Load, unique_puts
from lib.metcdctl import ctl
from lib.proof import check_unique_puts

TINY = {"METCD_SNAPSHOT_LOG_BYTES": "65536", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536", "METCD_SNAPSHOT_COUNT": "500"}
ROUNDS = int(os.environ.get("METCD_ROUNDS", "4"))
SEED = int(os.environ.get("METCD_SEED", "1"))


class Chaos:
    """What can happen to a node; each method leaves it running or about to
    run again."""

    def __init__(self, cluster, disks, rng):
        self.cluster = cluster
        self.disks = disks
        self.rng = rng

    def kill_one(self, node):
        name = self.rng.choice(DAEMONS)
        pid = node.pids().get(name)
        if pid is not None:
            process.kill(pid)
        return name

    def kill_node(self, node):
        node.kill_all()
        node.start()

    def power_cut(self, node):
        mode = self.rng.choice(CUT_MODES)
        seed = self.rng.randrange(1 << 30)
        self.disks.power_cut(node, mode, seed)
        node.start()
        return f"{mode} {seed}"

    def freeze(self, node):
        pid = node.pids().get(self.rng.choice(DAEMONS))
        if pid is None:
            return
        process.kill(pid, signal.SIGSTOP)
        time.sleep(self.rng.random() * 2)
        process.kill(pid, signal.SIGCONT)

    def swap(self, node):
        engine = self.rng.choice(ENGINES)
        ctl(node, "engine", engine, "--timeout-ms", "3000")
        node.engine = engine
        return engine

    def rebuild(self, node):
        ctl(node, "rebuild", "--timeout-ms", "3000")

    def snapshot(self, node):
        try:
            web.request(node.admin, "POST", "/v1/snapshot", b"", timeout=5)
        except OSError:
            pass

    def wipe(self, node):
        node.kill_all()
        shutil.rmtree(node.path("kv"), ignore_errors=True)
        node.start()

    def damage(self, node):
        """Of the newest snapshot; then somebody needs it."""
        files = node.snapshots()
        if not files:
            return
        node.kill_all()
        path = files[max(files)]
        if os.path.exists(path):
            flip(path, self.rng.randrange(os.path.getsize(path)))
        shutil.rmtree(node.path("kv"), ignore_errors=True)
        node.start()

    def act(self):
        node = self.rng.choice(self.cluster.nodes)
        what = self.rng.choice((
            self.kill_one, self.kill_one, self.kill_node, self.power_cut,
            self.power_cut, self.freeze, self.swap, self.swap, self.rebuild,
            self.snapshot, self.wipe, self.damage))
        said = what(node)
        print(f"  node {node.id}: {what.__name__} {said or ''}", flush=True)


def test_chaos(make_cluster):
    cluster = make_cluster(ENGINES, env=TINY, start=False)
    disks = Disks(cluster)
    cluster.start()
    rng = random.Random(SEED)
    chaos = Chaos(cluster, disks, rng)
    revision = keys = 0
    for round_ in range(ROUNDS):
        print(f"round {round_}", flush=True)
        load = Load(cluster, unique_puts(b"c%d" % round_, pad=200), clients=9,
                    timeout=6.0, seed=SEED * 1000 + round_)
        with load:
            load.wait_for(rng.randrange(1, 300), 30)
            for _ in range(rng.randrange(1, 6)):
                chaos.act()
                time.sleep(rng.random() * 0.3)
        cluster.wait_ready(40)
        check_unique_puts(cluster, load.ops, revision, keys)
        kv = cluster.node(1).status()["kv"]
        revision, keys = kv["revision"], kv["keys"]
