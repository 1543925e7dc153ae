"""When a request passes which function: probes of the kernel in the running
processes (uprobes), nothing in their source.  With one connection the requests
follow each other, so that what lies between two is one request's way."""

import os
import re
import statistics
import subprocess

from . import settings

TRACING = "/sys/kernel/tracing"
GROUP = "metcdbench"

# What happens on the way of a request: a word for the table, and the event:
# "program:function" (one that has a symbol) or a tracepoint of the kernel.
PUT = (("httpd has the request", "httpd:api_put"),
       ("raftd proposes it", "raftd:raft_propose"),
       ("the leader's write is in the log, its sync begins",
        "syscalls:sys_enter_fdatasync"),
       ("the sync is done", "syscalls:sys_exit_fdatasync"),
       ("committed: on its way to kvd", "raftd:feed_publish"),
       ("kvd has it", "kvd:kvd_take_commit"),
       ("applied and written to the engine", "kvd:kvd_reply"),
       ("httpd has the result", "httpd:pending_reply"))
GET = (("httpd has the request", "httpd:api_get"),
       ("raftd asks for a read index", "raftd:raft_read_index"),
       ("a majority has answered", "raftd:reads_known"),
       ("kvd has it", "kvd:kvd_take_question"),
       ("looked up, in the reply", "kvd:kvd_answer"),
       ("httpd has the value", "httpd:pending_reply"))
STALE = (GET[0], *GET[3:])


def symbols(path):
    """{function: offset in the file}: addresses of a position-independent
    program, less where its code is mapped."""
    shift = 0
    headers = subprocess.run(["readelf", "-lW", path], check=True,
                             stdout=subprocess.PIPE).stdout.decode()
    for m in re.finditer(r"LOAD\s+(0x\w+)\s+(0x\w+)\s.*\bR E\b", headers):
        shift = int(m.group(2), 16) - int(m.group(1), 16)
    names = subprocess.run(["nm", path], check=True,
                           stdout=subprocess.PIPE).stdout.decode()
    return {f[2]: int(f[0], 16) - shift for line in names.splitlines()
            if len(f := line.split()) == 3 and f[1] in "tT"}


class Probes:
    """with Probes(points) as p: p.record(pids, seconds, file)"""

    def __init__(self, points):
        self.events = [self.event(at) for _, at in points]
        self.wanted = [at.split(":") for _, at in points
                       if not at.startswith("syscalls:")]

    @staticmethod
    def event(at):
        if at.startswith("syscalls:"):
            return at
        return GROUP + ":" + at.replace(":", "_")

    def __enter__(self):
        self.clear()
        for program, function in self.wanted:
            path = os.path.join(os.environ.get(
                "METCD_BIN", os.path.join(settings.REPO, "bin")), program)
            offset = symbols(path).get(function)
            if offset is None:
                raise SystemExit(f"{path} has no function {function} (any "
                                 "more): name another one in benchlib/hops.py")
            self.control(f"p:{GROUP}/{program}_{function} {path}:{offset:#x}")
        return self

    def __exit__(self, *_):
        self.clear()

    @staticmethod
    def control(line):
        fd = os.open(f"{TRACING}/uprobe_events", os.O_WRONLY | os.O_APPEND)
        try:  # not open(): the file cannot be sought in
            os.write(fd, line.encode() + b"\n")
        finally:
            os.close(fd)

    def clear(self):
        with open(f"{TRACING}/uprobe_events", encoding="ascii") as f:
            ours = [m.group(1) for line in f
                    if (m := re.match(rf"p:({GROUP}/\S+)", line))]
        for name in ours:
            self.control(f"-:{name}")

    def record(self, pids, seconds, data):
        """[(seconds, event)] in order of time."""
        chosen = [x for e in self.events for x in ("-e", e)]
        subprocess.run(["perf", "record", "-q", "-o", data, *chosen, "-p",
                        ",".join(map(str, pids)), "sleep", str(seconds)],
                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=True)
        text = subprocess.run(["perf", "script", "-i", data, "--ns",
                               "-F", "time,event"], check=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.decode()
        return sorted((float(m.group(1)), m.group(2)) for m in
                      re.finditer(r"([\d.]+):\s+(\w+:\w+):", text))


def available():
    """None, or why there are no probes here."""
    if not os.access(f"{TRACING}/uprobe_events", os.W_OK):
        return f"no right to {TRACING}/uprobe_events (root is needed)"
    return None


def ways(events, seen):
    """For each request that passed all events in order, the seconds between
    one and the next; the last leads to the next request."""
    found, times = [], []
    for t, event in seen:
        if event == events[0]:
            if len(times) == len(events):
                found.append([b - a for a, b in zip(times, times[1:] + [t])])
            times = [t]
        elif len(times) < len(events) and times \
                and event == events[len(times)]:
            times.append(t)
    return found


def medians(points, found):
    """[(from, to, us)] of ways()."""
    names = [name for name, _ in points]
    middle = [statistics.median(column) * 1e6 for column in zip(*found)]
    return list(zip(names, names[1:] + ["the next request"], middle))
