"""Snapshots: ordered, and a follower that needs one."""

import os
import random

from . import web
from .wait import wait_until

MIB = 1 << 20


def take_snapshot(node):
    """Order one; its index."""
    r = web.request(node.admin, "POST", "/v1/snapshot", b"", timeout=70)
    assert r.status == 200, r
    return r.json()["index"]


def fill(node, prefix, count, size):
    """Values that look like nothing; {key: value}."""
    rng = random.Random(prefix)
    held = {b"%s/%d" % (prefix.encode(), i): rng.randbytes(size)
            for i in range(count)}
    with web.Session(node.client) as s:
        for key, value in held.items():
            assert s.request("PUT", web.target(key), value).status == 201
    return held


def check_held(node, held):
    with web.Session(node.client) as s:
        for key, value in held.items():
            r = s.request("GET", web.target(key))
            assert r.status == 200 and r.body == value, (key, r.status)


def cut_the_log(node, other=b"cut"):
    """Two snapshots with a write between, and the log begins at the older
    one; the indexes of both."""
    taken = []
    for i in range(10):
        node.put(b"%s/%d" % (other, i), os.urandom(100_000))
        index = take_snapshot(node)
        # An order that comes while one is being finished is answered by that.
        if index not in taken:
            taken.append(index)
        if len(taken) == 2:
            break
    assert len(taken) == 2
    wait_until("the log is cut", lambda: abs(
        node.status()["raft"]["first"] - taken[0]) <= 1)
    return taken


def part_bytes(directory):
    """Of the file that the node whose directory this is receives just now."""
    try:
        snap = os.path.join(directory, "raft", "snap")
        return max((os.path.getsize(os.path.join(snap, name))
                    for name in os.listdir(snap) if "-" in name), default=0)
    except OSError:
        return 0


def wait_part(directory, size):
    wait_until(f"{size} bytes were received in {directory}",
               lambda: part_bytes(directory) >= size, 30)


def fall_behind(cluster, count):
    """A follower is stopped and the others' logs are cut; (leader, the other
    one, the follower, what was written)."""
    leader = cluster.leader()
    behind, other = [n for n in cluster.nodes if n is not leader]
    behind.kill_all()
    held = fill(leader, "missed", count, MIB // 4)
    for n in (leader, other):
        cut_the_log(n, b"cut%d" % n.id)
    return leader, other, behind, held
