"""System calls and context switches of processes, counted by perf."""

import os
import select
import signal
import subprocess

# Those that one of the three processes makes often; all are in TOTAL.
NAMES = ("read", "write", "readv", "writev", "sendmsg", "sendto", "recvfrom",
         "epoll_wait", "epoll_ctl", "futex", "fdatasync", "pwrite64",
         "timerfd_settime", "accept4", "mmap", "munmap", "madvise")
TOTAL = "raw_syscalls:sys_enter"
SWITCHES = "context-switches"
EVENTS = ",".join([f"syscalls:sys_enter_{n}" for n in NAMES]
                  + [TOTAL, SWITCHES])


ANSWER_S = 30


class Counter:
    """perf on one process; counts between tell("enable") and
    tell("disable")."""

    def __init__(self, pid):
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        self.perf = subprocess.Popen(
            ["perf", "stat", "-x,", "-e", EVENTS, "-p", str(pid), "-D", "-1",
             "--control", f"fd:{orders},{answers}"],
            pass_fds=(orders, answers), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.close(orders)
        os.close(answers)

    def tell(self, what):
        """And wait until it is done."""
        os.write(self.orders, what.encode() + b"\n")
        if not select.select([self.answers], [], [], ANSWER_S)[0] \
                or not os.read(self.answers, 16).startswith(b"ack"):
            raise RuntimeError(f"perf does not {what} its counters")

    def end(self):
        self.perf.send_signal(signal.SIGINT)
        text = self.perf.communicate(timeout=ANSWER_S)[1].decode()
        os.close(self.orders)
        os.close(self.answers)
        return Counting.parse(text)


class Counting:
    """with Counting({name: pid}) as c: load; then c.counts: {name: {system
    call: times}}, TOTAL and SWITCHES among them."""

    def __init__(self, pids):
        self.counters = {name: Counter(pid) for name, pid in pids.items()}
        self.counts = {}

    def __enter__(self):
        for c in self.counters.values():
            c.tell("enable")
        return self

    def __exit__(self, *_):
        for c in self.counters.values():
            c.tell("disable")
        self.counts = {name: c.end() for name, c in self.counters.items()}

    @staticmethod
    def parse(text):
        found = {}
        for line in text.splitlines():
            fields = line.split(",")
            if len(fields) > 2 and fields[0].isdigit():
                found[fields[2].replace("syscalls:sys_enter_", "")] = \
                    int(fields[0])
        return found


def available():
    """None, or why it cannot count here."""
    try:
        p = subprocess.run(["perf", "stat", "-x,", "-e", TOTAL, "true"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        return "perf is not installed (package linux-perf)"
    if TOTAL not in Counting.parse(p.stderr.decode()):
        return "perf may not count system calls here (root is needed)"
    return None
