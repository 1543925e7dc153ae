"""What processes use: processor time and memory, from /proc."""

import os

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """Processor seconds of a process, user and system, all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def cpu_of(pids):
    return {pid: cpu_s(pid) for pid in pids}


def memory_kib(pid):
    """(resident, proportional, own) memory: the second counts a page that n
    processes share as 1/n; the third has no page of a file, which the kernel
    can take back."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if words[0] in ("Rss:", "Pss:", "Anonymous:"):
                found[words[0]] = int(words[1])
    return found["Rss:"], found["Pss:"], found["Anonymous:"]


def disk_bytes(directory):
    """What the files below a directory occupy, holes left out."""
    total = 0
    for base, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
