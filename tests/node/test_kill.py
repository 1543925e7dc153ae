"""Processes are killed while clients write: what was acknowledged stays, and
nothing happens twice."""

import http.client
import time

import pytest

from lib import process, web
from lib.cluster import DAEMONS, ENGINES
from lib.load import OK, Load, Op, perform, unique_puts
from lib.proof import check_unique_puts
from lib.wait import wait_until

BACK_S = 1.0


def serves(node, ops):
    """It calls itself ready and answers a write and a linearizable read on
    its own port.  The write is noted in ops, as the load's are."""
    key = b"probe/%d" % len(ops)
    op = Op(0, node.id, "put", key, key)
    with web.Session(node.client, 5.0) as s:
        if not node.is_ready():
            return False
        ops.append(op)
        perform(s, op)
        try:
            return op.outcome == OK and s.request(
                "GET", web.target(key)).body == key
        except (OSError, http.client.HTTPException):
            return False


@pytest.mark.parametrize("name", DAEMONS)
def test_a_killed_process_is_back_within_a_second_and_nothing_is_lost(
        make_cluster, name):
    """On each node in turn, whoever leads.  An election is part of it when it
    is the leader's raftd, so its time-out must leave room in the second."""
    cluster = make_cluster(ENGINES, heartbeat_ms=30, election_ms=300)
    slow = {}
    probes = []
    with Load(cluster, unique_puts(), clients=9, rate=80) as load:
        load.wait_for(50)
        for node in cluster.nodes:
            before = node.pids()
            assert set(before) == {"metcd", *DAEMONS}
            died = time.monotonic()
            killed = node.kill(name)
            wait_until(f"{name} of node {node.id} has a new pid",
                       lambda: node.pids().get(name, killed) != killed, 5)
            wait_until(f"node {node.id} serves again",
                       lambda: serves(node, probes))
            took = time.monotonic() - died
            if took > BACK_S:
                slow[node.id] = took
            after = node.pids()
            for other in before:
                same = after[other] == before[other]
                assert same == (other != name), (other, before, after)
            load.wait_for(100)
            cluster.wait_ready()
    check_unique_puts(cluster, load.ops + probes)
    assert not slow, f"seconds until {name} served again, by node: {slow}"


def test_after_a_kill_of_everything_all_acknowledged_writes_are_there(
        make_cluster):
    cluster = make_cluster(ENGINES)
    ops = []
    for round_ in range(3):
        load = Load(cluster, unique_puts(b"u%d" % round_))
        with load:
            load.wait_for(400)
            cluster.kill_all()
        assert sum(op.outcome == "ok" for op in load.ops) >= 400
        ops += load.ops
        for n in cluster.nodes:
            n.start()
        cluster.wait_ready()
        check_unique_puts(cluster, ops)


def test_a_node_killed_alone_catches_up_with_what_it_missed(make_cluster):
    cluster = make_cluster(ENGINES)
    with Load(cluster, unique_puts(), rate=100) as load:
        for node in cluster.nodes:
            load.wait_for(100)
            node.kill_all()
            load.wait_for(100)
            node.start()
            node.wait_ready()
    check_unique_puts(cluster, load.ops)


def test_two_nodes_accept_writes_within_three_election_timeouts(make_cluster):
    """Of the death of the leader's node; measured with the default times."""
    cluster = make_cluster(ENGINES, heartbeat_ms=100, election_ms=1000)
    for round_ in range(2):
        leader = cluster.leader()
        others = [n for n in cluster.nodes if n is not leader]
        died = time.monotonic()
        leader.kill_all()
        for n in others:
            n.put(f"after/{round_}/{n.id}", b"x")
            took = time.monotonic() - died
            assert took < 3 * cluster.election_ms / 1000, f"{took:.3f} s"
        assert cluster.leader() is not leader
        leader.start()
        cluster.wait_ready()
        for n in others:
            assert leader.get(f"after/{round_}/{n.id}").body == b"x"


def test_children_end_with_their_killed_supervisor(make_cluster):
    node = make_cluster().node(1)
    node.put("k", b"v")
    pids = node.pids()
    process.kill(pids["metcd"])
    node.process.wait()
    node.process = None
    wait_until("the children are gone", lambda: not any(
        process.is_alive(p) for p in pids.values()), 2)
    node.start()
    node.wait_ready()
    assert node.get("k").body == b"v"


@pytest.mark.parametrize("engines", [["lmdb"], ENGINES], ids=len)
def test_writes_that_had_to_be_proposed_again_are_applied_once(make_cluster,
                                                               engines):
    """raftd dies again and again with writes under way at full speed: some
    are in its log or on their way to the leader, unanswered, and httpd
    proposes all of them again."""
    cluster = make_cluster(engines, heartbeat_ms=30, election_ms=300)
    with Load(cluster, unique_puts(), clients=12) as load:
        for _ in range(9 // len(engines)):
            for node in cluster.nodes:
                load.wait_for(150)
                killed = node.kill("raftd")
                wait_until("it has a new pid", lambda n=node, p=killed:
                           n.pids().get("raftd", p) != p)
        load.wait_for(150)
    assert {op.outcome for op in load.ops} == {"ok"}
    check_unique_puts(cluster, load.ops)


def test_a_late_write_is_answered_once_kvd_is_back(make_cluster):
    """kvd dies with writes under way on kept connections: they are answered
    late, not failed."""
    cluster = make_cluster(["lmdb"])
    node = cluster.node(1)
    with Load(cluster, unique_puts(), clients=8) as load:
        for _ in range(5):
            load.wait_for(100)
            node.kill("kvd")
    assert {op.outcome for op in load.ops} == {"ok"}
    check_unique_puts(cluster, load.ops)
