"""Prometheus: its text format 0.0.4, read strictly; its programs; the names in
its expressions."""

import json
import math
import re
import shutil
import subprocess
import urllib.parse

from . import process, web
from .wait import wait_until

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family:
    """One metric: its samples are {(name, ((label, value), ...)): number}."""

    def __init__(self, name, kind, text):
        self.name = name
        self.kind = kind
        self.help = text
        self.samples = {}

    def value(self, **labels):
        """Of its only sample with these labels."""
        found = [v for (_, have), v in self.samples.items()
                 if labels.items() <= dict(have).items()]
        assert len(found) == 1, f"{self.name}{labels}: {found}"
        return found[0]

    def labels(self, name):
        """All values of a label."""
        return {dict(have)[name] for _, have in self.samples}

    def part(self, suffix, **labels):
        """Of a histogram: the sum over all samples of this suffix."""
        return sum(v for (name, have), v in self.samples.items()
                   if name == self.name + suffix
                   and labels.items() <= dict(have).items())


def _labels(text, line):
    labels, at = [], 0
    while at < len(text):
        m = LABEL.match(text, at)
        assert m, f"bad labels: {line!r}"
        labels.append((m[1], re.sub(
            r'\\(.)', lambda e: {"n": "\n"}.get(e[1], e[1]), m[2])))
        at = m.end()
        if at < len(text):
            assert text[at] == "," and at + 1 < len(text), line
            at += 1
    names = [n for n, _ in labels]
    assert len(set(names)) == len(names), f"a label twice: {line!r}"
    return tuple(labels)


def _sample(line):
    m = NAME.match(line)
    assert m, f"no name: {line!r}"
    name, rest = m[0], line[m.end():]
    labels = ()
    if rest.startswith("{"):
        end = rest.rindex("} ")
        labels, rest = _labels(rest[1:end], line), rest[end + 1:]
        assert labels, f"empty braces: {line!r}"
    assert rest.startswith(" ") and NUMBER.fullmatch(rest[1:]), \
        f"not one plain number: {line!r}"
    return name, labels, float(rest[1:])


def _check_histogram(f):
    """Bounds ascend and are the same everywhere, counts are cumulative, the
    last one is all."""
    groups = {}
    for (name, labels), v in f.samples.items():
        rest = tuple(x for x in labels if x[0] != "le")
        g = groups.setdefault(rest, {"le": []})
        if name == f.name + "_bucket":
            g["le"].append((float(dict(labels)["le"]), v))
        else:
            assert len(rest) == len(labels), (name, labels)
            g[name[len(f.name):]] = v
    bounds = {tuple(b for b, _ in g["le"]) for g in groups.values()}
    assert len(bounds) <= 1, f"{f.name}: bounds differ"
    for labels, g in groups.items():
        le = [b for b, _ in g["le"]]
        counts = [c for _, c in g["le"]]
        assert le == sorted(set(le)) and le[-1] == math.inf, (f.name, labels)
        assert counts == sorted(counts), (f.name, labels, counts)
        assert counts[-1] == g["_count"], (f.name, labels)
        assert g["_sum"] >= 0, (f.name, labels)


def _check(f):
    suffixes = ("_bucket", "_sum", "_count") if f.kind == "histogram" else ("",)
    for name, _ in f.samples:
        assert name in {f.name + s for s in suffixes}, (f.name, name)
    assert f.kind in ("counter", "gauge", "histogram"), (f.name, f.kind)
    assert f.name.endswith("_total") == (f.kind == "counter"), f.name
    assert f.help.endswith("."), f"{f.name}: {f.help!r}"
    if f.kind == "histogram":
        _check_histogram(f)


def parse(text):
    """{name: Family}; every deviation from the format, or from what we hold
    ourselves to, is an AssertionError."""
    assert text.endswith("\n") and "\r" not in text
    families, now, about = {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, about = line[7:].partition(" ")
            assert name not in families, f"family twice: {name}"
            assert NAME.fullmatch(name) and about, line
            now = name
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            assert name == now and name not in families, \
                f"TYPE does not follow its HELP: {line!r}"
            families[name] = Family(name, kind, about)
        else:
            assert not line.startswith("#") and now in families, line
            name, labels, value = _sample(line)
            key = name, labels
            assert key not in families[now].samples, f"twice: {line!r}"
            families[now].samples[key] = value
    for f in families.values():
        _check(f)
    return families


def scrape(node, timeout=5.0):
    """The families of a node, of the processes that answered."""
    r = web.request(node.admin, "GET", "/metrics", timeout=timeout)
    assert r.status == 200, r
    assert r.headers["Content-Type"] == MEDIA_TYPE, r
    return parse(r.body.decode("utf-8"))


def scrape_all(node, seconds=15.0):
    """The families of all its processes: on a machine that is busy one may
    answer too late the first time."""
    def whole():
        families = scrape(node)
        up = families["metcd_process_up"].samples.values()
        return families if all(up) else None
    return wait_until(f"all of node {node.id} answer", whole, seconds)


# --- expressions ---

_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "or",
          "and", "unless", "bool", "offset"}


def names_in(expression):
    """The metrics that an expression of PromQL asks for: words that are no
    function, keyword or label."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*"
                  r"\([^)]*\)", " ", text)
    found = set()
    for m in re.finditer(r"[a-zA-Z_:][a-zA-Z0-9_:]*", text):
        if m[0] not in _WORDS and not re.match(r"\s*\(", text[m.end():]):
            found.add(m[0])
    return found


def family_of(name, families):
    """The family that has samples of this name, or None."""
    for end in ("", "_bucket", "_sum", "_count"):
        base = name[:len(name) - len(end)]
        if name.endswith(end) and base in families:
            if end == "" or families[base].kind == "histogram":
                return families[base]
    return None


# --- programs ---

def tool(*args, **more):
    """Run promtool; its output, which an AssertionError shows."""
    assert shutil.which("promtool"), \
        "no promtool: install the package prometheus (make check does)"
    r = subprocess.run(["promtool", *args], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=60,
                       check=False, **more)
    assert r.returncode == 0, r.stdout
    return r.stdout


class Server:
    """A Prometheus of our own that scrapes nodes.  As a context manager it
    ends with its block."""

    def __init__(self, directory, port, nodes, rules=()):
        self.port = port
        self.log_path = directory / "prometheus.log"
        config = directory / "prometheus.yml"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "300ms", "scrape_timeout": "300ms",
                       "evaluation_interval": "300ms"},
            "rule_files": [str(r) for r in rules],
            "scrape_configs": [{
                "job_name": "metcd",
                "static_configs": [
                    {"targets": [f"{web.HOST}:{n.admin}"],
                     "labels": {"node": str(n.id)}} for n in nodes]}]}))
        assert shutil.which("prometheus"), \
            "no prometheus: install the package (make check does)"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*process.DIES_WITH_US, "prometheus",
                 f"--config.file={config}",
                 f"--storage.tsdb.path={directory / 'tsdb'}",
                 f"--web.listen-address={web.HOST}:{port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        try:
            wait_until("Prometheus is ready", self._is_ready, 30)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()

    def _is_ready(self):
        try:
            return web.request(self.port, "GET", "/-/ready").status == 200
        except OSError:
            assert self.process.poll() is None, self.log_path.read_text()
            return False

    def api(self, path, **query):
        r = web.request(self.port, "GET", f"/api/v1/{path}?" +
                        urllib.parse.urlencode(query))
        answer = r.json()
        assert r.status == 200 and answer["status"] == "success", \
            (query, answer)
        return answer["data"]

    def query(self, expression):
        """An instant query: [(labels, number)]."""
        return [(s["metric"], float(s["value"][1])) for s in
                self.api("query", query=expression)["result"]]

    def number(self, expression):
        """Of an expression with one sample, or None."""
        found = self.query(expression)
        assert len(found) <= 1, (expression, found)
        return found[0][1] if found else None

    def wait(self, expression, value, seconds=20.0):
        """Until an expression of one sample has this value."""
        last = [None]

        def there():
            last[0] = self.number(expression)
            return last[0] == value
        try:
            wait_until(f"{expression} is {value}", there, seconds, poll=0.05)
        except AssertionError as e:
            raise AssertionError(f"{e}; it is {last[0]}") from None
