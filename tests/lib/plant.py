"""Known faults, planted one at a time to see whether tests find them: what
tests/sim/mutants and tests/script/faults share.

A fault is one edit of one source file, made in a copy that has a folder to
itself; the product's sources know nothing of it.  An edit whose place is gone
fails, so that no list rots.  What a fault makes of a program is unknown: it
runs with limits, and nothing of it is left when we end."""

import collections
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD_S = 3600

# code: as of subprocess, or None when its time was over
Ended = collections.namedtuple("Ended", "code out")


class NoVerdict(Exception):
    """Nothing can be said of a fault: a program cannot be run, say."""


def pattern(text):
    """Matches text whatever its blanks and line ends are."""
    between, before = "", ""
    for token in re.findall(r"\w+|[^\w\s]", text):
        if re.match(r"\w", token):
            token = r"\b%s\b" % token
        else:
            token = re.escape(token)
        between, before = between + before + token, r"\s*"
    return re.compile(between)


def plant(path, old, new, copy):
    """Writes path, with new where old stands, to copy; says what is wrong, or
    None.  A copy that is right already is left as it is, for make's sake; with
    another one goes all that was built of it."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        source = f.read()
    found = pattern(old).findall(source)
    if len(found) != 1:
        return "its place in %s is there %d times" % (path, len(found))
    edited = pattern(old).sub(lambda m: new, source)
    if os.path.exists(copy):
        with open(copy, encoding="utf-8") as f:
            if f.read() == edited:
                return None
    shutil.rmtree(os.path.dirname(copy), ignore_errors=True)
    os.makedirs(os.path.dirname(copy))
    with open(copy, "w", encoding="utf-8") as f:
        f.write(edited)
    return None


# ---- programs ----

_lock = threading.Lock()  # of _running; the main thread takes it to end us
_running = set()


def run(command, cpu_s, memory_kib, wall_s):
    """Runs a program in a session of its own, with limits that hold for each
    process of it ("unlimited" is one, too); its errors are in the output."""
    limits = "ulimit -c 0 && ulimit -S -t %s && ulimit -v %s && exec \"$@\"" % (
        cpu_s, memory_kib)
    with _lock:
        # pylint: disable-next=consider-using-with
        p = subprocess.Popen(
            ["sh", "-c", limits, "sh"] + command, cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True)
        _running.add(p)
    try:
        out, _ = p.communicate(timeout=wall_s)
        return Ended(p.returncode, out)
    except subprocess.TimeoutExpired:
        kill(p)
        p.communicate()
        return Ended(None, "")
    finally:
        with _lock:
            _running.discard(p)


def kill(p):
    """Ends a program with all that it has started.  Its id is its own as long
    as nobody has waited for it."""
    if p.returncode is None:
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended just now


def say_end(ended):
    """What ended a program, and its last words."""
    if ended.code is None:
        how = "does not end"
    elif ended.code < 0:
        how = "ended by signal: " + signal.strsignal(-ended.code)
    else:
        how = "exit status %d" % ended.code
    return (how + " " + ended.out[-1000:]).strip()


def make(*arguments):
    """Builds as much of it as can be built; says what is wrong, or None."""
    r = run([os.environ.get("MAKE", "make"), "--no-print-directory", "-k",
             *arguments], "unlimited", "unlimited", BUILD_S)
    if r.code == 0:
        return None
    return "\n".join(re.findall(".*error:.*", r.out)[:10]) or \
        "make: " + say_end(r)


def end_all(number, _frame):
    """A signal: ends us, and whatever runs."""
    with _lock:
        for p in _running:
            kill(p)
        os._exit(128 + number)  # not by way of threads that wait for those


def alone(folder, work):
    """The value of work(), which has the folder to itself.  It runs in a
    thread, so that this one, which gets the signals, never holds the lock."""
    os.makedirs(folder, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)  # as long as we live
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another run is at work in %s; wait for its end" % folder)
        return 75
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_all)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


# ---- the command line ----

def refuse_sanitizers(names):
    """They reserve more memory than a program may have here."""
    for name in names:
        if os.environ.get(name) == "1":
            print("skipped: %s: faults are not planted with %s=1, whose "
                  "programs want more memory than a fault may take\n"
                  "0 passed, 0 failed" % (os.path.basename(sys.argv[0]), name))
            sys.exit(0)


def choose(faults, describe):
    """Those that the command line names, or all; --list lists them."""
    wanted = sys.argv[1:]
    if wanted == ["--list"]:
        for fault in faults:
            print(describe(fault))
        sys.exit(0)
    chosen = [f for f in faults if not wanted or f[0] in wanted]
    if len(chosen) < len(wanted):
        print("unknown name; --list has them all")
        sys.exit(64)
    if not chosen:
        print("FAILED: no faults are there to be planted\n0 passed, 1 failed")
        sys.exit(1)
    return chosen


def try_all(chosen, try_one):
    """try_one gives whether a fault was found, and a line about it.  Returns
    the exit code."""
    passed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, line in pool.map(try_one, chosen):
            passed += found
            print(line, flush=True)
    print("%d passed, %d failed" % (passed, len(chosen) - passed))
    return 0 if passed == len(chosen) else 1
