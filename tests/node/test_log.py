"""What a node logs: its shapes, and a reader that does not read."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time

import pytest

from lib import web
from lib.cluster import DAEMONS, program
from lib.wait import wait_until

PROGRAMS = {"metcd", *DAEMONS}
PUTS = 1000
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info |warn |"
                  r"error) (metcd|raftd|kvd|httpd)(\[1\])? \S.*")


@contextlib.contextmanager
def full_pipe():
    """(the end to read, the end to write) of a pipe that takes nothing."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_fd, b"\n" * size)
    os.set_blocking(write_fd, True)
    try:
        yield read_fd, write_fd
    finally:
        os.close(read_fd)
        os.close(write_fd)


@contextlib.contextmanager
def full_socket():
    """The same with a stream socket, as the journal's is."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                writer.send(b"\n" * size)
    writer.setblocking(True)
    with reader, writer:
        yield reader.fileno(), writer.fileno()


class Reader:
    """Takes what is there, without waiting; whole lines of it."""

    def __init__(self, fd):
        os.set_blocking(fd, False)
        self.fd = fd
        self.data = b""

    def lines(self):
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.fd, 65536):
                self.data += part
        whole = self.data[:self.data.rfind(b"\n") + 1]
        return [line.decode() for line in whole.split(b"\n") if line]


def start(node, stderr, **env):
    node.stderr = stderr
    node.env.update(env)
    node.start()
    node.wait_ready()


def put_all(node, count=PUTS):
    """How many seconds it took."""
    began = time.monotonic()
    with contextlib.closing(web.Session(node.client)) as session:
        for i in range(count):
            r = session.request("PUT", f"/k{i % 50}", b"v%d" % i)
            assert r.status in (201, 204), r
    return time.monotonic() - began


# --- a reader that does not read ---

@pytest.mark.parametrize("sink", [full_pipe, full_socket])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_node_whose_log_is_not_read_serves_and_stops(make_cluster, sink,
                                                       level):
    node = make_cluster(start=False).node(1)
    start(node, None, METCD_LOG_LEVEL=level)
    usual = put_all(node)  # what the disk of this machine takes
    node.terminate()
    with sink() as (_, write_fd):
        start(node, write_fd)
        flags = os.get_blocking(write_fd)
        took = put_all(node)
        assert flags and os.get_blocking(write_fd)
        pids = node.pids()
        assert set(pids) == PROGRAMS
        code, stopped = node.terminate()
        assert code == 0
        assert stopped < 2.0, f"{stopped:.3f} s"
        assert took < 3 * usual + 5.0, f"{took:.3f} s, usually {usual:.3f} s"


def test_lines_that_were_lost_are_counted_by_each_process(make_cluster):
    node = make_cluster(start=False).node(1)
    with full_pipe() as (read_fd, write_fd):
        start(node, write_fd, METCD_LOG_LEVEL="debug")
        put_all(node, 100)
        reader = Reader(read_fd)

        def counted():
            found = re.findall(r"warn  (\w+)\[1\] log lines lost n=(\d+)",
                               "\n".join(reader.lines()))
            return found if {who for who, _ in found} >= set(DAEMONS) else None
        found = wait_until("raftd, kvd and httpd say what was lost", counted)
        assert all(int(n) > 0 for _, n in found)
        assert node.terminate()[0] == 0
        lines = reader.lines()
        broken = [line for line in lines if not LINE.fullmatch(line)]
        assert not broken
        assert "log lines lost" in " ".join(x for x in lines if " metcd" in x)
        assert LINE.fullmatch(lines[-1]).group(2) == "metcd"
        assert lines[-1].endswith(" stopped")


# --- shapes ---

def test_logfmt_is_the_shape_of_every_line(make_cluster):
    node = make_cluster().node(1)
    put_all(node, 10)
    assert node.terminate()[0] == 0
    broken = [line for line in node.log() if not LINE.fullmatch(line)]
    assert not broken


def test_json_is_an_object_a_line_from_each_process(make_cluster):
    node = make_cluster(start=False).node(1)
    node.env.update(METCD_LOG_FORMAT="json", METCD_LOG_LEVEL="debug")
    node.start()
    node.wait_ready()
    put_all(node, 10)
    assert node.terminate()[0] == 0
    events = [json.loads(line) for line in node.log()]
    for e in events:
        assert list(e)[:5] == ["ts", "level", "process", "node", "msg"], e
        assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.\d{3}Z", e["ts"]), e
        assert e["level"] in ("debug", "info", "warn", "error"), e
        assert e["node"] in (0, 1), e
        assert isinstance(e["msg"], str) and e["msg"], e
        assert "=" not in e["msg"] or e["level"] == "debug", e
    assert {e["process"] for e in events} == PROGRAMS
    led = [e for e in events if e["msg"] == "became leader"]
    assert led and all(e["term"] > 0 and e["leader"] == 1 for e in led)
    started = [e for e in events if e["msg"] == "started"]
    assert {e["about_process"] for e in started} == set(DAEMONS)


def test_the_journal_gets_priorities_instead_of_times(make_cluster):
    node = make_cluster(start=False).node(1)
    reader, writer = socket.socketpair()
    with reader, writer:
        st = os.fstat(writer.fileno())
        start(node, writer.fileno(),
              JOURNAL_STREAM=f"{st.st_dev}:{st.st_ino}")
        node.kill("kvd")
        lines = Reader(reader.fileno())
        wait_until("kvd's death is logged", lambda: any(
            "process died" in line for line in lines.lines()))
        node.wait_ready()
        assert node.terminate()[0] == 0
        priority = {"info ": "<6>", "warn ": "<4>", "error": "<3>"}
        for line in lines.lines():
            assert priority[line[3:8]] == line[:3], line
            assert re.match(r".{8} (metcd|raftd|kvd|httpd)(\[1\])? ", line), \
                line
        assert any(line.startswith("<4>") for line in lines.lines())


@pytest.mark.parametrize("name, value, allowed", [
    ("log-format", "xml", "logfmt or json"),
    ("log-level", "loud", "debug, info, warn or error")])
def test_a_wrong_word_is_refused_with_those_that_are_right(scratch, name,
                                                           value, allowed):
    for p in sorted(PROGRAMS):
        r = subprocess.run([program(p), f"--{name}", value,
                            "--data-dir", scratch], capture_output=True,
                           text=True, timeout=10)
        assert r.returncode == 64, r
        assert f"--{name} must be {allowed}, not \"{value}\"" in r.stderr
