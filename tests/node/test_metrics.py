"""GET /metrics of real nodes, and what is made of it: Prometheus's queries,
alerts, the dashboard."""

import json
import os
import re
import signal
import time

import pytest

from lib import cluster as clusters
from lib import process, prometheus, web
from lib.wait import wait_until

DEPLOY = os.path.join(clusters.REPO, "deploy")
ALERTS = os.path.join(DEPLOY, "prometheus", "metcd-alerts.yml")
NAMES = os.path.join(DEPLOY, "prometheus", "README.md")
DASHBOARD = os.path.join(DEPLOY, "grafana", "metcd.json")

# Waiting for who hangs (200 ms), and a machine that is busy.
SOON_S = 2.0
SECONDS = "metcd_http_request_duration_seconds"


def fill(c):
    """A little of everything that is counted."""
    for n in c.nodes:
        for i in range(5):
            n.put(f"fill/{n.id}/{i}", b"x" * 100)
        n.get(f"fill/{n.id}/1")
        n.get(f"fill/{n.id}/1", query="?consistency=stale")
        n.get("nobody")
        n.request("DELETE", f"fill/{n.id}/0")
        r = web.request(n.admin, "POST", "/v1/snapshot", timeout=30)
        assert r.status == 200, r
    c.settled()


@pytest.fixture(scope="module")
def filled(three):
    fill(three)
    return three


def scrape_nodes(c):
    return [prometheus.scrape_all(n) for n in c.nodes]


# --- the text ---

def test_all_is_well_formed_and_has_no_family_twice(filled):
    for families in scrape_nodes(filled):
        assert len(families) > 60
        assert all(f.name.startswith("metcd_") for f in families.values())


def test_promtool_finds_nothing_to_say(filled):
    for n in filled.nodes:
        text = web.request(n.admin, "GET", "/metrics").body.decode()
        assert prometheus.tool("check", "metrics", input=text) == ""


def test_head_has_the_header_alone(one):
    r = web.request(one.admin, "HEAD", "/metrics")
    assert (r.status, r.body) == (200, b"")
    assert r.headers["Content-Type"] == prometheus.MEDIA_TYPE
    assert int(r.headers["Content-Length"]) > 1000


def test_only_get_and_head_and_not_on_the_data_port(one):
    r = web.request(one.admin, "POST", "/metrics", b"")
    assert r.status == 405 and r.headers["Allow"] == "GET, HEAD"
    assert one.get("metrics").status == 404  # a key like any other


def test_the_table_of_names_is_true(filled):
    """deploy/prometheus/README.md has all names with their types."""
    with open(NAMES, encoding="utf-8") as f:
        told = dict(re.findall(r"^\| `(metcd_\w+)(?:\{[^}]*\})?` \| (\w+) \|",
                               f.read(), re.M))
    seen = {}
    for families in scrape_nodes(filled):
        seen |= {f.name: f.kind for f in families.values()}
    assert told == seen


def test_labels_are_as_the_table_says(filled):
    with open(NAMES, encoding="utf-8") as f:
        told = {n: set(l.split(", ")) if l else set() for n, l in re.findall(
            r"^\| `(metcd_\w+)(?:\{([^}]*)\})?`", f.read(), re.M)}
    for families in scrape_nodes(filled):
        for f in families.values():
            for _, labels in f.samples:
                have = {n for n, _ in labels if n != "le"}
                assert have == told[f.name], f.name


# --- the numbers ---

def heard(node):
    """Its families, once raftd knows that all is applied: kvd answers httpd
    first."""
    f = prometheus.scrape_all(node)
    return f if f["metcd_raft_applied_index"].value() == \
        f["metcd_raft_commit_index"].value() else None


def test_writes_and_reads_are_counted(make_cluster):
    n = make_cluster().node(1)
    before = wait_until("raftd has heard of the start", lambda: heard(n), 10)
    for i in range(30):
        n.put(f"k{i}", b"12345")
    for i in range(20):
        assert n.get(f"k{i}").status == 200
    for i in range(10):
        assert n.get(f"k{i}", query="?consistency=stale").status == 200
    assert n.get("nobody").status == 404
    assert n.request("DELETE", "k0").status == 204
    after = wait_until("raftd has heard of all that kvd has applied",
                       lambda: heard(n), 10)

    def grown(name, **labels):
        return after[name].value(**labels) - (
            before[name].value(**labels) if before[name].samples else 0)
    put = {"port": "data", "method": "PUT", "status": "201"}
    assert after[SECONDS].part("_count", **put) == 30
    assert 0 < after[SECONDS].part("_sum", **put) < 30
    assert after[SECONDS].part(
        "_count", port="data", method="GET", status="200") == 30
    assert after[SECONDS].part(
        "_count", port="data", method="GET", status="404") == 1
    assert after[SECONDS].part(
        "_count", port="data", method="DELETE", status="204") == 1
    assert grown("metcd_kv_commands_applied_total") == 31
    assert grown("metcd_kv_reads_total", consistency="linearizable") == 21
    assert grown("metcd_kv_reads_total", consistency="stale") == 10
    # One request at a time: one entry for each, and perhaps one of Raft's
    # own, in which a new cluster writes down who its members are.
    entries = grown("metcd_server_proposals_committed_total")
    assert 31 <= entries <= 33
    assert grown("metcd_server_proposals_applied_total") == entries
    assert grown("metcd_kv_entries_applied_total") == entries
    assert grown("metcd_kv_keys") == 29
    assert grown("metcd_kv_bytes") == 29 * 5 + 9 * 2 + 20 * 3
    assert grown("metcd_kv_revision") == 31
    assert grown("metcd_disk_wal_write_bytes_total") > 30 * 5
    syncs = "metcd_disk_wal_fsync_duration_seconds"
    assert after[syncs].part("_count") - before[syncs].part("_count") >= 31
    applies = "metcd_kv_apply_duration_seconds"
    assert 31 <= after[applies].part("_count") - \
        before[applies].part("_count") <= entries
    assert after["metcd_server_proposals_failed_total"].value() == 0
    assert after["metcd_http_requests_in_flight"].value() == 1  # the scrape
    assert after["metcd_http_requests_waiting"].value() == 0


def test_it_says_what_status_says(filled):
    filled.settled()
    for n in filled.nodes:
        f = wait_until("raftd has heard of all", lambda: heard(n), 10)
        s = n.status()
        for name, is_ in {
                "metcd_server_has_leader": 1,
                "metcd_server_is_leader": s["role"] == "leader",
                "metcd_server_is_learner": 0,
                "metcd_raft_leader": s["leader"],
                "metcd_raft_term": s["term"],
                "metcd_raft_voters": 3,
                "metcd_raft_learners": 0,
                "metcd_raft_commit_index": s["raft"]["commit"],
                "metcd_raft_applied_index": s["raft"]["applied"],
                "metcd_raft_first_index": s["raft"]["first"],
                "metcd_raft_last_index": s["raft"]["last"],
                "metcd_raft_snapshot_index": s["raft"]["snapshot"],
                "metcd_kv_applied_index": s["kv"]["applied"],
                "metcd_kv_keys": s["kv"]["keys"],
                "metcd_kv_bytes": s["kv"]["bytes"],
                "metcd_kv_revision": s["kv"]["revision"],
                "metcd_kv_diverged": 0}.items():
            assert f[name].value() == is_, (n.id, name)
        assert f["metcd_kv_engine_info"].value(engine=n.engine) == 1
        assert f["metcd_server_info"].value(
            node=str(n.id), cluster=s["cluster_id"]) == 1
        assert f["metcd_build_info"].value(version=s["version"]) == 1
        assert f["metcd_snap_save_duration_seconds"].part("_count") >= 1
        others = {str(p["id"]) for p in s["peers"]}
        assert f["metcd_network_peer_connected"].labels("To") == others
        match = f["metcd_raft_peer_match"].samples
        assert len(match) == (2 if s["role"] == "leader" else 0)
        assert set(match.values()) <= {s["raft"]["last"]}


def test_processes_say_what_the_kernel_says(one):
    pids = one.pids()
    f = prometheus.scrape_all(one)
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as text:
        boot = int(re.search(r"^btime (\d+)", text.read(), re.M)[1])
    for name in clusters.DAEMONS:
        pid, prefix = pids[name], f"metcd_{name}_process_"
        fds = f[prefix + "open_fds"].value()
        assert abs(fds - process.fd_count(pid)) <= 3, name
        kib = f[prefix + "resident_memory_bytes"].value() / 1024
        assert 0.5 < kib / process.memory_kib(pid) < 2, name
        began = f[prefix + "start_time_seconds"].value()
        assert abs(began - (boot + process.stat(pid)[3] / ticks)) < 2, name
        assert 0 < f[prefix + "cpu_seconds_total"].value() < 3600, name
        assert f[prefix + "max_fds"].value() >= 256, name


def test_round_trips_between_nodes_are_measured(filled):
    name = "metcd_network_peer_round_trip_time_seconds"

    def counts():
        return [prometheus.scrape_all(n)[name].part("_count", To=str(m.id))
                for n in filled.nodes for m in filled.nodes if m is not n]
    before = counts()
    wait_until("each node has measured its way to each other one twice more",
               lambda: all(b + 2 <= a for b, a in zip(before, counts())), 20)
    for n in filled.nodes:
        f = prometheus.scrape_all(n)[name]
        mean = f.part("_sum") / f.part("_count")
        assert 0 < mean < 1, mean


def test_a_slow_way_to_a_node_is_seen(make_cluster):
    """raftd of one node stands still for 600 ms: who asks it in that time, or
    up to a second before, gets a late answer; in two rounds one must."""
    c = make_cluster(("memory",) * 3, heartbeat_ms=500, election_ms=5000)
    asking, slow = c.node(1), c.node(2)
    name = "metcd_network_peer_round_trip_time_seconds"

    def late():
        f = prometheus.scrape_all(asking)[name]
        return f.part("_count", To="2") - f.part(
            "_bucket", To="2", le="0.1024")

    def stand_still():
        pid = slow.kill("raftd", signal.SIGSTOP)
        began = time.monotonic()
        wait_until("0.6 s have passed",
                   lambda: time.monotonic() - began > 0.6)
        process.kill(pid, signal.SIGCONT)
        return late() > before
    before = late()
    wait_until("a late answer was measured", stand_still, 30)


def test_traffic_between_nodes_is_counted(three):
    leader = three.leader()
    to = [n for n in three.nodes if n is not leader][0]
    sent, got = ("metcd_network_peer_sent_bytes_total",
                 "metcd_network_peer_received_bytes_total")
    before = (prometheus.scrape_all(leader)[sent].value(To=str(to.id)),
              prometheus.scrape_all(to)[got].value(From=str(leader.id)))
    leader.put("large", b"v" * 500_000)
    three.settled()
    after = (prometheus.scrape_all(leader)[sent].value(To=str(to.id)),
             prometheus.scrape_all(to)[got].value(From=str(leader.id)))
    for b, a in zip(before, after):
        assert 500_000 < a - b < 1_000_000


# --- who is away ---

def up(families):
    f = families["metcd_process_up"]
    return {p: f.value(process=p) for p in ("httpd", "raftd", "kvd")}


def belongs_to(name):
    """Families that only this daemon has."""
    return {"kvd": "metcd_kv_keys", "raftd": "metcd_raft_term"}[name]


@pytest.mark.parametrize("name", ["kvd", "raftd"])
def test_who_hangs_is_not_waited_for_and_shows_nothing_old(one, name):
    prometheus.scrape_all(one)
    pid = one.kill(name, signal.SIGSTOP)
    try:
        began = time.monotonic()
        f = prometheus.scrape(one, timeout=SOON_S)
        assert time.monotonic() - began < SOON_S
        assert up(f)["httpd"] == 1 and up(f)[name] == 0
        assert belongs_to(name) not in f
        other = {"kvd": "raftd", "raftd": "kvd"}[name]
        wait_until("the other one answers all the same", lambda: belongs_to(
            other) in prometheus.scrape(one, timeout=SOON_S), 10)
    finally:
        process.kill(pid, signal.SIGCONT)
    prometheus.scrape_all(one)


@pytest.mark.parametrize("name", ["kvd", "raftd"])
def test_who_is_dead_is_down_and_comes_back(one, name):
    supervisor = one.pids()["metcd"]
    process.kill(supervisor, signal.SIGSTOP)  # nobody restarts it
    try:
        one.kill(name)
        wait_until("it is down",
                   lambda: up(prometheus.scrape(one))[name] == 0, 10)
        f = prometheus.scrape(one, timeout=SOON_S)
        assert belongs_to(name) not in f
    finally:
        process.kill(supervisor, signal.SIGCONT)
    prometheus.scrape_all(one)
    one.wait_ready()


def test_without_a_majority_figures_are_there_at_once(make_cluster):
    c = make_cluster(("memory",) * 3)
    n = c.node(1)
    for other in c.nodes[1:]:
        other.kill_all()

    def lost():
        f = prometheus.scrape(n, timeout=SOON_S)
        return f if all(up(f).values()) and \
            f["metcd_server_has_leader"].value() == 0 else None
    f = wait_until("it knows no leader", lost, 15)
    assert f["metcd_server_is_leader"].value() == 0
    wait_until("both are seen to be away", lambda: set(
        prometheus.scrape_all(n)["metcd_network_peer_connected"]
        .samples.values()) == {0}, 15)


def test_failed_writes_and_their_reason_are_counted(make_cluster):
    c = make_cluster(("memory",) * 3, env={"METCD_REQUEST_TIMEOUT_MS": "700"})
    n = c.node(1)
    for other in c.nodes[1:]:
        other.kill_all()
    wait_until("it knows no leader",
               lambda: n.status()["leader"] == 0, 15)
    r = n.request("PUT", "k", b"v", timeout=10)
    assert r.status == 503, r
    f = prometheus.scrape_all(n)
    assert f["metcd_server_proposals_failed_total"].value() == 1
    assert f["metcd_server_proposals_refused_total"].value(
        reason="no_leader") >= 1
    assert f[SECONDS].part("_count", method="PUT", status="503") == 1
    assert 0.3 < f[SECONDS].part("_sum", method="PUT", status="503") < 10


def test_changes_of_leader_are_counted(make_cluster):
    c = make_cluster(("memory",) * 3)
    leader = c.leader()
    seen = "metcd_server_leader_changes_seen_total"
    others = [n for n in c.nodes if n is not leader]
    before = [prometheus.scrape_all(n)[seen].value() for n in others]
    leader.kill_all()
    wait_until("both have seen another one", lambda: all(
        prometheus.scrape_all(n)[seen].value() > b
        for n, b in zip(others, before)), 15)


# --- alerts and dashboard ---

def expressions_of_alerts():
    """[(alert, expression)], without a parser of YAML: promtool is one."""
    with open(ALERTS, encoding="utf-8") as f:
        text = f.read()
    found = []
    for part in text.split("- alert: ")[1:]:
        folded = re.search(r"expr: >-\n((?: {10}.*\n)+)", part)
        plain = re.search(r"expr: (.*)\n", part)
        found.append((part.split("\n", 1)[0],
                      " ".join((folded or plain)[1].split())))
    return found


def expressions_of_dashboard():
    with open(DASHBOARD, encoding="utf-8") as f:
        board = json.load(f)
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    return [(p["title"], t["expr"]) for p in board["panels"]
            for t in p.get("targets", ())]


def test_promtool_accepts_the_alerts():
    assert "14 rules found" in prometheus.tool("check", "rules", ALERTS)
    assert len(expressions_of_alerts()) == 14


def test_each_alert_says_what_to_do():
    with open(ALERTS, encoding="utf-8") as f:
        for part in f.read().split("- alert: ")[1:]:
            for what in ("severity: ", "summary: ", "action: "):
                assert part.count(what) == 1, part


@pytest.mark.parametrize("expressions", [expressions_of_alerts,
                                         expressions_of_dashboard])
def test_every_metric_that_is_asked_for_exists(filled, expressions):
    families = {}
    for f in scrape_nodes(filled):
        families |= f
    asked = set()
    for title, expression in expressions():
        names = prometheus.names_in(expression)
        assert names, (title, expression)
        for name in names - {"up"}:
            assert prometheus.family_of(name, families), (title, name)
        asked |= names
    assert len(asked) > 10


def test_names_in_an_expression_are_found():
    """The test above would pass if nothing were found, or too little."""
    assert prometheus.names_in(
        'sum by (x) (rate(a_b{c="d_e",f=~"g"}[5m])) / on (job) '
        'group_right () h > 10 or changes(i[$__rate_interval])') == \
        {"a_b", "h", "i"}


HEALTHY = {
    'up{job="metcd",instance="a"}': "1x60",
    'metcd_process_up{job="metcd",instance="a",process="kvd"}': "1x60",
    'metcd_raftd_process_start_time_seconds{job="metcd",instance="a"}':
        "1000x60",
    'metcd_server_has_leader{job="metcd",instance="a"}': "1x60",
    'metcd_server_leader_changes_seen_total{job="metcd",instance="a"}':
        "1x60",
    'metcd_network_peer_connected{job="metcd",instance="a",To="2"}': "1x60",
    'metcd_raft_last_index{job="metcd",instance="a"}': "20000+100x60",
    'metcd_raft_commit_index{job="metcd",instance="a"}': "20000+100x60",
    'metcd_raft_peer_match{job="metcd",instance="a",peer="2"}':
        "19900+100x60",
    'metcd_kv_applied_index{job="metcd",instance="a"}': "19990+100x60",
    'metcd_kv_diverged{job="metcd",instance="a"}': "0x60",
    'metcd_disk_free_bytes{job="metcd",instance="a"}': "60x60",
    'metcd_disk_size_bytes{job="metcd",instance="a"}': "100x60",
    'metcd_disk_low{job="metcd",instance="a"}': "0x60",
    'metcd_disk_wal_fsync_duration_seconds_bucket{job="metcd",instance="a",'
    'le="0.001"}': "0+600x60",
    'metcd_disk_wal_fsync_duration_seconds_bucket{job="metcd",instance="a",'
    'le="1.024"}': "0+603x60",
    'metcd_disk_wal_fsync_duration_seconds_bucket{job="metcd",instance="a",'
    'le="+Inf"}': "0+603x60",
    'metcd_server_proposals_failed_total{job="metcd",instance="a"}': "0x60",
    'metcd_httpd_process_open_fds{job="metcd",instance="a"}': "100x60",
    'metcd_httpd_process_max_fds{job="metcd",instance="a"}': "1000x60",
}
# What is different, and how many minutes later which alert fires; a minute
# apart on both sides of it.
FIRING = {
    "MetcdNodeDown": ("page", "up", "0x60", 1),
    "MetcdProcessDown": ("page", "metcd_process_up", "0x60", 1),
    "MetcdProcessRestarts": ("ticket", "metcd_raftd_process_start_time_",
                             "1000+10x60", 4),
    "MetcdNoLeader": ("page", "metcd_server_has_leader", "0x60", 1),
    "MetcdLeaderChanges": ("ticket", "metcd_server_leader_changes_seen_",
                           "1+1x60", 4),
    "MetcdPeerAway": ("ticket", "metcd_network_peer_connected", "0x60", 5),
    "MetcdFollowerLagging": ("ticket", "metcd_raft_peer_match",
                             "9000+100x60", 5),
    "MetcdKvLagging": ("ticket", "metcd_kv_applied_index", "9000+100x60", 5),
    "MetcdDiverged": ("page", "metcd_kv_diverged", "1x60", 0),
    "MetcdDiskNearlyFull": ("ticket", "metcd_disk_free_bytes", "9x60", 5),
    "MetcdDiskFull": ("page", "metcd_disk_low", "1x60", 0),
    "MetcdFsyncSlow": ("ticket", 'metcd_disk_wal_fsync_duration_seconds_'
                       'bucket{job="metcd",instance="a",le="0.001"}',
                       "0+590x60", 6),
    "MetcdProposalsFailing": ("page", "metcd_server_proposals_failed_total",
                              "0+60x60", 6),
    "MetcdDescriptorsShort": ("ticket", "metcd_httpd_process_open_fds",
                              "950x60", 5),
}


def expectation(minutes, alerts):
    return {"expr": 'count by (alertname, severity) '
                    '(ALERTS{alertstate="firing"})',
            "eval_time": f"{minutes}m",
            "exp_samples": [
                {"labels": f'{{alertname="{a}",severity="{s}"}}', "value": 1}
                for a, s in alerts]}


def rule_test(changes, expected):
    series = dict(HEALTHY)
    for start, values in changes.items():
        found = [s for s in series if s.startswith(start)]
        assert len(found) == 1, (start, found)
        series[found[0]] = values
    return {"interval": "1m",
            "input_series": [{"series": s, "values": v}
                             for s, v in series.items()],
            "promql_expr_test": expected}


def test_each_alert_fires_when_it_should_and_alone(tmp_path):
    assert set(FIRING) == {name for name, _ in expressions_of_alerts()}
    tests = [rule_test({}, [expectation(m, []) for m in (0, 7, 20, 60)])]
    for alert, (severity, series, values, minutes) in FIRING.items():
        expected = [expectation(minutes + 1, [(alert, severity)]),
                    expectation(30, [(alert, severity)])]
        if minutes > 0:
            expected.append(expectation(minutes - 1, []))
        tests.append(rule_test({series + "{" if series == "up" else series:
                                values}, expected))
    path = tmp_path / "alerts.json"
    path.write_text(json.dumps({
        "rule_files": [ALERTS], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in prometheus.tool("test", "rules", str(path))


# --- a real Prometheus ---

def test_a_real_prometheus_sees_the_truth(make_cluster, tmp_path):
    c = make_cluster(clusters.ENGINES)
    with prometheus.Server(tmp_path, clusters.free_port(), c.nodes,
                           [ALERTS]) as p:
        p.wait('sum(up{job="metcd"})', 3)
        p.wait("sum(metcd_process_up)", 9)
        p.wait("min(metcd_server_has_leader)", 1)
        p.wait("sum(metcd_server_is_leader)", 1)
        p.wait("count(metcd_kv_engine_info == 1)", 3)

        committed = "max(metcd_server_proposals_committed_total)"
        n = c.node(1)
        n.put("warm", b"v")
        before = c.settled()[0]["raft"]["commit"]
        p.wait(f"{committed} >= bool {before}", 1)
        for i in range(40):
            n.put(f"k{i}", b"v")
            n.get(f"k{i}")
        after = c.settled()[0]["raft"]["commit"]
        assert after >= before + 40
        p.wait(committed, after)
        p.wait("min(metcd_server_proposals_applied_total)", after)
        p.wait("min(metcd_kv_keys)", 41)
        p.wait(f'{SECONDS}_count{{node="1",method="PUT",status="201"}}', 41)

        # kvd of one node is dead, its supervisor kept from restarting it.
        supervisor = c.node(2).pids()["metcd"]
        process.kill(supervisor, signal.SIGSTOP)
        c.node(2).kill("kvd")
        p.wait('metcd_process_up{node="2",process="kvd"}', 0)
        p.wait("sum(metcd_process_up)", 8)
        assert p.number('metcd_kv_keys{node="2"}') is None  # and not 41
        process.kill(supervisor, signal.SIGCONT)
        p.wait("sum(metcd_process_up)", 9)

        # The whole of a node.
        c.node(3).kill_all()
        p.wait('up{node="3"}', 0)
        p.wait("sum(metcd_process_up)", 6)
        c.node(3).start()
        p.wait("sum(metcd_process_up)", 9)

        groups = p.api("rules")["groups"]
        assert len(groups[0]["rules"]) == 14
        wait_until("all rules were evaluated", lambda: {
            r["health"] for r in p.api("rules")["groups"][0]["rules"]}
            == {"ok"}, 20)
        for title, expression in expressions_of_dashboard():
            asked = expression.replace("$__rate_interval", "1m").replace(
                "$job", "metcd").replace("$instance", ".*")
            # Nothing was refused, perhaps: then there are no samples.  Others
            # are the leader's, who may have gone with node 3.
            wait_until(f"{title} has samples: {asked}",
                       lambda q=asked: p.query(q) or "refused" in q, 20)
