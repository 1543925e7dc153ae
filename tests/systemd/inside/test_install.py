"""What the package brings, before any node is configured."""

import grp
import os
import pwd
import re
import stat

import pytest
import units

UNIT_DIR = "/lib/systemd/system"
# What is to be there: tests are collected before the package is installed.
UNITS = sorted(u for u in os.listdir("/opt/metcd/deploy/systemd") if "@" in u)
SERVICES = [u for u in UNITS if u.endswith(".service")]


def test_installing_starts_nothing():
    listed = units.systemctl("list-units", "--all", "--plain", "--no-legend",
                             "metcd*")
    assert listed.strip() == ""
    assert "metcd@" not in units.systemctl("list-dependencies", "--plain",
                                           "multi-user.target")


def test_users_and_directories_are_made():
    group = grp.getgrnam("metcd")
    for process in units.PROCESSES:
        user = pwd.getpwnam(f"metcd-{process}")
        assert user.pw_uid != 0 and user.pw_shell.endswith("nologin")
    assert group.gr_gid != 0
    for path in ("/etc/metcd", "/var/lib/metcd"):
        s = os.stat(path)
        assert (s.st_uid, stat.S_IMODE(s.st_mode)) == (0, 0o755), path


@pytest.mark.parametrize("unit", UNITS)
def test_verify_has_nothing_to_say(unit):
    instance = unit.replace("@.", "@any.")
    said = units.run("systemd-analyze", "verify", "--man=no",
                     os.path.join(UNIT_DIR, instance))
    assert said == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure_is_at_most_1_5(unit):
    said = units.run("systemd-analyze", "security", "--no-pager",
                     "--offline=true", "--threshold=15", unit)
    assert float(re.search(r"exposure level.*: ([0-9.]+)", said).group(1)) \
        <= 1.5


def test_a_node_without_its_environment_file_is_refused():
    said = units.systemctl("start", "metcd@nobody.target", check=False)
    assert "Assertion failed" in said
    for unit in ("metcd-raftd@nobody.service", "metcd-httpd@nobody.socket"):
        assert units.show(unit, "ActiveState") == "inactive", unit


def test_a_node_is_enabled_for_the_next_boot_by_its_target():
    units.Instance("boot").configure()
    units.systemctl("enable", "metcd@boot.target")
    wanted = units.systemctl("list-dependencies", "--plain",
                             "multi-user.target")
    assert "metcd@boot.target" in wanted
    units.systemctl("disable", "metcd@boot.target")
