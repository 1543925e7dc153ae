"""What was acknowledged survives power cuts, errors of the disk and a full
disk; raftd --check tells a good directory from a damaged one."""

import os
import random
import shutil
import time

import pytest

from lib import process, web
from lib.cluster import ENGINES, Run
from lib.faults import CUT_MODES, Disks, SmallDisk, flip
from lib.load import FAIL, OK, UNKNOWN, Load, unique_puts
from lib.proof import check_unique_puts, fetch
from lib.wait import wait_until

TINY = {"METCD_SNAPSHOT_LOG_BYTES": "65536", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536"}
ROUNDS = int(os.environ.get("METCD_ROUNDS", "4"))
SEED = int(os.environ.get("METCD_SEED", "1"))


def check_round(cluster, load, revision, keys):
    """What check_unique_puts says, of this round's keys; (revision, keys) as
    they are now."""
    check_unique_puts(cluster, load.ops, revision, keys)
    kv = cluster.node(1).status()["kv"]
    return kv["revision"], kv["keys"]


def test_power_cuts_under_load_lose_no_acknowledged_write(make_cluster):
    """Of one node, two or all of them, at any moment of writes, snapshots and
    cuts of the log; what was not synced is gone, torn or out of order."""
    cluster = make_cluster(ENGINES, env=TINY, start=False)
    disks = Disks(cluster)
    cluster.start()
    rng = random.Random(SEED)
    revision = keys = 0
    sample = {}
    for round_ in range(ROUNDS):
        load = Load(cluster, unique_puts(b"p%d" % round_, pad=300),
                    clients=9, timeout=3.0, seed=SEED * 1000 + round_)
        cut = rng.sample(cluster.nodes, rng.choice((1, 1, 2, 3, 3)))
        mode = rng.choice(CUT_MODES)
        seed = rng.randrange(1 << 30)
        print(f"round {round_}: cut {mode} seed {seed} of "
              f"{[n.id for n in cut]}", flush=True)
        with load:
            load.wait_for(rng.randrange(1, 600), 30)
            for n in cut:
                disks.power_cut(n, mode, seed)
            if len(cut) == 1:
                load.wait_for(50, 30)
        for n in cut:
            n.start()
        cluster.wait_ready(30)
        revision, keys = check_round(cluster, load, revision, keys)
        done = [op for op in load.ops if op.outcome == OK]
        sample.update((op.key, op.value) for op in done[-3:] + done[:1])
    for n in cluster.nodes:
        assert fetch(n, sample) == sample


# --- errors ---

@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_an_error_of_the_log_ends_raftd_and_loses_nothing(make_cluster, call,
                                                          error):
    """On each node in turn, under load; never tried again by the process that
    saw it."""
    cluster = make_cluster(ENGINES, start=False)
    cluster.expected = r"process died process=raftd .*exit=74"
    disks = Disks(cluster)
    cluster.start()
    with Load(cluster, unique_puts(), clients=9, rate=100) as load:
        for n in cluster.nodes:
            load.wait_for(50)
            since = n.mark()
            pid = n.pids()["raftd"]
            disks.rules(n, f"{call}:nth=3,errno={error},path=raft/wal/*,"
                        "prog=raftd")
            n.wait_logged(rf"process died process=raftd pid={pid} exit=74",
                          since)
            disks.rules(n, "")
            told = n.logged(r" error raftd", since)
            assert told, "it must say why"
            wait_until("it has a new pid", lambda: n.pids().get(
                "raftd", pid) != pid)
            n.wait_ready()
    assert {op.outcome for op in load.ops} <= {OK, FAIL, UNKNOWN}
    assert sum(op.outcome == OK for op in load.ops) >= 150
    check_unique_puts(cluster, load.ops)


def test_errors_of_snapshot_files_harm_nothing_else(make_cluster):
    """They are told and tried again later; the node goes on."""
    cluster = make_cluster(["lmdb"], start=False,
                           env={"METCD_SNAPSHOT_COUNT": "50"})
    disks = Disks(cluster)
    node = cluster.start().node(1)
    pids = node.pids()
    with Load(cluster, unique_puts(), clients=4, rate=100) as load:
        for rule in ("write:nth=2,errno=EIO", "fsync:nth=1",
                     "rename:nth=1", "write:nth=1,errno=ENOSPC"):
            since = node.mark()
            disks.rules(node, f"{rule},path=raft/snap/*,prog=raftd")
            node.wait_logged("(warn|error) +raftd.*snapshot", since, 20)
            since = node.mark()
            disks.rules(node, "")
            node.wait_logged("snapshot file index=", since, 20)
    assert {op.outcome for op in load.ops} == {OK}
    assert node.pids() == pids
    check_unique_puts(cluster, load.ops)


# --- a full disk ---

def put_until_507(node, size, seconds=20.0):
    """{key: value} of what went through, until it is refused."""
    held = {}
    deadline = time.monotonic() + seconds
    with web.Session(node.client) as s:
        while time.monotonic() < deadline:
            key = b"fill/%d" % len(held)
            value = os.urandom(size)
            r = s.request("PUT", web.target(key), value)
            if r.status == 507:
                return held, r.problem(507)
            assert r.status == 201, r
            held[key] = value
    raise AssertionError("writes are not refused")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk_refuses_writes_in_time_and_recovers_by_itself(
        make_cluster, engine):
    """The reserve is 64 MiB of a disk as small as this; what LevelDB may
    write without being asked, when it merges tables or is opened, must fit
    into it."""
    cluster = make_cluster([engine], start=False)
    node = cluster.node(1)
    disk = SmallDisk(node, 320 << 20)
    try:
        disk.fill(92 << 20)
        node.start()
        node.wait_ready()
        pids = node.pids()
        held, _ = put_until_507(node, 100_000)
        assert len(held) > 10
        left = disk.free()
        assert left > 0, "refused too late"
        # It stays so, and what is there can be read.
        for i in range(20):
            assert node.request("PUT", f"no/{i}", b"v").status == 507
        assert fetch(node, held) == held
        assert fetch(node, held, stale=True) == held
        assert node.get("no/1").status == 404
        assert node.pids() == pids, "nobody had to end"
        assert disk.free() > 0
        # Space comes back: so does service, without anybody's help.
        disk.clear()
        wait_until("writes are taken again", lambda: node.request(
            "PUT", "again", b"v").status in (201, 204), 10, 0.1)
        assert node.pids() == pids
        node.put("more", b"v")
        # And a restart when it is full again finds everything.
        disk.fill(left)
        node.kill_all()
        node.start()
        node.wait_ready()
        assert fetch(node, held) == held
        disk.clear()
        wait_until("writes are taken again", lambda: node.request(
            "PUT", "again", b"v").status in (201, 204), 10, 0.1)
        node.kill_all()
    finally:
        disk.close()


# --- raftd --check ---

@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A stopped node's directory with two snapshots and several segments."""
    from lib.cluster import Cluster
    with Cluster(["lmdb"], env={"METCD_WAL_SEGMENT_BYTES": "65536",
                                "METCD_SNAPSHOT_LOG_BYTES": "0",
                                "METCD_LOG_KEEP_BYTES": "0"}) as cluster:
        node = cluster.start().node(1)
        for i in range(60):
            node.put(f"check/{i}", os.urandom(10_000))
            if i in (19, 39):
                r = web.request(node.admin, "POST", "/v1/snapshot", b"")
                assert r.status == 200
        status = node.status()
        assert node.terminate()[0] == 0
        copy = tmp_path_factory.mktemp("check") / "good"
        shutil.copytree(node.path("raft"), copy / "raft")
        yield str(copy), status


def contents(directory):
    return {os.path.join(root, name): open(os.path.join(root, name),
                                           "rb").read()
            for root, _, names in os.walk(directory) for name in names}


def segments(directory):
    wal = os.path.join(directory, "raft", "wal")
    return [os.path.join(wal, n) for n in sorted(os.listdir(wal))
            if n.endswith(".wal")]


def test_check_prints_what_is_in_a_good_directory(good):
    directory, status = good
    before = contents(directory)
    r = Run("raftd", "--check", directory)
    assert (r.code, r.complaints()) == (0, []), r
    text = r.out.decode()
    assert f"last={status['raft']['last']} " in text
    assert f"term={status['term']} " in text
    assert text.count("segment ") == len(segments(directory)) > 2
    assert text.count("snapshot file=") == 2 and text.endswith("ok\n")
    again = Run("raftd", "--check", os.path.join(directory, "raft"))
    assert again.out == r.out
    assert contents(directory) == before, "--check is read-only"


def test_check_names_file_and_offset_of_damage(good, tmp_path):
    directory, _ = good
    for number, at in ((0, 10), (0, 5000), (1, 200), (-2, -40000),
                       (-1, 300)):
        damaged = str(tmp_path / f"{number}-{at}")
        shutil.copytree(directory, damaged)
        path = segments(damaged)[number]
        flip(path, at)
        before = contents(damaged)
        r = Run("raftd", "--check", damaged)
        name = os.path.basename(path)
        assert r.code == 74 and r.out.endswith(b"damaged\n"), r
        lines = [line for line in r.complaints() if name in line]
        assert lines and "offset=" in lines[0], r
        assert contents(damaged) == before
        node = Run("raftd", "--data-dir", damaged, "--cluster",
                   "127.0.0.1:1")
        assert node.code == 74 and any(
            name in line for line in node.complaints()), node


def test_check_misses_a_segment(good, tmp_path):
    directory, _ = good
    damaged = str(tmp_path / "missing")
    shutil.copytree(directory, damaged)
    os.unlink(segments(damaged)[1])
    r = Run("raftd", "--check", damaged)
    assert r.code == 74 and len(r.complaints()) >= 1, r


def test_check_of_a_directory_that_is_not_there(scratch):
    r = Run("raftd", "--check", os.path.join(scratch, "nothing"))
    assert r.code in (66, 74) and len(r.complaints()) == 1, r
