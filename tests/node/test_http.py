"""What the data port and the admin port answer, header by header."""

import re
import signal

import pytest

from lib import web
from lib.cluster import ENGINES


def test_put_says_whether_it_created_and_gives_the_revision(one):
    first = one.request("PUT", "new", b"1")
    again = one.request("PUT", "new", b"2")
    assert (first.status, again.status) == (201, 204)
    assert first.body == again.body == b""
    assert re.fullmatch(r'"[1-9][0-9]*"', first.headers["ETag"])
    assert again.revision > first.revision
    for r in (first, again):
        assert r.headers["Metcd-Node"] == "1"
        assert int(r.headers["Metcd-Revision"]) >= r.revision


def test_get_gives_raw_bytes_the_revision_and_its_length(one):
    put = one.put("raw", b"\0\1\xff")
    r = one.get("raw")
    assert (r.status, r.body) == (200, b"\0\1\xff")
    assert r.revision == put.revision
    assert r.headers["Content-Length"] == "3"
    assert r.headers["Metcd-Node"] == "1"
    assert int(r.headers["Metcd-Revision"]) >= put.revision
    assert "json" not in r.headers.get("Content-Type", "")


def test_head_is_get_without_the_value(one):
    one.put("h", b"x" * 1234)
    get, head = one.get("h"), one.request("HEAD", "h")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == "1234"
    assert head.headers["ETag"] == get.headers["ETag"]
    assert one.request("HEAD", "none").status == 404


def test_a_missing_key_is_a_problem_with_a_code(one):
    r = one.get("nothing/here")
    assert r.problem(404) == "not_found"
    assert "ETag" not in r.headers
    assert r.headers["Metcd-Node"] == "1"
    assert int(r.headers["Metcd-Revision"]) >= 0


def test_delete_answers_the_same_whether_or_not_it_was_there(one):
    one.put("d", b"x")
    before = one.status()["kv"]
    there = one.request("DELETE", "d")
    gone = one.request("DELETE", "d")
    assert (there.status, gone.status) == (204, 204)
    assert there.body == gone.body == b""
    assert one.get("d").status == 404
    after = one.status()["kv"]
    assert after["keys"] == before["keys"] - 1
    assert after["revision"] == before["revision"] + 1, \
        "only what changes something makes a revision"
    assert one.request("PUT", "d", b"again").status == 201


@pytest.mark.parametrize("query", ["", "?consistency=stale"])
def test_if_none_match_saves_the_value_that_is_known(one, query):
    put = one.put("inm", b"one")

    def get(tag, method="GET"):
        return one.request(method, "inm", headers={"If-None-Match": tag},
                           query=query)
    tag = put.headers["ETag"]
    for known in (tag, "*", f'"0", {tag}', f"W/{tag}"):
        for method in ("GET", "HEAD"):
            r = get(known, method)
            assert (r.status, r.body) == (304, b""), (known, method, r)
            assert r.headers["ETag"] == tag
    for unknown in ('"0"', '"999999999"', '"abc"',
                    '"18446744073709551614"', '"18446744073709551615"',
                    '"18446744073709551616"'):
        r = get(unknown)
        assert (r.status, r.body) == (200, b"one"), (unknown, r)
    again = one.put("inm", b"two")
    assert get(tag).body == b"two"
    assert get(again.headers["ETag"]).status == 304
    assert one.request("GET", "inm-none", headers={"If-None-Match": "*"},
                       query=query).status == 404


def test_conditional_writes_happen_only_if_the_condition_holds(one):
    def put(value, **headers):
        return one.request("PUT", "cond", value, {
            k.replace("_", "-"): v for k, v in headers.items()})
    first = put(b"1", If_None_Match="*")
    assert first.status == 201
    assert put(b"2", If_None_Match="*").problem(412) == "precondition_failed"
    second = put(b"2", If_Match=first.headers["ETag"])
    assert second.status == 204
    put(b"3", If_Match=first.headers["ETag"]).problem(412)
    assert one.get("cond").body == b"2"
    r = one.request("DELETE", "cond", headers={
        "If-Match": first.headers["ETag"]})
    r.problem(412)
    r = one.request("DELETE", "cond", headers={
        "If-Match": second.headers["ETag"]})
    assert r.status == 204
    put(b"4", If_Match="*").problem(412)
    assert one.get("cond").status == 404


def test_a_stale_get_on_a_node_alone_sees_its_own_writes(one):
    """What was answered is applied on the node that answered."""
    for i in range(50):
        one.put("own", b"%d" % i)
        r = one.get("own", query="?consistency=stale")
        assert r.body == b"%d" % i
        assert r.revision is not None


def test_an_unknown_consistency_is_refused(one):
    one.put("c", b"x")
    assert one.get("c", query="?consistency=linearizable").status in (200, 400)
    one.get("c", query="?consistency=maybe").problem(400)


def test_each_node_names_itself(three):
    for n in three.nodes:
        n.put("named", b"x")
        assert n.get("named").headers["Metcd-Node"] == str(n.id)


def test_a_connection_serves_many_requests(one):
    with web.Session(one.client) as s:
        s.connect()
        socket = s.connection.sock
        for i in range(200):
            assert s.request("PUT", f"/many/{i % 7}", b"x").status < 300
            assert s.request("GET", f"/many/{i % 7}").status == 200
            assert s.request("GET", "/many/none").status == 404
        assert s.connection.sock is socket


def test_http_1_0_without_keep_alive_is_served(one):
    one.put("old", b"ten")
    answer, closed = web.exchange(one.client, b"GET /old HTTP/1.0\r\n\r\n")
    assert web.status_of(answer) == 200 and closed
    assert answer.endswith(b"\r\n\r\nten")


# --- the admin port ---

def test_live_ready_and_health_answer_200_on_a_node_that_serves(one):
    for path in ("/livez", "/readyz", "/health"):
        r = web.request(one.admin, "GET", path)
        assert r.status == 200, (path, r)
    r = web.request(one.admin, "GET", "/version")
    assert r.status == 200 and re.search(rb"[0-9]+\.[0-9]+\.[0-9]+", r.body)


def test_the_admin_port_refuses_what_it_has_not(one):
    web.request(one.admin, "GET", "/nothing").problem(404)
    r = web.request(one.admin, "PUT", "/readyz", b"x")
    r.problem(405)
    assert "GET" in r.headers["Allow"]
    r = web.request(one.admin, "DELETE", "/v1/status")
    r.problem(405)


def test_admin_paths_are_keys_on_the_data_port(one):
    for path in ("/readyz", "/v1/status", "/v1/members", "/metrics"):
        assert web.request(one.client, "GET", path).status == 404
        assert web.request(one.client, "PUT", path, b"mine").status == 201
        assert web.request(one.client, "GET", path).body == b"mine"


COUNT = (int, lambda v: v >= 0)
TEXT = (str, lambda v: v != "")
HEX = (str, lambda v: re.fullmatch(r"[0-9a-f]+", v))
FLAG = (bool, lambda v: True)
SHAPE = {
    "id": COUNT, "cluster_id": HEX, "leader": COUNT, "term": COUNT,
    "role": (str, {"leader", "follower", "candidate", "learner"}.__contains__),
    "version": TEXT,
    "raft": {"first": COUNT, "last": COUNT, "commit": COUNT,
             "applied": COUNT, "snapshot": COUNT},
    "kv": {"connected": FLAG, "engine": TEXT, "applied": COUNT,
           "durable": COUNT, "revision": COUNT, "keys": COUNT, "bytes": COUNT,
           "hash": (str, lambda v: re.fullmatch(r"[0-9a-f]{32}", v)),
           "diverged": FLAG, "diverged_index": COUNT},
    "peers": [{"id": COUNT, "address": TEXT, "learner": FLAG, "match": COUNT,
               "state": (str, lambda v: True), "connected": FLAG}],
}


def check_shape(value, shape, where="status"):
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert set(value) == set(shape), where
        for name, inner in shape.items():
            check_shape(value[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for i, v in enumerate(value):
            check_shape(v, shape[0], f"{where}[{i}]")
    else:
        kind, fits = shape
        assert type(value) is kind and fits(value), f"{where}: {value!r}"


def test_status_has_the_shape_that_is_promised(three):
    three.node(1).put("status", b"12345")
    statuses = three.settled()
    leader = three.leader()
    for n, s in zip(three.nodes, statuses):
        check_shape(s, SHAPE)
        assert s["id"] == n.id
        assert s["leader"] == leader.id
        assert s["role"] == ("leader" if n is leader else "follower")
        assert s["cluster_id"] == statuses[0]["cluster_id"]
        assert s["term"] == statuses[0]["term"] > 0
        assert s["raft"]["first"] <= s["raft"]["last"]
        assert s["raft"]["applied"] == s["raft"]["commit"] == \
            s["kv"]["applied"] <= s["raft"]["last"]
        assert s["kv"]["durable"] <= s["kv"]["applied"]
        assert s["kv"]["engine"] == ENGINES[n.id - 1]
        assert s["kv"]["connected"] is True
        assert [(p["id"], p["address"]) for p in s["peers"]] == [
            (o.id, f"127.0.0.1:{o.peer}") for o in three.nodes if o is not n]
        for p in s["peers"]:
            assert (p["connected"], p["learner"]) == (True, False)
            if n is leader:
                assert p["state"] == "replicate"
                assert p["match"] == s["raft"]["last"]


def test_status_tells_of_a_kvd_that_is_away(one):
    one.kill("kvd", signal.SIGSTOP)
    try:
        s = one.status()  # from counters: it waits for nobody
        check_shape({**s, "kv": {"connected": False}},
                    {**SHAPE, "kv": {"connected": FLAG}})
    finally:
        one.kill("kvd", signal.SIGCONT)
    one.wait_ready()
