"""Connections that are open and say nothing."""

import resource
import socket

from . import settings

SPARE = 256  # descriptors for the rest of this process


class Idle:
    """with Idle(port, count): each connection has asked once."""

    def __init__(self, port, count):
        self.port = port
        self.count = count
        self.sockets = []
        least = count + SPARE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < least:
            if hard != resource.RLIM_INFINITY and hard < least:
                raise SystemExit(f"{count} connections need a limit of {least} "
                                 f"open files (ulimit -n), it is {hard}")
            resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))

    def __enter__(self):
        try:
            for _ in range(self.count):
                s = socket.create_connection((settings.HOST, self.port), 10)
                self.sockets.append(s)
                s.sendall(b"GET /k0000000?consistency=stale HTTP/1.1\r\n"
                          b"Host: bench\r\n\r\n")
                if not s.recv(65536).startswith(b"HTTP/1.1 200 "):
                    raise OSError("an idle connection got no answer")
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()
        self.sockets = []
