"""System calls and context switches of processes, counted by perf."""

import subprocess

# Those that one of the three processes makes often; all are in TOTAL.
NAMES = ("read", "write", "readv", "writev", "sendmsg", "sendto", "recvfrom",
         "epoll_wait", "epoll_ctl", "futex", "fdatasync", "pwrite64",
         "timerfd_settime", "accept4", "mmap", "munmap", "madvise")
TOTAL = "raw_syscalls:sys_enter"
SWITCHES = "context-switches"
EVENTS = ",".join([f"syscalls:sys_enter_{n}" for n in NAMES]
                  + [TOTAL, SWITCHES])


class Counting:
    """with Counting({name: pid}, seconds) as c: load; c.counts() waits."""

    def __init__(self, pids, seconds):
        self.running = {
            name: subprocess.Popen(
                ["perf", "stat", "-x,", "-e", EVENTS, "-p", str(pid),
                 "sleep", str(seconds)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE)
            for name, pid in pids.items()}

    def counts(self):
        """{name: {system call: times}}; TOTAL and SWITCHES among them."""
        return {name: self.parse(p.communicate(timeout=60)[1].decode())
                for name, p in self.running.items()}

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
