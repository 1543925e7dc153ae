"""metcdctl's verbs for members: what they send, what they make of answers; and
completion."""

import json
import os
import pty
import shutil
import signal
import subprocess

import pytest

from lib import process
from lib.adminport import AdminPort
from lib.cluster import BIN, Run, free_port, program

(OK, ERROR, UNREACHABLE, BAD_INPUT, NOT_FOUND, UNKNOWN) = (0, 1, 2, 3, 10, 12)


def members(role="learner", match=0, ids=(1, 2, 3, 4), leader=1, node=1):
    """What GET /v1/members says; role and match are the last one's."""
    return 200, {
        "cluster_id": "00", "node": node, "leader": leader, "last": 200,
        "index": 9, "joint": False, "members": [
            {"id": i, "peer": f"h{i}:3380", "promote": "manual",
             "replaces": 0, "connected": True, "state": "replicate",
             "role": "voter" if i != ids[-1] else role,
             "match": 200 if i != ids[-1] else match} for i in ids]}


def problem(status, code, detail="why not"):
    return status, {"title": "No", "status": status, "code": code,
                    "detail": detail}


ADDED = 201, {"id": 4, "peer": "h4:3380", "role": "learner",
              "promote": "manual", "index": 9}
LIST = "GET /v1/members"


def ctl(ports, *args, **more):
    addresses = [p if isinstance(p, str) else p.address for p in ports]
    return Run("metcdctl", *args, env={
        **os.environ, "METCDCTL_ADMIN": ",".join(addresses)}, **more)


@pytest.mark.parametrize("args,order,body,answer,line", [
    (["member", "add", "h4:3380"], "POST /v1/members",
     {"peer": "h4:3380", "promote": "manual"}, ADDED,
     "id=4 peer=h4:3380 role=learner promote=manual index=9"),
    (["member", "add", "--id", "7", "h4:3380", "--auto"], "POST /v1/members",
     {"peer": "h4:3380", "promote": "auto", "id": 7}, ADDED, "id=4 "),
    (["member", "replace", "3", "h4:3380"], "POST /v1/members/replace",
     {"old": 3, "peer": "h4:3380", "force": False},
     (202, {"id": 4, "old": 3, "peer": "h4:3380", "index": 9}),
     "id=4 old=3 peer=h4:3380 index=9"),
    (["member", "replace", "3", "h4:3380", "--force", "--id=8"],
     "POST /v1/members/replace",
     {"old": 3, "peer": "h4:3380", "force": True, "new": 8},
     (202, {"id": 8, "old": 3, "peer": "h4:3380", "index": 9}), "id=8 "),
    (["member", "promote", "4"], "POST /v1/members/4/promote", None,
     (200, {"id": 4, "index": 9}), "id=4 index=9"),
    (["member", "promote", "4", "--force"],
     "POST /v1/members/4/promote?force=true", None,
     (200, {"id": 4, "index": 9}), "id=4 index=9"),
    (["member", "remove", "4"], "DELETE /v1/members/4", None,
     (200, {"id": 4, "index": 9}), "id=4 index=9"),
    (["member", "remove", "4", "--force"],
     "DELETE /v1/members/4?force=true", None,
     (200, {"id": 4, "index": 9}), "id=4 index=9"),
    (["member", "update", "2", "new:1"], "PUT /v1/members/2",
     {"peer": "new:1"}, (200, {"id": 2, "peer": "new:1", "index": 9}),
     "id=2 peer=new:1 index=9"),
    (["move-leader"], "POST /v1/leader", {}, (200, {"leader": 2}),
     "leader=2"),
    (["move-leader", "3"], "POST /v1/leader", {"to": 3},
     (200, {"leader": 3}), "leader=3")], ids=lambda a: str(a)[:40])
def test_each_order_is_sent_once_and_its_answer_shown(
        args, order, body, answer, line):
    with AdminPort({LIST: [members()], order: [answer]}) as port:
        r = ctl([port], *args)
        assert (r.code, r.err) == (OK, ""), r
        assert r.out.decode().startswith(line), r
        assert port.orders() == [(order, body)]
        port.asked.clear()
        r = ctl([port], *args, "-o", "json")
        shown = json.loads(r.out)
        start = shown.pop("start", None)
        assert shown == answer[1]
        if "add" in args or "replace" in args:
            assert start == (f"metcd --id {shown['id']} --join --cluster "
                             "h1:3380,h2:3380,h3:3380,h4:3380 --data-dir DIR")


def test_the_command_that_starts_the_new_node_is_a_line_of_its_own():
    with AdminPort({LIST: [members()], "POST /v1/members": [ADDED]}) as port:
        for form in ("simple", "table"):
            r = ctl([port], "member", "add", "h4:3380", "-o", form)
            assert r.out.decode().splitlines()[-1] == (
                "start it with: metcd --id 4 --join --cluster "
                "h1:3380,h2:3380,h3:3380,h4:3380 --data-dir DIR")


@pytest.mark.parametrize("answer,code", [
    (problem(400, "bad_request"), BAD_INPUT),
    (problem(404, "no_such_member"), NOT_FOUND),
    (problem(409, "member_conflict"), ERROR),
    (problem(409, "quorum_at_risk"), ERROR),
    (problem(503, "no_leader"), ERROR), (problem(504, "timeout"), UNKNOWN),
    ("hang up", UNKNOWN)])
def test_what_becomes_of_an_order_has_its_code(answer, code):
    with AdminPort({LIST: [members()],
                    "DELETE /v1/members/4": [answer]}) as port:
        r = ctl([port], "member", "remove", "4")
        assert (r.code, r.out) == (code, b""), r
        assert len(r.complaints()) == 1, r
        if answer != "hang up":
            assert "why not" in r.err and answer[1]["code"] in r.err
        assert len(port.orders()) == 1, "never twice"


def test_an_order_goes_to_the_first_node_that_takes_it():
    done = {"DELETE /v1/members/4": [(200, {"id": 4, "index": 9})]}
    busy = {"DELETE /v1/members/4": [problem(503, "no_leader")]}
    nobody = f"127.0.0.1:{free_port()}"
    with AdminPort({LIST: [problem(503, "unavailable")], **done}) as away, \
            AdminPort({LIST: [members()], **busy}) as refuses, \
            AdminPort({LIST: [members()], **done}) as takes, \
            AdminPort({LIST: [members()], **done}) as spare:
        r = ctl([nobody, away, refuses, takes, spare], "member", "remove", "4")
        assert (r.code, r.err, r.out) == (OK, "", b"id=4 index=9\n"), r
        assert [len(p.orders()) for p in (away, refuses, takes, spare)] == [
            0, 1, 1, 0]
        r = ctl([refuses, nobody], "member", "remove", "4")
        assert r.code == ERROR and len(r.complaints()) == 1, r
        r = ctl([nobody], "member", "remove", "4")
        assert r.code == UNREACHABLE and len(r.complaints()) == 1, r


def test_an_order_is_never_sent_to_a_data_port(one):
    """There its path would be a key."""
    one.put("v1/members/4", b"precious")
    data = f"127.0.0.1:{one.client}"
    for args in (["remove", "4"], ["update", "4", "h:1"], ["add", "h:1"],
                 ["promote", "4"], ["list"]):
        r = ctl([data], "member", *args)
        assert r.code == ERROR and "--admin-listen" in r.err, r
        assert len(r.complaints()) == 1
    assert one.get("v1/members/4").body == b"precious"


# --- waiting ---

CATCHING_UP = [members(match=0), members(match=50), members(match=199),
               members("voter", 200)]


def test_add_waits_until_the_member_votes():
    with AdminPort({LIST: [members(), members(), *CATCHING_UP],
                    "POST /v1/members": [ADDED]}) as port:
        r = ctl([port], "member", "add", "h4:3380", "--wait")
        assert (r.code, r.err) == (OK, ""), r
        assert port.orders()[0][1]["promote"] == "auto"
        assert len(port.asked) == 1 + 2 + len(CATCHING_UP)


def test_replace_waits_until_the_old_one_is_out():
    order = "POST /v1/members/replace"
    without = members("voter", 200, ids=(1, 2, 4))
    with AdminPort({LIST: [members(), members(), *CATCHING_UP, without],
                    order: [(202, {"id": 4, "old": 3, "index": 9})]}) as port:
        r = ctl([port], "member", "replace", "3", "h4:3380", "--wait")
        assert r.code == OK, r
        assert len(port.asked) == 1 + 2 + len(CATCHING_UP) + 1


def test_waiting_ends_with_what_it_saw_last():
    with AdminPort({LIST: [members(match=17)],
                    "POST /v1/members": [ADDED]}) as port:
        r = ctl([port], "member", "add", "h4:3380", "--wait", "--timeout-ms",
                "500")
        assert r.code == ERROR and r.out.startswith(b"id=4"), r
        assert "match=17 last=200 state=replicate" in r.err, r
        port.answers[LIST] = [members(), members(), members(ids=(1, 2, 3))]
        r = ctl([port], "member", "add", "h4:3380", "--wait")
        assert r.code == ERROR and "out again" in r.err, r
        assert len(r.complaints()) == 1


def read_terminal(args, env):
    """What a command writes to a terminal, and its exit code."""
    main, sub = pty.openpty()
    try:
        p = subprocess.Popen([program("metcdctl"), *args], stdin=sub,
                             stdout=subprocess.DEVNULL, stderr=sub, env=env)
        os.close(sub)
        got = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # EIO: the other end is closed
                break
            if not piece:
                break
            got += piece
        return got.decode(), p.wait(20)
    finally:
        os.close(main)


def test_progress_is_shown_on_a_terminal_and_nowhere_else():
    slowly = [members(match=50)] * 14
    answers = {LIST: [members(), members(), *slowly, members("voter", 200)],
               "POST /v1/members": [ADDED]}
    args = ["member", "add", "h4:3380", "--wait"]
    with AdminPort(answers) as port:
        env = {**os.environ, "METCDCTL_ADMIN": port.address}
        text, code = read_terminal(args, env)
        assert code == OK
        assert "member 4 catches up [======" in text
        assert "25% 50/200" in text
        assert text.endswith("\r\033[K"), "the line is gone in the end"
    with AdminPort(answers) as port:
        assert ctl([port], *args).err == ""


def test_what_is_said_meanwhile_does_not_stand_in_the_progress_line(one):
    """Of two nodes one hangs: a bar, and then a line of its own for it."""
    httpd = one.kill("httpd", signal.SIGSTOP)
    try:
        text, code = read_terminal(
            ["status", "--timeout-ms", "1600"],
            {**os.environ, "METCDCTL_ADMIN": f"127.0.0.1:{one.admin}"})
    finally:
        process.kill(httpd, signal.SIGCONT)
    one.wait_ready()
    assert code == UNREACHABLE
    assert "asking the nodes [" in text
    assert text.split("\r")[-2].startswith("\033[Kmetcdctl: no answer"), text


# --- completion ---

BASH = r"""
source <("$CTL" completion bash)
complete_line() {
	COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _metcdctl
	echo "${COMPREPLY[@]}"
}
"""


def bash(*words):
    """What bash offers for the last of these words."""
    call = "complete_line " + " ".join(f"'{w}'" for w in words)
    r = subprocess.run(["bash", "-c", BASH + call], check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       env={**os.environ,
                            "CTL": os.path.join(BIN, "metcdctl")}, timeout=20)
    assert r.stderr == b"", r
    return r.stdout.decode().split()


@pytest.mark.parametrize("words,offered", [
    (["metcdctl", "me"], ["member"]),
    (["metcdctl", "s"], ["status", "snapshot"]),
    (["metcdctl", "member", ""], ["list", "add", "promote", "remove",
                                  "replace", "update", "--help"]),
    (["metcdctl", "member", "re"], ["remove", "replace"]),
    (["metcdctl", "member", "add", "h:1", "--w"], ["--wait"]),
    (["metcdctl", "member", "add", "h", ":", "1", "--i"], ["--id"]),
    (["metcdctl", "member", "remove", "--"],
     ["--admin", "--timeout-ms", "--force", "--help"]),
    (["metcdctl", "--admin", "a", ":", "1", "member", "l"], ["list"]),
    (["metcdctl", "-o", "json", "st"], ["status"]),
    (["metcdctl", "-o", ""], ["simple", "json", "table"]),
    (["metcdctl", "member", "list", "-o", "t"], ["table"]),
    (["metcdctl", "--timeout-ms", "=", "5", "hea"], ["health"]),
    (["metcdctl", "--admin", ""], []),
    (["metcdctl", "engine", "l"], ["lmdb", "leveldb"]),
    (["metcdctl", "completion", ""], ["bash", "zsh", "fish", "--help"]),
    (["metcdctl", "nothing", "x"], [])], ids=" ".join)
def test_bash_completes_verbs_options_and_values(words, offered):
    assert bash(*words) == offered


def test_bash_offers_all_that_the_help_lists():
    verbs = bash("metcdctl", "")
    helped = Run("metcdctl", "--help").out.decode()
    for line in helped.split("Verbs:\n")[1].split("\n\n")[0].splitlines():
        assert line.split()[0] in verbs
    options = [line.split()[0] for line in helped.splitlines()
               if line.startswith("  -")]
    assert len(options) > 10 and set(options) <= set(verbs)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid_in_its_shell(scratch, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here to check its script with")
    script = os.path.join(scratch, "script")
    with open(script, "wb") as f:
        f.write(Run("metcdctl", "completion", shell).out)
    r = Run(shutil.which(shell), "-n", script)
    assert (r.code, r.out, r.err) == (0, b"", "")


def test_fish_completes_verbs_options_and_values(scratch):
    if shutil.which("fish") is None:
        pytest.skip("no fish here to complete with")
    script = os.path.join(scratch, "script")
    with open(script, "wb") as f:
        f.write(Run("metcdctl", "completion", "fish").out)

    def fish(line):
        r = Run(shutil.which("fish"), "--no-config", "-c",
                f"source {script}; complete -C '{line}'",
                env={**os.environ, "HOME": scratch})
        return [x.split("\t")[0] for x in r.out.decode().splitlines()]
    assert fish("metcdctl mem") == ["member"]
    assert set(fish("metcdctl member ")) == {
        "list", "add", "promote", "remove", "replace", "update"}
    assert set(fish("metcdctl --admin h:1 engine l")) == {"lmdb", "leveldb"}
    assert "--wait" in fish("metcdctl member add h:1 --")
    assert "--wait" not in fish("metcdctl member list --")
    assert fish("metcdctl status -o t") == ["table"]


def test_an_unknown_shell_is_refused():
    r = Run("metcdctl", "completion", "tcsh")
    assert (r.code, r.out) == (BAD_INPUT, b""), r
    assert len(r.complaints()) == 1
