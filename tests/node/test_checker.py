"""The checker of histories itself: it must be able to say no."""

import os

import pytest

from lib import check, recorded
from lib.load import FAIL, OK, UNKNOWN, Op


def op(kind, value, call, ret, outcome=OK, key=b"k", revision=None):
    o = Op(0, 1, kind, key, value)
    o.call, o.outcome, o.revision = call, outcome, revision
    o.ret = check.INF if outcome == UNKNOWN else ret
    return o


def is_linearizable(*ops):
    try:
        check.check_registers(ops)
    except AssertionError as e:
        assert "not linearizable" in str(e)
        return False
    return True


def test_an_older_value_after_an_acknowledged_put_is_found():
    first, second = op("put", b"1", 0, 1), op("put", b"2", 2, 3)
    assert is_linearizable(first, second, op("get", b"2", 4, 5))
    assert not is_linearizable(first, second, op("get", b"1", 4, 5))
    assert not is_linearizable(first, second, op("get", None, 4, 5))


def test_a_value_that_goes_back_during_a_put_is_found():
    first, second = op("put", b"1", 0, 1), op("put", b"2", 2, 9)
    assert is_linearizable(first, second, op("get", b"1", 3, 4),
                           op("get", b"2", 5, 6))
    assert not is_linearizable(first, second, op("get", b"2", 3, 4),
                               op("get", b"1", 5, 6))


def test_a_value_nobody_put_is_found():
    assert not is_linearizable(op("put", b"1", 0, 1), op("get", b"7", 2, 3))


def test_an_unknown_put_may_happen_late_or_never_but_only_once():
    one, lost = op("put", b"1", 0, 1), op("put", b"2", 2, 0, UNKNOWN)
    assert is_linearizable(one, lost, op("get", b"1", 3, 4))
    assert is_linearizable(one, lost, op("get", b"1", 3, 4),
                           op("get", b"2", 5, 6))
    assert not is_linearizable(one, lost, op("get", b"2", 3, 4),
                               op("get", b"1", 5, 6))
    three = op("put", b"3", 5, 6)
    assert not is_linearizable(one, lost, op("get", b"2", 3, 4), three,
                               op("get", b"2", 7, 8))


def test_a_refused_put_must_not_happen():
    refused = op("put", b"2", 2, 3, FAIL)
    assert is_linearizable(op("put", b"1", 0, 1), refused,
                           op("get", b"1", 4, 5))
    assert not is_linearizable(op("put", b"1", 0, 1), refused,
                               op("get", b"2", 4, 5))


def test_deletes_are_writes_of_nothing():
    put, delete = op("put", b"1", 0, 1), op("delete", None, 2, 3)
    assert is_linearizable(put, delete, op("get", None, 4, 5))
    assert not is_linearizable(put, delete, op("get", b"1", 4, 5))
    perhaps = op("delete", None, 2, 0, UNKNOWN)
    assert is_linearizable(put, perhaps, op("get", b"1", 4, 5))
    assert is_linearizable(put, perhaps, op("get", None, 4, 5))
    assert not is_linearizable(put, perhaps, op("get", None, 4, 5),
                               op("get", b"1", 6, 7))


def test_keys_are_checked_each_for_itself():
    assert not is_linearizable(
        op("put", b"1", 0, 1, key=b"a"), op("put", b"2", 0, 1, key=b"b"),
        op("get", b"1", 2, 3, key=b"a"), op("get", None, 2, 3, key=b"b"))


def test_revisions_against_real_time_are_found():
    a, b = (op("put", b"1", 0, 1, key=b"a", revision=5),
            op("put", b"2", 2, 3, key=b"b", revision=6))
    check.check_revisions([a, b])
    b.revision = 4
    with pytest.raises(AssertionError, match="against real time"):
        check.check_revisions([a, b])
    b.revision = 5
    with pytest.raises(AssertionError, match="two writes"):
        check.check_revisions([a, b])
    old = op("get", b"0", 2, 3, key=b"a", revision=3)
    with pytest.raises(AssertionError, match="against real time"):
        check.check_revisions([a, old])


needs_recorded = pytest.mark.skipif(
    recorded.directory() is None,
    reason="no recorded histories: name their directory in METCD_HISTORIES")


@needs_recorded
def test_recorded_register_histories_get_their_known_verdicts():
    where = os.path.join(recorded.directory(), "jepsen-etcd")
    verdicts = set()
    with open(os.path.join(where, "EXPECTED"), encoding="ascii") as f:
        for line in f:
            name, expected = line.split()
            steps = recorded.jepsen_etcd(os.path.join(where, name))
            found = check.search(steps, None)
            verdicts.add(bool(found))
            assert bool(found) == (expected == "linearizable"), name
    assert verdicts == {True, False}


@needs_recorded
@pytest.mark.parametrize("name", ["c01-ok", "c01-bad", "c10-ok", "c10-bad",
                                  "c50-ok", "c50-bad"])
def test_recorded_string_histories_get_their_known_verdicts(name):
    path = os.path.join(recorded.directory(), "kv", name + ".txt")
    found = all(bool(check.search(steps, ""))
                for steps in recorded.kv(path).values())
    assert found == name.endswith("-ok")
