"""HTTP at two heights: requests with http.client, and raw bytes."""

import http.client
import json
import socket
import time
import urllib.parse

HOST = "127.0.0.1"


def target(key):
    """The request target of a key (bytes or text)."""
    if isinstance(key, str):
        key = key.encode()
    return "/" + urllib.parse.quote_from_bytes(key, safe="")


class Reply:
    """An answer, read to its end."""

    def __init__(self, response, method):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.method = method

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:300]!r}>"

    @property
    def revision(self):
        """The number in the ETag, or None."""
        tag = self.headers.get("ETag")
        return int(tag.strip('"')) if tag else None

    def json(self):
        return json.loads(self.body)

    def problem(self, *statuses):
        """Check that this is a well-formed problem of one of the statuses;
        its stable code."""
        assert self.status in statuses, self
        kind = self.headers.get("Content-Type", "").split(";")[0]
        assert kind == "application/problem+json", self
        if self.method == "HEAD":
            return None
        body = self.json()
        assert body["status"] == self.status, self
        assert isinstance(body["title"], str) and body["title"], self
        assert isinstance(body["code"], str) and body["code"], self
        if self.status == 503:
            assert int(self.headers["Retry-After"]) >= 0, self
        return body["code"]


class Session:
    """One persistent connection, opened again when it was closed."""

    def __init__(self, port, timeout=10.0):
        self.connection = http.client.HTTPConnection(HOST, port,
                                                     timeout=timeout)

    def connect(self):
        """Connect if not connected: an error here means nothing was sent."""
        if self.connection.sock is None:
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP,
                                            socket.TCP_NODELAY, 1)

    def request(self, method, path, body=None, headers=()):
        self.connect()
        try:
            self.connection.request(method, path, body=body,
                                    headers=dict(headers))
            return Reply(self.connection.getresponse(), method)
        except BaseException:
            self.close()
            raise

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request(port, method, path, body=None, headers=(), timeout=10.0):
    """One request on a connection of its own."""
    with Session(port, timeout) as s:
        return s.request(method, path, body, headers)


def exchange(port, data, seconds=5.0, shut=False, until=None):
    """Send bytes, then collect what comes back until the other end closes,
    until(bytes) is true, or the time is over.  (bytes, closed by them)."""
    got = b""
    deadline = time.monotonic() + seconds
    with socket.create_connection((HOST, port), timeout=seconds) as s:
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # they may have answered before they closed
        while until is None or not until(got):
            left = deadline - time.monotonic()
            if left <= 0:
                return got, False
            s.settimeout(left)
            try:
                piece = s.recv(65536)
            except socket.timeout:
                return got, False
            except ConnectionResetError:
                return got, True
            if not piece:
                return got, True
            got += piece
    return got, False


def status_of(answer):
    """The status code of raw answer bytes, or 0 when there is none."""
    words = answer.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        return 0
    return int(words[1])
