"""A byte that changes below the engine is found, told, and healed."""

import glob
import os
import random
import subprocess

import pytest

from lib import process, web
from lib.cluster import REPO, program
from lib.faults import SmallDisk, find_in_files, flip
from lib.load import OK, Load, unique_puts
from lib.metcdctl import ctl
from lib.proof import check_unique_puts, fetch
from lib.wait import wait_until

OFTEN = {"METCD_CHECK_INTERVAL_MS": "200"}
VALUE = b"the value that somebody damages, byte by byte"


def damage_files(node, value=VALUE):
    """Stop the node and change a byte of this value in its store's files."""
    assert node.terminate()[0] == 0
    places = find_in_files(node.path("kv"), value)
    assert places, "the engine does not keep the value as it is"
    for path, offset in places:
        flip(path, offset + 4)


def damage(node):
    """The same; with LevelDB below its checksums, by the tool that writes
    through the engine."""
    if node.engine == "lmdb":
        damage_files(node)
        return
    assert node.terminate()[0] == 0
    tool = "build/gcc/tests/lib/flip"
    subprocess.run(["make", "-s", tool], cwd=REPO, check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([os.path.join(REPO, tool), node.engine,
                    node.path("kv", node.engine), "damaged"], check=True)


def diverged(node):
    return node.status()["kv"].get("diverged")


def wait_serving(node):
    """It answers; unlike wait_ready, also when it has found its damage."""
    def serves():
        try:
            return node.get("before/1", timeout=2).status == 200
        except OSError:
            return False
    wait_until(f"node {node.id} serves", serves)


def prepare(cluster):
    """Some keys on all nodes, all of them applied."""
    first = cluster.node(1)
    for i in range(30):
        first.put("before/%d" % i, b"%d" % i)
    first.put("damaged", VALUE)
    for i in range(30):
        first.put("later/%d" % i, b"%d" % i)
    return cluster.check_same_state()


def heal(cluster, node):
    r = ctl(node, "rebuild")
    assert r.code == 0, r
    wait_until(f"node {node.id} is well again", lambda:
               node.status()["kv"]["connected"] and not diverged(node)
               and node.is_ready(), 20)
    cluster.check_same_state()
    r = ctl(cluster.nodes, "status", "--cluster")
    assert r.code == 0 and b"hashes: equal on 3 nodes" in r.out, r
    assert node.get("damaged", query="?consistency=stale").body == VALUE


@pytest.mark.parametrize("engine", ["lmdb", "leveldb"])
def test_a_damaged_value_is_found_by_reading_and_healed(make_cluster, engine):
    """Nobody touches the key: the node's own reading of all keys finds it."""
    cluster = make_cluster([engine, "memory", "leveldb"], env=OFTEN)
    prepare(cluster)
    node = cluster.node(1)
    assert ctl(cluster.nodes, "status", "--cluster").code == 0
    damage(node)
    node.start()
    wait_serving(node)
    wait_until("the damage is in its status", lambda: diverged(node))
    r = web.request(node.admin, "GET", "/readyz")
    assert r.problem(503) == "corrupt", r
    assert [c["name"] for c in r.json()["checks"] if not c["ok"]] == ["state"]
    assert "rebuild" in r.json()["detail"]
    lines = node.logged("error kvd.*store is damaged")
    assert lines and "--rebuild" in lines[0].string
    r = ctl(cluster.nodes, "status", "--cluster")
    assert r.code == 1 and b"DIVERGED: node 1" in r.out, r
    assert b"DIVERGED: node 2" not in r.out
    for other in cluster.nodes[1:]:
        assert not diverged(other)
    heal(cluster, node)


def test_a_hash_that_went_wrong_is_found_by_comparison_through_the_log(
        make_cluster):
    """The damaged key is written over: what is stored is right again, the
    hash is not.  Reading all keys is slower than that here."""
    cluster = make_cluster(["lmdb", "memory", "leveldb"],
                           env={"METCD_CHECK_INTERVAL_MS": "1500"})
    prepare(cluster)
    node = cluster.node(1)
    damage(node)
    node.start()
    wait_serving(node)
    node.put("damaged", VALUE)
    hashes = {s["kv"]["hash"] for s in cluster.settled()}
    assert len(hashes) == 2, "the hash has no teeth"
    r = ctl(cluster.nodes, "status", "--cluster")
    assert r.code == 1 and b"HASH MISMATCH: node 1" in r.out, r
    assert b"HASH MISMATCH: node 2" not in r.out
    wait_until("the nodes' comparison finds it", lambda: diverged(node)
               and node.logged("state differs from another node's"))
    for other in cluster.nodes[1:]:
        other.wait_logged("state differs from another node's")
        assert not diverged(other), "most agree with it"
    heal(cluster, node)


def test_a_rebuild_under_load_fails_no_request(make_cluster):
    cluster = make_cluster(["lmdb", "memory", "leveldb"], env=OFTEN)
    prepare(cluster)
    with Load(cluster, unique_puts(), rate=100) as load:
        for node in cluster.nodes:
            load.wait_for(50)
            assert ctl(node, "rebuild").code == 0
    assert {op.outcome for op in load.ops} == {OK}
    check_unique_puts(cluster, load.ops, 61, 61)


def spoil_leveldb_log(directory):
    """LevelDB has checksums of its own: it does not open with this."""
    (path, offset), *_ = find_in_files(directory, VALUE)
    flip(path, offset + 4)


def spoil_leveldb_manifest(directory):
    with open(glob.glob(f"{directory}/MANIFEST-*")[0], "r+b") as f:
        f.write(b"x" * 40)


def spoil_lmdb_heads(directory):
    """Both of the pages that LMDB begins with."""
    with open(f"{directory}/data.mdb", "r+b") as f:
        f.write(b"x" * 8192)


def cut_lmdb(directory):
    """The file ends before its pages do: whoever touches one gets SIGBUS."""
    os.truncate(f"{directory}/data.mdb", 2 * 4096)


@pytest.mark.parametrize("engine, spoil", [
    ("leveldb", spoil_leveldb_log), ("leveldb", spoil_leveldb_manifest),
    ("lmdb", spoil_lmdb_heads), ("lmdb", cut_lmdb)])
def test_a_store_that_cannot_be_read_is_set_aside_and_made_anew(
        make_cluster, engine, spoil):
    """Nobody has to do anything; the old one is there until the new one is
    complete, and the two other processes never end."""
    cluster = make_cluster([engine, "memory", "lmdb"], env=OFTEN)
    cluster.expected = r"process died process=kvd .*(exit=74|signal=7)"
    before = prepare(cluster)
    node = cluster.node(1)
    kv = node.path("kv", engine)
    assert node.terminate()[0] == 0
    spoil(kv)
    since = node.mark()
    node.start()
    # At the start, or when the page is read; by the scrub if by nobody else.
    node.wait_logged("error kvd.*it is set aside and made anew", since)
    node.wait_ready()
    cluster.check_same_state()
    assert node.status()["kv"]["keys"] == before[0]["kv"]["keys"]
    node.wait_logged("removed the damaged store", since)
    wait_until("it is gone", lambda: not os.path.exists(kv + ".damaged"))
    for name in ("raftd", "httpd"):
        assert not node.logged(f"process died process={name}", since)
    assert node.get("damaged", query="?consistency=stale").body == VALUE
    # And the new one is a store like any other.
    node.kill_all()
    since = node.mark()
    node.start()
    node.wait_ready()
    assert not node.logged("set aside", since)
    cluster.check_same_state()


def test_a_damaged_store_is_removed_when_there_is_no_room_for_two(
        make_cluster):
    cluster = make_cluster(["leveldb"], start=False)
    node = cluster.node(1)
    disk = SmallDisk(node, 320 << 20)
    try:
        node.start()
        node.wait_ready()
        rng = random.Random(1)
        held = {b"%d" % i: rng.randbytes(500_000) for i in range(60)}
        for key, value in held.items():
            node.put(key, value)
        assert node.terminate()[0] == 0  # then all of it is in the store
        kv = os.path.join(disk.dir, "kv", "leveldb")
        spoil_leveldb_manifest(kv)
        disk.fill(20 << 20)
        since = node.mark()
        node.start()
        node.wait_logged("error kvd.*there is no room to keep it", since)
        node.wait_ready()
        assert not os.path.exists(kv + ".damaged")
        assert fetch(node, held, stale=True) == held
        node.kill_all()
    finally:
        node.kill_all()
        disk.close()


def test_a_damaged_store_stays_while_there_is_no_new_one(make_cluster):
    """Without raftd there is nothing to make it from: what was set aside is
    kept, and a second one does not take its place."""
    cluster = make_cluster(["leveldb"])
    node = cluster.node(1)
    for i in range(20):
        node.put("key/%d" % i, VALUE)
    kv = node.path("kv", "leveldb")
    damage_files(node)
    first = {os.path.basename(p) for p in glob.glob(kv + "/*")}
    for _ in range(2):
        with open(node.log_path, "ab") as log:
            since = node.mark()
            alone = subprocess.Popen(
                [*process.DIES_WITH_US, program("kvd"), "--data-dir",
                 node.dir, "--engine", "leveldb"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        node.wait_logged("ready engine=leveldb applied=0", since)
        alone.terminate()
        assert alone.wait(10) == 0
        there = {os.path.basename(p) for p in glob.glob(kv + ".damaged/*")}
        assert first <= there
        spoil_leveldb_manifest(kv)
    node.start()
    node.wait_ready()
    node.wait_logged("removed the damaged store", 0)
    assert node.status()["kv"]["keys"] == 20
