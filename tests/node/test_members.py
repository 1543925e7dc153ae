"""Members come, go, are replaced and move, under the hands of their users."""

import re
import shutil
import threading

import pytest

from lib import members
from lib.cluster import Run, free_port
from lib.wait import wait_until


def fill(node, first, last, size=100):
    for i in range(first, last):
        assert node.put(f"k{i}", b"x" * size).status in (201, 204)


def fill_until_cut(node):
    """Write until the log begins later than it did."""
    def cut():
        fill(node, 1000, 1020, 1000)
        return node.status()["raft"]["first"] > 1
    wait_until("the log was cut", cut, 30.0)


def followers(cluster):
    leader = cluster.leader()
    return leader, [n for n in cluster.running() if n is not leader]


def code(reply):
    return reply.json()["code"]


def test_a_node_joins_and_becomes_a_voter_by_itself(make_cluster):
    cluster = make_cluster(["lmdb", "memory", "leveldb"])
    leader, others = followers(cluster)
    fill(leader, 0, 50)
    new = cluster.newcomer(4, "memory")
    new.start()  # before it is a member: it waits
    new.wait_logged("waiting to join: node 4 is not a member yet")
    reply = members.add(others[0], new)  # a follower passes it on
    assert reply.status == 201, reply
    new.wait_ready()
    for n in cluster.nodes:
        members.wait_voters(n, {1, 2, 3, 4})
    fill(new, 50, 60)
    cluster.check_same_state()


def test_added_first_and_started_later_with_a_snapshot(make_cluster):
    cluster = make_cluster(["lmdb"], env={
        "METCD_SNAPSHOT_COUNT": "100", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536"})
    one = cluster.node(1)
    fill(one, 0, 400, 1000)
    fill_until_cut(one)
    new = cluster.newcomer(2, "leveldb")
    assert members.add(one, new).status == 201
    assert members.known(one)[2]["role"] == "learner"
    fill(one, 400, 410)  # a learner that is away is in nobody's way
    new.start()
    new.wait_ready(30.0)
    members.wait_voters(one, {1, 2})
    members.wait_voters(new, {1, 2})
    fill(new, 410, 420)
    cluster.check_same_state()
    # The same command line again: --join is of no account now.
    assert new.terminate()[0] == 0
    new.start()
    new.wait_ready()
    fill(new, 420, 430)
    cluster.check_same_state()


def test_a_learner_stays_one_until_it_is_promoted(make_cluster):
    cluster = make_cluster(["memory"])
    one = cluster.node(1)
    new = cluster.newcomer(2, "memory")
    assert members.add(one, new, promote="manual").status == 201
    reply = members.promote(one, 2)
    assert reply.status == 409 and code(reply) == "member_conflict", reply
    assert "has not caught up" in reply.json()["detail"]
    new.start()
    new.wait_ready()
    assert new.status()["role"] == "learner"
    wait_until("it has caught up",
               lambda: members.promote(one, 2).status == 200, 30.0)
    members.wait_voters(new, {1, 2})
    reply = members.promote(one, 2)
    assert reply.status == 409 and "voter already" in reply.json()["detail"]


def test_a_removed_node_hears_of_it_and_ends(make_cluster):
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"])
    leader, (gone, stays) = followers(cluster)
    fill(leader, 0, 10)
    assert members.remove(stays, gone.id).status == 200
    assert members.ended(gone) == 78
    assert gone.logged("removed from the cluster")
    members.wait_voters(leader, {leader.id, stays.id})
    fill(stays, 10, 20)
    gone.start()  # it says so at once
    assert members.ended(gone) == 78
    # Its id is used up, with whatever directory.
    shutil.rmtree(gone.dir)
    gone.joins = True
    gone.start()
    assert members.ended(gone) == 78
    assert gone.logged("cannot join: .* was removed from the cluster")
    reply = members.add(stays, gone)
    assert reply.status == 409 and "the next free one is 4" in \
        reply.json()["detail"], reply


def test_a_leader_is_removed(make_cluster):
    cluster = make_cluster(["memory", "memory", "memory"])
    leader, others = followers(cluster)
    assert members.remove(leader, leader.id).status == 200
    assert members.ended(leader) == 78
    for n in others:
        members.wait_voters(n, {m.id for m in others})
    fill(others[0], 0, 10)
    # Two are left; the leader of them goes, too.
    last_leader, (last,) = followers(cluster)
    assert members.remove(last, last_leader.id).status == 200
    assert members.ended(last_leader) == 78
    members.wait_voters(last, {last.id})
    fill(last, 10, 20)
    reply = members.remove(last, last.id, force=True)
    assert reply.status == 409 and "only voter" in reply.json()["detail"]


def test_removed_while_it_was_away(make_cluster):
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"])
    leader, (away, stays) = followers(cluster)
    fill(leader, 0, 10)
    away.kill_all()
    assert members.remove(leader, away.id).status == 200
    away.start()
    assert members.ended(away) == 78
    assert away.logged("was removed from its cluster, say 2 of 2")
    fill(stays, 10, 20)


def test_a_wiped_node_is_refused_and_comes_back_as_another(make_cluster):
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"])
    leader, (wiped, other) = followers(cluster)
    fill(leader, 0, 20)
    # Everybody's directory is known to all, and after a restart, too.
    for n in (leader, other):
        n.wait_logged("configuration changed index=")
    for n in (leader, other):
        n.kill_all()
        n.start()
        n.wait_ready()
    wiped.kill_all()
    shutil.rmtree(wiped.dir)
    wiped.start()
    assert members.ended(wiped) == 78
    assert wiped.logged(f"node {wiped.id} had another one")
    wiped.joins = True  # does not help
    shutil.rmtree(wiped.dir)
    wiped.start()
    assert members.ended(wiped) == 78
    assert wiped.logged("cannot join: this raft directory is new")
    assert members.remove(other, wiped.id).status == 200
    new = cluster.newcomer(4)
    new.start()
    assert members.add(other, new).status == 201
    members.wait_voters(new, {leader.id, other.id, 4})
    fill(new, 20, 40)
    cluster.check_same_state()


def test_a_dead_node_is_replaced_under_load(make_cluster):
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"])
    leader, (dead, other) = followers(cluster)
    fill(leader, 0, 50)
    dead.kill_all()
    stop = threading.Event()
    done = []

    def load():
        while not stop.is_set():
            done.append(other.put(f"load{len(done) % 100}", b"y").status)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        new = cluster.newcomer(4)
        new.start()
        reply = members.replace(other, dead.id, new)
        assert reply.status == 202, reply
        for n in (leader, other, new):
            members.wait_voters(n, {leader.id, other.id, 4})
    finally:
        stop.set()
        thread.join(30.0)
    assert set(done) <= {201, 204} and len(done) > 10
    cluster.check_same_state()
    dead.start()
    assert members.ended(dead) == 78


def test_the_leader_is_replaced(make_cluster):
    cluster = make_cluster(["memory", "memory", "memory"])
    leader, others = followers(cluster)
    fill(leader, 0, 10)
    new = cluster.newcomer(7, "memory")  # ids may leave gaps
    new.start()
    assert members.replace(leader, leader.id, new).status == 202
    rest = {n.id for n in others}
    for n in others + [new]:
        members.wait_voters(n, rest | {7})
    assert members.ended(leader) == 78
    fill(new, 10, 20)


def test_a_single_node_is_replaced(make_cluster):
    cluster = make_cluster(["memory"])
    one = cluster.node(1)
    fill(one, 0, 10)
    new = cluster.newcomer(2, "memory")
    new.start()
    assert members.replace(one, 1, new).status == 202
    members.wait_voters(new, {2})
    assert members.ended(one) == 78
    fill(new, 10, 20)
    assert new.get("k0").status == 200


def test_a_change_that_would_cost_the_quorum_is_refused(make_cluster):
    cluster = make_cluster(["memory", "memory", "memory"])
    leader, (dead, other) = followers(cluster)
    dead.kill_all()
    reply = members.remove(leader, other.id)
    assert reply.status == 409 and code(reply) == "quorum_at_risk", reply
    detail = reply.json()["detail"]
    assert re.search(rf"2 voters, 2 of which must be connected.*away: node "
                     rf"{dead.id}\)", detail), detail
    assert "force" in detail
    assert members.remove(other, 9).status == 404
    # Without the dead one it is a cluster of two again.
    assert members.remove(other, dead.id).status == 200
    fill(other, 0, 10)


def test_a_node_moves_to_another_address(make_cluster):
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"])
    leader, (moves, other) = followers(cluster)
    taken = members.update(leader, moves.id, members.address(other))
    assert taken.status == 409 and code(taken) == "member_conflict"
    assert members.update(leader, moves.id, "nowhere").status == 400
    moves.peer = free_port()  # while it runs
    assert members.update(other, moves.id,
                          members.address(moves)).status == 200
    other.wait_logged(rf"link up peer=node {moves.id} "
                      rf"url=tcp://{members.address(moves)}")
    fill(moves, 0, 10)
    assert moves.terminate()[0] == 0
    moves.peer = free_port()  # while it is away
    assert members.update(other, moves.id,
                          members.address(moves)).status == 200
    fill(leader, 10, 20)
    # It cannot know: it is told.
    moves.env["METCD_PEER_LISTEN"] = members.address(moves)
    moves.start()
    moves.wait_ready()
    fill(moves, 20, 30)
    del moves.env["METCD_PEER_LISTEN"]
    assert moves.terminate()[0] == 0
    moves.start()  # now it knows
    moves.wait_ready()
    assert members.known(leader)[moves.id]["peer"] == \
        members.address(moves)
    cluster.check_same_state()


def test_who_knows_nobody_any_more_asks_the_nodes_that_dial_it(make_cluster):
    cluster = make_cluster(["lmdb"])
    one = cluster.node(1)
    fill(one, 0, 10)
    away = cluster.newcomer(2)
    away.start()
    assert members.add(one, away, promote="manual").status == 201
    away.wait_ready()
    away.kill_all()
    new = cluster.newcomer(3)
    new.start()
    assert members.replace(one, 1, new).status == 202
    assert members.ended(one) == 78
    fill(new, 10, 20)
    away.start()  # it knows node 1, which is gone, and not its leader
    away.wait_logged("peer refused, .* node=3")
    away.wait_logged("members learned from another node", seconds=30.0)
    away.wait_ready(30.0)
    assert set(members.known(away)) == {2, 3}
    cluster.check_same_state()


def test_leadership_goes_where_it_is_told_to(make_cluster):
    cluster = make_cluster(["memory", "memory", "memory"])
    leader, others = followers(cluster)
    for n in others:
        assert members.lead(others[0], n.id).status == 200
        assert cluster.leader() is n
    reply = members.lead(leader)  # anybody else
    assert reply.status == 200, reply
    assert cluster.leader() is not others[1]
    assert members.lead(leader, 9).status in (404, 409)


def test_without_a_quorum_an_order_waits_and_is_not_done(make_cluster):
    cluster = make_cluster(["memory", "memory", "memory"])
    leader, others = followers(cluster)
    for n in others:
        n.kill_all()
    got = []
    asking = threading.Thread(target=lambda: got.append(
        members.remove(leader, others[0].id)))
    asking.start()
    wait_until("nobody leads", lambda: leader.status()["leader"] == 0)
    others[1].start()  # meanwhile it waits for a leader
    asking.join(60.0)
    assert got and got[0].status == 200, got
    members.wait_voters(leader, {leader.id, others[1].id})


@pytest.mark.parametrize("what", ["add", "remove", "replace"])
def test_the_leader_dies_in_the_middle_of_an_order(make_cluster, what):
    """The order is passed on to the next leader, and done once."""
    cluster = make_cluster(["memory"] * 4)
    leader, others = followers(cluster)
    new = cluster.newcomer(5, "memory")
    orders = {"add": lambda: members.order(
                  others[0], "POST", "/v1/members",
                  {"peer": members.address(new), "promote": "auto"}),
              "remove": lambda: members.remove(others[0], others[1].id),
              "replace": lambda: members.replace(
                  others[0], others[1].id, new)}
    got = []
    asking = threading.Thread(target=lambda: got.append(orders[what]()))
    # Stopped, so that the order is on its way but cannot be carried out.
    leader.kill("raftd", 19)
    asking.start()
    leader.kill_all()
    asking.join(60.0)
    assert got and got[0].status in (200, 201, 202), got
    leader.start()
    leader.wait_ready()
    new.start()
    if what == "remove":
        members.ended(others[1])
        new.kill_all()
        assert len(members.known(others[0])) == 3
        return
    new.wait_ready()
    here = {1, 2, 3, 4, 5} - ({others[1].id} if what == "replace" else set())
    members.wait_voters(new, here)
    fill(new, 0, 10)


@pytest.mark.parametrize("snapshots", [False, True])
def test_a_survivor_becomes_a_cluster_of_its_own(make_cluster, snapshots):
    """Two of three nodes are lost for good, under load."""
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"], env={
        "METCD_SNAPSHOT_COUNT": "50", "METCD_LOG_KEEP_BYTES": "0",
        "METCD_WAL_SEGMENT_BYTES": "65536"} if snapshots else {})
    leader, (survivor, other) = followers(cluster)
    fill(survivor, 0, 300, 1000)
    if snapshots:
        fill_until_cut(survivor)
    cluster.kill_all()
    lost = {leader.id: leader.dir, other.id: other.dir}
    dry = Run("raftd", "--force-new-cluster", survivor.dir, "--dry-run")
    assert dry.code == 0, dry
    for number in lost:
        assert f"forgotten: node {number} at" in dry.out.decode(), dry
    before = Run("raftd", "--check", survivor.dir)
    assert before.code == 0, before
    # It may still run: then nothing is done.
    since = survivor.mark()
    survivor.start()
    survivor.wait_logged("raftd.*log open", since)
    busy = Run("raftd", "--force-new-cluster", survivor.dir)
    assert busy.code == 75, busy
    survivor.kill_all()
    done = Run("raftd", "--force-new-cluster", survivor.dir)
    assert done.code == 0 and "the next free id is 4" in done.out.decode()
    assert Run("raftd", "--check", survivor.dir).code == 0
    shutil.rmtree(survivor.path("kv"))  # as it says
    survivor.start()
    survivor.wait_ready()
    members.wait_voters(survivor, {survivor.id})
    for i in range(300):
        assert survivor.get(f"k{i}").body == b"x" * 1000
    # The old ones are not let in.
    other.start()
    survivor.wait_logged("peer refused")
    other.kill_all()
    new = []
    for number in (4, 5):
        n = cluster.newcomer(number, "memory")
        n.start()
        assert members.add(survivor, n).status == 201
        new.append(n)
    for n in new:
        members.wait_voters(n, {survivor.id, 4, 5})
    fill(new[1], 300, 310)
    cluster.check_same_state()


def test_what_is_no_nodes_directory_is_not_forced(scratch):
    r = Run("raftd", "--force-new-cluster", scratch)
    assert r.code == 66 and "--data-dir" in r.complaints()[0], r


def test_a_second_cluster_is_not_made_by_mistake(make_cluster):
    """A new node without --join, whose list has a running cluster in it."""
    cluster = make_cluster(["memory", "memory", "memory"])
    new = cluster.newcomer(4, "memory")
    new.joins = False
    new.start()
    line = cluster.node(1).wait_logged("peer of another cluster refused.*")
    assert "--join" in line.group(0)
    assert not new.is_ready()
    fill(cluster.node(1), 0, 5)
