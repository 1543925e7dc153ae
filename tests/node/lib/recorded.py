"""Readers for recorded histories whose verdict is known (see README.md in
their directory): the proof that the checker can say no."""

import glob
import os
import re

from . import check
from .cluster import REPO


def directory():
    """METCD_HISTORIES, or the one that stands beside the repository."""
    named = os.environ.get("METCD_HISTORIES")
    found = [named] if named else glob.glob(
        os.path.join(os.path.dirname(REPO), "*", "histories"))
    for path in found:
        if os.path.exists(os.path.join(path, "jepsen-etcd", "EXPECTED")):
            return path
    return None


def _value(word):
    return None if word == "nil" else int(word)


def jepsen_etcd(path):
    """Steps of one register with read, write and cas.  Lines: process, type,
    operation, value.  :fail did not happen; :info or no end: it may have."""
    open_ops = {}
    steps = []

    def end(op, value, line):
        call, kind, args = op
        ret = line
        if kind == ":read":
            if value is None:
                return
            apply = check.read(_value(value))
        elif kind == ":write":
            apply = check.write(_value(args))
            ret = check.INF if value is None else line
        else:
            old, new = map(int, args.strip("[]").split())
            apply = check.cas(old, new, None if value is None else True)
            ret = check.INF if value is None else line
        steps.append(check.Step(call, ret, apply, f"{kind} {args} {value}"))

    with open(path, encoding="ascii") as f:
        for number, line in enumerate(f):
            m = re.match(r"INFO  jepsen\.util - (\d+)\t(:\w+)\t(:\w+)\t(.*)$",
                         line.rstrip("\n"))
            if m is None:
                continue
            who, what, kind, value = m.groups()
            if what == ":invoke":
                open_ops[who] = (number, kind, value)
            elif what == ":ok":
                end(open_ops.pop(who), value, number)
            elif what == ":info":
                end(open_ops.pop(who), None, number)
            else:
                call, kind, args = open_ops.pop(who)
                if kind == ":cas":  # it failed because the value differed
                    old, new = map(int, args.strip("[]").split())
                    steps.append(check.Step(
                        call, number, check.cas(old, new, False), line))
    for op in open_ops.values():
        end(op, None, None)
    return steps


def kv(path):
    """{key: steps} of strings with get, put and append."""
    keys = {}
    open_ops = {}
    with open(path, encoding="ascii") as f:
        for number, line in enumerate(f):
            m = re.match(r'\{:process (\d+), :type :(\w+), :f :(\w+), '
                         r':key "(.*)", :value (nil|"(.*)")\}$', line.strip())
            if m is None:
                assert not line.strip(), line
                continue
            who, what, kind, key, _, value = m.groups()
            if what == "invoke":
                open_ops[who] = number
                continue
            assert what == "ok", line
            apply = {"get": check.read, "put": check.write,
                     "append": check.append}[kind](value)
            keys.setdefault(key, []).append(
                check.Step(open_ops.pop(who), number, apply, line.strip()))
    assert not open_ops
    return keys
