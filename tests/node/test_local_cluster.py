"""deploy/local-cluster, which `make cluster` runs: three nodes in the
foreground."""

import os
import re
import signal
import subprocess

import pytest

from lib import process, web
from lib.cluster import BIN, REPO, Run, free_port
from lib.wait import wait_until

SCRIPT = os.path.join(REPO, "deploy", "local-cluster")


def ports(base):
    return [(base + 100 * n, base + 100 * n + 2) for n in range(3)]


class Local:
    """The script under way, as a terminal has it: a process group."""

    def __init__(self, directory):
        self.base = free_port()
        self.data = os.path.join(directory, "data")
        self.log = os.path.join(directory, "local.log")
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                process.DIES_WITH_US +
                [SCRIPT, "-p", str(self.base), "-d", self.data,
                 "--engine", "memory", "--heartbeat-ms", "50",
                 "--election-ms", "500"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**os.environ, "METCD_BIN": BIN}, start_new_session=True)

    def lines(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read().splitlines()

    def is_ready(self):
        try:
            return all(web.request(admin, "GET", "/readyz").status == 200
                       for _, admin in ports(self.base))
        except OSError:
            return False

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

        def sweep():
            left = process.mentioning(self.data)
            for pid in left:
                process.kill(pid)
            return not left
        wait_until("its nodes are gone", sweep)


@pytest.fixture
def local(scratch):
    here = Local(scratch)
    yield here
    here.close()


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_three_nodes_run_in_the_foreground_and_one_signal_stops_all(local,
                                                                    how):
    wait_until("three nodes are ready", local.is_ready, 20)
    assert web.request(local.base, "PUT", "/hello", b"world").status == 201
    for client, _ in ports(local.base):
        assert web.request(client, "GET", "/hello").body == b"world"
    running = process.mentioning(local.data)
    assert len(running) == 1 + 3 * 4
    if how == "Ctrl-C":
        os.killpg(local.process.pid, signal.SIGINT)
    else:
        local.process.send_signal(signal.SIGTERM)
    assert local.process.wait(10) == 0
    assert process.mentioning(local.data) == []
    lines = local.lines()
    assert all(re.match(r"(n[123] \| |local-cluster: )", x) for x in lines), \
        "a line without its node"
    for n in (1, 2, 3):
        assert any(x.startswith(f"n{n} | ") and "raftd" in x for x in lines)
    # The last words of each node are there too.
    assert sum(bool(re.search(r"metcd\[[123]\] stopped", x))
               for x in lines) == 3


def test_a_killed_node_does_not_end_the_others(local):
    wait_until("three nodes are ready", local.is_ready, 20)
    victim = next(int(m.group(1)) for m in (
        re.match(r"local-cluster: node 3 pid=(\d+) ", x)
        for x in local.lines()) if m)
    process.kill(victim)
    assert web.request(local.base, "PUT", "/k", b"v").status == 201
    wait_until("it says so", lambda: any(
        "node 3 ended" in x for x in local.lines()))
    assert local.process.poll() is None
    local.process.send_signal(signal.SIGINT)
    assert local.process.wait(10) == 0


def test_a_node_that_cannot_start_ends_all_with_its_code(scratch):
    base = free_port()
    r = Run(SCRIPT, "-p", base, "-d", os.path.join(scratch, "data"),
            "--engine", "none", env={**os.environ, "METCD_BIN": BIN})
    assert r.code == 64, r
    assert process.mentioning(scratch) == []


def test_its_own_wrong_calls_are_told_in_one_line(scratch):
    for args in (["-p"], ["-p", "x"], ["-n", "0"], ["-n", "40"],
                 ["-p", "65500"]):
        r = Run(SCRIPT, *args, cwd=scratch,
                env={**os.environ, "METCD_BIN": BIN})
        assert (r.code, len(r.complaints())) == (64, 1), (args, r)
    assert Run(SCRIPT, "--help").code == 0
    r = Run(SCRIPT, cwd=scratch, env={**os.environ, "METCD_BIN": scratch})
    assert (r.code, len(r.complaints())) == (64, 1), r
