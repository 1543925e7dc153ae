"""One node of three is left: it says so within the deadline, and reads what
it has when asked for no more."""

import threading
import time

import pytest

from lib import process, web
from lib.cluster import ENGINES, Cluster
from lib.wait import wait_until

DEADLINE_MS = 1500
SLACK_S = 0.4  # for a busy machine


@pytest.fixture(scope="module")
def left():
    """The last node of three, a former leader: it has most to forget."""
    with Cluster(ENGINES, env={"METCD_REQUEST_TIMEOUT_MS":
                               str(DEADLINE_MS)}) as c:
        c.start()
        leader = c.leader()
        leader.put("k", b"v")
        leader.put("b", b"\0\xff")
        for n in c.nodes:
            if n is not leader:
                n.kill_all()
        yield leader
        assert not c.bugs()


def timed(node, method, key, body=None, query=""):
    began = time.monotonic()
    r = node.request(method, key, body, query=query)
    took = time.monotonic() - began
    assert took < DEADLINE_MS / 1000 + SLACK_S, f"{took:.3f} s: {r}"
    return r


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_a_minority_refuses_within_the_deadline(left, method):
    for _ in range(2):
        r = timed(left, method, "k", b"w" if method == "PUT" else None)
        assert r.problem(503, 504) in ("no_leader", "timeout", "unavailable")


def test_a_minority_keeps_refusing_once_it_knows_that_nobody_leads(left):
    """503: certainly not executed, because it was never proposed."""
    wait_until("it knows", lambda: left.status()["leader"] == 0)
    for method in ("PUT", "GET"):
        r = timed(left, method, "k", b"w" if method == "PUT" else None)
        assert r.problem(503) == "no_leader"
        assert int(r.headers["Retry-After"]) >= 0


def test_a_minority_still_reads_stale(left):
    r = timed(left, "GET", "k", query="?consistency=stale")
    assert (r.status, r.body) == (200, b"v")
    r = timed(left, "GET", "b", query="?consistency=stale")
    assert (r.status, r.body) == (200, b"\0\xff")
    assert timed(left, "GET", "no", query="?consistency=stale").status == 404


def test_a_minority_lives_but_is_not_ready(left):
    assert web.request(left.admin, "GET", "/livez").status == 200
    began = time.monotonic()
    r = web.request(left.admin, "GET", "/readyz")
    assert r.status == 503, r
    assert time.monotonic() - began < DEADLINE_MS / 1000 + SLACK_S
    s = left.status()
    assert (s["leader"], s["kv"]["connected"]) == (0, True)
    assert s["role"] in ("follower", "candidate")


def test_clients_that_give_up_waiting_leave_nothing_behind(left):
    httpd = left.pids()["httpd"]
    idle = process.fd_count(httpd)
    head = b"GET /k HTTP/1.1\r\nHost: x\r\n\r\n"
    threads = [threading.Thread(target=web.exchange, args=(
        left.client, head, 0.2)) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    # Sooner than the deadline would end them: their leaving is noticed.
    wait_until("their connections are gone",
               lambda: process.fd_count(httpd) <= idle + 2, 1.0)
    assert left.pids()["httpd"] == httpd


def test_a_minority_serves_again_with_one_node_more(left):
    """Last in this file: it changes the fixture."""
    other = next(n for n in left.cluster.nodes if n.process is None)
    other.start()
    left.wait_ready()
    assert left.get("k").body in (b"v", b"w")
    assert left.put("k", b"again").status == 204
    other.wait_ready()
    assert other.get("k").body == b"again"
