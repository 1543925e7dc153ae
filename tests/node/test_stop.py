"""The end of a node that was asked to end, and starts that cannot be."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from lib import process, web
from lib.cluster import ENGINES, Run, free_port, program
from lib.load import Load, unique_puts
from lib.proof import check_unique_puts
from lib.wait import wait_until

EX_USAGE, EX_UNAVAILABLE, EX_TEMPFAIL = 64, 69, 75
EX_NOPERM, EX_CONFIG = 77, 78


# --- SIGTERM ---

@pytest.mark.parametrize("engine", ENGINES)
def test_sigterm_under_load_ends_a_node_alone_without_loss(make_cluster,
                                                           engine):
    cluster = make_cluster([engine])
    node = cluster.node(1)
    ops = []
    for round_ in range(2):
        load = Load(cluster, unique_puts(b"u%d" % round_), clients=8)
        with load:
            load.wait_for(300)
            pids = node.pids()
            code, took = node.terminate()
        ops += load.ops
        assert code == 0
        assert took < 2.0, f"{took:.3f} s"
        assert not any(process.is_alive(p) for p in pids.values())
        node.start()
        node.wait_ready()
        check_unique_puts(cluster, ops)


def test_sigterm_under_load_ends_each_node_of_three_without_loss(make_cluster):
    cluster = make_cluster(ENGINES)
    with Load(cluster, unique_puts(), rate=100) as load:
        for node in [cluster.leader()] + cluster.nodes:
            load.wait_for(100)
            code, took = node.terminate()
            assert (code, took < 2.0) == (0, True), f"{code}, {took:.3f} s"
            load.wait_for(100)
            node.start()
            node.wait_ready()
    check_unique_puts(cluster, load.ops)


def test_sigterm_ends_a_node_without_a_quorum_and_requests_under_way(
        make_cluster):
    cluster = make_cluster(ENGINES)
    node = cluster.node(1)
    cluster.node(2).kill_all()
    cluster.node(3).kill_all()
    load = Load(cluster, unique_puts(), clients=4, nodes=[node])
    with load:
        wait_until("requests are under way", lambda: all(
            t.is_alive() for t in load.threads) and len(load.lists) == 4)
        code, took = node.terminate()
    assert (code, took < 2.0) == (0, True), f"{code}, {took:.3f} s"


def test_sigint_ends_a_node_as_sigterm_does(make_cluster):
    node = make_cluster().node(1)
    node.put("k", b"v")
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(5) == 0
    node.process = None
    node.start()
    node.wait_ready()
    assert node.get("k").body == b"v"


def test_sighup_ends_a_node_unless_it_was_started_to_ignore_it(make_cluster):
    """As by nohup: it goes on when its terminal is closed."""
    node = make_cluster(start=False).node(1)
    node.start(through=["/usr/bin/nohup"])
    node.wait_ready()
    pids = node.pids()
    for pid in pids.values():
        process.kill(pid, signal.SIGHUP)
    node.put("k", b"v")
    assert node.pids() == pids
    assert node.terminate()[0] == 0
    node.start()
    node.wait_ready()
    node.process.send_signal(signal.SIGHUP)
    assert node.process.wait(5) == 0
    node.process = None


def test_httpd_is_not_killed_while_a_client_reads_slowly(make_cluster):
    """It gives up what it drains before the supervisor gives it up."""
    cluster = make_cluster(["memory"] * 3)
    node = cluster.node(1)
    node.put("big", os.urandom(1 << 20))
    cluster.node(2).kill_all()
    cluster.node(3).kill_all()
    slow, waiting = socket.socket(), socket.socket()
    with slow, waiting:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((web.HOST, node.client))
        # More than the kernel takes off httpd's hands.
        slow.sendall(b"GET /big?consistency=stale HTTP/1.1\r\n"
                     b"Host: x\r\n\r\n" * 20)
        assert slow.recv(4) == b"HTTP"
        waiting.connect((web.HOST, node.client))
        waiting.sendall(b"PUT /k HTTP/1.1\r\nHost: x\r\n"
                        b"Content-Length: 1\r\n\r\nv")
        web.request(node.admin, "GET", "/livez")  # it has both by now
        code, took = node.terminate()
    assert (code, took < 2.0) == (0, True), f"{code}, {took:.3f} s"
    assert not [w for w in node.warnings() if "did not stop in time" in w and
                "process=httpd" in w]


def test_an_address_to_listen_on_needs_no_host(make_cluster):
    node = make_cluster(["memory"], start=False).node(1)
    arguments = node.arguments()
    for port in (node.client, node.admin):
        arguments[arguments.index(f"{web.HOST}:{port}")] = f":{port}"
    node.arguments = lambda: arguments
    node.start()
    node.wait_ready()
    node.put("k", b"v")
    assert node.get("k").body == b"v"
    wait_until("it says where it is", lambda: any(
        f"url=http://localhost:{node.client} " in line
        for line in node.log()))


# --- starts that cannot be: one line, what and what to do, a known code ---

def alone(name, data_dir, *args, **more):
    """A daemon or supervisor that should end by itself, with one complaint.

    The complaint names the program's trouble; the caller checks how."""
    r = Run(name, "--data-dir", data_dir, *args, **more)
    assert len(r.complaints()) == 1, r
    return r, r.complaints()[0]


@pytest.fixture
def taken():
    """A port in use."""
    with socket.socket() as s:
        s.bind((web.HOST, 0))
        s.listen()
        yield s.getsockname()[1]


def addresses(**ports):
    """Options with free ports, but for those given."""
    port = {"client": free_port(), "admin": free_port(), "peer": free_port(),
            **ports}
    return {
        "httpd": ["--listen", f"127.0.0.1:{port['client']}",
                  "--admin-listen", f"127.0.0.1:{port['admin']}"],
        "raftd": ["--id", "1", "--cluster", f"127.0.0.1:{port['peer']}"],
    }


@pytest.mark.parametrize("which", ["client", "admin"])
def test_httpd_on_a_used_port_says_so(scratch, taken, which):
    r, line = alone("httpd", scratch, *addresses(**{which: taken})["httpd"])
    assert r.code == EX_UNAVAILABLE, r
    assert str(taken) in line


def test_raftd_on_a_used_peer_port_says_so(scratch, taken):
    r, line = alone("raftd", scratch, *addresses(peer=taken)["raftd"])
    assert r.code == EX_UNAVAILABLE, r
    assert str(taken) in line


@pytest.mark.parametrize("name", ["metcd", "kvd"])
@pytest.mark.parametrize("engine", ["rocksdb", "", "LMDB", "lmdb2"])
def test_an_unknown_engine_is_a_wrong_call(scratch, name, engine):
    r, line = alone(name, scratch, "--engine", engine,
                    *(sum(addresses().values(), []) if name == "metcd"
                      else []))
    assert r.code == EX_USAGE, r
    assert engine in line
    for known in ENGINES:
        assert known in line


@pytest.mark.parametrize("name", ["metcd", "raftd", "kvd"])
def test_a_data_directory_that_cannot_be_is_named(scratch, name):
    """It would be below a file."""
    path = os.path.join(scratch, "file")
    with open(path, "w", encoding="ascii"):
        pass
    args = addresses()
    r, line = alone(name, os.path.join(path, "data"), *(
        sum(args.values(), []) if name == "metcd" else args.get(name, [])))
    assert r.code in (EX_NOPERM, EX_CONFIG), r
    assert path in line


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become another user")
@pytest.mark.parametrize("name", ["metcd", "raftd", "kvd"])
def test_an_unwritable_data_directory_is_named(scratch, name):
    """As a user without rights to it."""
    os.chmod(scratch, 0o755)
    for each in ("metcd", "raftd", "kvd", "httpd"):  # where anyone may run it
        shutil.copy(program(each), scratch)
    path = os.path.join(scratch, "data")
    os.mkdir(path, 0o755)
    args = addresses()
    r, line = alone(os.path.join(scratch, name), path, *(
        sum(args.values(), []) if name == "metcd" else args.get(name, [])),
        user=65534, group=65534, extra_groups=[], cwd=scratch)
    assert r.code in (EX_NOPERM, EX_CONFIG), r
    assert path in line


@pytest.mark.parametrize("name", ["raftd", "kvd", "httpd"])
def test_a_second_daemon_on_the_same_directory_says_who_has_it(one, name):
    owner = one.pids()[name]
    args = {**addresses(), "kvd": ["--engine", one.engine]}[name]
    r, line = alone(name, one.dir, *args)
    assert r.code == EX_TEMPFAIL, r
    assert one.dir in line
    assert str(owner) in line
    assert one.pids()[name] == owner
    assert one.put("still", b"here").status in (201, 204)


def test_a_second_node_on_the_same_directory_changes_nothing(one):
    pids = one.pids()
    log = subprocess.DEVNULL
    other = subprocess.Popen(
        process.DIES_WITH_US + [program("metcd"), "--data-dir", one.dir,
                                *sum(addresses().values(), [])],
        stdin=log, stdout=log, stderr=log)
    try:
        for i in range(100):
            one.put("both", b"%d" % i)
        assert one.pids() == pids
        assert one.is_ready()
    finally:
        other.terminate()
        other.wait(5)
    assert one.get("both").body == b"99"


@pytest.mark.parametrize("which", ["client", "admin", "peer"])
def test_a_node_on_a_used_port_says_so_and_ends(scratch, taken, which):
    """It was never ready: then whoever starts it wants to know at once."""
    r, line = alone("metcd", scratch, *sum(addresses(**{which: taken}).values(),
                                           []))
    assert r.code == EX_UNAVAILABLE, r
    assert str(taken) in line


def take(listener, port):
    """Listen on a port that a process which was killed just now may still
    hold for a moment."""
    try:
        listener.bind((web.HOST, port))
        listener.listen()
        return True
    except OSError:
        return False


def test_a_port_taken_while_httpd_was_away_is_tried_until_it_is_free(
        make_cluster):
    """69 means: restart this process alone."""
    node = make_cluster().node(1)
    node.put("k", b"v")
    pids = node.pids()
    process.kill(pids["metcd"], signal.SIGSTOP)
    mark = len(node.log())
    with socket.socket() as s:
        try:
            process.kill(pids["httpd"])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wait_until("the port is ours", lambda: take(s, node.client))
        finally:
            process.kill(pids["metcd"], signal.SIGCONT)
        wait_until("it says that the port is used", lambda: any(
            str(node.client) in w for w in node.warnings(mark)))
    node.wait_ready()
    assert node.get("k").body == b"v"
    after = node.pids()
    assert {n for n in pids if pids[n] != after[n]} == {"httpd"}


WRONG = [["--no-such"], ["--id", "x"], ["--id", "0"], ["--id", "2"],
         ["--id"], ["--election-ms", "-1"], ["--listen", "nonsense"],
         ["--listen", "127.0.0.1:99999"], ["operand"],
         ["--cluster", "127.0.0.1"], ["--cluster", ""],
         ["--cluster", ":3380"], ["--listen", ":"], ["--join"]]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_a_wrong_option_is_a_wrong_call(scratch, args):
    r, line = alone("metcd", scratch, *args)
    assert r.code == EX_USAGE, r
    assert args[0].lstrip("-") in line


def test_a_wrong_environment_twin_is_named(scratch):
    r, line = alone("metcd", scratch, env={**os.environ, "METCD_ID": "x"})
    assert r.code == EX_USAGE, r
    assert "METCD_ID" in line


@pytest.mark.parametrize("name", ["metcd", "metcdctl", "raftd", "kvd",
                                  "httpd"])
def test_help_and_version_are_everywhere(name):
    r = Run(name, "--help")
    assert (r.code, r.err) == (0, ""), r
    assert b"--help" in r.out and b"--version" in r.out
    r = Run(name, "--version")
    assert (r.code, r.err) == (0, ""), r
    assert re.search(rb"[0-9]+\.[0-9]+\.[0-9]+", r.out)
