"""Snapshots: taken and the log cut under load, loaded into kvd, sent to nodes
that are behind, and damaged ones."""

import os
import random
import shutil
import time

import pytest

from lib import process, web
from lib.cluster import ENGINES, Run
from lib.faults import flip
from lib.load import OK, Load, unique_puts
from lib.metcdctl import ctl
from lib.proof import check_unique_puts
from lib.snapshot import (check_held, cut_the_log, fall_behind, fill,
                          take_snapshot, wait_part)
from lib.wait import wait_until

# So small that snapshots and cuts come all the time.
TINY = {"METCD_SNAPSHOT_LOG_BYTES": "32768", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536", "METCD_SNAPSHOT_COUNT": "300"}
# Only when ordered, and nothing is kept for slow nodes.
ORDERED = {"METCD_SNAPSHOT_LOG_BYTES": "0", "METCD_LOG_KEEP_BYTES": "0",
           "METCD_WAL_SEGMENT_BYTES": "65536"}
MIB = 1 << 20
# However slow the disk is: longer than this is a hang.
HANG_S = 120.0


def lose(directory):
    assert os.path.isdir(directory)
    shutil.rmtree(directory)


# --- taking ---

def test_snapshots_and_cut_logs_under_load_change_nothing(make_cluster):
    """And every node returns from them: killed, and with kvd wiped."""
    cluster = make_cluster(ENGINES, env=TINY)
    load = Load(cluster, unique_puts(pad=200), clients=9)
    with load:
        for n in cluster.nodes:
            wait_until("its log was cut more than twice", lambda n=n:
                       load.errors or
                       len(n.logged(r"log cut first=")) > 2, HANG_S)
        for n in cluster.nodes:
            load.wait_for(100, HANG_S)
            n.kill("raftd")
    assert {op.outcome for op in load.ops} == {OK}
    check_unique_puts(cluster, load.ops)
    for n in cluster.nodes:
        first = n.status()["raft"]["first"]
        assert first > 1 and 1 <= len(n.snapshots()) <= 2
        n.kill_all()
        lose(n.path("kv"))
        since = n.mark()
        n.start()
        n.wait_ready()
        assert n.logged("kvd gets a snapshot", since), "from the log alone?"
    check_unique_puts(cluster, load.ops)


def test_a_snapshot_is_taken_when_ordered(make_cluster):
    node = make_cluster(env=ORDERED).node(1)
    fill(node, "ordered", 50, 1000)
    # A new leader notes its raft directory, which is an entry of the log.
    node.wait_logged("configuration changed")
    applied = node.status()["kv"]["applied"]
    index = take_snapshot(node)
    assert index >= applied and list(node.snapshots()) == [index]
    assert node.status()["raft"]["snapshot"] == index
    assert take_snapshot(node) == index, "nothing new, so nothing is taken"
    node.put("one-more", b"v")
    r = ctl(node, "snapshot")
    assert (r.code, r.err) == (0, ""), r
    newer = int(r.out.strip().removeprefix(b"index="))
    assert newer > index
    assert sorted(node.snapshots()) == [index, newer]
    r = web.request(node.admin, "GET", "/v1/snapshot")
    assert r.status == 405 and r.headers["Allow"] == "POST"


def test_an_ordered_snapshot_has_what_was_acknowledged(make_cluster):
    """However shortly before: kvd says later than it answers how far it is."""
    node = make_cluster(["leveldb"], env=ORDERED).node(1)
    for i in range(10):
        before = node.put("key", b"%d" % i)
        applied = node.status()["raft"]["commit"]
        assert before.status in (201, 204) and take_snapshot(node) >= applied


# --- loading ---

@pytest.mark.parametrize("engine", ENGINES)
def test_a_kvd_that_is_killed_while_it_loads_gets_there(make_cluster, engine):
    """Again and again, at different places; raftd too."""
    node = make_cluster([engine], env=ORDERED).node(1)
    held = fill(node, "load", 1500, 16384)
    cut_the_log(node)
    before = node.status()["kv"]
    rng = random.Random(engine)
    hits, longest = {"kvd": 0, "raftd": 0}, 0.03
    since = None
    for _ in range(10):
        if since is None or node.logged("loaded index", since):
            node.kill_all()
            lose(node.path("kv"))
            since = node.mark()
            node.start()
        wait_until("it loads", lambda s=since: node.logged(
            "loading begins", s), 20, 0.001)
        whom = "raftd" if hits["kvd"] == 2 else "kvd"
        pid = node.logged(rf"started process={whom} pid=(\d+)")[-1][1]
        time.sleep(rng.random() * longest)  # somewhere in it
        late = node.logged("loaded index", since)
        if late:
            longest /= 2
            continue
        since = node.mark()
        process.kill(int(pid))
        hits[whom] += 1
        if hits["raftd"] == 1:
            break
        # The kill may have come too late after all.
        if not wait_until("it begins anew", lambda s=since: node.logged(
                "loading begins|ready engine.* applied=[1-9]", s), 20, 0.001
                )[0][0].startswith("loading"):
            hits[whom] -= 1
            since = None
    assert hits["kvd"] > 0, "the load is too small for this machine"
    node.wait_ready(30)
    wait_until("it has applied everything", lambda:
               node.status()["kv"]["applied"] >= before["applied"])
    after = node.status()["kv"]
    assert (after["hash"], after["keys"]) == (before["hash"], before["keys"])
    check_held(node, held)


@pytest.mark.parametrize("engine", ENGINES)
def test_kvd_comes_back_from_snapshot_and_log_with_any_engine(make_cluster,
                                                              engine):
    """Wiped while the node runs, and with entries behind the snapshot."""
    cluster = make_cluster([engine], env=ORDERED)
    node = cluster.node(1)
    held = fill(node, "wiped", 100, 1000)
    cut_the_log(node)
    held.update(fill(node, "behind", 100, 100))
    before = node.status()["kv"]
    since = node.mark()
    node.kill_all()
    lose(node.path("kv"))
    node.start()
    node.wait_ready()
    node.wait_logged("loaded index=", since)
    check_held(node, held)
    after = node.status()["kv"]
    for field in ("hash", "keys", "revision", "bytes"):
        assert after[field] == before[field]
    since = node.mark()
    assert ctl(node, "rebuild").code == 0
    node.wait_logged("loaded index=", since)
    wait_until("it has applied the log too", lambda:
               node.status()["kv"]["hash"] == before["hash"])
    check_held(node, held)


# --- nodes that are behind ---

RATE = 4 * MIB
BEHIND = {**ORDERED, "METCD_SNAPSHOT_RATE_BYTES": str(RATE)}


def test_a_follower_behind_the_log_gets_a_snapshot_and_goes_on_with_it(
        make_cluster):
    """Over a connection of its own, at the rate that is allowed, while all
    others go on; killed in the middle it does not begin anew."""
    cluster = make_cluster(ENGINES, env=BEHIND)
    leader, other, behind, held = fall_behind(cluster, 48)
    size = max(os.path.getsize(p) for p in leader.snapshots().values())
    since = {n.id: n.mark() for n in cluster.nodes}
    term = leader.status()["term"]
    load = Load(cluster, unique_puts(), clients=4, nodes=[leader, other],
                rate=50)
    with load:
        load.wait_for(50)
        behind.start()
        began = time.monotonic()
        wait_part(behind.dir, size // 3)
        behind.kill("raftd")
        resumed = wait_until("the transfer goes on", lambda: [
            m for m in leader.logged(rf"snapshot transfer node={behind.id} "
                                     r".*from=(\d+)", since[leader.id])
            if int(m[1]) > 0], 20)
        assert int(resumed[0][1]) >= size // 4, "it begins anew"
        behind.wait_logged("snapshot installed", since[behind.id], 30)
        took = time.monotonic() - began
        behind.wait_ready(30)
        load.wait_for(50)
    assert took > 0.8 * size / RATE - 0.5, f"{size} bytes in {took:.1f} s"
    assert {op.outcome for op in load.ops} == {OK}
    slowest = max(op.ret - op.call for op in load.ops)
    assert slowest < 1.0, f"a request took {slowest:.3f} s"
    for n in (leader, other):
        assert not n.logged("campaigning|became leader", since[n.id])
    assert leader.status()["term"] == term, "heartbeats were late"
    cluster.check_same_state()
    check_held(behind, held)


def test_a_node_far_behind_is_caught_up_by_whoever_leads(make_cluster):
    """The sender dies in the middle, and so the leader is another node, with
    another file."""
    cluster = make_cluster(ENGINES, env=BEHIND)
    leader, other, behind, held = fall_behind(cluster, 32)
    since = behind.mark()
    with Load(cluster, unique_puts(), clients=4, nodes=[leader, other],
              rate=50) as load:
        behind.start()
        wait_part(behind.dir, 2 * MIB)
        load.wait_for(10)
        leader.kill("raftd")
        behind.wait_logged("snapshot installed", since, 40)
        behind.wait_ready(30)
        load.wait_for(50)
    assert {op.outcome for op in load.ops} == {OK}
    cluster.check_same_state()
    check_held(behind, held)


# --- damage ---

PLACES = {"header": 24, "middle": None, "end": -20, "cut off": "cut off",
          "empty": "empty", "longer": "longer", "another": "another"}


def damage(path, place, older=None):
    if place == "cut off":
        os.truncate(path, os.path.getsize(path) - 1000)
    elif place == "empty":
        os.truncate(path, 0)
    elif place == "longer":
        with open(path, "ab") as f:
            f.write(b"more")
    elif place == "another":  # a good file, under this one's name
        shutil.copyfile(older, path)
    elif place is None:
        flip(path, os.path.getsize(path) // 2)
    else:
        flip(path, place)


@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_snapshot_is_set_aside_and_the_older_one_used(make_cluster,
                                                                place):
    node = make_cluster(["lmdb"], env=ORDERED).node(1)
    held = fill(node, "damaged", 60, 10_000)
    older, newer = cut_the_log(node)
    held.update(fill(node, "behind", 20, 100))
    before = node.status()["kv"]
    node.kill_all()
    path = node.snapshots()[newer]
    damage(path, PLACES[place], node.snapshots()[older])
    check = Run("raftd", "--check", node.dir)
    assert check.code == 74 and b"damaged" in check.out, check
    assert os.path.exists(path), "--check changes nothing"
    lose(node.path("kv"))
    since = node.mark()
    node.start()
    node.wait_ready()
    node.wait_logged(rf"loaded index={older}\b", since)
    assert not node.logged(rf"loaded index={newer}\b", since)
    name = os.path.basename(path)
    assert node.logged(rf"error raftd.*{name}", since)
    wait_until("it is set aside", lambda: os.path.exists(path + ".damaged"))
    assert not os.path.exists(path)
    check_held(node, held)
    after = node.status()["kv"]
    assert (after["hash"], after["keys"]) == (before["hash"], before["keys"])
    assert take_snapshot(node) > newer


def test_a_snapshot_that_is_damaged_while_raftd_runs_is_not_loaded(
        make_cluster):
    node = make_cluster(["leveldb"], env=ORDERED).node(1)
    held = fill(node, "damaged", 60, 10_000)
    older, newer = cut_the_log(node)
    path = node.snapshots()[newer]
    flip(path, os.path.getsize(path) - 5000)
    since = node.mark()
    assert ctl(node, "rebuild").code == 0
    node.wait_logged(rf"loaded index={older}\b", since)
    assert node.logged(rf"error raftd.*{os.path.basename(path)}", since)
    node.wait_ready()
    check_held(node, held)


def test_a_node_without_a_good_snapshot_asks_the_others(make_cluster):
    cluster = make_cluster(ENGINES, env=ORDERED)
    leader = cluster.leader()
    node = next(n for n in cluster.nodes if n is not leader)
    held = fill(leader, "asked", 60, 10_000)
    for n in cluster.nodes:
        cut_the_log(n, b"cut%d" % n.id)
    cluster.settled()
    node.kill_all()
    for path in node.snapshots().values():
        flip(path, os.path.getsize(path) // 2)
    lose(node.path("kv"))
    since = node.mark()
    node.start()
    node.wait_logged("loaded index=", since, 30)
    node.wait_ready()
    assert len(node.logged("error raftd.*is set aside", since)) == 2
    cluster.check_same_state()
    check_held(node, held)


def test_a_follower_whose_only_snapshot_is_damaged_asks_the_others(
        make_cluster):
    """It came from another node, so the log begins behind it and there is no
    older one."""
    cluster = make_cluster(ENGINES, env=ORDERED)
    leader, _, behind, held = fall_behind(cluster, 8)
    since = behind.mark()
    behind.start()
    behind.wait_logged("snapshot installed", since, 30)
    behind.wait_ready(30)
    cluster.settled()
    (index, path), = behind.snapshots().items()
    assert behind.status()["raft"]["first"] == index + 1
    behind.kill_all()
    flip(path, os.path.getsize(path) // 2)
    lose(behind.path("kv"))
    since = behind.mark()
    behind.start()
    behind.wait_logged("error raftd.*is set aside", since)
    behind.wait_logged("other nodes are asked", since, 20)
    behind.wait_logged("loaded index=", since, 30)
    assert os.path.exists(path + ".damaged")
    behind.wait_ready(30)
    cluster.check_same_state()
    check_held(behind, held)


def test_a_snapshot_that_is_damaged_at_the_sender_is_not_installed(
        make_cluster):
    """The receiver finds it out, and the sender then looks again, sets it
    aside and sends another one."""
    cluster = make_cluster(ENGINES, env=ORDERED)
    leader, _, behind, held = fall_behind(cluster, 16)
    newest = max(leader.snapshots())
    path = leader.snapshots()[newest]
    flip(path, os.path.getsize(path) // 2)
    since = {n.id: n.mark() for n in cluster.nodes}
    behind.start()
    leader.wait_logged("snapshot refused.*code=corrupt", since[leader.id], 30)
    leader.wait_logged(rf"error raftd.*is set aside.*index={newest}\b",
                       since[leader.id], 20)
    behind.wait_logged("snapshot installed", since[behind.id], 40)
    assert not behind.logged(rf"snapshot installed index={newest}\b",
                             since[behind.id])
    behind.wait_ready(30)
    cluster.check_same_state()
    check_held(behind, held)


def test_a_log_that_is_lost_alone_is_not_begun_anew(make_cluster):
    """What the node has promised is gone: nobody may pretend otherwise."""
    node = make_cluster(["lmdb"], env=ORDERED).node(1)
    fill(node, "lost", 20, 1000)
    cut_the_log(node)
    assert node.terminate()[0] == 0
    lose(node.path("raft", "wal"))
    since = node.mark()
    node.start()
    assert node.process.wait(10) == 78
    node.process = None
    assert node.logged("error raftd.*wal is empty but snap is not", since)
    assert len(node.snapshots()) == 2
