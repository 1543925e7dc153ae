"""kvd writes its engine later than it answers: what it loses when it is
killed comes back from the log, once; what a slow disk holds up takes no
memory."""

import re
import signal

import pytest

from lib import web
from lib.faults import Disks
from lib.load import OK, Load, unique_puts
from lib.proof import check_unique_puts
from lib.wait import wait_until

STARTED = r"kvd\S* ready engine=\w+ applied=(\d+)"
KEPT = ["lmdb", "leveldb"]
MIB = 1 << 20
WINDOW = 16 * MIB  # FEED_WINDOW_BYTES


def figure(node, name):
    """A gauge of /metrics."""
    text = web.request(node.admin, "GET", "/metrics").body.decode()
    return float(re.search(rf"(?m)^{name} (\S+)$", text).group(1))


@pytest.mark.parametrize("engine", KEPT)
def test_a_kill_between_two_writes_of_the_engine_loses_nothing(make_cluster,
                                                               engine):
    """kvd is behind what it has answered each time it dies; all of that is
    there again, and nothing twice."""
    cluster = make_cluster([engine])
    node = cluster.node(1)
    behind = 0
    with Load(cluster, unique_puts(pad=100), clients=8) as load:
        for _ in range(8):
            load.wait_for(100)
            answered = node.status()["kv"]["applied"]
            since = node.mark()
            node.kill("kvd")
            begun = node.wait_logged(STARTED, since)
            behind += int(begun.group(1)) < answered
        load.wait_for(100)
    assert behind >= 4, "the kills came at other moments than they should"
    assert {op.outcome for op in load.ops} == {OK}
    check_unique_puts(cluster, load.ops)


def own_mib(pid):
    """Memory of its own, without pages of files."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"RssAnon:\s+(\d+) kB", f.read()).group(1)) / 1024


def test_memory_for_writes_is_given_back(make_cluster):
    node = make_cluster(["lmdb"]).node(1)
    kvd = node.pids()["kvd"]
    for i in range(96):
        node.put(f"k{i}", bytes([i]) * (MIB // 4))
    high = own_mib(kvd)
    wait_until("kvd has half of it left",
               lambda: own_mib(kvd) < high / 2, 40, 0.2)
    assert node.pids()["kvd"] == kvd
    for i in range(96):
        assert node.get(f"k{i}").body == bytes([i]) * (MIB // 4)
    node.put("k0", b"again")
    assert node.get("k0").body == b"again"
    assert web.request(node.admin, "POST", "/v1/snapshot", b"").status == 200


@pytest.mark.parametrize("engine", KEPT)
def test_a_clean_stop_writes_all_that_was_answered(make_cluster, engine):
    """So nothing has to be fed again, with the log or without."""
    cluster = make_cluster([engine])
    node = cluster.node(1)
    for round_ in range(3):
        for i in range(20):
            node.put(f"k{i}", b"%d" % round_)
        applied = node.status()["kv"]["applied"]
        since = node.mark()
        node.kill("kvd", signal.SIGTERM)
        begun = node.wait_logged(STARTED, since)
        assert int(begun.group(1)) >= applied
        node.wait_ready()
        assert node.get("k19").body == b"%d" % round_


@pytest.mark.parametrize("engine", KEPT)
def test_an_idle_store_becomes_durable(make_cluster, engine):
    """The last writes do not stay in memory for want of more."""
    cluster = make_cluster([engine])
    node = cluster.node(1)
    node.put("k", b"v")

    def is_durable():
        kv = node.status()["kv"]
        return kv["durable"] == kv["applied"]
    wait_until("all is durable", is_durable)


def test_without_write_back_every_turn_is_written(make_cluster):
    cluster = make_cluster(["lmdb"], env={"METCD_WRITE_BACK_BYTES": "0"})
    node = cluster.node(1)
    for i in range(5):
        node.put("k", b"%d" % i)
        applied = node.status()["kv"]["applied"]
        since = node.mark()
        node.kill("kvd")
        assert int(node.wait_logged(STARTED, since).group(1)) >= applied
        node.wait_ready()


def test_a_failed_write_of_the_engine_ends_kvd_and_loses_nothing(
        make_cluster):
    cluster = make_cluster(["lmdb"], start=False)
    cluster.expected = r"process died process=kvd .*exit=74|lmdb failed"
    disks = Disks(cluster)
    node = cluster.start().node(1)
    with Load(cluster, unique_puts(), clients=4, rate=100) as load:
        load.wait_for(50)
        since = node.mark()
        pid = node.pids()["kvd"]
        disks.rules(node, "write:nth=2,errno=EIO,path=kv/lmdb/*,prog=kvd")
        node.wait_logged(rf"process died process=kvd pid={pid} exit=74",
                         since)
        disks.rules(node, "")
        node.wait_logged(STARTED, since)
        load.wait_for(50)
    assert {op.outcome for op in load.ops} == {OK}
    check_unique_puts(cluster, load.ops)


@pytest.mark.parametrize("engine", KEPT)
def test_a_failed_sync_of_the_engine_makes_the_store_anew(make_cluster,
                                                          engine):
    """Even if the next sync succeeds: what the first one should have written
    may be lost."""
    cluster = make_cluster([engine], start=False)
    cluster.expected = (r"process died process=kvd .*exit=74|lmdb failed|"
                        "cannot sync leveldb|the store is damaged")
    disks = Disks(cluster)
    node = cluster.start().node(1)
    with Load(cluster, unique_puts(), clients=4, rate=100) as load:
        load.wait_for(50)
        since = node.mark()
        pid = node.pids()["kvd"]
        disks.rules(node,
                    f"fsync:nth=1,errno=EIO,path=kv/{engine}/*,prog=kvd")
        node.wait_logged(rf"process died process=kvd pid={pid} exit=74",
                         since)
        disks.rules(node, "")
        node.wait_logged("error kvd.*it is set aside and made anew", since)
        begun = node.wait_logged(STARTED, since)
        load.wait_for(50)
    assert int(begun.group(1)) == 0
    assert {op.outcome for op in load.ops} == {OK}
    check_unique_puts(cluster, load.ops)


def test_a_slow_disk_below_the_engine_takes_no_memory(make_cluster):
    """Writes of the engine are slower than what comes in: kvd's tables fill
    up, raftd's window closes, and requests wait for the disk."""
    cluster = make_cluster(["lmdb"], start=False,
                           env={"METCD_WRITE_BACK_BYTES": str(MIB)})
    disks = Disks(cluster)
    node = cluster.start().node(1)
    pids = node.pids()
    most = 0
    disks.rules(node, "write:delay=15000,path=kv/lmdb/*,prog=kvd")
    with Load(cluster, unique_puts(pad=100000), clients=8,
              timeout=20.0) as load:
        for _ in range(80):
            load.wait_for(10, 60)
            most = max(most, figure(node, "metcd_kv_write_back_bytes"))
        disks.rules(node, "")
    assert {op.outcome for op in load.ops} == {OK}
    assert node.pids() == pids
    # Two tables, each with a window's worth more than it should have.
    assert 2 * MIB < most <= 2 * (MIB + WINDOW) + MIB
    assert 100000 * len(load.ops) > 2 * (MIB + WINDOW) + 16 * MIB
    check_unique_puts(cluster, load.ops)
