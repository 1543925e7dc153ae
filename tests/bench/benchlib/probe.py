"""A client that must know at once when writes are possible again: every
millisecond one PUT to every node that is not known to be dead, whatever became
of those before."""

import errno
import select
import socket
import time

from . import settings

PACE_S = 0.001
PATIENCE_S = 0.1  # then a request is given up and its connection closed
ANSWER_BYTES = 65536


def put_request(api, number):
    """A PUT of one of a few keys."""
    key = f"probe{number % 16}"
    if api == "v2":
        body = "value=x"
        return (f"PUT /v2/keys/{key} HTTP/1.1\r\nHost: bench\r\nContent-Type: "
                f"application/x-www-form-urlencoded\r\nContent-Length: "
                f"{len(body)}\r\n\r\n{body}").encode()
    return (f"PUT /{key} HTTP/1.1\r\nHost: bench\r\nContent-Length: 1"
            "\r\n\r\nx").encode()


class Request:
    def __init__(self, sock, node, sent_at):
        self.sock = sock
        self.node = node
        self.sent_at = sent_at
        self.answer = b""


class Prober:
    """ports: {node: port}"""

    def __init__(self, api, ports):
        self.api = api
        self.ports = dict(ports)
        self.epoll = select.epoll()
        self.under_way = {}  # descriptor: Request, oldest first
        self.idle = {n: [] for n in ports}
        self.count = 0
        self.next_at = time.monotonic()

    def close(self):
        for r in list(self.under_way.values()):
            self.drop(r)
        for socks in self.idle.values():
            for s in socks:
                s.close()
        self.epoll.close()

    def drop(self, r):
        del self.under_way[r.sock.fileno()]
        self.epoll.unregister(r.sock.fileno())
        r.sock.close()

    def send(self, node):
        self.count += 1
        if self.idle[node]:
            s = self.idle[node].pop()
        else:
            s = socket.socket()
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if s.connect_ex((settings.HOST, self.ports[node])) != 0:
                s.close()  # nobody listens
                return
            s.setblocking(False)
        try:
            s.send(put_request(self.api, self.count))
        except OSError:
            s.close()
            return
        self.under_way[s.fileno()] = Request(s, node, time.monotonic())
        self.epoll.register(s.fileno(), select.EPOLLIN)

    def take(self, r):
        """(status, node, when it was sent, when it was answered), or None."""
        try:
            data = r.sock.recv(ANSWER_BYTES)
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.EINTR):
                return None
            data = b""
        if not data:
            self.drop(r)
            return None
        r.answer += data
        head, gap, body = r.answer.partition(b"\r\n\r\n")
        if not gap:
            return None
        wanted = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                wanted = int(line[15:])
        if len(body) < wanted:
            return None
        del self.under_way[r.sock.fileno()]
        self.epoll.unregister(r.sock.fileno())
        self.idle[r.node].append(r.sock)
        return int(head[9:12]), r.node, r.sent_at, time.monotonic()

    def turn(self):
        """Send what is due, wait for the next; the answers that came."""
        now = time.monotonic()
        if now >= self.next_at:
            for node in self.ports:
                self.send(node)
            self.next_at = max(self.next_at + PACE_S, now)
        for r in list(self.under_way.values()):
            if now - r.sent_at < PATIENCE_S:
                break
            self.drop(r)
        ready = self.epoll.poll(max(0, self.next_at - time.monotonic()))
        answers = [self.take(self.under_way[fd]) for fd, _ in ready]
        return [a for a in answers if a]

    def until(self, condition, seconds):
        """Go on until an answer fulfils the condition; that answer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for answer in self.turn():
                if condition(answer):
                    return answer
        raise TimeoutError(f"no write was acknowledged for {seconds} s")

    def forget(self, node):
        """It is dead: its answers no longer count, and no more is sent to it
        (to connect to a process that is frozen may take minutes)."""
        del self.ports[node]
        for r in [r for r in self.under_way.values() if r.node == node]:
            self.drop(r)
        for s in self.idle[node]:
            s.close()
        self.idle[node] = []
