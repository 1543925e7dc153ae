"""The measurements' own tools tell the truth."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from benchlib import hops, openloop, results, settings  # noqa: E402
from benchlib import syscalls, usage  # noqa: E402  (needs the path above)
from benchlib.ceiling import Ceiling  # noqa: E402
from benchlib.fill import fill  # noqa: E402
from benchlib.table import Table  # noqa: E402


@pytest.fixture(name="ceiling")
def a_ceiling():
    system = Ceiling(256)
    system.start()
    yield system
    system.process.send_signal(signal.SIGCONT)
    system.stop()


@pytest.mark.parametrize("operation", ["put", "get", "mix50"])
def test_all_requests_of_a_fixed_rate_are_answered(ceiling, operation):
    f = openloop.run(ceiling, operation, 500, 8, 1, 1000, 256)
    assert (f["requests"], f["failed"]) == (500, 0)
    assert 0 < f["p50_us"] <= f["p99_us"] <= f["p999_us"] <= f["max_us"]


def test_a_stall_is_charged_to_all_that_was_due_meanwhile(ceiling):
    """300 ms in 2 s: a tenth of all has waited 100 ms and more, though only
    the 4 requests that were under way met the stall."""
    def stall():
        time.sleep(1.5)
        ceiling.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        ceiling.process.send_signal(signal.SIGCONT)
    other = threading.Thread(target=stall)
    other.start()
    f = openloop.run(ceiling, "put", 1000, 4, 2, 1000, 256)
    other.join()
    assert f["failed"] == 0
    assert f["max_us"] >= 250000
    assert f["p90_us"] >= 50000
    assert f["late"] >= 200


def test_a_server_that_ends_is_a_failure(ceiling):
    other = threading.Timer(1.5, ceiling.process.kill)
    other.start()
    f = openloop.run(ceiling, "put", 1000, 4, 1, 1000, 256)
    other.join()
    assert f["failed"] >= 100


@pytest.mark.parametrize("depth", [1, 8])
def test_fill_puts_every_key(ceiling, depth):
    before = usage.cpu_s(ceiling.process.pid)
    assert fill(ceiling, 30011, 64, 7, depth)["requests"] == 30011
    assert usage.cpu_s(ceiling.process.pid) > before


def test_fill_says_that_nobody_listens(ceiling):
    ceiling.process.kill()
    ceiling.process.wait(10)
    with pytest.raises(subprocess.CalledProcessError):
        fill(ceiling, 10, 64)


def test_a_section_replaces_the_one_of_the_same_title(tmp_path, monkeypatch,
                                                      capsys):
    path = tmp_path / "R.md"
    monkeypatch.setenv("RESULTS", str(path))
    monkeypatch.setenv("DIR", str(tmp_path))
    for title, body in (("One", "first"), ("Two", "second"),
                        ("One", "third")):
        results.write(title, "make x", body)
    text = path.read_text()
    assert "first" not in text and "second" in text and "third" in text
    assert text.index("## One") < text.index("## Two")
    assert text.count("## One") == 1 and text.startswith("# Results")
    assert "third" in capsys.readouterr().out


def test_only_whole_ways_of_requests_count():
    seen = [(0.0, "b"), (1.0, "a"), (1.5, "b"), (1.7, "c"), (3.0, "a"),
            (3.1, "c"), (4.0, "a"), (4.25, "b"), (4.5, "b"), (4.75, "c"),
            (5.0, "a")]
    assert hops.ways(["a", "b", "c"], seen) == [
        pytest.approx([0.5, 0.2, 1.3]), [0.25, 0.5, 0.25]]


def test_counts_of_perf_are_read():
    text = ("1204,,syscalls:sys_enter_read,10,100.00,,\n"
            "<not counted>,,syscalls:sys_enter_write,0,0.00,,\n"
            "7,,context-switches,10,100.00,,\n")
    assert syscalls.Counting.parse(text) == {"read": 1204,
                                             "context-switches": 7}


def test_a_table_shows_what_matters_of_a_number():
    t = Table("a", "b")
    t.add("x", 1234.5)
    t.add("y", 0.01234)
    t.add("z", None)
    assert [line.split("|")[2].strip() for line in str(t).splitlines()] == [
        "b", "----:", "1234", "0.012", "-"]


def test_the_disk_space_of_a_directory_is_counted(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"x" * 100000)
    assert 100000 <= usage.disk_bytes(tmp_path) <= 200000


def test_a_path_too_long_for_sockets_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DIR", str(tmp_path / ("x" * 80)))
    with pytest.raises(SystemExit):
        settings.data_directory()
