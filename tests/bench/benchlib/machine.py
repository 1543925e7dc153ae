"""Where and when a measurement was made."""

import os
import platform
import statistics
import subprocess
import tempfile
import time

from . import settings

SYNCS = 200
BLOCK = b"\x5a" * 4096


def fdatasync_us():
    """Median time of a 4 KiB write and its fdatasync, in blocks that are
    there already, on the disk of the data directory."""
    with tempfile.TemporaryFile() as f:
        f.write(BLOCK * SYNCS)
        f.flush()
        os.fsync(f.fileno())
        times = []
        for i in range(SYNCS):
            began = time.monotonic()
            os.pwrite(f.fileno(), BLOCK, i * len(BLOCK))
            os.fdatasync(f.fileno())
            times.append(time.monotonic() - began)
    return statistics.median(times) * 1e6


def sequential_mb_s(mib=256):
    """Megabytes a second of one file written from start to end and synced."""
    block = os.urandom(1 << 20)
    with tempfile.TemporaryFile() as f:
        began = time.monotonic()
        for _ in range(mib):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
        return mib * len(block) / 1e6 / (time.monotonic() - began)


def filesystem(path):
    best = ("", "?")
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            _, at, kind = line.split()[:3]
            if (path == at or path.startswith(at.rstrip("/") + "/")) \
                    and len(at) >= len(best[0]):
                best = (at, kind)
    return best[1]


def ram_gib():
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) / (1 << 20)
    return 0


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", settings.REPO, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False).stdout.decode().strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--",
                  ".", ":!tests/bench/RESULTS.md")
    return (git("rev-parse", "--short", "HEAD") or "no commit") \
        + (" with changes" if changed else "")


def load():
    with open("/proc/loadavg", encoding="ascii") as f:
        return f.read().split()[0]


def describe():
    data = settings.data_directory()
    return (f"Commit {commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}; "
            f"{os.cpu_count()} cores, {ram_gib():.0f} GiB, "
            f"Linux {platform.release()}, {filesystem(data)}, fdatasync "
            f"{fdatasync_us():.0f} us.")
