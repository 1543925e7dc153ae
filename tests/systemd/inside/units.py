"""metcd's units, as an operator handles them.  Runs in the container."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                "../../node"))

from lib import web  # noqa: E402  (needs the path above)
from lib.wait import wait_until  # noqa: E402

PROCESSES = ("raftd", "kvd", "httpd")


def run(*command, check=True, seconds=120):
    """Its output; what it says on stderr belongs to that."""
    r = subprocess.run(command, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=seconds)
    assert not check or r.returncode == 0, (command, r.returncode, r.stdout)
    return r.stdout


def systemctl(*arguments, check=True):
    return run("systemctl", "--no-pager", *arguments, check=check)


def show(unit, name):
    return systemctl("show", "--value", "-p", name, unit).strip()


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


class Instance:
    """A node: its environment file, its ports, its units."""

    def __init__(self, name, number=1, peers="127.0.0.1:3380", base=3379,
                 **variables):
        self.name = name
        self.id = number
        self.client = base
        self.admin = base + 2
        # Small files: the container's disk is memory.
        self.variables = {"METCD_ID": number, "METCD_CLUSTER": peers,
                          "METCD_WAL_SEGMENT_BYTES": 1 << 22}
        self.variables.update(variables)

    def unit(self, process):
        return f"metcd-{process}@{self.name}.service"

    @property
    def target(self):
        return f"metcd@{self.name}.target"

    @property
    def units(self):
        return [self.unit(p) for p in PROCESSES]

    def configure(self):
        """Write what an operator writes."""
        write(f"/etc/metcd/{self.name}.env",
              "".join(f"{k}={v}\n" for k, v in self.variables.items()))
        for unit, port in (("metcd-httpd", self.client),
                           ("metcd-httpd-admin", self.admin)):
            write(f"/etc/systemd/system/{unit}@{self.name}.socket.d/port.conf",
                  "[Socket]\nListenStream=\n"
                  f"ListenStream=127.0.0.1:{port}\n")
        systemctl("daemon-reload")

    def start(self):
        self.configure()
        systemctl("start", self.target)
        self.wait_ready()
        return self

    def stop(self):
        """The target, and until all that is part of it has ended."""
        systemctl("stop", self.target, *self.units)
        wait_until(f"{self.name} has stopped", lambda: all(
            self.state(p) in ("inactive", "failed") for p in PROCESSES), 30)

    def state(self, process):
        return show(self.unit(process), "ActiveState")

    def pid(self, process):
        return int(show(self.unit(process), "MainPID"))

    def pids(self):
        return {p: self.pid(p) for p in PROCESSES}

    def restarts(self, process):
        return int(show(self.unit(process), "NRestarts"))

    def ready(self):
        try:
            r = web.request(self.admin, "GET", "/readyz", timeout=3)
        except OSError:
            return False
        return r.status == 200

    def wait_ready(self, seconds=30):
        wait_until(f"{self.name} is ready", self.ready, seconds, 0.05)

    def status(self):
        return web.request(self.admin, "GET", "/v1/status").json()

    def put(self, key, value):
        r = web.request(self.client, "PUT", web.target(key), value)
        assert r.status in (201, 204), r

    def get(self, key):
        return web.request(self.client, "GET", web.target(key)).body

    def journal(self, process, *options):
        run("journalctl", "--sync")
        return run("journalctl", "--no-pager", "-u", self.unit(process),
                   *options)

    def wait_others_untouched(self, process, before):
        """process came back as another one and all is ready; the other two
        are still the same."""
        wait_until(f"{process} of {self.name} is another process", lambda:
                   self.pid(process) not in (0, before[process]), 30, 0.05)
        self.wait_ready()
        after = self.pids()
        for p in PROCESSES:
            assert (after[p] == before[p]) == (p != process), (before, after)
