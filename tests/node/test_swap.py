"""The storage engine of a node is changed while clients write."""

import hashlib
import os
import random
import shutil
import subprocess
import time

import pytest

from lib import process, web
from lib.cluster import program
from lib.load import OK, Load, unique_puts
from lib.metcdctl import ctl
from lib.proof import check_unique_puts
from lib.wait import wait_until

# Every ordered pair once, and back where it began.
ROUND = ("lmdb", "leveldb", "memory", "leveldb", "lmdb", "memory")


def has_only(node, engine):
    """No other engine's directory is left, under whatever name."""
    kv = node.path("kv")
    names = {name.split(".")[0] for name in os.listdir(kv)
             if os.path.isdir(os.path.join(kv, name))}
    return names <= {engine}


def swap(node, engine, seconds=20.0):
    r = ctl(node, "engine", engine, "--timeout-ms", "20000",
            seconds=seconds + 5)
    assert (r.code, r.out) == (0, f"engine={engine}\n".encode()), r
    wait_until(f"node {node.id} has {engine}", lambda:
               node.status()["kv"]["connected"] and
               node.status()["kv"]["engine"] == engine, seconds)


@pytest.mark.parametrize("tiny", [False, True], ids=["log", "snapshots"])
def test_all_six_changes_under_load_fail_no_request(make_cluster, tiny):
    """On each node in turn, with clients on all of them; raftd and httpd stay
    the same processes.  With snapshots: the log is cut all the time."""
    env = {"METCD_SNAPSHOT_COUNT": "200", "METCD_LOG_KEEP_BYTES": "0",
           "METCD_WAL_SEGMENT_BYTES": "65536"} if tiny else {}
    cluster = make_cluster(["memory"] * 3, env=env)
    others = {n.id: {k: v for k, v in n.pids().items() if k != "kvd"}
              for n in cluster.nodes}
    term = cluster.leader().status()["term"]
    with Load(cluster, unique_puts(pad=100), clients=6, rate=100) as load:
        for engine in ROUND:
            for node in cluster.nodes:
                swap(node, engine)
                load.wait_for(50)
                wait_until(f"node {node.id} has removed the old store",
                           lambda n=node, e=engine: has_only(n, e))
    failed = [op for op in load.ops if op.outcome != OK]
    assert not failed, f"{len(failed)} of {len(load.ops)}: {failed[:5]}"
    assert cluster.leader().status()["term"] == term
    for n in cluster.nodes:
        after = n.pids()
        assert {k: after[k] for k in others[n.id]} == others[n.id]
    check_unique_puts(cluster, load.ops)


def test_the_new_engine_is_remembered_and_an_unknown_one_refused(
        make_cluster):
    node = make_cluster(["lmdb"]).node(1)
    node.put("k", b"v")
    swap(node, "leveldb")
    r = ctl(node, "engine", "btree")
    assert r.code == 1 and len(r.complaints()) == 1, r
    assert "memory" in r.err and "leveldb" in r.err
    assert node.status()["kv"]["engine"] == "leveldb"
    assert node.terminate()[0] == 0
    node.engine = None  # no --engine: the last one
    node.start()
    node.wait_ready()
    assert node.status()["kv"]["engine"] == "leveldb"
    assert node.get("k").body == b"v"


def kill_within_change(node, engine, rng, longest):
    """Order the change, kill kvd in the middle of it, and wait until it is
    done; was it in the middle?"""
    since = node.mark()
    order = subprocess.Popen(
        [program("metcdctl"), "engine", engine, "--data-dir", node.dir],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("the change begins, or is over", lambda: node.logged(
        f"changing the engine from.* to={engine}|changed the engine"
        f"|ready engine={engine} applied=[1-9]", since), 20, 0.001)
    pid = node.logged(r"started process=kvd pid=(\d+)")[-1][1]
    time.sleep(rng.random() * longest)
    within = not node.logged("changed the engine|ready engine=", since)
    process.kill(int(pid))
    wait_until(f"it has {engine}", lambda: node.status()["kv"]["connected"]
               and node.pids().get("kvd") != int(pid)
               and node.status()["kv"]["engine"] == engine, 20)
    order.wait(20)
    return within


@pytest.mark.parametrize("one,two", [("lmdb", "leveldb"),
                                     ("lmdb", "memory")])
def test_a_change_that_is_killed_in_the_middle_gets_there(make_cluster, one,
                                                          two):
    """Forth and back, until two were hit."""
    node = make_cluster([one]).node(1)
    rng = random.Random(one + two)
    held = {b"mid/%d" % i: rng.randbytes(16384) for i in range(1000)}
    with web.Session(node.client) as s:
        for key, value in held.items():
            assert s.request("PUT", web.target(key), value).status == 201
    before = node.status()["kv"]
    hits, longest = 0, 0.02
    for attempt in range(8):
        engine = one if attempt % 2 else two
        if kill_within_change(node, engine, rng, longest):
            hits += 1
        else:
            longest /= 2
        wait_until("it has applied everything", lambda:
                   node.status()["kv"]["applied"] >= before["applied"], 20)
        after = node.status()["kv"]
        for field in ("hash", "keys", "revision"):
            assert after[field] == before[field]
        wait_until("the old store is removed", lambda e=engine:
                   has_only(node, e))
        if hits == 2:
            break
    assert hits > 0, "the store is too small for this machine"
    with web.Session(node.client) as s:
        for key, value in held.items():
            assert s.request("GET", web.target(key)).body == value


# --- stores that do not belong here ---

def fingerprint(directory):
    """Of all files below, but for locks and the marker of an open store."""
    found = {}
    for root, _, names in os.walk(directory):
        for name in names:
            if name.lower().startswith("lock") or name in ("OPEN", "LOG",
                                                           "lock.mdb"):
                continue
            with open(os.path.join(root, name), "rb") as f:
                found[os.path.relpath(os.path.join(root, name), directory)] \
                    = hashlib.sha256(f.read()).hexdigest()
    return found


def refused(node):
    """kvd does not take part; its complaint, the same line again and again
    counted once."""
    def complaint():
        return [line for line in node.log() if " error kvd" in line]
    lines = wait_until("kvd complains", complaint)
    assert not node.is_ready()
    return lines


@pytest.mark.parametrize("engine", ["lmdb", "leveldb"])
def test_a_store_of_another_cluster_is_refused_and_left_alone(make_cluster,
                                                              engine):
    mine = make_cluster([engine]).node(1)
    foreign = make_cluster([engine]).node(1)
    mine.put("mine", b"1")
    foreign.put("foreign", b"1")
    assert mine.terminate()[0] == 0 and foreign.terminate()[0] == 0
    shutil.rmtree(mine.path("kv"))
    shutil.copytree(foreign.path("kv"), mine.path("kv"))
    before = fingerprint(mine.path("kv"))
    mine.start()
    lines = refused(mine)
    assert any("another cluster" in line for line in lines), lines
    mine.kill_all()
    if engine == "lmdb":  # leveldb writes a new log at each opening
        assert fingerprint(mine.path("kv")) == before
    shutil.rmtree(foreign.path("kv"))
    shutil.copytree(mine.path("kv"), foreign.path("kv"))
    foreign.start()
    foreign.wait_ready()
    assert foreign.get("foreign").body == b"1"


@pytest.mark.parametrize("engine", ["lmdb", "leveldb"])
def test_a_store_ahead_of_the_log_is_refused_and_left_alone(make_cluster,
                                                            engine):
    cluster = make_cluster([engine])
    node = cluster.node(1)
    node.put("k", b"1")
    assert node.terminate()[0] == 0
    raft = node.path("raft")
    saved = os.path.join(cluster.dir, "raft")
    shutil.copytree(raft, saved)
    node.start()
    node.wait_ready()
    for i in range(20):
        node.put("k%d" % i, b"2")
    assert node.terminate()[0] == 0
    shutil.rmtree(raft)
    shutil.copytree(saved, raft)
    before = fingerprint(node.path("kv"))
    node.start()
    node.wait_logged(" error raftd.*kvd is ahead of the log", 0)
    assert not node.is_ready()
    node.kill_all()
    if engine == "lmdb":
        assert fingerprint(node.path("kv")) == before
