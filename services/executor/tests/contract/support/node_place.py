"""Real pods on a real node: bundles in MinIO, the test's folder at the same path in every pod."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import psutil
from places import PodPlace, make_namespace
from spinner_objectstore import open_store
from spinner_objectstore.s3 import S3Store
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_servers import worker_image
from spinner_servers.kubernetes_node import Node
from spinner_servers.process import free_port
from stage import Stage


class NodePlace(PodPlace):
    """A namespace of its own. Executors listen in turn at addresses that pods know, as behind a headless Service."""

    name = "node"

    def __init__(self, node: Node, endpoint: dict[str, str], folder: Path) -> None:
        self.node, self.cluster, self._endpoint = node, node.cluster, endpoint
        self.namespace = f"node-{uuid.uuid4().hex[:8]}"
        make_namespace(node.cluster, self.namespace, "")
        # Pods' users are others than the tests'.
        folder.chmod(0o777)
        for above in folder.parents[:2]:
            above.chmod(0o755)
        # The node has no network of its own.
        self.template: dict[str, Any] = {
            "spec": {
                "hostNetwork": True,
                "containers": [{"name": "worker", "volumeMounts": [{"name": "shared", "mountPath": str(folder)}]}],
                "volumes": [{"name": "shared", "hostPath": {"path": str(folder)}}],
            }
        }
        self._template_file = folder / "template.json"
        self.store_template()
        ports: list[int] = []
        for _ in range(3):
            ports.append(free_port(taken=ports))
        self.settings = {
            "executor_backend": "kubernetes",
            "kubernetes_address": ",".join(f"127.0.0.1:{port}" for port in ports),
            "kubernetes_config": str(node.cluster.kubeconfig),
            "kubernetes_namespace": self.namespace,
            "kubernetes_image": worker_image.WORKER,
            "kubernetes_template": str(self._template_file),
            "s3_endpoint": endpoint["url"],
            "kill_grace_seconds": "3",
        }

    def store_template(self) -> None:
        """Executors read it when they start."""
        self._template_file.write_text(json.dumps(self.template))

    def furnish(self, stage: Stage) -> None:
        """Gives a stage the object store that pods can reach."""
        os.environ["AWS_ACCESS_KEY_ID"] = self._endpoint["access_key"]
        os.environ["AWS_SECRET_ACCESS_KEY"] = self._endpoint["secret_key"]
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        S3Store(self.namespace, endpoint=self._endpoint["url"]).make_bucket()
        stage.store_url = f"s3://{self.namespace}/x"
        stage.store = open_store(stage.store_url, self._endpoint["url"])

    def token_of(self, order: TaskOrder) -> str:
        """What the kubelet gave to the worker's pod."""
        volumes = self.node.data / "kubelet" / "root" / "pods" / self.pod_of(order)["metadata"]["uid"] / "volumes"
        return (volumes / "kubernetes.io~projected" / "token" / "token").read_text()

    def processes(self, order: TaskOrder, container: str = "worker") -> list[psutil.Process]:
        """Processes of a container, the first one first."""
        pod = self.pod_of(order)
        statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]
        identity = next(each["containerID"] for each in statuses if each["name"] == container).rpartition("/")[2]
        found = []
        for process in psutil.process_iter():
            try:
                if identity in Path(f"/proc/{process.pid}/cgroup").read_text():
                    found.append(process)
            except OSError:
                continue
        return sorted(found, key=lambda process: process.pid)

    def kill(self, order: TaskOrder) -> None:
        first, *rest = self.processes(order)
        worker = next(process for process in rest if process.ppid() == first.pid)
        worker.send_signal(signal.SIGKILL)

    def close(self) -> None:
        everything = ("--all", "-n", self.namespace, "--grace-period=0", "--force", "--wait=false")
        self.node.kubectl("delete", "pods", *everything)
        self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}")
