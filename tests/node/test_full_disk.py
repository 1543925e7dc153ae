"""A disk that is full, of one node of three, and ENOSPC at every place: the
others go on, the node says so, and all is well by itself when there is space
again."""

import os
import random
import re
import signal

import pytest

from lib import web
from lib.cluster import ENGINES
from lib.faults import Disks, SmallDisk
from lib.load import FAIL, OK, UNKNOWN, Load, unique_puts
from lib.proof import check_unique_puts
from lib.snapshot import check_held, fall_behind, part_bytes, wait_part
from lib.wait import wait_until

MIB = 1 << 20
DISK = 320 * MIB
RESERVE = 64 * MIB  # what raftd keeps of a disk below 640 MiB
# So that the log is cut now and then.
SMALL = {"METCD_SNAPSHOT_LOG_BYTES": str(4 * MIB),
         "METCD_LOG_KEEP_BYTES": "0",
         "METCD_WAL_SEGMENT_BYTES": str(MIB)}


@pytest.fixture
def small_disks():
    """small_disks(cluster): each node on a small disk of its own."""
    made = []

    def make(cluster, size=DISK):
        for n in cluster.nodes:
            made.append(SmallDisk(n, size))
        return {n.id: d for n, d in zip(cluster.nodes, made)}
    yield make
    for d in made:
        d.node.kill_all()
        d.close()


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_full_disk_of_one_node_stops_nobody_else(make_cluster, small_disks,
                                                   role):
    """First nearly full: the node refuses what is proposed on it, leads no
    more, and still takes part.  Then full: it lets entries pass by."""
    cluster = make_cluster(ENGINES, env=SMALL, start=False)
    disks = small_disks(cluster)
    cluster.start()
    leader = cluster.leader()
    full = leader if role == "leader" else next(
        n for n in cluster.nodes if n is not leader)
    others = [n for n in cluster.nodes if n is not full]
    disk = disks[full.id]
    pids = {n.id: n.pids() for n in cluster.nodes}
    taken = []  # by the node itself: keys

    def put(key):
        status = full.request("PUT", key, b"v").status
        if status in (201, 204):
            taken.append(key)
        return status
    first = Load(cluster, unique_puts(b"first"), clients=6, nodes=others)
    with first:
        first.wait_for(100)
        disk.fill(RESERVE - 8 * MIB)
        wait_until("it refuses with 507", lambda: put("own") == 507)
        wait_until("it leads no more", lambda: full.status()["role"]
                   != "leader", 20)
        first.wait_for(300)
        for i in range(5):
            r = full.request("PUT", "refused/%d" % i, b"v")
            assert r.problem(507) == "no_space"
    applied = full.status()["kv"]["applied"]
    then = Load(cluster, unique_puts(b"then"), clients=6, nodes=others)
    with then:
        # What others propose is stored from the reserve.
        then.wait_for(100)
        wait_until("it goes on applying", lambda: full.status()["kv"][
            "applied"] > applied + 10)
        disk.fill(RESERVE // 4 - 4 * MIB, "more")
        full.wait_logged("the disk is full: nothing is added to the log", 0)
        then.wait_for(500)
        assert disk.free() > 0
    assert {op.outcome for op in first.ops} == {OK}, "the others failed"
    assert {op.outcome for op in then.ops} == {OK}, "the others failed"
    assert fetchable(full, first.ops), "what it has can be read there"
    # Space comes back: so does the node, without anybody's help.
    disk.clear("more")
    disk.clear()
    wait_until("writes are taken again", lambda: put("again") != 507, 15,
               0.1)
    check_unique_puts(cluster, first.ops + then.ops, len(taken),
                      len(set(taken)))
    assert {n.id: n.pids() for n in cluster.nodes} == pids, "somebody died"


def fetchable(node, ops):
    with web.Session(node.client) as s:
        return all(s.request("GET", web.target(op.key) +
                             "?consistency=stale").body == op.value
                   for op in ops[:100])


# call, file, program: a log or store that cannot be written ends its process,
# which comes back; a snapshot file is tried again later.
PLACES = [("write", "raft/wal/*", "raftd"), ("fsync", "raft/wal/*", "raftd"),
          ("rename", "raft/wal/*", "raftd"), ("open", "raft/wal/*", "raftd"),
          ("write", "raft/snap/*", "raftd"), ("open", "raft/snap/*", "raftd"),
          ("write", "kv/lmdb/*", "kvd"), ("fsync", "kv/lmdb/*", "kvd"),
          ("write", "kv/leveldb/*", "kvd"), ("fsync", "kv/leveldb/*", "kvd"),
          ("open", "kv/leveldb/*", "kvd"),
          ("rename", "kv/leveldb/*", "kvd")]


@pytest.mark.parametrize("call, path, program", PLACES)
def test_enospc_at_any_place_loses_nothing(make_cluster, call, path, program):
    """For a while every such call fails; the others go on meanwhile."""
    engine = "leveldb" if "leveldb" in path else "lmdb"
    cluster = make_cluster([engine, "memory", "lmdb"], start=False, env={
        "METCD_SNAPSHOT_COUNT": "100", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536",
        "METCD_LEVELDB_WRITE_BUFFER_BYTES": "65536"})
    cluster.expected = rf"process died process={program} .*exit=74"
    disks = Disks(cluster)
    cluster.start()
    node = cluster.node(1)
    others = cluster.nodes[1:]
    since = node.mark()
    with Load(cluster, unique_puts(pad=300), clients=6, rate=300,
              nodes=others) as load:
        load.wait_for(100)
        disks.rules(node, f"{call}:errno=ENOSPC,path={path},prog={program}")
        if call == "rename" and program == "kvd":
            node.kill("kvd")  # LevelDB renames only when it is opened
        node.wait_logged(rf"(warn|error) +{program}.*[Nn]o space left|"
                         rf"{program}.*code=no_space", since, 20)
        load.wait_for(100)
        disks.rules(node, "")
        load.wait_for(100)
    assert {op.outcome for op in load.ops} <= {OK, FAIL, UNKNOWN}
    node.wait_ready(20)
    check_unique_puts(cluster, load.ops)


def test_leveldb_leaves_a_nearly_full_disk_its_reserve(make_cluster,
                                                       small_disks):
    """It merges tables when it likes to, and keeps old ones while a snapshot
    is sent: with its usual sizes that takes hundreds of megabytes.  Nor does
    a snapshot file take what is left."""
    cluster = make_cluster(["leveldb"], start=False, env={
        **SMALL, "METCD_SNAPSHOT_LOG_BYTES": str(16 * MIB)})
    node = cluster.node(1)
    disk = small_disks(cluster, 512 * MIB)[1]
    node.start()
    node.wait_ready()
    pids = node.pids()
    rng = random.Random(1)
    noise = rng.randbytes(MIB)
    lowest = disk.free()
    with web.Session(node.client, 30.0) as s:
        def write():
            at = rng.randrange(MIB - 30_000)
            return s.request("PUT", "/%d" % rng.randrange(3500),
                             noise[at:at + 30_000]).status

        for _ in range(2):
            for _ in range(3000):
                status = write()
                if status == 507:
                    break
                lowest = min(lowest, disk.free())
            disk.fill(RESERVE + rng.randrange(4, 24) * MIB)
            for _ in range(3000):
                status = write()
                lowest = min(lowest, disk.free())
                if status == 507:
                    break
            assert status == 507, "no bound"
            # What is under way ends; then nothing takes space any more.
            quiet = [disk.free(), 0]

            def is_quiet(quiet=quiet):
                now = disk.free()
                quiet[1] = quiet[1] + 1 if now == quiet[0] else 0
                quiet[0] = now
                return quiet[1] >= 100
            wait_until("LevelDB rests", is_quiet, 20)
            lowest = min(lowest, disk.free())
            disk.clear()
            wait_until("writes are taken again", lambda: write() != 507, 20)
    assert node.pids() == pids, "somebody died"
    assert lowest > RESERVE // 4, f"{lowest} bytes were left"
    assert not [line for line in node.log()
                if re.search("[Nn]o space left", line)]


RATE = MIB // 2  # 8 MiB take 16 s: time enough to fill the disk


def test_a_disk_that_fills_while_a_snapshot_is_received(make_cluster,
                                                        small_disks):
    """The node stops receiving before its reserve is used, says so once, and
    votes; with space again it gets there by itself."""
    cluster = make_cluster(ENGINES, start=False, env={
        "METCD_SNAPSHOT_LOG_BYTES": "0", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536",
        "METCD_SNAPSHOT_RATE_BYTES": str(RATE)})
    disks = small_disks(cluster)
    cluster.start()
    leader, other, behind, held = fall_behind(cluster, 32)
    disk = disks[behind.id]
    since = {n.id: n.mark() for n in cluster.nodes}
    behind.start()
    wait_part(disk.dir, 2 * MIB)
    pids = behind.pids()
    left = RESERVE // 2 + 2 * MIB
    disk.fill(left)
    lowest = [left]

    def refusals(sender):
        lowest[0] = min(lowest[0], disk.free())
        return sender.logged("snapshot refused.*code=no_space",
                             since[sender.id])
    wait_until("it is refused", lambda: refusals(leader))
    wait_until("what was received is gone", lambda: part_bytes(disk.dir) == 0)
    # It has a vote, and the other one needs it.
    leader.kill_all()
    wait_until("the other one leads", lambda: other.status()["role"] ==
               "leader", 20)
    wait_until("it is refused again", lambda: refusals(other), 20)
    assert lowest[0] > RESERVE // 2 - MIB, f"{lowest[0]} bytes were left"
    said = behind.logged("snapshot refused: too little space", since[behind.id])
    assert len(said) == 1, said
    disk.clear()
    behind.wait_logged("snapshot installed", since[behind.id], 40)
    behind.wait_ready(30)
    assert behind.pids() == pids, "somebody died"
    leader.start()
    leader.wait_ready(30)
    cluster.check_same_state()
    check_held(behind, held)


def test_what_is_kept_for_a_slow_node_does_not_fill_the_disk(make_cluster,
                                                             small_disks):
    """A node gets a snapshot while others write, and then reads no more: the
    log from there on is as large as their disks."""
    cluster = make_cluster(["memory"] * 3, start=False, env={
        **SMALL, "METCD_WAL_SEGMENT_BYTES": "65536",
        "METCD_SNAPSHOT_RATE_BYTES": str(RATE)})
    disks = small_disks(cluster, 160 * MIB)
    cluster.start()
    leader, other, behind, held = fall_behind(cluster, 1)
    value = os.urandom(MIB // 4)
    lowest = [160 * MIB]
    with web.Session(leader.client, 30.0) as s:
        def write(count):
            for i in range(count):
                status = s.request("PUT", "/%d" % (i % 8), value).status
                assert status in (201, 204), status
                lowest[0] = min(lowest[0], disks[leader.id].free(),
                                disks[other.id].free())
        since = {n.id: n.mark() for n in cluster.nodes}
        behind.start()

        def transferred():
            write(8)
            return behind.logged("snapshot installed", since[behind.id])
        wait_until("it got one", transferred, 30)
        behind.kill("raftd", signal.SIGSTOP)
        write(800)
        behind.kill("raftd", signal.SIGCONT)
    assert lowest[0] > 40 * MIB, f"{lowest[0]} bytes were left"
    behind.wait_ready(40)
    cluster.check_same_state()
    check_held(behind, held)
    for n in (leader, other):
        wait_until("the log is cut", lambda n=n: disks[n.id].free() >
                   100 * MIB)


# Of a disk so small raftd keeps a quarter.
TIGHT = 192 * MIB
TIGHT_RESERVE = TIGHT // 4


@pytest.mark.parametrize("engine", ["lmdb", "leveldb"])
def test_kvd_keeps_its_state_while_there_is_no_room_for_another(
        make_cluster, small_disks, engine):
    """raftd has room for the snapshot that the node needs, and then kvd has
    none to load it beside what it has: it refuses, says so and answers from
    that, until there is."""
    cluster = make_cluster([engine] * 3, start=False, env={
        "METCD_SNAPSHOT_LOG_BYTES": "0", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536"})
    disks = small_disks(cluster, TIGHT)
    cluster.start()
    cluster.leader().put("before", b"old")
    cluster.settled()
    leader, _, behind, held = fall_behind(cluster, 128)
    snap = os.path.join(disks[leader.id].dir, "raft", "snap")
    size = max(os.path.getsize(os.path.join(snap, name))
               for name in os.listdir(snap))
    disk = disks[behind.id]
    disk.fill(size + TIGHT_RESERVE // 2 + 2 * MIB)
    since = behind.mark()
    behind.start()
    behind.wait_logged("snapshot installed", since, 30)
    pids = behind.pids()
    refused = r"error kvd.*the disk has no room to load a state"
    behind.wait_logged(refused, since)
    # Again, when it was tried again: nothing was half done meanwhile.
    wait_until("it is tried again", lambda: len(
        behind.logged(refused, since)) > 1, 20)
    assert not behind.logged("loading begins", since)
    assert engine + ".load" not in os.listdir(os.path.join(disk.dir, "kv"))
    r = behind.get("before", query="?consistency=stale")
    assert (r.status, r.body) == (200, b"old")
    assert behind.status()["kv"]["keys"] == 1
    disk.clear()
    behind.wait_logged("loaded index=", since, 30)
    behind.wait_ready(30)
    assert behind.pids() == pids, "somebody died"
    cluster.check_same_state()
    check_held(behind, held)
