"""The command line client: what it prints, and what it ends with."""

import json
import os
import signal

import pytest

from lib import process, web
from lib.cluster import Run, free_port

(OK, ERROR, UNREACHABLE, BAD_INPUT, NOT_FOUND) = (0, 1, 2, 3, 10)


def ctl(node, *args, **more):
    return Run("metcdctl", *args, env={
        **os.environ, "METCDCTL_ENDPOINTS": f"127.0.0.1:{node.client}",
        "METCDCTL_ADMIN": f"127.0.0.1:{node.admin}"}, **more)


def test_put_get_and_del_do_what_they_say(one):
    r = ctl(one, "put", "ctl", "world")
    assert (r.code, r.out, r.err) == (OK, b"", "")
    r = ctl(one, "get", "ctl")
    assert (r.code, r.out, r.err) == (OK, b"world", "")
    assert ctl(one, "del", "ctl").code == OK
    r = ctl(one, "get", "ctl")
    assert (r.code, r.out) == (NOT_FOUND, b"")
    assert len(r.complaints()) == 1
    assert ctl(one, "del", "ctl").code == OK  # as DELETE: gone is gone


def test_a_value_comes_from_standard_input_byte_for_byte(one):
    for value in (b"", b"\0\xff\n", os.urandom(1 << 20)):
        assert ctl(one, "put", "stdin", stdin=value).code == OK
        r = ctl(one, "get", "stdin")
        assert (r.code, r.out == value) == (OK, True)
        assert one.get("stdin").body == value
    r = ctl(one, "put", "stdin", stdin=b"x" * ((1 << 20) + 1))
    assert r.code == BAD_INPUT and len(r.complaints()) == 1


@pytest.mark.parametrize("key", ["a/b", "a b?c#d&e%", "-", "schlüssel", "..",
                                 "k" * 500])
def test_any_key_is_the_same_key_on_the_wire(one, key):
    r = ctl(one, "put", "--", key, "v")
    assert (r.code, r.err) == (OK, "")
    assert one.get(key).body == b"v"
    assert ctl(one, "get", "--", key).out == b"v"


@pytest.mark.parametrize("args", [
    [], ["fetch", "k"], ["get"], ["get", "a", "b"], ["put"], ["get", ""],
    ["get", "k" * 501], ["get", "k", "--no-such"], ["--endpoints"],
    ["--endpoints", "x", "get", "k"], ["del"], ["put", "a", "b", "c"],
    ["member"], ["member", "put"], ["member", "add"], ["member", "remove"],
    ["member", "remove", "x"], ["member", "promote", "0"],
    ["member", "replace", "1"], ["member", "add", "h:1", "--id", "-1"],
    ["member", "add", "nowhere"], ["member", "list", "--force"],
    ["move-leader", "1", "2"], ["completion"], ["list"]],
    ids=lambda a: " ".join(a)[:20])
def test_a_wrong_call_is_told_in_one_line(one, args):
    r = ctl(one, *args)
    assert (r.code, r.out) == (BAD_INPUT, b""), r
    assert len(r.complaints()) == 1, r


def test_nobody_there_is_another_code_than_an_error(one):
    r = ctl(one, "--endpoints", f"127.0.0.1:{free_port()}", "get", "k")
    assert r.code == UNREACHABLE, r
    assert len(r.complaints()) == 1, r
    r = ctl(one, "--admin", f"127.0.0.1:{free_port()}", "status")
    assert r.code == UNREACHABLE, r


def test_only_a_key_that_is_not_there_has_the_code_for_that(one):
    """Not a path: asked at the wrong port, it is another error."""
    r = ctl(one, "--endpoints", f"127.0.0.1:{one.admin}", "get", "k")
    assert (r.code, r.out) == (ERROR, b""), r
    assert len(r.complaints()) == 1 and "--listen" in r.err, r
    r = ctl(one, "--admin", f"127.0.0.1:{one.client}", "status")
    assert (r.code, r.out) == (ERROR, b""), r
    assert len(r.complaints()) == 1 and "--admin-listen" in r.err, r


def test_a_problem_is_told_by_its_title_and_its_detail(one):
    problem = web.request(one.client, "GET", "/never-put").json()
    r = ctl(one, "get", "never-put")
    assert r.code == NOT_FOUND, r
    assert f"{problem['title']}; {problem['detail']}" in r.err, r


def test_a_read_without_an_answer_is_not_called_unsent(one):
    httpd = one.kill("httpd", signal.SIGSTOP)
    try:
        r = ctl(one, "--timeout-ms", "300", "get", "k")
    finally:
        process.kill(httpd, signal.SIGCONT)
    assert (r.code, r.out) == (UNREACHABLE, b""), r
    assert len(r.complaints()) == 1, r
    assert "took the request" not in r.err and "no endpoint answered" in r.err


def test_the_next_endpoint_is_tried(one):
    dead = f"127.0.0.1:{free_port()}"
    r = ctl(one, "--endpoints", f"{dead},127.0.0.1:{one.client}", "put",
            "next", "v")
    assert r.code == OK, r
    assert one.get("next").body == b"v"


def test_status_shows_each_node_it_is_asked_for(three):
    three.node(1).put("k", b"v")
    three.settled()
    admins = ",".join(f"127.0.0.1:{n.admin}" for n in three.nodes)
    for form in ("simple", "table"):
        r = ctl(three.node(1), "--admin", admins, "-o", form, "status")
        assert (r.code, r.err) == (OK, "")
        assert r.out.decode().count(
            three.node(1).status()["kv"]["hash"]) == 3
    r = ctl(three.node(1), "--admin", admins, "-o", "json", "status")
    assert r.code == OK
    assert [s["id"] for s in json.loads(r.out)] == [1, 2, 3]
    r = ctl(three.node(2), "-o", "json", "status")
    assert json.loads(r.out)["id"] == 2


def test_health_says_of_each_node_whether_it_can_serve(make_cluster):
    cluster = make_cluster(["memory"] * 3)
    node = cluster.leader()
    followers = [n for n in cluster.nodes if n is not node]
    admins = ",".join(f"127.0.0.1:{n.admin}" for n in [node, *followers])
    r = ctl(node, "--admin", admins, "health", "-o", "json")
    assert r.code == OK, r
    assert [h["healthy"] for h in json.loads(r.out)] == [True] * 3
    r = ctl(node, "health")
    assert r.code == OK and b"healthy=yes" in r.out, r
    stopped = followers[0].kill("kvd", signal.SIGSTOP)
    followers[1].kill_all()
    try:
        r = ctl(node, "--admin", admins, "health", "-o", "json")
    finally:
        process.kill(stopped, signal.SIGCONT)
    assert (r.code, r.err) == (ERROR, ""), r
    said = json.loads(r.out)
    assert [h["healthy"] for h in said] == [True, False, False]
    assert "kvd" in said[1]["reason"] and "connect" in said[2]["reason"]
    r = ctl(node, "--admin", f"127.0.0.1:{node.client}", "health")
    assert r.code == ERROR and b"--admin-listen" in r.out, r


def test_version_is_that_of_the_program_and_of_each_node(one):
    own = ctl(one, "--version").out.split()[-1].decode()
    r = ctl(one, "version", "-o", "json")
    assert (r.code, r.err) == (OK, ""), r
    assert json.loads(r.out) == [
        {"program": "metcdctl", "version": own},
        {"program": f"127.0.0.1:{one.admin}", "version": own}]
    r = ctl(one, "--admin", f"127.0.0.1:{free_port()}", "version")
    assert r.code == UNREACHABLE and len(r.complaints()) == 1, r
    assert f"program=metcdctl version={own}" in r.out.decode()


def test_member_list_has_three_forms(three):
    three.settled()
    r = ctl(three.node(1), "member", "list", "-o", "table")
    assert (r.code, r.err) == (OK, ""), r
    lines = r.out.decode().splitlines()
    assert lines[0].split()[:4] == ["ID", "PEER", "ROLE", "LEADER"]
    at = lines[0].index("ROLE")
    assert [line[at:at + 5] for line in lines[1:]] == ["voter"] * 3
    r = ctl(three.node(1), "member", "list", "-o", "json")
    told = web.request(three.node(1).admin, "GET", "/v1/members").json()
    assert json.loads(r.out)["members"][1]["peer"] == told["members"][1][
        "peer"]
    r = ctl(three.node(2), "member", "list")
    rows = [dict(w.split("=") for w in line.split())
            for line in r.out.decode().splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row["id"] for row in rows if row["leader"] == "yes"] == [
        str(three.leader().id)]


def test_every_verb_that_reports_has_json(one):
    for args in (["status"], ["health"], ["version"], ["member", "list"],
                 ["snapshot"], ["rebuild", "--data-dir", one.dir]):
        r = ctl(one, *args, "-o", "json", seconds=30)
        assert (r.code, r.err) == (OK, ""), (args, r)
        assert json.loads(r.out), args
    one.wait_ready()


@pytest.mark.parametrize("name,value,args,means", [
    ("OUTPUT", "json", ["member", "list"], b'"members"'),
    ("OUTPUT", "table", ["member", "list"], b"ID "),
    ("STALE", "1", ["get", "twin"], b"v"),
    ("STALE", "0", ["get", "twin"], b"v"),
    ("CLUSTER", "1", ["status"], b"hashes:")])
def test_options_have_environment_twins(one, name, value, args, means):
    one.put("twin", b"v")
    env = {**os.environ, "METCDCTL_ENDPOINTS": f"127.0.0.1:{one.client}",
           "METCDCTL_ADMIN": f"127.0.0.1:{one.admin}",
           f"METCDCTL_{name}": value}
    r = Run("metcdctl", *args, env=env)
    assert r.code == OK and means in r.out, r
    env[f"METCDCTL_{name}"] = "nonsense"
    r = Run("metcdctl", *args, env=env)
    assert r.code == BAD_INPUT and f"METCDCTL_{name}" in r.err, r


def test_every_verb_has_a_help_text():
    text = Run("metcdctl", "--help").out.decode()
    table = text.split("Verbs:\n")[1].split("\n\n")[0]
    verbs = [line[2:16].split() for line in table.splitlines()]
    assert len(verbs) == 17
    for verb in verbs:
        r = Run("metcdctl", *verb, "--help")
        assert r.code == OK and r.out.decode().startswith(
            f"Usage: metcdctl {' '.join(verb)}"), r
    r = Run("metcdctl", "member", "--help")
    assert r.code == OK and r.out.count(b"  member ") == 6, r


def test_errors_of_the_cluster_have_their_codes(make_cluster):
    """No quorum: a write is refused, or its outcome is unknown; a stale read
    still works."""
    cluster = make_cluster(["memory"] * 3,
                           env={"METCD_REQUEST_TIMEOUT_MS": "1000"})
    node = cluster.node(1)
    node.put("k", b"v")
    for other in cluster.nodes[1:]:
        other.kill_all()
    r = ctl(node, "put", "k", "w")
    assert r.code in (ERROR, 12) and len(r.complaints()) == 1, r
    assert ctl(node, "get", "k").code == ERROR
    r = ctl(node, "get", "--stale", "k")
    assert (r.code, r.out) == (OK, b"v")
    assert process.is_alive(node.pids()["httpd"])
    assert web.request(node.admin, "GET", "/livez").status == 200
