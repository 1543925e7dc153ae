"""Known faults, planted one at a time to see whether tests find them: what
tests/sim/mutants and tests/script/faults share.

A fault is one edit of one source file, made in a copy; the product's sources
know nothing of it.  An edit whose place is gone fails, so that no list rots."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def pattern(text):
    """Matches text whatever its blanks and line ends are."""
    tokens = re.findall(r"\w+|[^\w\s]", text)
    return re.compile(r"\s*".join(re.escape(t) for t in tokens))


def plant(path, old, new, copy):
    """Writes path, with new where old stands, to copy; says what is wrong, or
    None.  A copy that is right already is left as it is, for make's sake."""
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
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    with open(copy, "w", encoding="utf-8") as f:
        f.write(edited)
    return None


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
