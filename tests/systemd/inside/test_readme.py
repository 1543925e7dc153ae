"""README's section about systemd, line by line."""

import os
import re
import subprocess

import units

README = "/opt/metcd/README.md"
# Lines that need what the container has not: a compiler's time, a network.
ELSEWHERE = ("make deb",)


def commands():
    with open(README) as f:
        section = re.search(r"^## Under systemd\n(.*?)^## ", f.read(),
                            re.MULTILINE | re.DOTALL).group(1)
    lines = [line[4:] for line in section.splitlines()
             if line.startswith("    ")]
    return [c for c in lines if not c.startswith(ELSEWHERE)]


def check_after(line, node):
    """What a line has left: the node works and has what was put."""
    if "hello" in line:
        node.put_once = True
    if not line.startswith("systemctl") or " stop " in line or \
            " disable " in line:
        return
    node.wait_ready()
    if node.put_once:
        assert node.get("hello") == b"world", line


def test_every_line_of_the_section_does_what_it_says():
    lines = commands()
    assert len(lines) >= 15
    node = units.Instance("n1")
    node.put_once = False
    for line in lines:
        r = subprocess.run(["bash", "-ec", line], cwd="/opt/metcd",
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
        assert r.returncode == 0, (line, r.stdout)
        check_after(line, node)
    assert node.put_once
    node.stop()
    assert units.show(node.target, "UnitFileState") == "disabled"
    assert os.path.isdir("/var/lib/metcd/n1/raft")
