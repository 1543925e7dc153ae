"""Proofs over what a load wrote down and what the cluster holds then."""

from . import web
from .load import FAIL, OK, UNKNOWN


def fetch(node, keys, stale=False):
    """{key: value or None} as this node answers."""
    query = "?consistency=stale" if stale else ""
    found = {}
    with web.Session(node.client, 15.0) as s:
        for key in keys:
            r = s.request("GET", web.target(key) + query)
            assert r.status in (200, 404), r
            found[key] = r.body if r.status == 200 else None
    return found


def check_unique_puts(cluster, ops, revision_before=0, keys_before=0):
    """For load.unique_puts: every acknowledged write is there, with its value
    and on every node; no refused one is; those of unknown outcome are there
    whole or not at all.  And nothing was applied twice or unasked: each PUT
    that is applied, the first time or again, makes one revision, so the
    revisions made are as many as the keys now there."""
    assert len({op.key for op in ops}) == len(ops)
    statuses = cluster.check_same_state()
    reader = cluster.running()[0]
    there = fetch(reader, [op.key for op in ops])
    lost = [op for op in ops if op.outcome == OK and there[op.key] is None]
    assert not lost, f"{len(lost)} acknowledged writes are lost: {lost[:5]}"
    undead = [op for op in ops if op.outcome == FAIL and
              there[op.key] is not None]
    assert not undead, f"{len(undead)} refused writes happened: {undead[:5]}"
    wrong = [op for op in ops if there[op.key] not in (None, op.value)]
    assert not wrong, f"{len(wrong)} keys have wrong values: {wrong[:5]}"
    present = sum(v is not None for v in there.values())
    acknowledged = sum(op.outcome == OK for op in ops)
    unknown = sum(op.outcome == UNKNOWN for op in ops)
    assert acknowledged <= present <= acknowledged + unknown
    kv = statuses[0]["kv"]
    assert kv["keys"] - keys_before == present, kv
    assert kv["revision"] - revision_before == present, \
        f"{present} writes made {kv['revision'] - revision_before} revisions"
    for node in cluster.running()[1:]:  # their hashes are equal already
        some = list(there)[node.id::5]
        assert fetch(node, some, stale=True) == {k: there[k] for k in some}, \
            f"node {node.id} answers otherwise"
    revisions = [op.revision for op in ops if op.outcome == OK]
    assert len(set(revisions)) == len(revisions), "a revision was given twice"
