"""The Debian package as built: its place, its rights, lintian's opinion; and
what `make install` puts where."""

import glob
import os
import re
import subprocess

import pytest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.realpath(__file__))))
PROGRAMS = ("usr/bin/metcd", "usr/bin/metcdctl", "usr/libexec/metcd/raftd",
            "usr/libexec/metcd/kvd", "usr/libexec/metcd/httpd")
UNITS = sorted(os.path.basename(p) for p in
               glob.glob(os.path.join(REPO, "deploy/systemd/*@*")))


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True,
                          timeout=300, **more).stdout


def packages(kind):
    return glob.glob(os.path.join(REPO, "build/deb", f"metcd_*.{kind}"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The package, unpacked."""
    found = packages("deb")
    assert len(found) == 1, found
    out = tmp_path_factory.mktemp("deb")
    run("dpkg-deb", "-x", found[0], str(out))
    return str(out)


def test_lintian_finds_no_error():
    found = packages("changes")
    assert len(found) == 1, found
    said = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", found[0]],
        capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stdout + said.stderr


def test_libraries_of_the_makefile_are_build_dependencies():
    with open(os.path.join(REPO, "Makefile")) as f:
        wanted = re.search(r"^PACKAGES_BUILD := ((?:.*\\\n)*.*)$", f.read(),
                           re.MULTILINE).group(1)
    with open(os.path.join(REPO, "deploy/debian/control")) as f:
        control = f.read()
    libraries = [w for w in wanted.split() if w.endswith("-dev")]
    assert len(libraries) >= 8
    for library in libraries:
        assert re.search(rf"^ +{re.escape(library)}(,|$)", control,
                         re.MULTILINE), f"{library} is not in debian/control"


def test_version_is_that_of_the_programs(tree):
    with open(os.path.join(REPO, "base/daemon.h")) as f:
        version = re.search(r'METCD_VERSION "(.*)"', f.read()).group(1)
    assert os.path.basename(packages("deb")[0]).split("_")[1] == version
    for p in PROGRAMS:
        said = run(os.path.join(tree, p), "--version").split()
        assert version in said, (p, said)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_hardened_as_debian_builds_them(tree, program):
    """Position-independent, relocations read-only and bound at start, stack
    protector and checked string functions."""
    path = os.path.join(tree, program)
    said = run("readelf", "-hldW", path)
    assert re.search(r"Type:\s+DYN", said)
    assert "GNU_RELRO" in said and "BIND_NOW" in said
    assert re.search(r"GNU_STACK.* RW ", said)
    symbols = run("readelf", "-W", "--dyn-syms", path)
    assert "__stack_chk_fail" in symbols and "_chk@" in symbols


def test_units_and_their_surroundings_are_in_place(tree):
    assert sorted(os.listdir(os.path.join(tree, "lib/systemd/system"))) == UNITS
    for path in ("usr/lib/sysusers.d/metcd.conf",
                 "usr/lib/tmpfiles.d/metcd.conf",
                 "usr/share/metcd/example.env",
                 "usr/share/metcd/metcd-alerts.yml",
                 "usr/share/metcd/metcd.json",
                 "usr/share/man/man8/metcd-raftd.8.gz",
                 "usr/share/man/man1/metcdctl.1.gz",
                 "usr/share/bash-completion/completions/metcdctl",
                 "usr/share/fish/vendor_completions.d/metcdctl.fish",
                 "usr/share/zsh/vendor-completions/_metcdctl"):
        assert os.path.getsize(os.path.join(tree, path)) > 0, path


def check_filled(root, libexec):
    """Nothing is left to be filled in, and each ExecStart= is there."""
    for folder, _, names in os.walk(root):
        for name in names:
            if not re.search(r"\.(service|socket|target|env)$", name):
                continue
            with open(os.path.join(folder, name)) as f:
                text = f.read()
            assert "@LIBEXECDIR@" not in text, name
            for program in re.findall(r"^ExecStart=(\S+/metcd/\S+)", text,
                                      re.MULTILINE):
                assert os.path.dirname(program) == libexec, (name, program)
                assert os.access(root + program, os.X_OK), program


def test_units_name_programs_that_are_there(tree):
    check_filled(tree, "/usr/libexec/metcd")


def test_units_name_manual_pages_that_are_there(tree):
    for unit in UNITS:
        with open(os.path.join(tree, "lib/systemd/system", unit)) as f:
            pages = re.findall(r"^Documentation=man:(\S+)\((\d)\)$", f.read(),
                               re.MULTILINE)
        for page, section in pages:
            path = f"usr/share/man/man{section}/{page}.{section}.gz"
            assert os.path.exists(os.path.join(tree, path)), (unit, path)


def test_install_heeds_destdir_prefix_and_unit_directory(tmp_path):
    root = str(tmp_path)
    run("make", "-C", REPO, "install", f"DESTDIR={root}", "PREFIX=/opt/kv",
        "UNITDIR=/etc/systemd/system")
    assert sorted(os.listdir(root + "/etc/systemd/system")) == UNITS
    check_filled(root, "/opt/kv/libexec/metcd")
    assert sorted(os.listdir(root)) == ["etc", "opt"]
