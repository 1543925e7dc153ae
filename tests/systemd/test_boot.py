"""A machine with an enabled node loses power and boots again."""

import glob
import json
import os
import subprocess

import pytest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.realpath(__file__))))
# tests/systemd/run names the tool.
TOOL = os.environ.get("METCD_SYSTEMD_CONTAINER", "")
NAME = f"metcd-boot-{os.getpid()}"

FIRST = """
dpkg -i /opt/metcd/build/deb/metcd_*.deb
cp /usr/share/metcd/example.env /etc/metcd/n1.env
echo METCD_WAL_SEGMENT_BYTES=4194304 >>/etc/metcd/n1.env
systemctl enable --now metcd@n1.target
curl -sSf http://127.0.0.1:3379/power -XPUT -d on
"""
# The client waits in the backlog of the socket until all is there.
SECOND = """
curl -sSf --retry 20 --retry-all-errors http://127.0.0.1:3379/power
curl -sSf http://127.0.0.1:3381/v1/status
"""


def run(*command):
    r = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=120)
    assert r.returncode == 0, (command, r.stdout)
    return r.stdout


@pytest.fixture
def disk(tmp_path):
    """A small disk for what the machine writes: it outlives a boot."""
    image, place = str(tmp_path / "disk.img"), str(tmp_path / "disk")
    with open(image, "wb") as f:
        f.truncate(1 << 30)
    run("mkfs.ext4", "-q", image)
    os.mkdir(place)
    run("mount", "-o", "loop", image, place)
    yield place
    subprocess.run([TOOL, "--name", NAME, "destroy"], timeout=60)
    run("umount", place)


@pytest.mark.skipif(not TOOL, reason="no tool to boot with")
def test_an_enabled_node_comes_back_at_boot_after_a_power_cut(disk):
    assert len(glob.glob(os.path.join(REPO, "build/deb/metcd_*.deb"))) == 1
    boot = (TOOL, "--name", NAME, "--upper", disk, "--bind",
            f"{REPO}:/opt/metcd:ro", "boot")
    inside = (TOOL, "--name", NAME, "exec", "--", "bash", "-ec")
    run(*boot)
    run(*inside, FIRST)
    run(TOOL, "--name", NAME, "kill")
    run(*boot)
    said = run(*inside, SECOND)
    assert said.startswith("on")
    status = json.loads(said[2:])
    assert status["role"] == "leader" and status["term"] > 2
