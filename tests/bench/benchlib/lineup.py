"""The systems by name."""

import sys

from .ceiling import Ceiling
from .golang import Etcd, EtcdCluster, RaftExample
from .metcd import Metcd

NAMES = ("memory", "lmdb", "leveldb", "etcd", "raftexample", "ceiling")


def systems(names, value_bytes):
    """One object for each name, two for etcd: its old interface, on a tree in
    memory, and its new one."""
    found = []
    for name in names:
        if name in ("memory", "lmdb", "leveldb"):
            found.append(Metcd(name))
        elif name == "etcd":
            cluster = EtcdCluster()
            found += [Etcd(cluster, "v2"), Etcd(cluster, "v3")]
        elif name == "raftexample":
            found.append(RaftExample())
        elif name == "ceiling":
            found.append(Ceiling(value_bytes))
        else:
            sys.exit(f"SYSTEMS: there is no {name}; choose from "
                     + " ".join(NAMES))
    return found
