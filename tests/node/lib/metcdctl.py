"""metcdctl for nodes that the tests run."""

import os

from .cluster import Run


def ctl(nodes, *args, **more):
    """nodes: one, or several; the first one's directory is --data-dir."""
    nodes = nodes if isinstance(nodes, (list, tuple)) else [nodes]
    return Run("metcdctl", *args, env={
        **os.environ,
        "METCDCTL_ENDPOINTS": ",".join(
            f"127.0.0.1:{n.client}" for n in nodes),
        "METCDCTL_ADMIN": ",".join(f"127.0.0.1:{n.admin}" for n in nodes),
        "METCDCTL_DATA_DIR": nodes[0].dir}, **more)
