"""The integration tests' scene with real pods: workers in containers, bundles in MinIO, files of tests in `/shared`."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

from spinner_objectstore import open_store
from spinner_objectstore.s3 import S3Store
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_servers import worker_image
from spinner_servers.kubernetes_node import Node
from spinner_servers.process import free_port
from stage import Stage, until

SHARED = "/shared"


class NodeStage(Stage):
    """Executors take turns at two addresses, so that pods find the next one, as they do behind a headless Service."""

    def __init__(self, bootstrap: str, folder: Path, node: Node, endpoint: dict[str, str], partitions: int = 2) -> None:
        super().__init__(bootstrap, folder, partitions)
        self.node = node
        self.namespace = f"spinner-{uuid.uuid4().hex[:8]}"
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.shared.chmod(0o777)
        os.environ["AWS_ACCESS_KEY_ID"] = endpoint["access_key"]
        os.environ["AWS_SECRET_ACCESS_KEY"] = endpoint["secret_key"]
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        S3Store(self.namespace, endpoint=endpoint["url"]).make_bucket()
        self.store_url = f"s3://{self.namespace}/x"
        self.store = open_store(self.store_url, endpoint["url"])
        self._ports = [free_port(21300), free_port(21320)]
        self._turn = 0
        # The node has no network of its own; tests look at what pods leave in a folder of the machine.
        template = {
            "spec": {
                "hostNetwork": True,
                "containers": [{"name": "worker", "volumeMounts": [{"name": "shared", "mountPath": SHARED}]}],
                "volumes": [{"name": "shared", "hostPath": {"path": str(self.shared)}}],
            }
        }
        (folder / "template.json").write_text(json.dumps(template))
        self.pod_settings: dict[str, object] = {
            "executor_backend": "kubernetes",
            "s3_endpoint": endpoint["url"],
            "kubernetes_config": str(node.cluster.kubeconfig),
            "kubernetes_namespace": self.namespace,
            "kubernetes_image": worker_image.WORKER,
            "kubernetes_template": str(folder / "template.json"),
            "kubernetes_address": ",".join(f"127.0.0.1:{port}" for port in self._ports),
            "kill_grace_seconds": 3,
        }

    def executor(self, data: str = "data", wait: bool = True, **settings: object) -> subprocess.Popen[bytes]:
        self._turn += 1
        address = {"grpc_address": f"127.0.0.1:{self._ports[self._turn % 2]}"}
        return super().executor(data, wait, **(self.pod_settings | address | settings))

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.node.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods")[
            "items"
        ]
        return found

    def pod(self, order: o.TaskOrder) -> dict[str, Any] | None:
        key = self.key(order)
        return next((p for p in self.pods() if p["metadata"]["annotations"]["spinner.dev/key"] == key), None)

    def secrets(self) -> list[str]:
        items = self.node.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/secrets")["items"]
        return [item["metadata"]["name"] for item in items if item["metadata"].get("ownerReferences")]

    def seen(self, name: str) -> list[str]:
        """Lines that tasks wrote to a file of the shared folder."""
        file = self.shared / name
        return file.read_text().split() if file.exists() else []

    def nothing_left(self) -> None:
        until(lambda: not self.pods() and not self.secrets(), "pods and tokens are removed", 60)

    def close(self) -> None:
        super().close()
        self.node.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}")
        self.node.kubectl(
            "delete", "pods", "--all", "-n", self.namespace, "--grace-period=0", "--force", "--wait=false"
        )
