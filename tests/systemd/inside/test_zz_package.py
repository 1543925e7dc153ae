"""The package's life around a node that runs.  Last: it is removed here."""

import os

import units


def test_an_upgrade_restarts_nothing_and_removal_keeps_the_data(package):
    node = units.Instance("kept").start()
    before = node.pids()
    node.put("key", b"value")
    units.run("dpkg", "-i", package)
    assert node.pids() == before
    assert node.get("key") == b"value"
    units.run("dpkg", "-r", "metcd")
    assert not os.path.exists("/usr/libexec/metcd/raftd")
    for process in units.PROCESSES:
        assert not os.path.exists(f"/proc/{before[process]}"), process
    assert os.path.isdir("/var/lib/metcd/kept/raft/wal")
    units.run("dpkg", "-i", package)
    node.start()
    assert node.get("key") == b"value"
    node.stop()
