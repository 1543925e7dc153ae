"""Directories that were replaced behind the back of the others, and strangers:
nothing is mixed up, and who is refused is told why."""

import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

from lib import web
from lib.wait import wait_until


def logged(node, words):
    return [line for line in node.log() if words in line]


def test_a_store_fed_by_another_log_is_refused_and_untouched(make_cluster):
    """The new log grows past the store's index: it must not be taken for its
    continuation then."""
    cluster = make_cluster(["lmdb"])
    node = cluster.node(1)
    for i in range(10):
        assert node.put(f"old{i}", b"x").status == 201
    assert node.terminate()[0] == 0
    shutil.rmtree(os.path.join(node.dir, "raft"))
    node.start()
    code = wait_until("metcd to end", lambda: node.process.poll())
    assert code == 78
    node.process = None
    assert len(logged(node, "was fed by another raft directory")) == 1
    shutil.rmtree(os.path.join(node.dir, "kv"))  # what the line says
    node.start()
    node.wait_ready()
    assert node.put("new", b"y").status == 201
    assert node.get("old0").status == 404


def test_a_member_with_a_new_raft_directory_is_refused(make_cluster):
    """It has forgotten its votes and what it acknowledged."""
    cluster = make_cluster(["lmdb", "lmdb", "lmdb"])
    follower = next(n for n in cluster.nodes if n is not cluster.leader())
    for i in range(20):
        assert cluster.leader().put(f"k{i}", b"x").status == 201
    follower.kill_all()
    shutil.rmtree(os.path.join(follower.dir, "raft"))
    shutil.rmtree(os.path.join(follower.dir, "kv"))
    follower.start()
    others = [n for n in cluster.nodes if n is not follower]
    for n in others:
        wait_until("the refusal", lambda n=n: logged(
            n, "its raft directory was replaced"))
    assert others[0].put("more", b"y").status == 201
    assert others[1].get("more").body == b"y"
    follower.kill_all()


def test_many_large_values_at_once_are_all_read(make_cluster):
    cluster = make_cluster(["memory"])
    node = cluster.node(1)
    value = os.urandom(1 << 20)
    assert node.put("large", value).status == 201

    def get(_):
        return node.get("large", timeout=30.0)

    with ThreadPoolExecutor(300) as pool:
        answers = list(pool.map(get, range(300)))
    assert {a.status for a in answers} == {200}
    assert all(a.body == value for a in answers)
    assert not logged(node, "link down")


def test_strangers_on_the_peer_port_do_not_lock_the_own_processes_out(
        make_cluster):
    cluster = make_cluster(["lmdb"])
    node = cluster.node(1)
    host, port = cluster.peers().split(":")
    crowd = []
    try:
        for _ in range(200):
            s = socket.create_connection((host, int(port)), timeout=5.0)
            crowd.append(s)
        node.kill("kvd")
        node.kill("httpd")
        node.wait_ready()
        assert node.put("k", b"v").status == 201
    finally:
        for s in crowd:
            s.close()
    assert web.request(node.client, "GET", "/k").body == b"v"
