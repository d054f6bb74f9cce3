"""`python -m spinner_servers <server> start|stop|install`: a server by hand, for trials."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from spinner_servers import (
    elasticsearch,
    kafka,
    kubernetes,
    kubernetes_node,
    mariadb,
    objectstore,
    process,
    worker_image,
)
from spinner_servers.install import cache_folder
from spinner_servers.kubernetes import build
from spinner_servers.process import Launch, ServerError, free_port

_DEFAULT_PORTS = {"kafka": 19092, "mariadb": 13306, "elasticsearch": 19200, "s3": 19000}
_PREPARE: dict[str, Callable[[Path, int], Launch]] = {
    "kafka": lambda data, port: kafka.prepare(data, port, free_port(port + 1)),
    "mariadb": mariadb.prepare,
    "elasticsearch": lambda data, port: elasticsearch.prepare(data, port, free_port(port + 100)),
    "s3": objectstore.prepare,
}


def main() -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m spinner_servers", description=__doc__)
    parser.add_argument("server", choices=sorted([*_PREPARE, "kubernetes", "kubernetes-node"]))
    parser.add_argument("action", choices=["start", "stop", "install"])
    parser.add_argument("--data", type=Path, help="data folder; default: one in the cache folder")
    parser.add_argument("--port", type=int, help="preferred port on loopback; the next free one is taken when busy")
    parser.add_argument("--nodes", type=int, default=1, help="kubernetes: simulated nodes (kwok); default: 1")
    arguments = parser.parse_args()
    data = (arguments.data or cache_folder() / "data" / arguments.server).resolve()
    try:
        if arguments.server == "kubernetes":
            return _kubernetes(arguments.action, data, arguments.port or 16443, arguments.nodes)
        if arguments.server == "kubernetes-node":
            return _kubernetes_node(arguments.action, data)
        if arguments.action == "stop":
            print("stopped" if process.stop(data) else "nothing was running")
            return 0
        if (live := process.running(data)) is not None:
            print(f"already running, pid {live.pid}")
            return 0
        launch = _PREPARE[arguments.server](data, free_port(arguments.port or _DEFAULT_PORTS[arguments.server]))
        if arguments.action == "start":
            print(f"{launch.address} pid {process.start(launch).pid}")
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _kubernetes(action: str, data: Path, port: int, nodes: int) -> int:
    """Several processes, so not a Launch."""
    if action == "install":
        print(build.kube(), build.kwok())
    elif action == "stop":
        print("stopped" if kubernetes.stop(data) else "nothing was running")
    else:
        cluster = kubernetes.start(data, port, nodes=nodes)
        print(f"{cluster.url} KUBECONFIG={cluster.kubeconfig}")
    return 0


def _kubernetes_node(action: str, data: Path) -> int:
    """A control plane and one real node; root on Linux."""
    if action == "install":
        print(*kubernetes_node.install())
    elif action == "stop":
        print("stopped" if kubernetes_node.stop(data) else "nothing was running")
    else:
        node = kubernetes_node.start(data)
        print(f"{node.cluster.url} KUBECONFIG={node.cluster.kubeconfig} worker image {worker_image.WORKER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
