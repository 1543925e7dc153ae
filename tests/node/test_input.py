"""Bad input: a clear answer or a closed connection, one line in the log, and
nothing else: the processes stay, and what was written stays."""

import json
import os
import random
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import process, web
from lib.cluster import Cluster, Run
from lib.wait import wait_until

MIB = 1 << 20


@pytest.fixture(autouse=True)
def unhurt(one):
    """Around each test: the same processes, and a write that stays."""
    before = one.pids()
    value = os.urandom(16)
    one.put("canary", value)
    yield
    assert one.pids() == before
    assert one.is_ready()
    assert one.get("canary").body == value


def ask(node, head, body=b"", **more):
    """Raw request bytes in; (status, whole answer)."""
    answer, _ = web.exchange(node.client, head + body, **more)
    return web.status_of(answer), answer


def problem_code(answer):
    """The code of the problem in raw answer bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head.lower(), answer
    return json.loads(body)["code"]


# --- keys ---

@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE", "HEAD"])
def test_a_key_of_501_bytes_is_too_long_and_500_are_not(one, method):
    body = b"v" if method == "PUT" else None
    fits = one.request(method, b"k" * 500, body)
    assert fits.status in (200, 201, 204, 404), fits
    # Counted as decoded bytes.
    for key in (b"k" * 501, b"\0" * 501, b"k" * 3000):
        r = one.request(method, key, body)
        assert r.problem(414) in (None, "key_too_long"), key[:1]


def test_a_target_longer_than_any_key_is_refused(one):
    status, _ = ask(one, b"GET /" + b"k" * 100_000 +
                    b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status in (0, 414, 431)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_empty_key_is_refused(one, method):
    r = web.request(one.client, method, "/", b"v" if method == "PUT" else None)
    r.problem(400, 405)
    if r.status == 405:
        assert r.headers["Allow"]


@pytest.mark.parametrize("path", ["/%", "/%4", "/%zz", "/a%", "/a%0", "/%g0",
                                  "/%0g", "/ok%20%", "/%%41", "/%u0041"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_malformed_percent_encoding_is_refused(one, method, path):
    r = web.request(one.client, method, path, b"v" if method == "PUT" else None)
    assert r.problem(400) == "bad_key"


# --- methods ---

@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW", "OPTIONS", "TRACE",
                                    "put", "PROPFIND"])
def test_an_unknown_method_is_refused_and_the_known_ones_are_named(one, method):
    r = web.request(one.client, method, "/k", b"")
    assert r.problem(405) == "method_not_allowed"
    allowed = {m.strip() for m in r.headers["Allow"].split(",")}
    assert {"GET", "HEAD", "PUT", "DELETE"} <= allowed
    assert method not in allowed


# --- values ---

def test_a_value_over_the_limit_is_refused_before_its_body_is_read_in(one):
    """Only the head is sent, and the answer comes."""
    for expect in (b"", b"Expect: 100-continue\r\n"):
        began = time.monotonic()
        answer, closed = web.exchange(
            one.client, b"PUT /big HTTP/1.1\r\nHost: x\r\n" + expect +
            b"Content-Length: %d\r\n\r\n" % (MIB + 1), seconds=5)
        assert web.status_of(answer) == 413, answer
        assert b"100 Continue" not in answer
        assert problem_code(answer) == "value_too_large"
        assert str(MIB).encode() in answer.partition(b"\r\n\r\n")[2], \
            "the limit is named"
        assert closed and time.monotonic() - began < 2
    assert one.get("big").status == 404
    status, _ = ask(one, b"PUT /big HTTP/1.1\r\nHost: x\r\n"
                    b"Content-Length: 99999999999999999999\r\n\r\n")
    assert status in (400, 413)


def test_a_chunked_value_over_the_limit_is_refused_and_not_kept(one):
    before = process.memory_kib(one.pids()["httpd"])
    head = b"PUT /big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = b""
    with socket.create_connection((web.HOST, one.client), 5) as s:
        s.settimeout(5)
        try:
            s.sendall(head)
            for _ in range(64):  # 4 MiB
                s.sendall(chunk)
            s.sendall(b"0\r\n\r\n")
            answer = s.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed in the middle of it: refused as well
    assert web.status_of(answer) in (0, 413), answer
    assert one.get("big").status == 404
    assert process.memory_kib(one.pids()["httpd"]) < before + 16 * 1024


def test_a_chunked_value_at_the_limit_is_taken(one):
    value = os.urandom(MIB)

    def chunks():
        for i in range(0, MIB, 50_000):
            yield value[i:i + 50_000]
    r = web.request(one.client, "PUT", "/chunked", chunks())
    assert r.status in (201, 204), r
    assert one.get("chunked").body == value


def test_the_limit_of_a_value_can_be_lowered(make_cluster):
    node = make_cluster(env={"METCD_MAX_VALUE_BYTES": "1000"}).node(1)
    assert node.put("k", b"x" * 1000).status == 201
    r = node.request("PUT", "k", b"x" * 1001)
    assert r.problem(413) == "value_too_large"
    assert "1000" in r.body.decode()
    assert len(node.get("k").body) == 1000


def test_curl_with_a_mebibyte_is_not_delayed(one, scratch):
    """By waiting for 100-continue, as curl does for up to a second."""
    path = os.path.join(scratch, "value")
    value = os.urandom(MIB)
    with open(path, "wb") as f:
        f.write(value)
    for extra in ([], ["-H", "Expect: 100-continue"]):
        for how in (["-T", path], ["-X", "PUT", "--data-binary", "@" + path]):
            r = Run("/usr/bin/curl", "-sS", "-w", "%{http_code} %{time_total}",
                    *extra, *how, f"http://127.0.0.1:{one.client}/curl")
            code, seconds = r.out.split()
            assert code in (b"201", b"204"), r
            assert float(seconds) < 0.8, r
    assert one.get("curl").body == value


# --- shapes that smuggle requests ---

SMUGGLED = b"PUT /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nS"
SHAPES = {
    "two lengths that differ":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        b"Content-Length: %d\r\n\r\n" % len(SMUGGLED),
    "two equal lengths":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        b"Content-Length: 0\r\n\r\n",
    "a list of lengths":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0, %d\r\n\r\n"
        % len(SMUGGLED),
    "length and chunked":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(SMUGGLED) + 5),
    "chunked and length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: %d\r\n\r\n0\r\n\r\n" % (len(SMUGGLED) + 5),
    "another coding":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "identity":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
    "chunked twice":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and more":
        b"PUT /k HTTP/1.1\r\nHost: x\r\n"
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a negative length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a signed length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
    "a length that is no number":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n",
    "no host": b"PUT /k HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "a space in the target":
        b"PUT /k k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length : 0\r\n\r\n",
    "two hosts":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nhost: x\r\nContent-Length: 0\r\n\r\n",
    "a folded length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n %d\r\n\r\n"
        % len(SMUGGLED),
    "a folded coding":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\tchunked"
        b"\r\n\r\n0\r\n\r\n",
    "a length folded with nothing":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n \r\n\r\n",
    "a name that folding makes a length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Leng: %d\r\n th\r\n\r\n"
        % len(SMUGGLED),
    "a name that folding makes a coding":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nTransfer-Enc: chunked\r\n oding\r\n"
        b"\r\n0\r\n\r\n",
    "a folded If-Match":
        b'PUT /k HTTP/1.1\r\nHost: x\r\nIf-Match:\r\n "99"\r\n'
        b"Content-Length: 0\r\n\r\n",
    "a folded list in If-Match":
        b'PUT /k HTTP/1.1\r\nHost: x\r\nIf-Match: "98",\r\n "99"\r\n'
        b"Content-Length: 0\r\n\r\n",
    "a folded If-None-Match":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nIf-None-Match:\r\n *\r\n"
        b"Content-Length: 0\r\n\r\n",
    "a folded line before a length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n"
        b"Content-Length: 0\r\n\r\n",
    "a length behind a CR":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: %d\r\n\r\n"
        % len(SMUGGLED),
    "two CRs at the end of a line":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nX: a\r\r\nContent-Length: 0\r\n\r\n",
    "a CR for the empty line":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nX: a\r\r",
    "a length behind a LF":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nX: a\nContent-Length: 0\r\n\r\n",
    "a LF for the empty line":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\n",
    "a NUL in a length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\0%d\r\n\r\n"
        % len(SMUGGLED),
    "a NUL in the name of a length":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length\0s: 0\r\n\r\n",
    "a NUL in another value":
        b"PUT /k HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a NUL in the path":
        b"PUT /k\0k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a NUL at the end of the path":
        b"PUT /k\0 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a NUL in the query":
        b"PUT /k?\0a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a NUL behind a query":
        b"GET /k?consistency=stale\0&consistency=linearizable HTTP/1.1\r\n"
        b"Host: x\r\n\r\n",
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_smuggling_shape_is_refused_and_the_connection_closed(one, name):
    """What follows on the connection must not be taken for a request."""
    answer, closed = web.exchange(one.client, SHAPES[name] + SMUGGLED,
                                  seconds=3)
    assert web.status_of(answer) in (0, 400, 501), answer
    assert closed, "the connection stays open"
    assert b"HTTP/1.1 2" not in answer, answer
    assert one.get("smuggled").status == 404
    assert one.get("k").status == 404 or one.get("k").body != b""


def test_a_condition_on_a_folded_line_is_not_overlooked(one):
    one.put("fold", b"old")
    for line in (b'If-Match:\r\n "999999"', b'If-Match: "999999",\r\n "99999"',
                 b"If-None-Match:\r\n *", b'If-Matc: "999999"\r\n h'):
        status, answer = ask(one, b"PUT /fold HTTP/1.1\r\nHost: x\r\n" + line +
                             b"\r\nContent-Length: 3\r\n\r\nnew", seconds=3)
        assert status == 400 and problem_code(answer) == "bad_request", line
        assert one.get("fold").body == b"old"


def test_a_nul_is_part_of_a_key_only_when_it_is_encoded(one):
    one.put("nul", b"outside")
    one.put(b"nul\0b", b"inside")
    for path in (b"/nul\0b", b"/nul\0", b"/\0", b"/nul?\0", b"/nul?\0b=c",
                 b"http://x/nul\0b"):
        for method in (b"GET", b"DELETE"):
            status, answer = ask(one, method + b" " + path +
                                 b" HTTP/1.1\r\nHost: x\r\n\r\n", seconds=3)
            assert status == 400, (path, answer)
            assert problem_code(answer) == "bad_request"
    for path, value in ((b"/nul", b"outside"), (b"/nul%00b", b"inside"),
                        (b"/nul?consistency=stale", b"outside"),
                        (b"/nul%00b?consistency=stale", b"inside"),
                        (b"http://x/nul", b"outside"),
                        (b"http://x/nul%00b?consistency=linearizable",
                         b"inside"), (b"/nul?", b"outside")):
        for version in (b"1.1\r\nHost: x", b"1.0"):
            status, answer = ask(one, b"GET " + path + b" HTTP/" + version +
                                 b"\r\nConnection: close\r\n\r\n")
            assert status == 200, (path, answer)
            assert answer.endswith(b"\r\n\r\n" + value)


@pytest.mark.parametrize("step", [1, 3, 100, 40_000])
def test_a_long_header_is_read_however_it_arrives(one, step):
    """Many fields, with blanks and without, and two requests in a row."""
    fields = b"".join(b"X-%d:%s\r\n" % (i, b" \t"[:i % 3] + b"v" * (3 * i))
                      for i in range(60 if step > 9 else 20))
    head = (b"PUT /long HTTP/1.1\r\n" + fields + b"Host: x\r\nX-Empty:\r\n"
            b"X-Blank: \r\nContent-Length: 3\r\nCookie: a=b; c=d\r\n\r\n")
    whole = (head + b"abc") * 2
    with socket.create_connection((web.HOST, one.client), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(whole), step):
            s.sendall(whole[at:at + step])
        answer = b""
        while answer.count(b"\r\n\r\n") < 2:
            piece = s.recv(65536)
            assert piece, answer
            answer += piece
    assert re.findall(rb"HTTP/1\.1 ([0-9]+) ", answer)[1] == b"204", answer
    assert one.get("long").body == b"abc"


def test_requests_in_one_segment_are_answered_in_order(one):
    """Honest pipelining, the opposite of the above."""
    one.put("p", b"first")
    get = b"GET /p HTTP/1.1\r\nHost: x\r\n\r\n"
    put = b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond"
    last = b"GET /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer, _ = web.exchange(one.client, get + put + last)
    codes = re.findall(rb"HTTP/1\.1 ([0-9]+) ", answer)
    assert codes == [b"200", b"204", b"200"]
    assert answer.index(b"first") < answer.index(b"second")


# --- not HTTP at all ---

def test_garbage_on_the_client_port_ends_only_its_connection(one):
    rng = random.Random(3)
    shapes = [rng.randbytes(n) for n in (1, 16, 500, 70_000)]
    shapes += [b"\0" * 4096, b"GET /k\0k HTTP/1.1\r\n\r\n",
               b"\r\n" * 2000, b"GET", b"GET /" + b"\xff" * 400,
               b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500,
               b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
               b"GET /k HTTP/1.1\r\n" + b"a: b\r\n" * 20_000]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(
            lambda x: web.exchange(x[0], x[1], seconds=15, shut=True),
            [(port, s) for port in (one.client, one.admin) for s in shapes])
        for answer, closed in results:
            assert closed, answer
            assert web.status_of(answer) in (0, *range(400, 506)), answer
    assert one.get("canary").status == 200


def test_a_client_that_leaves_in_the_middle_does_no_harm(one):
    httpd = one.pids()["httpd"]
    idle = process.fd_count(httpd)
    whole = b"PUT /left HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    for cut in list(range(1, len(whole), 7)) + [len(whole)] * 40:
        with socket.create_connection((web.HOST, one.client), 5) as s:
            s.sendall(whole[:cut])
    for _ in range(20):  # with a reset instead of a proper end
        with socket.create_connection((web.HOST, one.client), 5) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                         b"\1\0\0\0\0\0\0\0")
            s.sendall(whole + b"GET /left HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until("their connections are gone",
               lambda: process.fd_count(httpd) <= idle + 1, 20)
    r = one.get("left")
    assert r.status == 404 or r.body == b"hello"


def test_a_header_sent_byte_by_byte_is_cut_off_in_time(one):
    """Slow headers hold no connection for ever."""
    with socket.create_connection((web.HOST, one.client), 5) as s:
        s.settimeout(0.2)
        s.sendall(b"GET /k HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        closed = []

        def drip():
            try:
                s.sendall(b"a")
                closed.append(s.recv(4096))
                return True
            except socket.timeout:
                return False
            except OSError:
                return True
        wait_until("the connection is closed", drip, 40)


# --- the peer port ---

def new_warnings(node, mark, pattern, seconds=10.0):
    """Wait for a matching warning after line `mark`; all warnings since."""
    wait_until(f"a log line like {pattern!r}", lambda: any(
        re.search(pattern, w, re.I) for w in node.warnings(mark)), seconds)
    return node.warnings(mark)


def test_garbage_on_the_peer_port_is_one_log_line_and_a_closed_connection(
        make_cluster):
    node = make_cluster().node(1)
    rng = random.Random(4)
    mark = len(node.log())
    _, closed = web.exchange(node.peer, rng.randbytes(5000), seconds=5)
    assert closed
    warnings = new_warnings(node, mark, "raftd")
    assert len(warnings) == 1, warnings
    # A hundred more are not a hundred lines, nor memory, nor descriptors.
    raftd = node.pids()["raftd"]
    fds, memory = process.fd_count(raftd), process.memory_kib(raftd)
    shapes = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 4096, b"\0" * 64,
              b"\xff\xff\xff\x7f", rng.randbytes(70_000), b""]
    for i in range(100):
        web.exchange(node.peer, shapes[i % len(shapes)], seconds=5, shut=True)
    wait_until("the connections are gone",
               lambda: process.fd_count(raftd) <= fds + 1)
    assert process.memory_kib(raftd) < memory + 32 * 1024
    assert len(node.warnings(mark)) <= 10, node.warnings(mark)
    assert node.pids()["raftd"] == raftd
    assert node.put("k", b"v").status == 201


def test_a_silent_connection_to_the_peer_port_is_closed(one):
    began = time.monotonic()
    _, closed = web.exchange(one.peer, b"", seconds=8)
    assert closed and time.monotonic() - began < 5


def test_a_peer_of_another_cluster_is_refused_with_one_log_line(make_cluster):
    """A stranger is told to find our node 1 at the place of its own node 2,
    and then also our node 2 there."""
    ours = make_cluster(["memory", "memory"])
    victim = ours.node(2)
    victim.put("k", b"v")
    pids = [n.pids() for n in ours.nodes]
    term = victim.status()["term"]
    mark = len(victim.log())
    with Cluster(["memory", "memory"]) as theirs:
        theirs.node(2).peer = victim.peer  # not theirs
        stranger = theirs.node(1)
        stranger.start()
        warnings = new_warnings(victim, mark, "cluster")
        wait_until("the stranger says so too", lambda: any(
            "cluster" in w for w in stranger.warnings()))
        # It keeps trying for a while; that is no news.
        wait_until("some tries", lambda: len(stranger.log()) > 0)
        assert victim.put("k", b"w").status == 204
        assert stranger.status()["leader"] == 0
        assert not theirs.bugs()
    assert len(warnings) == 1, warnings
    assert len([w for w in victim.warnings(mark) if "cluster" in w]) == 1
    assert [n.pids() for n in ours.nodes] == pids
    assert victim.status()["term"] == term
    assert ours.node(1).get("k").body == b"w"
    assert [p["id"] for p in victim.status()["peers"]] == [1]
