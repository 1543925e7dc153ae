"""How a run ends: its count."""


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        passed = len(reporter.stats.get("passed", []))
        failed = sum(len(reporter.stats.get(k, ())) for k in
                     ("failed", "error"))
        print(f"{passed} passed, {failed} failed", flush=True)
