"""One node: rights, deaths, hangs, restarts under load, stop and start."""

import grp
import http.client
import os
import re
import signal
import socket
import stat
import subprocess
import threading

import pytest
import units
from lib import web
from lib.load import FAIL, OK, Load, unique_puts
from lib.wait import wait_until

WATCHDOG_S = 3


def proc(pid, name):
    with open(f"/proc/{pid}/{name}") as f:
        return f.read()


def status_field(pid, name):
    for line in proc(pid, "status").splitlines():
        if line.startswith(name + ":"):
            return line.split(":")[1].split()
    raise AssertionError(f"no {name}")


def test_a_first_start_has_nothing_to_warn_of(one):
    """Least rights are enough: nothing that is missed is coped with."""
    one.put("first", b"1")
    for process in units.PROCESSES:
        said = one.journal(process, "-p", "warning", "-o", "cat", "-q")
        assert said == "", said


def test_curl_puts_and_gets(one):
    url = f"http://127.0.0.1:{one.client}/hello"
    units.run("curl", "-sSf", "-L", url, "-XPUT", "-d", "world")
    assert units.run("curl", "-sSf", "-L", url) == "world"


def test_metrics_have_figures_of_all_three(one):
    """Least rights leave each what it says of itself."""
    text = web.request(one.admin, "GET", "/metrics").body.decode()
    for process in units.PROCESSES:
        assert f'metcd_process_up{{process="{process}"}} 1\n' in text
        assert re.search(rf"^metcd_{process}_process_resident_memory_bytes "
                         r"[1-9]", text, re.MULTILINE), text


def test_systemctl_status_says_how_it_is(one):
    wait_until("raftd leads", lambda: "leader 1" in units.show(
        one.unit("raftd"), "StatusText"))
    assert units.show(one.unit("kvd"), "StatusText") == \
        "node 1, engine lmdb, fed by raftd"
    assert units.show(one.unit("httpd"), "StatusText") == "node 1, serving"


@pytest.mark.parametrize("process", units.PROCESSES)
def test_a_process_has_its_own_user_and_no_privilege(one, process):
    pid = one.pid(process)
    assert set(status_field(pid, "Groups")) <= {
        str(grp.getgrnam("metcd").gr_gid)}
    with open("/etc/passwd") as f:
        uid = [line.split(":")[2] for line in f
               if line.startswith(f"metcd-{process}:")][0]
    assert set(status_field(pid, "Uid")) == {uid}
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(status_field(pid, name)[0], 16) == 0, name
    assert status_field(pid, "NoNewPrivs") == ["1"]
    assert status_field(pid, "Seccomp") == ["2"]


@pytest.mark.parametrize("process,alone", [("raftd", False), ("kvd", True),
                                           ("httpd", True)])
def test_only_raftd_has_a_network(one, process, alone):
    link = os.readlink(f"/proc/{one.pid(process)}/ns/net")
    assert (link != os.readlink("/proc/1/ns/net")) == alone


def test_directories_and_sockets_are_for_the_node_alone(one):
    for path, owner, mode in (
            ("/var/lib/metcd/one/raft", "metcd-raftd", 0o700),
            ("/var/lib/metcd/one/kv", "metcd-kvd", 0o700),
            ("/run/metcd/one", "root", 0o1770),
            ("/run/metcd/one/raftd.sock", "metcd-raftd", 0o660),
            ("/run/metcd/one/kvd.sock", "metcd-kvd", 0o660)):
        said = units.run("stat", "-c", "%U %G", path).split()
        assert said == [owner, "metcd"], path
        assert stat.S_IMODE(os.stat(path).st_mode) == mode, path
    tried = subprocess.run(
        ["runuser", "-u", "nobody", "--", "ls", "/run/metcd/one"],
        capture_output=True)
    assert tried.returncode != 0


def test_the_journal_is_readable(one):
    one.put("journal", b"secret-value")
    # The journal has time and priority; the line does not repeat them.
    lines = one.journal("raftd", "-p", "info", "-o", "cat").splitlines()
    assert any(re.match(r"info +raftd\[1\] became leader term=\d+ ", line)
               for line in lines), lines
    assert "became leader" not in one.journal("raftd", "-p", "warning")
    assert "ready engine=lmdb" in one.journal("kvd", "-o", "cat")
    said = one.journal("httpd", "-o", "cat")
    assert "listening port=data" in said and "socket=inherited" in said
    for process in units.PROCESSES:
        assert "secret-value" not in one.journal(process)


@pytest.mark.parametrize("process", units.PROCESSES)
def test_a_killed_process_comes_back_alone(one, process):
    one.put("killed", process.encode())
    before = one.pids()
    os.kill(before[process], signal.SIGKILL)
    one.wait_others_untouched(process, before)
    assert one.get("killed") == process.encode()


def test_a_killed_kvd_keeps_its_store(one):
    """It knows that the machine was not rebooted: the store is used as it is
    and not made anew."""
    one.put("kept", b"1")
    wait_until("the engine has something", lambda:
               one.status()["kv"]["durable"] > 0, 30, 0.05)
    before = one.pids()
    os.kill(before["kvd"], signal.SIGKILL)
    one.wait_others_untouched("kvd", before)
    said = one.journal("kvd", "-o", "cat", f"_PID={one.pid('kvd')}")
    assert "boot id" not in said
    assert "applied=0 " not in said, said


@pytest.fixture(scope="module")
def short_watchdog(one):
    """Restarted with a watchdog that a test can wait for."""
    drop_ins = [f"/run/systemd/system/metcd-{p}@.service.d/watchdog.conf"
                for p in units.PROCESSES]
    for path in drop_ins:
        units.write(path, f"[Service]\nWatchdogSec={WATCHDOG_S}s\n")
    units.systemctl("daemon-reload")
    units.systemctl("restart", *one.units)
    one.wait_ready()
    yield one
    for path in drop_ins:
        os.unlink(path)
    units.systemctl("daemon-reload")
    units.systemctl("restart", *one.units)
    one.wait_ready()


def test_an_idle_node_feeds_its_watchdogs(short_watchdog):
    """Three times as long as it would take."""
    def fed(process):
        return int(units.show(short_watchdog.unit(process),
                              "WatchdogTimestampMonotonic"))
    before = short_watchdog.pids()
    first = {p: fed(p) for p in units.PROCESSES}
    wait_until("all were fed for three periods", lambda: all(
        fed(p) - first[p] > 3e6 * WATCHDOG_S for p in units.PROCESSES),
        10 * WATCHDOG_S, 0.2)
    assert short_watchdog.pids() == before


@pytest.mark.parametrize("process", units.PROCESSES)
def test_a_process_that_hangs_is_restarted_alone(short_watchdog, process):
    node = short_watchdog
    node.put("hung", process.encode())
    before = node.pids()
    os.kill(before[process], signal.SIGSTOP)
    node.wait_others_untouched(process, before)
    assert node.get("hung") == process.encode()
    assert "watchdog timeout" in node.journal(process).lower()


def test_the_engine_is_changed_under_load_without_a_failed_request(one):
    others = {p: pid for p, pid in one.pids().items() if p != "kvd"}
    cluster = type("Cluster", (), {"nodes": [one]})
    with Load(cluster, unique_puts(), clients=4, rate=100) as load:
        for engine in ("leveldb", "memory", "lmdb"):
            one.variables["METCD_ENGINE"] = engine
            one.configure()
            units.systemctl("restart", one.unit("kvd"))
            wait_until(f"the engine is {engine}", lambda e=engine:
                       one.status()["kv"].get("engine") == e and
                       one.status()["kv"]["connected"], 20)
            load.wait_for(100)
    failed = [op for op in load.ops if op.outcome != OK]
    assert not failed, f"{len(failed)} of {len(load.ops)}: {failed[:5]}"
    assert {p: one.pid(p) for p in others} == others


def test_httpd_restarts_under_load_and_refuses_no_connection(one):
    """systemd holds the port: who connects meanwhile waits."""
    cluster = type("Cluster", (), {"nodes": [one]})
    before = one.pid("httpd")
    with Load(cluster, unique_puts(b"r"), clients=6, rate=200) as load:
        for _ in range(5):
            units.systemctl("restart", one.unit("httpd"))
            load.wait_for(100)
    assert one.pid("httpd") != before
    ops = load.ops
    refused = [op for op in ops if op.outcome == FAIL]
    assert not refused, f"{len(refused)} of {len(ops)}: {refused[:5]}"
    # A client whose pause happens to be longer than the farewell.
    broken = [op for op in ops if op.outcome != OK]
    assert len(broken) <= 3, f"{len(broken)} of {len(ops)}: {broken}"


class Fresh(threading.Thread):
    """Requests on a connection each, as from curl, until stop is set."""

    def __init__(self, port, number, stop):
        super().__init__()
        self.port, self.number, self.stop = port, number, stop
        self.answered, self.failed = 0, []

    def run(self):
        while not self.stop.is_set():
            key = f"/fresh/{self.number}/{self.answered}"
            try:
                r = web.request(self.port, "PUT", key, b"v")
            except (OSError, http.client.HTTPException) as e:
                self.failed.append(repr(e))
                continue
            self.answered += 1
            if r.status != 201:
                self.failed.append(repr(r))


def test_httpd_restarts_and_no_new_connection_fails(one):
    stop = threading.Event()
    clients = [Fresh(one.client, i, stop) for i in range(4)]
    for c in clients:
        c.start()
    try:
        for _ in range(5):
            goal = sum(c.answered for c in clients) + 100
            units.systemctl("restart", one.unit("httpd"))
            wait_until("100 more are answered", lambda g=goal: sum(
                c.answered for c in clients) >= g, 20)
    finally:
        stop.set()
        for c in clients:
            c.join()
    assert [c.failed for c in clients] == [[]] * len(clients)


def test_a_killed_httpd_breaks_connections_but_refuses_none(one):
    cluster = type("Cluster", (), {"nodes": [one]})
    with Load(cluster, unique_puts(b"k"), clients=4, rate=200) as load:
        for _ in range(3):
            before = one.pids()
            os.kill(before["httpd"], signal.SIGKILL)
            one.wait_others_untouched("httpd", before)
            load.wait_for(50)
    refused = [op for op in load.ops if op.outcome == FAIL]
    assert not refused, refused[:5]


def test_a_stopped_httpd_is_started_by_the_next_client(one):
    units.systemctl("stop", one.unit("httpd"))
    assert one.state("httpd") == "inactive"
    one.put("activated", b"yes")
    assert one.get("activated") == b"yes"
    assert one.state("httpd") == "active"


def test_all_stop_with_0_and_the_data_is_there_again(one):
    one.put("kept", b"over a stop")
    revision = one.status()["kv"]["revision"]
    one.stop()
    for unit in one.units:
        assert units.show(unit, "Result") == "success", unit
        assert units.show(unit, "ExecMainStatus") == "0", unit
        assert units.show(unit, "ActiveState") == "inactive", unit
    wait_until("the sockets' directory is gone",
               lambda: not os.path.exists("/run/metcd/one"))
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", one.client)) != 0
    one.start()
    assert one.get("kept") == b"over a stop"
    assert one.status()["kv"]["revision"] == revision


@pytest.mark.parametrize("process,variable,value,code", [
    ("kvd", "METCD_ENGINE", "paper", 64),
    ("raftd", "METCD_ID", "2", 78)])
def test_what_a_restart_cannot_mend_is_not_restarted(one, process, variable,
                                                     value, code):
    """A wrong call; a directory of another node.  The others go on."""
    right = one.variables[variable] if variable in one.variables else "lmdb"
    cluster = one.variables["METCD_CLUSTER"]
    others = {p: pid for p, pid in one.pids().items() if p != process}
    one.variables[variable] = value
    one.variables["METCD_CLUSTER"] = cluster + ",127.0.0.1:3390"
    one.configure()
    units.systemctl("restart", one.unit(process), check=False)
    wait_until(f"{process} has failed", lambda:
               one.state(process) == "failed", 20, 0.05)
    assert units.show(one.unit(process), "ExecMainStatus") == str(code)
    assert one.restarts(process) == 0
    assert {p: one.pid(p) for p in others} == others
    one.variables[variable] = right
    one.variables["METCD_CLUSTER"] = cluster
    one.configure()
    units.systemctl("restart", one.unit(process))
    one.wait_ready()
