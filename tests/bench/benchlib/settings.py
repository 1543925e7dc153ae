"""What a run may be told through the environment (or make's command line)."""

import os
import sys
import tempfile

REPO = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
HERE = os.path.join(REPO, "tests/bench")
BIN = os.environ.get("METCD_BENCH_BIN",
                     os.path.join(REPO, "build/gcc/tests/bench"))
RAFTEXAMPLE = os.path.join(REPO, "build/bench/raftexample")
HOST = "127.0.0.1"
HEARTBEAT_MS = 100
ELECTION_MS = 1000

# The processes of nodes come from the node tests.
sys.path.insert(0, os.path.join(REPO, "tests/node"))


def number(name, default):
    return type(default)(os.environ.get(name) or default)


def words(name, default):
    """A list, separated by blanks or commas."""
    return (os.environ.get(name) or default).replace(",", " ").split()


def data_directory():
    """Where the systems keep their data: DIR, or below build/.  It must be on
    the disk that is to be measured."""
    path = os.path.realpath(os.environ.get("DIR")
                            or os.path.join(REPO, "build/bench/data"))
    os.makedirs(path, exist_ok=True)
    if len(path) > 70:
        sys.exit(f"{path} is too long for the names of sockets below it; "
                 "set DIR=/a/shorter/one on the same disk")
    tempfile.tempdir = path
    return path
