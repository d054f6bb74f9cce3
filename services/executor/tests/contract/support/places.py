"""Where workers live in the contract tests: one interface to what a test does to a worker from outside."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any, Protocol

from kubelet import Kubelet
from spinner_executor.domain import podnames
from spinner_executor.domain.keys import try_key_text
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_servers.kubernetes import Cluster
from spinner_servers.process import free_port


class Place(Protocol):
    """`settings`: what an executor needs to use it."""

    name: str
    settings: dict[str, str]

    def kill(self, order: TaskOrder) -> None:
        """SIGKILL to the worker of an order."""

    def left(self) -> list[str]:
        """What is left of tries: folders or pods."""

    def close(self) -> None: ...


class LocalPlace:
    name = "local"

    def __init__(self, folder: Path) -> None:
        self._tries = folder / "data" / "tries"
        self.settings: dict[str, str] = {}

    def _record(self, order: TaskOrder) -> dict[str, Any]:
        from spinner_executor.domain.keys import folder_name

        (found,) = self._tries.glob(f"*/{folder_name(try_key_text(order.try_key))}/worker-*.json")
        record: dict[str, Any] = json.loads(found.read_text())
        return record

    def kill(self, order: TaskOrder) -> None:
        os.killpg(int(self._record(order)["pid"]), signal.SIGKILL)

    def left(self) -> list[str]:
        return [str(path) for path in self._tries.glob("*/*")]

    def close(self) -> None:
        """Workers are the stage's to end."""


class PodPlace:
    """Pods in a namespace."""

    cluster: Cluster
    namespace: str

    def pods(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return items

    def pod_of(self, order: TaskOrder) -> dict[str, Any]:
        name = podnames.pod_name(order.try_key, try_key_text(order.try_key), order.segment)
        found: dict[str, Any] = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return found

    def left(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods()]


class KubernetesPlace(PodPlace):
    """Pods in a namespace of their own, bound to the node of a `Kubelet` that runs them as processes."""

    name = "kubernetes"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = f"contract-{uuid.uuid4().hex[:8]}"
        self.kubelet = Kubelet(cluster, f"node-{self.namespace}")
        make_namespace(cluster, self.namespace, f"spinner.dev/node={self.kubelet.node}")
        ports: list[int] = []
        for _ in range(3):
            ports.append(free_port(taken=ports))
        self.settings = {
            "executor_backend": "kubernetes",
            "kubernetes_address": ",".join(f"127.0.0.1:{port}" for port in ports),
            "kubernetes_config": str(cluster.kubeconfig),
            "kubernetes_namespace": self.namespace,
        }

    def kill(self, order: TaskOrder) -> None:
        self.kubelet.kill(self.pod_of(order)["metadata"]["uid"])

    def close(self) -> None:
        self.kubelet.close()
        self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


def make_namespace(cluster: Cluster, name: str, node_selector: str) -> None:
    """A namespace whose pods run on certain nodes only, with the service account that pods need."""
    marks = {"scheduler.alpha.kubernetes.io/node-selector": node_selector}
    cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "annotations": marks}})
