"""Many connections at a time: limits hold, and those below them are served."""

import signal
import socket
import time

import pytest

from lib import process, web
from lib.wait import wait_until

MIB = 1 << 20


def connect(port):
    return socket.create_connection((web.HOST, port), 5)


def idle_fds(pid):
    """Its descriptors when the connections of before are gone."""
    seen = []

    def settled():
        seen.append(process.fd_count(pid))
        return len(seen) > 30 and len(set(seen[-30:])) == 1
    wait_until("no connection comes or goes", settled)
    return seen[-1]


def close_all(sockets):
    for s in sockets:
        s.close()


@pytest.mark.parametrize("which", ["client", "admin"])
def test_clients_are_let_in_again_after_the_limit_was_reached(make_cluster,
                                                              which):
    """Whether the connections end one by one or all at once."""
    node = make_cluster(["memory"],
                        env={"METCD_MAX_CONNECTIONS": "5"}).node(1)
    port = getattr(node, which)
    limit = 5 if which == "client" else 256
    httpd = node.pids()["httpd"]
    idle = idle_fds(httpd)
    for at_once in (False, True):
        clients = [connect(port) for _ in range(limit + 1)]
        # The last one stands in the queue of the kernel.
        wait_until("the limit is reached",
                   lambda: process.fd_count(httpd) >= idle + limit)
        if at_once:
            process.kill(httpd, signal.SIGSTOP)
        close_all(clients)
        if at_once:
            process.kill(httpd, signal.SIGCONT)
        for _ in range(3):
            web.request(port, "GET", "/version", timeout=5)
        wait_until("their connections are gone",
                   lambda: process.fd_count(httpd) <= idle + 1)
    assert node.put("k", b"v").status == 201


def test_few_descriptors_leave_enough_for_the_node_itself(make_cluster):
    """At most half of them are for clients."""
    node = make_cluster(["memory"], start=False).node(1)
    node.start(through=["/usr/bin/prlimit", "--nofile=200:200"])
    node.wait_ready()
    assert any("connections=100" in w for w in node.warnings())
    clients = [connect(node.client) for _ in range(150)]
    try:
        assert web.request(node.admin, "GET", "/livez").status == 200
        # And its links are dialed again.
        node.kill("raftd")
        node.kill("kvd")
        node.wait_ready()
    finally:
        close_all(clients)
    assert node.put("k", b"v").status == 201


def test_bodies_that_are_only_announced_take_no_room_from_others(one):
    """There is room for 256 MiB in all: it is for what came."""
    def head(i, size):
        return (b"PUT /announced/%d HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: %d\r\n\r\n" % (i, size))
    httpd = one.pids()["httpd"]
    before = process.memory_kib(httpd)
    clients = []
    try:
        for i in range(300):
            clients.append(connect(one.client))
            clients[-1].sendall(head(i, MIB) + b"x" * 100)
        one.put("present", b"y")
        assert process.memory_kib(httpd) < before + 64 * 1024
        for i in range(20):  # in their midst
            began = time.monotonic()
            assert one.put("present", b"y" * (MIB - i)).status in (201, 204)
            assert time.monotonic() - began < 5
        # Each of them may still send what it announced.
        clients[0].sendall(b"x" * (MIB - 100))
        assert web.status_of(clients[0].recv(4096)) == 201
    finally:
        close_all(clients)
    assert one.get("announced/0").body == b"x" * MIB
    assert one.get("announced/1").status == 404
