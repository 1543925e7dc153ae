"""Clients that write without pause, each to one node; when that one cannot be
reached they go to the next.  They note what failed, and their pauses."""

import http.client
import threading
import time

from . import settings


class Writer(threading.Thread):
    def __init__(self, api, ports, number, stop):
        super().__init__(daemon=True)
        self.api = api
        self.ports = ports
        self.at = number % len(ports)
        self.number = number
        self.stop = stop
        self.acknowledged = []  # times
        self.refused = []       # statuses that are not 2xx
        self.broken = 0         # sent, and the connection ended without answer
        self.connection = None

    def run(self):
        count = 0
        while not self.stop.is_set():
            count += 1
            self.put(f"writer{self.number}-{count % 100}")
        if self.connection:
            self.connection.close()

    def put(self, key):
        """Until it is acknowledged; a broken or refused one counts, and is
        sent again."""
        while not self.stop.is_set():
            if not self.connect():
                continue
            try:
                status = self.ask(key)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                self.go_on()
                continue
            if 200 <= status <= 299:
                self.acknowledged.append(time.monotonic())
                return
            self.refused.append(status)
            self.go_on()

    def connect(self):
        if self.connection is None:
            c = http.client.HTTPConnection(settings.HOST, self.ports[self.at],
                                           timeout=20)
            try:
                c.connect()
            except OSError:  # nothing was sent: no failure
                self.at = (self.at + 1) % len(self.ports)
                return False
            self.connection = c
        return True

    def ask(self, key):
        path, body, headers = "/" + key, "x" * 256, {}
        if self.api == "v2":
            path, body = "/v2/keys/" + key, "value=" + body
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self.connection.request("PUT", path, body, headers)
        answer = self.connection.getresponse()
        answer.read()
        if answer.will_close:  # said so: no failure
            self.go_on()
        return answer.status

    def go_on(self):
        if self.connection:
            self.connection.close()
        self.connection = None
        self.at = (self.at + 1) % len(self.ports)


class Writers:
    """with Writers(api, ports, count) as w: ...; then w.pauses(...)"""

    def __init__(self, api, ports, count):
        self.stop = threading.Event()
        self.all = [Writer(api, ports, n, self.stop) for n in range(count)]

    def __enter__(self):
        for w in self.all:
            w.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for w in self.all:
            w.join(30)

    def refused(self):
        return [s for w in self.all for s in w.refused]

    def broken(self):
        return sum(w.broken for w in self.all)

    def longest_pause(self, since):
        """Seconds without any acknowledged write, of anybody; and of the one
        writer that waited longest."""
        times = sorted(t for w in self.all for t in w.acknowledged
                       if t >= since)
        alone = [max((b - a for a, b in zip(w.acknowledged,
                                            w.acknowledged[1:])
                      if b >= since), default=0.0) for w in self.all]
        return (max((b - a for a, b in zip(times, times[1:])), default=0.0),
                max(alone))
