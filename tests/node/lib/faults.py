"""Faults of disks: errors of single calls and power cuts for whole nodes (with
faultio, a preload library that is not part of this repository), a disk of its
own for a node, and flipped bytes."""

import glob
import os
import subprocess

import pytest

from . import process
from .cluster import REPO
from .wait import wait_until

CUT_MODES = ("all", "prefix", "random")
REBOOTED = b"another boot of this machine, after a power cut\n"


def _source():
    """METCD_FAULTLAB, or the one that stands beside the repository."""
    named = os.environ.get("METCD_FAULTLAB")
    found = [named] if named else glob.glob(
        os.path.join(os.path.dirname(REPO), "*", "faultlab"))
    for path in found:
        path = os.path.join(path, "faultio.c")
        if os.path.exists(path):
            return path
    return None


def _build(source):
    """Library and tool in build/faultlab, made anew when the source is
    newer."""
    out = os.path.join(REPO, "build", "faultlab")
    os.makedirs(out, exist_ok=True)
    library, tool = (os.path.join(out, n) for n in ("faultio.so", "faultio"))
    for path, how in ((library, ["-shared", "-fPIC"]),
                      (tool, ["-DFAULTIO_TOOL"])):
        if os.path.exists(path) and (os.path.getmtime(path) >
                                     os.path.getmtime(source)):
            continue
        made = f"{path}.{os.getpid()}"
        subprocess.run(["cc", "-O2", *how, "-o", made, source], check=True)
        os.rename(made, path)
    return library, tool


class Disks:
    """Every node of a cluster on a disk that can fail.  Make it before the
    nodes are started."""

    def __init__(self, cluster, nosync=True):
        source = _source()
        if source is None:
            pytest.skip("no faultio.c, so no power cuts and disk errors: name "
                        "its directory in METCD_FAULTLAB")
        self.library, self.tool = _build(source)
        self.cluster = cluster
        for n in cluster.nodes:
            os.makedirs(n.dir, mode=0o700, exist_ok=True)
            n.env.update({"LD_PRELOAD": self.library, "FAULTIO_DIR": n.dir,
                          "FAULTIO_CTL": self._rules(n)})
            if nosync:
                n.env["FAULTIO_NOSYNC"] = "1"
            self.rules(n, "")

    @staticmethod
    def _rules(node):
        return node.dir + ".rules"

    def rules(self, node, text):
        """What is to fail from now on; "" is nothing."""
        made = self._rules(node) + ".new"
        with open(made, "w", encoding="ascii") as f:
            f.write(text)
        os.rename(made, self._rules(node))

    def power_cut(self, node, mode, seed):
        """Every process of the node ends at once, what was not synced is gone
        or in pieces, and the machine has another boot id.  Start it anew."""
        r = subprocess.run([self.tool, "cut", node.dir, mode, str(seed)],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False, timeout=60)
        assert r.returncode == 0, r.stdout
        node.kill_all_end()
        for marker in glob.glob(node.path("kv", "*", "OPEN")):
            with open(marker, "wb") as f:
                f.write(REBOOTED)


class SmallDisk:
    """A file system of so many bytes for the node's directory, in a mount
    namespace of its own that ends with us.  node.dir is then its path from
    outside, so the node must be told the inner one."""

    def __init__(self, node, size):
        self.node = node
        inner = node.dir
        os.makedirs(inner, mode=0o700, exist_ok=True)
        script = f'mount -t tmpfs -o size={size},mode=700 t "$0" && ' \
            'echo mounted && exec cat'
        for how in (["-m"], ["-rm"]):
            self.holder = subprocess.Popen(
                process.DIES_WITH_US + ["/usr/bin/unshare", *how,
                                        "/bin/sh", "-c", script, inner],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL)
            if self.holder.stdout.readline() == b"mounted\n":
                break
            self.holder.wait()
        else:
            pytest.skip("no right to mount a small file system")
        enter = ["-m"] if how == ["-m"] else ["-m", "-U",
                                              "--preserve-credentials"]
        node.inside = ["/usr/bin/nsenter", "-t", str(self.holder.pid),
                       *enter, "--"]
        self.dir = f"/proc/{self.holder.pid}/root{inner}"

    def free(self):
        st = os.statvfs(self.dir)
        return st.f_bavail * st.f_frsize

    def total(self):
        st = os.statvfs(self.dir)
        return st.f_blocks * st.f_frsize

    def fill(self, leave, name="ballast"):
        """Use up all but so many bytes."""
        with open(os.path.join(self.dir, name), "ab") as f:
            size = os.fstat(f.fileno()).st_size
            os.posix_fallocate(f.fileno(), size,
                               max(self.free() - leave, 4096))

    def clear(self, name="ballast"):
        os.unlink(os.path.join(self.dir, name))

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()
        wait_until("the holder is gone",
                   lambda: not process.is_alive(self.holder.pid))


def flip(path, offset, mask=0x01):
    """Change one byte of a file; a negative offset counts from its end."""
    with open(path, "r+b") as f:
        at = offset if offset >= 0 else os.fstat(f.fileno()).st_size + offset
        f.seek(at)
        was = f.read(1)
        f.seek(at)
        f.write(bytes([was[0] ^ mask]))


def find_in_files(directory, needle):
    """[(path, offset)] of every place that has these bytes."""
    found = []
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                data = f.read()
            at = data.find(needle)
            while at >= 0:
                found.append((path, at))
                at = data.find(needle, at + 1)
    return found
