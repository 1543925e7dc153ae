"""The manual pages say what --help says, no less and no more.

An option, a verb or an exit code that is new, gone or has another default
belongs into deploy/man too: the failure names it and the page."""

import os
import re
import subprocess

import pytest

from lib.cluster import REPO, program

MAN = os.path.join(REPO, "deploy", "man")
PAGES = {"metcd": "metcd.8", "raftd": "metcd-raftd.8", "kvd": "metcd-kvd.8",
         "httpd": "metcd-httpd.8", "metcdctl": "metcdctl.1"}
OVERVIEW = "metcd.7"
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "VERBS", "OPTIONS",
            "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
# Those of metcd that it hands on have no default of their own.
OPTION = re.compile(r"  (--?[a-z][-a-z]*)(?: ([A-Z][A-Z:,.]*))?(?: {1,}|$)")


def help_of(name):
    r = subprocess.run([program(name), "--help"], capture_output=True,
                       text=True, timeout=10, check=True)
    return r.stdout


def options_of(name):
    """{option: (placeholder, default)} of --help, "" where there is none."""
    found, last = {}, None
    for line in help_of(name).split("Options", 1)[1].splitlines():
        if line.startswith("Exit codes"):
            break
        if m := OPTION.match(line):
            last = m.group(1)
            found[last] = [m.group(2) or "", ""]
        if last and name == "metcdctl" and (
                m := re.search(r" \(([^() ]+)\)$", line)):
            found[last][1] = m.group(1)
        elif last and (m := re.search(r"\(default ([^,]+), METCD_", line)):
            found[last][1] = m.group(1)
    return {o: tuple(v) for o, v in found.items()}


def exit_codes_of(name):
    text = help_of(name).split("Exit codes:\n", 1)[1]
    return {int(n) for n in re.findall(r"^  (\d+) ", text, re.M)}


def verbs_of(name):
    text = help_of(name)
    if "Verbs:\n" not in text:
        return set()
    text = text.split("Verbs:\n", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^  ([a-z][-a-z]*(?: [a-z]+)?)(?: +[A-Z[]|  )",
                          text, re.M))


def page_text(page):
    with open(os.path.join(MAN, page), encoding="ascii") as f:
        return f.read()


def section(page, title):
    m = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", page_text(page),
                  re.M | re.S)
    assert m, f"deploy/man/{page} has no section {title}"
    return m.group(1)


def items(page, title):
    """(head, body) of each item of a section's list; heads that follow each
    other share a body."""
    found, waiting = [], []
    for part in re.split(r"^\.It ", section(page, title), flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        waiting.append(head)
        if body.strip():
            found += [(h, body) for h in waiting]
            waiting = []
    return found


def options_in(page):
    """{option: (placeholder, body)} of a page."""
    found = {}
    for head, body in items(page, "OPTIONS"):
        m = re.fullmatch(r"Fl (\S+)(?: Ar (\S+))?", head)
        assert m, f"deploy/man/{page}: .It {head}: not .It Fl -name Ar VALUE"
        assert "-" + m.group(1) not in found, f"{page}: {head} stands twice"
        found["-" + m.group(1)] = (m.group(2) or "", body)
    return found


@pytest.mark.parametrize("name, page", PAGES.items())
def test_a_page_has_every_option_of_help_and_no_other(name, page):
    said, written = options_of(name), options_in(page)
    assert len(said) >= 8, said
    wrong = [f"{o} {said[o][0]}: not in deploy/man/{page}, add it"
             for o in said if o not in written]
    wrong += [f"{o}: in deploy/man/{page}, but {name} has no such option"
              for o in written if o not in said]
    for o in said.keys() & written.keys():
        value, default = said[o]
        if written[o][0] != value:
            wrong.append(f"{o}: deploy/man/{page} says {written[o][0]!r}, "
                         f"--help {value!r}")
        if default and default not in written[o][1]:
            wrong.append(f"{o}: deploy/man/{page} does not say that the "
                         f"default is {default}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name, page", PAGES.items())
def test_a_page_has_every_exit_code_and_no_other(name, page):
    written = {int(h) for h, _ in items(page, "EXIT STATUS")}
    assert written == exit_codes_of(name), f"deploy/man/{page}"


def test_metcdctls_page_has_every_verb_and_no_other():
    written = {re.match(r"Cm ([a-z][-a-z]*(?: [a-z]+)?)", h).group(1)
               for h, _ in items(PAGES["metcdctl"], "VERBS")}
    said = verbs_of("metcdctl")
    assert len(said) >= 7
    assert written == said, "deploy/man/metcdctl.1"


def test_metcdctls_page_has_every_variable_and_no_other():
    said = set(re.findall(r"\bMETCDCTL_[A-Z_]+", help_of("metcdctl")))
    written = {name for h, _ in items(PAGES["metcdctl"], "ENVIRONMENT")
               for name in h.removeprefix("Ev ").split(" , ")}
    assert said and written == said, "deploy/man/metcdctl.1"


def test_the_overview_has_every_path_of_the_admin_port():
    """As the table in httpd/api.h has them."""
    with open(os.path.join(REPO, "httpd", "api.h"), encoding="utf-8") as f:
        table = f.read().split("#define ADMIN_TABLE", 1)[1]
    said = {" ".join(m) for m in re.findall(r'X\((\w+), "([^"]+)"', table)}
    written = {path for h, _ in items(OVERVIEW, "ADMIN PORT")
               for path in h.removeprefix("Li ").split(" , ")}
    assert len(said) >= 6 and written == said, f"deploy/man/{OVERVIEW}"


@pytest.mark.parametrize("page", [*PAGES.values(), OVERVIEW])
def test_a_page_has_its_sections_in_order(page):
    titles = re.findall(r"^\.Sh (.*)$", page_text(page), re.M)
    if page == OVERVIEW:
        assert titles[:2] == ["NAME", "DESCRIPTION"]
        assert titles[-1] == "SEE ALSO"
        return
    wanted = [t for t in SECTIONS if t != "VERBS" or page == "metcdctl.1"]
    assert titles == wanted


@pytest.mark.parametrize("page", [*PAGES.values(), OVERVIEW])
def test_mandoc_and_man_have_nothing_to_say(page):
    path = os.path.join(MAN, page)
    lint = subprocess.run(["mandoc", "-T", "lint", path], text=True,
                          capture_output=True, timeout=60)
    # Whether other pages are installed on this machine is not our concern.
    said = [line for line in lint.stdout.splitlines()
            if "referenced manual not found" not in line]
    assert not said
    man = subprocess.run(["man", "--warnings", "-l", path], text=True,
                         capture_output=True, timeout=60,
                         env={**os.environ, "LC_ALL": "C.UTF-8",
                              "MANPAGER": "cat", "MANWIDTH": "80"})
    assert (man.returncode, man.stderr) == (0, "")
    assert len(man.stdout) > 1000


def test_pages_refer_to_pages_that_exist():
    ours = {f"{m.group(1)} {m.group(2)}" for m in
            (re.fullmatch(r"(.*)\.([1-8])", p) for p in os.listdir(MAN)) if m}
    assert ours == {re.sub(r"\.(\d)$", r" \1", p)
                    for p in [*PAGES.values(), OVERVIEW]}
    for page in [*PAGES.values(), OVERVIEW]:
        for name in re.findall(r"^\.Xr (metcd\S* \d)", page_text(page), re.M):
            assert name in ours, f"{page}: {name}"


def test_make_install_installs_the_pages(scratch):
    subprocess.run(["make", "--no-print-directory", "install-man",
                    f"DESTDIR={scratch}", "PREFIX=/usr"], cwd=REPO,
                   check=True, capture_output=True, timeout=120)
    for page in [*PAGES.values(), OVERVIEW]:
        section_dir = f"man{page[-1]}"
        with open(os.path.join(scratch, "usr/share/man", section_dir, page),
                  encoding="ascii") as f:
            assert f.read() == page_text(page)
