"""Fixtures, what a failure shows, and how a run ends."""

import atexit
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from lib import cluster as clusters  # noqa: E402  (needs the path above)

pytest.register_assert_rewrite("lib.check")

LOG_LINES_SHOWN = 60


def _close_all():
    for c in list(clusters.everything):
        c.close()


def _terminated(*_):
    raise KeyboardInterrupt  # so that SIGTERM cleans up as Ctrl-C does


def pytest_sessionstart(session):
    atexit.register(_close_all)
    signal.signal(signal.SIGTERM, _terminated)
    # A shell starts what runs in the background with SIGINT ignored, and so
    # would be all that the tests start and stop with Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    needs_programs = any(i.module.__name__ != "test_checker" for i in items)
    if needs_programs and not os.path.exists(clusters.program("metcd")):
        pytest.exit(f"no {clusters.program('metcd')}: run `make` first, or "
                    "name the directory of the programs in METCD_BIN", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the logs of all that still runs."""
    report = (yield).get_result()
    if not report.failed:
        return
    for c in clusters.everything:
        for path, lines in c.logs().items():
            report.sections.append((f"{path}, {len(lines)} lines",
                                    "\n".join(lines[-LOG_LINES_SHOWN:])))


def pytest_unconfigure(config):
    """The last line of a run: its count."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        passed = len(reporter.stats.get("passed", []))
        failed = sum(len(reporter.stats.get(k, ())) for k in
                     ("failed", "error"))
        print(f"{passed} passed, {failed} failed", flush=True)


def _finish(made):
    found = [line for c in made for line in c.bugs()]
    for c in made:
        c.close()
    assert not found, "traces of a bug in the logs:\n" + "\n".join(found)


@pytest.fixture
def make_cluster():
    """make_cluster(engines, ...) -> a started Cluster, closed at the end."""
    made = []

    def make(*args, start=True, **more):
        c = clusters.Cluster(*args, **more)
        made.append(c)
        return c.start() if start else c
    yield make
    _finish(made)


@pytest.fixture(scope="module")
def one():
    """A node of its own, shared by the tests of a file."""
    c = clusters.Cluster()
    yield c.start().node(1)
    _finish([c])


@pytest.fixture(scope="module")
def three():
    """Three nodes with three engines, shared by the tests of a file; who
    kills or stops something brings it back."""
    c = clusters.Cluster(clusters.ENGINES)
    yield c.start()
    _finish([c])


@pytest.fixture
def scratch(make_cluster):
    """A new directory with a short name, removed at the end."""
    return make_cluster(start=False).dir
