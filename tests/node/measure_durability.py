#!/usr/bin/python3
"""Measures what durability costs; prints a table.

    measure_durability.py [PART...]     parts: restart memory snapshot swap
                                        catchup; default: all of them
METCD_SCALE=0.01 makes everything a hundred times smaller, to try it out."""

import os
import select
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from lib import process, web  # noqa: E402  (needs the path above)
from lib.cluster import ENGINES, Cluster  # noqa: E402
from lib.load import OK, Load  # noqa: E402
from lib.metcdctl import ctl  # noqa: E402
from lib.wait import wait_until  # noqa: E402

SCALE = float(os.environ.get("METCD_SCALE", "1"))
NEVER = {"METCD_SNAPSHOT_LOG_BYTES": "0", "METCD_CHECK_INTERVAL_MS": "0"}
MIB = 1 << 20
rows = []


def scaled(n):
    return max(int(n * SCALE), 10)


def row(what, value, goal=""):
    rows.append((what, value, goal))
    print(f"{what:<58} {value:<26} {goal}", flush=True)


def put_request(key, value):
    return (b"PUT /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (key, len(value)) + value)


def store(node, count, size, connections=64, name=b"key%08d", keys=None):
    """count values at full speed, each in one send over kept connections; keys
    repeat after `keys`."""
    value = os.urandom(size)
    poll = select.epoll()
    open_sockets = {}
    sent = done = 0

    def send_next(s):
        nonlocal sent
        if sent < count:
            key = name % (sent % keys if keys else sent)
            s.sendall(put_request(key, value))
            sent += 1
    for _ in range(min(connections, count)):
        s = socket.create_connection((web.HOST, node.client))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_sockets[s.fileno()] = s
        poll.register(s, select.EPOLLIN)
        send_next(s)
    began = time.monotonic()
    while done < count:
        for fd, _ in poll.poll(30):
            s = open_sockets[fd]
            answer = s.recv(4096)
            assert answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 204")), \
                answer
            done += 1
            send_next(s)
    for s in open_sockets.values():
        s.close()
    poll.close()
    return time.monotonic() - began


def ordered_snapshot(node):
    r = web.request(node.admin, "POST", "/v1/snapshot", b"", timeout=120)
    assert r.status in (200, 504), r
    if r.status == 504:
        applied = node.status()["kv"]["applied"]
        wait_until("the snapshot is taken", lambda: node.status()["raft"][
            "snapshot"] >= applied - 1000, 300, 0.1)


def rss_mib(node, name="raftd"):
    return process.memory_kib(node.pids()[name]) / 1024


def serves(node):
    try:
        return node.request("PUT", "probe", b"v").status in (201, 204)
    except OSError:
        return False


def restarted(node, seconds=300):
    """(seconds until raftd has its log, until the node serves, progress
    lines)."""
    since = node.mark()
    began = time.monotonic()
    node.start()
    node.wait_logged("log open first=", since, seconds)
    log_s = time.monotonic() - began
    wait_until("it serves", lambda: serves(node), seconds, 0.02)
    return (log_s, time.monotonic() - began,
            len(node.logged("reading the log entries=", since)))


def shm():
    """Syncs cost nothing there, so that a long log is soon written."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def measure_restart():
    entries = scaled(1_000_000)
    for engine in ("lmdb", "memory"):
        before = os.environ.get("TMPDIR")
        if shm():
            os.environ["TMPDIR"] = shm()
        import tempfile
        tempfile.tempdir = None
        cluster = Cluster([engine], env=NEVER)
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before
        tempfile.tempdir = None
        with cluster:
            node = cluster.start().node(1)
            # Few connections: nearly every write is an entry of its own.
            took = 0.0
            while (last := node.status()["raft"]["last"]) < entries:
                took += store(node, max((entries - last), 1000), 100,
                              connections=2, keys=100_000)
            assert node.terminate(30)[0] == 0
            log_s, ready_s, lines = restarted(node)
            row(f"restart, {last} entries, {engine}: log read",
                f"{log_s:.2f} s, {lines} progress lines")
            row(f"restart, {last} entries, {engine}: serves after",
                f"{ready_s:.2f} s")
            row(f"restart, {last} entries, {engine}: memory of raftd",
                f"{rss_mib(node):.0f} MiB", "< 164 MiB")


def measure_memory():
    with Cluster(["memory"], env=NEVER) as cluster:
        node = cluster.start().node(1)
        count = scaled(2100)
        took = store(node, count, MIB, connections=8, keys=50)
        wal = node.path("raft", "wal")
        size = sum(os.path.getsize(os.path.join(wal, n))
                   for n in os.listdir(wal)) / MIB
        row("log written", f"{size:.0f} MiB, {count / took:.0f} MiB/s")
        row("memory of raftd at that length of log",
            f"{rss_mib(node):.0f} MiB", "< 164 MiB")
        assert node.terminate(30)[0] == 0
        log_s, ready_s, _ = restarted(node)
        row("restart with it: log read / serves",
            f"{log_s:.2f} s / {ready_s:.2f} s")
        row("memory of raftd after the restart",
            f"{rss_mib(node):.0f} MiB", "< 164 MiB")


def mixed(rng, client, count):
    key = b"key%08d" % rng.randrange(scaled(1_000_000))
    if rng.random() < 0.5:
        return "put", key, b"x" * 100
    return "get", key, None


def quantile(values, q):
    values = sorted(values)
    return values[min(int(len(values) * q), len(values) - 1)] * 1000


def measure_snapshot():
    """Latency seen by clients that do not use all of the machine."""
    for engine in ENGINES:
        with Cluster([engine], env=NEVER) as cluster:
            node = cluster.start().node(1)
            keys = scaled(1_000_000)
            took = store(node, keys, 100)
            row(f"{engine}: {keys} keys stored", f"{keys / took:.0f} PUT/s")
            wait_until("it is on the disk", lambda: (
                lambda kv: kv["durable"] >= kv["applied"]
                or kv["engine"] == "memory")(
                    node.status()["kv"]), 60, 0.1)
            spans = []
            load = Load(cluster, mixed, clients=6, rate=150)
            with load:
                load.wait_for(int(scaled(1_000_000) ** 0.5) + 5000, 60)
                for _ in range(3):
                    began = time.monotonic()
                    ordered_snapshot(node)
                    spans.append((began, time.monotonic()))
                    load.wait_for(1500, 60)
            assert all(op.outcome == OK for op in load.ops)
            size = max(os.path.getsize(p)
                       for p in node.snapshots().values()) / MIB
            row(f"{engine}: a snapshot takes", ", ".join(
                f"{b - a:.2f} s" for a, b in spans) + f" ({size:.0f} MiB)")
            row(f"{engine}: memory of kvd", f"{rss_mib(node, 'kvd'):.0f} MiB")
            for kind in ("put", "get"):
                inside, outside = [], []
                for op in load.ops:
                    if op.kind == kind:
                        during = any(op.ret > a and op.call < b
                                     for a, b in spans)
                        (inside if during else outside).append(
                            op.ret - op.call)
                p = [quantile(v, 0.99) for v in (outside, inside)]
                row(f"{engine}: p99 of {kind}, without / during a snapshot",
                    f"{p[0]:.2f} / {p[1]:.2f} ms ({p[1] / p[0]:.1f} x, "
                    f"n={len(inside)})", "<= 2 x")
                row(f"{engine}: p50 of {kind}, without / during a snapshot",
                    f"{statistics.median(outside) * 1000:.2f} / "
                    f"{statistics.median(inside) * 1000:.2f} ms")


def measure_swap():
    pairs = ("lmdb", "leveldb", "memory", "leveldb", "lmdb", "memory")
    for keys in (scaled(100_000), scaled(1_000_000)):
        with Cluster(["memory"], env=NEVER) as cluster:
            node = cluster.start().node(1)
            store(node, keys, 100)
            ordered_snapshot(node)
            old = "memory"
            for new in pairs:
                load = Load(cluster, mixed, clients=3, rate=30)
                with load:
                    load.wait_for(20)
                    before = node.status()["kv"]["keys"]
                    began = time.monotonic()
                    r = ctl(node, "engine", new, seconds=600)
                    assert r.code == 0, r
                    wait_until("it has the engine", lambda n=new: (
                        lambda kv: kv["connected"] and kv["engine"] == n
                        and kv["keys"] >= before)(node.status()["kv"]),
                        600, 0.02)
                    load.wait_for(10, 60)
                    took = time.monotonic() - began
                bad = sum(op.outcome != OK for op in load.ops)
                slowest = max(op.ret - op.call for op in load.ops)
                row(f"swap of {keys} keys, {old} -> {new}",
                    f"{took:.2f} s, {bad} failed, slowest {slowest:.2f} s",
                    "0 failed")
                old = new


def measure_catchup():
    with Cluster(ENGINES, env={
            **NEVER, "METCD_LOG_KEEP_BYTES": "0",
            "METCD_WAL_SEGMENT_BYTES": str(max(scaled(64 * MIB), 65536))},
                 heartbeat_ms=100, election_ms=1000) as cluster:
        cluster.start()
        leader = cluster.leader()
        behind, other = [n for n in cluster.nodes if n is not leader]
        behind.kill_all()
        count = scaled(1024)
        took = store(leader, count, MIB, connections=4)
        row("two nodes take 1 MiB values", f"{count / took:.0f} MiB/s")
        for i in range(2):
            leader.put(f"cut{i}", b"v")
            ordered_snapshot(leader)
        size = max(os.path.getsize(p) for p in leader.snapshots().values())
        wait_until("the log is cut", lambda:
                   leader.status()["raft"]["first"] > count / 4, 30)
        since = leader.mark()

        def writes(rng, client, n):
            return "put", b"w%d" % rng.randrange(1000), b"x" * 100
        load = Load(cluster, writes, clients=3, nodes=[leader, other],
                    rate=50)
        with load:
            load.wait_for(500)
            quiet = time.monotonic()
            behind.start()
            snap = behind.path("raft", "snap")

            def received():
                try:
                    return max((os.path.getsize(os.path.join(snap, n))
                                for n in os.listdir(snap)), default=0)
                except OSError:
                    return 0
            wait_until("40 % are there", lambda: received() > 0.4 * size,
                       120, 0.002)
            behind.kill("raftd")
            behind.wait_logged("snapshot installed", 0, 300)
            installed = time.monotonic() - quiet
            wait_until("it has applied all", lambda: serves(behind), 300)
            done = time.monotonic()
        resumed = [int(m[1]) for m in leader.logged(
            r"snapshot transfer node.* from=(\d+)", since)]
        row("catch-up of a node by snapshot, killed at 40 %",
            f"{size / MIB:.0f} MiB: {installed:.1f} s, applied "
            f"{done - quiet:.1f} s")
        row("resumed at", ", ".join(f"{n / MIB:.0f} MiB" for n in resumed))
        row("memory of the sender's raftd", f"{rss_mib(leader):.0f} MiB")
        row("memory of the receiver's raftd", f"{rss_mib(behind):.0f} MiB")
        bad = sum(op.outcome != OK for op in load.ops)
        p = [quantile([op.ret - op.call for op in load.ops if op.kind == "put"
                       and (op.call > quiet) == late and op.call < done],
                      0.99) for late in (False, True)]
        row("the others' PUT p99, before / meanwhile",
            f"{p[0]:.2f} / {p[1]:.2f} ms, {bad} failed", "0 failed")
        row("elections meanwhile", str(len(leader.logged(
            "campaigning", since)) + len(other.logged("became leader"))),
            "0")
        cluster.check_same_state()


def main():
    known = {name[8:]: f for name, f in globals().items()
             if name.startswith("measure_")}
    for part in sys.argv[1:] or known:
        known[part]()
    print("\n" + "-" * 100)
    for what, value, goal in rows:
        print(f"{what:<58} {value:<26} {goal}")


if __name__ == "__main__":
    main()
