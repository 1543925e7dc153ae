"""The life of a cluster as an operator leads it, with metcdctl alone; and how
ready the nodes say they are meanwhile."""

import json
import os
import re
import signal

from lib import process, web
from lib.cluster import BIN, REPO, Run, free_port, program
from lib.metcdctl import ctl
from lib.wait import wait_until

(OK, ERROR, NOT_FOUND) = (0, 1, 10)
START = "start it with: metcd "


def address(node):
    return f"{web.HOST}:{node.peer}"


def members(nodes):
    """{id: member} as metcdctl tells them."""
    r = ctl(nodes, "member", "list", "-o", "json")
    assert (r.code, r.err) == (OK, ""), r
    return {m["id"]: m for m in json.loads(r.out)["members"]}


def start_as_told(node, told):
    """Start it with the command line that metcdctl has printed."""
    line = next(x for x in told.decode().splitlines() if x.startswith(START))
    words = line[len(START):].split()
    assert words[words.index("--data-dir") + 1] == "DIR"
    words[words.index("--data-dir") + 1] = node.dir
    node.arguments = lambda: [
        *words, "--listen", f"{web.HOST}:{node.client}",
        "--admin-listen", f"{web.HOST}:{node.admin}"]
    node.start()


def readiness(node):
    """(status, names of the checks that are not ok) of /readyz; None before
    there is a port."""
    try:
        r = web.request(node.admin, "GET", "/readyz", timeout=5)
    except OSError:
        return None
    return r.status, [c["name"] for c in r.json()["checks"] if not c["ok"]]


def test_a_cluster_grows_with_what_metcdctl_prints(make_cluster):
    cluster = make_cluster(["memory", "lmdb", "leveldb"])
    old = list(cluster.nodes)
    for i in range(50):
        old[0].put(f"k{i}", b"v")
    new = cluster.newcomer(4)
    r = ctl(old, "member", "add", address(new))
    assert r.code == OK and r.out.startswith(b"id=4 "), r
    told = r.out
    assert members(old)[4]["role"] == "learner"
    r = ctl(old, "member", "promote", "4")
    assert r.code == ERROR and "member_conflict" in r.err, "it is not there"
    start_as_told(new, told)
    new.wait_ready()
    assert new.get("k7").body == b"v"
    assert members(old)[4]["role"] == "learner", "nobody has promoted it"
    assert members([new])[4]["connected"]
    wait_until("it has caught up", lambda:
               ctl(old, "member", "promote", "4").code == OK)
    assert members(old)[4]["role"] == "voter"
    r = ctl(old, "member", "promote", "4")
    assert r.code == ERROR and "member_conflict" in r.err, r
    cluster.check_same_state()


def test_add_and_replace_wait_until_the_new_one_votes(make_cluster):
    """The node is started while metcdctl waits, as its first lines say."""
    cluster = make_cluster(["memory"] * 3)
    old = list(cluster.nodes)
    new = cluster.newcomer(4)
    new.start()  # waits until it is a member
    r = ctl(old, "member", "add", address(new), "--wait", seconds=60)
    assert (r.code, r.err) == (OK, ""), r
    assert members(old)[4]["role"] == "voter"
    victim = next(n for n in old if n is not cluster.leader())
    victim.kill_all()
    rest = [n for n in cluster.nodes if n is not victim]
    newer = cluster.newcomer(5)
    newer.start()
    r = ctl(rest, "member", "replace", victim.id, address(newer), "--wait",
            "-o", "json", seconds=60)
    assert (r.code, r.err) == (OK, ""), r
    assert json.loads(r.out)["id"] == 5
    now = members(rest)
    assert set(now) == {n.id for n in rest} | {5}
    assert {m["role"] for m in now.values()} == {"voter"}
    rest[0].put("k", b"v")
    assert newer.get("k").body == b"v"


def test_remove_weighs_the_quorum_and_update_moves(make_cluster):
    cluster = make_cluster(["memory"] * 3)
    leader = cluster.leader()
    others = [n for n in cluster.nodes if n is not leader]
    dead, alive = others
    dead.kill_all()
    nodes = [leader, alive]
    r = wait_until("its absence is noticed", lambda: (
        lambda r: r if r.code != OK else None)(
            ctl([leader], "member", "remove", alive.id)))
    assert r.code == ERROR and "quorum_at_risk" in r.err, r
    assert len(r.complaints()) == 1 and f"node {dead.id}" in r.err, r
    assert len(members(nodes)) == 3
    r = ctl(nodes, "member", "remove", "9")
    assert r.code == NOT_FOUND and "no_such_member" in r.err, r
    r = ctl(nodes, "member", "update", dead.id, "127.0.0.1:1")
    assert r.code == OK, r
    assert members(nodes)[dead.id]["peer"] == "127.0.0.1:1"
    r = ctl(nodes, "member", "remove", dead.id)
    assert (r.code, r.err) == (OK, ""), r
    assert set(members(nodes)) == {leader.id, alive.id}
    r = ctl(nodes, "member", "add", address(dead), "--id", str(dead.id))
    assert r.code == ERROR and "member_conflict" in r.err, "ids are used once"


def test_leadership_moves_by_order_of_any_node(make_cluster):
    cluster = make_cluster(["memory"] * 3)
    leader = cluster.leader()
    target, asked = [n for n in cluster.nodes if n is not leader]
    r = ctl(asked, "move-leader", target.id)
    assert (r.code, r.out) == (OK, f"leader={target.id}\n".encode()), r
    assert cluster.leader() is target
    r = ctl(asked, "move-leader", "-o", "json")
    assert r.code == OK and json.loads(r.out)["leader"] != target.id, r
    r = ctl(asked, "move-leader", "7")
    assert r.code in (ERROR, NOT_FOUND) and len(r.complaints()) == 1, r


def test_a_joining_node_is_ready_when_it_has_caught_up(make_cluster):
    cluster = make_cluster(["memory"] * 3)
    for i in range(20):
        cluster.node(1).put(f"k{i}", b"v")
    old = list(cluster.nodes)
    new = cluster.newcomer(4, "memory")
    new.start()
    wait_until("it has a port", lambda: readiness(new))
    status, wrong = readiness(new)
    assert status == 503 and "linearizable_read" in wrong, wrong
    assert web.request(new.admin, "GET", "/livez").status == 200
    assert web.request(new.admin, "GET", "/v1/members").problem(503) == \
        "unavailable"
    assert ctl([new], "health").code == ERROR
    assert ctl(old, "member", "add", address(new), "--id", "4").code == OK
    new.wait_ready()
    r = ctl([new], "health")
    assert r.code == OK, r
    assert new.status()["role"] == "learner" and new.get("k7").body == b"v"
    # It lags: its kvd takes nothing, and the log grows.
    kvd = new.kill("kvd", signal.SIGSTOP)
    try:
        for i in range(20):
            cluster.node(1).put(f"more{i}", b"v")
        status, wrong = readiness(new)
        assert status == 503 and wrong[0] == "kvd", wrong
    finally:
        process.kill(kvd, signal.SIGCONT)
    new.wait_ready()
    assert new.get("more19").body == b"v"
    # Without the voters a learner serves nothing that is linearizable.
    for n in old[1:]:
        n.kill_all()
    wait_until("it is not ready", lambda: readiness(new)[0] == 503)
    assert web.request(new.admin, "GET", "/livez").status == 200


def test_progress_is_known_of_the_leader_wherever_it_is(make_cluster):
    """--wait asks on until it has found the node that knows."""
    cluster = make_cluster(["memory"] * 3)
    leader = cluster.leader()
    follower = next(n for n in cluster.nodes if n is not leader)
    for nodes in ([follower, leader], [leader, follower]):
        r = Run(program("metcdctl"), "member", "add",
                f"127.0.0.1:{free_port()}", "--wait",
                "--timeout-ms", "1500", "--admin",
                ",".join(f"127.0.0.1:{n.admin}" for n in nodes))
        assert r.code == ERROR and "does not vote yet" in r.err, r
        last = leader.status()["raft"]["last"]
        assert f"match=0 last={last}" in r.err, r
        number = r.out.decode().split()[0].removeprefix("id=")
        assert ctl(nodes, "member", "remove", number).code == OK


# --- what the README says ---

def readme_lines():
    with open(os.path.join(REPO, "README.md"), encoding="utf-8") as f:
        text = f.read().split("\n## Administration\n")[1]
        section = text.split("\n#")[0]  # to the next heading
    return [line[4:].split("  #")[0] for line in section.splitlines()
            if line.startswith("    ")]


def has_caught_up(cluster, number):
    told = ctl(cluster.leader(), "member", "list", "-o", "json")
    last = json.loads(told.out)["last"]
    m = {m["id"]: m for m in json.loads(told.out)["members"]}[number]
    return m["connected"] and m["state"] == "replicate" and m["match"] == last


def with_ports(line, nodes):
    """README's ports, 3379 and so on, made those of nodes; others go to
    nobody."""
    def port(match):
        number, what = divmod(int(match.group(1)) - 3379, 100)
        if number >= len(nodes):
            return f":{free_port()}"
        n = nodes[number]
        return f":{(n.client, n.peer, n.admin)[what]}"
    return re.sub(r":(3\d(?:79|8[01]))\b", port, line)


def test_the_lines_of_the_readme_do_what_they_say(make_cluster):
    cluster = make_cluster(["memory"] * 3)
    four, five = cluster.newcomer(4), cluster.newcomer(5)
    setting, *lines = [with_ports(x, cluster.nodes) for x in readme_lines()]
    os.symlink(BIN, os.path.join(cluster.dir, "bin"))
    verbs = []
    for line in lines:
        if " promote " in line:  # as soon as it is there
            wait_until("node 4 has caught up",
                       lambda: has_caught_up(cluster, 4))
        if " replace " in line:
            five.start()
        r = Run("/bin/bash", "-c", f"{setting}; {line}", cwd=cluster.dir,
                seconds=60)
        assert r.code == 0 and b'"code"' not in r.out, (line, r)
        verbs += re.findall(r"bin/metcdctl ([a-z-]+)", line)
        if " add " in line:
            start_as_told(four, r.out)
            four.wait_ready()
    assert {"health", "member", "move-leader", "completion"} <= set(verbs)
    now = members(cluster.nodes[:2])
    assert set(now) == {1, 2, 4}
    assert cluster.node(1).status()["leader"] == 1
