"""A request goes round the ring and comes back, on one node and on three."""

import os
import random

import pytest

from lib import web
from lib.cluster import ENGINES, Run


def curl(*args, **more):
    r = Run("/usr/bin/curl", "-sS", *args, **more)
    assert r.code == 0, r
    return r.out


def url(node, path="/hello"):
    return f"http://127.0.0.1:{node.client}{path}"


@pytest.mark.parametrize("engine", ENGINES)
def test_one_node_gives_back_what_curl_put(make_cluster, engine):
    node = make_cluster([engine]).node(1)
    assert curl("-L", url(node), "-XPUT", "-d", "world") == b""
    assert curl("-L", url(node)) == b"world"
    assert curl(url(node), "-X", "DELETE", "-w", "%{http_code}") == b"204"
    assert curl("-o", "/dev/null", url(node), "-w", "%{http_code}") == b"404"


def test_every_node_of_three_gives_back_what_curl_put_on_any(three):
    for writer in three.nodes:
        value = b"world %d" % writer.id
        assert curl("-L", url(writer), "-XPUT", "-d", value.decode()) == b""
        for reader in three.nodes:
            assert curl("-L", url(reader)) == value


KEYS = [b"a", b"\0", b"/", b"\xff", b"\0/\xff", b"//", b"a/b/../c", b"%zz",
        b"+ ?#&=;", b"a\0b", b"a", b"\xff" * 500, b"\0" * 500,
        "schlüssel/鍵".encode(), b"..", b".", b"\r\n"]
SIZES = [0, 1, 64 << 10, 1 << 20]


@pytest.mark.parametrize("engine", ENGINES)
def test_binary_keys_and_values_come_back_unchanged(make_cluster, engine):
    node = make_cluster([engine]).node(1)
    rng = random.Random(7)
    held = {}
    for i, key in enumerate(KEYS):
        held[key] = rng.randbytes(SIZES[i % len(SIZES)])
        node.put(key, held[key])
    for size in SIZES:
        key = b"size/%d" % size
        held[key] = rng.randbytes(size)
        assert node.put(key, held[key]).status == 201
    with web.Session(node.client) as s:
        for key, value in held.items():
            r = s.request("GET", web.target(key))
            assert (r.status, r.body == value) == (200, True), (key, r)
            assert int(r.headers["Content-Length"]) == len(value)
    kv = node.status()["kv"]
    assert (kv["keys"], kv["engine"]) == (len(held), engine)
    # And they are still there when the node comes back.
    assert node.terminate()[0] == 0
    node.start()
    node.wait_ready()
    for key, value in held.items():
        assert node.get(key).body == value


def test_the_same_key_may_be_written_in_more_than_one_way(one):
    """Only the decoded bytes count; the first slash is not part of them."""
    for path, key in (("/%61/b", b"a/b"), ("/a%2Fb", b"a/b"),
                      ("//x", b"/x"), ("/%2fx", b"/x"), ("/a+b", b"a+b")):
        value = os.urandom(8)
        assert web.request(one.client, "PUT", path,
                           value).status in (201, 204)
        assert one.get(key).body == value, path


def test_three_engines_hold_the_same_after_a_thousand_keys(make_cluster):
    cluster = make_cluster(ENGINES)
    rng = random.Random(1000)
    sessions = [web.Session(n.client) for n in cluster.nodes]

    def ask(i, method, key, body=None):
        r = sessions[i % 3].request(method, web.target(key), body)
        assert r.status in (201, 204), r
    keys = [b"key/%d" % i for i in range(1000)]
    held = {}
    for i, key in enumerate(keys):
        held[key] = rng.randbytes(rng.randrange(300))
        ask(i, "PUT", key, held[key])
    statuses = cluster.check_same_state()
    assert [s["kv"]["engine"] for s in statuses] == list(ENGINES)
    assert statuses[0]["kv"]["keys"] == 1000
    assert statuses[0]["kv"]["revision"] == 1000
    full = statuses[0]["kv"]["hash"]
    assert len(full) == 32 and int(full, 16) != 0
    for i, key in enumerate(keys[::3]):  # some again, some away
        if i % 2:
            held[key] = rng.randbytes(20)
            ask(i, "PUT", key, held[key])
        else:
            del held[key]
            ask(i, "DELETE", key)
    statuses = cluster.check_same_state()
    assert statuses[0]["kv"]["keys"] == len(held)
    assert statuses[0]["kv"]["hash"] != full
    for s, n in zip(sessions, cluster.nodes):
        for key in keys[n.id::7]:
            r = s.request("GET", web.target(key) + "?consistency=stale")
            assert (r.body if r.status == 200 else None) == held.get(key)
        s.close()
