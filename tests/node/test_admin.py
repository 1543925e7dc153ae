"""The admin port: health that does not lie, and what is refused of orders."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import process, web
from lib.wait import wait_until

READY_S = 2.0  # within this a node says that it is not ready


def ask(node, method, path, body=None, timeout=70.0):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    return web.request(node.admin, method, path, body, timeout=timeout)


def not_ready(node):
    """The checks of /readyz that are not ok, by name; it has said so in time,
    and /health says the same."""
    began = time.monotonic()
    r = ask(node, "GET", "/readyz")
    assert time.monotonic() - began < READY_S, "it takes too long"
    r.problem(503)
    assert r.json()["ready"] is False
    checks = r.json()["checks"]
    assert all(c["ok"] == ("detail" not in c) for c in checks), r
    wrong = [c for c in checks if not c["ok"]]
    assert r.json()["detail"] == wrong[0]["detail"]
    h = ask(node, "GET", "/health")
    assert (h.status, h.json()["health"]) == (503, "false"), h
    assert ask(node, "GET", "/livez").status == 200
    return [c["name"] for c in wrong]


# --- health ---

def test_a_ready_node_lists_its_checks(one):
    r = ask(one, "GET", "/readyz")
    assert (r.status, r.json()["ready"]) == (200, True), r
    assert {c["name"] for c in r.json()["checks"]} == {
        "raftd", "kvd", "leader", "applied", "state", "linearizable_read"}
    assert all(c["ok"] for c in r.json()["checks"])
    assert ask(one, "GET", "/health").json() == {"health": "true"}


@pytest.mark.parametrize("daemon,wrong", [
    ("kvd", {"kvd", "linearizable_read"}),
    ("raftd", {"raftd", "leader", "linearizable_read"})])
@pytest.mark.parametrize("sig", [signal.SIGSTOP, signal.SIGKILL])
def test_a_hanging_or_dead_process_makes_a_node_not_ready(
        make_cluster, daemon, wrong, sig):
    cluster = make_cluster(["lmdb"])
    node = cluster.node(1)
    if sig == signal.SIGKILL:  # and metcd cannot start it again
        process.kill(node.pids()["metcd"], signal.SIGSTOP)
    pid = node.kill(daemon, sig)
    try:
        if sig == signal.SIGKILL:
            wait_until("it is gone", lambda: not process.is_alive(pid))
        found = not_ready(node)
        assert wrong <= set(found) <= wrong | {"applied"}, found
        assert found[0] == daemon, "the first one is the cause"
    finally:
        process.kill(pid, signal.SIGCONT)
        process.kill(node.pids()["metcd"], signal.SIGCONT)
    node.wait_ready()


def test_a_node_that_starts_is_live_before_it_is_ready(make_cluster):
    """One of three alone: there is nobody to elect it."""
    cluster = make_cluster(["memory"] * 3, start=False)
    node = cluster.node(1)
    node.start()

    def is_live():
        try:
            return ask(node, "GET", "/livez").status == 200
        except OSError:
            return False
    wait_until("it is live", is_live)
    wait_until("its raftd has answered", lambda: "raftd" not in
               not_ready(node))
    found = not_ready(node)
    assert "leader" in found and "linearizable_read" in found
    cluster.node(2).start()
    node.wait_ready()
    assert ask(node, "GET", "/health").json() == {"health": "true"}


def test_without_a_quorum_nobody_is_ready_and_all_are_live(make_cluster):
    cluster = make_cluster(["lmdb", "memory", "leveldb"])
    leader = cluster.leader()
    for n in cluster.nodes:
        if n is not leader:
            n.kill_all()
    # The first answer may still name a leader, but never a success.
    assert "linearizable_read" in not_ready(leader)
    wait_until("it does not lead any more",
               lambda: "leader" in not_ready(leader))


# --- members: what is told ---

def test_members_are_told_by_every_node_without_waiting(three):
    three.settled()
    seen = []
    for n in three.nodes:
        m = ask(n, "GET", "/v1/members").json()
        assert m["node"] == n.id and m["joint"] is False
        assert m["leader"] == three.leader().id
        assert m["cluster_id"] == n.status()["cluster_id"]
        assert [x["id"] for x in m["members"]] == [1, 2, 3]
        for x, peer in zip(m["members"], three.nodes):
            assert x["peer"] == f"127.0.0.1:{peer.peer}"
            assert (x["role"], x["promote"], x["replaces"]) == (
                "voter", "manual", 0)
            assert ask(n, "GET", f"/v1/members/{x['id']}").json()[
                "peer"] == x["peer"]
        seen.append(m["index"])
    assert len(set(seen)) == 1
    ask(three.node(1), "GET", "/v1/members/4").problem(404)
    assert ask(three.node(1), "GET",
               "/v1/members/4").problem(404) == "no_such_member"


def test_members_are_told_without_a_quorum(make_cluster):
    cluster = make_cluster(["memory"] * 3)
    node = cluster.node(1)
    for n in cluster.nodes[1:]:
        n.kill_all()
    wait_until("the loss is seen", lambda: not any(
        m["connected"] for m in
        ask(node, "GET", "/v1/members").json()["members"][1:]))
    assert len(ask(node, "GET", "/v1/members").json()["members"]) == 3
    raftd = node.kill("raftd", signal.SIGSTOP)
    try:  # what it was is no answer
        began = time.monotonic()
        assert ask(node, "GET", "/v1/members").problem(503) == "unavailable"
        assert ask(node, "GET", "/v1/members/1").problem(503) == "unavailable"
        assert time.monotonic() - began < READY_S
    finally:
        process.kill(raftd, signal.SIGCONT)


# --- orders: what is refused before raftd sees it ---

@pytest.mark.parametrize("method,path,body,says", [
    ("POST", "/v1/members", None, "peer is missing"),
    ("POST", "/v1/members", {"id": 4}, "peer is missing"),
    ("POST", "/v1/members", {"peer": 7}, "peer must be"),
    ("POST", "/v1/members", {"peer": "nowhere"}, "peer must be"),
    ("POST", "/v1/members", {"peer": "a:1", "id": "4"}, "id must be"),
    ("POST", "/v1/members", {"peer": "a:1", "promote": 1}, "promote must be"),
    ("POST", "/v1/members", {"peer": "a:1", "learner": True},
     "unknown field learner"),
    ("POST", "/v1/members", "peer=a:1", "not JSON"),
    ("POST", "/v1/members", [], "object"),
    ("POST", "/v1/members?force=true", {"peer": "a:1"}, "no parameters"),
    ("POST", "/v1/members/replace", {"peer": "a:1"}, "old is missing"),
    ("PUT", "/v1/members/1", {}, "peer is missing"),
    ("PUT", "/v1/members/1", {"peer": "a:1", "id": 1}, "unknown field id"),
    ("DELETE", "/v1/members/1?force=yes", None, "force is either"),
    ("DELETE", "/v1/members/1?forse=true", None, "parameter"),
    ("POST", "/v1/members/1/promote", {"force": "true"}, "force must be"),
    ("POST", "/v1/leader", {"to": 0}, "to must be"),
    ("POST", "/v1/leader", {"to": 1, "at": 2}, "unknown field at")])
def test_an_order_that_makes_no_sense_is_refused_by_name(
        one, method, path, body, says):
    before = ask(one, "GET", "/v1/members").json()
    r = ask(one, method, path, body)
    assert r.problem(400) == "bad_request"
    assert says in r.json()["detail"], r
    assert ask(one, "GET", "/v1/members").json()["index"] == before["index"]


def test_a_body_has_a_limit_of_its_own(one):
    big = b'{"peer":"' + b"x" * 65536 + b'"}'
    r = ask(one, "POST", "/v1/members", big)
    assert r.problem(413) == "value_too_large"
    assert "65536" in r.json()["detail"]
    r = ask(one, "POST", "/v1/members", b" " * 65536)
    assert r.problem(400) == "bad_request"


@pytest.mark.parametrize("path,allow", [
    ("/v1/members", "GET, HEAD, POST"), ("/v1/members/replace", "POST"),
    ("/v1/members/1", "GET, HEAD, PUT, DELETE"),
    ("/v1/members/1/promote", "POST"), ("/v1/leader", "POST"),
    ("/readyz", "GET, HEAD")])
def test_each_path_names_its_methods(one, path, allow):
    r = ask(one, "PATCH", path, b"")
    assert r.problem(405) == "method_not_allowed"
    assert r.headers["Allow"] == allow


@pytest.mark.parametrize("path", [
    "/v1/members/", "/v1/members/0", "/v1/members/x", "/v1/members/1/",
    "/v1/members/1/demote", "/v1/leader/1", "/v1/members/-1"])
def test_other_paths_are_not_there(one, path):
    assert ask(one, "GET", path).problem(404) == "no_such_path"


def test_an_order_without_raftd_is_not_executed(make_cluster):
    """And one that was given to a raftd that dies has an unknown outcome."""
    cluster = make_cluster(["memory"] * 3)
    node = cluster.node(1)
    process.kill(node.pids()["metcd"], signal.SIGSTOP)
    raftd = node.kill("raftd", signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        given = pool.submit(ask, node, "POST", "/v1/leader", {"to": 2})
        # It is on its way, behind the question that has no answer.
        ask(node, "GET", "/v1/status")
        process.kill(raftd, signal.SIGKILL)
        r = given.result()
    assert r.problem(504) == "timeout"
    assert "raftd went away" in r.json()["detail"]
    r = ask(node, "POST", "/v1/leader", {"to": 2})
    assert r.problem(503) == "unavailable"
    process.kill(node.pids()["metcd"], signal.SIGCONT)
    node.wait_ready()
