"""The package is installed once; nodes are made by the tests of a file."""

import glob
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import units  # noqa: E402  (needs the path above)

DEB = "/opt/metcd/build/deb/metcd_*.deb"


@pytest.fixture(scope="session", autouse=True)
def package():
    """Installed, nothing more."""
    found = glob.glob(DEB)
    assert len(found) == 1, found
    # A copy: the machine's own, below an overlay, may change meanwhile.
    units.run("cp", "-a", "/var/lib/dpkg", "/run/dpkg")
    units.run("mount", "--bind", "/run/dpkg", "/var/lib/dpkg")
    units.run("dpkg", "-i", found[0])
    return found[0]


def _remove(instance):
    instance.stop()
    units.systemctl("reset-failed", *instance.units, check=False)


@pytest.fixture(scope="module")
def one():
    """A node of its own, started."""
    instance = units.Instance("one").start()
    yield instance
    _remove(instance)


@pytest.fixture(scope="module")
def three():
    """Three nodes with three engines, started."""
    peers = ",".join(f"127.0.0.1:{4080 + 100 * i}" for i in range(3))
    made = [units.Instance(f"c{i + 1}", i + 1, peers, 4079 + 100 * i,
                           METCD_ENGINE=engine)
            for i, engine in enumerate(("lmdb", "leveldb", "memory"))]
    for m in made:
        m.configure()
    units.systemctl("start", *(m.target for m in made))
    for m in made:
        m.wait_ready()
    yield made
    for m in made:
        _remove(m)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the journal says."""
    report = (yield).get_result()
    if report.failed:
        report.sections.append(("journal", units.run(
            "journalctl", "--no-pager", "-n", "80", check=False)))
