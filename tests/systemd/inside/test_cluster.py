"""Three nodes as three instances on one machine."""

import os
import signal

import units
from lib import web
from lib.load import OK, Load, unique_puts
from lib.wait import wait_until


def leader(nodes):
    """The node that all of them take for the leader, or None."""
    said = {n.status()["leader"] for n in nodes}
    if len(said) != 1 or said == {0}:
        return None
    number = said.pop()
    return next(n for n in nodes if n.id == number)


def same_state(nodes):
    kv = [n.status()["kv"] for n in nodes]
    return all(k["connected"] for k in kv) and \
        len({(k["applied"], k["hash"]) for k in kv}) == 1


def test_every_node_answers_with_the_newest_value(three):
    three[0].put("shared", b"by c1")
    for n in three:
        assert n.get("shared") == b"by c1"
    wait_until("all hold the same", lambda: same_state(three), 20)
    assert [n.status()["kv"]["engine"] for n in three] == \
        ["lmdb", "leveldb", "memory"]


def test_the_others_go_on_when_the_leader_is_killed(three):
    first = wait_until("there is a leader", lambda: leader(three), 20)
    others = [n for n in three if n is not first]
    before = first.pids()
    os.kill(before["raftd"], signal.SIGKILL)
    others[0].put("leader", b"killed")
    assert others[1].get("leader") == b"killed"
    first.wait_others_untouched("raftd", before)
    wait_until("all hold the same", lambda: same_state(three), 20)


def test_one_node_after_the_other_is_restarted_under_load(three):
    """An upgrade; clients use the two others."""
    for n in three:
        cluster = type("Cluster", (),
                       {"nodes": [m for m in three if m is not n]})
        with Load(cluster, unique_puts(n.name.encode()), clients=4,
                  rate=50) as load:
            units.systemctl("restart", n.target)
            n.wait_ready()
            load.wait_for(50)
        failed = [op for op in load.ops if op.outcome != OK]
        assert not failed, f"{len(failed)} of {len(load.ops)}: {failed[:5]}"
    wait_until("all hold the same", lambda: same_state(three), 20)


def test_stopping_one_instance_leaves_the_others(three):
    three[2].stop()
    assert [m.state(p) for m in three[:2] for p in units.PROCESSES] == \
        ["active"] * 6
    three[0].put("two", b"are enough")
    three[2].start()
    assert three[2].get("two") == b"are enough"


def test_a_removed_node_ends_and_is_not_restarted(three):
    """The last one of this file: it leaves two nodes."""
    removed, others = three[2], three[:2]
    before = removed.pids()
    restarts = removed.restarts("raftd")
    r = web.request(others[0].admin, "DELETE", f"/v1/members/{removed.id}",
                    timeout=60)
    assert r.status == 200, r
    wait_until("its raftd has ended for good", lambda:
               removed.state("raftd") == "failed", 60, 0.1)
    assert units.show(removed.unit("raftd"), "ExecMainStatus") == "78"
    assert removed.restarts("raftd") == restarts
    assert {p: removed.pid(p) for p in ("kvd", "httpd")} == \
        {p: before[p] for p in ("kvd", "httpd")}
    others[0].put("two", b"members")
    assert others[1].get("two") == b"members"
