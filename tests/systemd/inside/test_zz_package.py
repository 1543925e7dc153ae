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


def test_a_node_may_go_on_with_what_make_install_has_put_there():
    """In /usr/local, after the package was removed."""
    assert not os.path.exists("/usr/libexec/metcd/raftd")
    units.run("cp", "-a", "/opt/metcd/build/systemd/root/.", "/")
    units.run("systemd-sysusers")
    units.run("systemd-tmpfiles", "--create", "metcd.conf")
    units.systemctl("daemon-reload")
    node = units.Instance("kept").start()
    assert node.get("key") == b"value"
    for process in units.PROCESSES:
        assert os.readlink(f"/proc/{node.pid(process)}/exe") == \
            f"/usr/local/libexec/metcd/{process}"
    node.stop()
