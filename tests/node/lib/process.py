"""Processes by pid, through /proc, and their safe start and end."""

import os
import signal

from .wait import wait_until

# In front of a command: it is killed when the thread that started it ends, so
# that an interrupted test run leaves nothing behind.  Start from the main
# thread only.  (Not preexec_fn, which may hang when other threads run.)
DIES_WITH_US = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"]


def stat(pid):
    """(comm, state, parent, start time in ticks, threads) of a process, or
    None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read().decode("ascii", "replace")
    except OSError:
        return None
    comm = text[text.index("(") + 1:text.rindex(")")]
    fields = text[text.rindex(")") + 2:].split()
    return comm, fields[0], int(fields[1]), int(fields[19]), int(fields[17])


def begun(pid):
    """When it began, in ticks; None: it is gone.  Pids are used again."""
    s = stat(pid)
    return s and s[3]


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_alive(pid):
    """It runs, and is not only waiting for its parent to notice its end.  One
    that was killed while a thread of it waits for the disk is alive, too: its
    first thread is a zombie, and its locks are held."""
    s = stat(pid)
    return s is not None and (s[1] not in "ZX" or s[4] > 1)


def children(parent):
    """{comm: pid} of the living children of a process."""
    found = {}
    for pid in all_pids():
        s = stat(pid)
        if s is not None and s[2] == parent and s[1] not in "ZX":
            found[s[0]] = pid
    return found


def mentioning(text):
    """Pids of living processes with `text` (a directory that only we know)
    in their command line: what a killed supervisor may have left behind."""
    needle = text.encode()
    found = []
    for pid in all_pids():
        if pid == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if any(needle in w for w in words[1:]) and is_alive(pid):
            found.append(pid)
    return found


def has_stopped(pid):
    """Each thread of it: one that runs on another processor goes on until it
    sees the signal."""
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/stat", "rb") as f:
                text = f.read()
            if text[text.rindex(b")") + 2:][:1] not in b"TtZX":
                return False
    except OSError:
        pass  # it has ended, or that thread has
    return True


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return
    if sig == signal.SIGSTOP:
        wait_until(f"process {pid} has stopped", lambda: has_stopped(pid))


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_kib(pid):
    """Resident memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
