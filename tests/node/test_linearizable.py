"""Clients on all nodes write and read few keys: there must be one order of
it all that real time allows."""

import signal

from lib import check
from lib.cluster import ENGINES
from lib.load import Load, registers
from lib.wait import wait_until


def check_history(cluster, ops):
    """The history, and what every node says in the end."""
    gets = [op for op in ops if op.kind == "get" and op.outcome == "ok"]
    assert sum(op.value is not None for op in gets) >= 100, "too few answers"
    check.check_registers(ops)
    check.check_revisions(ops)
    cluster.check_same_state()


def final_gets(cluster, keys):
    """Every key once more on every node, so that a write lost after the last
    get of the load shows as well."""
    def choose(_rng, _client, count):
        return "get", b"r/%d" % (count % keys), None
    load = Load(cluster, choose, clients=len(cluster.nodes))
    with load:
        load.wait_for(2 * keys * len(cluster.nodes))
    return load.ops


def test_gets_on_any_node_see_every_acknowledged_write(make_cluster):
    cluster = make_cluster(ENGINES)
    with Load(cluster, registers(5), clients=8, roam=True, seed=11) as load:
        load.wait_for(4000, seconds=30)
    ops = load.ops
    check_history(cluster, ops + final_gets(cluster, 5))
    # Nothing failed, so nothing may have been refused either.
    assert {op.outcome for op in ops} == {"ok"}


def test_gets_see_every_acknowledged_write_while_leaders_are_killed(
        make_cluster):
    cluster = make_cluster(ENGINES)
    with Load(cluster, registers(4), clients=8, roam=True, seed=12,
              rate=80) as load:
        for _ in range(3):
            load.wait_for(300)
            leader = cluster.leader()
            leader.kill_all()
            load.wait_for(200)
            leader.start()
            leader.wait_ready()
        load.wait_for(200)
    check_history(cluster, load.ops + final_gets(cluster, 4))


def test_gets_see_every_acknowledged_write_while_processes_are_killed(
        make_cluster):
    cluster = make_cluster(ENGINES)
    with Load(cluster, registers(4), clients=8, roam=True, seed=13,
              rate=80) as load:
        for name in ("raftd", "kvd", "httpd", "raftd"):
            for node in cluster.nodes:
                load.wait_for(60)
                killed = node.kill(name)
                wait_until("it has a new pid", lambda n=node, d=name, p=killed:
                           n.pids().get(d, p) != p)
                node.wait_ready()
        load.wait_for(200)
    check_history(cluster, load.ops + final_gets(cluster, 4))


def test_a_get_on_a_cut_off_leader_never_gives_an_old_value(make_cluster):
    """The leader's raftd stands still while the others elect and write; when
    it goes on, it may not answer from its old leadership."""
    cluster = make_cluster(ENGINES)
    for round_ in range(3):
        leader = cluster.leader()
        others = [n for n in cluster.nodes if n is not leader]
        leader.put("cut", b"old %d" % round_)
        leader.kill("raftd", signal.SIGSTOP)
        try:
            others[0].put("cut", b"new %d" % round_, timeout=15)
        finally:
            leader.kill("raftd", signal.SIGCONT)
        r = leader.get("cut", timeout=15)
        assert r.status in (503, 504) or r.body == b"new %d" % round_, r
        cluster.wait_ready()
