"""kvd comes and goes, with this engine or another, from any applied index;
raftd brings it up to date."""

import os
import shutil
import subprocess

import pytest

from lib import process, web
from lib.cluster import ENGINES, free_port, program
from lib.load import Load, unique_puts
from lib.proof import check_unique_puts
from lib.wait import wait_until


@pytest.mark.parametrize("engine", ENGINES)
def test_a_node_returns_with_every_other_engine(make_cluster, engine):
    """From 0: the other engine's directory is new each time."""
    cluster = make_cluster([engine, "memory", "lmdb"])
    node = cluster.node(1)
    with Load(cluster, unique_puts(), nodes=cluster.nodes[1:],
              rate=100) as load:
        for other in [e for e in ENGINES if e != engine] + [engine]:
            load.wait_for(100)
            assert node.terminate()[0] == 0
            node.start(engine=other)
            node.wait_ready()
            assert node.status()["kv"]["engine"] == other
    check_unique_puts(cluster, load.ops)


@pytest.mark.parametrize("engine", ENGINES)
def test_kvd_catches_up_from_any_applied_index(make_cluster, engine):
    """Stopped and killed at different places, with the directory as it is
    then, without it, and with an older copy of it."""
    cluster = make_cluster([engine, "memory", "leveldb"])
    node = cluster.node(1)
    kv = os.path.join(node.dir, "kv")
    old = os.path.join(cluster.dir, "old-kv")
    with Load(cluster, unique_puts(), nodes=cluster.nodes[1:],
              rate=100) as load:
        load.wait_for(100)
        assert node.terminate()[0] == 0
        shutil.copytree(kv, old)
        node.start()
        load.wait_for(50)
        node.wait_ready()
        node.kill_all()  # behind by what comes now
        load.wait_for(100)
        node.start()
        node.wait_ready()
        load.wait_for(50)
        assert node.terminate()[0] == 0
        load.wait_for(100)
        shutil.rmtree(kv)  # wiping it is always safe
        node.start()
        node.wait_ready()
        load.wait_for(50)
        node.kill_all()
        shutil.rmtree(kv)
        shutil.copytree(old, kv)  # from the middle of the log
        node.start()
        node.wait_ready()
    check_unique_puts(cluster, load.ops)


class Daemons:
    """One node without metcd: each process started by hand."""

    def __init__(self, directory):
        self.dir = os.path.join(directory, "by-hand")
        self.client, self.admin = free_port(), free_port()
        self.id = 1
        self.running = {}
        self.log = open(os.path.join(directory, "by-hand.log"), "ab")
        peer = free_port()
        self.args = {
            "raftd": ["--id", "1", "--cluster", f"127.0.0.1:{peer}",
                      "--heartbeat-ms", "50", "--election-ms", "500"],
            "httpd": ["--listen", f"127.0.0.1:{self.client}",
                      "--admin-listen", f"127.0.0.1:{self.admin}"],
        }

    def start(self, name, *args):
        self.running[name] = subprocess.Popen(
            process.DIES_WITH_US + [program(name), "--data-dir", self.dir,
                                    *self.args.get(name, []), *args],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def stop(self, name):
        p = self.running.pop(name)
        p.terminate()
        assert p.wait(5) == 0, name

    def is_ready(self):
        try:
            return web.request(self.admin, "GET", "/readyz").status == 200
        except OSError:
            return False

    def status(self):
        return web.request(self.admin, "GET", "/v1/status").json()

    def close(self):
        for p in self.running.values():
            p.kill()
            p.wait()
        self.log.close()


@pytest.fixture
def daemons(scratch):
    d = Daemons(scratch)
    yield d
    d.close()


@pytest.mark.parametrize("order", [("raftd", "kvd", "httpd"),
                                   ("httpd", "kvd", "raftd"),
                                   ("kvd", "httpd", "raftd")], ids="-".join)
def test_daemons_may_start_in_any_order(daemons, order):
    for name in order:
        daemons.start(name)
    wait_until("it is ready", daemons.is_ready)
    assert web.request(daemons.client, "PUT", "/k", b"v").status == 201
    for name in order:
        daemons.stop(name)


def test_the_engine_is_swapped_under_load_without_a_failed_request(daemons):
    """Only kvd is stopped and started; every request is answered, if late."""
    daemons.start("raftd")
    daemons.start("kvd", "--engine", "memory")
    daemons.start("httpd")
    wait_until("it is ready", daemons.is_ready)
    others = {n: daemons.running[n].pid for n in ("raftd", "httpd")}
    with Load(None, unique_puts(), nodes=[daemons], rate=100) as load:
        for engine in ("lmdb", "leveldb", "memory", "lmdb"):
            load.wait_for(100)
            daemons.stop("kvd")
            daemons.start("kvd", "--engine", engine)
            wait_until(f"kvd is back with {engine}", lambda e=engine:
                       daemons.status()["kv"]["connected"]
                       and daemons.status()["kv"]["engine"] == e)
        load.wait_for(100)
    assert {op.outcome for op in load.ops} == {"ok"}
    for name, pid in others.items():
        assert daemons.running[name].pid == pid
        assert daemons.running[name].poll() is None
    with web.Session(daemons.client) as s:
        for op in load.ops:
            assert s.request("GET", web.target(op.key)).body == op.value
    kv = daemons.status()["kv"]
    assert kv["keys"] == kv["revision"] == len(load.ops)
