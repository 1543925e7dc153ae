"""A checker of linearizability: is there an order of the operations, each
somewhere between its call and its return, in which every answer is right?

The search is Wing and Gong's with Lowe's memoisation ("Testing for
linearizability", 2017): take the operations in an order that real time
allows, go back at an answer that does not fit, and never visit the same
(operations taken, state) twice.  A history is split by key first: it is
linearizable if each key's part is (Herlihy and Wing 1990, locality).

Operations whose outcome is unknown have an infinite return: they may be taken
at any time after their call, also after all others, where nobody sees them,
which is the same as never."""

import math
import time

INF = math.inf


class Step:
    """One operation for the search.  apply(state) -> (fits, new state)."""

    __slots__ = ("call", "ret", "apply", "text")

    def __init__(self, call, ret, apply, text=""):
        self.call = call
        self.ret = ret
        self.apply = apply
        self.text = text

    def __repr__(self):
        return f"{self.call}..{self.ret} {self.text}"


class Verdict:
    """linearizable; if not, stuck: the operation that could not be placed
    after the longest order found, and how many had been."""

    def __init__(self, linearizable, stuck=None, placed=0):
        self.linearizable = linearizable
        self.stuck = stuck
        self.placed = placed

    def __bool__(self):
        return self.linearizable

    def __repr__(self):
        if self.linearizable:
            return "linearizable"
        return f"not linearizable: {self.placed} placed, then {self.stuck}"


class Unfinished(AssertionError):
    """The search took too long: neither verdict is shown."""


class _Entry:
    __slots__ = ("step", "bit", "back", "prev", "next")

    def __init__(self, step, bit, back=None):
        self.step = step
        self.bit = bit      # of a call: its operation's in the set taken
        self.back = back    # of a call: its return
        self.prev = self.next = None


def _timeline(steps):
    """A linked list of calls and returns in the order of time; at equal times
    calls come first, which only allows more orders.  Returns at infinity are
    left out: nothing has to be placed before them.  (head, finite count)."""
    events = []
    finite = 0
    for i, s in enumerate(steps):
        back = _Entry(s, 0)
        events.append((s.call, 0, i, _Entry(s, 1 << i, back)))
        if s.ret != INF:
            finite += 1
            events.append((s.ret, 1, i, back))
    events.sort(key=lambda e: e[:3])
    head = last = _Entry(None, 0)
    for _, _, _, e in events:
        last.next, e.prev = e, last
        last = e
    return head, finite


def _unlink(e):
    e.prev.next = e.next
    if e.next is not None:
        e.next.prev = e.prev


def _relink(e):
    e.prev.next = e
    if e.next is not None:
        e.next.prev = e


def _lift(call):
    _unlink(call)
    if call.step.ret != INF:
        _unlink(call.back)


def _unlift(call):
    if call.step.ret != INF:
        _relink(call.back)
    _relink(call)


def search(steps, state, seconds=60.0):
    """Steps of one object, in any order, from its first state."""
    head, left = _timeline(steps)
    deadline = time.monotonic() + seconds
    taken = 0
    visited = {(0, state)}
    stack = []
    best, stuck = -1, None
    turns = 0
    entry = head.next
    while left > 0:
        turns += 1
        if turns % 4096 == 0 and time.monotonic() > deadline:
            raise Unfinished(f"no verdict after {seconds:g} s")
        if entry is not None and entry.bit:
            fits, after = entry.step.apply(state)
            there = (taken | entry.bit, after)
            if fits and there not in visited:
                visited.add(there)
                stack.append((entry, state))
                taken, state = there
                left -= entry.step.ret != INF
                _lift(entry)
                entry = head.next
            else:
                entry = entry.next
            continue
        # A return whose call could not be placed before it (or the end of
        # the list, reached only with unplaced calls of unknown outcome).
        if entry is not None and len(stack) > best:
            best, stuck = len(stack), entry.step
        if not stack:
            return Verdict(False, stuck, best)
        entry, state = stack.pop()
        taken ^= entry.bit
        left += entry.step.ret != INF
        _unlift(entry)
        entry = entry.next
    return Verdict(True)


# --- a register: write, read, compare-and-set; None is "no value" ---

def write(value):
    return lambda state: (True, value)


def read(value):
    return lambda state: (state == value, state)


def cas(old, new, succeeded):
    """succeeded None: unknown, it does what the state makes it do."""
    def apply(state):
        holds = state == old
        if succeeded is None:
            return True, (new if holds else state)
        return holds == succeeded, (new if holds else state)
    return apply


# --- a string: put, append, get ---

def append(more):
    return lambda state: (True, state + more)


# --- what the load generator wrote down ---

def _narrow(ops):
    """Every value is put once; so a put of unknown outcome whose value was
    seen happened before the first get that saw it returned, and one whose
    value nobody saw can be left out: taking it out of an order spoils no
    answer.  The same for gets without an answer and what certainly failed."""
    seen = {}
    for op in ops:
        if op.kind == "get" and op.outcome == "ok" and op.value is not None:
            seen[op.value] = min(seen.get(op.value, INF), op.ret)
    kept = []
    for op in ops:
        if op.outcome == "fail" or (op.kind == "get" and op.outcome != "ok"):
            continue
        ret = op.ret
        if op.kind == "put" and op.outcome == "unknown":
            if op.value not in seen:
                continue
            ret = seen[op.value]
        apply = read(op.value) if op.kind == "get" else write(
            op.value if op.kind == "put" else None)
        kept.append(Step(op.call, ret, apply, repr(op)))
    return kept


def by_key(ops):
    keys = {}
    for op in ops:
        keys.setdefault(op.key, []).append(op)
    return keys


def check_registers(ops, seconds=60.0):
    """Assert that a history of load.Op is linearizable for each key, from
    absent keys on; values must be unique."""
    values = [op.value for op in ops if op.kind == "put"]
    assert len(set(values)) == len(values), "values must be unique"
    for key, some in by_key(ops).items():
        verdict = search(_narrow(some), None, seconds)
        if not verdict:
            near = "\n".join(repr(op) for op in _around(some, verdict.stuck))
            raise AssertionError(f"key {key!r}: {verdict}\n{near}")


def _around(ops, step):
    """The operations of a key that overlap the stuck one, and the last ones
    before it."""
    before = [op for op in ops if op.ret < step.call]
    return before[-8:] + [op for op in ops if op.ret >= step.call and
                          op.call <= step.ret][:20]


def check_revisions(ops):
    """Revisions are store-wide, so they follow real time across all keys: a
    write that began after another was acknowledged has a larger one; so has
    a get of that key none smaller.  Each belongs to one write."""
    writes = [op for op in ops if op.kind == "put" and op.outcome == "ok"]
    revisions = {}
    for op in writes:
        assert op.revision is not None, f"no ETag: {op}"
        twin = revisions.setdefault(op.revision, op)
        assert twin is op, f"one revision for two writes:\n{twin}\n{op}"
    for op in ops:
        if op.kind == "get" and op.outcome == "ok" and op.value is not None:
            put = revisions.get(op.revision)
            assert put is None or (put.key, put.value) == (op.key, op.value), \
                f"a revision's value changed:\n{put}\n{op}"
    _check_order(writes, lambda op: None, lambda new, old: new > old)
    known = writes + [op for op in ops if op.kind == "get" and
                      op.outcome == "ok" and op.value is not None]
    _check_order(known, lambda op: op.key,
                 lambda new, old: new > old or new == old)


def _check_order(ops, group, follows):
    """Each op's revision follows the largest of those in its group that had
    returned before it was called."""
    calls = sorted(ops, key=lambda op: op.call)
    returns = sorted(ops, key=lambda op: op.ret)
    largest = {}
    done = 0
    for op in calls:
        while done < len(returns) and returns[done].ret < op.call:
            old = returns[done]
            g = group(old)
            if g not in largest or largest[g].revision < old.revision:
                largest[g] = old
            done += 1
        old = largest.get(group(op))
        assert old is None or follows(op.revision, old.revision), \
            f"revisions against real time:\n{old}\n{op}"
